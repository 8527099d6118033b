//! What is asked of the control thread about the FDB: over a channel, for it alone has the answers.

use std::time::{Duration, UNIX_EPOCH};

use crossbeam::channel::{RecvTimeoutError, Sender, TrySendError, bounded};

use super::view::View;
use crate::api::Refused;
use crate::api::fdb::{FdbChange, StationQuery};
use crate::api::types::{Page, PageRange, Place};
use crate::control::FdbRequest;
use crate::control::flight_recorder::{Record, RecordedPlace, StationFilter, newest_first};
use crate::control::learning::FlushOrder;
use crate::tables::PortIndex;

/// Requests that wait for the control thread; further ones are refused.
pub const MOST_WAITING: usize = 8;

/// How long the control thread may take for an answer. It waits for workers to pass where entries are flushed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The stations that are asked for, by what the recorder has of them.
pub(super) fn filter_of(query: &StationQuery) -> StationFilter {
    StationFilter { vni: query.vni, mac: query.mac }
}

impl View {
    /// Asks the control thread.
    pub(super) fn ask_control<T>(&self, request: impl FnOnce(Sender<T>) -> FdbRequest) -> Result<T, Refused> {
        let (answer, result) = bounded(1);
        self.fdb_requests.try_send(request(answer)).map_err(|refused| match refused {
            TrySendError::Full(_) => Refused::Busy("too many others ask for the same; try again".to_owned()),
            TrySendError::Disconnected(_) => Refused::Stopping,
        })?;
        result.recv_timeout(PATIENCE).map_err(|gone| match gone {
            RecvTimeoutError::Timeout => Refused::GoesOn("the gateway takes long and goes on with it".to_owned()),
            RecvTimeoutError::Disconnected => Refused::Stopping,
        })
    }

    /// What became of stations.
    pub(super) fn history(&self, query: &StationQuery, range: PageRange) -> Result<Page<FdbChange>, Refused> {
        let mut records = self.ask_control(|answer| FdbRequest::History(filter_of(query), answer))?;
        newest_first(&mut records);
        let total = records.len();
        let page = records.iter().skip(range.offset).take(range.limit);
        Ok(Page { total, offset: range.offset, items: page.map(|record| self.change(record)).collect() })
    }

    fn change(&self, record: &Record) -> FdbChange {
        let since = record.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        FdbChange {
            at_unix_ms: since.as_millis() as u64,
            vni: record.vni.get(),
            mac: record.mac.map(|mac| mac.to_string()),
            entries: record.entries,
            change: record.change.name().to_owned(),
            why: record.change.help().to_owned(),
            from: record.from.map(|place| self.place(place)),
            to: record.to.map(|place| self.place(place)),
        }
    }

    fn place(&self, place: RecordedPlace) -> Place {
        // Ports are those of the start.
        let port = |index| self.running.load().config.port_name(index).to_owned();
        match place {
            RecordedPlace::Port(index, vlan, inner) => {
                let [vlan, inner_vlan] = [vlan, inner].map(|vlan| (vlan != 0).then_some(vlan));
                Place::Port { port: port(index), vlan, inner_vlan }
            }
            RecordedPlace::WholePort(index) => Place::Port { port: port(index), vlan: None, inner_vlan: None },
            RecordedPlace::Remote(remote) => Place::Remote { remote },
        }
    }

    /// Which entries are meant, by the indices of what the running config has.
    pub(super) fn flush_order(&self, query: &StationQuery) -> Result<FlushOrder, Refused> {
        let running = self.running.load();
        let bridge =
            |vni| running.registry.bridge(vni).ok_or_else(|| Refused::Unknown(format!("no bridge has VNI {vni}")));
        let port = |name: &String| {
            let place = running.config.ports.iter().position(|port| port.name == *name);
            let port = place.map(|place| PortIndex(place as u16));
            port.ok_or_else(|| Refused::Unknown(format!("no port is called `{name}`")))
        };
        let tunnel = |address| {
            let tunnel = running.registry.tunnel(address);
            tunnel.ok_or_else(|| Refused::Unknown(format!("{address} is no remote VTEP of the gateway's")))
        };
        Ok(FlushOrder {
            bridge: query.vni.map(bridge).transpose()?,
            mac: query.mac,
            port: query.port.as_ref().map(port).transpose()?,
            tunnel: query.vtep.map(tunnel).transpose()?,
        })
    }
}
