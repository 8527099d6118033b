"""The exception path: the gateway's kernel is a host of the fabric, and VXLAN is none of its business."""

import os
import socket
import struct

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

from fabric import KERNEL_INTERFACE, KernelFabric, carrier
from frames import Capture, send
from overlay import GATEWAY_UPLINK_MAC
from pings import pinged
from testbed import in_thread, inside, run, wait_until
from transfer import bulk_transfer, bulk_transfer_between

BGP = 179


@pytest.fixture(scope="module", params=["ipv4", "ipv6", "ipv4-lo", "ipv6-lo", "ipv4-two workers"])
def overlay(request):
    family, _, rest = request.param.partition("-")
    cores = sorted(os.sched_getaffinity(0))[:2]
    if rest == "two workers" and len(cores) < 2:
        pytest.skip("two workers need two cores")
    workers = {"cores": cores, "idle": "adaptive"} if rest == "two workers" else None
    made = KernelFabric(family, on="lo" if rest == "lo" else KERNEL_INTERFACE, workers=workers)
    try:
        made.give_address()
        made.full_mesh()
        made.here, made.there = made.host(0), made.remotes[0].station(made.vni)
        yield made
    finally:
        made.close()


def test_the_interface_is_the_uplinks_twin(overlay):
    text = overlay.interface()
    assert GATEWAY_UPLINK_MAC in text and "mtu 9100" in text and "tun type tap" in text, text
    assert "persist on" in text and "alias vtepd exception path" in text and carrier(overlay), text


def test_ping_passes_both_ways_small_and_jumbo(overlay):
    gateway, remote = overlay.gateway.namespace, overlay.remotes[0]
    answered = overlay.gateway.total("vtepd_events_total", event="echo_answered")
    for size in (0, 56, 1400, 2100, 9000):
        assert pinged(remote.namespace, overlay.underlay.gateway, "-s", str(size), "-M", "do") == 3, size
        assert pinged(gateway, remote.address, "-s", str(size), "-M", "do") == 3, size
    assert overlay.gateway.total("vtepd_events_total", event="echo_answered") == answered
    # In fragments, which the kernels put together.
    assert pinged(remote.namespace, overlay.underlay.gateway, "-s", "20000", "-M", "dont") == 3


def test_arp_and_discovery_resolve_both_ways(overlay):
    gateway, remote = overlay.gateway.namespace, overlay.remotes[0]
    run("ip", "-n", gateway, "neigh", "flush", "dev", KERNEL_INTERFACE)
    run("ip", "-n", remote.namespace, "neigh", "flush", "dev", "eth0")
    assert pinged(remote.namespace, overlay.underlay.gateway) == 3
    assert GATEWAY_UPLINK_MAC in run("ip", "-n", remote.namespace, "neigh", "show", overlay.underlay.gateway)
    assert remote.mac in run("ip", "-n", gateway, "neigh", "show", remote.address)


def test_link_local_addresses_reach_each_other(overlay):
    remote = overlay.remotes[0]
    run("ip", "-n", remote.namespace, "addr", "add", "fe80::2/64", "dev", "eth0", "nodad")
    link_local = "fe80::ff:feaa:1"
    assert link_local in overlay.interface()
    # All nodes of the link, the gateway's kernel among them; then that alone.
    text = run("ip", "netns", "exec", remote.namespace, "ping", "-n", "-c", "3", "-i", "0.2", "ff02::1%eth0",
               check=False)
    assert link_local in text, text
    assert pinged(remote.namespace, f"{link_local}%eth0") == 3
    assert pinged(overlay.gateway.namespace, f"fe80::2%{KERNEL_INTERFACE}") == 3


@pytest.mark.parametrize("port", [BGP, 5001])
@pytest.mark.parametrize("way", ["in", "out"])
def test_tcp_carries_a_transfer_intact(overlay, way, port):
    ends = [(overlay.remotes[0].namespace, overlay.remotes[0].address),
            (overlay.gateway.namespace, overlay.underlay.gateway)]
    (here, _), (there, address) = ends if way == "in" else reversed(ends)
    before = overlay.punted("bgp" if port == BGP else "other")
    sent, received = bulk_transfer_between(here, there, address, 4 << 20, port)
    assert received == sent
    assert overlay.punted("bgp" if port == BGP else "other") > before


def test_udp_and_bfd_are_told_apart(overlay):
    family = socket.AF_INET if overlay.underlay.family == "ipv4" else socket.AF_INET6
    # Enough that what a kernel says of itself meanwhile, a membership report or two, is none of them.
    sent = 20
    for port, name, another in ((3784, "bfd", "other"), (4784, "bfd", "other"), (5000, "other", "bfd")):
        before, before_another = overlay.punted(name), overlay.punted(another)
        with inside(overlay.gateway.namespace), socket.socket(family, socket.SOCK_DGRAM) as receiver:
            receiver.bind((overlay.underlay.gateway, port))
            receiver.settimeout(5)
            with inside(overlay.remotes[0].namespace), socket.socket(family, socket.SOCK_DGRAM) as sender:
                for _ in range(sent):
                    sender.sendto(b"hello", (overlay.underlay.gateway, port))
                    assert receiver.recv(100) == b"hello"
        wait_until(lambda: overlay.punted(name) >= before + sent, 5, f"{sent} packets of class {name}")
        assert overlay.punted(name) < before + 2 * sent, f"some were counted twice as {name}"
        assert overlay.punted(another) < before_another + sent, f"some were counted as {another}"


