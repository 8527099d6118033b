"""A switch behind a gateway's trunk, and the machines on it."""

from overlay import OVERLAY_MTU
from testbed import ROOT, run

SWITCH = "switch"


class Rack:
    """A namespace with a bridge that passes frames with their tags, as they come."""

    def __init__(self, bed, name, mtu=OVERLAY_MTU):
        self.bed = bed
        self.name = name
        self.mtu = mtu
        self.namespace = bed.namespace(name, ipv6=False)
        run("ip", "-n", self.namespace, "link", "add", SWITCH, "mtu", str(mtu), "type", "bridge", "mcast_snooping", "0")
        run("ip", "-n", self.namespace, "link", "set", SWITCH, "up")

    def plug(self, gateway, interface="ac0"):
        """The kernel's end of the access port's TAP comes to the switch; after each start of the gateway, for that end
        goes with it."""
        gateway.move(interface, self.namespace, "02:00:00:cc:ff:00", self.mtu, name="trunk")
        run("ip", "-n", self.namespace, "link", "set", "trunk", "master", SWITCH)

    def attach(self, number, namespace, device, vlan, mac=None):
        """Gives a machine the other end of a new port, as a member of the VLAN; returns the name of its interface that
        has the VLAN's frames."""
        port = f"h{number}-{device}"
        self.bed.veth(self.namespace, port, namespace, device, self.mtu)
        if mac:
            run("ip", "-n", namespace, "link", "set", device, "address", mac)
        run("ip", "-n", self.namespace, "link", "set", port, "master", SWITCH)
        return run(f"{ROOT}/dpdk-config/vlan-interface", namespace, device, str(vlan)).strip()
