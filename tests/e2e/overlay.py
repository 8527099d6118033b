"""A gateway between hosts on access TAPs and remote VTEPs that are the kernel's own vxlan.

        h0 --- ac0 +---------+ up0      fabric (a bridge)
        h1 --- ac1 | gateway |---------- o --- r0  kernel VTEP
                   +---------+           +---- r1  kernel VTEP
"""

import dataclasses

from gateway import Config, Gateway
from pings import pinged
from testbed import ROOT, Testbed, run

GATEWAY_UPLINK_MAC = "02:00:00:aa:00:01"
UNDERLAY_MTU = 9100
OVERLAY_MTU = 9000


@dataclasses.dataclass(frozen=True)
class Medium:
    """What the gateway's ports are: a driver of DPDK, and the MTUs of what is behind it."""

    driver: str
    underlay_mtu: int
    overlay_mtu: int


TAP = Medium("net_tap", UNDERLAY_MTU, OVERLAY_MTU)


class Underlay:
    """The addresses of the fabric, in one family."""

    def __init__(self, family):
        self.family = family
        self.length = 24 if family == "ipv4" else 64
        self.gateway = self.address(1)

    def address(self, number):
        """The address of the fabric's host of that number."""
        return f"10.0.0.{number}" if self.family == "ipv4" else f"fd00:10::{number:x}"

    @staticmethod
    def mac(number):
        """The MAC of the fabric's host of that number."""
        return f"02:00:00:bb:00:{number:02x}"


class Station:
    """A place in the overlay: an interface of a namespace with addresses in bridge VNI."""

    def __init__(self, namespace, device, number, vni):
        self.namespace = namespace
        self.device = device
        self.number = number
        self.ipv4 = f"192.168.{vni % 256}.{number}"
        self.ipv6 = f"fd00:{vni >> 16:x}:{vni & 0xFFFF:x}::{number:x}"

    def take_addresses(self, mtu):
        """Gives the interface its addresses."""
        run("ip", "-n", self.namespace, "link", "set", self.device, "mtu", str(mtu))
        run("ip", "-n", self.namespace, "addr", "add", f"{self.ipv4}/24", "dev", self.device)
        run("ip", "-n", self.namespace, "addr", "add", f"{self.ipv6}/64", "dev", self.device, "nodad")
        run("ip", "-n", self.namespace, "link", "set", self.device, "up")

    def ping(self, address, *options, count=3):
        """Pings: the number of answers."""
        return pinged(self.namespace, address, *options, count=count)

    def mac(self):
        """The interface's MAC."""
        return run("ip", "netns", "exec", self.namespace, "cat", f"/sys/class/net/{self.device}/address").strip()

    def forget_neighbours(self):
        """Empties the ARP and ND caches."""
        run("ip", "-n", self.namespace, "neigh", "flush", "all")


class KernelVtep:
    """A remote VTEP: a namespace on the fabric with the kernel's vxlan, one bridge for each VNI."""

    def __init__(self, overlay, number):
        underlay = overlay.underlay
        self.number = number
        self.address = underlay.address(number)
        self.mac = underlay.mac(number)
        self.family = underlay.family
        self.medium = overlay.medium
        self.port = 4789
        # More of what `ip link add ... type vxlan` is told.
        self.options = ""
        bed = overlay.bed
        self.namespace = bed.namespace(f"r{number}")
        bed.veth(overlay.fabric, f"to-r{number}", self.namespace, "eth0", self.medium.underlay_mtu)
        run("ip", "-n", overlay.fabric, "link", "set", f"to-r{number}", "master", "fabric")
        run("ip", "-n", self.namespace, "link", "set", "eth0", "address", self.mac)
        options = ("nodad",) if self.family == "ipv6" else ()
        run("ip", "-n", self.namespace, "addr", "add", f"{self.address}/{underlay.length}", "dev", "eth0", *options)

    def bridges(self, vnis, flood):
        """Makes bridge brVNI with vxlan interface vxVNI for each VNI, flooding to these VTEPs."""
        commands, entries, mtu = [], [], self.medium.overlay_mtu
        checksum = "udp6zerocsumrx noudp6zerocsumtx" if self.family == "ipv6" else ""
        for vni in vnis:
            commands += [
                f"link add br{vni} mtu {mtu} type bridge mcast_snooping 0",
                f"link add vx{vni} mtu {mtu} type vxlan id {vni} local {self.address} dstport {self.port} "
                f"{checksum} {self.options}",
                f"link set vx{vni} master br{vni}",
                f"link set vx{vni} up",
                f"link set br{vni} up",
            ]
            entries += [f"fdb append 00:00:00:00:00:00 dev vx{vni} dst {address}" for address in flood]
        run("ip", "-n", self.namespace, "-batch", "-", input="\n".join(commands))
        run("bridge", "-n", self.namespace, "-batch", "-", input="\n".join(entries))

    def station(self, vni):
        """A station on the bridge itself, with addresses."""
        station = Station(self.namespace, f"br{vni}", 100 + self.number, vni)
        station.take_addresses(self.medium.overlay_mtu)
        return station


