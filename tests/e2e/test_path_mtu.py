"""A router with a narrow link on the way to one remote VTEP (M2): its word counts for that one alone (RFC 1191, 8201).

    h0 --- ac0 [gateway] up0 --- fabric ---+--- r2  kernel VTEP
                                           +--- router ===(narrow)=== r3  kernel VTEP, in another subnet
"""

import pytest
from scapy.layers.inet import ICMP, TCP
from scapy.layers.l2 import Ether

from frames import Capture, without_tag
from overlay import Overlay
from testbed import run, wait_until
from transfer import bulk_transfer

NARROW = {"ipv4": 1400, "ipv6": 1420}
OVERHEAD = {"ipv4": 50, "ipv6": 70}
ROUTER_MAC = "02:00:00:bb:00:63"


class Routed(Overlay):
    """An overlay whose second remote VTEP is behind a router, over a link of a lower MTU than all others."""

    def __init__(self, family):
        def configure(overlay):
            overlay.config.neighbours[1]["address"] = self.far_address()
            overlay.config.neighbours[1]["mac"] = ROUTER_MAC
            overlay.remote_addresses[1] = self.far_address()
            overlay.config.bridge(overlay.vni, overlay.vlan, ["trunk0"], overlay.remote_addresses)

        super().__init__(family, access_ports=1, remotes=2, configure=configure)
        try:
            self._put_router()
        except BaseException:
            self.close()
            raise

    def far_address(self):
        """The VTEP address of the remote behind the router."""
        return "10.9.0.3" if self.underlay.family == "ipv4" else "fd09::3"

    def _put_router(self):
        """Takes the second remote from the fabric and puts a router there."""
        far, family = self.remotes[1], self.underlay.family
        length = self.underlay.length
        near, hop = self.underlay.address(99), ("10.9.0.1" if family == "ipv4" else "fd09::1")
        options = () if family == "ipv4" else ("nodad",)
        self.router = self.bed.namespace("router")
        run("ip", "-n", self.fabric, "link", "del", "to-r3")
        self.bed.veth(self.fabric, "to-router", self.router, "near", self.medium.underlay_mtu)
        self.bed.veth(self.router, "far", far.namespace, "eth0", self.medium.underlay_mtu)
        run("ip", "-n", self.fabric, "link", "set", "to-router", "master", "fabric")
        run("ip", "-n", self.router, "link", "set", "near", "address", ROUTER_MAC)
        for namespace, device, address in ((self.router, "near", near), (self.router, "far", hop),
                                           (far.namespace, "eth0", self.far_address())):
            run("ip", "-n", namespace, "addr", "add", f"{address}/{length}", "dev", device, *options)
        if family == "ipv6":
            # What is forwarded is asked for from a link-local address.
            for device in ("near", "far"):
                run("ip", "-n", self.router, "addr", "add", "fe80::63/64", "dev", device, "nodad")
        self.narrow(NARROW[family])
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            run("ip", "netns", "exec", self.router, "sysctl", "-qw", f"{key}=1")
        run("ip", "-n", far.namespace, "route", "add", "default", "via", hop)
        far.address = self.far_address()

    def narrow(self, mtu):
        """Gives the link behind the router an MTU, at both ends."""
        run("ip", "-n", self.router, "link", "set", "far", "mtu", str(mtu))
        run("ip", "-n", self.remotes[1].namespace, "link", "set", "eth0", "mtu", str(mtu))

    def vtep(self, number):
        """What `vtepctl show vteps` says of a remote."""
        items = self.gateway.show("vteps")["remotes"]["items"]
        return next(item for item in items if item["address"] == self.remotes[number].address)


@pytest.fixture(params=["ipv4", "ipv6"])
def overlay(request):
    made = Routed(request.param)
    try:
        made.full_mesh()
        yield made
    finally:
        made.close()


