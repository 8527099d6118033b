"""The protocols of a link, LLDP and its like (B5): dropped, tunnelled, or the kernel's."""

import pytest

from fabric import KERNEL_INTERFACE, KernelFabric
from frames import Capture, marked_frame, send
from lldp import Lldpd
from overlay import Overlay
from testbed import run, settle, wait_until

LLDP_GROUP = "01:80:c2:00:00:0e"
PORT_INTERFACE = "link0"


class PuntingFabric(KernelFabric):
    """A gateway whose access port gives the kernel the frames of its link."""

    def _start_gateway(self):
        self.config.ports[1] |= {"link_local": "punt", "kernel_interface": PORT_INTERFACE}
        super()._start_gateway()


@pytest.fixture(scope="module")
def overlay():
    made = PuntingFabric()
    try:
        made.give_address()
        made.full_mesh()
        yield made
    finally:
        made.close()


def test_lldpd_sees_the_neighbours_of_uplink_and_access_port_and_they_see_it(overlay):
    gateway = Lldpd(overlay.bed, overlay.gateway.namespace, "gateway", KERNEL_INTERFACE, PORT_INTERFACE)
    switch = Lldpd(overlay.bed, overlay.fabric, "fabric", "up0")
    host = Lldpd(overlay.bed, overlay.host_namespaces[0], "host", "ac0")
    wait_until(lambda: gateway.neighbours() == {KERNEL_INTERFACE: "fabric", PORT_INTERFACE: "host"}, 30,
               "the gateway's lldpd to hear both", every=0.5)
    wait_until(lambda: (switch.neighbours(), host.neighbours()) == ({"up0": "gateway"}, {"ac0": "gateway"}), 30,
               "both to hear the gateway's lldpd", every=0.5)
    assert overlay.punted("link_local") >= 2


def test_only_the_frames_of_the_link_cross_between_an_access_port_and_the_kernel(overlay):
    gateway, host = overlay.gateway, overlay.host_namespaces[0]
    refused = lambda: gateway.total("vtepd_exception_refused_packets_total", port="trunk0", cause="not_link_local")
    before = refused()
    to_group, group_mark = marked_frame("02:42:00:00:00:01", LLDP_GROUP)
    to_station, station_mark = marked_frame("02:42:00:00:00:01", "02:42:00:00:00:02")
    with Capture(host, "ac0") as at_host, Capture(gateway.namespace, PORT_INTERFACE) as at_kernel:
        send(gateway.namespace, PORT_INTERFACE, to_station, to_group)
        wait_until(lambda: at_host.with_marker(group_mark), 3, "the kernel's frame to the group")
        assert not at_host.with_marker(station_mark)
        # And the other way: what is not for a group of the link is none of the kernel's.
        to_group, group_mark = marked_frame("02:42:00:00:00:03", LLDP_GROUP)
        to_station, station_mark = marked_frame("02:42:00:00:00:03", "ff:ff:ff:ff:ff:ff")
        send(host, "ac0", to_station, to_group)
        wait_until(lambda: at_kernel.with_marker(group_mark), 3, "the host's frame to the group")
        assert not at_kernel.with_marker(station_mark)
    assert refused() >= before + 1


def test_a_restarted_gateway_takes_the_interface_over(overlay):
    gateway, host = overlay.gateway, overlay.host_namespaces[0]
    carrier = lambda: "NO-CARRIER" not in run("ip", "-n", gateway.namespace, "link", "show", PORT_INTERFACE)
    assert carrier()
    assert gateway.stop() == 0
    assert not carrier()
    gateway.start()
    for number, (interface, namespace) in enumerate((("up0", overlay.fabric), ("ac0", host))):
        gateway.move(interface, namespace, f"02:00:00:fb:00:0{number}", 9000)
    wait_until(carrier, 5, "the interface to have carrier again")
    frame, mark = marked_frame("02:42:00:00:00:04", LLDP_GROUP)
    with Capture(gateway.namespace, PORT_INTERFACE) as capture:
        send(host, "ac0", frame)
        wait_until(lambda: capture.with_marker(mark), 3, "the host's frame to the group")


def test_without_a_word_of_the_port_its_frames_are_dropped_and_counted_and_tunnelled_where_the_bridge_says():
    made = Overlay(access_ports=2, remotes=1, vlan=None)
    try:
        made.full_mesh()
        frame, mark = marked_frame("02:43:00:00:00:01", LLDP_GROUP)
        remote = made.remotes[0]
        with Capture(made.host_namespaces[1], "ac1") as near, Capture(remote.namespace, f"vx{made.vni}") as far:
            send(made.host_namespaces[0], "ac0", frame)
            wait_until(lambda: made.gateway.dropped("link_local") == 1, 3, "the drop to be counted")
            made.config.bridges[0]["link_local"] = True
            made.gateway.reload()
            send(made.host_namespaces[0], "ac0", frame)
            wait_until(lambda: near.with_marker(mark) and far.with_marker(mark), 3, "the frame at both places")
            settle(0.1)
            assert (len(near.with_marker(mark)), len(far.with_marker(mark))) == (1, 1)
    finally:
        made.close()
