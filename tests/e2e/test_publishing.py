"""What is behind the gateway's access ports is advertised by FRR, from the devices that the gateway makes in the kernel."""

import time

import pytest

from clos import EXAMPLE, VNI, Clos, station_mac
from examples import ExampleConfig
from gateway_leaf import GatewayLeaf
from testbed import Stalls, settle, wait_until

GATEWAY_LEAF = 2
MADE = [f"vtac{VNI}", f"vtbr{VNI}", f"vtvx{VNI}"]


class MakingConfig(ExampleConfig):
    """The example's, but that the bridge names no device."""

    def text(self):
        """The TOML text."""
        lines = super().text().splitlines()
        return "\n".join(line for line in lines if not line.startswith("kernel_device"))


class FixingConfig(MakingConfig):
    """The same, with the second host as a static station."""

    def text(self):
        """The TOML text."""
        fixed = f'[[static]]\nvni = {VNI}\nmac = "{station_mac(GATEWAY_LEAF)}"\nport = "trunk0"\n'
        return f"{super().text()}\n{fixed}"


class MakingLeaf(GatewayLeaf):
    """A leaf where nobody but the gateway makes devices."""

    config_type = MakingConfig

    def make_interfaces(self):
        """Sets what the example's script sets, and makes nothing."""
        EXAMPLE.run(self.bed, self.namespace, "interfaces", changes={"10.0.0.11": self.address, 'vnis="100"': 'vnis=""'})

    def made(self):
        """The devices there that have such names."""
        return sorted(link["ifname"] for link in self.json("ip", "link", "show") if link["ifname"] in MADE)


class FixingLeaf(MakingLeaf):
    """A leaf whose gateway has a static station."""

    config_type = FixingConfig


@pytest.fixture
def clos(request):
    """A fabric that has converged, its second leaf the gateway's."""
    made = Clos("ipv4", {GATEWAY_LEAF: getattr(request, "param", MakingLeaf)})
    try:
        yield made.converge()
    finally:
        made.close()


@pytest.fixture
def leaf(clos):
    """The gateway's leaf."""
    return clos.leaves[GATEWAY_LEAF - 1]


def place(leaf, number):
    """The remote VTEPs that a leaf has a host behind."""
    return leaf.stations().get(station_mac(number), [])


def sticky(leaf, number):
    """That a leaf's kernel has a host behind a remote VTEP, as FRR wrote it, as one that does not move."""
    entries = leaf.json("bridge", "-d", "fdb", "show", "dev", f"vx{VNI}")
    mine = [entry for entry in entries if entry["mac"] == station_mac(number)]
    assert mine, entries
    return any("sticky" in entry["flags"] for entry in mine)


def until_behind(leaf, number, address, seconds=5):
    """Waits until a leaf has a host behind that remote VTEP (None: behind none), and gives how long that took while the
    machine ran."""
    wanted = [] if address is None else [address]
    with Stalls() as stalls:
        began = time.monotonic()
        wait_until(lambda: place(leaf, number) == wanted, seconds, f"{leaf.name} to have h{number} behind {address}")
        return time.monotonic() - began - stalls.seconds


def test_a_host_behind_the_gateway_is_advertised_and_reached_without_floods(clos, leaf):
    first, _, third = clos.leaves
    h1, h2, _ = clos.hosts
    assert h2.ping(h1.ipv4) == 3
    for other in (first, third):
        until_behind(other, GATEWAY_LEAF, leaf.address)
    flooded = third.sent("h3-eth0")
    assert h1.ping(h2.ipv4, count=20) == 20
    assert third.sent("h3-eth0") - flooded < 10
    published = leaf.gateway.metrics()["vtepd_kernel_published_entries", frozenset({("table", "bridge_fdb")})]
    assert published >= 1
    mac = leaf.frr.show(f"evpn mac vni {VNI} mac {station_mac(GATEWAY_LEAF)}")
    assert "local" in str(mac), mac


def test_a_host_moves_away_from_the_gateway_and_back(clos, leaf):
    first, _, third = clos.leaves
    h1, moving, _ = clos.hosts
    assert moving.ping(h1.ipv4) == 3
    until_behind(first, GATEWAY_LEAF, leaf.address)
    clos.move(moving, third)
    assert moving.ping(h1.ipv4) >= 3
    until_behind(first, GATEWAY_LEAF, third.address)
    until_behind(leaf, GATEWAY_LEAF, third.address)
    assert moving.ping(h1.ipv4) == 3
    clos.move(moving, leaf)
    assert moving.ping(h1.ipv4) >= 3
    for other in (first, third):
        until_behind(other, GATEWAY_LEAF, leaf.address)
    until_behind(leaf, GATEWAY_LEAF, None)
    assert moving.ping(h1.ipv4) == 3
    # Nobody fights for it: it was advertised once for each move.
    sequence = first.evpn_mac(station_mac(GATEWAY_LEAF))["remoteSequence"]
    settle(2)
    assert first.evpn_mac(station_mac(GATEWAY_LEAF))["remoteSequence"] == sequence
    until_behind(first, GATEWAY_LEAF, leaf.address)


