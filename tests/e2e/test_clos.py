"""The fabric itself, all of it FRR and the kernel: what the gateway is to take part in, and what its tests lean on."""

import pytest

from clos import VNI, Clos, station_mac
from outage import assert_failover, everybody, silence, unplug
from testbed import run, wait_until

# FRR 8.4 knows no VTEPs with IPv6 addresses: EVPN is for those with IPv4 ones.
evpn = pytest.mark.parametrize("clos", ["ipv4"], indirect=True)


@pytest.fixture(params=["ipv4", "ipv6"])
def clos(request):
    """A fabric that has converged, its VTEPs with addresses of that family."""
    made = Clos(request.param)
    try:
        yield made.converge()
    finally:
        made.close()


def test_hosts_everywhere_reach_each_other(clos):
    for source in clos.hosts:
        for target in clos.hosts:
            if source is not target:
                assert (source.ping(target.ipv4), source.ping(target.ipv6, "-M", "do", "-s", "8900")) == (3, 3)


@pytest.mark.parametrize("die", [silence, unplug])
def test_a_spine_that_dies_during_a_transfer_is_missed_for_less_than_a_second(clos, die):
    assert_failover(clos, clos.hosts[0], clos.hosts[2], die)


@evpn
def test_a_spine_that_comes_back_is_used_again(clos):
    spine = clos.spines[0]
    spine.set_links("down")
    wait_until(lambda: clos.leaves[0].next_hops(clos.leaves[1].address) == ["uplink1"], 5, "the spine to be missed")
    spine.set_links("up")
    clos.converge()
    assert [source.ping(address) for source, address in everybody(clos)] == [3] * 6


@evpn
def test_a_station_that_moves_between_leaves_is_found_behind_the_other(clos):
    first, second, third = clos.leaves
    moving, _, watching = clos.hosts
    mac = station_mac(moving.number)
    assert watching.ping(moving.ipv4) == 3
    wait_until(lambda: third.stations().get(mac) == [first.address], 5, "the station to be known")
    clos.move(moving, second)
    assert moving.ping(watching.ipv4) == 3
    wait_until(lambda: third.stations().get(mac) == [second.address], 5, "the station to have moved")
    wait_until(lambda: first.stations().get(mac) == [second.address], 5, "its old leaf to know")
    # It was a move, with a sequence number (RFC 7432, 7.7), and not a withdrawal and a new advertisement.
    assert third.evpn_mac(mac)["remoteSequence"] == 1
    assert watching.ping(moving.ipv4) == 3


@evpn
def test_a_station_with_its_address_is_known_everywhere(clos):
    """Type-2 routes with and without IP, and the withdrawal."""
    leaf, other = clos.leaves[0], clos.leaves[2]
    host = clos.hosts[0]
    leaf.ip("addr", "add", "192.168.100.254/24", "dev", f"br{VNI}")
    assert run("ip", "netns", "exec", leaf.namespace, "ping", "-n", "-c", "1", "-w", "5", host.ipv4)

    def bindings():
        return {entry["dst"]: entry["lladdr"] for entry in other.json("ip", "neigh", "show", "dev", f"br{VNI}")
                if entry.get("protocol") == "zebra"}

    wait_until(lambda: bindings().get(host.ipv4) == station_mac(1), 5, "the binding")
    assert other.stations()[station_mac(1)] == [leaf.address]
    run("ip", "-n", host.namespace, "link", "set", host.device, "down")
    wait_until(lambda: station_mac(1) not in other.stations(), 5, "the station to be withdrawn")


@evpn
def test_a_leaf_without_its_vxlan_device_is_in_no_flood_list(clos):
    """Type-3 routes, and their withdrawal."""
    first, second, third = clos.leaves
    third.ip("link", "set", f"vx{VNI}", "down")
    wait_until(lambda: first.flood_list() == {second.address}, 5, "the leaf to leave the flood list")
    third.ip("link", "set", f"vx{VNI}", "up")
    clos.converge()


@evpn
def test_what_is_missing_is_said(clos):
    assert clos.missing() == []
    clos.leaves[0].ip("link", "set", "uplink0", "down")
    wait_until(lambda: any("leaf1: 10.0.0.12 is routed over ['uplink1']" in line for line in clos.missing()), 5,
               "the missing route to be named")
    with pytest.raises(AssertionError, match="leaf1: BGP IPv4 on uplink0 is (Idle|Active)"):
        clos.converge(seconds=1)
