"""Bridges with `control = "kernel"`: what a control plane writes into the kernel's VXLAN FDB is where frames go."""

import time

import pytest

from overlay import Overlay
from testbed import run, wait_until


def controlled(overlay):
    """The kernel says the remote side of the bridge; the file says how VTEPs are reached, and no more."""
    overlay.config.vtep["underlay"] = "kernel"
    overlay.config.bridge(overlay.vni, overlay.vlan, ["trunk0"], control="kernel", kernel_device="vx")


@pytest.fixture(params=["ipv4", "ipv6"])
def overlay(request):
    """An overlay whose gateway's kernel has no vxlan device yet."""
    made = Overlay(request.param, access_ports=1, remotes=2, configure=controlled)
    yield made
    made.close()


def in_gateway(overlay, tool, *command):
    """iproute2 in the gateway's namespace."""
    return run(tool, "-n", overlay.gateway.namespace, *command)


def make_device(overlay, bridge=True):
    """A vxlan device as FRR's operators make it, in a bridge that is down, or as flannel makes it, in none."""
    in_gateway(overlay, "ip", "link", "add", "vx", "type", "vxlan", "id", str(overlay.vni), "local",
               overlay.underlay.gateway, "dstport", "4789", "nolearning")
    if bridge:
        in_gateway(overlay, "ip", "link", "add", "name", "br100", "type", "bridge")
        in_gateway(overlay, "ip", "link", "set", "vx", "master", "br100")
    in_gateway(overlay, "ip", "link", "set", "vx", "up")


def fdb(overlay):
    """Where each station is that the gateway has from the kernel."""
    items = overlay.gateway.show("fdb")["items"]
    return {item["mac"]: item["remote"] for item in items if item["kind"] == "kernel"}


def test_frames_go_where_the_kernels_fdb_says(overlay):
    gateway = overlay.gateway
    overlay.full_mesh()
    first, second = overlay.remotes
    h0, r0, r1 = overlay.host(0), first.station(overlay.vni), second.station(overlay.vni)
    assert h0.ping(r0.ipv4, count=1) == 0, "there is nobody to flood to"
    make_device(overlay)
    for remote in overlay.remotes:
        in_gateway(overlay, "bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "vx", "dst", remote.address)
    h0.forget_neighbours()
    def bridges():
        return [remote["bridges"] for remote in gateway.show("vteps")["remotes"]["items"]]

    wait_until(lambda: bridges() == [1, 1], 2, "the flood list")
    # Floods reach both. Nothing is learned from what they answer: all frames to them are floods.
    assert (h0.ping(r0.ipv4), h0.ping(r1.ipv6)) == (3, 3)
    assert fdb(overlay) == {}
    in_gateway(overlay, "bridge", "fdb", "add", r0.mac(), "dev", "vx", "master", "extern_learn", "dynamic")
    in_gateway(overlay, "bridge", "fdb", "add", r0.mac(), "dev", "vx", "self", "dst", first.address, "extern_learn",
               "dynamic")
    wait_until(lambda: fdb(overlay) == {r0.mac(): first.address}, 2, "the station to be known")
    flooded = gateway.total("vtepd_events_total", event="flooded_frame")
    assert h0.ping(r0.ipv4) == 3
    assert gateway.total("vtepd_events_total", event="flooded_frame") == flooded
    # The kernel says that it is elsewhere, where it is not: frames go there, and nobody answers.
    in_gateway(overlay, "bridge", "fdb", "replace", r0.mac(), "dev", "vx", "self", "dst", second.address, "extern_learn",
               "dynamic")
    wait_until(lambda: fdb(overlay) == {r0.mac(): second.address}, 2, "the station to have moved")
    assert h0.ping(r0.ipv4, count=1) == 0
    # The device is deleted: all it said is gone, and its VTEPs may not send any more.
    in_gateway(overlay, "ip", "link", "del", "vx")
    wait_until(lambda: fdb(overlay) == {}, 2, "the station to be forgotten")
    h0.forget_neighbours()
    assert h0.ping(r1.ipv4, count=1) == 0
    assert gateway.total("vtepd_kernel_stations") == 0


def test_flannels_commands_lead_to_forwarding(overlay):
    overlay.full_mesh()
    remote = overlay.remotes[0]
    h0, r0 = overlay.host(0), remote.station(overlay.vni)
    make_device(overlay, bridge=False)
    # Flannel knows stations and neighbours, and floods nothing: the host is told the MAC as flannel would tell it.
    in_gateway(overlay, "bridge", "fdb", "append", r0.mac(), "dev", "vx", "dst", remote.address)
    wait_until(lambda: fdb(overlay) == {r0.mac(): remote.address}, 2, "the station to be known")
    run("ip", "-n", h0.namespace, "neigh", "replace", r0.ipv4, "lladdr", r0.mac(), "dev", h0.device, "nud", "permanent")
    run("ip", "-n", r0.namespace, "neigh", "replace", h0.ipv4, "lladdr", h0.mac(), "dev", r0.device, "nud", "permanent")
    assert h0.ping(r0.ipv4) == 3


def test_a_restarted_gateway_has_what_the_kernel_kept(overlay):
    gateway, remote = overlay.gateway, overlay.remotes[0]
    make_device(overlay)
    in_gateway(overlay, "bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "vx", "dst", remote.address)
    in_gateway(overlay, "bridge", "fdb", "append", "02:00:00:00:00:77", "dev", "vx", "dst", remote.address)
    wait_until(lambda: fdb(overlay) == {"02:00:00:00:00:77": remote.address}, 2, "the station to be known")
    gateway.process.kill()
    gateway.process.wait(10)
    time.sleep(0.2)
    gateway.start()
    assert fdb(overlay) == {"02:00:00:00:00:77": remote.address}
    assert gateway.total("vtepd_kernel_resyncs_total", result="completed") >= 1
