"""A fabric of two spines and three leaves, all with FRR: eBGP unnumbered, BFD, EVPN. Behind each leaf hosts.

        spine1      spine2
         | | \\      / | |
         leaf1   leaf2   leaf3      VTEPs 10.0.0.11 to .13 and fd00::11 to ::13, on loopback
           |       |       |
           h1      h2      h3       in VNI 100

FRR's configs are those of `examples/leaf-frr`, with each node's own name, addresses and AS.
"""

import contextlib
import itertools
import json

from examples import Example
from frr import Frr
from overlay import OVERLAY_MTU, UNDERLAY_MTU, Station
from testbed import Testbed, run, wait_until

EXAMPLE = Example("leaf-frr")
VNI = 100
SPINES = (1, 2)
LEAVES = (1, 2, 3)
CONVERGENCE_SECONDS = 30
# Of BFD's packets, ten a second, so many that do not come end a session: by the example, and where nobody dies.
CLOSE, PATIENT = 5, 50
BFD = {f"detect-multiplier {CLOSE}": f"detect-multiplier {PATIENT}"}
HASH_PORTS = {"net.ipv4.fib_multipath_hash_policy": 1, "net.ipv6.fib_multipath_hash_policy": 1}
ROUTER = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1, **HASH_PORTS}


class Node:
    """A spine or a leaf: a namespace with FRR."""

    def __init__(self, bed, name, config):
        self.bed = bed
        self.name = name
        self.ports = []
        self.namespace = bed.namespace(name)
        # Link-local addresses on the interfaces to come: BGP unnumbered needs them.
        self.sysctl({"net.ipv6.conf.default.addr_gen_mode": 0, **ROUTER})
        self.frr = Frr(bed, self.namespace, config, EXAMPLE.text("daemons"))

    def sysctl(self, settings):
        """Sets kernel parameters of the node."""
        run("ip", "netns", "exec", self.namespace, "sysctl", "-qw", *(f"{key}={value}" for key, value
                                                                      in settings.items()))

    def ip(self, *arguments):
        """`ip` on the node."""
        return run("ip", "-n", self.namespace, *arguments)

    def json(self, *command):
        """`ip` or `bridge` on the node, parsed."""
        return json.loads(run(command[0], "-n", self.namespace, "-j", *command[1:]) or "[]")

    def sent(self, port):
        """Packets sent by an interface."""
        return self._statistics(port)["tx"]["packets"]

    def received(self, port):
        """Packets received by an interface."""
        return self._statistics(port)["rx"]["packets"]

    def _statistics(self, port):
        return self.json("ip", "-s", "link", "show", "dev", port)[0]["stats64"]

    def missing(self):
        """Which sessions are not up, as lines for a person."""
        lines = []
        summary = self.frr.show("bgp summary")
        for family, key in (("IPv4", "ipv4Unicast"), ("IPv6", "ipv6Unicast"), ("EVPN", "l2VpnEvpn")):
            peers = summary.get(key, {}).get("peers", {})
            for port in self.ports:
                state = peers.get(port, {}).get("state", "unknown")
                if state != "Established":
                    lines.append(f"{self.name}: BGP {family} on {port} is {state}")
        states = {peer.get("interface"): peer["status"] for peer in self.frr.show("bfd peers")}
        lines += [f"{self.name}: BFD on {port} is {states.get(port, 'absent')}" for port in self.ports
                  if states.get(port) != "up"]
        return lines

    def interruptions(self):
        """How often BFD took a session down since FRR started here, as lines for a person. Where a test did not mean
        it, the machine had no time for BFD."""
        peers = self.frr.show("bfd peers counters")
        return [f"{self.name}: BFD on {peer.get('interface')} went down since the start, times: {peer['session-down']}"
                for peer in peers if peer.get("session-down")]


class Spine(Node):
    """A spine. It has a port for each leaf, with the leaf's name."""

    def __init__(self, bed, number):
        name = f"spine{number}"
        config = EXAMPLE.text("spine-frr.conf", {"spine1": name, "10.0.0.1": f"10.0.0.{number}", **BFD})
        super().__init__(bed, name, config)

    def fall_silent(self):
        """Nothing comes out of the spine any more, while its links stay up."""
        for port in self.ports:
            run("tc", "-n", self.namespace, "qdisc", "replace", "dev", port, "root", "blackhole")

    def speak_again(self):
        """Ends the silence, if there is one."""
        for port in self.ports:
            run("tc", "-n", self.namespace, "qdisc", "del", "dev", port, "root", check=False)

    def set_links(self, state):
        """All its links "up" or "down"."""
        for port in self.ports:
            self.ip("link", "set", port, state)


