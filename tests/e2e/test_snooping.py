"""IGMP and MLD snooping: multicast goes to hosts of the kernel's that joined a group, here and behind remote VTEPs, and to
nobody else (RFC 4541)."""

import socket
import struct
import time

import pytest
from scapy.contrib.igmpv3 import IGMPv3, IGMPv3mq
from scapy.layers.inet import IP, IPOption_Router_Alert
from scapy.layers.inet6 import ICMPv6MLQuery2, IPv6, IPv6ExtHdrHopByHop, RouterAlert
from scapy.layers.l2 import Ether

from frames import Capture, send
from overlay import Overlay
from testbed import inside, settle, wait_until

GROUPS = {"ipv4": "239.5.5.5", "ipv6": "ff05::5:5"}
QUERIER_MAC = "02:aa:00:00:00:01"


@pytest.fixture(scope="module")
def overlay():
    made = Overlay(configure=lambda made: made.config.bridge(
        made.vni, made.vlan, ["trunk0", "trunk1"], made.remote_addresses, snooping=True))
    try:
        made.full_mesh()
        made.hosts = [made.host(0), made.host(1)]
        made.stations = [remote.station(made.vni) for remote in made.remotes]
        yield made
    finally:
        made.close()


def query(family):
    """A general query of a router, which asks every five seconds and believes for two."""
    if family == "ipv4":
        packet = (IP(src="192.168.100.254", dst="224.0.0.1", ttl=1, options=[IPOption_Router_Alert()])
                  / IGMPv3(type=0x11, mrcode=5) / IGMPv3mq(qrv=2, qqic=5))
        return bytes(Ether(src=QUERIER_MAC, dst="01:00:5e:00:00:01") / packet)
    packet = (IPv6(src="fe80::254", dst="ff02::1", hlim=1) / IPv6ExtHdrHopByHop(options=[RouterAlert()])
              / ICMPv6MLQuery2(mrd=500, QRV=2, QQIC=5))
    return bytes(Ether(src=QUERIER_MAC, dst="33:33:00:00:00:01") / packet)


def tagged(overlay, frame):
    return frame[:12] + b"\x81\x00" + overlay.vlan.to_bytes(2, "big") + frame[12:]


def ask(overlay, family):
    """The router is behind the second access port."""
    send(overlay.host_namespaces[1], overlay.access[1], tagged(overlay, query(family)))


class Member:
    """A host that has joined the group."""

    def __init__(self, station, family):
        with inside(station.namespace):
            domain = socket.AF_INET if family == "ipv4" else socket.AF_INET6
            self.socket = socket.socket(domain, socket.SOCK_DGRAM)
            index = socket.if_nametoindex(station.device)
            if family == "ipv4":
                request = socket.inet_aton(GROUPS[family]) + socket.inet_aton("0.0.0.0") + struct.pack("@i", index)
                self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            else:
                request = socket.inet_pton(domain, GROUPS[family]) + struct.pack("@i", index)
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def datagram(family, marker):
    """A datagram to the group."""
    from scapy.layers.inet import UDP
    from scapy.packet import Raw

    group = GROUPS[family]
    if family == "ipv4":
        mac, packet = "01:00:5e:05:05:05", IP(src="192.168.100.1", dst=group, ttl=8)
    else:
        mac, packet = "33:33:00:05:00:05", IPv6(src="fd00:0:64::1", dst=group, hlim=8)
    return bytes(Ether(src="02:11:00:00:00:01", dst=mac) / packet / UDP(sport=5000, dport=5000) / Raw(marker))


def reached(overlay, family, place="h0"):
    """Sends a datagram to the group: the places that saw it."""
    marker = f"{time.monotonic_ns():x}".encode()
    frame = datagram(family, marker)
    places = {f"h{n}": (overlay.host_namespaces[n], overlay.access[n]) for n in (0, 1)}
    places |= {f"r{n}": (overlay.remotes[n].namespace, f"vx{overlay.vni}") for n in (0, 1)}
    captures = {name: Capture(*where) for name, where in places.items()}
    for capture in captures.values():
        capture.__enter__()
    try:
        if place == "h0":
            send(overlay.host_namespaces[0], overlay.access[0], tagged(overlay, frame))
        else:
            send(overlay.remotes[0].namespace, f"vx{overlay.vni}", frame)
        settle(0.4)
        return {name for name, capture in captures.items() if capture.with_marker(marker)}
    finally:
        for capture in captures.values():
            capture.stop()


def members(overlay, family):
    """Where the gateway says that the group is wanted."""
    items = overlay.gateway.show("groups")["members"]["items"]
    return {item.get("port") or item["remote"] for item in items if item["group"] == GROUPS[family]}


@pytest.mark.parametrize("family", GROUPS)
def test_multicast_goes_to_members_here_and_behind_remote_vteps_and_to_the_router(overlay, family):
    assert reached(overlay, family) == {"h1", "r0", "r1"}, "nobody has asked yet"
    ask(overlay, family)
    wait_until(lambda: overlay.gateway.show("groups")["routers"], 5, "the router to be known")
    wait_until(lambda: reached(overlay, family) == {"h1"}, 5, "to go to the router alone")
    before = overlay.gateway.dropped("no_listener")
    assert reached(overlay, family, "r0") == {"h1", "r1"}, "the remote VTEPs reach each other by themselves"
    with Member(overlay.stations[1], family):
        wait_until(lambda: members(overlay, family) == {overlay.remotes[1].address}, 5, "the remote member")
        assert reached(overlay, family) == {"h1", "r1"}
        with Member(overlay.hosts[0], family):
            wait_until(lambda: "trunk0" in members(overlay, family), 5, "the member here")
            assert reached(overlay, family, "r0") == {"h0", "h1", "r1"}
            assert "trunk0 vlan 100" in overlay.gateway.vtepctl("show", "groups").stdout
        # It says that it leaves.
        wait_until(lambda: "trunk0" not in members(overlay, family), 5, "the member here to be forgotten")
        assert overlay.gateway.total("vtepd_multicast_memberships") >= 1
    assert overlay.gateway.dropped("no_listener") == before


@pytest.mark.parametrize("family", GROUPS)
def test_members_stay_as_long_as_they_answer_and_all_is_flooded_without_a_querier(overlay, family):
    with Member(overlay.stations[0], family):
        for _ in range(4):
            ask(overlay, family)
            time.sleep(3)
            assert overlay.remotes[0].address in members(overlay, family)
    # The querier's interval of five seconds counts as ten. Twice that and half an answer's time later, nobody asks any
    # more.
    wait_until(lambda: not any(router["family"] == family for router in overlay.gateway.show("groups")["routers"]),
               25, "the router to be forgotten")
    assert reached(overlay, family) == {"h1", "r0", "r1"}


def test_hosts_still_find_each_other(overlay):
    ask(overlay, "ipv6")
    ask(overlay, "ipv4")
    time.sleep(0.2)
    for station in overlay.stations:
        overlay.hosts[0].forget_neighbours()
        assert (overlay.hosts[0].ping(station.ipv4), overlay.hosts[0].ping(station.ipv6)) == (3, 3)
