//! The operator's hand on a running gateway.

fn main() -> std::process::ExitCode {
    vtepd::cli::run()
}
