//! MAC+IP bindings: what workers report is learned where its station is known, and leaves with the station.

use std::net::IpAddr;
use std::time::Duration;

use vtepd::tables::bindings::{Binding, BindingKey, BindingReport, BindingSource};
use vtepd::telemetry::BindingEvent;
use vtepd::wire::nd::TargetFlags;

use crate::desk::{Desk, bridge, config, log_of, mac};

const SUPPRESSING: &str = "neighbour_suppression = true";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

impl Desk {
    fn binding_key(&self, vni: u32, address: &str) -> BindingKey {
        BindingKey { bridge: self.bridge(vni), address: ip(address) }
    }

    fn binding(&self, vni: u32, address: &str) -> Option<Binding> {
        self.gateway.tables().bindings.lookup(self.binding_key(vni, address))
    }

    /// A worker heard station `number` say that the address is its own.
    fn says(&self, vni: u32, number: u64, address: &str, flags: Option<TargetFlags>) {
        let key = self.binding_key(vni, address);
        assert!(self.ring.report(BindingReport { key, mac: mac(number), flags }));
    }

    fn binding_events(&self, event: BindingEvent) -> u64 {
        self.control.bindings.events(event)
    }
}

fn desk(rest: &str) -> Desk {
    Desk::new(config(&(bridge(100, 100, SUPPRESSING) + &bridge(200, 200, "") + rest)))
}

#[test]
fn a_binding_is_learned_with_its_station_in_one_round() {
    let mut desk = desk("");
    assert!(desk.ring.send(desk.event(100, mac(1), "trunk0")));
    desk.says(100, 1, "192.0.2.1", None);
    desk.says(100, 1, "2001:db8::1", Some(TargetFlags::ROUTER));
    assert_eq!(desk.round(), 3);
    let binding = desk.binding(100, "192.0.2.1").expect("learned");
    assert_eq!((binding.mac, binding.source, binding.flags), (mac(1), BindingSource::Learned, None));
    assert_eq!(desk.binding(100, "2001:db8::1").and_then(|binding| binding.flags), Some(TargetFlags::ROUTER));
    assert_eq!(desk.binding_events(BindingEvent::Learned), 2);
    assert_eq!(desk.control.bindings.count(BindingSource::Learned).get(), 2);
    // A solicitation says nothing of flags, so those of the advertisement hold on.
    desk.says(100, 1, "2001:db8::1", None);
    desk.round();
    assert_eq!(desk.binding(100, "2001:db8::1").and_then(|binding| binding.flags), Some(TargetFlags::ROUTER));
}

#[test]
fn a_binding_of_an_unknown_station_or_in_a_bridge_that_learns_none_is_refused() {
    let mut desk = desk("");
    desk.says(100, 1, "192.0.2.1", None);
    desk.hear(100, mac(1), "10.0.0.2");
    desk.says(100, 1, "192.0.2.1", None);
    desk.round();
    assert_eq!((desk.binding(100, "192.0.2.1"), desk.binding_events(BindingEvent::RefusedUnknownMac)), (None, 2));
    desk.hear(200, mac(1), "trunk0");
    desk.says(200, 1, "192.0.2.1", None);
    desk.round();
    assert_eq!(desk.binding(200, "192.0.2.1"), None);
}

#[test]
fn an_address_goes_to_the_station_that_claimed_it_last() {
    let mut desk = desk("");
    desk.hear(100, mac(1), "trunk0");
    desk.hear(100, mac(2), "trunk1");
    desk.says(100, 1, "192.0.2.1", None);
    desk.says(100, 2, "192.0.2.1", None);
    desk.round();
    assert_eq!(desk.binding(100, "192.0.2.1").map(|binding| binding.mac), Some(mac(2)));
    assert_eq!([BindingEvent::Learned, BindingEvent::Moved].map(|event| desk.binding_events(event)), [1, 1]);
    assert_eq!(desk.control.bindings.count(BindingSource::Learned).get(), 1);
}

#[test]
fn a_binding_stays_while_its_station_moves_between_access_ports_and_leaves_when_it_is_remote() {
    let mut desk = desk("[fdb]\nmax_bindings = 64\n");
    desk.hear(100, mac(1), "trunk0");
    desk.says(100, 1, "192.0.2.1", None);
    desk.hear(100, mac(1), "trunk1");
    desk.pass(Duration::from_millis(1500));
    assert!(desk.binding(100, "192.0.2.1").is_some());
    desk.hear(100, mac(1), "10.0.0.3");
    desk.pass(Duration::from_millis(1100));
    assert_eq!((desk.binding(100, "192.0.2.1"), desk.binding_events(BindingEvent::Withdrawn)), (None, 1));
}

