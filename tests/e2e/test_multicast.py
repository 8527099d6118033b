"""Conformance row V9: floods by a multicast group of the underlay (RFC 7348, 4.2), joined by IGMPv3 or MLDv2, against
the kernel's vxlan with `group`, across a switch that passes multicast only to who has asked for it."""

import os
import time

import pytest
from scapy.utils import wrpcap

from frames import BROADCAST, Capture, marked_frame, send
from overlay import Overlay
from test_kernel_underlay import take_address
from testbed import run, settle, wait_until

GROUPS = {"ipv4": "239.1.1.1", "ipv6": "ff05::1:1"}
MACS = {"ipv4": bytes.fromhex("01005e010101"), "ipv6": bytes.fromhex("333300010001")}
# In centiseconds: the switch forgets within 10 s who does not answer it.
TIMES = {"query_interval": 200, "query_response_interval": 100, "membership_interval": 1000, "querier_interval": 500,
         "last_member_interval": 20, "startup_query_interval": 100}


class GroupOverlay(Overlay):
    """An overlay whose fabric snoops IGMP and MLD and is their querier."""

    def __init__(self, family, underlay):
        self.mode = underlay
        super().__init__(family, configure=self._with_group)
        if underlay == "kernel":
            take_address(self)

    def _with_group(self, _overlay):
        self.group = GROUPS[self.underlay.family]
        self.config.vtep["underlay"] = self.mode
        if self.mode == "kernel":
            self.config.neighbours.clear()
        self.config.bridge(self.vni, self.vlan, ["trunk0", "trunk1"], group=self.group)

    def _make_fabric(self):
        super()._make_fabric()
        times = [word for name, value in TIMES.items() for word in (f"mcast_{name}", str(value))]
        versions = ("mcast_igmp_version", "3", "mcast_mld_version", "2")
        if self.underlay.family == "ipv6":
            run("ip", "netns", "exec", self.fabric, "sysctl", "-qw", "net.ipv6.conf.fabric.disable_ipv6=0")
            run("ip", "-n", self.fabric, "addr", "add", "fe80::fab/64", "dev", "fabric", "nodad")
        run("ip", "-n", self.fabric, "link", "set", "fabric", "type", "bridge", "mcast_snooping", "1", *versions,
            *times, "mcast_querier", "1")

    def join_remotes(self):
        """Each remote VTEP's vxlan floods to the group."""
        for remote in self.remotes:
            checksum = "udp6zerocsumrx noudp6zerocsumtx" if self.underlay.family == "ipv6" else ""
            commands = [
                f"link add br{self.vni} mtu 9000 type bridge mcast_snooping 0",
                f"link add vx{self.vni} mtu 9000 type vxlan id {self.vni} local {remote.address} group {self.group} "
                f"dev eth0 dstport {remote.port} ttl 8 {checksum}",
                f"link set vx{self.vni} master br{self.vni}",
                f"link set vx{self.vni} up",
                f"link set br{self.vni} up",
            ]
            run("ip", "-n", remote.namespace, "-batch", "-", input="\n".join(commands))

    def members(self):
        """The ports of the switch that have joined the group."""
        entries = run("bridge", "-n", self.fabric, "mdb", "show", "dev", "fabric").splitlines()
        return {line.split(" port ")[1].split()[0] for line in entries if f" grp {self.group} " in line}


@pytest.fixture(scope="module", params=["ipv4-kernel", "ipv4-static", "ipv6-kernel", "ipv6-static"])
def overlay(request):
    made = GroupOverlay(*request.param.split("-"))
    try:
        made.join_remotes()
        wait_until(lambda: made.members() >= {"up0", "to-r2", "to-r3"}, 10, "all to have joined the group")
        yield made
    finally:
        made.close()


