//! A checked config as a file again, with every default filled in: what `vtepctl show config` prints.

use std::fmt::{Display, Write};

use super::model::{
    AccessVlan, Binding, Bridge, BridgePort, Config, Control, Dscp, Idle, LinkLocal, Neighbour, Port, PortRole, Qos,
    StaticEntry, StaticPlace, StormLimits, Tags, UdpChecksum, Underlay,
};
use crate::tables::PortIndex;

impl Config {
    /// The config as a file that [`Config::parse`] reads as this very config.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut file = File::default();
        self.write_single_sections(&mut file);
        for port in &self.ports {
            write_port(&mut file, port);
        }
        for bridge in &self.bridges {
            self.write_bridge(&mut file, bridge);
        }
        for neighbour in &self.neighbours {
            self.write_neighbour(&mut file, neighbour);
        }
        for entry in self.static_entries.iter() {
            self.write_static(&mut file, entry);
        }
        self.bindings.iter().for_each(|binding| write_binding(&mut file, binding));
        file.text
    }

    fn write_single_sections(&self, file: &mut File) {
        file.section("[vtep]");
        file.quoted("address", self.vtep.address);
        file.list("other_addresses", self.vtep.other_addresses.iter().map(|address| quote(&address.to_string())));
        file.plain("udp_port", self.vtep.udp_port);
        file.list("other_udp_ports", self.vtep.other_udp_ports.iter().map(u16::to_string));
        let source_ports = self.vtep.source_ports;
        file.quoted("source_ports", format_args!("{}-{}", source_ports.first(), source_ports.last()));
        for (key, checksum) in
            [("udp_checksum", self.vtep.udp_checksum), ("udp_checksum_ipv4", self.vtep.udp_checksum_ipv4)]
        {
            let word = match checksum {
                UdpChecksum::Full => "full",
                UdpChecksum::Zero => "zero",
            };
            file.quoted(key, word);
        }
        match self.vtep.dscp {
            Dscp::Inherit => file.quoted("dscp", "inherit"),
            Dscp::Map => file.quoted("dscp", "map"),
            Dscp::Pcp => file.quoted("dscp", "pcp"),
            Dscp::Fixed(dscp) => file.plain("dscp", dscp),
        }
        file.plain("ttl", self.vtep.ttl);
        file.plain("strict", self.vtep.strict);
        match self.vtep.underlay {
            Underlay::Kernel => file.quoted("underlay", "kernel"),
            Underlay::Static => file.quoted("underlay", "static"),
            // Written out, it would no longer be content with less.
            Underlay::KernelIfPossible => {}
        }
        file.section("[dpdk]");
        file.plain("hugepages", self.dpdk.hugepages);
        file.quoted("file_prefix", &self.dpdk.file_prefix);
        file.plain("memory_mib", self.dpdk.memory_mib);
        file.plain("packet_buffers", self.dpdk.packet_buffers);
        file.list("eal_arguments", self.dpdk.eal_arguments.iter().map(|argument| quote(argument)));
        file.section("[workers]");
        file.list("cores", self.workers.cores.iter().map(usize::to_string));
        let idle = match self.workers.idle {
            Idle::Poll => "poll",
            Idle::Adaptive => "adaptive",
        };
        file.quoted("idle", idle);
        write_qos(file, &self.qos);
        file.section("[fdb]");
        file.plain("max_entries", self.fdb.max_entries);
        file.plain("ageing", self.fdb.ageing.map_or(0, |ageing| ageing.as_secs()));
        file.plain("max_moves", self.fdb.damping.map_or(0, |damping| damping.max_moves));
        if let Some(damping) = self.fdb.damping {
            file.plain("move_window", damping.window.as_secs());
            file.plain("freeze", damping.freeze.map_or(0, |freeze| freeze.as_secs()));
        }
        file.plain("max_bindings", self.fdb.max_bindings);
        file.plain("binding_ageing", self.fdb.binding_ageing.map_or(0, |ageing| ageing.as_secs()));
        file.section("[stats]");
        file.quoted("listen", self.stats.listen);
        file.section("[api]");
        file.quoted("socket", self.api.socket.display());
    }

    fn write_bridge(&self, file: &mut File, bridge: &Bridge) {
        file.section("[[bridge]]");
        file.plain("vni", bridge.vni);
        if let Some(port) = bridge.udp_port {
            file.plain("udp_port", port);
        }
        if let Some(id) = bridge.group_policy {
            file.plain("group_policy", id);
        }
        if let Some(ids) = &bridge.accept_group_policies {
            file.list("accept_group_policies", ids.iter().map(u16::to_string));
        }
        let vlan = common_vlan(&bridge.ports);
        if let Some(AccessVlan::Tagged(vlan)) = vlan {
            file.plain("vlan", vlan);
        }
        let port = |place: &BridgePort| {
            let name = quote(self.port_name(place.port));
            if vlan.is_some() { name } else { bridge_port(&name, place.vlan) }
        };
        file.list("ports", bridge.ports.iter().map(port));
        file.list("remotes", bridge.remotes.iter().map(|remote| quote(&remote.to_string())));
        file.plain("learning", bridge.learning);
        if let Some(source_check) = bridge.source_check {
            file.plain("source_check", source_check);
        }
        if let Some(group) = &bridge.flooding.group {
            file.quoted("group", group.address);
            file.list("group_ports", group.ports.iter().map(|port| quote(self.port_name(*port))));
        }
        let tags = match bridge.tags {
            Tags::Refuse => "refuse",
            Tags::Carry => "carry",
        };
        file.quoted("tags", tags);
        file.plain("link_local", bridge.link_local);
        file.plain("clamp_mss", bridge.clamp_mss);
        let control = match bridge.control {
            Control::Static => "static",
            Control::Kernel => "kernel",
        };
        file.quoted("control", control);
        if let Some(device) = &bridge.kernel_device {
            file.quoted("kernel_device", device);
        }
        file.plain("neighbour_suppression", bridge.neighbour_suppression);
        if let Some(max_macs) = bridge.max_macs {
            file.plain("max_macs", max_macs);
        }
        file.plain("ageing", bridge.ageing.map_or(0, |ageing| ageing.as_secs()));
        file.plain("snooping", bridge.flooding.snooping);
        file.quoted("unknown_unicast", if bridge.flooding.unknown_unicast { "flood" } else { "drop" });
        write_storm_limits(file, &bridge.flooding.storm);
    }

    fn write_neighbour(&self, file: &mut File, neighbour: &Neighbour) {
        file.section("[[neighbour]]");
        file.quoted("address", neighbour.address);
        file.quoted("mac", neighbour.mac);
        file.quoted("port", self.port_name(neighbour.port));
    }

    fn write_static(&self, file: &mut File, entry: &StaticEntry) {
        file.section("[[static]]");
        file.plain("vni", entry.vni);
        file.quoted("mac", entry.mac);
        match entry.place {
            StaticPlace::Port(port) => file.quoted("port", self.port_name(port)),
            StaticPlace::Remote(address) => file.quoted("remote", address),
        }
        file.plain("pinned", entry.pinned);
    }

    /// The name of a port; empty for one that the config does not have.
    #[must_use]
    pub fn port_name(&self, port: PortIndex) -> &str {
        self.ports.get(usize::from(port.0)).map_or("", |port| &port.name)
    }
}

