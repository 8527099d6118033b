//! The config file as its users meet it: each `tests/config/*.toml` is loaded and what is said of it is compared with
//! the `.err` beside it, word for word; `UPDATE=1` writes the `.err` and the reference page anew.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use vtepd::config::model::{
    AccessVlan, BridgePort, Dscp, Idle, LinkLocal, MoveDamping, PortRole, Qos, Rate, StaticPlace, StormLimits, Tags,
    UdpChecksum, Underlay, UnderlayGroup,
};
use vtepd::config::schema::SECTIONS;
use vtepd::config::{Config, ConfigError, Loaded, Severity, reference};
use vtepd::tables::PortIndex;
use vtepd::wire::{MacAddr, VlanId, Vni};

const MINIMAL: &str = include_str!("config/minimal.toml");

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// Compares with a file, or writes it.
fn assert_is_file(found: &str, path: &Path) {
    if updating() {
        fs::write(path, found).expect("the tree is writable");
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} differs; UPDATE=1 writes it anew if this is right:\n{found}",
        path.strip_prefix(root()).unwrap_or(path).display()
    );
}

/// What is said of a text: of mistakes, or only warnings.
fn said(name: &str, text: &str) -> String {
    match Config::parse(name, text) {
        Ok(Loaded { warnings, .. }) => warnings.render(false),
        Err(mistakes) => mistakes.render(false),
    }
}

fn vlan(number: u16) -> VlanId {
    VlanId::new(number).expect("a VLAN")
}

fn parse(text: &str) -> Config {
    Config::parse("test.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes}")).config
}

/// The messages of the errors in a text.
fn errors(text: &str) -> Vec<String> {
    let Err(mistakes) = Config::parse("test.toml", text) else { return Vec::new() };
    let errors = mistakes.as_slice().iter().filter(|found| found.severity == Severity::Error);
    errors.map(|found| found.message.clone()).collect()
}

#[test]
fn every_file_is_told_what_is_wrong_with_it_and_what_to_do() {
    let folder = root().join("tests/config");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(files.len() > 40, "files are missing");
    for file in files {
        let text = fs::read_to_string(&file).expect("it is text");
        let name = file.file_name().expect("it has a name").to_string_lossy();
        assert_is_file(&said(&name, &text), &file.with_extension("err"));
    }
}

#[test]
fn every_finding_has_a_remedy_and_a_place_within_the_file() {
    for file in fs::read_dir(root().join("tests/config")).expect("the folder is there") {
        let path = file.expect("it can be listed").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("it is text");
        let found = match Config::parse("test.toml", &text) {
            Ok(loaded) => loaded.warnings,
            Err(mistakes) => mistakes,
        };
        for diagnostic in found.as_slice() {
            assert!(!diagnostic.remedy.is_empty(), "{}: {}", path.display(), diagnostic.message);
            let places = diagnostic.span.into_iter().chain(diagnostic.related.iter().map(|(span, _)| *span));
            for place in places {
                assert!(text.get(place.start as usize..place.end as usize).is_some(), "{}", path.display());
            }
        }
    }
}

#[test]
fn ten_mistakes_are_told_in_one_run() {
    let text = include_str!("config/ten-mistakes.toml");
    assert_eq!(Config::parse("ten-mistakes.toml", text).expect_err("it has mistakes").errors(), 10);
}