#[test]
fn a_binding_ages_with_its_station() {
    let mut desk = desk("[fdb]\nmax_bindings = 64\nageing = 10\n");
    desk.hear(100, mac(1), "trunk0");
    desk.says(100, 1, "192.0.2.1", None);
    desk.pass(Duration::from_millis(9900));
    assert!(desk.binding(100, "192.0.2.1").is_some());
    desk.pass(Duration::from_millis(2500));
    assert_eq!((desk.binding(100, "192.0.2.1"), desk.control.bindings.count(BindingSource::Learned).get()), (None, 0));
}

#[test]
fn a_binding_that_its_station_does_not_say_again_ages_before_it() {
    let mut desk = desk("[fdb]\nmax_bindings = 64\nageing = 0\nbinding_ageing = 60\n");
    desk.hear(100, mac(1), "trunk0");
    for address in ["192.0.2.1", "192.0.2.2"] {
        desk.says(100, 1, address, None);
    }
    desk.pass(Duration::from_secs(40));
    desk.says(100, 1, "192.0.2.2", None);
    desk.pass(Duration::from_secs(19));
    assert!(desk.binding(100, "192.0.2.1").is_some());
    desk.pass(Duration::from_secs(8));
    assert_eq!(desk.binding(100, "192.0.2.1"), None);
    assert!(desk.binding(100, "192.0.2.2").is_some(), "it was said again");
    assert_eq!(desk.binding_events(BindingEvent::Aged), 1);
}

#[test]
fn a_reload_that_ends_suppression_forgets_the_bridges_bindings_at_once() {
    let mut desk = desk("");
    desk.hear(100, mac(1), "trunk0");
    desk.says(100, 1, "192.0.2.1", None);
    desk.round();
    desk.reload(config(&bridge(100, 100, SUPPRESSING)));
    assert!(desk.binding(100, "192.0.2.1").is_some());
    desk.reload(config(&bridge(100, 100, "")));
    assert_eq!((desk.binding(100, "192.0.2.1"), desk.gateway.tables().bindings.len()), (None, 0));
}

