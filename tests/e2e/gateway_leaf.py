"""A leaf of the fabric whose VTEP is the gateway, with the files of `examples/leaf-frr`."""

import json

from clos import EXAMPLE, VNI, Leaf
from examples import ExampleConfig
from gateway import Gateway
from overlay import UNDERLAY_MTU
from rack import Rack
from testbed import run

VLAN = 100


class GatewayLeaf(Leaf):
    """A leaf with FRR and the gateway. Its spines and its rack have the kernel's ends of the gateway's TAPs."""

    config_type = ExampleConfig

    def __init__(self, bed, number, family, peers):
        super().__init__(bed, number, family)
        self.peers = peers
        self.make_interfaces()
        # A NIC has the same MAC after a restart. FRR's neighbours take it from the link-local address for good.
        mac = f"mac=02:00:00:aa:{number:02x}"
        changes = {"10.0.0.11": self.address, "0000:01:10.0": f"net_tap0,iface=up0,{mac}:00",
                   "0000:02:10.0": f"net_tap1,iface=up1,{mac}:01", "0000:03:00.0": f"net_tap2,iface=ac0,{mac}:02"}
        self.gateway = Gateway(bed, self.config_type(EXAMPLE, self.address, changes), self.namespace, number)
        self.rack = Rack(bed, f"rack{number}")
        self.spines = {}
        self.start()
        # A leaf does not forward for its kernel's neighbours.
        self.sysctl({"net.ipv4.ip_forward": 0, "net.ipv6.conf.all.forwarding": 0})

    def start(self):
        """Starts the gateway and cables it, as after each of its ends: the kernel's ends of TAPs go with it."""
        self.gateway.start()
        self.rack.plug(self.gateway)
        for port, spine in self.spines.items():
            self.plug(spine, port)

    def make_interfaces(self):
        """Runs the example's script, as often as wanted."""
        EXAMPLE.run(self.bed, self.namespace, "interfaces", changes={"10.0.0.11": self.address})
        if self.family == "ipv6":
            for address in self.peers:
                self.append("00:00:00:00:00:00", address)

    def append(self, mac, address):
        """`bridge fdb append` on vx100."""
        run("bridge", "-n", self.namespace, "fdb", "append", mac, "dev", f"vx{VNI}", "dst", address)

    def join(self, spine):
        """A link to a spine."""
        port = f"uplink{len(self.ports)}"
        self.joined(spine, port)
        self.spines[port] = spine
        self.plug(spine, port)

    def plug(self, spine, port):
        """The kernel's end of the uplink's TAP goes to the spine."""
        number = self.ports.index(port)
        mac = f"02:00:00:fa:{self.number:02x}:{number:02x}"
        self.gateway.move(f"up{number}", spine.namespace, mac, UNDERLAY_MTU, name=self.name)

    def attach(self, number, namespace, device="eth0"):
        """Joins a host's interface to the rack, as a member of the VLAN; returns the name of the interface with the
        VLAN's frames."""
        return self.rack.attach(number, namespace, device, VLAN)

    def flood_list(self):
        """Where the gateway floods to, of what it reaches over both spines."""
        return {remote["address"] for remote in self.remotes() if remote["bridges"] and len(remote["next_hops"]) == 2}

    def remotes(self):
        """What the gateway says of each remote VTEP."""
        return self.gateway.show("vteps")["remotes"]["items"]

    def stations(self):
        """Of each MAC, the remote VTEPs that the gateway finds it behind."""
        items = self.gateway.show("fdb")["items"]
        return {item["mac"]: [item["remote"]] for item in items if item.get("remote")}

    def findings(self):
        """What `vtepctl check` finds, by name."""
        result = self.gateway.vtepctl("check", "--json", check=False)
        found = [finding["name"] for finding in json.loads(result.stdout)["findings"]]
        assert result.returncode == bool(found), result
        return found
