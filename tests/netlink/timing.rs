//! How soon a way that fails is out of use, and how long a comparison of everything takes.

use std::time::{Duration, Instant};

use crate::namespace::{Followed, bridge_batch, in_namespace, ip, uplink, ways};

/// From the kernel's message to the ways without it.
const LIMIT: Duration = Duration::from_millis(10);

/// The kernel's message is on its way when the command that caused it has ended. Of twelve times the fourth counts, for
/// others use this machine as well: what it takes where they let it.
fn time_of_failures(followed: &mut Followed, fail: &str, repair: &str) -> Duration {
    let both = [(0, 2, 1), (1, 4, 1)];
    let mut times: Vec<Duration> = (0..12)
        .map(|_| {
            ip(repair);
            followed.until("both ways", |kernel| ways(kernel, "192.0.2.1") == both);
            ip(fail);
            followed.until(fail, |kernel| ways(kernel, "192.0.2.1").len() < 2)
        })
        .collect();
    times.sort();
    println!("{fail}: out of use after {:?} (of {} times, {:?} to {:?})", times[3], times.len(), times[0], times[11]);
    times[3]
}

#[test]
fn what_fails_is_out_of_use_within_ten_milliseconds() {
    in_namespace(|| {
        uplink("up0");
        uplink("up1");
        ip("addr add 10.0.0.1/24 dev up0
            addr add 10.0.1.1/24 dev up1");
        let mut followed = Followed::new(&["up0", "up1"], &["192.0.2.1"]);
        let repair = "link set up0 up
            link set up0p up
            neigh replace 10.0.0.2 lladdr 02:00:00:00:00:02 dev up0
            neigh replace 10.0.1.4 lladdr 02:00:00:00:00:04 dev up1
            route replace 192.0.2.0/24 nexthop via 10.0.0.2 nexthop via 10.0.1.4";
        for fail in [
            "link set up0p down",
            "link set up0 down",
            "neigh del 10.0.0.2 dev up0",
            "neigh replace 10.0.0.2 dev up0 nud failed",
            "route replace 192.0.2.0/24 via 10.0.1.4",
        ] {
            let time = time_of_failures(&mut followed, fail, repair);
            assert!(time < LIMIT, "{fail}: {time:?}");
        }
    });
}

#[test]
fn twenty_thousand_entries_are_read_within_a_second() {
    in_namespace(|| {
        ip("link add vx100 type vxlan id 100 local 192.0.2.1 dstport 4789 nolearning
            link set vx100 up");
        bridge_batch((0..20_000_u32).map(|number| {
            let [_, high, middle, low] = number.to_be_bytes();
            format!("fdb add 02:00:00:{high:02x}:{middle:02x}:{low:02x} dev vx100 dst 192.0.2.11")
        }));
        // The best of three: others use this machine as well.
        let times = [(); 3].map(|()| {
            let began = Instant::now();
            let followed = Followed::new(&[], &[]);
            let time = began.elapsed();
            assert_eq!(followed.kernel.mirror().entries().tunnelled, 20_000);
            time
        });
        println!("20000 FDB entries mirrored after {times:?}");
        assert!(times.iter().any(|time| *time < Duration::from_secs(1)), "{times:?}");
    });
}
