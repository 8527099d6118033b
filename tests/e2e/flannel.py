"""A flannel network: two nodes with pods, whose VTEP is the kernel's, and a node that is the gateway, with machines.

        pod1 --- node1 (10.0.0.1) ---+         fabric (a bridge)
                                     o--- uplink0 [gateway, node9] trunk0 --- rack --- machine 9
        pod2 --- node2 (10.0.0.2) ---+              10.0.0.9          VLAN 10     \\--- machine 10

flanneld is played by the kernel commands that it gives for a lease (`Flanneld`); the gateway's node runs the files of
`examples/flannel-node`.
"""

import dataclasses

from examples import Example, ExampleConfig
from gateway import Gateway
from pings import pinged
from rack import Rack
from testbed import Testbed, run, wait_until

EXAMPLE = Example("flannel-node")
UNDERLAY_MTU = 1500
OVERLAY_MTU = 1450
VNI = 1
VLAN = 10
GATEWAY_NODE = 9
UPLINK_MAC = "02:00:00:aa:00:09"


@dataclasses.dataclass(frozen=True)
class Lease:
    """What flannel's store has of a node: the others do all they do by that."""

    number: int
    public_ip: str
    vtep_mac: str

    @property
    def subnet(self):
        """The pods' subnet."""
        return f"10.244.{self.number}.0/24"

    @property
    def router(self):
        """Its first address: the next hop of all others."""
        return f"10.244.{self.number}.0"

    def address(self, host):
        """An address of the subnet."""
        return f"10.244.{self.number}.{host}"


class Flanneld:
    """What flanneld does on one node, in its order: for each lease of others a permanent neighbour, a permanent FDB
    entry, and an on-link route last, for the kernel would ask for the neighbour."""

    def __init__(self, namespace, lease):
        self.namespace = namespace
        self.lease = lease

    def start(self, uplink):
        """Makes flannel.1, or takes the one that is there; gives it the subnet's first address."""
        if not run("ip", "-n", self.namespace, "link", "show", "flannel.1", check=False):
            self._ip(f"link add flannel.1 address {self.lease.vtep_mac} mtu {OVERLAY_MTU} type vxlan id {VNI} "
                     f"local {self.lease.public_ip} dev {uplink} dstport 8472 nolearning")
        self._ip(f"addr replace {self.lease.router}/32 dev flannel.1")
        self._ip("link set flannel.1 up")

    def added(self, lease):
        """A node has joined, or its lease has changed."""
        self._ip(f"neigh replace {lease.router} lladdr {lease.vtep_mac} dev flannel.1 nud permanent")
        self._fdb(f"replace {lease.vtep_mac} dev flannel.1 dst {lease.public_ip} self permanent")
        self._ip(f"route replace {lease.subnet} via {lease.router} dev flannel.1 onlink")

    def removed(self, lease):
        """A node has left."""
        self._ip(f"neigh del {lease.router} lladdr {lease.vtep_mac} dev flannel.1")
        self._fdb(f"del {lease.vtep_mac} dev flannel.1 dst {lease.public_ip} self")
        self._ip(f"route del {lease.subnet} via {lease.router} dev flannel.1 onlink")

    def _ip(self, command):
        return run("ip", "-n", self.namespace, *command.split())

    def _fdb(self, command):
        return run("bridge", "-n", self.namespace, "fdb", *command.split())


class Place:
    """An address in the pods' network: a pod, or a machine behind the gateway."""

    def __init__(self, namespace, address):
        self.namespace = namespace
        self.address = address

    def ping(self, other, *options, count=3):
        """Pings another place from its own address: the number of answers."""
        return pinged(self.namespace, other.address, "-I", self.address, *options, count=count)