#[test]
fn the_minimal_config_means_what_it_says() {
    let Loaded { config, warnings } = Config::load(&root().join("tests/config/minimal.toml")).expect("it is right");
    assert!(warnings.is_empty(), "{warnings}");
    let remote: IpAddr = "10.0.0.2".parse().expect("an address");
    assert_eq!(config.vtep.address, "10.0.0.1".parse::<IpAddr>().expect("an address"));
    assert_eq!((config.vtep.udp_port, config.vtep.ttl, config.vtep.strict), (4789, 64, false));
    assert_eq!((config.vtep.udp_checksum, config.vtep.dscp), (UdpChecksum::Full, Dscp::Inherit));
    assert_eq!(config.vtep.underlay, Underlay::KernelIfPossible);
    assert!(!config.dpdk.hugepages);
    assert_eq!((config.dpdk.file_prefix.as_str(), config.dpdk.memory_mib), ("demo", 512));
    assert_eq!((config.dpdk.packet_buffers, config.dpdk.eal_arguments.len()), (16_384, 0));
    assert_eq!((config.workers.cores.as_slice(), config.workers.idle), (&[1][..], Idle::Adaptive));
    let [uplink, trunk] = config.ports.as_slice() else { panic!("not two ports") };
    assert_eq!((uplink.name.as_str(), uplink.device.as_str()), ("uplink0", "net_tap0,iface=up0"));
    assert_eq!((uplink.role, trunk.role), (PortRole::Uplink, PortRole::Access));
    assert_eq!((trunk.mac, trunk.mtu, trunk.descriptors), (None, None, 1024));
    let [bridge] = config.bridges.as_slice() else { panic!("not one bridge") };
    let place = BridgePort { port: PortIndex(1), vlan: AccessVlan::Tagged(vlan(100)) };
    assert_eq!((bridge.vni, bridge.ports.as_slice()), (Vni::new(100).expect("in range"), &[place][..]));
    assert_eq!(bridge.remotes, [remote]);
    assert!(bridge.learning && bridge.source_check.is_none() && !bridge.link_local);
    assert_eq!((bridge.tags, bridge.max_macs), (Tags::Refuse, None));
    let [neighbour] = config.neighbours.as_slice() else { panic!("not one neighbour") };
    assert_eq!((neighbour.address, neighbour.port), (remote, PortIndex(0)));
    assert_eq!(neighbour.mac, MacAddr([2, 0, 0, 0xbb, 0, 1]));
    assert_eq!((config.fdb.max_entries, config.fdb.ageing), (65_536, Some(Duration::from_secs(300))));
    assert_eq!(config.qos, Qos::default());
    let (window, freeze) = (Duration::from_secs(180), Some(Duration::from_secs(180)));
    assert_eq!(config.fdb.damping, Some(MoveDamping { max_moves: 5, window, freeze }));
    assert_eq!(config.stats.listen.to_string(), "127.0.0.1:9478");
    assert_eq!(config.api.socket, Path::new("/run/vtepd/demo.sock"));
}

