"""Which frame belongs to which bridge: ranges, many access ports, untagged frames, unknown VNIs and VLANs."""

import contextlib

import pytest

from frames import BROADCAST, Capture, marked_frame, send, vlan_of
from overlay import Overlay, vxlan_packet
from testbed import settle, wait_until

MANY = range(100, 164)
SETTLE_SECONDS = 0.4


@pytest.fixture(scope="module")
def overlay():
    """trunk0: 64 VLANs as 64 bridges; trunk1: VLAN 100 again, but of another bridge; trunk2: untagged."""

    def configure(overlay):
        remote = overlay.remote_addresses
        overlay.config.bridge("100-163", "100-163", ["trunk0"], remote)
        overlay.config.bridge(0xABCDEF, 100, ["trunk1"], remote)
        overlay.config.bridge(300, None, ["trunk2"], remote)

    made = Overlay(access_ports=3, remotes=1, configure=configure)
    try:
        made.full_mesh([*MANY, 0xABCDEF, 300])
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def everywhere(overlay):
    """Captures on all access ports and on all devices of the remote VTEP."""
    with contextlib.ExitStack() as stack:
        hosts = [stack.enter_context(Capture(namespace, device))
                 for namespace, device in zip(overlay.host_namespaces, overlay.access)]
        yield hosts, stack.enter_context(Capture(overlay.remotes[0].namespace))


def arrivals(hosts, remote, marker):
    """Where the marked frame was seen: (port number, VLAN) and names of vxlan devices."""
    found = [(number, vlan_of(seen.frame)) for number, host in enumerate(hosts) for seen in host.with_marker(marker)]
    return sorted(found, key=str), [seen.device for seen in remote.with_marker(marker) if seen.device.startswith("vx")]


def test_64_bridges_carry_their_vlan_and_no_other_from_access_to_tunnel(overlay):
    with everywhere(overlay) as (hosts, remote):
        markers = {}
        for vlan in MANY:
            frame, markers[vlan] = marked_frame("02:21:00:00:00:01", BROADCAST, vlan)
            send(overlay.host_namespaces[0], "ac0", frame)
        settle(SETTLE_SECONDS)
        for vlan, marker in markers.items():
            assert arrivals(hosts, remote, marker) == ([], [f"vx{vlan}"])


def test_64_bridges_carry_their_vlan_and_no_other_from_tunnel_to_access(overlay):
    with everywhere(overlay) as (hosts, remote):
        markers = {}
        for vni in MANY:
            frame, markers[vni] = marked_frame("02:22:00:00:00:01", BROADCAST)
            send(overlay.remotes[0].namespace, f"vx{vni}", frame)
        settle(SETTLE_SECONDS)
        for vni, marker in markers.items():
            assert arrivals(hosts, remote, marker) == ([(0, vni)], [])


@pytest.mark.parametrize("port,vlan,vni", [(0, 100, 100), (1, 100, 0xABCDEF), (2, None, 300)])
def test_one_vlan_number_on_two_ports_and_untagged_frames_are_three_bridges(overlay, port, vlan, vni):
    with everywhere(overlay) as (hosts, remote):
        up, up_marker = marked_frame("02:23:00:00:00:01", BROADCAST, vlan)
        down, down_marker = marked_frame("02:23:00:00:00:02", BROADCAST)
        send(overlay.host_namespaces[port], overlay.access[port], up)
        send(overlay.remotes[0].namespace, f"vx{vni}", down)
        settle(SETTLE_SECONDS)
        assert arrivals(hosts, remote, up_marker) == ([], [f"vx{vni}"])
        assert arrivals(hosts, remote, down_marker) == ([(port, vlan)], [])


def test_kernel_stacks_talk_over_the_untagged_port_and_a_24_bit_vni(overlay):
    untagged = overlay.host(2, vni=300, vlan=None)
    tagged = overlay.host(1, vni=0xABCDEF, vlan=100)
    remote = overlay.remotes[0]
    assert untagged.ping(remote.station(300).ipv4) == 3
    assert tagged.ping(remote.station(0xABCDEF).ipv6) == 3


@pytest.mark.parametrize("port,vlan", [(0, 99), (0, 164), (1, 101), (0, None)])
def test_frames_of_no_bridge_are_dropped_and_counted(overlay, port, vlan):
    before = overlay.gateway.dropped("unknown_vlan")
    frame, marker = marked_frame("02:24:00:00:00:01", BROADCAST, vlan)
    with everywhere(overlay) as (hosts, remote):
        send(overlay.host_namespaces[port], overlay.access[port], frame)
        counted(overlay, "unknown_vlan", before)
        assert arrivals(hosts, remote, marker) == ([], [])


@pytest.mark.parametrize("reason,vni,source", [("unknown_vni", 999, "10.0.0.2"), ("unknown_remote", 100, "10.0.0.77")])
def test_v8_strangers_on_the_uplink_are_dropped_and_counted(overlay, reason, vni, source):
    before = overlay.gateway.dropped(reason)
    inner, marker = marked_frame("02:25:00:00:00:01", BROADCAST)
    with everywhere(overlay) as (hosts, remote):
        send(overlay.remotes[0].namespace, "eth0", vxlan_packet(overlay, vni, inner, source))
        counted(overlay, reason, before)
        assert arrivals(hosts, remote, marker) == ([], [])


def counted(overlay, reason, before):
    """Waits until one more packet was dropped for the reason, and no second one."""
    wait_until(lambda: overlay.gateway.dropped(reason) > before, 5, f"a drop counted as {reason}")
    assert overlay.gateway.dropped(reason) == before + 1
