//! A world with nothing wrong, and what is found when one thing is.

use super::*;
use crate::control::underlay::{Way, Ways};
use crate::netlink::{Bridged, Destination, Event, Origin};
use crate::tables::PortIndex;

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OWN: [u8; 4] = [192, 0, 2, 1];
const RUNNING: Duration = Duration::from_secs(100);
const DEVICE: u32 = 7;
const BRIDGE: u32 = 8;
const BY_CONTROL: Origin = Origin { state: 0x02, flags: 0x12 };
const BY_HAND: Origin = Origin { state: 0xc0, flags: 0x02 };

/// A bridge with VNI 100 whose device is in a bridge of the kernel's, one station behind one VTEP, and zebra.
struct World {
    config: Config,
    device: Link,
    events: Vec<Event>,
    followers: Vec<Follower>,
    written: Vec<Written>,
    reach: Reach,
    forwarded: bool,
}

impl World {
    fn new() -> Self {
        let text = "[vtep]\naddress = \"192.0.2.1\"\n[workers]\ncores = [0]\n\
                    [[port]]\nname = \"trunk0\"\ndevice = \"net_null1\"\nrole = \"access\"\n\
                    [[port]]\nname = \"up0\"\ndevice = \"net_null0\"\nrole = \"uplink\"\n\
                    [[bridge]]\nvni = 100\nvlan = 100\nports = [\"trunk0\"]\ncontrol = \"kernel\"\n\
                    [[bridge]]\nvni = 200\nvlan = 200\nports = [\"trunk0\"]\n";
        let way = Way { port: PortIndex(0), mac: STATION, weight: 1, mtu: 1500 };
        let ways = Ways { list: vec![way], slots: vec![0] };
        Self {
            config: Config::parse("check.toml", text).map_err(|wrong| wrong.render(false)).expect("it is valid").config,
            device: Link {
                index: DEVICE,
                name: "vx100".to_owned(),
                up: true,
                master: Some(BRIDGE),
                vxlan: Some(Vxlan { vni: 100, port: 4789, local: Some(OWN.into()), ..Vxlan::default() }),
                ..Link::default()
            },
            events: vec![flood(2), tunnelled(remote(2), BY_CONTROL), bridged(DEVICE)],
            followers: vec![zebra(0)],
            written: vec![Written { port: DEVICE, mac: STATION, ago: RUNNING / 2 }],
            reach: Reach::from([([192, 0, 2, 2].into(), (RemoteState::Reachable, ways))]),
            forwarded: true,
        }
    }

    fn judged(&self) -> Checked {
        let mut mirror = Mirror::default();
        let bridge = Link { index: BRIDGE, kind: "bridge".to_owned(), ..Link::default() };
        let links = [self.device.clone(), bridge].map(|link| Event::Link(Box::new(link)));
        for event in links.into_iter().chain(self.events.clone()) {
            mirror.apply(event, Source::Dump);
        }
        let kernel = Kernel { mirror, written: self.written.clone(), followers: self.followers.clone() };
        judge(&self.config, kernel, &self.reach, |_, _| self.forwarded)
    }

    /// What is found, by name; each says something that a person can act on.
    fn found(&self) -> Vec<&'static str> {
        let findings = self.judged().findings;
        for finding in &findings {
            assert!(finding.what.ends_with('.') && !finding.remedy.ends_with('.'), "{finding:?}");
            assert!(finding.remedy.contains('`'), "{finding:?}");
        }
        findings.into_iter().map(|finding| finding.name).collect()
    }
}

fn zebra(lost: u64) -> Follower {
    Follower { process: Some((812, "zebra".to_owned())), running: Some(RUNNING), lost }
}

fn remote(last: u8) -> Destination {
    Destination::remote([192, 0, 2, last].into())
}

fn flood(last: u8) -> Event {
    let origin = Some(BY_HAND);
    Event::Tunnelled { device: DEVICE, mac: MacAddr::ZERO, destination: remote(last), origin }
}

fn tunnelled(destination: Destination, origin: Origin) -> Event {
    Event::Tunnelled { device: DEVICE, mac: STATION, destination, origin: Some(origin) }
}

fn bridged(port: u32) -> Event {
    Event::Bridged { bridge: BRIDGE, mac: STATION, vlan: 0, place: Some(Bridged { port, origin: BY_CONTROL }) }
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let world = World::new();
    let checked = world.judged();
    assert_eq!(checked.findings, []);
    assert_eq!((checked.bridges, checked.stations, checked.remotes), (1, 1, 1));
    assert_eq!(checked.followers, [zebra(0)]);
}

#[test]
fn a_control_plane_that_has_gone_is_missed_where_it_left_something() {
    let mut world = World::new();
    world.followers.clear();
    assert_eq!(world.found(), ["control_plane_gone"]);
    // Flannel's entries and an operator's need nobody to look after them.
    world.events[1] = tunnelled(remote(2), BY_HAND);
    assert_eq!(world.found(), [] as [&str; 0]);
}

