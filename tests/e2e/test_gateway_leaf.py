"""The gateway with FRR is a leaf of a fabric of FRR's and the kernel's, by the files of `examples/leaf-frr`."""

import time

import pytest

from clos import VNI, Clos, station_mac
from flows import send_flows
from gateway_leaf import GatewayLeaf
from outage import assert_failover, everybody, silence, unplug
from testbed import Stalls, run, wait_until

GATEWAY_LEAF = 2
FLOWS, DATAGRAMS = 400, 5

# FRR 8.4 knows no VTEPs with IPv6 addresses: EVPN is for those with IPv4 ones.
evpn = pytest.mark.parametrize("clos", ["ipv4"], indirect=True)


@pytest.fixture(params=["ipv4", "ipv6"])
def clos(request):
    """A fabric that has converged, its second leaf the gateway's, its VTEPs with addresses of that family."""
    made = Clos(request.param, {GATEWAY_LEAF: GatewayLeaf})
    try:
        yield made.converge()
    finally:
        made.close()


@pytest.fixture
def leaf(clos):
    """The gateway's leaf."""
    return clos.leaves[GATEWAY_LEAF - 1]


@pytest.fixture
def gateway(leaf):
    """The gateway."""
    return leaf.gateway


def test_hosts_everywhere_reach_each_other(clos, gateway):
    lost = gateway.dropped("no_next_hop")
    for source in clos.hosts:
        for target in clos.hosts:
            if source is not target:
                assert (source.ping(target.ipv4), source.ping(target.ipv6, "-M", "do", "-s", "8900")) == (3, 3)
    assert gateway.dropped("no_next_hop") == lost


def sent_to_spines(clos, leaf):
    """Sends many flows from the gateway's host to another: how many of their packets each spine got from the leaf, but
    for a few of BGP's and BFD's."""
    source, target = clos.hosts[GATEWAY_LEAF - 1], clos.hosts[0]
    before = [spine.received(leaf.name) for spine in clos.spines]
    assert send_flows(source, target, target.ipv4, FLOWS, DATAGRAMS) == FLOWS * DATAGRAMS
    return [spine.received(leaf.name) - earlier for spine, earlier in zip(clos.spines, before)]


def shares(leaf, address):
    """The share in per cent of the flows to a remote VTEP that each of its ways has, by uplink."""
    remote = next(remote for remote in leaf.remotes() if remote["address"] == address)
    return {hop["port"]: hop["share_percent"] for hop in remote["next_hops"]}


def test_flows_are_spread_over_both_uplinks_and_off_a_spine_that_is_gone(clos, leaf):
    other = clos.leaves[0].address
    assert clos.hosts[GATEWAY_LEAF - 1].ping(clos.hosts[0].ipv4) == 3
    assert shares(leaf, other) == {"uplink0": 50, "uplink1": 50}
    # Of 400 flows a fair coin gives each side 140 or more, all but always. Where EVPN does not say where a station is, a
    # copy goes to each leaf.
    first, second = sent_to_spines(clos, leaf)
    assert first + second >= FLOWS * DATAGRAMS and 0.35 < first / (first + second) < 0.65, (first, second)
    with clos.watched_closely():
        unplug(clos.spines[0])
        wait_until(lambda: shares(leaf, other) == {"uplink1": 100}, 5, "the spine to be missed")
    gone, left = sent_to_spines(clos, leaf)
    assert gone == 0 and left >= FLOWS * DATAGRAMS


@pytest.mark.parametrize("die", [silence, unplug])
def test_a_spine_that_dies_during_a_transfer_is_missed_for_less_than_a_second(clos, die):
    assert_failover(clos, clos.hosts[GATEWAY_LEAF - 1], clos.hosts[0], die, size=256 << 20)


@evpn
def test_a_spine_that_comes_back_is_used_again(clos, leaf):
    spine = clos.spines[0]
    with clos.watched_closely():
        spine.fall_silent()
        wait_until(lambda: all(len(remote["next_hops"]) == 1 for remote in leaf.remotes()), 5, "the spine to be missed")
    spine.speak_again()
    clos.converge()
    assert [source.ping(address) for source, address in everybody(clos)] == [3] * 6