#[test]
fn every_key_is_taken_over() {
    let config = parse(include_str!("config/every-key.toml"));
    assert_eq!((config.vtep.udp_port, config.vtep.ttl, config.vtep.strict), (8472, 12, true));
    assert_eq!((config.vtep.udp_checksum, config.vtep.dscp), (UdpChecksum::Zero, Dscp::Fixed(46)));
    assert_eq!(config.vtep.underlay, Underlay::Static);
    assert_eq!(config.vtep.other_addresses, ["2001:db8::100".parse::<IpAddr>().expect("an address")]);
    assert_eq!((config.vtep.source_ports.first(), config.vtep.source_ports.last()), (32_768, 65_535));
    assert_eq!(config.vtep.udp_checksum_ipv4, UdpChecksum::Full);
    assert_eq!(config.udp_ports(), [8472, 4789, 4790]);
    assert_eq!(config.ports[0].kernel_interface.as_deref(), Some("fabric0"));
    assert_eq!(
        config.ports.iter().map(|port| port.link_local).collect::<Vec<_>>(),
        [Some(LinkLocal::Drop), Some(LinkLocal::Punt), None]
    );
    let said: Vec<_> =
        config.bindings.iter().map(|said| (said.address.to_string(), said.mac.0[5], said.router)).collect();
    assert_eq!(said, [("192.0.2.1".to_owned(), 1, false), ("2001:db8:1::1".to_owned(), 1, true)]);
    assert!(!config.dpdk.hugepages);
    assert_eq!((config.dpdk.memory_mib, config.dpdk.packet_buffers), (1024, 32_768));
    assert_eq!(config.dpdk.eal_arguments, ["--log-level=lib.eal:debug", "-v"]);
    assert_eq!((config.workers.cores.as_slice(), config.workers.idle), (&[2, 3][..], Idle::Adaptive));
    let port = &config.ports[1];
    assert_eq!((port.mac, port.mtu, port.descriptors), (Some(MacAddr([2, 0, 0, 0xaa, 0, 1])), Some(9000), 512));
    assert_eq!((config.ports[0].max_macs, port.max_macs), (None, Some(20)));
    let bridge = &config.bridges[0];
    assert!(!bridge.learning && bridge.source_check == Some(false) && bridge.link_local && bridge.clamp_mss);
    assert_eq!((bridge.ports[0].vlan, bridge.tags, bridge.max_macs), (AccessVlan::Untagged, Tags::Carry, Some(7)));
    let limits = |broadcast, multicast, unknown_unicast| StormLimits { broadcast, multicast, unknown_unicast };
    let (packets, bits) = (|number| Some(Rate::Packets(number)), |number| Some(Rate::Bits(number)));
    assert_eq!(port.storm, limits(packets(500), bits(1_000_000_000), bits(10_000)));
    assert!(!bridge.flooding.unknown_unicast && bridge.flooding.snooping);
    let group = UnderlayGroup { address: "ff0e::1:1".parse().expect("an address"), ports: vec![PortIndex(0)] };
    assert_eq!(bridge.flooding.group, Some(Box::new(group)));
    assert_eq!(bridge.flooding.storm, limits(packets(1000), bits(10_000_000), packets(1)));
    assert_eq!((config.udp_port_of(bridge), config.udp_port_of(&config.bridges[1])), (4790, 8472));
    assert_eq!((bridge.group_policy, bridge.accept_group_policies.as_deref()), (Some(7), Some(&[7, 8][..])));
    assert_eq!((bridge.ageing, config.bridges[1].ageing), (Some(Duration::from_secs(30)), None));
    assert_eq!([0, 1].map(|entry| config.static_entries[entry].pinned), [false, true]);
    let station = |last| MacAddr([2, 0, 0, 0xcc, 0, last]);
    assert_eq!((config.static_entries[0].mac, config.static_entries[1].mac), (station(1), station(2)));
    assert_eq!(config.static_entries[0].place, StaticPlace::Port(PortIndex(2)));
    assert_eq!(config.static_entries[1].place, StaticPlace::Remote("2001:db8::2".parse().expect("an address")));
    let qos = &config.qos;
    let at = |map: &[u8; 64]| [0, 34, 40, 46, 48, 63].map(|dscp: usize| map[dscp]);
    assert_eq!(at(&qos.outer_from_dscp), [8, 26, 40, 46, 48, 63]);
    assert_eq!(qos.outer_from_pcp, [0, 1, 16, 24, 32, 46, 48, 56]);
    assert_eq!(at(&qos.pcp_from_outer), [0, 4, 5, 7, 5, 7]);
    assert_eq!(at(&qos.dscp_from_outer), [0, 34, 0, 10, 48, 63]);
    assert!(qos.carry_pcp && qos.rewrite_dscp);
    assert_eq!((config.fdb.max_entries, config.fdb.ageing), (1000, None));
    let damping = MoveDamping { max_moves: 9, window: Duration::from_secs(90), freeze: None };
    assert_eq!(config.fdb.damping, Some(damping));
    assert_eq!(config.stats.listen.to_string(), "[::1]:9000");
    assert_eq!(config.api.socket, Path::new("/tmp/vtepd.sock"));
}

#[test]
fn ranges_are_paired_in_order() {
    let text =
        MINIMAL.replace("vni = 100 ", "vni = \"16777214-16777215\"").replace("vlan = 100 ", "vlan = \"4093-4094\"");
    let bridges: Vec<_> = parse(&text).bridges.iter().map(|b| (b.vni.get(), b.ports[0].vlan)).collect();
    let tagged = |number| AccessVlan::Tagged(vlan(number));
    assert_eq!(bridges, [(16_777_214, tagged(4093)), (16_777_215, tagged(4094))]);
}

