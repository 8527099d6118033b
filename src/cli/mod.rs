//! `vtepctl`: what an operator asks the gateway, over the control socket, and how the answer is printed.

mod client;
mod fdb;
mod format;
mod render;

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::client::{Client, ClientError};
use self::fdb::FdbCommand;
use crate::api::kernel::KernelBridge;
use crate::api::types::{
    Binding, Bridge, Check, DEFAULT_PAGE, Drops, EntropyReading, EntryKind, FdbEntry, Groups, MAX_PAGE, Page, Port,
    Reloaded, Version, Vteps, Worker,
};
use crate::wire::{MacAddr, Vni};

/// Shows what a running vtepd does, and tells it to reload its config.
///
/// Exit status: 0 where it did as asked, 1 where it could not, 2 for wrong arguments.
#[derive(Debug, Parser)]
#[command(name = "vtepctl", version, propagate_version = true)]
pub struct Arguments {
    /// The gateway's control socket [default: the only one in /run/vtepd, else /run/vtepd/vtepd.sock].
    #[arg(long, value_name = "PATH", global = true, env = "VTEPD_SOCKET", hide_env_values = true)]
    socket: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a part of the gateway's state.
    Show {
        /// Print the answer as JSON.
        #[arg(long, global = true)]
        json: bool,

        #[command(subcommand)]
        what: Subject,
    },
    /// What became of stations in the forwarding database, and to forget or free them.
    Fdb {
        #[command(subcommand)]
        what: FdbCommand,
    },
    /// Say what is wrong between the gateway, the kernel and the control plane, and what to do; status 1 if anything is.
    Check {
        /// Print the answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Read the config file again and apply it, or refuse it as a whole.
    Reload,
    /// Show the versions of vtepctl and of the gateway.
    Version,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// Ports: link and the driver's counters.
    Ports,
    /// Bridges: VNI, VLAN, members and traffic.
    Bridges {
        /// Only the bridge with this VNI.
        #[arg(long, value_parser = clap::value_parser!(u32).range(..=i64::from(Vni::MAX)))]
        vni: Option<u32>,
        #[command(flatten)]
        range: Range,
    },
    /// The forwarding database: which MAC address is where.
    Fdb {
        /// Only entries of the bridge with this VNI.
        #[arg(long, value_parser = clap::value_parser!(u32).range(..=i64::from(Vni::MAX)))]
        vni: Option<u32>,
        /// Only entries of this station.
        #[arg(long)]
        mac: Option<MacAddr>,
        /// Only stations behind this access port.
        #[arg(long, value_name = "NAME", conflicts_with = "remote")]
        port: Option<String>,
        /// Only stations behind this remote VTEP.
        #[arg(long, value_name = "ADDRESS")]
        remote: Option<IpAddr>,
        /// Only static entries.
        #[arg(long = "static", conflicts_with = "learned")]
        fixed: bool,
        /// Only learned entries.
        #[arg(long)]
        learned: bool,
        /// Only entries that the kernel says.
        #[arg(long, conflicts_with_all = ["fixed", "learned"])]
        kernel: bool,
        #[command(flatten)]
        range: Range,
    },
    /// MAC+IP bindings: which station has which IP address.
    Bindings {
        /// Only bindings of the bridge with this VNI.
        #[arg(long, value_parser = clap::value_parser!(u32).range(..=i64::from(Vni::MAX)))]
        vni: Option<u32>,
        /// Only bindings of this station.
        #[arg(long)]
        mac: Option<MacAddr>,
        /// Only the binding of this address.
        #[arg(long)]
        address: Option<IpAddr>,
        #[command(flatten)]
        range: Range,
    },
    /// This gateway and the remote VTEPs: next hops and traffic.
    Vteps {
        #[command(flatten)]
        range: Range,
    },
    /// Bridges that the kernel controls: their devices there, and what it was told.
    Kernel {
        /// Only the bridge with this VNI.
        #[arg(long, value_parser = clap::value_parser!(u32).range(..=i64::from(Vni::MAX)))]
        vni: Option<u32>,
        #[command(flatten)]
        range: Range,
    },
    /// Multicast groups and who wants them, in bridges that snoop; and where multicast routers are.
    Groups {
        /// Only of the bridge with this VNI.
        #[arg(long, value_parser = clap::value_parser!(u32).range(..=i64::from(Vni::MAX)))]
        vni: Option<u32>,
        #[command(flatten)]
        range: Range,
    },
    /// How flows from and to remote VTEPs are spread over UDP source ports.
    Entropy {
        #[command(flatten)]
        range: Range,
    },
    /// Packets that were not forwarded, by reason, and events.
    Drops {
        /// Also reasons and events that never occurred.
        #[arg(long)]
        all: bool,
    },
    /// Workers: load and burst times.
    Workers,
    /// The running config with every default filled in.
    Config,
}

#[derive(Debug, Args)]
struct Range {
    /// Print at most this many.
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT_PAGE, value_parser = parse_limit)]
    limit: usize,
    /// Leave out this many first.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    offset: usize,
}

fn parse_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit @ 1..=MAX_PAGE) => Ok(limit),
        _ => Err(format!("it is a number from 1 to {MAX_PAGE}; --offset shows further ones")),
    }
}

