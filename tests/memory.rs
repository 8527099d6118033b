//! What a bridge, a remote VTEP and a MAC address take of memory: as much as docs/operations.md says, counted by the
//! allocator, so that it comes out the same everywhere.

#![cfg(not(vtepd_loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vtepd::config::Config;
use vtepd::control::{Gateway, PortFacts};
use vtepd::tables::learning::{LearnEvent, LearnRing};
use vtepd::tables::{BridgeIndex, FdbKey, Location, MemberIndex};
use vtepd::wire::MacAddr;

/// Counts what each thread has, and the most it had.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(more: usize, less: usize) {
    let live = LIVE.get() + more as isize - less as isize;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

// SAFETY: every call is handed on to the system's allocator as it came; counting allocates nothing, for the counters are
// initialised by a constant and have no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise is ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise is ours.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's promise is ours.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: the caller's promise is ours.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BRIDGES: u32 = 4000;
const REMOTES: u32 = 4000;
const MACS: u32 = 100_000;

/// Bytes that the first learned address takes, and no other: the bridge's count of them, and what the thread keeps to
/// read published snapshots.
const ONCE: usize = 512;

/// Bytes that an entry which is displaced takes until workers have passed, at most: two slots, the one that it left and
/// the one that it has now, each with 8 bytes in a queue and 17 in a hash set. Both double as they grow, and a seventh of
/// the set is left empty. How many are displaced is a matter of the table's seed, which is new in every process.
const DISPLACED: usize = 2 * (2 * 8 + 2 * 17 * 8 / 7 + 2);

/// A config file with so many bridges of so many remote VTEPs, next hops and static entries.
fn file(bridges: u32, flood_list: u32, neighbours: u32, fixed: u32) -> String {
    let mut text = String::from("[vtep]\naddress = \"10.0.0.1\"\n[workers]\ncores = [0]\n");
    for (name, role) in [("uplink0", "uplink"), ("trunk0", "access")] {
        writeln!(text, "[[port]]\nname = \"{name}\"\ndevice = \"net_null_{name}\"\nrole = \"{role}\"").expect("text");
    }
    let remote = |number: u32| std::net::Ipv4Addr::from_bits(0x0a01_0000 + number);
    for number in 0..bridges {
        // As far apart as they can be.
        let (vni, vlan) = (number * 4001, number + 1);
        let remotes: Vec<String> = (0..flood_list).map(|number| format!("\"{}\"", remote(number))).collect();
        writeln!(text, "[[bridge]]\nvni = {vni}\nvlan = {vlan}\nports = [\"trunk0\"]").expect("text");
        writeln!(text, "remotes = [{}]", remotes.join(", ")).expect("text");
    }
    for number in 0..neighbours {
        writeln!(text, "[[neighbour]]\naddress = \"{}\"\nmac = \"02:00:00:bb:00:01\"", remote(number)).expect("text");
        writeln!(text, "port = \"uplink0\"").expect("text");
    }
    writeln!(text, "[fdb]\nmax_entries = 131072\nageing = 10").expect("text");
    for number in 0..fixed {
        let (vni, mac) = (number % bridges * 4001, station(number));
        writeln!(text, "[[static]]\nvni = {vni}\nmac = \"{mac}\"\nport = \"trunk0\"").expect("text");
    }
    text
}

fn station(number: u32) -> MacAddr {
    MacAddr::from_u64(0x0200_0000_0000 | u64::from(number))
}

fn parse(text: &str) -> Config {
    Config::parse("memory.toml", text).unwrap_or_else(|found| panic!("{}", found.render(false))).config
}

fn start(config: Config, ring: &Arc<LearnRing>) -> Gateway {
    let facts = [1, 2].map(|last| PortFacts { mac: MacAddr([2, 0, 0, 0, 0, last]), mtu: 1600, receivers: 1 });
    Gateway::start(config, facts.to_vec(), vec![Arc::clone(ring)], Arc::default()).expect("it starts")
}

/// Bytes of the heap that a running gateway with such a file has.
fn running(bridges: u32, flood_list: u32, neighbours: u32, fixed: u32) -> f64 {
    running_with(&file(bridges, flood_list, neighbours, fixed))
}

fn running_with(text: &str) -> f64 {
    let ring = Arc::default();
    let before = LIVE.get();
    let gateway = start(parse(text), &ring);
    let taken = LIVE.get() - before;
    drop(gateway);
    taken as f64
}

