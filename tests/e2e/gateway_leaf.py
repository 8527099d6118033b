"""A leaf of the fabric whose VTEP is the gateway, with the files of `examples/leaf-frr`."""

import os

from clos import EXAMPLE, VNI, Leaf, example, replaced
from gateway import Config, Gateway
from overlay import OVERLAY_MTU, UNDERLAY_MTU
from testbed import ROOT, run

VLAN = 100


class ExampleConfig(Config):
    """The example's vtepd.toml, with devices, memory and cores that a test has."""

    def __init__(self, address, number):
        super().__init__(address)
        self.example_address = address
        self.number = number

    def text(self):
        """The TOML text."""
        dpdk = f'hugepages = false\nmemory_mib = 256\nfile_prefix = "{self.dpdk["file_prefix"]}"'
        # A NIC has the same MAC after a restart. FRR's neighbours take it from the link-local address for good.
        mac = f"mac=02:00:00:aa:{self.number:02x}"
        devices = {"0000:01:10.0": f"net_tap0,iface=up0,{mac}:00", "0000:02:10.0": f"net_tap1,iface=up1,{mac}:01",
                   "0000:03:00.0": f"net_tap2,iface=ac0,{mac}:02"}
        cores = f'cores = {self.workers["cores"]}\nidle = "adaptive"'
        text = replaced(example("vtepd.toml"), {"10.0.0.11": self.example_address, "memory_mib = 1024": dpdk,
                                                "cores = [2, 3]": cores, **devices})
        return f'{text}\n[api]\nsocket = "{self.api["socket"]}"\n'


class GatewayLeaf(Leaf):
    """A leaf with FRR and the gateway. Its spines and its hosts have the kernel's ends of the gateway's TAPs."""

    config_type = ExampleConfig

    def __init__(self, bed, number, family, peers):
        super().__init__(bed, number, family)
        self.peers = peers
        self.make_interfaces()
        self.gateway = Gateway(bed, self.config_type(self.address, number), self.namespace, number).start()
        # A leaf does not forward for its kernel's neighbours.
        self.sysctl({"net.ipv4.ip_forward": 0, "net.ipv6.conf.all.forwarding": 0})

    def make_interfaces(self):
        """Runs the example's script, as often as wanted."""
        script = os.path.join(self.bed.directory, f"interfaces-{self.name}")
        with open(script, "w", encoding="utf-8") as file:
            file.write(replaced(example("interfaces"), {"10.0.0.11": self.address}))
        run("ip", "netns", "exec", self.namespace, "sh", script)
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
        self.plug(spine, port)

    def plug(self, spine, port):
        """The kernel's end of the uplink's TAP goes to the spine; after each start of the gateway, for that end goes
        with it."""
        number = self.ports.index(port)
        mac = f"02:00:00:fa:{self.number:02x}:{number:02x}"
        self.gateway.move(f"up{number}", spine.namespace, mac, UNDERLAY_MTU, name=self.name)

    def attach(self, number, namespace, device="eth0"):
        """The access port's kernel end goes to the host, where it is a member of the VLAN; returns the
        name of the interface with the VLAN's frames."""
        self.gateway.move("ac0", namespace, f"02:00:00:cc:ff:{number:02x}", OVERLAY_MTU, name=device)
        return run(f"{ROOT}/dpdk-config/vlan-interface", namespace, device, str(VLAN)).strip()

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