/// Does what the process's arguments say, and tells the exit status.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(help_or_error) => {
            // Nobody is left to be told where even this cannot be printed.
            let _ = help_or_error.print();
            return if help_or_error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let client = Client::new(arguments.socket);
    let answer = match arguments.command {
        Command::Show { json, what } => show(&client, &what, json),
        Command::Fdb { what } => fdb::run(&client, &what),
        Command::Check { json } => return check(&client, json),
        Command::Reload => client.post::<Reloaded>(client::RELOAD).map(|reloaded| with_line_end(reloaded.summary)),
        Command::Version => client.get::<Version>("/v1/version").map(|version| render::version(&version)),
    };
    match answer {
        Ok(text) => print(&text),
        Err(error) => fail(&error),
    }
}

fn fail(error: &ClientError) -> ExitCode {
    // Nobody is left to be told where even this cannot be printed.
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::FAILURE
}

/// Prints what is wrong. The status says whether anything is.
fn check(client: &Client, json: bool) -> ExitCode {
    let checked: Check = match client.get("/v1/check") {
        Ok(checked) => checked,
        Err(error) => return fail(&error),
    };
    let text = if json { format!("{:#}\n", serde_json::json!(checked)) } else { render::check(&checked) };
    match print(&text) {
        printed if printed != ExitCode::SUCCESS => printed,
        _ if checked.findings.is_empty() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Prints to standard output; a reader that went away, as `head` does, is no failure.
fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "cannot print: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(client: &Client, what: &Subject, json: bool) -> Result<String, ClientError> {
    let path = path(what);
    if json {
        let value: serde_json::Value = client.get(&path)?;
        return Ok(format!("{value:#}\n"));
    }
    Ok(match what {
        Subject::Ports => render::ports(&client.get::<Vec<Port>>(&path)?),
        Subject::Bridges { vni, .. } => render::bridges(&client.get::<Page<Bridge>>(&path)?, *vni),
        Subject::Fdb { .. } => render::fdb(&client.get::<Page<FdbEntry>>(&path)?, is_filtered(what)),
        Subject::Bindings { .. } => render::bindings(&client.get::<Page<Binding>>(&path)?, is_filtered(what)),
        Subject::Vteps { .. } => render::vteps(&client.get::<Vteps>(&path)?),
        Subject::Kernel { vni, .. } => render::kernel(&client.get::<Page<KernelBridge>>(&path)?, *vni),
        Subject::Groups { .. } => render::groups(&client.get::<Groups>(&path)?),
        Subject::Entropy { .. } => render::entropy(&client.get::<Page<EntropyReading>>(&path)?),
        Subject::Drops { all } => render::drops(&client.get::<Drops>(&path)?, *all),
        Subject::Workers => render::workers(&client.get::<Vec<Worker>>(&path)?),
        Subject::Config => with_line_end(client.get_text("/v1/config?format=toml")?),
    })
}

fn with_line_end(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Whether the arguments leave entries out by what they are.
fn is_filtered(what: &Subject) -> bool {
    match what {
        Subject::Fdb { vni, mac, port, remote, fixed, learned, kernel, .. } => {
            vni.is_some() || mac.is_some() || port.is_some() || remote.is_some() || *fixed || *learned || *kernel
        }
        Subject::Bindings { vni, mac, address, .. } => vni.is_some() || mac.is_some() || address.is_some(),
        _ => false,
    }
}

/// The path and query that ask for `what`.
fn path(what: &Subject) -> String {
    let mut query = Query::default();
    let resource = match what {
        Subject::Ports => "ports",
        Subject::Bridges { vni, range } => {
            query.add("vni", *vni).add_range(range);
            "bridges"
        }
        Subject::Fdb { vni, mac, port, remote, fixed, learned, kernel, range } => {
            let kinds = [(*fixed, EntryKind::Static), (*learned, EntryKind::Learned), (*kernel, EntryKind::Kernel)];
            let kind = kinds.into_iter().find_map(|(wanted, kind)| wanted.then_some(kind));
            query.add("vni", *vni).add("mac", *mac).add("port", port.as_ref()).add("remote", *remote);
            query.add("kind", kind.map(EntryKind::name)).add_range(range);
            "fdb"
        }
        Subject::Bindings { vni, mac, address, range } => {
            query.add("vni", *vni).add("mac", *mac).add("address", *address).add_range(range);
            "bindings"
        }
        Subject::Vteps { range } => {
            query.add_range(range);
            "vteps"
        }
        Subject::Kernel { vni, range } => {
            query.add("vni", *vni).add_range(range);
            "kernel"
        }
        Subject::Groups { vni, range } => {
            query.add("vni", *vni).add_range(range);
            "groups"
        }
        Subject::Entropy { range } => {
            query.add_range(range);
            "entropy"
        }
        Subject::Drops { .. } => "drops",
        Subject::Workers => "workers",
        Subject::Config => "config",
    };
    format!("/v1/{resource}{}", query.0)
}

/// A query as it stands behind a path; empty where nothing was added.
#[derive(Default)]
struct Query(String);

impl Query {
    fn add(&mut self, key: &str, value: Option<impl ToString>) -> &mut Self {
        if let Some(value) = value {
            self.0.push(if self.0.is_empty() { '?' } else { '&' });
            self.0.push_str(key);
            self.0.push('=');
            self.0.push_str(&client::percent_encode(&value.to_string()));
        }
        self
    }

    fn add_range(&mut self, range: &Range) {
        self.add("limit", Some(range.limit)).add("offset", (range.offset > 0).then_some(range.offset));
    }
}
