"""The devices that the gateway makes in the kernel over an IPv6 underlay: what is written into them is forwarded by, and
what is behind access ports is told there.

FRR (8.4 and 10.3) knows no VTEPs with IPv6 addresses: it carries the routes to them, and their entries are written by
hand, as a control plane that knows them would.
"""

import pytest

from clos import VNI, Clos, station_mac
from test_publishing import GATEWAY_LEAF, MADE, MakingLeaf
from testbed import run, wait_until

FLOOD = "00:00:00:00:00:00"


class WrittenLeaf(MakingLeaf):
    """A leaf where nobody but the gateway makes devices, and whose control plane is the test."""

    def write(self, verb, mac, address):
        """What FRR does for a type-3 or a type-2 route, or for its withdrawal: both halves of the entry."""
        options = ("extern_learn",) if mac != FLOOD and verb == "append" else ()
        halves = ("self",) if mac == FLOOD else ("self", "master")
        for half in halves:
            destination = ("dst", address) if half == "self" else ()
            run("bridge", "-n", self.namespace, "fdb", "replace" if options else verb, mac, "dev", f"vtvx{VNI}",
                *destination, half, *options)


@pytest.fixture
def clos():
    """A fabric whose VTEPs have IPv6 addresses; the second leaf is the gateway's, with the others in its flood list."""
    made = Clos("ipv6", {GATEWAY_LEAF: WrittenLeaf})
    try:
        leaf = made.leaves[GATEWAY_LEAF - 1]
        wait_until(lambda: leaf.made() == MADE, 10, "the devices to be made")
        for address in leaf.peers:
            leaf.write("append", FLOOD, address)
        yield made.converge()
    finally:
        made.close()


@pytest.fixture
def leaf(clos):
    """The gateway's leaf."""
    return clos.leaves[GATEWAY_LEAF - 1]


def published(leaf):
    """The stations that the gateway has told the kernel."""
    entries = leaf.json("bridge", "fdb", "show", "dev", f"vtac{VNI}")
    return {entry["mac"] for entry in entries if "extern_learn" in entry["flags"]}


def test_devices_over_an_ipv6_underlay_are_made_followed_and_told(clos, leaf):
    first, _, third = clos.leaves
    device = leaf.json("ip", "-d", "link", "show", "dev", f"vtvx{VNI}")[0]
    assert device["linkinfo"]["info_data"]["local6"] == leaf.address
    assert device["linkinfo"]["info_data"]["port"] == 4789
    for source in clos.hosts:
        for target in clos.hosts:
            if source is not target:
                assert (source.ping(target.ipv4), source.ping(target.ipv6, "-M", "do", "-s", "8900")) == (3, 3)
    # The host here is told the kernel, with its addresses; the others are heard and not learned, for the kernel says them.
    here, there = station_mac(GATEWAY_LEAF), station_mac(1)
    wait_until(lambda: published(leaf) == {here}, 5, "the host to be told the kernel's bridge")
    neighbours = leaf.json("ip", "neigh", "show", "dev", f"vtbr{VNI}")
    assert {entry["dst"] for entry in neighbours if entry.get("lladdr") == here} >= {clos.hosts[1].ipv6}
    assert leaf.stations() == {}
    # Frames to a station that the kernel has behind a VTEP go to that VTEP alone.
    leaf.write("append", there, first.address)
    wait_until(lambda: leaf.stations() == {there: [first.address]}, 5, "the station to be behind its VTEP")
    flooded = third.sent("h3-eth0")
    assert clos.hosts[1].ping(clos.hosts[0].ipv6, count=20) == 20
    assert third.sent("h3-eth0") - flooded < 10
    # It moves, and is withdrawn.
    leaf.write("append", there, third.address)
    wait_until(lambda: leaf.stations() == {there: [third.address]}, 5, "the station to have moved")
    leaf.write("del", there, third.address)
    wait_until(lambda: leaf.stations() == {}, 5, "the station to be withdrawn")
    assert clos.hosts[1].ping(clos.hosts[0].ipv6) == 3
    # It is heard here: what a remote VTEP had of it gives way.
    leaf.write("append", there, first.address)
    clos.move(clos.hosts[0], leaf)
    assert clos.hosts[0].ping(clos.hosts[2].ipv4) >= 3
    wait_until(lambda: published(leaf) == {here, there} and leaf.stations() == {}, 5, "the station to be here")
    # A VTEP that leaves the flood list is flooded to no more.
    leaf.write("del", FLOOD, third.address)
    wait_until(lambda: leaf.flood_list() == {first.address}, 5, "the leaf to leave the flood list")


def test_a_killed_gateway_finds_its_ipv6_devices_again_and_a_stopped_one_leaves_none(clos, leaf):
    assert clos.hosts[1].ping(clos.hosts[0].ipv4) == 3
    device = leaf.json("ip", "link", "show", "dev", f"vtvx{VNI}")[0]["ifindex"]
    leaf.gateway.process.kill()
    leaf.gateway.process.wait(10)
    assert leaf.made() == MADE[1:]
    leaf.start()
    clos.converge()
    assert leaf.made() == MADE
    assert leaf.json("ip", "link", "show", "dev", f"vtvx{VNI}")[0]["ifindex"] == device
    assert clos.hosts[1].ping(clos.hosts[0].ipv4) == 3
    wait_until(lambda: published(leaf) == {station_mac(GATEWAY_LEAF)}, 5, "the host to be told again")
    assert leaf.gateway.stop(20) == 0
    assert leaf.made() == []