#[test]
fn beyond_the_limit_a_binding_is_refused_and_that_is_logged_once() {
    let mut desk = desk("[fdb]\nmax_bindings = 2\n");
    desk.hear(100, mac(1), "trunk0");
    let log = log_of(|| {
        for number in 1..=4 {
            desk.says(100, 1, &format!("192.0.2.{number}"), None);
            desk.round();
        }
    });
    assert_eq!((desk.gateway.tables().bindings.len(), desk.binding_events(BindingEvent::RefusedByLimit)), (2, 2));
    assert_eq!(log.matches("max_bindings").count(), 2, "one line, that names the key and the number: {log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[test]
fn a_station_that_claims_ever_more_addresses_leaves_the_others_their_room() {
    let mut desk = Desk::new(config(
        &(bridge(100, 100, SUPPRESSING) + &bridge(200, 200, SUPPRESSING) + "[fdb]\nmax_bindings = 256\nageing = 10\n"),
    ));
    (1..=2).for_each(|number| desk.hear(100, mac(number), "trunk0"));
    desk.hear(200, mac(1), "trunk0");
    desk.says(100, 2, "192.0.2.1", None);
    let claim = |desk: &mut Desk, address: u32| {
        desk.says(100, 1, &std::net::Ipv4Addr::from_bits(address).to_string(), None);
        desk.round();
    };
    (0..300).for_each(|number| claim(&mut desk, 0x0a00_0001 + number));
    assert_eq!(desk.gateway.tables().bindings.len(), 64 + 1);
    let refused = [BindingEvent::RefusedByStationLimit, BindingEvent::RefusedByLimit];
    assert_eq!(refused.map(|event| desk.binding_events(event)), [300 - 64, 0]);
    // It takes nobody's address over, either; but what it has it may say again, and others may take that.
    claim(&mut desk, 0xc000_0201);
    assert_eq!(desk.binding(100, "192.0.2.1").map(|binding| binding.mac), Some(mac(2)));
    claim(&mut desk, 0x0a00_0001);
    assert_eq!(desk.binding_events(BindingEvent::RefusedByStationLimit), 300 - 64 + 1);
    desk.says(100, 2, "10.0.0.1", None);
    desk.says(200, 1, "10.0.0.1", None);
    desk.round();
    assert_eq!(desk.binding(100, "10.0.0.1").map(|binding| binding.mac), Some(mac(2)));
    assert!(desk.binding(200, "10.0.0.1").is_some(), "in each bridge by itself");
    claim(&mut desk, 0x0a00_1001);
    assert!(desk.binding(100, "10.0.16.1").is_some(), "one has become free");
    desk.pass(Duration::from_secs(13));
    assert_eq!(desk.gateway.tables().bindings.len(), 0);
    desk.hear(100, mac(1), "trunk0");
    (0..64).for_each(|number| claim(&mut desk, 0x0a00_0001 + number));
    assert_eq!(desk.gateway.tables().bindings.len(), 64, "what has aged counts no more");
}

#[test]
fn a_hundred_thousand_bindings_are_learned_at_the_rate_of_the_ring() {
    let mut desk = desk("");
    (0..2000).for_each(|number| desk.hear(100, mac(number), "trunk0"));
    let mut learned = 0;
    for number in 0..100_000u32 {
        desk.says(
            100,
            u64::from(number % 2000),
            &std::net::Ipv4Addr::from_bits(0x0a00_0001 + number).to_string(),
            None,
        );
        if number % 2000 == 1999 {
            learned += desk.round();
        }
    }
    let refused = desk.binding_events(BindingEvent::RefusedByLimit);
    assert!(refused < 20, "{refused} found both of their buckets full");
    assert_eq!((learned, desk.gateway.tables().bindings.len()), (100_000, 100_000 - refused as usize));
}

const FIXED: &str = "[[binding]]\nvni = 100\naddress = \"192.0.2.1\"\nmac = \"02:00:00:00:00:01\"\n\
                     [[binding]]\nvni = 100\naddress = \"2001:db8::1\"\nmac = \"02:00:00:00:00:01\"\nrouter = true\n";

#[test]
fn a_binding_of_the_config_is_there_at_the_start_and_stays_whatever_is_heard() {
    let mut desk = desk(&format!("[fdb]\nmax_bindings = 64\nageing = 10\n{FIXED}"));
    let fixed = |desk: &Desk, address| desk.binding(100, address).map(|found| (found.mac, found.source, found.flags));
    let flags = [TargetFlags::OVERRIDE, TargetFlags::ROUTER.and(TargetFlags::OVERRIDE)];
    let expected = flags.map(|flags| Some((mac(1), BindingSource::Static, Some(flags))));
    assert_eq!(["192.0.2.1", "2001:db8::1"].map(|address| fixed(&desk, address)), expected);
    // Another station claims the address, its own one is silent, and both are forgotten.
    desk.hear(100, mac(2), "trunk1");
    desk.says(100, 2, "192.0.2.1", None);
    desk.says(100, 1, "192.0.2.1", None);
    desk.pass(Duration::from_secs(20));
    assert_eq!(["192.0.2.1", "2001:db8::1"].map(|address| fixed(&desk, address)), expected);
    assert_eq!(
        [BindingEvent::RefusedStatic, BindingEvent::RefusedUnknownMac].map(|event| desk.binding_events(event)),
        [1, 0]
    );
    assert_eq!(desk.control.bindings.count(BindingSource::Static).get(), 2);
}

#[test]
fn bindings_of_the_config_come_and_go_with_reloads_and_wait_for_room() {
    let mut desk = desk("[fdb]\nmax_bindings = 2\n");
    desk.hear(100, mac(1), "trunk0");
    desk.hear(100, mac(2), "trunk0");
    desk.says(100, 1, "192.0.2.1", None);
    desk.says(100, 2, "192.0.2.2", None);
    desk.round();
    let fixed = config(&(bridge(100, 100, SUPPRESSING) + &bridge(200, 200, "") + "[fdb]\nmax_bindings = 2\n" + FIXED));
    desk.gateway.apply(fixed).expect("it is applied");
    // The one takes the place of what was learned, the other one has none until a station leaves.
    assert_eq!(desk.binding(100, "192.0.2.1").map(|found| found.source), Some(BindingSource::Static));
    assert_eq!(desk.binding(100, "2001:db8::1"), None);
    desk.hear(100, mac(2), "10.0.0.3");
    desk.pass(Duration::from_millis(2200));
    assert_eq!(desk.binding(100, "2001:db8::1").map(|found| found.source), Some(BindingSource::Static));
    let counts =
        |desk: &Desk| BindingSource::ALL.iter().map(|of| desk.control.bindings.count(*of).get()).collect::<Vec<_>>();
    assert_eq!(counts(&desk), [0, 0, 2]);
    let without = config(&(bridge(100, 100, SUPPRESSING) + &bridge(200, 200, "") + "[fdb]\nmax_bindings = 2\n"));
    desk.gateway.apply(without).expect("it is applied");
    assert_eq!((desk.binding(100, "192.0.2.1"), desk.binding(100, "2001:db8::1")), (None, None));
    assert_eq!(counts(&desk), [0, 0, 0]);
}