fn write_binding(file: &mut File, binding: &Binding) {
    file.section("[[binding]]");
    file.plain("vni", binding.vni);
    file.quoted("address", binding.address);
    file.quoted("mac", binding.mac);
    file.plain("router", binding.router);
}

fn write_qos(file: &mut File, qos: &Qos) {
    let usual = Qos::default();
    file.section("[qos]");
    file.map("outer_from_dscp", &qos.outer_from_dscp, &usual.outer_from_dscp);
    file.map("outer_from_pcp", &qos.outer_from_pcp, &usual.outer_from_pcp);
    file.quoted("access_pcp", if qos.carry_pcp { "map" } else { "zero" });
    file.map("pcp_from_outer", &qos.pcp_from_outer, &usual.pcp_from_outer);
    file.quoted("inner_dscp", if qos.rewrite_dscp { "map" } else { "keep" });
    file.map("dscp_from_outer", &qos.dscp_from_outer, &usual.dscp_from_outer);
}

/// What all the ports have, where the names of the ports and perhaps a VLAN of the bridge say that.
fn common_vlan(ports: &[BridgePort]) -> Option<AccessVlan> {
    let first = ports.first().map_or(AccessVlan::Untagged, |place| place.vlan);
    let is_plain = matches!(first, AccessVlan::Untagged | AccessVlan::Tagged(_));
    (is_plain && ports.iter().all(|place| place.vlan == first)).then_some(first)
}

