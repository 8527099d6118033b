"""Which station has which IP address, told FRR and heard from it: EVPN type-2 routes with IP (RFC 7432, 7.2; RFC 9161)."""

import pytest

from clos import VNI, Clos, station_mac
from frames import Capture
from test_publishing import GATEWAY_LEAF, MakingConfig, MakingLeaf
from test_suppression import asked
from testbed import run, settle, wait_until

AGEING_SECONDS = 5


class SuppressingConfig(MakingConfig):
    """The example's, with suppression, and with stations that age soon."""

    def text(self):
        """The TOML text."""
        text = super().text().replace('control = "kernel"', 'control = "kernel"\nneighbour_suppression = true\n')
        assert "neighbour_suppression" in text
        return f"{text}\n[fdb]\nageing = {AGEING_SECONDS}\n"


class SuppressingLeaf(MakingLeaf):
    """A leaf of such a gateway."""

    config_type = SuppressingConfig

    def bindings(self):
        """Of each address that the gateway knows: MAC, and how it knows."""
        return {item["address"]: (item["mac"], item["kind"]) for item in self.gateway.show("bindings")["items"]}

    def suppressed(self):
        """Questions that the gateway has answered."""
        names = ("arp_suppressed", "solicitation_suppressed")
        return sum(self.gateway.total("vtepd_events_total", event=name) for name in names)


@pytest.fixture(scope="module")
def clos():
    """A fabric that has converged, its second leaf the gateway's."""
    made = Clos("ipv4", {GATEWAY_LEAF: SuppressingLeaf})
    try:
        yield made.converge()
    finally:
        made.close()


@pytest.fixture
def leaf(clos):
    """The gateway's leaf."""
    return clos.leaves[GATEWAY_LEAF - 1]


def neighbours(leaf):
    """The neighbours on the bridge of a leaf whose VTEP is the kernel's: MAC and flags by address."""
    return {entry["dst"]: entry for entry in leaf.json("ip", "neigh", "show", "dev", f"br{VNI}") if "lladdr" in entry}


def say(leaf, station):
    """A leaf whose VTEP is the kernel's is told that the station has its addresses, as its own SVI would learn it."""
    for address in (station.ipv4, station.ipv6):
        leaf.ip("neigh", "replace", address, "lladdr", station.mac(), "dev", f"br{VNI}", "nud", "permanent")


def take_back(leaf, station):
    """And that it has them no more."""
    for address in (station.ipv4, station.ipv6):
        leaf.ip("neigh", "del", address, "dev", f"br{VNI}")


def until_advertised(clos, leaf, station):
    """Lets a host behind the gateway speak until the other leaves have both of its addresses."""
    first = clos.leaves[0]

    def is_advertised():
        station.ping(clos.hosts[0].ipv4, count=1)
        station.ping(clos.hosts[0].ipv6, count=1)
        return {station.ipv4, station.ipv6} <= neighbours(first).keys()

    wait_until(is_advertised, 10, f"the addresses to be advertised; the gateway has {leaf.bindings()}")


def test_addresses_of_a_host_behind_the_gateway_are_advertised_with_it(clos, leaf):
    first, host = clos.leaves[0], clos.hosts[GATEWAY_LEAF - 1]
    until_advertised(clos, leaf, host)
    mac = station_mac(GATEWAY_LEAF)
    for address in (host.ipv4, host.ipv6):
        entry = neighbours(first)[address]
        assert (entry["lladdr"], entry.get("extern_learn", "absent")) == (mac, None), entry
        assert address in leaf.frr.vtysh(f"show evpn mac vni {VNI} mac {mac}")
        assert address in leaf.frr.vtysh(f"show evpn arp-cache vni {VNI}")
    routes = first.frr.vtysh("show bgp l2vpn evpn route type macip")
    for address, length in ((host.ipv4, 32), (host.ipv6, 128)):
        assert f"[2]:[0]:[48]:[{mac}]:[{length}]:[{address}]" in routes, routes
    published = leaf.gateway.total("vtepd_kernel_published_entries", table="neighbours")
    assert published >= 2


def test_a_host_is_told_a_remote_stations_address_and_nothing_of_it_is_on_the_fabric(clos, leaf):
    (first, _, _), (remote, host, _) = clos.leaves, clos.hosts
    until_advertised(clos, leaf, host)
    say(first, remote)
    wanted = {address: (remote.mac(), "kernel") for address in (remote.ipv4, remote.ipv6)}
    wait_until(lambda: wanted.items() <= leaf.bindings().items(), 5, "both addresses to come from the kernel")
    try:
        for address in (remote.ipv4, remote.ipv6):
            before = leaf.suppressed()
            with Capture(remote.namespace, remote.device) as seen:
                run("ip", "-n", host.namespace, "neigh", "del", address, "dev", host.device, check=False)
                assert host.ping(address) == 3
            assert leaf.suppressed() > before
            assert asked(seen, address) == [], "the station itself was not asked"
    finally:
        take_back(first, remote)
    wait_until(lambda: not wanted.keys() & leaf.bindings().keys(), 5, "both to be gone")
    with Capture(remote.namespace, remote.device) as seen:
        run("ip", "-n", host.namespace, "neigh", "del", remote.ipv4, "dev", host.device, check=False)
        assert host.ping(remote.ipv4) == 3
    assert len(asked(seen, remote.ipv4)) >= 1, "it floods again"


def test_an_address_that_moves_to_another_leaf_is_its_own_there(clos, leaf):
    third, host = clos.leaves[2], clos.hosts[GATEWAY_LEAF - 1]
    until_advertised(clos, leaf, host)
    before = host.device
    clos.move(host, third)
    say(third, host)
    assert host.ping(clos.hosts[0].ipv4) >= 1
    wanted = {address: (host.mac(), "kernel") for address in (host.ipv4, host.ipv6)}
    wait_until(lambda: wanted.items() <= leaf.bindings().items(), 10, f"both to be remote: {leaf.bindings()}")
    settle(1)
    assert wanted.items() <= leaf.bindings().items(), "nobody fights for it"
    take_back(third, host)
    run("ip", "-n", host.namespace, "link", "set", host.device, "arp", "off")
    run("ip", "-n", host.namespace, "addr", "flush", "dev", host.device)
    host.device = before
    run("ip", "-n", host.namespace, "link", "set", host.device, "arp", "on")
    run("ip", "netns", "exec", host.namespace, "sysctl", "-qw", f"net/ipv6/conf/{host.device}/disable_ipv6=0")
    host.take_addresses(9000)
    until_advertised(clos, leaf, host)
    assert leaf.bindings()[host.ipv4] == (host.mac(), "learned")


def test_a_host_that_falls_silent_is_withdrawn_with_its_addresses(clos, leaf):
    first, host = clos.leaves[0], clos.hosts[GATEWAY_LEAF - 1]
    until_advertised(clos, leaf, host)
    run("ip", "-n", host.namespace, "addr", "flush", "dev", host.device)
    gone = {host.ipv4, host.ipv6}
    wait_until(lambda: not gone & leaf.bindings().keys(), 4 * AGEING_SECONDS, "the bindings to age")
    wait_until(lambda: not gone & neighbours(first).keys(), 5, "the other leaves to be told")
    host.take_addresses(9000)
