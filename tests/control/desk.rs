//! A gateway on a desk: configs as text, sources heard by one worker, and a clock that stands until it is turned.

use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use vtepd::config::Config;
use vtepd::config::model::BridgePort;
use vtepd::control::gateway::{ApplyError, StartError};
use vtepd::control::{Gateway, PortFacts};
use vtepd::tables::fdb::Probe;
use vtepd::tables::learning::{LearnEvent, LearnRing};
use vtepd::tables::{BridgeIndex, FdbKey, FdbValue, Location, PortIndex};
use vtepd::telemetry::{ControlTelemetry, FdbEvent};
use vtepd::wire::{MacAddr, Vni};

/// What every config here begins with: an uplink, two trunks, and remote VTEPs 10.0.0.2 and 10.0.0.3.
const BASE: &str = r#"
[vtep]
address = "10.0.0.1"

[workers]
cores = [0]

[[port]]
name = "uplink0"
device = "net_null0"
role = "uplink"

[[port]]
name = "trunk0"
device = "net_null1"
role = "access"

[[port]]
name = "trunk1"
device = "net_null2"
role = "access"

[[neighbour]]
address = "10.0.0.2"
mac = "02:00:00:bb:00:02"
port = "uplink0"

[[neighbour]]
address = "10.0.0.3"
mac = "02:00:00:bb:00:03"
port = "uplink0"
"#;

/// A config of [`BASE`] and this.
pub fn config(rest: &str) -> Config {
    parse(&format!("{BASE}{rest}"))
}

/// [`config`] with a passage of [`BASE`] replaced.
pub fn config_with(passage: &str, replacement: &str, rest: &str) -> Config {
    assert!(BASE.contains(passage), "{passage}");
    parse(&format!("{}{rest}", BASE.replace(passage, replacement)))
}

fn parse(text: &str) -> Config {
    match Config::parse("desk.toml", text) {
        Ok(loaded) => loaded.config,
        Err(wrong) => panic!("{}", wrong.render(false)),
    }
}

/// A `[[bridge]]` on both trunks with remote VTEPs 10.0.0.2 and 10.0.0.3, and further keys.
pub fn bridge(vni: u32, vlan: u16, keys: &str) -> String {
    format!(
        "[[bridge]]\nvni = {vni}\nvlan = {vlan}\nports = [\"trunk0\", \"trunk1\"]\n\
         remotes = [\"10.0.0.2\", \"10.0.0.3\"]\n{keys}\n"
    )
}

/// A `[[static]]` behind `place`, a port or a remote VTEP.
pub fn fixed(vni: u32, mac: MacAddr, place: &str) -> String {
    let key = if place.parse::<IpAddr>().is_ok() { "remote" } else { "port" };
    format!("[[static]]\nvni = {vni}\nmac = \"{mac}\"\n{key} = \"{place}\"\n")
}

/// Station `number`.
pub fn mac(number: u64) -> MacAddr {
    MacAddr::from_u64(0x0200_0000_0000 | number)
}

pub struct Desk {
    pub gateway: Gateway,
    pub control: Arc<ControlTelemetry>,
    pub ring: Arc<LearnRing>,
    pub now: Instant,
}

impl Desk {
    pub fn new(config: Config) -> Self {
        Self::start(config).expect("the gateway starts")
    }

    pub fn start(config: Config) -> Result<Self, StartError> {
        let facts = |number| PortFacts { mac: MacAddr([2, 0, 0, 0, 0, number as u8]), mtu: 1600, receivers: 1 };
        let ports = (0..config.ports.len()).map(facts).collect();
        let (control, ring) = (Arc::new(ControlTelemetry::new()), Arc::new(LearnRing::new()));
        let gateway = Gateway::start(config, ports, vec![Arc::clone(&ring)], Arc::clone(&control))?;
        Ok(Self { gateway, control, ring, now: Instant::now() })
    }

    pub fn apply(&mut self, config: Config) -> Result<(), ApplyError> {
        self.gateway.apply(config)
    }

    #[track_caller]
    pub fn reload(&mut self, config: Config) {
        self.apply(config).expect("the config is applied");
    }