#[test]
fn a_control_plane_that_lost_messages_is_told() {
    let mut world = World::new();
    world.followers = vec![zebra(17)];
    assert_eq!(world.found(), ["control_plane_lost_messages"]);
    assert!(world.judged().findings[0].what.contains("zebra (process 812) was too slow for 17 messages"));
}

#[test]
fn a_bridge_without_a_device_is_told_with_the_command_that_makes_it() {
    let mut world = World::new();
    world.config.bridges[0].kernel_device = Some("vx100".into());
    world.device.vxlan = None;
    world.events.clear();
    assert_eq!(world.found(), ["no_vxlan_device"]);
    let finding = &world.judged().findings[0];
    assert!(finding.what.contains("1 bridge with `control = \"kernel\"` has no vxlan device"), "{finding:?}");
    assert!(finding.remedy.contains("vxlan id 100 local 192.0.2.1 dstport 4789"), "{finding:?}");
    // The gateway makes one that is not named.
    world.config.bridges[0].kernel_device = None;
    assert_eq!(world.found(), ["no_vxlan_device"]);
    assert!(world.judged().findings[0].remedy.contains("the gateway makes one"));
}

#[test]
fn a_device_that_is_down_or_of_another_vtep_is_told() {
    let mut world = World::new();
    world.device.up = false;
    assert_eq!(world.found(), ["vxlan_device_down"]);
    world.device.up = true;
    for change in [|vxlan: &mut Vxlan| vxlan.local = Some([192, 0, 2, 9].into()), |vxlan: &mut Vxlan| vxlan.port = 8472]
    {
        let mut world = World::new();
        world.device.vxlan.iter_mut().for_each(change);
        assert_eq!(world.found(), ["vxlan_device_of_another_vtep"]);
    }
}

#[test]
fn entries_that_the_gateway_does_not_forward_by_are_told() {
    let mut world = World::new();
    let address = [192, 0, 2, 2].into();
    let other_port = Destination::Remote { address, port: Some(8472), vni: None, link: None };
    world.events[1] = tunnelled(other_port, BY_CONTROL);
    assert_eq!(world.found(), ["entry_of_another_port"]);
    let mut world = World::new();
    world.events.remove(1);
    assert_eq!(world.found(), ["half_an_entry"]);
    let mut world = World::new();
    world.forwarded = false;
    assert_eq!(world.found(), ["station_not_in_fdb"]);
}

#[test]
fn a_station_behind_a_vtep_that_has_left_is_told_but_not_where_nothing_is_flooded() {
    let mut world = World::new();
    world.events[0] = flood(3);
    assert_eq!(world.found(), ["station_of_an_absent_vtep"]);
    world.events.remove(0);
    assert_eq!(world.found(), [] as [&str; 0]);
}

#[test]
fn what_zebra_has_not_written_since_it_started_is_told_with_the_commands_that_delete_it() {
    let mut world = World::new();
    world.written.push(Written { port: DEVICE, mac: MacAddr([2, 0, 0, 0, 0, 9]), ago: RUNNING * 2 });
    // A station that the gateway itself has published is nothing of zebra's.
    world.written.push(Written { port: 99, mac: MacAddr([2, 0, 0, 0, 0, 8]), ago: RUNNING * 2 });
    assert_eq!(world.found(), ["entry_of_an_earlier_zebra"]);
    let commands = ["master", "self"].map(|half| format!("bridge fdb del 02:00:00:00:00:09 dev vx100 {half}"));
    assert_eq!(world.judged().findings[0].commands, commands);
    // One that has just started has not come to writing them yet.
    world.followers[0].running = Some(CONVERGED / 2);
    assert_eq!(world.found(), [] as [&str; 0]);
    // One that is not to be seen is not judged.
    world.followers[0] = Follower { process: None, running: None, lost: 0 };
    assert_eq!(world.found(), [] as [&str; 0]);
}

#[test]
fn remote_vteps_without_a_way_are_told_by_what_is_missing() {
    let mut world = World::new();
    for (last, state) in [(3, RemoteState::NoRoute), (4, RemoteState::NoRoute), (5, RemoteState::Unresolved)] {
        world.reach.insert([192, 0, 2, last].into(), (state, Ways::default()));
    }
    assert_eq!(world.found(), ["no_way_to_vtep"; 2]);
    let findings = world.judged().findings;
    assert!(findings[0].what.starts_with("2 remote VTEPs cannot be reached, `no_route`: 192.0.2.3, 192.0.2.4."));
    assert!(findings[0].remedy.contains("`ip route get fibmatch 192.0.2.3`"));
    assert!(findings[1].what.starts_with("1 remote VTEP cannot be reached, `unresolved`: 192.0.2.5."));
}

#[test]
fn a_shell_takes_the_name_of_a_link_for_nothing_else() {
    assert_eq!(quoted("vx100.7-a_b:c@d"), "vx100.7-a_b:c@d");
    assert_eq!(quoted("a;reboot"), "'a;reboot'");
    assert_eq!(quoted("$(id)'`"), r"'$(id)'\''`'");
}
