"""What outer headers can be told to have, against the kernel's vxlan told the same: ports, TTL, checksums, addresses,
group policies."""

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from flows import send_flows
from frames import Capture
from overlay import Overlay
from pings import pinged
from testbed import run, settle, wait_until

OTHER_PORT, OTHER_VNI, OTHER_VLAN = 8472, 200, 200
ANYCAST = 100
POLICY = 42


def make(family, configure=None, prepare=None):
    """An overlay of two hosts and two remote VTEPs. `configure` changes the gateway's config, `prepare` what the kernel's
    devices are told."""
    def both(overlay):
        overlay.config.bridge(overlay.vni, overlay.vlan, ["trunk0"], overlay.remote_addresses)
        configure(overlay)

    overlay = Overlay(family, access_ports=2, remotes=2, configure=both if configure else None)
    if prepare:
        prepare(overlay)
    return overlay


def outer_headers(overlay, function):
    """The outer headers of what crosses the fabric to and from the gateway while the function runs: UDP to a port of
    VXLAN, as scapy reads it."""
    with Capture(overlay.fabric, "up0", outgoing=True) as capture:
        function()
        settle(0.2)
        packets = [(seen.outgoing, Ether(seen.frame)) for seen in list(capture.seen)]
    ip = IP if overlay.underlay.family == "ipv4" else IPv6
    return [(outgoing, packet[ip]) for outgoing, packet in packets
            if ip in packet and UDP in packet and packet[ip].payload.name == "UDP"
            and packet[UDP].dport in (4789, OTHER_PORT)]


def sent(headers):
    """Those that the gateway sent: the fabric's port receives them."""
    return [header for outgoing, header in headers if not outgoing]


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_checksums_ttl_and_source_ports_are_as_both_sides_were_told(family):
    def configure(overlay):
        overlay.config.vtep.update(udp_checksum_ipv4="full", ttl=9, source_ports="40000-40015")

    def prepare(overlay):
        for remote in overlay.remotes:
            remote.options = "ttl 7 srcport 30000 30100" + (" udpcsum" if family == "ipv4" else "")

    overlay = make(family, configure, prepare)
    try:
        overlay.full_mesh()
        host, far = overlay.host(0), overlay.remotes[0].station(overlay.vni)

        def talk():
            assert (host.ping(far.ipv4), host.ping(far.ipv6, "-M", "do", "-s", "8900")) == (3, 3)
            assert send_flows(host, far, far.ipv4, 64, 2) == 128

        headers = outer_headers(overlay, talk)
        ours = sent(headers)
        assert len(ours) >= 134
        for header in ours:
            assert (header.ttl if family == "ipv4" else header.hlim) == 9
            assert 40000 <= header[UDP].sport <= 40015
            # The kernel verifies it; so does scapy, by computing it anew.
            told = header[UDP].chksum
            assert told
            fresh = header.copy()
            del fresh[UDP].chksum
            # As it was sent: not everything inside is made again as it was.
            fresh[UDP].remove_payload()
            fresh[UDP].add_payload(Raw(header[UDP].original[8:header[UDP].len]))
            assert type(header)(bytes(fresh))[UDP].chksum == told
        assert len({header[UDP].sport for header in ours}) > 8
        theirs = [header for outgoing, header in headers if outgoing]
        assert theirs and all(header[UDP].chksum and 30000 <= header[UDP].sport <= 30100 for header in theirs)
        assert overlay.gateway.dropped("outer_udp_checksum") == 0
    finally:
        overlay.close()


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_vteps_on_two_udp_ports_are_served_at_once(family):
    def configure(overlay):
        first, second = overlay.remote_addresses
        overlay.config.bridges.clear()
        overlay.config.bridge(overlay.vni, overlay.vlan, ["trunk0"], [first])
        overlay.config.bridge(OTHER_VNI, OTHER_VLAN, ["trunk1"], [second], udp_port=OTHER_PORT)

    def prepare(overlay):
        overlay.remotes[1].port = OTHER_PORT

    overlay = make(family, configure, prepare)
    try:
        gateway = [overlay.underlay.gateway]
        overlay.remotes[0].bridges([overlay.vni], gateway)
        overlay.remotes[1].bridges([OTHER_VNI], gateway)
        usual, other = overlay.host(0), overlay.host(1, OTHER_VNI, OTHER_VLAN)
        near, far = overlay.remotes[0].station(overlay.vni), overlay.remotes[1].station(OTHER_VNI)

        def talk():
            assert (usual.ping(near.ipv4), usual.ping(near.ipv6)) == (3, 3)
            assert (other.ping(far.ipv4), other.ping(far.ipv6, "-M", "do", "-s", "8900")) == (3, 3)

        ports = {(header.dst, header[UDP].dport) for header in sent(outer_headers(overlay, talk))}
        assert ports == {(overlay.remotes[0].address, 4789), (overlay.remotes[1].address, OTHER_PORT)}
        assert "UDP port 4789 and 8472" in overlay.gateway.vtepctl("show", "vteps").stdout
    finally:
        overlay.close()


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_an_anycast_address_is_served_beside_the_gateways_own(family):
    def configure(overlay):
        overlay.config.vtep["other_addresses"] = [overlay.underlay.address(ANYCAST)]

    overlay = make(family, configure)
    try:
        anycast = overlay.underlay.address(ANYCAST)
        first, second = overlay.remotes
        first.bridges([overlay.vni], [overlay.underlay.gateway])
        # The second knows the gateway by its anycast address alone. It floods there, and learns the own one.
        second.bridges([overlay.vni], [anycast])
        host = overlay.host(0)
        for remote in overlay.remotes:
            station = remote.station(overlay.vni)
            assert (host.ping(station.ipv4), station.ping(host.ipv6), host.ping(station.ipv6)) == (3, 3, 3)
        # It answers ARP or neighbour solicitations and pings for both.
        for address in (overlay.underlay.gateway, anycast):
            run("ip", "-n", second.namespace, "neigh", "flush", "dev", "eth0")
            assert pinged(second.namespace, address) == 3
        flooded = outer_headers(overlay, lambda: station_floods(second, overlay))
        assert anycast in {header.dst for outgoing, header in flooded if outgoing}
    finally:
        overlay.close()