class Leaf(Node):
    """A leaf without a VTEP: the routes and sessions."""

    def __init__(self, bed, number, family):
        self.number = number
        self.family = family
        self.addresses = {"ipv4": f"10.0.0.1{number}", "ipv6": f"fd00::1{number}"}
        self.address = self.addresses[family]
        name = f"leaf{number}"
        config = EXAMPLE.text("frr.conf", {"leaf1": name, "10.0.0.11": self.addresses["ipv4"],
                                           "fd00::11": self.addresses["ipv6"], "65011": f"6501{number}", **BFD})
        if family == "ipv6":
            # FRR 8.4 would advertise the IPv6 VTEP's VNI with its router id, an IPv4 address, as the VTEP.
            config = config.replace("  advertise-all-vni\n", "")
        super().__init__(bed, name, config)

    def join(self, spine):
        """A link to a spine."""
        port = f"uplink{len(self.ports)}"
        self.bed.veth(self.namespace, port, spine.namespace, self.name, UNDERLAY_MTU)
        self.joined(spine, port)

    def joined(self, spine, port):
        """The port leads to that spine."""
        self.ports.append(port)
        spine.ports.append(self.name)

    def next_hops(self, address):
        """The interfaces that the kernel's route to an address leads by, in order. (Where zebra was killed and is back,
        its IPv6 routes have each twice.)"""
        family = "-6" if ":" in address else "-4"
        routes = self.json("ip", family, "route", "show", address)
        hops = [hop for route in routes for hop in route.get("nexthops", [route])]
        return sorted({hop["dev"] for hop in hops if "linkdown" not in hop["flags"] and "dead" not in hop["flags"]})

    def missing_routes(self, others):
        """Which other leaves' addresses are not reached over every port."""
        return [f"{self.name}: {address} is routed over {hops or 'nothing'}, not {self.ports}"
                for other in others for address in other.addresses.values()
                if (hops := self.next_hops(address)) != self.ports]

    def missing_flood(self, others):
        """Which other leaves are not in its flood list."""
        missing = {other.address for other in others} - self.flood_list()
        return [f"{self.name}: {address} is not in the flood list" for address in sorted(missing)]


class KernelLeaf(Leaf):
    """A leaf whose VTEP is the kernel's own: bridge br100 with vx100.

    FRR 8.4 knows no VTEPs with IPv6 addresses. There it carries the routes alone, floods go where they are told by
    hand, and stations are learned.
    """

    def __init__(self, bed, number, family, peers):
        super().__init__(bed, number, family)
        learning = "nolearning" if family == "ipv4" else "learning"
        checksum = () if family == "ipv4" else ("udp6zerocsumrx", "noudp6zerocsumtx")
        self.ip("link", "add", f"br{VNI}", "mtu", str(OVERLAY_MTU), "type", "bridge", "mcast_snooping", "0")
        self.ip("link", "add", f"vx{VNI}", "mtu", str(OVERLAY_MTU), "type", "vxlan", "id", str(VNI), "local",
                self.address, "dstport", "4789", learning, *checksum)
        self.ip("link", "set", f"vx{VNI}", "master", f"br{VNI}")
        if family == "ipv4":
            run("bridge", "-n", self.namespace, "link", "set", "dev", f"vx{VNI}", "learning", "off")
        for device in (f"vx{VNI}", f"br{VNI}"):
            self.ip("link", "set", device, "addrgenmode", "none", "up")
        if family == "ipv6":
            for address in peers:
                self.append("00:00:00:00:00:00", address)

    def append(self, mac, address):
        """`bridge fdb append` on vx100."""
        run("bridge", "-n", self.namespace, "fdb", "append", mac, "dev", f"vx{VNI}", "dst", address)

    def flood_list(self):
        """Where floods go."""
        return set(self.stations().get("00:00:00:00:00:00", []))

    def stations(self):
        """Of each MAC behind vx100, the remote VTEPs."""
        found = {}
        for entry in self.json("bridge", "fdb", "show", "dev", f"vx{VNI}"):
            if "dst" in entry:
                found.setdefault(entry["mac"], []).append(entry["dst"])
        return found

    def evpn_mac(self, mac):
        """What FRR knows of a MAC."""
        return self.frr.show(f"evpn mac vni {VNI} mac {mac}").get(mac, {})

    def attach(self, number, namespace, device="eth0"):
        """Joins a host's interface to the bridge; returns the interface's name."""
        port = f"h{number}-{device}"
        self.bed.veth(self.namespace, port, namespace, device, OVERLAY_MTU)
        self.ip("link", "set", port, "master", f"br{VNI}")
        return device


