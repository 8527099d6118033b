"""FRR is the control plane: what its EVPN learns from a leaf of the kernel's is in the gateway's FDB, and frames pass."""

import pytest

from frr import Frr
from overlay import OVERLAY_MTU, Overlay, Station
from testbed import run, wait_until

BGP = """hostname {name}
no zebra nexthop kernel enable
router bgp {autonomous_system}
 bgp router-id {router_id}
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 neighbor {peer} remote-as external
 neighbor {peer} timers 1 3
 neighbor {peer} timers connect 1
 address-family l2vpn evpn
  neighbor {peer} activate
  advertise-all-vni
 exit-address-family
"""


def controlled(overlay):
    """The kernel says everything about the remote side."""
    overlay.config.vtep["underlay"] = "kernel"
    overlay.config.neighbours.clear()
    overlay.config.bridge(overlay.vni, overlay.vlan, ["trunk0"], control="kernel", kernel_device="vx{vni}")


class Leaf(Overlay):
    """A gateway with FRR beside it, and a leaf of the kernel's with FRR and a host."""

    def __init__(self):
        super().__init__("ipv4", access_ports=1, remotes=1, configure=controlled)
        try:
            self._join()
        except BaseException:
            self.close()
            raise

    def _join(self):
        gateway, remote = self.gateway.namespace, self.remotes[0]
        run("ip", "-n", gateway, "addr", "add", f"{self.underlay.gateway}/24", "dev", "uplink0")
        for namespace, own in ((gateway, self.underlay.gateway), (remote.namespace, remote.address)):
            for command in (f"link add name br{self.vni} mtu {OVERLAY_MTU} type bridge mcast_snooping 0",
                            f"link add vx{self.vni} mtu {OVERLAY_MTU} type vxlan id {self.vni} local {own} dstport 4789 "
                            "nolearning",
                            f"link set vx{self.vni} master br{self.vni}",
                            f"link set vx{self.vni} up"):
                run("ip", "-n", namespace, *command.split())
        run("ip", "-n", remote.namespace, "link", "set", f"br{self.vni}", "up")
        self.far_namespace = self.bed.namespace("far")
        self.bed.veth(remote.namespace, "far0", self.far_namespace, "eth0", OVERLAY_MTU)
        run("ip", "-n", remote.namespace, "link", "set", "far0", "master", f"br{self.vni}")
        self.here = self.host(0)
        self.far = Station(self.far_namespace, "eth0", 102, self.vni)
        self.far.take_addresses(OVERLAY_MTU)
        self.frr = [self._routing(gateway, 1, remote.address),
                    self._routing(remote.namespace, 2, self.underlay.gateway)]

    def _routing(self, namespace, number, peer):
        config = BGP.format(name=f"frr{number}", autonomous_system=65000 + number, router_id=f"10.255.0.{number}",
                            peer=peer)
        frr = Frr(self.bed, namespace, config, 'bgpd=yes\nzebra_options="-s 90000000"')
        frr.launch()
        frr.configure()
        return frr

    def from_kernel(self):
        """The stations that the gateway has from the kernel."""
        items = self.gateway.show("fdb")["items"]
        return {item["mac"]: item.get("remote") for item in items if item["kind"] == "kernel"}


@pytest.fixture(name="leaf")
def make_leaf():
    """A leaf, gone after the test."""
    made = Leaf()
    yield made
    made.close()


def test_a_gateway_beside_frr_is_a_leaf_of_the_fabric(leaf):
    far = leaf.far.mac()
    wait_until(lambda: leaf.gateway.show("vteps")["remotes"]["items"], 20, "FRR to bring the other leaf's type-3 route")
    # The host is heard by its leaf's bridge, zebra there advertises it, and zebra here writes it into the kernel's FDB.
    wait_until(lambda: leaf.here.ping(leaf.far.ipv4, count=1) == 1, 20, "the hosts to reach each other")
    wait_until(lambda: leaf.from_kernel() == {far: leaf.remotes[0].address}, 10, "the type-2 route")
    assert (leaf.here.ping(leaf.far.ipv4), leaf.far.ping(leaf.here.ipv6)) == (3, 3)
    # It is withdrawn with its bridge port, and back with it.
    run("ip", "-n", leaf.remotes[0].namespace, "link", "set", "far0", "down")
    wait_until(lambda: leaf.from_kernel() == {}, 10, "the withdrawal")
    run("ip", "-n", leaf.remotes[0].namespace, "link", "set", "far0", "up")
    wait_until(lambda: leaf.here.ping(leaf.far.ipv4, count=1) == 1, 20, "the hosts to reach each other again")
    wait_until(lambda: leaf.from_kernel() == {far: leaf.remotes[0].address}, 10, "the type-2 route again")
    # The other leaf's bgpd is killed: what it said is gone within its hold time.
    leaf.frr[1].kill("bgpd")
    wait_until(lambda: leaf.from_kernel() == {} and leaf.gateway.total("vtepd_kernel_stations") == 0, 20,
               "all that it said to be gone")
