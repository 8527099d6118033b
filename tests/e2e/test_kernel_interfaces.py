"""A gateway whose ports are interfaces of the kernel, ends of veths, through AF_XDP and AF_PACKET sockets."""

import os
import signal
import socket

import pytest

from gateway import Config, Gateway
from overlay import GATEWAY_UPLINK_MAC, Medium, Overlay
from testbed import inside, run, wait_until
from transfer import bulk_transfer

# The largest that they take, and of it what an IPv6 underlay and a tag leave.
AF_XDP = Medium("net_af_xdp", 1770, 1700)
AF_PACKET = Medium("net_af_packet", 1960, 1890)
BULK_BYTES = 16 << 20


@pytest.fixture(scope="module", params=[(medium, family) for medium in (AF_XDP, AF_PACKET)
                                        for family in ("ipv4", "ipv6")],
                ids=lambda param: f"{param[0].driver}-{param[1]}")
def overlay(request):
    medium, family = request.param
    made = Overlay(family, medium=medium)
    try:
        made.full_mesh()
        made.hosts = [made.host(0), made.host(1)]
        made.stations = [remote.station(made.vni) for remote in made.remotes]
        yield made
    finally:
        made.close()


def pairs(overlay):
    """Every kind of way: access to tunnel, tunnel to access, access to access."""
    h0, h1 = overlay.hosts
    r0, r1 = overlay.stations
    return [(h0, r0), (r1, h1), (h0, h1)]


def test_pings_pass_both_ways_up_to_the_mtu(overlay):
    for here, there in pairs(overlay):
        assert here.ping(there.ipv4) == 3
        assert here.ping(there.ipv6) == 3
        assert here.ping(there.ipv4, "-M", "do", "-s", str(overlay.medium.overlay_mtu - 28)) == 3
        assert here.ping(there.ipv6, "-M", "do", "-s", str(overlay.medium.overlay_mtu - 48)) == 3


def test_fragments_of_hosts_pass(overlay):
    for here, there in pairs(overlay):
        assert here.ping(there.ipv6, "-s", "4000") == 3
        if overlay.medium is AF_XDP:
            # AF_PACKET's kernel side puts those of IPv4 together, which docs/operations.md says.
            assert here.ping(there.ipv4, "-s", "4000") == 3


@pytest.mark.parametrize("way", [0, 1, 2])
def test_a_bulk_transfer_is_intact(overlay, way):
    here, there = pairs(overlay)[way]
    sent, received = bulk_transfer(here, there, there.ipv4, BULK_BYTES)
    assert received == sent


def test_every_copy_of_a_flood_is_whole(overlay):
    h0, h1 = overlay.hosts
    payload = os.urandom(1600)
    receivers = []
    for station in (h1, *overlay.stations):
        with inside(station.namespace):
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind(("0.0.0.0", 9999))
        receiver.settimeout(5)
        receivers.append(receiver)
    with inside(h0.namespace):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for _ in range(20):
        sender.sendto(payload, (h0.ipv4.rsplit(".", 1)[0] + ".255", 9999))
        assert [receiver.recv(3000) == payload for receiver in receivers] == [True] * 3
    for open_socket in (sender, *receivers):
        open_socket.close()


def test_ports_are_shown_and_nothing_is_missed(overlay):
    for port in overlay.gateway.show("ports"):
        assert port["link_up"] and overlay.medium.driver in port["device"]
    assert overlay.gateway.total("vtepd_port_missed_packets_total") == 0
    assert overlay.gateway.total("vtepd_port_errors_total") == 0


def flags(gateway, interface):
    """What `ip link` says of an interface of the gateway's namespace."""
    return run("ip", "-n", gateway.namespace, "-d", "link", "show", interface)


@pytest.fixture(params=["net_af_xdp", "net_af_packet"])
def gateway(request, bed):
    """A gateway that does not run yet, between two veths."""
    config = Config()
    config.driver = request.param
    config.uplink(mac=GATEWAY_UPLINK_MAC, mtu=1500, descriptors=1000).access(mtu=1450)
    made = Gateway(bed, config)
    peer = bed.namespace("peer")
    for interface in ("up0", "ac0"):
        bed.veth(made.namespace, interface, peer, interface, 1500)
    return made


def test_interfaces_are_given_back_as_they_were(gateway):
    run("ip", "-n", gateway.namespace, "link", "set", "ac0", "promisc", "on")
    gateway.start()
    if gateway.config.driver == "net_af_xdp":
        # It cannot change the interface's MAC address, so it must hear what is for its own.
        assert "PROMISC" in flags(gateway, "up0") and " xdp " in flags(gateway, "up0")
    else:
        assert GATEWAY_UPLINK_MAC in flags(gateway, "up0") and "PROMISC" not in flags(gateway, "up0")
    assert gateway.stop() == 0
    assert "PROMISC" not in flags(gateway, "up0") and "prog/xdp" not in flags(gateway, "up0")
    assert "PROMISC" in flags(gateway, "ac0"), "an operator had set it"


def test_a_killed_gateway_can_be_started_again(gateway):
    gateway.start()
    gateway.process.send_signal(signal.SIGKILL)
    gateway.process.wait(10)
    gateway.start()
    assert gateway.stop() == 0


def test_an_interface_that_is_not_there_is_named(gateway):
    run("ip", "-n", gateway.namespace, "link", "del", "ac0")
    gateway.launch()
    assert gateway.process.wait(20) != 0
    assert "there is no interface `ac0`" in gateway.log()


def test_an_interface_that_is_down_is_warned_of(gateway):
    run("ip", "-n", gateway.namespace, "link", "set", "ac0", "down")
    gateway.start()
    assert "ip link set ac0 up" in gateway.log() and "ip link set up0 up" not in gateway.log()
    assert [port["link_up"] for port in gateway.show("ports")] == [True, False]
    run("ip", "-n", gateway.namespace, "link", "set", "ac0", "up")
    wait_until(lambda: all(port["link_up"] for port in gateway.show("ports")), 5, "both links up")


def test_an_mtu_that_would_lose_frames_is_refused(gateway):
    gateway.config.ports[0]["mtu"] = 2000
    gateway.launch()
    assert gateway.process.wait(20) != 0
    most = {"net_af_xdp": 1770, "net_af_packet": 1960}[gateway.config.driver]
    assert f" to {most}\n" in gateway.log() and "`mtu = 2000` is not possible" in gateway.log()


@pytest.mark.parametrize("gateway", ["net_af_xdp"], indirect=True)
def test_a_taken_queue_says_what_to_look_for(gateway, bed):
    gateway.start()
    second = Gateway(bed, Config("10.0.0.9").uplink(device="net_af_xdp0,iface=up0", mtu=1500), gateway.namespace)
    second.config.stats["listen"] = "127.0.0.1:9479"
    second.config.dpdk["file_prefix"] = gateway.config.dpdk["file_prefix"] + "-second"
    second.log_path += ".second"
    second.config_path += ".second"
    second.launch()
    assert second.process.wait(20) != 0
    wait_until(lambda: "no other XDP program" in second.log(), 5, "the remedy")
    assert gateway.process.poll() is None