/// A port in a bridge that says itself what it has; `name` is in quotes.
fn bridge_port(name: &str, vlan: AccessVlan) -> String {
    match vlan {
        AccessVlan::Untagged => format!("{{ port = {name}, untagged = true }}"),
        AccessVlan::PriorityTagged => format!("{{ port = {name}, untagged = true, priority_tag = true }}"),
        AccessVlan::Native(vlan) => format!("{{ port = {name}, vlan = {vlan}, native = true }}"),
        AccessVlan::Tagged(vlan) => format!("{{ port = {name}, vlan = {vlan} }}"),
        AccessVlan::QinQ { outer, inner } => format!("{{ port = {name}, vlan = {outer}, inner_vlan = {inner} }}"),
    }
}

fn write_port(file: &mut File, port: &Port) {
    file.section("[[port]]");
    file.quoted("name", &port.name);
    file.quoted("device", &port.device);
    let role = match port.role {
        PortRole::Uplink => "uplink",
        PortRole::Access => "access",
    };
    file.quoted("role", role);
    if let Some(mac) = port.mac {
        file.quoted("mac", mac);
    }
    if let Some(mtu) = port.mtu {
        file.plain("mtu", mtu);
    }
    file.plain("descriptors", port.descriptors);
    if port.role == PortRole::Access {
        file.quoted("tpid", format_args!("{:#06x}", port.tpid));
    }
    if let Some(interface) = &port.kernel_interface {
        file.quoted("kernel_interface", interface);
    }
    if let Some(max_macs) = port.max_macs {
        file.plain("max_macs", max_macs);
    }
    match port.link_local {
        Some(LinkLocal::Drop) => file.quoted("link_local", "drop"),
        Some(LinkLocal::Punt) => file.quoted("link_local", "punt"),
        None => {}
    }
    write_storm_limits(file, &port.storm);
}

fn write_storm_limits(file: &mut File, limits: &StormLimits) {
    let limits = [
        ("broadcast_limit", limits.broadcast),
        ("multicast_limit", limits.multicast),
        ("unknown_unicast_limit", limits.unknown_unicast),
    ];
    for (key, limit) in limits {
        if let Some(limit) = limit {
            file.quoted(key, limit);
        }
    }
}

/// The text so far.
#[derive(Default)]
struct File {
    text: String,
}

impl File {
    fn section(&mut self, header: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.line(format_args!("{header}"));
    }

    fn plain(&mut self, key: &str, value: impl Display) {
        self.line(format_args!("{key} = {value}"));
    }

    fn quoted(&mut self, key: &str, value: impl Display) {
        self.line(format_args!("{key} = {}", quote(&value.to_string())));
    }

    /// What of a map is not as usual.
    fn map(&mut self, key: &str, map: &[u8], usual: &[u8]) {
        let differing = (0..).zip(map.iter().zip(usual)).filter(|(_, (to, usual))| to != usual);
        let entries: Vec<String> = differing.map(|(from, (to, _)): (u8, _)| format!("{from} = {to}")).collect();
        if !entries.is_empty() {
            self.line(format_args!("{key} = {{ {} }}", entries.join(", ")));
        }
    }

