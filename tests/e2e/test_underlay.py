"""The gateway as a host of the fabric, and what it sends there as others decode it."""

import struct

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.utils import wrpcap

from frames import LOCAL_EXPERIMENTAL, Capture, send, without_tag
from overlay import GATEWAY_UPLINK_MAC, OVERLAY_MTU, Overlay
from pings import pinged
from testbed import run, settle, wait_until

VXLAN_PORT = 4789


@pytest.fixture(scope="module", params=["ipv4", "ipv6"])
def overlay(request):
    made = Overlay(request.param)
    try:
        made.full_mesh()
        made.hosts = [made.host(0), made.host(1)]
        made.stations = [remote.station(made.vni) for remote in made.remotes]
        yield made
    finally:
        made.close()


def test_the_gateway_answers_arp_and_nd_for_its_address(overlay):
    remote = overlay.remotes[0]
    run("ip", "-n", remote.namespace, "neigh", "flush", "dev", "eth0")
    assert ping_gateway(remote, overlay) == 3
    neighbour = run("ip", "-n", remote.namespace, "neigh", "show", overlay.underlay.gateway)
    assert GATEWAY_UPLINK_MAC in neighbour


@pytest.mark.parametrize("size", [0, 1, 56, 1400])
def test_the_gateway_answers_ping_on_the_uplink(overlay, size):
    assert ping_gateway(overlay.remotes[1], overlay, "-s", str(size)) == 3


def test_the_gateway_answers_for_no_other_address(overlay):
    remote = overlay.remotes[0]
    stranger = overlay.underlay.address(99)
    assert pinged(remote.namespace, stranger, count=1) == 0
    assert GATEWAY_UPLINK_MAC not in run("ip", "-n", remote.namespace, "neigh", "show", stranger)


def ping_gateway(remote, overlay, *options):
    """Answers to three pings of the gateway's VTEP address."""
    return pinged(remote.namespace, overlay.underlay.gateway, *options)


def test_tshark_decodes_what_the_gateway_sends_without_complaint(overlay, tmp_path):
    h0, r0 = overlay.hosts[0], overlay.stations[0]
    with Capture(overlay.fabric, "up0") as capture:
        for station in (h0, r0):
            station.forget_neighbours()
        run("ip", "-n", overlay.remotes[0].namespace, "neigh", "flush", "dev", "eth0")
        for address in (r0.ipv4, r0.ipv6):
            assert h0.ping(address) == 3
            assert h0.ping(address, "-M", "do", "-s", str(OVERLAY_MTU - 48)) == 3
        assert ping_gateway(overlay.remotes[0], overlay) == 3
        settle(0.2)
        frames = capture.frames()
    path = str(tmp_path / "uplink.pcap")
    wrpcap(path, [Ether(frame) for frame in frames])
    rows = tshark(path, "_ws.expert.message", "ip.checksum.status", "udp.checksum.status", "icmpv6.checksum.status",
                  "icmp.checksum.status", "vxlan.vni", "udp.srcport")
    assert len(rows) == len(frames) >= 15
    vxlan = [row for row in rows if row["vxlan.vni"]]
    assert len(vxlan) >= 12
    for row in rows:
        assert not row["_ws.expert.message"], row
        for field in ("ip.checksum.status", "icmp.checksum.status", "icmpv6.checksum.status"):
            assert set(row[field].split(",")) <= {"", "Good", "1"}, row
    for row in vxlan:
        # Zero over IPv4 (RFC 7348, 5), computed over IPv6 (RFC 8200, 8.1).
        absent, good = {"3", "Not present"}, {"1", "Good"}
        outer = row["udp.checksum.status"].split(",")[0]
        assert outer in (absent if overlay.underlay.family == "ipv4" else good), row
        assert 49152 <= int(row["udp.srcport"].split(",")[0]) <= 65535, row


def tshark(path, *fields):
    """tshark's fields of every packet, with checksums verified."""
    options = [option for name in ("ip", "udp", "tcp") for option in ("-o", f"{name}.check_checksum:TRUE")]
    columns = [option for field in fields for option in ("-e", field)]
    text = run("/usr/bin/tshark", "-n", "-r", path, *options, "-T", "fields", "-E", "separator=|", *columns)
    return [dict(zip(fields, line.split("|"))) for line in text.splitlines()]


def test_v4_the_source_port_is_stable_for_a_flow_and_spreads_over_flows(overlay):
    flows = {}
    for port in range(1000, 1064):
        for _ in range(2):
            flows.setdefault(port, set()).add(source_port_of(overlay, udp_frame(overlay, port)))
    assert all(len(ports) == 1 for ports in flows.values()), flows
    assert len({next(iter(ports)) for ports in flows.values()}) >= 48


