//! Many VNIs and stations: `cargo test --release --no-default-features --test netlink -- --ignored --nocapture scale`.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use vtepd::config::Config;
use vtepd::netlink::Executor;

use crate::adoption::Desk;
use crate::namespace::{bridge_batch, in_namespace, ip_batch, mac};

const VNIS: u32 = 1000;
const STATIONS: u32 = 100;

fn config(vnis: u32, control: &str) -> Config {
    let text = format!(
        "[vtep]\naddress = \"192.0.2.1\"\n[workers]\ncores = [0]\n[fdb]\nmax_entries = 200000\n\
         [[port]]\nname = \"up0\"\ndevice = \"net_null0\"\nrole = \"uplink\"\n\
         [[port]]\nname = \"trunk0\"\ndevice = \"net_null1\"\nrole = \"access\"\n\
         [[bridge]]\nvni = \"100-{}\"\nvlan = \"100-{}\"\nports = [\"trunk0\"]\ncontrol = \"{control}\"\n",
        99 + vnis,
        99 + vnis
    );
    Config::parse("scale.toml", &text).map_err(|wrong| wrong.render(false)).expect("it is valid").config
}

/// Memory of this process, in MiB.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/statm").expect("memory");
    status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") / 256
}

fn entries(verb: &'static str) -> impl Iterator<Item = String> {
    (0..VNIS * STATIONS).map(move |number| {
        let [_, high, middle, low] = number.to_be_bytes();
        let (vni, vtep) = (100 + number / STATIONS, 2 + number % 50);
        format!("fdb {verb} 02:00:01:{high:02x}:{middle:02x}:{low:02x} dev vx{vni} dst 192.0.2.{vtep}")
    })
}

/// Processor time of this thread.
fn worked() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has that clock").into()
}

#[test]
#[ignore = "takes a minute"]
fn the_devices_of_many_vnis_are_made_taken_over_and_removed() {
    for vnis in [100, 300, VNIS] {
        in_namespace(|| devices(vnis));
    }
}

fn devices(vnis: u32) {
    let made = |desk: &Desk| {
        let overview = desk.gateway.overview().load();
        overview.len() == vnis as usize && overview.values().all(|bridge| bridge.port.is_some())
    };
    let gone = |_: &Desk| {
        let links = fs::read_to_string("/proc/thread-self/net/dev").expect("the namespace's links");
        !links.lines().any(|line| line.trim_start().starts_with("vt"))
    };
    for what in ["made", "taken over", "made again"] {
        let mut desk = Desk::with_orders(config(vnis, "kernel"), Executor::start(Executor::THREAD).expect("a thread"));
        rounds(&mut desk, &format!("{vnis} bridges {what}"), made);
        let began = Instant::now();
        match what {
            // As where the process is killed: the ports go, the rest stays.
            "made" => {
                drop(desk);
                println!("and their ports gone {:?} after that", began.elapsed());
            }
            "taken over" => {
                desk.gateway.leave_kernel();
                println!("and all removed {:?} after that", began.elapsed());
            }
            _ => {
                desk.gateway.apply(config(vnis, "static")).expect("it is applied");
                rounds(&mut desk, "and all removed by a reload", gone);
            }
        }
    }
}

/// Goes round until something is so, and says how long that took, and the longest round.
fn rounds(desk: &mut Desk, what: &str, is_so: impl Fn(&Desk) -> bool) {
    let (began, mut longest, mut most) = (Instant::now(), Duration::ZERO, Duration::ZERO);
    while !is_so(desk) {
        let (round, before) = (Instant::now(), worked());
        desk.gateway.round();
        (longest, most) = (longest.max(round.elapsed()), most.max(worked() - before));
        std::thread::sleep(Duration::from_millis(1));
        assert!(began.elapsed() < Duration::from_secs(180), "never: {what}");
    }
    // Others use this machine as well, which the processor time of a round does not count.
    println!(
        "{what} after {:?}, the longest round {longest:?}, the most processor time of one {most:?}",
        began.elapsed()
    );
}

#[test]
#[ignore = "takes a minute"]
fn a_thousand_vnis_with_a_hundred_thousand_stations() {
    in_namespace(|| {
        let mut devices = String::new();
        for vni in 100..100 + VNIS {
            let _ = writeln!(devices, "link add br{vni} type bridge");
            let _ = writeln!(devices, "link add vx{vni} type vxlan id {vni} local 192.0.2.1 dstport 4789 nolearning");
            let _ = writeln!(devices, "link set vx{vni} master br{vni} up");
        }
        ip_batch(&devices);
        let floods = (100..100 + VNIS).flat_map(|vni| {
            (2..12).map(move |vtep| format!("fdb append 00:00:00:00:00:00 dev vx{vni} dst 192.0.2.{vtep}"))
        });
        bridge_batch(floods);
        bridge_batch(entries("append"));
        let (before, began) = (resident(), Instant::now());
        let mut desk = Desk::new(config(VNIS, "kernel"));
        let all = |desk: &Desk| desk.gateway.tables().fdb.iter().count();
        println!("start with {} stations: {:?}, {} MiB", all(&desk), began.elapsed(), resident() - before);
        assert_eq!(all(&desk), (VNIS * STATIONS) as usize);

        let mut times: Vec<Duration> = (1..=20_u8)
            .map(|station| {
                crate::namespace::run(
                    "bridge",
                    &format!("fdb append 02:00:00:00:00:{station:02x} dev vx100 dst 192.0.2.{}", 100 + station),
                );
                desk.until("it is there", |desk| desk.place(mac(station)).is_some())
            })
            .collect();
        times.sort();
        println!("one more station, behind a new remote VTEP: {:?}, at most {:?}", times[10], times[19]);

        bridge_batch(entries("del"));
        let time = desk.until("all are gone", |desk| all(desk) == 20);
        println!("all gone {time:?} after the kernel had none");

        bridge_batch(entries("append"));
        desk.until("all are back", |desk| all(desk) == (VNIS * STATIONS) as usize + 20);
        // A whole resync while nothing changes: the longest round is what the control thread is not there for.
        let resyncs = desk.telemetry.kernel.resyncs.get();
        let (mut longest, mut later) = (Duration::ZERO, Instant::now() + Duration::from_secs(31));
        while desk.telemetry.kernel.resyncs.get() == resyncs {
            let round = Instant::now();
            desk.gateway.round_at(later);
            longest = longest.max(round.elapsed());
            later += Duration::from_millis(1);
        }
        println!("a resync's longest round: {longest:?}");
    });
}