def vxlan(overlay, destination, inner, mac=GATEWAY_UPLINK_MAC, source=None):
    """A VXLAN packet of the remote VTEP to any address."""
    network = IP if overlay.underlay.family == "ipv4" else IPv6
    return bytes(Ether(src=overlay.remotes[0].mac, dst=mac)
                 / network(src=source or overlay.remotes[0].address, dst=destination)
                 / UDP(sport=50000, dport=4789) / VXLAN(vni=7777, flags="Instance") / inner)


def test_vxlan_does_not_reach_the_kernel(overlay):
    ipv4 = overlay.underlay.family == "ipv4"
    group = "239.1.1.1" if ipv4 else "ff05::1:1"
    group_mac = "01:00:5e:01:01:01" if ipv4 else "33:33:00:01:00:01"
    inner = Ether(src="02:41:00:00:00:01", dst="02:41:00:00:00:02") / IP() / UDP() / b"not for the kernel"
    whole = vxlan(overlay, overlay.underlay.gateway, inner)
    tagged = whole[:12] + struct.pack("!HH", 0x8100, 5) + whole[12:]
    packets = [whole, tagged, vxlan(overlay, overlay.underlay.address(99), inner),
               vxlan(overlay, group, inner, group_mac), whole[:-30]]
    with Capture(overlay.gateway.namespace, KERNEL_INTERFACE) as capture:
        send(overlay.remotes[0].namespace, "eth0", *packets)
        assert pinged(overlay.here.namespace, overlay.there.ipv4) == 3
        assert pinged(overlay.remotes[0].namespace, overlay.underlay.gateway) == 3
        seen = capture.frames()
    assert any(b"\x08\x00" == frame[12:14] or b"\x86\xdd" == frame[12:14] for frame in seen), "the capture saw nothing"
    assert not [frame for frame in seen if b"not for the kernel" in frame or destination_port(frame) == 4789], seen


def destination_port(frame):
    """The port that an untagged UDP packet without options is for."""
    header = {b"\x08\x00": (23, 36), b"\x86\xdd": (20, 56)}.get(frame[12:14])
    if header is None or frame[header[0]] != socket.IPPROTO_UDP:
        return None
    return int.from_bytes(frame[header[1]:header[1] + 2], "big")


def test_vxlan_of_the_kernel_does_not_leave(overlay):
    gateway = overlay.gateway.namespace
    family = socket.AF_INET if overlay.underlay.family == "ipv4" else socket.AF_INET6
    refused = lambda: overlay.gateway.total("vtepd_exception_refused_packets_total", cause="vxlan")
    before = refused()
    remote = overlay.remotes[0]
    assert pinged(gateway, remote.address) == 3
    with Capture(remote.namespace, "eth0") as capture:
        with inside(gateway), socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"a vxlan packet, perhaps", (remote.address, 4789))
            sender.sendto(b"to another port", (remote.address, 4790))
        # A vxlan device of the kernel, beside the gateway.
        run("ip", "-n", gateway, "link", "add", "vx9", "type", "vxlan", "id", "9", "local", overlay.underlay.gateway,
            "remote", remote.address, "dstport", "4789")
        try:
            run("ip", "-n", gateway, "addr", "add", "192.0.2.1/24", "dev", "vx9")
            run("ip", "-n", gateway, "link", "set", "vx9", "up")
            pinged(gateway, "192.0.2.2", count=1)
        finally:
            run("ip", "-n", gateway, "link", "del", "vx9")
        wait_until(lambda: [f for f in capture.frames() if b"to another port" in f], 5, "what is no VXLAN to arrive")
        assert not [frame for frame in capture.frames() if b"a vxlan packet" in frame]
        own = [frame for frame in capture.frames() if frame[6:12] == bytes.fromhex(GATEWAY_UPLINK_MAC.replace(":", ""))]
        assert not [frame for frame in own if struct.pack("!H", 4789) in (frame[36:38], frame[56:58])
                    and b"\x00\x00\x09\x00" in frame[42:70]]
    assert refused() >= before + 2


def test_forwarding_goes_on_beside_it(overlay):
    transfer = in_thread(bulk_transfer_between, overlay.remotes[0].namespace, overlay.gateway.namespace,
                         overlay.underlay.gateway, 4 << 20, BGP)
    for address in (overlay.there.ipv4, overlay.there.ipv6):
        sent, received = bulk_transfer(overlay.here, overlay.there, address, 4 << 20)
        assert received == sent
    sent, received = transfer.join(60)
    assert received == sent


def test_a_reload_keeps_the_path(overlay):
    overlay.gateway.reload()
    before = overlay.gateway.total("vtepd_events_total", event="echo_answered")
    assert pinged(overlay.remotes[0].namespace, overlay.underlay.gateway) == 3
    assert overlay.gateway.total("vtepd_events_total", event="echo_answered") == before
    log = overlay.gateway.reload(overlay.config.text().replace('underlay = "kernel"', 'underlay = "static"'))
    assert "[vtep] underlay" in log and "restart" in log, log
    overlay.gateway.reload()
