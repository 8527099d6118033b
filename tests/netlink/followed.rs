//! Who follows the kernel's FDB, and what a control plane has written there of late.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vtepd::netlink::{Follower, followers, written};

use crate::namespace::{in_namespace, ip, mac, run};

/// `bridge monitor fdb`, ended with the test.
struct Monitor(Child);

impl Drop for Monitor {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_that_follows_the_fdb_is_seen_and_gone_with_its_end() {
    in_namespace(|| {
        assert_eq!(followers().expect("it is read"), []);
        let child = Command::new("bridge").args(["monitor", "fdb"]).stdout(Stdio::null()).spawn().expect("iproute2");
        let monitor = Monitor(child);
        let end = Instant::now() + Duration::from_secs(10);
        let found = loop {
            // Not yet itself, or not yet subscribed.
            let found = followers().expect("it is read");
            if found.iter().any(|found| found.process.as_ref().is_some_and(|(_, name)| name == "bridge")) {
                break found;
            }
            assert!(Instant::now() < end, "not seen: {found:?}");
            std::thread::sleep(Duration::from_millis(5));
        };
        let [Follower { process: Some((process, _)), running: Some(running), lost: 0 }] = &found[..] else {
            panic!("{found:?}");
        };
        assert!(*process == monitor.0.id() && *running < Duration::from_secs(60) && !found[0].may_control());
        drop(monitor);
        assert_eq!(followers().expect("it is read"), []);
    });
}

#[test]
fn what_is_written_again_is_new_although_nothing_changes() {
    in_namespace(|| {
        ip("link add br100 type bridge
            link add vx100 type vxlan id 100 local 192.0.2.1 dstport 4789 nolearning
            link set vx100 master br100
            link set vx100 up");
        let write = |last: u8| {
            run("bridge", &format!("fdb replace {} dev vx100 master extern_learn dynamic", mac(last)));
            run("bridge", &format!("fdb replace {} dev vx100 self dst 192.0.2.11 extern_learn dynamic", mac(last)));
        };
        write(1);
        write(2);
        // An operator's entry is nobody's to write again.
        run("bridge", "fdb replace 02:00:00:00:00:03 dev vx100 master static");
        std::thread::sleep(Duration::from_millis(300));
        write(2);
        let mut found = written().expect("it is read");
        found.sort_by_key(|entry| entry.mac);
        let macs: Vec<_> = found.iter().map(|entry| entry.mac).collect();
        assert_eq!(macs, [mac(1), mac(2)]);
        assert!(found[0].ago >= Duration::from_millis(290) && found[0].ago > found[1].ago, "{found:?}");
        assert_eq!(found[0].port, found[1].port);
    });
}
