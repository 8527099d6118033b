//! `vtepctl fdb`: what became of stations, and to forget or free them.

use std::net::IpAddr;

use clap::{Args, Subcommand};

use super::client::{Client, ClientError};
use super::{Query, Range, render};
use crate::api::fdb::{Done, FdbChange};
use crate::api::types::Page;
use crate::wire::{MacAddr, Vni};

#[derive(Debug, Subcommand)]
pub(super) enum FdbCommand {
    /// What became of stations lately, the newest first: moves, freezes, flushes, those that aged.
    History {
        /// Only of this station, and of flushes that may have concerned it.
        mac: Option<MacAddr>,
        /// Only of the bridge with this VNI.
        #[arg(long, value_parser = clap::value_parser!(u32).range(..=i64::from(Vni::MAX)))]
        vni: Option<u32>,
        /// Print the answer as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        range: Range,
    },
    /// Forget learned stations: those that match all that is said. Static entries and the kernel's stay.
    Flush(FlushArguments),
    /// Let stations move again that are frozen because they moved too often.
    Unfreeze {
        /// Only this station.
        mac: Option<MacAddr>,
        /// Only in the bridge with this VNI.
        #[arg(long, value_parser = clap::value_parser!(u32).range(..=i64::from(Vni::MAX)))]
        vni: Option<u32>,
    },
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(super) struct FlushArguments {
    /// Of the bridge with this VNI.
    #[arg(long, value_parser = clap::value_parser!(u32).range(..=i64::from(Vni::MAX)))]
    vni: Option<u32>,
    /// This station.
    #[arg(long)]
    mac: Option<MacAddr>,
    /// Behind this access port.
    #[arg(long, value_name = "NAME", conflicts_with = "vtep")]
    port: Option<String>,
    /// Behind this remote VTEP.
    #[arg(long, value_name = "ADDRESS")]
    vtep: Option<IpAddr>,
    /// All of them.
    #[arg(long, conflicts_with_all = ["vni", "mac", "port", "vtep"])]
    all: bool,
}

/// Does what is asked, and gives what to print.
pub(super) fn run(client: &Client, command: &FdbCommand) -> Result<String, ClientError> {
    let mut query = Query::default();
    match command {
        FdbCommand::History { mac, vni, json, range } => {
            query.add("vni", *vni).add("mac", *mac).add_range(range);
            let path = format!("/v1/fdb/history{}", query.0);
            if *json {
                return Ok(format!("{:#}\n", client.get::<serde_json::Value>(&path)?));
            }
            Ok(render::history(&client.get::<Page<FdbChange>>(&path)?))
        }
        FdbCommand::Flush(FlushArguments { vni, mac, port, vtep, all }) => {
            query.add("vni", *vni).add("mac", *mac).add("port", port.as_ref()).add("vtep", *vtep);
            query.add("all", all.then_some(true));
            let done = client.post::<Done>(&format!("/v1/fdb/flush{}", query.0))?;
            Ok(render::done(done, "flushed"))
        }
        FdbCommand::Unfreeze { mac, vni } => {
            query.add("vni", *vni).add("mac", *mac);
            let done = client.post::<Done>(&format!("/v1/fdb/unfreeze{}", query.0))?;
            Ok(render::done(done, "unfrozen"))
        }
    }
}
