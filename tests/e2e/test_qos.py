"""Priorities by maps, both ways: what the fabric sees of a tag's priority, and what a host sees of the fabric's.

The remote VTEP is the kernel's vxlan with `tos inherit`: it puts outside what its own stations mark, and its own ECN rules
meet the gateway's.
"""

import struct

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from frames import Capture, send
from overlay import Overlay, vxlan_packet
from testbed import run, settle, wait_until

VNI, VLAN = 100, 100
EF, AF31 = 46, 26
QOS = {"outer_from_pcp": {"5": "EF", "3": "AF31"}, "access_pcp": "map", "inner_dscp": "map",
       "dscp_from_outer": {"EF": "CS5"}, "pcp_from_outer": {"AF31": 6}}


@pytest.fixture(scope="module")
def overlay():
    """trunk0 has VLAN 100, trunk1 two tags, 500 and 7; priorities are carried both ways."""

    def configure(overlay):
        overlay.config.vtep["dscp"] = "pcp"
        overlay.config.qos = QOS
        overlay.config.bridge(VNI, VLAN, ["trunk0", {"port": "trunk1", "vlan": 500, "inner_vlan": 7}],
                              overlay.remote_addresses)

    made = Overlay(access_ports=2, remotes=1, configure=configure)
    try:
        made.full_mesh([VNI])
        for remote in made.remotes:
            run("ip", "-n", remote.namespace, "link", "set", f"vx{VNI}", "type", "vxlan", "tos", "inherit")
        yield made
    finally:
        made.close()


def tagged(frame, *tags):
    """The frame with 0x8100 tags of these TCIs, outermost first."""
    return frame[:12] + b"".join(struct.pack("!HH", 0x8100, tci) for tci in tags) + frame[12:]


def datagram(overlay, tos, text):
    """A UDP datagram between stations nobody knows."""
    return bytes(Ether(src="02:51:00:00:00:01", dst="02:51:00:00:00:02")
                 / IP(src="192.0.2.1", dst="192.0.2.2", tos=tos) / UDP(sport=9, dport=9) / text)


def decoded(tmp_path, frames, *fields):
    """What tshark makes of frames: the fields of each."""
    path = str(tmp_path / "frames.pcap")
    wrpcap(path, [Ether(frame) for frame in frames])
    columns = [option for field in fields for option in ("-e", field)]
    text = run("/usr/bin/tshark", "-n", "-r", path, "-o", "ip.check_checksum:TRUE", "-T", "fields", "-E",
               "separator=|", *columns)
    return [line.split("|") for line in text.splitlines()]


@pytest.mark.parametrize("priority,dscp", [(0, 0), (1, 8), (3, AF31), (5, EF), (7, 56)])
@pytest.mark.parametrize("ecn", [0, 2])
def test_the_fabric_sees_the_priority_of_the_tag_and_the_hosts_ecn(overlay, tmp_path, priority, dscp, ecn):
    text = f"priority {priority} {ecn} up".encode()
    frame = datagram(overlay, 10 << 2 | ecn, text)
    with Capture(overlay.fabric, "up0") as capture:
        send(overlay.host_namespaces[0], "ac0", tagged(frame, priority << 13 | VLAN))
        wait_until(lambda: capture.with_marker(text), 5, "the packet")
    packet = capture.with_marker(text)[0].frame
    (dscps, ecns, status), = decoded(tmp_path, [packet], "ip.dsfield.dscp", "ip.dsfield.ecn", "ip.checksum.status")
    # The outer header's, and the inner one's, which nobody touched.
    assert (dscps, ecns, status) == (f"{dscp},10", f"{ecn},{ecn}", "1,1")