    #[track_caller]
    pub fn bridge(&self, vni: u32) -> BridgeIndex {
        self.gateway.running().load().registry.bridge(Vni::new(vni).expect("a VNI")).expect("the bridge is there")
    }

    #[track_caller]
    pub fn key(&self, vni: u32, mac: MacAddr) -> FdbKey {
        FdbKey::new(self.bridge(vni), mac)
    }

    /// Where the port or remote VTEP `place` is, seen from a bridge.
    #[track_caller]
    pub fn location(&self, vni: u32, place: &str) -> Location {
        let running = self.gateway.running().load();
        if let Ok(address) = place.parse() {
            return Location::tunnel(running.registry.tunnel(address).expect("the remote VTEP is there"));
        }
        let bridge = running.config.bridges.iter().find(|bridge| bridge.vni.get() == vni).expect("the bridge");
        let is_there = |found: &&BridgePort| running.config.port_name(found.port) == place;
        let found = bridge.ports.iter().find(is_there).expect("the port is there");
        let name = (bridge.vni, found.port, found.vlan);
        Location::access(running.registry.member(&name).expect("the member is there"))
    }

    /// What a worker reports that meets this source.
    #[track_caller]
    pub fn event(&self, vni: u32, mac: MacAddr, place: &str) -> LearnEvent {
        LearnEvent { key: self.key(vni, mac), location: self.location(vni, place) }
    }

    /// A worker met this source, and control had its round.
    #[track_caller]
    pub fn hear(&mut self, vni: u32, mac: MacAddr, place: &str) {
        assert!(self.ring.send(self.event(vni, mac, place)));
        self.round();
    }

    pub fn round(&mut self) -> usize {
        self.gateway.round_at(self.now)
    }

    /// Lets time pass, with a round every millisecond, as the control thread has it.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(1).min(end - self.now);
            self.round();
        }
    }

    pub fn probe(&self, key: FdbKey) -> Probe {
        self.gateway.tables().fdb.probe(key)
    }

    pub fn find_key(&self, key: FdbKey) -> Option<FdbValue> {
        self.gateway.tables().fdb.lookup(&self.probe(key))
    }

    #[track_caller]
    pub fn find(&self, vni: u32, mac: MacAddr) -> Option<FdbValue> {
        self.find_key(self.key(vni, mac))
    }

    /// True where the FDB has the station behind `place`.
    #[track_caller]
    pub fn is_at(&self, vni: u32, mac: MacAddr, place: &str) -> bool {
        self.find(vni, mac).is_some_and(|value| value.location() == self.location(vni, place))
    }

    /// A worker hears a known source: what forwarding does.
    #[track_caller]
    pub fn refresh(&self, vni: u32, mac: MacAddr) {
        let (tables, key) = (self.gateway.tables(), self.key(vni, mac));
        let seen = self.find_key(key).expect("the station is known");
        if seen.tick() != tables.age.now() {
            assert!(tables.fdb.refresh(&self.probe(key), seen, tables.age.now()));
        }
    }

    pub fn events(&self, event: FdbEvent) -> u64 {
        self.control.fdb.events(event)
    }

    #[track_caller]
    pub fn bridge_entries(&self, vni: u32) -> u64 {
        self.control.fdb.bridge_entries(self.bridge(vni)).get()
    }

    /// How many addresses are learned behind a port.
    #[track_caller]
    pub fn learned_behind(&self, port: &str) -> u64 {
        let running = self.gateway.running().load();
        let index = running.config.ports.iter().position(|found| found.name == port).expect("the port is there");
        self.control.fdb.port_learned(PortIndex(index as u16)).get()
    }

    pub fn len(&self) -> usize {
        self.gateway.tables().fdb.len()
    }
}

/// A second subscriber, for as long as the tests run. While there is one alone, tracing keeps what a thread without
/// it finds out at a place in the code, that nobody wants to hear of it, as true for all.
static ANOTHER: LazyLock<tracing::Dispatch> =
    LazyLock::new(|| tracing_subscriber::fmt().with_writer(io::sink).finish().into());

/// The log of what `body` does.
pub fn log_of(body: impl FnOnce()) -> String {
    LazyLock::force(&ANOTHER);
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, body);
    let bytes = log.0.lock().expect("the log").clone();
    String::from_utf8(bytes).expect("text")
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("the log").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