def copies(overlay, place, destination):
    """Sends one frame from `h0` or `r0`: how often each place saw it, and what the uplink sent."""
    frame, marker = marked_frame(f"02:11:00:00:00:{'01' if place == 'h0' else '02'}", destination)
    tag = b"\x81\x00" + overlay.vlan.to_bytes(2, "big")
    with (Capture(overlay.host_namespaces[0], "ac0") as h0, Capture(overlay.host_namespaces[1], "ac1") as h1,
          Capture(overlay.remotes[0].namespace, f"vx{overlay.vni}") as r0,
          Capture(overlay.remotes[1].namespace, f"vx{overlay.vni}") as r1, Capture(overlay.fabric, "up0") as uplink):
        if place == "h0":
            send(overlay.host_namespaces[0], "ac0", frame[:12] + tag + frame[12:])
        else:
            send(overlay.remotes[0].namespace, f"vx{overlay.vni}", frame)
        settle(0.5)
        seen = {"h0": h0, "h1": h1, "r0": r0, "r1": r1, "uplink": uplink}
        counts = {name: len(capture.with_marker(marker)) for name, capture in seen.items()}
        return counts, [copy.frame for copy in uplink.with_marker(marker)]


@pytest.mark.parametrize("destination", [BROADCAST, "01:00:5e:01:02:03", "02:99:00:00:00:01"])
def test_v9_a_flood_is_one_packet_on_the_wire_and_reaches_every_vtep_of_the_group(overlay, destination):
    counts, sent = copies(overlay, "h0", destination)
    assert counts == {"h0": 0, "h1": 1, "r0": 1, "r1": 1, "uplink": 1}
    assert sent[0][:3] in (b"\x01\x00\x5e", b"\x33\x33\x00"), "to the group's MAC address"


@pytest.mark.parametrize("destination", [BROADCAST, "01:00:5e:01:02:03", "02:99:00:00:00:02"])
def test_v9_a_flood_of_a_remote_vtep_reaches_the_access_ports_and_no_tunnel(overlay, destination):
    assert copies(overlay, "r0", destination)[0] == {"h0": 1, "h1": 1, "r0": 0, "r1": 1, "uplink": 0}


def test_v9_stations_are_learned_behind_vteps_that_nobody_named(overlay):
    here = overlay.host(0)
    for remote in overlay.remotes:
        there = remote.station(overlay.vni)
        wait_until(lambda: here.ping(there.ipv4) == 3 and there.ping(here.ipv6) == 3, 20, "all pings to be answered")
        mac, place = there.mac(), f"remote {remote.address}"

        def is_learned():
            # The first packet tells of the VTEP, and a later one of the station.
            there.ping(here.ipv4, count=1)
            lines = overlay.gateway.vtepctl("show", "fdb").stdout.splitlines()
            return any(mac in line and place in line for line in lines)

        wait_until(is_learned, 5, f"{mac} to be learned at {place}")
    with Capture(overlay.fabric, "up0") as uplink:
        assert here.ping(there.ipv4) == 3
        # Hosts go on sending multicast of their own, but no frame for a station goes to the group.
        inner = 50 if overlay.underlay.family == "ipv4" else 70
        to_group = [frame for frame in uplink.frames() if frame[:6] == MACS[overlay.underlay.family]]
        flooded = [frame for frame in to_group if not frame[inner] & 1]
        assert not flooded
    if overlay.mode == "kernel":
        assert overlay.gateway.total("vtepd_discovered_remotes") == 2
    assert overlay.gateway.total("vtepd_group_packets_total", group=overlay.group) > 0
    rows = [row["address"] for row in overlay.gateway.show("vteps")["remotes"]["items"]]
    assert rows == [remote.address for remote in overlay.remotes] + [overlay.group]


def test_v9_queries_are_answered_as_long_as_the_group_is_wanted(overlay):
    # Longer than the switch remembers who does not answer.
    end = time.monotonic() + 13
    while time.monotonic() < end:
        assert "up0" in overlay.members()
        time.sleep(0.2)


