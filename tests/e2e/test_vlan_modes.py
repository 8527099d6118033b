"""VLANs on access ports in every form: translated, native, untagged, two tags, more bridges than VLANs.

One VNI is another VLAN on each port; hosts are the kernel's stacks behind VLAN interfaces, frames with two tags are made
and read as bytes, decoded by tshark, and made by Open vSwitch.
"""

import os
import struct
import time

import pytest
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from frames import BROADCAST, Capture, marked_frame, send
from open_vswitch import OpenVswitch
from overlay import Overlay
from pings import pinged
from testbed import ROOT, run, settle, wait_until

CUSTOMER, SERVICE = 0x8100, 0x88A8
VNI = 101
QINQ_VNI, OTHER_QINQ_VNI = 105, 106
SETTLE_SECONDS = 0.4


@pytest.fixture(scope="module")
def overlay():
    """VNI 101: VLAN 10 on trunk0, VLAN 20 on trunk1, native VLAN 30 on trunk2, untagged on trunk3, and two tags, 500 and
    7, on trunk4, whose outer tags are service tags. VNIs 105 and 106: two 0x8100 tags on trunk0, 500 and 7 or 8."""

    def configure(overlay):
        remote = overlay.remote_addresses
        overlay.config.ports[5]["tpid"] = "0x88a8"
        overlay.config.bridge(VNI, 10, ["trunk0", {"port": "trunk1", "vlan": 20},
                                        {"port": "trunk2", "vlan": 30, "native": True},
                                        {"port": "trunk3", "untagged": True},
                                        {"port": "trunk4", "vlan": 500, "inner_vlan": 7}], remote)
        overlay.config.bridge(f"{QINQ_VNI}-{OTHER_QINQ_VNI}", 500, ["trunk0"], remote, inner_vlan="7-8")

    made = Overlay(access_ports=5, remotes=1, configure=configure)
    try:
        made.full_mesh([VNI, QINQ_VNI, OTHER_QINQ_VNI])
        yield made
    finally:
        made.close()


def tagged(frame, *tags):
    """The frame with tags (EtherType, TCI), outermost first."""
    return frame[:12] + b"".join(struct.pack("!HH", *tag) for tag in tags) + frame[12:]


def tags_of(frame):
    """The tags of a frame, outermost first."""
    tags, at = [], 12
    while struct.unpack_from("!H", frame, at)[0] in (CUSTOMER, SERVICE):
        tags.append(struct.unpack_from("!HH", frame, at))
        at += 4
    return tags


def captures(overlay):
    """Captures on all access ports."""
    return [Capture(namespace, device) for namespace, device in zip(overlay.host_namespaces, overlay.access)]


def arrivals(hosts, marker):
    """Port number and tags of every copy of the marked frame."""
    return sorted((number, tags_of(seen.frame)) for number, host in enumerate(hosts)
                  for seen in host.with_marker(marker))


# What frames of the one bridge have on each port.
FORMS = [[(CUSTOMER, 10)], [(CUSTOMER, 20)], [], [], [(SERVICE, 500), (CUSTOMER, 7)]]


def test_v7_a_flood_from_the_tunnel_has_on_each_port_the_tags_of_that_port(overlay):
    frame, marker = marked_frame("02:41:00:00:00:01", BROADCAST)
    hosts = captures(overlay)
    for host in hosts:
        host.__enter__()
    try:
        send(overlay.remotes[0].namespace, f"vx{VNI}", frame)
        settle(SETTLE_SECONDS)
    finally:
        for host in hosts:
            host.stop()
    assert arrivals(hosts, marker) == list(enumerate(FORMS))


@pytest.mark.parametrize("port,tags", [*enumerate(FORMS), (2, [(CUSTOMER, 30)]), (2, [(CUSTOMER, 0xA000)]),
                                       (3, [(CUSTOMER, 0)]), (4, [(SERVICE, 0xE1F4), (CUSTOMER, 0x2007)])])
def test_v7_a_frame_from_a_port_arrives_everywhere_else_in_the_form_of_the_place(overlay, port, tags):
    frame, marker = marked_frame("02:42:00:00:00:01", BROADCAST)
    hosts = captures(overlay)
    with Capture(overlay.remotes[0].namespace) as remote:
        for host in hosts:
            host.__enter__()
        try:
            send(overlay.host_namespaces[port], overlay.access[port], tagged(frame, *tags))
            settle(SETTLE_SECONDS)
        finally:
            for host in hosts:
                host.stop()
        seen = [seen for seen in remote.with_marker(marker) if seen.device.startswith("vx")]
    assert [(copy.device, tags_of(copy.frame)) for copy in seen] == [(f"vx{VNI}", [])]
    assert arrivals(hosts, marker) == [(number, form) for number, form in enumerate(FORMS) if number != port]


