"""A gateway beside FRR, and a remote leaf of FRR's and the kernel's with as many VNIs and stations as are wanted.

        host --- ac0 [gateway, FRR] up0 ---+--- remote leaf   FRR; stations on a port of each of its bridges
                     VLAN = VNI            +--- witness       in every flood list: whether a frame was flooded
"""

import contextlib
import re
import socket
import struct
import threading
import time

from frr import Frr
from overlay import OVERLAY_MTU, Overlay
from testbed import inside, run, wait_until

BGP = """hostname {name}
no zebra nexthop kernel enable
router bgp {autonomous_system}
 bgp router-id {router_id}
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 neighbor {peer} remote-as external
 neighbor {peer} timers connect 1
 address-family l2vpn evpn
  neighbor {peer} activate
  advertise-all-vni
 exit-address-family
"""
DAEMONS = 'bgpd=yes\nzebra_options="-s 90000000"'
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
HOST_MAC = bytes.fromhex("020000cc0001")


def station(number):
    """The MAC of a station of the remote leaf."""
    return f"02:10:{number >> 24 & 255:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"


class EvpnLab(Overlay):
    """The picture above. The gateway runs and has a bridge for each VNI, with devices that it makes in the kernel, or, if
    they are made by hand, adopts; no FRR runs yet."""

    def __init__(self, vnis, max_entries=65536, by_hand=False):
        self.vnis = range(1, 1 + vnis)
        self.by_hand = by_hand
        self.max_entries = max_entries
        super().__init__("ipv4", access_ports=1, remotes=2, configure=self._controlled)
        self.leaf, self.witness = self.remotes
        self.frr = []
        self.batches = {}

    def _controlled(self, overlay):
        overlay.config.vtep["underlay"] = "kernel"
        overlay.config.neighbours.clear()
        overlay.config.fdb["max_entries"] = self.max_entries
        for vni in self.vnis:
            named = {"kernel_device": f"vx{vni}"} if self.by_hand else {}
            overlay.config.bridge(vni, vni, ["trunk0"], control="kernel", **named)

    def make_devices(self):
        """Makes the leaf's vxlan devices, and puts the witness into the gateway's flood lists."""
        gateway, own = self.gateway.namespace, self.underlay.gateway
        run("ip", "-n", gateway, "addr", "add", f"{own}/24", "dev", "uplink0")
        device = "vx" if self.by_hand else "vtvx"
        if self.by_hand:
            self._devices(gateway, own)
        link = f"/sys/class/net/{device}{self.vnis[-1]}"
        wait_until(lambda: run("ip", "netns", "exec", gateway, "ls", link, check=False), 60, f"{link} to be there", 0.1)
        self._devices(self.leaf.namespace, self.leaf.address)
        ports = (f"tuntap add dev ac{vni} mode tap\nlink set ac{vni} master br{vni} up\nlink set br{vni} up"
                 for vni in self.vnis)
        run("ip", "-n", self.leaf.namespace, "-batch", "-", input="\n".join(ports), timeout=300)
        flood = (f"fdb append 00:00:00:00:00:00 dev {device}{vni} dst {self.witness.address}" for vni in self.vnis)
        run("bridge", "-n", gateway, "-batch", "-", input="\n".join(flood))

    def _devices(self, namespace, address):
        commands = (f"link add name br{vni} mtu {OVERLAY_MTU} type bridge mcast_snooping 0\n"
                    f"link add vx{vni} mtu {OVERLAY_MTU} type vxlan id {vni} local {address} dstport 4789 nolearning\n"
                    f"link set vx{vni} master br{vni} addrgenmode none\n"
                    f"link set vx{vni} up" for vni in self.vnis)
        run("ip", "-n", namespace, "-batch", "-", input="\n".join(commands), timeout=300)

    def start_frr(self):
        """Starts FRR on both sides."""
        places = ((self.gateway.namespace, 1, self.leaf.address), (self.leaf.namespace, 2, self.underlay.gateway))
        for namespace, number, peer in places:
            config = BGP.format(name=f"frr{number}", autonomous_system=65000 + number, router_id=f"10.255.0.{number}",
                                peer=peer)
            frr = Frr(self.bed, namespace, config, DAEMONS)
            frr.launch()
            frr.configure()
            self.frr.append(frr)

    def vni_of(self, number):
        """The VNI of a station."""
        return self.vnis[number % len(self.vnis)]

    def add_stations(self, numbers):
        """Stations come to the remote leaf, as far as zebra can see there."""
        self._fdb("replace {} dev {} master dynamic extern_learn", numbers)

    def remove_stations(self, numbers):
        """They leave it, all at once."""
        self._fdb("del {} dev {} master", numbers)

    def _fdb(self, command, numbers):
        lines = ("fdb " + command.format(station(number), f"ac{self.vni_of(number)}") for number in numbers)
        run("bridge", "-n", self.leaf.namespace, "-batch", "-", input="\n".join(lines), timeout=300)

    def send_in_every_vlan(self):
        """The host sends a frame in each bridge, and so becomes a station of it."""
        with contextlib.closing(_packet_socket(self.host_namespaces[0], "ac0")) as opened:
            for vni in self.vnis:
                tag = struct.pack("!HH", 0x8100, vni)
                opened.send(bytes.fromhex("ffffffffffff") + HOST_MAC + tag + b"\x88\xb5" + bytes(50))
                # Not faster than the smallest ring takes them.
                time.sleep(Stream.INTERVAL)

    def behind_gateway(self):
        """In how many bridges of its kernel the remote leaf has the host behind the gateway."""
        shown = run("bridge", "-n", self.leaf.namespace, "fdb", "show").splitlines()
        mine = f"dst {self.underlay.gateway} "
        return sum(line.startswith(HOST_MAC.hex(":")) and mine in f"{line} " for line in shown)

    def known_to_zebra(self):
        """How many stations the gateway's zebra has."""
        return sum(vni.get("numMacs", 0) for vni in self.frr[0].show("evpn vni").values())

    def stations(self):
        """How many stations the gateway has from the kernel."""
        return int(self.gateway.total("vtepd_kernel_stations"))

    def await_stations(self, count, seconds):
        """Waits until there are so many; gives the time that it took, in seconds."""
        began = time.monotonic()
        wait_until(lambda: self.stations() == count, seconds, f"{count} stations in the gateway", every=0.05)
        return time.monotonic() - began

    def cable(self):
        """Puts the kernel's ends of the TAPs in their places, after a start of the gateway."""
        self.gateway.move("up0", self.fabric, "02:00:00:fa:00:01", self.medium.underlay_mtu)
        run("ip", "-n", self.fabric, "link", "set", "up0", "master", "fabric")
        self.gateway.move("ac0", self.host_namespaces[0], "02:00:00:cc:00:00", self.medium.overlay_mtu)

    def advertise(self, number):
        """A new station comes to the remote leaf while the host sends frames to it all the time. Gives the time from
        there to the kernel's message on this side, and from that to the first frame that is not flooded any more, both
        in seconds."""
        with Kernel(self.gateway.namespace, station(number)) as kernel, Stream(self, number) as stream:
            time.sleep(0.1)
            began = time.time()
            self.add_stations([number])
            told = wait_until(lambda: kernel.told, 10, "the kernel's message", every=0.001)
            unicast = wait_until(stream.unicast_since, 5, "a frame that is not flooded", every=0.05)
        return told - began, unicast - told