class KernelNode:
    """A node with a pod, whose VTEP is the kernel's own flannel.1."""

    def __init__(self, network, number):
        bed = network.bed
        self.lease = Lease(number, f"10.0.0.{number}", f"02:00:00:dd:00:{number:02x}")
        self.namespace = bed.namespace(f"node{number}", ipv6=False)
        bed.veth(network.fabric, f"node{number}", self.namespace, "eth0", UNDERLAY_MTU)
        run("ip", "-n", network.fabric, "link", "set", f"node{number}", "master", "fabric")
        run("ip", "-n", self.namespace, "addr", "add", f"{self.lease.public_ip}/24", "dev", "eth0")
        run("ip", "netns", "exec", self.namespace, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.flanneld = Flanneld(self.namespace, self.lease)
        self.flanneld.start("eth0")
        self.pod = self._pod(bed)

    def _pod(self, bed):
        namespace = bed.namespace(f"pod{self.lease.number}", ipv6=False)
        bed.veth(self.namespace, "cni0", namespace, "eth0", OVERLAY_MTU)
        run("ip", "-n", self.namespace, "addr", "add", f"{self.lease.address(1)}/24", "dev", "cni0")
        run("ip", "-n", namespace, "addr", "add", f"{self.lease.address(2)}/24", "dev", "eth0")
        run("ip", "-n", namespace, "route", "add", "default", "via", self.lease.address(1))
        return Place(namespace, self.lease.address(2))


class GatewayNode:
    """The node that is the gateway."""

    def __init__(self, network):
        bed = network.bed
        self.bed = bed
        self.machines = []
        self.lease = Lease(GATEWAY_NODE, f"10.0.0.{GATEWAY_NODE}", "02:00:00:cc:00:01")
        self.namespace = bed.namespace(f"node{GATEWAY_NODE}", ipv6=False)
        devices = {"0000:01:10.0": f"net_tap0,iface=up0,mac={UPLINK_MAC}", "0000:03:00.0": "net_tap1,iface=ac0"}
        config = ExampleConfig(EXAMPLE, self.lease.public_ip, devices)
        self.fabric = network.fabric
        self.rack = Rack(bed, "rack", UNDERLAY_MTU)
        self.gateway = Gateway(bed, config, self.namespace)
        self.start()
        EXAMPLE.run(bed, self.namespace, "interfaces")
        self.flanneld = Flanneld(self.namespace, self.lease)
        self.flanneld.start("uplink0")

    def start(self):
        """Starts the gateway and cables it."""
        self.gateway.start()
        self.gateway.move("up0", self.fabric, "02:00:00:fa:00:09", UNDERLAY_MTU)
        run("ip", "-n", self.fabric, "link", "set", "up0", "master", "fabric")
        self.rack.plug(self.gateway)

    def machine(self, lease):
        """A machine on the VLAN that has a lease's subnet."""
        namespace = self.bed.namespace(f"m{lease.number}", ipv6=False)
        device = self.rack.attach(lease.number, namespace, "eth0", VLAN, lease.vtep_mac)
        run("ip", "-n", namespace, "address", "add", f"{lease.router}/32", "dev", device)
        run("ip", "-n", namespace, "address", "add", f"{lease.address(1)}/32", "dev", "lo")
        self.machines.append((namespace, device, lease.subnet))
        self.tell()
        return Place(namespace, lease.address(1))

    def tell(self):
        """Tells the machines what flannel has told this node, by the example's script."""
        for namespace, device, subnet in self.machines:
            commands = EXAMPLE.run(self.bed, self.namespace, "machine", device, subnet)
            run("ip", "-n", namespace, "-batch", "-", input=commands)

    def stations(self):
        """Behind which public IP the gateway finds which MAC, of what the kernel says."""
        items = self.gateway.show("fdb")["items"]
        return {item["mac"]: item["remote"] for item in items if item["kind"] == "kernel"}


class FlannelNetwork:
    """The picture above, with the first machine; its two kernel nodes have joined."""

    def __init__(self):
        self.bed = Testbed()
        try:
            self.fabric = self.bed.namespace("fabric", ipv6=False)
            run("ip", "-n", self.fabric, "link", "add", "fabric", "mtu", str(UNDERLAY_MTU), "type", "bridge",
                "mcast_snooping", "0")
            run("ip", "-n", self.fabric, "link", "set", "fabric", "up")
            self.node9 = GatewayNode(self)
            self.gateway = self.node9.gateway
            self.nodes = []
            for number in (1, 2):
                self.join(number)
            self.machine = self.node9.machine(self.node9.lease)
        except BaseException:
            self.bed.close()
            raise

    def join(self, number):
        """A node joins: flanneld on each node hears of all others."""
        node = KernelNode(self, number)
        for other in (*self.nodes, self.node9):
            other.flanneld.added(node.lease)
            node.flanneld.added(other.lease)
        self.nodes.append(node)
        return node

    def known(self, seconds=3):
        """Waits until the gateway has the nodes where they are, and their next hops."""
        wanted = {node.lease.vtep_mac: node.lease.public_ip for node in self.nodes}

        def there():
            remotes = self.gateway.show("vteps")["remotes"]["items"]
            return self.node9.stations() == wanted and all(remote["next_hops"] for remote in remotes)

        wait_until(there, seconds, "the gateway to know the nodes")

    def close(self):
        """Removes all of it."""
        self.bed.close()