@pytest.mark.parametrize("inner,vni", [(7, QINQ_VNI), (8, OTHER_QINQ_VNI)])
def test_v7_two_customer_tags_name_a_bridge(overlay, inner, vni):
    tags = [(CUSTOMER, 500), (CUSTOMER, inner)]
    up, up_marker = marked_frame("02:43:00:00:00:01", BROADCAST)
    down, down_marker = marked_frame("02:43:00:00:00:02", BROADCAST)
    with Capture(overlay.remotes[0].namespace) as remote, Capture(overlay.host_namespaces[0], "ac0") as host:
        send(overlay.host_namespaces[0], "ac0", tagged(up, *tags))
        send(overlay.remotes[0].namespace, f"vx{vni}", down)
        settle(SETTLE_SECONDS)
    seen = {(seen.device, len(tags_of(seen.frame))) for seen in remote.with_marker(up_marker)}
    assert (f"vx{vni}", 0) in seen and not any(device.startswith("vx") for device, _ in seen - {(f"vx{vni}", 0)})
    assert [tags_of(seen.frame) for seen in host.with_marker(down_marker)] == [tags]


@pytest.mark.parametrize("port,tags,reason", [
    (0, [(CUSTOMER, 500)], "unknown_vlan"),
    (0, [(CUSTOMER, 500), (CUSTOMER, 9)], "unknown_vlan"),
    (0, [(SERVICE, 500), (CUSTOMER, 7)], "unknown_vlan"),
    (0, [(CUSTOMER, 10), (CUSTOMER, 7)], "access_double_tagged"),
    (4, [(CUSTOMER, 500), (CUSTOMER, 7)], "unknown_vlan"),
    (4, [(SERVICE, 500), (CUSTOMER, 7), (CUSTOMER, 9)], "access_double_tagged"),
])
def test_v7_other_tags_are_no_bridges_and_counted(overlay, port, tags, reason):
    before = overlay.gateway.dropped(reason)
    frame, marker = marked_frame("02:44:00:00:00:01", BROADCAST)
    with Capture(overlay.remotes[0].namespace) as remote:
        send(overlay.host_namespaces[port], overlay.access[port], tagged(frame, *tags))
        wait_until(lambda: overlay.gateway.dropped(reason) == before + 1, 5, f"one more {reason}")
        assert remote.with_marker(marker) == []


def test_kernel_stacks_talk_across_translated_native_and_untagged_ports_and_the_tunnel(overlay):
    stations = [overlay.host(0, vni=VNI, vlan=10), overlay.host(1, vni=VNI, vlan=20),
                overlay.host(2, vni=VNI, vlan=None), overlay.host(3, vni=VNI, vlan=None)]
    far = overlay.remotes[0].station(VNI)
    for station in stations:
        assert station.ping(far.ipv4) == 3
        assert station.ping(far.ipv6) == 3
    for station in stations[1:]:
        assert stations[0].ping(station.ipv4) == 3
    places = {entry["mac"]: entry for entry in overlay.gateway.show("fdb")["items"] if entry["vni"] == VNI}
    found = [(places[station.mac()]["port"], places[station.mac()]["vlan"]) for station in stations]
    assert found == [("trunk0", 10), ("trunk1", 20), ("trunk2", None), ("trunk3", None)]


def test_tshark_decodes_both_tags(overlay, tmp_path):
    frame, marker = marked_frame("02:45:00:00:00:01", BROADCAST)
    with Capture(overlay.host_namespaces[4], "ac4") as capture:
        send(overlay.remotes[0].namespace, f"vx{VNI}", frame)
        wait_until(lambda: capture.with_marker(marker), 5, "the frame")
    path = str(tmp_path / "metro.pcap")
    wrpcap(path, [Ether(seen.frame) for seen in capture.with_marker(marker)])
    fields = ("eth.type", "ieee8021ad.id", "vlan.etype", "vlan.id", "ieee8021ad.priority", "_ws.expert.message")
    columns = [option for field in fields for option in ("-e", field)]
    text = run("/usr/bin/tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=|", *columns)
    decoded = dict(zip(fields, text.rstrip("\n").split("|")))
    assert int(decoded["eth.type"], 16) == SERVICE
    assert (decoded["ieee8021ad.id"], decoded["vlan.id"]) == ("500", "7")
    assert decoded["_ws.expert.message"] == ""


def test_vtepctl_shows_what_each_port_has(overlay):
    bridge = next(bridge for bridge in overlay.gateway.show("bridges")["items"] if bridge["vni"] == VNI)
    assert bridge["vlan"] is None
    forms = [(place["vlan"], place["inner_vlan"], place["untagged"]) for place in bridge["members"]]
    assert forms == [(10, None, False), (20, None, False), (30, None, True), (None, None, True), (500, 7, False)]
    text = overlay.gateway.vtepctl("show", "bridges").stdout
    assert "trunk0:10 trunk1:20 trunk2:30+untagged +2" in text, text
    assert "500.7" in text, text


