//! `vtepd`: the daemon's arguments.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use vtepd::config::Config;
use vtepd::daemon;

/// The variable that sets levels of the log.
const LEVELS: &str = "VTEPD_LOG";

/// A VXLAN tunnel endpoint gateway on DPDK: bridges VLANs and VXLAN.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The config file (docs/config.md describes it)
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// Check the config file, say what is wrong with it, and end
    #[arg(long)]
    check: bool,
    /// Log more, DPDK's own messages included; the variable VTEPD_LOG sets levels by module
    #[arg(long, short)]
    verbose: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let colours = std::io::stderr().is_terminal();
    let loaded = match Config::load(&arguments.config) {
        Ok(loaded) => loaded,
        Err(error) => {
            // Where standard error is closed, the exit code has to do.
            let _ = std::io::stderr().write_all(error.render(colours).as_bytes());
            return ExitCode::FAILURE;
        }
    };
    if !loaded.warnings.is_empty() {
        let _ = std::io::stderr().write_all(loaded.warnings.render(colours).as_bytes());
    }
    if arguments.check {
        let what = daemon::view::describe(&loaded.config);
        // Nobody may want to read it; then, too, the exit code says that it is valid.
        let _ = writeln!(std::io::stdout(), "{}: valid: {what}", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    let level = if arguments.verbose { "debug" } else { "info" };
    let wanted = std::env::var_os(LEVELS).map(|levels| EnvFilter::try_new(levels.to_string_lossy()));
    let (filter, malformed) = match wanted {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(level), Some(error)),
        None => (EnvFilter::new(level), None),
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .with_env_filter(filter)
        .init();
    if let Some(error) = malformed {
        tracing::warn!(
            %error,
            "{LEVELS} is not heeded; write levels by module, as in {LEVELS}=info,vtepd::control=debug"
        );
    }
    match daemon::run(&arguments.config, loaded, arguments.verbose) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