class Clos:
    """The picture above. Leaves are the kernel's but where `leaf_type` says otherwise by number; VTEPs have addresses
    of that family. BFD is patient, so that half a second in which this machine stands still is not taken for a node
    that has died; who lets one die does so while it is `watched_closely`."""

    def __init__(self, family="ipv4", leaf_types=None):
        self.bed = Testbed()
        self.leaves, self.spines = [], []
        self.moves = itertools.count(1)
        try:
            self._build(family, leaf_types or {})
        except BaseException:
            self.bed.close()
            raise

    def _build(self, family, leaf_types):
        self.spines = [Spine(self.bed, number) for number in SPINES]
        for number in LEAVES:
            peers = [address_of(other, family) for other in LEAVES if other != number]
            leaf = leaf_types.get(number, KernelLeaf)(self.bed, number, family, peers)
            self.leaves.append(leaf)
            for spine in self.spines:
                leaf.join(spine)
        for node in self.nodes():
            node.frr.launch()
        for node in self.nodes():
            node.frr.configure()
        self.hosts = [self.host(leaf, leaf.number) for leaf in self.leaves]

    def nodes(self):
        """Spines and leaves."""
        return [*self.spines, *self.leaves]

    def host(self, leaf, number):
        """A host behind the leaf, with addresses."""
        station = Station(self.bed.namespace(f"h{number}"), "eth0", number, VNI)
        self.attach(station, leaf)
        return station

    def attach(self, station, leaf):
        """Joins a host to a leaf by an interface that it has not, and gives that its MAC and addresses."""
        station.device = leaf.attach(station.number, station.namespace, station.device)
        run("ip", "-n", station.namespace, "link", "set", station.device, "address", station_mac(station.number))
        station.take_addresses(OVERLAY_MTU)

    def move(self, station, leaf):
        """The station goes behind another leaf, as a virtual machine does: with its addresses and no link down, so
        that the leaf it leaves is not told."""
        # The interface that stays behind must be silent, or the host would move back; and deaf, or what is still
        # delivered there would be answered.
        run("ip", "netns", "exec", station.namespace, "sysctl", "-qw", f"net/ipv6/conf/{station.device}/disable_ipv6=1")
        run("ip", "-n", station.namespace, "link", "set", station.device, "arp", "off", "address", "02:00:00:cc:00:ee")
        run("ip", "-n", station.namespace, "addr", "flush", "dev", station.device)
        station.device = f"eth{next(self.moves)}"
        self.attach(station, leaf)

    def missing(self):
        """What the fabric lacks, as lines for a person; empty when it has converged."""
        lines = [line for node in self.nodes() for line in node.missing()]
        for leaf in self.leaves:
            others = [other for other in self.leaves if other is not leaf]
            lines += leaf.missing_routes(others) + leaf.missing_flood(others)
        return lines

    def converge(self, seconds=CONVERGENCE_SECONDS):
        """Waits until every session is up, every VTEP is routed over both spines and every flood list is complete."""
        try:
            wait_until(lambda: not self.missing(), seconds, "the fabric to converge", every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.report()}") from None
        return self

    @contextlib.contextmanager
    def watched_closely(self):
        """Meanwhile BFD notices as soon as by the files of the example."""
        self._let_bfd_miss(CLOSE, len(self.nodes()))
        try:
            yield
        finally:
            # There may be no session any more.
            self._let_bfd_miss(PATIENT, 0)

    def _let_bfd_miss(self, packets, least):
        for node in self.nodes():
            node.frr.vtysh("configure terminal", "bfd", "profile fabric", f"detect-multiplier {packets}")

        def agreed():
            peers = [peer for node in self.nodes() for peer in node.frr.show("bfd peers") if peer["status"] == "up"]
            return len(peers) >= least and all(peer["remote-detect-multiplier"] == packets for peer in peers)

        wait_until(agreed, 10, f"BFD to miss {packets} packets", every=0.1)

    def interruptions(self):
        """How often BFD took sessions down on each node, as lines for a person."""
        return [line for node in self.nodes() for line in node.interruptions()]

    def report(self):
        """What is missing, and the logs of the nodes where it is; and where BFD has been down."""
        lines = self.missing()
        troubled = {line.split(":")[0] for line in lines}
        lines += self.interruptions()
        logs = [f"--- {node.name}\n{node.frr.log(12)}" for node in self.nodes() if node.name in troubled]
        return "\n".join([*lines, *logs])

    def close(self):
        """Removes all of it."""
        self.bed.close()


def station_mac(number):
    """The MAC of a host."""
    return f"02:00:00:cc:00:{number:02x}"


def address_of(number, family):
    """The address of a leaf's VTEP."""
    return f"10.0.0.1{number}" if family == "ipv4" else f"fd00::1{number}"