def test_a_host_moves_to_the_gateway_and_on(clos, leaf):
    first, _, third = clos.leaves
    moving, h2, h3 = clos.hosts
    assert moving.ping(h3.ipv4) == 3
    until_behind(leaf, 1, first.address)
    clos.move(moving, leaf)
    assert moving.ping(h3.ipv4) >= 3
    for other in (first, third):
        until_behind(other, 1, leaf.address)
    until_behind(leaf, 1, None)
    assert (moving.ping(h2.ipv4), h3.ping(moving.ipv4)) == (3, 3)
    clos.move(moving, third)
    assert moving.ping(h2.ipv4) >= 3
    for other in (first, leaf):
        until_behind(other, 1, third.address)
    assert moving.ping(h2.ipv4) == 3


@pytest.mark.parametrize("clos", [FixingLeaf], indirect=True)
def test_a_static_station_is_advertised_as_one_that_does_not_move(clos, leaf):
    """RFC 7432, 15.2."""
    first, _, third = clos.leaves
    h1, fixed, _ = clos.hosts
    until_behind(first, GATEWAY_LEAF, leaf.address)
    assert sticky(first, GATEWAY_LEAF) and sticky(third, GATEWAY_LEAF)
    # One that was learned may move.
    assert h1.ping(fixed.ipv4) == 3
    until_behind(third, 1, first.address)
    assert not sticky(third, 1)
    # Somebody takes its address elsewhere, and is not believed.
    clos.move(fixed, third)
    fixed.ping(h1.ipv4)
    settle(2)
    assert place(first, GATEWAY_LEAF) == [leaf.address]
    assert sticky(first, GATEWAY_LEAF) and sticky(third, GATEWAY_LEAF)
    assert place(leaf, GATEWAY_LEAF) == []


def test_what_is_behind_a_killed_gateway_is_withdrawn_within_a_second_and_back_after_a_restart(clos, leaf):
    first = clos.leaves[0]
    h1, h2, _ = clos.hosts
    assert h2.ping(h1.ipv4) == 3
    until_behind(first, GATEWAY_LEAF, leaf.address)
    assert leaf.made() == MADE
    leaf.gateway.process.kill()
    took = until_behind(first, GATEWAY_LEAF, None)
    assert took < 1, f"it took {took:.2f} s"
    leaf.gateway.process.wait(10)
    assert leaf.made() == MADE[1:]
    device = leaf.json("ip", "link", "show", "dev", f"vtvx{VNI}")[0]["ifindex"]
    # As the supervisor does.
    leaf.ip("link", "set", "group", "4789", "down")
    wait_until(lambda: leaf.address not in first.flood_list(), 5, "other leaves to flood there no more")
    leaf.start()
    clos.converge()
    assert leaf.made() == MADE
    assert leaf.json("ip", "link", "show", "dev", f"vtvx{VNI}")[0]["ifindex"] == device
    assert h2.ping(h1.ipv4) == 3
    until_behind(first, GATEWAY_LEAF, leaf.address)


def test_a_gateway_that_is_stopped_takes_its_devices_along_and_says_so_first(clos, leaf):
    first = clos.leaves[0]
    leaf.gateway.process.terminate()
    wait_until(lambda: leaf.address not in first.flood_list(), 1, "other leaves to be told")
    assert leaf.gateway.process.wait(20) == 0
    assert leaf.made() == []


def test_devices_that_are_deleted_are_made_again_and_advertised(clos, leaf):
    first = clos.leaves[0]
    h1, h2, _ = clos.hosts
    assert h2.ping(h1.ipv4) == 3
    for device in MADE:
        until_behind(first, GATEWAY_LEAF, leaf.address)
        leaf.ip("link", "del", device)
        wait_until(lambda: leaf.made() == MADE, 10, f"{device} to be there again")
        until_behind(first, GATEWAY_LEAF, leaf.address, 10)
    clos.converge()
    assert h2.ping(h1.ipv4) == 3


def test_frr_that_is_restarted_advertises_again_what_the_kernel_has(clos, leaf):
    first = clos.leaves[0]
    h1, h2, _ = clos.hosts
    assert h2.ping(h1.ipv4) == 3
    until_behind(first, GATEWAY_LEAF, leaf.address)
    leaf.frr.restart()
    clos.converge()
    until_behind(first, GATEWAY_LEAF, leaf.address, 10)
    assert h1.ping(h2.ipv4) == 3