def test_a_reload_moves_a_port_to_another_vlan_and_kind_of_tag(bed):
    made = Overlay(access_ports=1, remotes=1, vni=VNI, vlan=10)
    try:
        made.full_mesh([VNI])
        config = made.config
        config.bridges[0]["ports"] = [{"port": "trunk0", "vlan": 500, "inner_vlan": 7}]
        config.ports[1]["tpid"] = "0x88a8"
        made.gateway.reload()
        frame, marker = marked_frame("02:46:00:00:00:01", BROADCAST)
        with Capture(made.host_namespaces[0], "ac0") as host:
            send(made.remotes[0].namespace, f"vx{VNI}", frame)
            wait_until(lambda: host.with_marker(marker), 5, "the frame")
        assert [tags_of(seen.frame) for seen in host.with_marker(marker)] == [[(SERVICE, 500), (CUSTOMER, 7)]]
    finally:
        made.close()


@pytest.mark.parametrize("ethertype,tpid", [("802.1ad", "0x88a8"), ("802.1q", "0x8100")])
def test_open_vswitch_puts_tags_on_customers_tags_and_takes_them_off(ethertype, tpid):
    """A customer's host with VLAN 7 behind an Open vSwitch that tunnels its tags in service VLAN 500."""

    def configure(overlay):
        overlay.config.ports[1]["tpid"] = tpid
        overlay.config.bridge(VNI, 500, ["trunk0"], overlay.remote_addresses, inner_vlan=7)

    made = Overlay(access_ports=1, remotes=1, configure=configure)
    try:
        made.full_mesh([VNI])
        metro = made.host_namespaces[0]
        customer = made.bed.namespace("customer")
        made.bed.veth(metro, "to-customer", customer, "eth0", 1600)
        switch = OpenVswitch(made.bed, metro)
        switch.port("to-customer", "vlan_mode=dot1q-tunnel", "tag=500", "cvlans=7",
                    f"other_config:qinq-ethtype={ethertype}")
        switch.port("ac0", "vlan_mode=trunk", "trunks=500")
        device = run(f"{ROOT}/dpdk-config/vlan-interface", customer, "eth0", "7").strip()
        far = made.remotes[0].station(VNI)
        run("ip", "-n", customer, "addr", "add", f"{far.ipv4.rsplit('.', 1)[0]}.9/24", "dev", device)
        run("ip", "-n", customer, "link", "set", device, "up")
        with Capture(metro, "ac0", outgoing=True) as capture:
            wait_until(lambda: pinged(customer, far.ipv4) == 3, 20, "answers through Open vSwitch")
        outer = int(tpid, 16)
        forms = {tuple(tags_of(frame)) for frame in capture.frames() if tags_of(frame)}
        assert ((outer, 500), (CUSTOMER, 7)) in forms, forms
    finally:
        made.close()


def test_more_bridges_than_there_are_vlans():
    """4094 VLANs of one port, and 2000 pairs of another: 6094 bridges, and each is reached as itself."""

    def configure(overlay):
        remote = overlay.remote_addresses
        overlay.config.bridge("1-4094", "1-4094", ["trunk0"], remote)
        overlay.config.bridge("10001-12000", 500, ["trunk1"], remote, inner_vlan="1-2000")

    made = Overlay(access_ports=2, remotes=1, configure=configure)
    try:
        some = {1: (0, [(CUSTOMER, 1)]), 4094: (0, [(CUSTOMER, 4094)]), 10001: (1, [(CUSTOMER, 500), (CUSTOMER, 1)]),
                12000: (1, [(CUSTOMER, 500), (CUSTOMER, 2000)])}
        made.full_mesh(list(some))
        gateway = made.gateway
        assert gateway.show("bridges")["total"] == 6094
        assert gateway.vtepctl("show", "bridges", "--vni", "12000").stdout.count("500.2000") == 1
        memory = resident_mib(gateway)
        hosts = captures(made)
        with Capture(made.remotes[0].namespace) as remote:
            for host in hosts:
                host.__enter__()
            markers = {}
            for vni, (port, tags) in some.items():
                up, up_marker = marked_frame("02:47:00:00:00:01", BROADCAST)
                down, down_marker = marked_frame("02:47:00:00:00:02", BROADCAST)
                markers[vni] = up_marker, down_marker
                send(made.host_namespaces[port], made.access[port], tagged(up, *tags))
                send(made.remotes[0].namespace, f"vx{vni}", down)
            settle(SETTLE_SECONDS)
            for host in hosts:
                host.stop()
            for vni, place in some.items():
                up_marker, down_marker = markers[vni]
                devices = [seen.device for seen in remote.with_marker(up_marker) if seen.device.startswith("vx")]
                assert devices == [f"vx{vni}"]
                assert arrivals(hosts, down_marker) == [place]
        assert all(f'vni="{vni}"' in gateway.get("/metrics")[1] for vni in some)
        before = time.monotonic()
        made.config.bridges[1]["inner_vlan"] = "2001-4000"
        said = gateway.reload()
        assert "error" not in said.lower(), said
        assert time.monotonic() - before < 5
        assert gateway.vtepctl("show", "bridges", "--vni", "12000").stdout.count("500.4000") == 1
        assert resident_mib(gateway) < memory + 100
    finally:
        made.close()


def resident_mib(gateway):
    """The daemon's resident memory."""
    with open(f"/proc/{gateway.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