@pytest.mark.parametrize("tos,priority,inner", [(EF << 2, 5, 40), (AF31 << 2, 6, AF31), (0, 0, 0), (EF << 2 | 1, 5, 40)])
def test_a_host_sees_the_priority_that_the_kernels_vxlan_put_outside(overlay, tmp_path, tos, priority, inner):
    text = f"priority {tos} down".encode()
    with Capture(overlay.host_namespaces[0], "ac0") as tag, Capture(overlay.host_namespaces[1], "ac1") as pair:
        send(overlay.remotes[0].namespace, f"vx{VNI}", datagram(overlay, tos, text))
        wait_until(lambda: tag.with_marker(text) and pair.with_marker(text), 5, "the frames")
    frames = [capture.with_marker(text)[0].frame for capture in (tag, pair)]
    fields = ("vlan.priority", "vlan.id", "ip.dsfield.dscp", "ip.dsfield.ecn", "ip.checksum.status")
    assert decoded(tmp_path, frames, *fields) == [
        [str(priority), "100", str(inner), str(tos & 3), "1"],
        [f"{priority},{priority}", "500,7", str(inner), str(tos & 3), "1"]]


@pytest.mark.parametrize("tags", [[], [0x8100], [0x88A8, 0x8100]])
@pytest.mark.parametrize("ecn,outer,delivered", [(2, 3, 3), (2, 1, 1), (1, 2, 1), (3, 0, 3), (0, 3, None)])
def test_congestion_reaches_the_packet_also_behind_tags_of_its_own(tags, ecn, outer, delivered, carrying):
    text = f"congestion {ecn} {outer} {len(tags)}".encode()
    frame = datagram(carrying, 10 << 2 | ecn, text)
    own = b"".join(struct.pack("!HH", tpid, 9) for tpid in tags)
    inner = Ether(frame[:12] + own + frame[12:])
    before = carrying.gateway.dropped("ecn_congestion")
    with Capture(carrying.host_namespaces[0], "ac0") as capture:
        send(carrying.remotes[0].namespace, "eth0", vxlan_packet(carrying, VNI, inner, tos=EF << 2 | outer))
        if delivered is None:
            wait_until(lambda: carrying.gateway.dropped("ecn_congestion") == before + 1, 5, "the drop")
            settle(0.1)
            assert capture.with_marker(text) == []
            return
        wait_until(lambda: capture.with_marker(text), 5, "the frame")
    seen = capture.with_marker(text)[0].frame
    assert seen[16:16 + len(own)] == own
    packet = seen[16 + len(own) + 2:]
    assert packet[:20] == bytes(IP(src="192.0.2.1", dst="192.0.2.2", tos=10 << 2 | delivered) / UDP(sport=9, dport=9)
                                / text)[:20]


@pytest.fixture(scope="module")
def carrying():
    """A bridge that carries tags, in the default of everything else."""

    def configure(overlay):
        overlay.config.bridge(VNI, VLAN, ["trunk0"], overlay.remote_addresses, tags="carry")

    made = Overlay(access_ports=1, remotes=1, configure=configure)
    try:
        made.full_mesh([VNI])
        yield made
    finally:
        made.close()


def test_a_reload_changes_how_packets_are_marked():
    def configure(overlay):
        overlay.config.bridge(VNI, VLAN, ["trunk0"], overlay.remote_addresses)

    made = Overlay(access_ports=1, remotes=1, configure=configure)
    try:
        made.full_mesh([VNI])
        seen = []
        for number, (dscp, qos) in enumerate([("inherit", {}), (EF, {}), ("map", {"outer_from_dscp": {"AF11": 1}})]):
            made.config.vtep["dscp"], made.config.qos = dscp, qos
            made.gateway.reload()
            text = f"reload {number}".encode()
            with Capture(made.fabric, "up0") as capture:
                send(made.host_namespaces[0], "ac0", tagged(datagram(made, 10 << 2, text), VLAN))
                wait_until(lambda: capture.with_marker(text), 5, "the packet")
            seen.append(capture.with_marker(text)[0].frame[15] >> 2)
        assert seen == [10, EF, 1]
    finally:
        made.close()