class Kernel:
    """Listens for a station to come into a vxlan device's FDB; `told` is when."""

    def __init__(self, namespace, mac):
        self.mac = bytes.fromhex(mac.replace(":", ""))
        self.told = None
        with inside(namespace):
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.socket.bind((0, 1 << 2))
        self.socket.settimeout(0.2)
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.over = False

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()
        self.socket.close()

    def _listen(self):
        while not self.over:
            with contextlib.suppress(TimeoutError):
                data = self.socket.recv(1 << 16)
                now = time.time()
                if not self.told and self._is_it(data):
                    self.told = now

    def _is_it(self, data):
        # RTM_NEWNEIGH (28) of AF_BRIDGE (7) with NTF_SELF (2); NDA_LLADDR (2) is a 10-byte attribute.
        while len(data) >= 28:
            length, kind = struct.unpack_from("=IH", data)
            family, flags = data[16], data[26]
            if kind == 28 and family == 7 and flags & 2 and struct.pack("=HH", 10, 2) + self.mac in data[:length]:
                return True
            data = data[(length + 3) & ~3:]
        return False


class Stream:
    """Numbered frames from the host to a station, one each millisecond, and where they come out on the fabric."""

    INTERVAL = 0.001

    def __init__(self, lab, number):
        self.over = False
        self.seen = {"leaf": {}, "witness": {}}
        tag = struct.pack("!HH", 0x8100, lab.vni_of(number))
        target = bytes.fromhex(station(number).replace(":", ""))
        self.head = target + HOST_MAC + tag + b"\x88\xb5"
        self.marker = self.head[:12]
        self.sockets = {"host": _packet_socket(lab.host_namespaces[0], "ac0"),
                        "leaf": _packet_socket(lab.leaf.namespace, "eth0"),
                        "witness": _packet_socket(lab.witness.namespace, "eth0")}
        self.threads = [threading.Thread(target=self._send, daemon=True)]
        self.threads += [threading.Thread(target=self._capture, args=(place,), daemon=True) for place in self.seen]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        for thread in self.threads:
            thread.join()
        for opened in self.sockets.values():
            opened.close()

    def unicast_since(self):
        """When the first frame arrived at the leaf that did not come to the witness as well; None before frames have
        come to the leaf alone for a while."""
        leaf, witness = dict(self.seen["leaf"]), dict(self.seen["witness"])
        later = sorted(set(leaf) - set(range(1 + max(witness, default=0))))
        return leaf[later[0]] if len(later) > 100 else None

    def _send(self):
        number, due = 0, time.monotonic()
        while not self.over:
            number += 1
            with contextlib.suppress(OSError):
                self.sockets["host"].send(self.head + struct.pack("!I", number) + bytes(50))
            due += self.INTERVAL
            time.sleep(max(0, due - time.monotonic()))

    def _capture(self, place):
        opened = self.sockets[place]
        while not self.over:
            with contextlib.suppress(TimeoutError):
                data, ancillary, _, _ = opened.recvmsg(2048, 64)
                at = data.find(self.marker)
                if at > 0:
                    seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
                    number, = struct.unpack_from("!I", data, at + 14)
                    self.seen[place][number] = seconds + nanoseconds / 1e9


def _packet_socket(namespace, device):
    with inside(namespace):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    opened.bind((device, 0))
    opened.settimeout(0.2)
    return opened


def resident(process):
    """The memory that a process has resident, in MiB."""
    with open(f"/proc/{process}/status", encoding="utf-8") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read())[1]) / 1024