def station_floods(remote, overlay):
    """The remote VTEP's station asks for one that is not there."""
    assert pinged(remote.namespace, f"192.168.{overlay.vni}.77", count=1) == 0


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_group_policies_are_sent_and_asked_for(family):
    def configure(overlay):
        overlay.config.bridges[0].update(group_policy=POLICY, accept_group_policies=[POLICY])

    def prepare(overlay):
        for remote in overlay.remotes:
            remote.options = "gbp"

    overlay = make(family, configure, prepare)
    try:
        overlay.full_mesh()
        host, far = overlay.host(0), overlay.remotes[0].station(overlay.vni)
        gateway = overlay.gateway
        # What the kernel sends gets the mark of its socket as its group policy. ARP has none, so neighbours are told.
        run("ip", "-n", far.namespace, "neigh", "replace", host.ipv4, "lladdr", host.mac(), "dev", far.device)
        run("ip", "-n", host.namespace, "neigh", "replace", far.ipv4, "lladdr", far.mac(), "dev", host.device)
        run("ip", "netns", "exec", far.namespace, "sysctl", "-qw", "net.ipv4.fwmark_reflect=1")
        headers = outer_headers(overlay, lambda: host.ping(far.ipv4))
        vxlan = [bytes(header[UDP].payload)[:4] for header in sent(headers)]
        assert vxlan and set(vxlan) == {bytes([0x88, 0, 0, POLICY])}
        # The kernel's device with `gbp` takes them, and marks them so: its answers, by the mark, have the policy again.
        assert host.ping(far.ipv4) == 3
        assert far.ping(host.ipv4, "-m", str(POLICY)) == 3
        before = gateway.dropped("group_policy")
        for options in ((), ("-m", str(POLICY + 1))):
            assert far.ping(host.ipv4, *options, count=2) == 0
        wait_until(lambda: gateway.dropped("group_policy") >= before + 4, 3, "the drops to be counted")
    finally:
        overlay.close()
