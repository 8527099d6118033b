"""Two leaves are gateways, one is the kernel's: hosts reach each other everywhere, and move between leaves of any kind;
what happens to a link or to many stations at once is told to all."""

import contextlib
import json
import socket
import time

import pytest

from clos import Clos, station_mac
from gateway_leaf import GatewayLeaf
from outage import assert_failover, everybody, silence
from testbed import inside, wait_until

TRANSFER_BYTES = 256 << 20

# The first four bytes of the addresses of many stations.
MANY = "02:20:00:00"


@pytest.fixture(scope="module", name="clos")
def make_clos():
    """A fabric that has converged, of which each test leaves what it found."""
    made = Clos("ipv4", {2: GatewayLeaf, 3: GatewayLeaf})
    try:
        yield made.converge()
    finally:
        made.close()


def test_hosts_everywhere_reach_each_other(clos):
    for source in clos.hosts:
        for target in clos.hosts:
            if source is not target:
                assert (source.ping(target.ipv4), source.ping(target.ipv6, "-M", "do", "-s", "8900")) == (3, 3)


def test_a_spine_that_dies_between_two_gateways_is_missed_for_less_than_a_second(clos):
    assert_failover(clos, clos.hosts[1], clos.hosts[2], silence, TRANSFER_BYTES)
    for spine in clos.spines:
        spine.speak_again()
    clos.converge()


def behind(clos, number, leaf):
    """True once every other leaf has the host behind that leaf."""
    mac = station_mac(number)
    others = [other for other in clos.leaves if other is not leaf]
    return all(other.stations().get(mac) == [leaf.address] for other in others)


@pytest.mark.parametrize("number,way", [(1, (1, 2, 3, 1)), (2, (2, 3, 1, 2))],
                         ids=["kernel-gateway-gateway-kernel", "gateway-gateway-kernel-gateway"])
def test_a_host_that_moves_between_leaves_is_followed_by_all(clos, number, way):
    host = clos.hosts[number - 1]
    peers = [other for other in clos.hosts if other is not host]
    for step, place in enumerate(way):
        leaf = clos.leaves[place - 1]
        if step > 0:
            clos.move(host, leaf)
        # It is heard where it is now; that it has moved is told by FRR (RFC 7432, 7.7).
        assert host.ping(peers[0].ipv4) == 3
        wait_until(lambda: behind(clos, number, leaf), 5, f"all leaves to have host {number} behind {leaf.name}")
        assert [peer.ping(host.ipv4) for peer in peers] + [peer.ping(host.ipv6) for peer in peers] == [3] * 4
    assert [source.ping(address) for source, address in everybody(clos)] == [3] * 6


def test_a_link_that_flaps_leaves_both_ways_and_nothing_stale(clos):
    spine, leaf = clos.spines[0], clos.leaves[1]
    with clos.watched_closely():
        for _ in range(5):
            for state in ("down", "up"):
                spine.ip("link", "set", leaf.name, state)
                time.sleep(0.1)
        clos.converge()
    assert [source.ping(address) for source, address in everybody(clos)] == [3] * 6
    wait_until(lambda: [other.findings() for other in clos.leaves[1:]] == [[], []], 5, "nothing to be found")


def test_ten_thousand_stations_that_a_gateway_loses_at_once_are_taken_back_everywhere(clos):
    first, leaf, other = clos.leaves

    def known(watching):
        return sum(remotes == [leaf.address] for mac, remotes in watching.stations().items() if mac.startswith(MANY))

    with inside(leaf.rack.namespace):
        trunk = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)

    def all_are_known():
        # Again, those whose frames a full queue dropped: the gateway itself does not have them.
        heard = {item["mac"] for item in json.loads(leaf.gateway.vtepctl(
            "show", "fdb", "--port", "trunk0", "--learned", "--limit", "10000", "--json").stdout)["items"]}
        for number in range(10_000):
            source = bytes.fromhex(MANY.replace(":", "")) + number.to_bytes(2, "big")
            if source.hex(":") not in heard:
                with contextlib.suppress(OSError):
                    trunk.send(bytes.fromhex("0200000000fe") + source + b"\x81\x00\x00\x64\x88\xb5" + bytes(46))
                if number % 100 == 99:
                    time.sleep(0.01)
        return known(first) == 10_000

    with trunk:
        trunk.bind(("trunk", 0))
        wait_until(all_are_known, 30, "the kernel's leaf to have them", every=2)
    wait_until(lambda: other.gateway.total("vtepd_kernel_stations") >= 10_000, 30, "the other gateway to have them")
    leaf.gateway.vtepctl("fdb", "flush", "--port", "trunk0")
    wait_until(lambda: known(first) == 0, 30, "the kernel's leaf to have none", every=0.5)
    wait_until(lambda: other.gateway.total("vtepd_kernel_stations") < 10, 30, "the other gateway to have none")
    clos.converge()
    assert [source.ping(address) for source, address in everybody(clos)] == [3] * 6