    fn list(&mut self, key: &str, items: impl Iterator<Item = String>) {
        let items: Vec<String> = items.collect();
        self.line(format_args!("{key} = [{}]", items.join(", ")));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// A TOML basic string.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_KEY: &str = r#"
        [vtep]
        address = "fd00::1"
        udp_port = 8472
        other_addresses = ["fd00::100", "fd00::101"]
        other_udp_ports = [4789, 4790]
        source_ports = "1024-2047"
        udp_checksum = "zero"
        udp_checksum_ipv4 = "full"
        dscp = 46
        ttl = 3
        strict = true
        underlay = "kernel"
        [dpdk]
        hugepages = false
        file_prefix = "round-trip"
        eal_arguments = ["--log-level=pmd.net.tap:8", "a \"quoted\" \\ one"]
        [workers]
        cores = [0, 1]
        idle = "adaptive"
        [[port]]
        name = "uplink0"
        device = "net_tap0,iface=up0"
        role = "uplink"
        mac = "02:00:00:00:00:01"
        mtu = 9000
        kernel_interface = "fabric0"
        link_local = "drop"
        [[port]]
        name = "trunk0"
        device = "net_tap1,iface=ac0"
        role = "access"
        max_macs = 12
        broadcast_limit = "1500 pps"
        link_local = "punt"
        [[port]]
        name = "trunk1"
        device = "net_tap2,iface=ac1"
        role = "access"
        [[bridge]]
        vni = "100-102"
        vlan = "10-12"
        ports = ["trunk0"]
        remotes = ["fd00::2"]
        max_macs = 7
        ageing = 70
        link_local = true
        clamp_mss = true
        control = "kernel"
        kernel_device = "vx{vni}"
        neighbour_suppression = true
        [[bridge]]
        vni = 5
        udp_port = 4791
        group_policy = 7
        accept_group_policies = [7, 8]
        ports = ["trunk0"]
        tags = "carry"
        group = "ff05::1:1"
        snooping = true
        learning = false
        source_check = false
        unknown_unicast = "drop"
        multicast_limit = "2500 kbit/s"
        unknown_unicast_limit = "1 Gbit/s"
        [[port]]
        name = "metro0"
        device = "net_tap5,iface=ac4"
        role = "access"
        tpid = "0x88a8"
        [[bridge]]
        vni = "200-203"
        vlan = 20
        inner_vlan = "1-4"
        ports = ["metro0", { port = "trunk0", vlan = "21-24" }]
        [[bridge]]
        vni = 6
        vlan = 30
        ports = ["trunk0", { port = "metro0", native = true }]
        [[port]]
        name = "server0"
        device = "net_tap3,iface=ac2"
        role = "access"
        [[bridge]]
        vni = 7
        vlan = 40
        ports = ["metro0", { port = "server0", priority_tag = true, untagged = true }]
        [[port]]
        name = "server1"
        device = "net_tap4,iface=ac3"
        role = "access"
        [[bridge]]
        vni = 8
        vlan = 50
        ports = ["metro0", { port = "server1", untagged = true }]
        [[neighbour]]
        address = "fd00::2"
        mac = "02:00:00:00:00:02"
        port = "uplink0"
        [qos]
        outer_from_dscp = { EF = 40, "0" = "LE" }
        outer_from_pcp = { 5 = "EF" }
        access_pcp = "map"
        pcp_from_outer = { EF = 6 }
        inner_dscp = "map"
        dscp_from_outer = { 40 = "EF" }
        [fdb]
        max_entries = 1000
        ageing = 0
        max_moves = 7
        move_window = 70
        freeze = 0
        max_bindings = 500
        binding_ageing = 0
        [[static]]
        vni = 100
        mac = "02:00:00:00:00:03"
        port = "trunk0"
        [[static]]
        vni = 101
        mac = "02:00:00:00:00:04"
        remote = "fd00::2"
        pinned = true
        [api]
        socket = "/tmp/a.sock"
    "#;

    #[test]
    fn a_config_written_out_reads_as_the_same_config() {
        let first = Config::parse("first.toml", EVERY_KEY).unwrap_or_else(|found| panic!("{}", found.render(false)));
        let text = first.config.to_toml();
        let second = Config::parse("second.toml", &text).unwrap_or_else(|found| panic!("{}", found.render(false)));
        assert_eq!(second.config, first.config);
    }
}