def test_m2_a_routers_word_counts_for_its_remote_vtep_alone_and_the_senders_are_told(overlay):
    gateway, family = overlay.gateway, overlay.underlay.family
    h0, near, far = overlay.host(0), *(remote.station(overlay.vni) for remote in overlay.remotes)
    assert h0.ping(near.ipv4) == h0.ping(far.ipv4) == 3
    assert overlay.vtep(1)["mtu"] == 9000 + 100 and overlay.vtep(1)["path_mtu_seconds"] is None
    usable = NARROW[family] - OVERHEAD[family]
    # The first is lost at the router, which says so; from then on the sender is told by the gateway, and fits.
    wait_until(lambda: h0.ping(far.ipv4, "-s", str(usable - 28), count=1) == 1, 5, "what fits to pass")
    h0.ping(far.ipv4, "-M", "do", "-s", "5000", count=1)
    wait_until(lambda: overlay.vtep(1)["mtu"] == NARROW[family], 5, "the path's MTU to be learned")
    assert 0 < overlay.vtep(1)["path_mtu_seconds"] <= 600
    assert overlay.vtep(0)["mtu"] == 9100 and overlay.vtep(0)["path_mtu_seconds"] is None
    assert f"{NARROW[family]} learned" in gateway.vtepctl("show", "vteps").stdout
    assert gateway.total("vtepd_remote_path_mtu_bytes", remote=overlay.remotes[1].address) == NARROW[family]
    assert gateway.total("vtepd_remote_mtu_bytes", remote=overlay.remotes[0].address) == 9100
    refused = run("ip", "netns", "exec", h0.namespace, "ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-M", "do", "-s",
                  "5000", far.ipv4, check=False)
    assert f"mtu = {usable}" in refused.lower() or f"mtu={usable}" in refused.lower(), refused
    assert gateway.total("vtepd_remote_too_big_packets_total", remote=overlay.remotes[1].address) >= 1
    # What fits passes, and the other remote VTEP takes what it took.
    assert h0.ping(far.ipv4, "-M", "do", "-s", str(usable - 28)) == 3
    assert h0.ping(near.ipv4, "-M", "do", "-s", str(9000 - 28)) == 3


def test_m2_a_transfer_goes_on_across_a_link_that_becomes_narrow(overlay):
    h0, far = overlay.host(0), overlay.remotes[1].station(overlay.vni)
    overlay.narrow(overlay.medium.underlay_mtu)
    sent, received = bulk_transfer(h0, far, far.ipv4, 1 << 20)
    assert received == sent
    overlay.narrow(NARROW[overlay.underlay.family])
    sent, received = bulk_transfer(h0, far, far.ipv4, 1 << 20)
    assert received == sent
    assert overlay.vtep(1)["mtu"] == NARROW[overlay.underlay.family]


def test_clamp_mss_opens_connections_that_fit_where_the_router_is_silent(overlay):
    family = overlay.underlay.family
    h0, far = overlay.host(0), overlay.remotes[1].station(overlay.vni)
    overlay.config.bridges[0]["clamp_mss"] = True
    overlay.gateway.reload()
    learn(overlay, h0, far)
    with Capture(overlay.host_namespaces[0], overlay.access[0]) as capture:
        sent, received = bulk_transfer(h0, far, far.ipv4, 1 << 20)
    assert received == sent
    answers = [Ether(without_tag(frame)) for frame in capture.frames()]
    announced = [dict(answer[TCP].options)["MSS"] for answer in answers if TCP in answer and answer[TCP].flags == "SA"]
    # One that is late is sent again.
    assert set(announced) == {NARROW[family] - OVERHEAD[family] - 40}
    assert not [answer for answer in answers if ICMP in answer], "something did not fit all the same"
    assert overlay.gateway.total("vtepd_events_total", event="segment_size_clamped") >= 2


def learn(overlay, here, there):
    """Has the gateway learn the MTU of the path to the second remote VTEP."""
    def learned():
        here.ping(there.ipv4, "-M", "do", "-s", "5000", count=1)
        return overlay.vtep(1)["mtu"] == NARROW[overlay.underlay.family]

    wait_until(learned, 10, "the path's MTU to be learned")
    run("ip", "-n", here.namespace, "route", "flush", "cache")
