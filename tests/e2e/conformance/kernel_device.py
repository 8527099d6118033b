"""The kernel's own vxlan and bridge on the desk, with every setting that brings it nearer to the table."""

import platform

from testbed import run

from .desk import WIRES, NotOffered, NotTried, tell_remotes
from .packets import DEVICE_MAC, VNI, VXLAN_PORT, address

UNDERLAY_MTU = ACCESS_MTU = 9000
# What is left for an inner packet of an underlay's: outer IP, UDP, VXLAN and the inner Ethernet header.
OVERHEAD = {"ipv4": 50, "ipv6": 70}


class KernelDevice:
    """A vxlan interface in a bridge with two access ports, and the settings that a row asks for."""

    name = "kernel"

    def __init__(self, desk, controlled=False):
        self.family = desk.family
        self.port = VXLAN_PORT
        self.controlled = controlled
        self.namespace = desk.bed.namespace("kernel")
        # Only what is asked for: no address of its own anywhere but in the underlay.
        for number, interface in enumerate(WIRES.values()):
            desk.bed.veth(self.namespace, interface, desk.namespace, interface, UNDERLAY_MTU)
            run("ip", "-n", desk.namespace, "link", "set", interface, "address", f"02:00:00:fa:00:{number:02x}")
        run("ip", "-n", self.namespace, "link", "set", "up0", "address", DEVICE_MAC)
        length, options = (24, ()) if self.family == "ipv4" else (64, ("nodad",))
        run("ip", "-n", self.namespace, "addr", "add", f"{address(self.family, 0)}/{length}", "dev", "up0", *options)
        tell_remotes(self.namespace, "up0", self.family)
        self.configure()

    @staticmethod
    def version():
        """The kernel's release."""
        return f"Linux {platform.release()}"

    def configure(self, port=VXLAN_PORT, ageing=300, max_macs=None, statics=(), vlan=None, strict=False,
                  zero_checksum=False, dscp="inherit", tags=True, link_local=False, learning=True,
                  clamp_mss=False, group=None, keys=None, members=None):
        """Makes the vxlan interface and the bridge anew with these settings."""
        if strict:
            raise NotOffered("reserved bits are never looked at")
        if clamp_mss:
            raise NotOffered("neither vxlan nor bridge looks at TCP; a rule of nftables can")
        if vlan:
            raise NotTried("this kernel has no VLAN interfaces and no VLAN filtering")
        if max_macs is not None:
            raise NotTried("this kernel's bridge has no fdb_max_learned, or its iproute2 does not")
        for device in ("vx100", "br100"):
            run("ip", "-n", self.namespace, "link", "del", device, check=False)
        local = address(self.family, 0)
        options = ["learning" if learning and not self.controlled else "nolearning", "srcport", "49152", "65535"]
        if self.family == "ipv4":
            options += ["noudpcsum", "df", "set"]
        else:
            options += ["udp6zerocsumtx", "udp6zerocsumrx"] if zero_checksum else ["noudp6zerocsumtx", "noudp6zerocsumrx"]
        if group:
            options += ["group", group, "dev", "up0"]
        options += ["tos", "inherit" if dscp == "inherit" else hex(dscp << 2)]
        forwarded = 0xFFF8 if link_local else 0
        inner_mtu = UNDERLAY_MTU - OVERHEAD[self.family]
        self._ip(f"link add vx100 mtu {inner_mtu} type vxlan id {VNI} local {local} dstport {port} ttl 64",
                 *options)
        self._ip(f"link add br100 type bridge mcast_snooping 0 ageing_time {ageing * 100} group_fwd_mask {forwarded}")
        # Silent: IPv6 would send its own.
        for device in ("br100", "vx100", "ac0", "ac1"):
            run("ip", "netns", "exec", self.namespace, "sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1")
        for device in ("vx100", "ac0", "ac1"):
            self._ip(f"link set {device} master br100")
        for device in ("vx100", "br100"):
            self._ip(f"link set {device} up")
        for number in () if group else (1, 2):
            self._bridge(f"fdb append 00:00:00:00:00:00 dev vx100 dst {address(self.family, number)}")
        for mac, place in statics:
            if place.startswith("access"):
                self._bridge(f"fdb add {mac} dev ac{place[-1]} master static sticky")
            else:
                self._bridge(f"fdb add {mac} dev vx100 self static dst {address(self.family, int(place[-1]))}")
                self._bridge(f"fdb add {mac} dev vx100 master static sticky")
        self.port = port

    def _ip(self, command, *more):
        run("ip", "-n", self.namespace, *command.split(), *more)

    def _bridge(self, command):
        run("bridge", "-n", self.namespace, *command.split())

    def say(self, verb, mac, remote):
        """Has the control plane add an entry (`append`) or remove one (`del`)."""
        self._bridge(f"fdb {verb} {mac} dev vx100 self dst {address(self.family, remote)}"
                     + (" extern_learn" if verb == "append" else ""))
        if mac != "00:00:00:00:00:00" and verb == "append":
            self._bridge(f"fdb replace {mac} dev vx100 master extern_learn")
        elif mac != "00:00:00:00:00:00":
            # A station that has moved to an access port has none there any more.
            run("bridge", "-n", self.namespace, "fdb", "del", mac, "dev", "vx100", "master", check=False)

    def drops(self):
        """The kernel has no counters by reason."""
        return None

    def suppress(self, desk):
        """Has it answer for known stations. Gives where one is that it can know."""
        self._bridge("link set dev vx100 neigh_suppress on")
        run("ip", "netns", "exec", self.namespace, "sysctl", "-qw", "net.ipv6.conf.br100.disable_ipv6=0")
        desk.is_changed = True
        return "remote1"

    def bind(self, desk, mac, addresses):
        """Lets it know a station's addresses, as FRR does."""
        for ip in addresses:
            self._ip(f"neigh replace {ip} lladdr {mac} dev br100 nud permanent")

    def damp(self, desk, moves, seconds):
        """Freezes a station with so many moves, for so long."""
        raise NotOffered("a bridge follows every move; FRR damps what it advertises")

    def limit(self, desk, what, rate):
        """Limits what is flooded of a kind of frames, in packets a second."""
        raise NotOffered("a bridge has no storm control; a filter of tc can police")

    def has_vlans(self):
        """Whether access ports can be tagged."""
        return False

    def pads(self):
        """Whether padding is the device's and not its NIC's."""
        return False

    def alive(self):
        """It always is."""
        return True