def udp_frame(overlay, port, tos=0):
    """A tagged UDP frame from h0 to an unknown station, with this source port."""
    inner = (Ether(src="02:31:00:00:00:01", dst="02:31:00:00:00:02")
             / IP(src="192.0.2.1", dst="192.0.2.2", tos=tos) / UDP(sport=port, dport=7) / b"flow")
    frame = bytes(inner)
    return frame[:12] + struct.pack("!HH", 0x8100, overlay.vlan) + frame[12:]


def encapsulated(overlay, frame):
    """Sends a tagged frame from h0 and returns the VXLAN packet of the copy to the first remote."""
    with Capture(overlay.fabric, "up0") as capture:
        send(overlay.host_namespaces[0], overlay.access[0], frame)
        inner = without_tag(frame)

        def found():
            return [seen for seen in capture.frames() if inner in seen]

        wait_until(found, 3, "the frame on the uplink", every=0.005)
        return Ether(found()[0])


def source_port_of(overlay, frame):
    """The outer UDP source port of the frame."""
    return encapsulated(overlay, frame)[UDP].sport


@pytest.mark.parametrize("ecn", [0, 1, 2, 3])
def test_encapsulation_copies_the_inner_ecn_and_dscp(overlay, ecn):
    packet = encapsulated(overlay, udp_frame(overlay, 2000, tos=0xB8 | ecn))
    outer = packet[IP].tos if overlay.underlay.family == "ipv4" else packet[IPv6].tc
    assert outer == 0xB8 | ecn


@pytest.mark.parametrize("inner,outer,expected", [(2, 3, 3), (1, 3, 3), (2, 1, 1), (2, 0, 2), (0, 2, 0), (3, 0, 3)])
def test_decapsulation_delivers_congestion_marks(overlay, inner, outer, expected):
    payload = bytes([inner, outer]) + b"marks"
    with Capture(overlay.host_namespaces[0], overlay.access[0]) as capture:
        send(overlay.remotes[0].namespace, "eth0", vxlan_with_marks(overlay, inner, outer, payload))
        wait_until(lambda: [frame for frame in capture.frames() if payload in frame], 3, "the packet at h0")
        frame = next(frame for frame in capture.frames() if payload in frame)
    delivered = Ether(without_tag(frame))
    assert delivered[IP].tos & 3 == expected
    checksum = delivered[IP].chksum
    del delivered[IP].chksum
    assert Ether(bytes(delivered))[IP].chksum == checksum


def test_congestion_over_a_packet_that_is_not_ecn_capable_is_dropped(overlay):
    before = overlay.gateway.dropped("ecn_congestion")
    with Capture(overlay.host_namespaces[0], overlay.access[0]) as capture:
        send(overlay.remotes[0].namespace, "eth0", vxlan_with_marks(overlay, 0, 3, b"no ecn here"))
        wait_until(lambda: overlay.gateway.dropped("ecn_congestion") == before + 1, 3, "the drop to be counted")
        assert not [frame for frame in capture.frames() if b"no ecn here" in frame]


def vxlan_with_marks(overlay, inner, outer, payload):
    """A VXLAN packet from the first remote with these ECN marks, to a station that nobody knows."""
    frame = (Ether(src="02:32:00:00:00:01", dst="02:32:00:00:00:02")
             / IP(src="192.0.2.1", dst="192.0.2.2", tos=inner) / UDP(sport=1, dport=2) / payload)
    remote, gateway = overlay.remotes[0].address, overlay.underlay.gateway
    ipv4 = overlay.underlay.family == "ipv4"
    network = IP(src=remote, dst=gateway, tos=outer) if ipv4 else IPv6(src=remote, dst=gateway, tc=outer)
    return bytes(Ether(src=overlay.remotes[0].mac, dst=GATEWAY_UPLINK_MAC) / network
                 / UDP(sport=50000, dport=VXLAN_PORT) / VXLAN(vni=overlay.vni, flags="Instance") / frame)


def test_v11_short_frames_are_padded_on_access_ports_and_trimmed_to_the_udp_length(overlay):
    inner = bytes.fromhex("ffffffffffff" "023300000001") + struct.pack("!H", LOCAL_EXPERIMENTAL) + b"short frame"
    packet = bytearray(vxlan_with_marks(overlay, 0, 0, b""))
    packet = Ether(bytes(packet))
    packet[VXLAN].remove_payload()
    for layer, field in ((IP, "len"), (IP, "chksum"), (IPv6, "plen"), (UDP, "len"), (UDP, "chksum")):
        if layer in packet:
            packet[layer].delfieldval(field)
    trailer = b"\xee" * 16
    with Capture(overlay.host_namespaces[0], overlay.access[0]) as capture:
        send(overlay.remotes[0].namespace, "eth0", bytes(packet / inner) + trailer)
        wait_until(lambda: [frame for frame in capture.frames() if b"short frame" in frame], 3, "the frame at h0")
        frame = next(frame for frame in capture.frames() if b"short frame" in frame)
    assert len(frame) >= 60
    assert without_tag(frame).rstrip(b"\0") == inner
