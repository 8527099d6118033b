"""Remote VTEPs without a `[[neighbour]]` are reached as the kernel's routes and neighbours on the uplink have it."""

import pytest

from overlay import Overlay
from testbed import run, wait_until


def without_neighbours(overlay):
    """The kernel says how remote VTEPs are reached."""
    overlay.config.vtep["underlay"] = "kernel"
    overlay.config.neighbours.clear()
    overlay.config.bridge(overlay.vni, overlay.vlan, ["trunk0"], overlay.remote_addresses)


@pytest.fixture(params=["ipv4", "ipv6"])
def overlay(request):
    """An overlay whose gateway's kernel has no address on the uplink yet."""
    made = Overlay(request.param, access_ports=1, remotes=2, configure=without_neighbours)
    yield made
    made.close()


def in_gateway(overlay, *command):
    """`ip` in the gateway's namespace."""
    return run("ip", "-n", overlay.gateway.namespace, *command)


def take_address(overlay):
    """Gives the uplink's interface the VTEP's address, and a link-local one, without which no IPv6 neighbour is found."""
    underlay, options = overlay.underlay, ()
    if underlay.family == "ipv6":
        options = ("nodad",)
        run("ip", "netns", "exec", overlay.gateway.namespace, "sysctl", "-qw", "net.ipv6.conf.uplink0.disable_ipv6=0")
        in_gateway(overlay, "addr", "add", "fe80::1/64", "dev", "uplink0", *options)
    in_gateway(overlay, "addr", "add", f"{underlay.gateway}/{underlay.length}", "dev", "uplink0", *options)


def next_hops(overlay):
    """Of each remote VTEP, in order of address, the next hops' MACs, or what is missing."""
    remotes = overlay.gateway.show("vteps")["remotes"]["items"]
    return [[hop["mac"] for hop in remote["next_hops"]] or remote["missing"] for remote in remotes]


def test_hosts_reach_remote_vteps_by_the_kernels_routes_and_neighbours(overlay):
    gateway, underlay = overlay.gateway, overlay.underlay
    first, second = (remote.mac for remote in overlay.remotes)
    assert next_hops(overlay) == ["no_route", "no_route"]
    overlay.full_mesh()
    h0, r0, r1 = overlay.host(0), overlay.remotes[0].station(overlay.vni), overlay.remotes[1].station(overlay.vni)
    assert h0.ping(r0.ipv4, count=1) == 0
    assert gateway.dropped("no_next_hop") > 0

    # With the VTEP's address on the uplink's interface both are on the link. The kernel asks for their MACs.
    take_address(overlay)
    wait_until(lambda: next_hops(overlay) == [[first], [second]], 10, "both to be resolved")
    h0.forget_neighbours()
    assert (h0.ping(r0.ipv4), h0.ping(r1.ipv6)) == (3, 3)
    assert gateway.total("vtepd_underlay_remotes", state="reachable") == 2

    # A route to the second leads by the first, which does not forward; then it goes, and there is no packet lost.
    whole = "32" if underlay.family == "ipv4" else "128"
    route = (f"{underlay.address(3)}/{whole}", "via", underlay.address(2))
    in_gateway(overlay, "route", "add", *route)
    wait_until(lambda: next_hops(overlay) == [[first], [first]], 2, "the route to be followed")
    in_gateway(overlay, "route", "del", *route)
    wait_until(lambda: next_hops(overlay) == [[first], [second]], 2, "the route to be gone")
    assert h0.ping(r1.ipv4) == 3

    # A remote VTEP that does not answer is said to be unresolved, and works again when it does.
    run("ip", "-n", overlay.fabric, "link", "set", "to-r3", "down")
    in_gateway(overlay, "neigh", "flush", "dev", "uplink0", "to", underlay.address(3))
    wait_until(lambda: next_hops(overlay) == [[first], "unresolved"], 15, "the second to be given up")
    run("ip", "-n", overlay.fabric, "link", "set", "to-r3", "up")
    wait_until(lambda: next_hops(overlay) == [[first], [second]], 15, "the second to be there again")
    assert h0.ping(r1.ipv4) == 3

    # The uplink's interface is set down: nothing is sent that way.
    in_gateway(overlay, "link", "set", "uplink0", "down")
    wait_until(lambda: all(isinstance(hops, str) for hops in next_hops(overlay)), 2, "no way")
    assert h0.ping(r0.ipv4, count=1) == 0


def test_a_neighbour_of_the_file_wins(overlay):
    gateway, underlay = overlay.gateway, overlay.underlay
    overlay.config.neighbour(underlay.address(2), "02:00:00:bb:00:77")
    gateway.reload()
    assert next_hops(overlay) == [["02:00:00:bb:00:77"], "no_route"]
    overlay.config.neighbours.clear()
    gateway.reload()
    assert next_hops(overlay) == ["no_route", "no_route"]


def test_next_hops_are_left_to_themselves_when_the_gateway_stops(overlay):
    take_address(overlay)
    wait_until(lambda: "no_route" not in next_hops(overlay), 10, "routes")
    wait_until(lambda: "managed" in in_gateway(overlay, "neigh"), 10, "the kernel to look after them")
    assert overlay.gateway.stop() == 0
    assert "managed" not in in_gateway(overlay, "neigh")