def test_v9_the_group_is_left_and_joined_with_a_reload_by_reports_that_tshark_understands(overlay):
    with Capture(overlay.fabric, "up0") as uplink:
        group = overlay.config.bridges[0].pop("group")
        overlay.gateway.reload()
        wait_until(lambda: "up0" not in overlay.members(), 10, "the group to be left")
        assert copies(overlay, "h0", BROADCAST)[0] == {"h0": 0, "h1": 1, "r0": 0, "r1": 0, "uplink": 0}
        # The second report follows within a second of the first, unless the group is wanted again by then.
        settle(1.2)
        overlay.config.bridges[0]["group"] = group
        overlay.gateway.reload()
        wait_until(lambda: "up0" in overlay.members(), 10, "the group to be joined")
        settle(1.5)
        path = os.path.join(overlay.bed.directory, "reports.pcap")
        wrpcap(path, [frame for frame in uplink.frames() if frame[0] & 1], linktype=1)
    prefix, report = (("igmp", "igmp.type==0x22") if overlay.underlay.family == "ipv4"
                      else ("icmpv6.mldr.mar", "icmpv6.type==143"))
    fields = {
        "ipv4": ("igmp.record_type", "igmp.maddr", "ip.ttl", "ip.dst", "igmp.checksum.status"),
        "ipv6": ("icmpv6.mldr.mar.record_type", "icmpv6.mldr.mar.multicast_address", "ipv6.hlim", "ipv6.dst",
                 "icmpv6.checksum.status"),
    }[overlay.underlay.family]
    columns = [word for field in fields for word in ("-e", field)]
    rows = run("tshark", "-r", path, "-Y", report, "-T", "fields", "-E", "occurrence=a", *columns).splitlines()
    ours = [row.split("\t") for row in rows if overlay.group in row]
    every = {"ipv4": "224.0.0.22", "ipv6": "ff02::16"}[overlay.underlay.family]
    for row in ours:
        assert row[2:] == ["1", every, "1"], f"{prefix}: {row}"
    # Left (to include nothing), then joined (to exclude nothing), each said twice.
    changes = [kind for row in ours for kind, of in zip(row[0].split(","), row[1].split(",")) if of == overlay.group]
    assert changes.count("3") >= 2 and changes.count("4") >= 2, ours
    assert run("tshark", "-r", path, "-Y", f"({report}) && (_ws.malformed || _ws.expert.severity >= 6291456)") == ""


def test_v9_a_second_bridge_in_the_same_group_is_told_apart_by_its_vni(overlay):
    overlay.config.bridge(overlay.vni + 1, overlay.vlan + 1, ["trunk0", "trunk1"], group=overlay.group)
    overlay.gateway.reload()
    try:
        assert copies(overlay, "r0", BROADCAST)[0] == {"h0": 1, "h1": 1, "r0": 0, "r1": 1, "uplink": 0}
    finally:
        overlay.config.bridges.pop()
        overlay.gateway.reload()


class AdoptedGroupOverlay(GroupOverlay):
    """One whose config has no group: the kernel's vxlan device beside the gateway has it."""

    def _with_group(self, _overlay):
        self.group = GROUPS[self.underlay.family]
        self.config.vtep["underlay"] = "kernel"
        self.config.neighbours.clear()
        self.config.bridge(self.vni, self.vlan, ["trunk0", "trunk1"], control="kernel", kernel_device="vx{vni}")

    def make_device(self):
        """As an operator would: a device in the gateway's namespace that floods to the group."""
        run("ip", "-n", self.gateway.namespace, "link", "add", f"vx{self.vni}", "type", "vxlan", "id", str(self.vni),
            "local", self.underlay.gateway, "group", self.group, "dev", "uplink0", "dstport", "4789")


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_v9_the_group_of_an_adopted_device_is_joined_flooded_to_and_taken_from(family):
    made = AdoptedGroupOverlay(family, "kernel")
    try:
        made.join_remotes()
        made.make_device()
        wait_until(lambda: made.members() >= {"up0", "to-r2", "to-r3"}, 10, "all to have joined the group")
        counts, _ = copies(made, "h0", BROADCAST)
        assert counts == {"h0": 0, "h1": 1, "r0": 1, "r1": 1, "uplink": 1}
        assert copies(made, "r0", BROADCAST)[0] == {"h0": 1, "h1": 1, "r0": 0, "r1": 1, "uplink": 0}
        assert made.gateway.total("vtepd_group_packets_total", group=made.group) > 0
        # The device is gone, and with it the group.
        run("ip", "-n", made.gateway.namespace, "link", "del", f"vx{made.vni}")
        wait_until(lambda: "up0" not in made.members(), 10, "the group to be left")
        assert copies(made, "h0", BROADCAST)[0] == {"h0": 0, "h1": 1, "r0": 0, "r1": 0, "uplink": 0}
    finally:
        made.close()