@evpn
def test_a_station_that_moves_between_other_leaves_is_followed(clos, leaf):
    first, _, third = clos.leaves
    moving, watching, _ = clos.hosts
    assert watching.ping(moving.ipv4) == 3
    wait_until(lambda: leaf.stations().get(station_mac(1)) == [first.address], 5, "the station to be known")
    clos.move(moving, third)
    assert moving.ping(clos.hosts[2].ipv4) == 3
    wait_until(lambda: leaf.stations().get(station_mac(1)) == [third.address], 5, "the station to have moved")
    assert watching.ping(moving.ipv4) == 3


@evpn
def test_a_station_that_moves_away_from_the_gateway_is_followed(clos, leaf):
    third = clos.leaves[2]
    _, moving, watching = clos.hosts
    assert watching.ping(moving.ipv4) == 3
    clos.move(moving, third)
    assert moving.ping(clos.hosts[0].ipv4) == 3
    wait_until(lambda: leaf.stations().get(station_mac(2)) == [third.address], 5, "the station to have moved")


@evpn
def test_a_leaf_without_its_vxlan_device_is_flooded_to_no_more(clos, leaf):
    third = clos.leaves[2]
    third.ip("link", "set", f"vx{VNI}", "down")
    wait_until(lambda: leaf.flood_list() == {clos.leaves[0].address}, 5, "the leaf to leave the flood list")
    third.ip("link", "set", f"vx{VNI}", "up")
    clos.converge()


@evpn
def test_a_gateway_that_was_killed_is_a_leaf_again(clos, leaf, gateway):
    with clos.watched_closely():
        gateway.process.kill()
        gateway.process.wait(10)
        wait_until(lambda: any("BFD" in line for line in clos.spines[0].missing()), 5, "the spines to miss it")
    leaf.start()
    clos.converge()
    assert [source.ping(address) for source, address in everybody(clos)] == [3] * 6


@evpn
def test_no_session_is_lost_while_the_kernel_removes_many_links(clos):
    """In one order, which keeps everybody waiting who asks the kernel about links, in all namespaces, for seconds."""
    elsewhere = clos.bed.namespace("elsewhere")
    bridges = "\n".join(f"link add b{number} group 77 type bridge" for number in range(200))
    run("ip", "-n", elsewhere, "-batch", "-", input=bridges)
    clos.converge()
    with clos.watched_closely(), Stalls() as stalls:
        before = clos.interruptions()
        run("ip", "-n", elsewhere, "link", "del", "group", "77")
        time.sleep(1)
        after = clos.interruptions()
    # A machine that stands still for so long at once takes the sessions down by itself.
    assert after == before or stalls.longest > 0.3, (after, stalls.longest)


@evpn
def test_what_bgpd_said_is_gone_with_it_and_what_zebra_said_stays_until_frr_is_back(clos, leaf):
    leaf.frr.kill("bgpd")
    wait_until(lambda: leaf.flood_list() == set() and leaf.remotes() == [], 5, "all that it said to be gone")
    leaf.frr.restart()
    clos.converge()
    wait_until(lambda: leaf.findings() == [], 5, "nothing to be found")
    leaf.frr.kill("zebra")
    assert [source.ping(address) for source, address in everybody(clos)] == [3] * 6
    assert leaf.findings() == ["control_plane_gone"]
    leaf.frr.restart()
    clos.converge()
    assert [source.ping(address) for source, address in everybody(clos)] == [3] * 6
    wait_until(lambda: leaf.findings() == [], 5, "nothing to be found")


@evpn
def test_devices_that_were_deleted_are_used_again_when_they_are_back(clos, leaf):
    leaf.ip("link", "del", f"vx{VNI}")
    wait_until(lambda: leaf.flood_list() == set(), 5, "the gateway to flood nowhere")
    wait_until(lambda: leaf.address not in clos.leaves[0].flood_list(), 5, "the other leaves to be told")
    leaf.make_interfaces()
    clos.converge()
    # The gateway makes the interface of its uplink again.
    leaf.ip("link", "del", "uplink1")
    wait_until(lambda: any("uplink1" in line for line in leaf.missing()), 5, "FRR to miss the interface")
    clos.converge()
    assert [source.ping(address) for source, address in everybody(clos)] == [3] * 6
