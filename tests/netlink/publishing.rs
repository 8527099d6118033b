//! Bridges with `control = "kernel"`: the devices that the gateway makes, and what it tells them.

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use vtepd::netlink::Executor;
use vtepd::tables::BindingSource;
use vtepd::wire::nd::TargetFlags;

use crate::adoption::{DEVICE, Desk, config, remote};
use crate::namespace::{in_namespace, ip, mac, run};

/// A gateway that makes devices and publishes.
fn desk(rest: &str) -> Desk {
    Desk::with_orders(config("kernel", rest), Executor::start(Executor::THREAD).expect("a thread"))
}

/// What a command prints.
fn output(program: &str, words: &str) -> String {
    let output = Command::new(program).args(words.split_whitespace()).output().expect("iproute2 is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The ports that the kernel's bridge has a station behind.
fn bridged(station: u8) -> Vec<String> {
    let text = output("bridge", "fdb show");
    let address = mac(station).to_string();
    let lines = text.lines().filter(|line| line.starts_with(&address) && line.contains("master"));
    lines.filter_map(|line| Some(line.split_whitespace().nth(2)?.to_owned())).collect()
}

fn until_bridged(desk: &mut Desk, station: u8, port: Option<&str>) -> Duration {
    desk.until(&format!("station {station} is behind {port:?}"), |_| {
        bridged(station).iter().map(String::as_str).eq(port)
    })
}

fn is_there(link: &str) -> bool {
    output("ip", "-br link").lines().any(|line| line.split([' ', '@']).next() == Some(link))
}

fn made(desk: &mut Desk) {
    desk.until("the devices are made", |_| {
        let text = output("ip", "-d link show vtvx100");
        text.contains("master vtbr100") && text.contains("qdisc blackhole") && text.contains("UP")
    });
    desk.until("the port is in the bridge", |_| output("ip", "link show vtac100").contains("master vtbr100"));
}

#[test]
fn devices_that_are_missing_are_made_used_and_removed_at_the_end() {
    in_namespace(|| {
        let mut desk = desk("");
        made(&mut desk);
        let text = output("ip", "-d link show vtvx100");
        assert!(text.contains("vxlan id 100 local 192.0.2.1") && text.contains("nolearning"), "{text}");
        desk.until("the bridge is up", |_| output("ip", "-br link show vtbr100").contains(",UP"));
        assert_eq!(output("ip", "-6 addr show dev vtbr100") + &output("ip", "-6 addr show dev vtvx100"), "");
        // Nothing that the kernel sends by itself leaves the vxlan device.
        run("bridge", "fdb append 00:00:00:00:00:00 dev vtvx100 dst 192.0.2.2");
        run("bridge", "fdb append 02:00:00:00:00:01 dev vtvx100 dst 192.0.2.2");
        desk.until("it is adopted", |desk| desk.place(mac(1)).as_deref() == Some("192.0.2.2"));
        assert!(is_there("vtac-vtepd"), "the TAP that the port is on");
        desk.gateway.leave_kernel();
        for link in ["vtbr100", "vtvx100", "vtac100", "vtac-vtepd"] {
            assert!(!is_there(link), "{link}");
        }
    });
}

#[test]
fn what_is_being_made_when_the_end_comes_is_removed_as_well() {
    in_namespace(|| {
        let mut desk = desk("");
        // Orders are given; nobody has looked yet what has become of them.
        desk.gateway.round();
        desk.gateway.leave_kernel();
        // Whoever carries them out ends with the gateway.
        drop(desk);
        for link in ["vtbr100", "vtvx100", "vtac100"] {
            assert!(!is_there(link), "{link}");
        }
    });
}

#[test]
fn stations_are_published_and_withdrawn_and_move_both_ways() {
    in_namespace(|| {
        let mut desk = desk("");
        made(&mut desk);
        desk.hear(1);
        until_bridged(&mut desk, 1, Some("vtac100"));
        let text = output("bridge", "fdb show dev vtac100");
        assert!(
            text.lines().any(|line| line.starts_with("02:00:00:00:00:01") && line.contains("extern_learn")),
            "{text}"
        );
        desk.until("it is counted", |desk| desk.telemetry.kernel.published_stations.get() == 1);
        // A remote VTEP says that it is there: as zebra writes it, in one message for both halves.
        run("bridge", "fdb replace 02:00:00:00:00:01 dev vtvx100 master self dst 192.0.2.7 extern_learn dynamic");
        desk.until_at(1, Some("192.0.2.7"));
        desk.until("it is not published", |desk| desk.telemetry.kernel.published_stations.get() == 0);
        until_bridged(&mut desk, 1, Some("vtvx100"));
        // It is heard here again: forwarded at once, told, and where it was is forgotten.
        desk.hear(1);
        assert_eq!(desk.place(mac(1)).as_deref(), Some("access"));
        until_bridged(&mut desk, 1, Some("vtac100"));
        desk.until("the other half is gone", |_| {
            let text = output("bridge", "fdb show dev vtvx100");
            !text.contains("02:00:00:00:00:01")
        });
        desk.until("both times are counted", |desk| desk.telemetry.kernel.published.get() == 2);
        // What is heard once more is no news.
        desk.hear(1);
        desk.for_a_while(Duration::from_millis(50));
        assert_eq!(desk.telemetry.kernel.published.get(), 2);
        // It ages.
        let now = Instant::now();
        for second in (0..700).step_by(2) {
            desk.gateway.round_at(now + Duration::from_secs(second));
        }
        desk.until_later(now + Duration::from_secs(700), "it is withdrawn", |_| bridged(1).is_empty());
        assert_eq!(desk.telemetry.kernel.withdrawn.get(), 1);
    });
}

#[test]
fn static_stations_are_published_too_and_a_reload_withdraws_them() {
    in_namespace(|| {
        let fixed = "[[static]]\nvni = 100\nmac = \"02:00:00:00:00:02\"\nport = \"trunk0\"\n";
        let mut desk = desk(fixed);
        until_bridged(&mut desk, 2, Some("vtac100"));
        let is_sticky = |station| {
            output("bridge", "-d fdb show dev vtac100")
                .lines()
                .any(|line| line.starts_with(&mac(station).to_string()) && line.contains("sticky"))
        };
        desk.until("it is told as one that does not move", |_| is_sticky(2));
        // One that was learned may move, until it is static; and again when it is static no more.
        desk.hear(3);
        until_bridged(&mut desk, 3, Some("vtac100"));
        assert!(!is_sticky(3));
        let both = format!("{fixed}{}", fixed.replace(":02\"", ":03\""));
        desk.gateway.apply(config("kernel", &both)).expect("it is applied");
        desk.until("both are", |_| is_sticky(2) && is_sticky(3));
        desk.gateway.apply(config("kernel", fixed)).expect("it is applied");
        desk.hear(3);
        desk.until("one may move", |_| bridged(3) == ["vtac100"] && !is_sticky(3));
        desk.gateway.apply(config("kernel", "")).expect("it is applied");
        until_bridged(&mut desk, 2, None);
        desk.gateway.apply(config("kernel", fixed)).expect("it is applied");
        until_bridged(&mut desk, 2, Some("vtac100"));
        // The kernel has nothing to do with the bridge any more.
        desk.gateway.apply(config("static", fixed)).expect("it is applied");
        desk.until("all devices are gone", |_| {
            ["vtbr100", "vtvx100", "vtac100", "vtac-vtepd"].iter().all(|link| !is_there(link))
        });
        desk.gateway.apply(config("kernel", fixed)).expect("it is applied");
        until_bridged(&mut desk, 2, Some("vtac100"));
    });
}

#[test]
fn an_operators_devices_are_adopted_and_outlive_the_gateway() {
    in_namespace(|| {
        ip(DEVICE);
        remote("add", 1, 2);
        let mut desk = desk("");
        desk.hear(3);
        until_bridged(&mut desk, 3, Some("vtac100"));
        assert!(!is_there("vtbr100") && !is_there("vtvx100"));
        desk.gateway.leave_kernel();
        assert!(is_there("br100") && is_there("vx100") && !is_there("vtac100") && !is_there("vtac-vtepd"));
        assert_eq!((bridged(1), bridged(3)), (vec!["vx100".to_owned()], vec![]));
    });
}

#[test]
fn neighbours_on_an_operators_bridge_stay_when_the_port_joins_it() {
    in_namespace(|| {
        ip(DEVICE);
        // Any address below this one would give the bridge another when its port came.
        ip("link set vx100 address fe:00:00:00:00:00
            link set br100 up");
        run("ip", "neigh replace 10.1.0.2 lladdr 02:00:00:00:00:02 dev br100 nud noarp extern_learn");
        let mut desk = desk("");
        let v4 = "10.1.0.2".parse().expect("an address");
        desk.until("the port joins", |_| output("ip", "link show vtac100").contains("master br100"));
        desk.for_a_while(Duration::from_millis(50));
        assert!(output("ip", "neigh show dev br100").contains("10.1.0.2"), "the kernel has forgotten it");
        assert!(desk.binding(v4).is_some());
        assert!(output("ip", "link show vtac100").contains("link/ether fe:"));
    });
}

#[test]
fn a_device_is_adopted_by_name_and_waited_for() {
    in_namespace(|| {
        // Another one with that VNI is there, on another port: flannel's.
        ip("link add flannel.1 type vxlan id 100 local 192.0.2.1 dstport 8472 nolearning
            link set flannel.1 up");
        run("bridge", "fdb append 02:00:00:00:00:09 dev flannel.1 dst 192.0.2.9");
        let mut desk = desk("kernel_device = \"vx{vni}\"");
        desk.for_a_while(Duration::from_millis(50));
        assert!(!is_there("vtvx100"));
        ip(DEVICE);
        remote("add", 1, 2);
        desk.until_at(1, Some("192.0.2.2"));
        assert_eq!(desk.place(mac(9)), None);
        desk.hear(3);
        until_bridged(&mut desk, 3, Some("vtac100"));
    });
}

#[test]
fn devices_that_are_deleted_are_made_again_with_all_that_was_published() {
    in_namespace(|| {
        let mut desk = desk("");
        made(&mut desk);
        desk.hear(1);
        until_bridged(&mut desk, 1, Some("vtac100"));
        for link in ["vtac100", "vtac-vtepd", "vtbr100", "vtvx100"] {
            ip(&format!("link del {link}"));
            desk.until(&format!("{link} is there again"), |_| is_there(link));
            made(&mut desk);
            until_bridged(&mut desk, 1, Some("vtac100"));
        }
    });
}

#[test]
fn the_port_goes_with_the_gateway_and_its_stations_with_the_port() {
    in_namespace(|| {
        let mut desk = desk("");
        made(&mut desk);
        desk.hear(1);
        until_bridged(&mut desk, 1, Some("vtac100"));
        drop(desk);
        // A child that another test starts just now has the TAP open until it is another program.
        let dropped = Instant::now();
        while is_there("vtac100") || is_there("vtac-vtepd") {
            assert!(dropped.elapsed() < Duration::from_secs(5), "its links stay");
        }
        assert!(is_there("vtbr100") && is_there("vtvx100") && bridged(1).is_empty());
        // The next one finds the rest.
        let mut desk = self::desk("");
        made(&mut desk);
        desk.hear(1);
        until_bridged(&mut desk, 1, Some("vtac100"));
    });
}

#[test]
fn what_a_killed_gateway_left_is_taken_over_or_removed() {
    in_namespace(|| {
        // As a crash leaves it, set down by the supervisor.
        ip("link add vtbr100 group 4789 type bridge
            link add vtvx100 group 4789 type vxlan id 100 local 192.0.2.1 dstport 4789 nolearning
            link add vtbr7 group 4789 type bridge
            link add vtvx7 group 4789 type vxlan id 7 local 192.0.2.1 dstport 4789 nolearning
            link add vtbr8 type bridge
            link set vtvx100 master vtbr100
            link set vtvx7 master vtbr7");
        for link in ["vtbr100", "vtvx100", "vtbr7", "vtvx7"] {
            let set = Command::new("ip").args(["link", "set", link, "alias", "vtepd vtepd"]).status();
            assert!(set.expect("iproute2 is installed").success());
        }
        run("bridge", "fdb append 02:00:00:00:00:01 dev vtvx100 dst 192.0.2.2");
        let index = || output("ip", "-o link show vtvx100").split(':').next().map(str::to_owned);
        let before = index();
        let mut desk = desk("");
        assert_eq!(desk.place(mac(1)).as_deref(), Some("192.0.2.2"), "what it had is in force at once");
        made(&mut desk);
        assert_eq!(index(), before, "it is the same device");
        desk.until("what nobody wants is removed", |_| !is_there("vtvx7") && !is_there("vtbr7"));
        assert!(is_there("vtbr8"), "it is nobody's of the gateway's");
    });
}

#[test]
fn addresses_of_stations_are_neighbours_of_the_bridge() {
    in_namespace(|| {
        let mut desk = desk("");
        made(&mut desk);
        let [v4, v6]: [IpAddr; 2] = ["10.1.0.1", "fd00::1"].map(|address| address.parse().expect("an address"));
        desk.hear_say(1, v4, None);
        desk.hear_say(1, v6, Some(TargetFlags::ROUTER));
        let known = || output("ip", "neigh show dev vtbr100");
        desk.until("both are there", |_| {
            let text = known();
            text.contains("10.1.0.1 lladdr 02:00:00:00:00:01 PERMANENT")
                && text.contains("fd00::1 lladdr 02:00:00:00:00:01 router PERMANENT")
        });
        // Said again, it is no news.
        let told = 3;
        desk.until("it is counted", |desk| desk.telemetry.kernel.published.get() == told);
        desk.hear_say(1, v4, None);
        desk.for_a_while(Duration::from_millis(50));
        assert_eq!(desk.telemetry.kernel.published.get(), told);
        // Zebra says that one is elsewhere now.
        run("ip", "neigh replace 10.1.0.1 lladdr 02:00:00:00:00:09 dev vtbr100 nud noarp extern_learn");
        let remote = |desk: &Desk, address| {
            desk.binding(address).filter(|binding| binding.source == BindingSource::Kernel).map(|binding| binding.mac)
        };
        desk.until("it is taken over", |desk| remote(desk, v4) == Some(mac(9)));
        desk.for_a_while(Duration::from_millis(50));
        assert!(known().contains("10.1.0.1 lladdr 02:00:00:00:00:09"), "nobody fights for it: {}", known());
        // The station says again that it is its own.
        desk.hear_say(1, v4, None);
        desk.until("it is back", |_| known().contains("10.1.0.1 lladdr 02:00:00:00:00:01 PERMANENT"));
        assert_eq!(desk.binding(v4).map(|binding| binding.source), Some(BindingSource::Learned));
        // It ages, and its addresses go with it.
        let later = Instant::now() + Duration::from_secs(700);
        desk.until_later(later, "they are withdrawn", |desk| {
            !known().contains("02:00:00:00:00:01") && desk.binding(v4).is_none() && desk.binding(v6).is_none()
        });
    });
}

#[test]
fn addresses_of_remote_stations_are_taken_from_the_kernel_and_given_back() {
    in_namespace(|| {
        let mut desk = desk("");
        made(&mut desk);
        let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
        // As zebra writes them, one of them a router's; and as an operator does.
        run("ip", "neigh replace 10.1.0.2 lladdr 02:00:00:00:00:02 dev vtbr100 nud noarp extern_learn");
        run("ip", "neigh replace fd00::2 lladdr 02:00:00:00:00:02 dev vtbr100 nud noarp extern_learn router");
        run("ip", "neigh replace 10.1.0.3 lladdr 02:00:00:00:00:03 dev vtbr100 nud permanent");
        let (v4, v6, fixed) = (address("10.1.0.2"), address("fd00::2"), address("10.1.0.3"));
        desk.until("all are known", |desk| [v4, v6, fixed].iter().all(|address| desk.binding(*address).is_some()));
        let flags = |desk: &Desk, address| desk.binding(address).and_then(|binding| binding.flags);
        assert_eq!(flags(&desk, v4), Some(TargetFlags::OVERRIDE));
        assert_eq!(flags(&desk, v6), Some(TargetFlags::ROUTER.and(TargetFlags::OVERRIDE)));
        run("ip", "neigh replace 10.1.0.2 lladdr 02:00:00:00:00:07 dev vtbr100 nud noarp extern_learn");
        desk.until("it is another's", |desk| desk.binding(v4).is_some_and(|binding| binding.mac == mac(7)));
        run("ip", "neigh del 10.1.0.2 dev vtbr100");
        desk.until("it is gone", |desk| desk.binding(v4).is_none());
        // What the kernel has kept is known after a restart, and goes with the bridge.
        drop(desk);
        let mut desk = self::desk("");
        desk.until("they are known again", |desk| desk.binding(v6).is_some() && desk.binding(fixed).is_some());
        ip("link del vtbr100");
        desk.until("they are gone with the bridge", |desk| desk.binding(v6).is_none() && desk.binding(fixed).is_none());
    });
}

#[test]
fn remote_addresses_that_had_no_room_or_no_place_are_known_once_there_is_one() {
    in_namespace(|| {
        let few = "[fdb]\nmax_bindings = 8";
        let mut desk = desk(few);
        made(&mut desk);
        let address = |last: u8| -> IpAddr { [10, 1, 0, last].into() };
        let remote = |verb: &str, last: u8| match verb {
            "del" => run("ip", &format!("neigh del 10.1.0.{last} dev vtbr100")),
            _ => run(
                "ip",
                &format!(
                    "neigh replace 10.1.0.{last} lladdr 02:00:00:00:00:{last:02x} dev vtbr100 nud noarp extern_learn"
                ),
            ),
        };
        let known = |desk: &Desk| (1..=10).filter(|last| desk.binding(address(*last)).is_some()).count();
        (1..=9).for_each(|last| remote("replace", last));
        desk.until("the table is full", |desk| known(desk) == 8);
        let left_out = (1..=9).find(|last| desk.binding(address(*last)).is_none()).expect("one has no room");
        let others = (1..=9).filter(|last| *last != left_out);
        others.take(3).for_each(|last| remote("del", last));
        desk.until("the one that had no room is there", |desk| desk.binding(address(left_out)).is_some());
        assert_eq!(known(&desk), 6);
        // With learning switched off they go, and with it they come back.
        desk.gateway.apply(config("kernel", &format!("learning = false\n{few}"))).expect("it is applied");
        desk.until("none is left", |desk| known(desk) == 0);
        desk.gateway.apply(config("kernel", few)).expect("it is applied");
        desk.until("all are back", |desk| known(desk) == 6);
    });
}

#[test]
fn a_station_that_was_learned_behind_a_remote_vtep_is_published_when_it_moves_here_under_the_kernels_control() {
    in_namespace(|| {
        let remotes = "remotes = [\"192.0.2.7\"]";
        let executor = Executor::start(Executor::THREAD).expect("a thread");
        let mut desk = Desk::with_orders(config("static", remotes), executor);
        desk.hear_behind([192, 0, 2, 7].into(), 1);
        assert_eq!(desk.place(mac(1)).as_deref(), Some("192.0.2.7"));
        desk.gateway.apply(config("kernel", remotes)).expect("it is applied");
        made(&mut desk);
        desk.hear(1);
        assert_eq!(desk.place(mac(1)).as_deref(), Some("access"));
        until_bridged(&mut desk, 1, Some("vtac100"));
    });
}

#[test]
fn ten_thousand_stations_are_published_and_withdrawn() {
    in_namespace(|| {
        let mut desk = desk("");
        made(&mut desk);
        let began = Instant::now();
        desk.hear_many(10_000);
        desk.until("all are published", |desk| desk.telemetry.kernel.published_stations.get() == 10_000);
        println!("10000 stations heard and in the kernel's bridge after {:?}", began.elapsed());
        let began = Instant::now();
        ip("link del vtac100");
        desk.until("all are published again", |desk| {
            desk.telemetry.kernel.published.get() == 20_000 && desk.telemetry.kernel.published_stations.get() == 10_000
        });
        println!("and again {:?} after the port was deleted", began.elapsed());
        let now = Instant::now();
        for second in (0..700).step_by(2) {
            desk.gateway.round_at(now + Duration::from_secs(second));
        }
        let began = Instant::now();
        desk.until_later(now + Duration::from_secs(700), "all are withdrawn", |desk| {
            desk.telemetry.kernel.withdrawn.get() == 10_000
        });
        println!("and gone {:?} after they had aged", began.elapsed());
        assert_eq!(desk.telemetry.kernel.refused.get(), 0);
    });
}