class Overlay:
    """The picture above, in one address family, with its hosts on one VLAN of every access port. On another medium
    than TAPs, each port of the gateway is an end of a veth."""

    def __init__(self, family="ipv4", access_ports=2, remotes=2, vni=100, vlan=100, configure=None, medium=TAP):
        self.bed = Testbed()
        self.medium = medium
        try:
            self._build(family, access_ports, remotes, vni, vlan, configure)
        except BaseException:
            self.bed.close()
            raise

    def _build(self, family, access_ports, remotes, vni, vlan, configure):
        self.underlay = Underlay(family)
        self.vni, self.vlan = vni, vlan
        self.config = Config(self.underlay.gateway)
        self.config.driver = self.medium.driver
        self.config.uplink(mac=GATEWAY_UPLINK_MAC, mtu=self.medium.underlay_mtu)
        self.access = [f"ac{number}" for number in range(access_ports)]
        for number, interface in enumerate(self.access):
            self.config.access(f"trunk{number}", interface, mtu=self.medium.overlay_mtu)
        numbers = range(2, 2 + remotes)
        for number in numbers:
            self.config.neighbour(self.underlay.address(number), self.underlay.mac(number))
        self.remote_addresses = [self.underlay.address(number) for number in numbers]
        if configure:
            configure(self)
        else:
            self.config.bridge(vni, vlan, [f"trunk{number}" for number in range(access_ports)],
                               self.remote_addresses)
        self.fabric = self.bed.namespace("fabric", ipv6=False)
        self.host_namespaces = [self.bed.namespace(f"h{number}") for number in range(access_ports)]
        self._start_gateway()
        self._make_fabric()
        self.remotes = [KernelVtep(self, number) for number in numbers]

    def _start_gateway(self):
        ends = [("up0", self.fabric, "02:00:00:fa:00:01", self.medium.underlay_mtu)]
        for number, (interface, namespace) in enumerate(zip(self.access, self.host_namespaces)):
            ends.append((interface, namespace, f"02:00:00:cc:00:{number:02x}", self.medium.overlay_mtu))
        self.gateway = Gateway(self.bed, self.config, self.gateway_namespace())
        if self.medium.driver == "net_tap":
            self.gateway.start()
            for interface, namespace, mac, mtu in ends:
                self.gateway.move(interface, namespace, mac, mtu)
        else:
            for interface, namespace, mac, mtu in ends:
                self.bed.veth(self.gateway.namespace, interface, namespace, interface, mtu)
                run("ip", "-n", namespace, "link", "set", interface, "address", mac)
            self.gateway.start()

    def gateway_namespace(self):
        """Where the gateway runs: one without IPv6 of its own, so that its kernel is silent."""
        return self.bed.namespace("gw", ipv6=False)

    def _make_fabric(self):
        run("ip", "-n", self.fabric, "link", "add", "fabric", "mtu", str(self.medium.underlay_mtu), "type", "bridge",
            "mcast_snooping", "0")
        run("ip", "-n", self.fabric, "link", "set", "fabric", "up")
        run("ip", "-n", self.fabric, "link", "set", "up0", "master", "fabric")

    def host(self, number, vni=None, vlan="default"):
        """A station with addresses behind access port `number`, on a VLAN or (None) untagged."""
        namespace, device = self.host_namespaces[number], self.access[number]
        vlan = self.vlan if vlan == "default" else vlan
        if vlan is not None:
            device = run(f"{ROOT}/dpdk-config/vlan-interface", namespace, device, str(vlan)).strip()
        station = Station(namespace, device, 1 + number, vni or self.vni)
        station.take_addresses(self.medium.overlay_mtu)
        return station

    def full_mesh(self, vnis=None):
        """Every remote VTEP floods to the gateway and to all other remotes, as after an EVPN convergence."""
        for remote in self.remotes:
            others = [other.address for other in self.remotes if other is not remote]
            remote.bridges(vnis or [self.vni], [self.underlay.gateway, *others])

    def close(self):
        """Stops the gateway and removes everything."""
        self.bed.close()


def vxlan_packet(overlay, vni, inner, source="10.0.0.2", **ip_fields):
    """A VXLAN packet to the gateway as bytes."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.layers.vxlan import VXLAN

    return bytes(Ether(src=overlay.remotes[0].mac, dst=GATEWAY_UPLINK_MAC)
                 / IP(src=source, dst=overlay.underlay.gateway, **ip_fields)
                 / UDP(sport=50000, dport=4789, chksum=0) / VXLAN(vni=vni, flags="Instance") / inner)