/// The bytes that the table in docs/operations.md states in the row that begins with these words.
fn stated(row: &str) -> f64 {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let line = page.lines().find(|line| line.starts_with(&format!("| {row} |"))).unwrap_or_else(|| panic!("no {row}"));
    let number = line.split('|').nth(2).expect("a second column").trim().replace(',', "");
    number.parse().unwrap_or_else(|_| panic!("no number of bytes: {line}"))
}

/// What is stated is not exceeded, and not by far too much.
#[track_caller]
fn assert_stated(row: &str, taken: f64) {
    let stated = stated(row);
    assert!(taken <= stated, "{row}: takes {taken:.1} bytes, and docs/operations.md states {stated}");
    assert!(taken > 0.9 * stated, "{row}: takes {taken:.1} bytes only, and docs/operations.md states {stated}");
}

#[test]
fn a_bridge_takes_as_much_as_is_stated() {
    let bare = running(0, 0, REMOTES, 0);
    let each = (running(BRIDGES, 4, REMOTES, 0) - bare) / f64::from(BRIDGES);
    assert_stated("a bridge with one access member and four remote VTEPs", each);
    let with_more = (running(BRIDGES, 68, REMOTES, 0) - bare) / f64::from(BRIDGES);
    assert_stated("each further remote VTEP of a bridge", (with_more - each) / 64.0);
}

#[test]
fn a_second_tag_takes_as_much_as_is_stated() {
    let text = file(BRIDGES, 4, REMOTES, 0);
    let pairs = text.replace("\nvlan = ", "\nvlan = 4094\ninner_vlan = ");
    let each = (running_with(&pairs) - running_with(&text)) / f64::from(BRIDGES);
    assert_stated("the second tag of a bridge's access member", each);
}

#[test]
fn a_remote_vtep_takes_as_much_as_is_stated() {
    let each = (running(0, 0, REMOTES, 0) - running(0, 0, 0, 0)) / f64::from(REMOTES);
    assert_stated("a remote VTEP with its next hop", each);
}

#[test]
fn a_static_mac_takes_as_much_as_is_stated() {
    let each = (running(BRIDGES, 4, 4, MACS) - running(BRIDGES, 4, 4, 0)) / f64::from(MACS);
    assert_stated("a static MAC address, besides its place in the FDB", each);
}

#[test]
fn reading_a_static_mac_takes_as_much_as_is_stated_and_gives_it_back() {
    let text = file(BRIDGES, 4, 4, MACS);
    let before = LIVE.get();
    PEAK.set(before);
    let config = parse(&text);
    let peak = PEAK.get() - before;
    assert_stated("a static MAC address while a file is read, besides the file", peak as f64 / f64::from(MACS));
    drop(config);
    assert_eq!(LIVE.get(), before);
}

#[test]
fn a_learned_mac_takes_no_more_than_its_place_in_the_fdb_and_one_in_a_queue_when_it_goes() {
    let ring = Arc::default();
    let mut gateway = start(parse(&file(1, 1, 1, 0)), &ring);
    let tables = Arc::clone(gateway.tables());
    let fdb = (tables.fdb.bucket_count() * 64) as f64 / tables.fdb.max_entries() as f64;
    assert_stated("a place in the FDB", fdb);
    let worker = tables.quiescence.register();
    let now = Instant::now();
    let before = LIVE.get();
    let location = Location::access(MemberIndex(0));
    for number in 0..MACS {
        assert!(ring.send(LearnEvent { key: FdbKey::new(BridgeIndex(0), station(number)), location }));
        if number % 8192 == 8191 || number == MACS - 1 {
            gateway.round_at(now);
        }
    }
    assert_eq!(tables.fdb.len(), MACS as usize);
    let learned = (LIVE.get() - before) as usize;
    let displaced = tables.fdb.displaced() as usize;
    let allowed = ONCE + displaced * DISPLACED;
    assert!(learned <= allowed, "{MACS} learned addresses, {displaced} displaced, took {learned} bytes");
    // The worker sleeps, so that none of the places can serve again yet.
    gateway.round_at(now + Duration::from_secs(30));
    assert!(tables.fdb.is_empty());
    let queued = (LIVE.get() - before) as f64 / f64::from(MACS);
    assert!(queued <= 16.5, "a place that waits for workers takes {queued:.1} bytes");
    drop(worker);
}