#[test]
fn inline_tables_and_dotted_keys_are_sections_too() {
    let text = "vtep.address = '10.0.0.1'\nworkers = { cores = [0x1] }\n\
                port = [{ name = 'a', device = 'net_null0', role = 'access' },\n  \
                        { name = 'b', device = 'net_null1', role = 'uplink' }]\n";
    let config = parse(text);
    assert_eq!(config.ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(config.workers.cores, [1]);
}

#[test]
fn a_header_inside_a_string_is_no_header() {
    let text = MINIMAL.replace("file_prefix = \"demo\"", "eal_arguments = ['''\n[[port]]\n'''] # [[port]]");
    assert_eq!(errors(&text), ["what `eal_arguments` lists must be a string of 1 to 4096 characters"]);
}

#[test]
fn one_broken_line_hides_no_mistake_elsewhere_and_invents_none() {
    let text = MINIMAL.replace("name = \"trunk0\"", "name = \"trunk0").replace("udp_port = 4789", "udp_prot = 4789");
    let errors = errors(&text);
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(errors[0], "`[vtep]` has no key `udp_prot`");
    assert!(errors[1].starts_with("this is not TOML"), "{errors:?}");
}

#[test]
fn a_file_with_windows_line_ends_and_a_byte_order_mark_is_read() {
    assert_eq!(parse(&format!("\u{feff}{}", MINIMAL.replace('\n', "\r\n"))), parse(MINIMAL));
}

#[test]
fn places_are_shown_under_the_right_characters() {
    let line = "name = \"ж日本\"\t#\r\nrole = 5\r\n";
    let text = format!("{MINIMAL}\n[[port]]\r\ndevice = \"net_null0\"\n{line}");
    let found = said("test.toml", &text);
    assert!(found.contains("name = \"ж日本\"    #\n   |        ^^^^^^^ something else is in it\n"), "{found}");
    assert!(found.contains(" | role = 5\n   |        ^ this is a number\n"), "{found}");
    assert!(!found.contains('\r'), "{found}");
}

#[test]
fn long_lines_are_cut_around_the_place() {
    let long = |width: usize| format!("{MINIMAL}\n[api]\nsocket = 5 # {}\n", "x".repeat(width));
    let cut = said("test.toml", &long(1000));
    assert!(cut.lines().all(|line| line.chars().count() < 200) && cut.contains("^ this is a number"), "{cut}");
    let told = said("test.toml", &long(1_000_000));
    assert!(told.len() < 1000 && told.contains("test.toml:38:10"), "{}: {told}", told.len());
}

#[test]
fn control_characters_of_the_file_do_not_reach_the_terminal() {
    let text = format!("{MINIMAL}\n[api]\n\"so\\u001b[31mcket\" = 5\n# \u{7f}\n");
    let found = said("test.toml", &text);
    assert!(!found.chars().any(|character| character.is_control() && character != '\n'), "{found:?}");
}

#[test]
fn colours_come_only_when_told() {
    let mistakes = Config::parse("test.toml", "x = 1\n").expect_err("it has mistakes");
    assert!(mistakes.render(true).contains('\u{1b}') && !mistakes.render(false).contains('\u{1b}'));
}

#[test]
fn of_very_many_mistakes_the_first_are_shown_and_all_are_counted() {
    let text = format!("{MINIMAL}{}", "[[neighbour]]\n".repeat(1000));
    let found = Config::parse("test.toml", &text).expect_err("it has mistakes");
    assert_eq!((found.errors(), found.as_slice().len()), (3000, 200));
    assert!(found.to_string().ends_with("test.toml: 3000 errors; 2800 of them not shown\n"));
}

#[test]
fn counts_are_bounded() {
    let huge = MINIMAL.replace("vni = 100 ", "vni = \"0-16777215\" ").replace("vlan = 100 ", "vlan = \"1-4094\" ");
    let found = ["there are more than 65535 bridges", "`vni` and `vlan` are ranges of different lengths"];
    assert_eq!(errors(&huge), found);
    let bridge = |index: u32| {
        let (first, last) = (index * 4094, index * 4094 + 4093);
        format!("[[bridge]]\nvni = \"{first}-{last}\"\nvlan = \"1-4094\"\nports = [\"p{index}\"]\n")
    };
    let port = |index: u32| format!("[[port]]\nname = \"p{index}\"\ndevice = \"net_null{index}\"\nrole = \"access\"\n");
    let base = "[vtep]\naddress = \"10.0.0.1\"\n[workers]\ncores = [1]\n[dpdk]\npacket_buffers = 1000000\n";
    let with = |ports: u32, bridges: u32| {
        let (ports, bridges) = ((0..ports).map(port), (0..bridges).map(bridge));
        errors(&format!("{base}{}", ports.chain(bridges).collect::<String>()))
    };
    assert_eq!(with(64, 16), Vec::<String>::new());
    assert_eq!(with(17, 17), ["there are more than 65535 bridges"]);
    assert_eq!(with(65, 0), ["there are more than 64 ports"]);
    let remotes: Vec<_> = (0..2000u32).map(|i| format!("\"10.1.{}.{}\"", i >> 8, i & 255)).collect();
    let wide = format!("{base}{}{}remotes = [{}]\n", port(0), bridge(0), remotes.join(","));
    assert!(errors(&wide).iter().any(|error| error.contains("more than 4194304 remote VTEPs")), "{:?}", errors(&wide));
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("no.toml");
    let told = Config::load(&missing).expect_err("it is not there").render(false);
    assert!(told.contains("no.toml") && told.contains("help: name a file that exists"), "{told}");
    let told = Config::load(folder.path()).expect_err("it is a folder").render(false);
    assert!(told.contains("this is a directory"), "{told}");
    let binary = folder.path().join("binary.toml");
    fs::write(&binary, b"# one\n# \xff\n").expect("it can be written");
    assert!(matches!(Config::load(&binary), Err(ConfigError::NotText { line: 2, .. })));
}

#[test]
fn the_reference_page_is_that_of_the_schema() {
    assert_is_file(&reference::page(), &root().join("docs/config.md"));
}

#[test]
fn the_examples_of_the_reference_page_are_one_right_config_with_every_key() {
    let text: String = SECTIONS.iter().map(|section| section.example).collect();
    let loaded = Config::parse("examples.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    for section in SECTIONS {
        // Lines within a list are indented.
        let lines = section.example.lines().filter(|line| !line.starts_with(' '));
        let shown: BTreeSet<_> = lines.filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
        let keys: BTreeSet<_> = section.keys.iter().map(|key| key.name).collect();
        assert_eq!(shown, keys, "{}", section.header());
    }
}

/// What parsing must hold to on any text: it ends, does not panic, and without a config says why.
fn assert_told(text: &str) {
    match Config::parse("test.toml", text) {
        Ok(loaded) => assert_eq!(loaded.warnings.errors(), 0, "{text}"),
        Err(mistakes) => {
            assert!(mistakes.errors() > 0, "refused without a word: {text:?}");
            assert!(mistakes.render(false).contains("error"));
        }
    }
}

/// The lines of a config with every key, some of them dropped, repeated, moved, or with a value of another line.
fn mutated() -> impl Strategy<Value = String> {
    let lines: Vec<String> = include_str!("config/every-key.toml").lines().map(str::to_owned).collect();
    let count = lines.len();
    proptest::collection::vec((0..count, 0..count, 0..6u8, any::<char>()), 1..12).prop_map(move |edits| {
        let mut lines = lines.clone();
        for (from, to, edit, character) in edits {
            let (from, to) = (from % lines.len(), to % lines.len());
            let line = lines[from].clone();
            match edit {
                0 => lines.insert(to, line),
                1 => lines[to] = line,
                2 => lines.swap(from, to),
                3 => lines[to].push(character),
                4 => lines[to].insert(0, character),
                _ => {
                    let key = lines[to].split('=').next().unwrap_or_default().to_owned();
                    let value = line.split_once('=').map_or("", |(_, value)| value);
                    lines[to] = format!("{key}={value}");
                }
            }
        }
        lines.join("\n")
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_told_what_is_wrong(text in any::<String>()) {
        assert_told(&text);
    }

    #[test]
    fn any_text_of_toml_signs_is_read_or_told_what_is_wrong(
        text in r#"([\[\]{}=,."'#\\\r\n \t]|port|vtep|vni|address|[0-9a-z-]|"[0-9.:-]{0,9}"|é|日){0,80}"#
    ) {
        assert_told(&text);
    }

    #[test]
    fn a_mutated_config_is_read_or_told_what_is_wrong(text in mutated()) {
        assert_told(&text);
    }
}
