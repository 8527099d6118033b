"""Packets that are sent and taken apart: outer headers by hand, what is inside by scapy."""

import os
import socket
import struct
from dataclasses import dataclass

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6, in6_getnsma,
                                in6_getnsmac)
from scapy.layers.l2 import ARP, Ether

DEVICE_MAC = "02:00:00:aa:00:01"
BROADCAST = "ff:ff:ff:ff:ff:ff"
EXPERIMENTAL = 0x88B5
VNI = 100
VXLAN_PORT = 4789
VXLAN_FLAGS = 0x08
ETHERNET, IPV4, IPV6, UDP_HEADER, VXLAN_HEADER = 14, 20, 40, 8, 8


def mac_bytes(text):
    """The six bytes of a MAC address."""
    return bytes.fromhex(text.replace(":", ""))


def remote_mac(number):
    """The MAC address of remote VTEP `number`, 1 and up."""
    return f"02:00:00:bb:00:{number:02x}"


def address(family, number):
    """The address of remote VTEP `number` in the underlay; 0 is the device."""
    return f"10.0.0.{number + 1}" if family == "ipv4" else f"fd00::{number + 1:x}"


def group_mac(group):
    """The MAC address of a multicast group (RFC 1112, 6.4; RFC 2464, 7)."""
    if ":" in group:
        return b"\x33\x33" + socket.inet_pton(socket.AF_INET6, group)[12:]
    octets = socket.inet_pton(socket.AF_INET, group)
    return b"\x01\x00\x5e" + bytes([octets[1] & 0x7F]) + octets[2:]


def frame(destination, source, payload=b"", ethertype=EXPERIMENTAL, tags=(), size=60):
    """An Ethernet frame with these tags (TPID, TCI), outermost first; zeros up to the size."""
    tag_bytes = b"".join(struct.pack("!HH", *tag) for tag in tags)
    head = mac_bytes(destination) + mac_bytes(source) + tag_bytes + struct.pack("!H", ethertype)
    return (head + payload).ljust(size, b"\0")


def marker():
    """Bytes by which a frame is recognised."""
    return os.urandom(12)


def ip_frame(destination, source, inner="ipv4", tos=0, sport=1000, dport=2000, payload=b"", flags=""):
    """A UDP datagram of a tenant."""
    network = (IP(src="192.0.2.1", dst="192.0.2.2", tos=tos, flags=flags) if inner == "ipv4"
               else IPv6(src="2001:db8::1", dst="2001:db8::2", tc=tos))
    return bytes(Ether(dst=destination, src=source) / network / UDP(sport=sport, dport=dport) / payload)


def checksum(data):
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass
class Outer:
    """A VXLAN packet of a remote VTEP to the device; a check changes what it is about."""

    family: str
    inner: bytes
    remote: int = 1
    vni: int = VNI
    port: int = VXLAN_PORT
    tos: int = 0
    # None: zero over IPv4, right over IPv6; or "zero", "right", "wrong".
    udp_sum: str = None
    ip_sum: str = "right"
    # IPv4: bytes of options, a multiple of four.
    options: bytes = b""
    # IPv6: the first header's number and all extension headers' bytes.
    extensions: tuple = None
    # IPv4: more fragments, and the offset in units of eight bytes.
    fragment: tuple = (False, 0)
    vxlan: bytes = None
    udp_length: int = None
    ip_length: int = None
    header_words: int = None
    source: str = None
    # A multicast group of the underlay that it is for, in place of the device.
    group: str = None

    def datagram(self):
        """UDP and what is in it."""
        vxlan = self.vxlan or bytes([VXLAN_FLAGS, 0, 0, 0]) + self.vni.to_bytes(3, "big") + b"\0"
        body = vxlan + self.inner
        length = UDP_HEADER + len(body)
        kind = self.udp_sum or ("zero" if self.family == "ipv4" else "right")
        total = 0
        if kind != "zero":
            pseudo = self._addresses() + struct.pack("!HH", 17, length)
            total = checksum(pseudo + struct.pack("!HHHH", 50000, self.port, length, 0) + body) or 0xFFFF
            if kind == "wrong":
                # Zero would be none.
                total = total ^ 0x0101 or 0x0202
        claimed = length if self.udp_length is None else self.udp_length
        return struct.pack("!HHHH", 50000, self.port, claimed, total) + body

    def _addresses(self):
        kind = socket.AF_INET if self.family == "ipv4" else socket.AF_INET6
        source = self.source or address(self.family, self.remote)
        return socket.inet_pton(kind, source) + socket.inet_pton(kind, self.group or address(self.family, 0))

    def network(self, payload):
        """The IP packet with this payload."""
        if self.family == "ipv4":
            words = 5 + len(self.options) // 4 if self.header_words is None else self.header_words
            length = IPV4 + len(self.options) + len(payload) if self.ip_length is None else self.ip_length
            flags = self.fragment[1] | (0x2000 if self.fragment[0] else 0)
            header = struct.pack("!BBHHHBBH", 0x40 | words, self.tos, length, 0x1234, flags, 60, 17, 0)
            header += self._addresses() + self.options
            total = checksum(header) ^ (0x0101 if self.ip_sum == "wrong" else 0)
            return header[:10] + struct.pack("!H", total) + header[12:] + payload
        first, extensions = self.extensions or (17, b"")
        length = len(extensions) + len(payload) if self.ip_length is None else self.ip_length
        head = struct.pack("!IHBB", 6 << 28 | self.tos << 20, length, first, 60)
        return head + self._addresses() + extensions + payload

    def build(self, payload=None):
        """The whole packet, as bytes; with another payload than the datagram, a fragment's for one."""
        ethertype = 0x0800 if self.family == "ipv4" else 0x86DD
        destination = group_mac(self.group) if self.group else mac_bytes(DEVICE_MAC)
        head = destination + mac_bytes(remote_mac(self.remote)) + struct.pack("!H", ethertype)
        return head + self.network(self.datagram() if payload is None else payload)


@dataclass
class Tunnelled:
    """A VXLAN packet that the device sent, taken apart."""

    destination: str
    remote: int
    vni: int
    inner: bytes
    source_port: int
    udp_sum: int
    vxlan: bytes
    tos: int
    ttl: int
    flow_label: int
    # IPv4: DF, and whether it is a fragment.
    dont_fragment: bool
    fragment: bool
    datagram: bytes
    addresses: bytes

    def udp_sum_is_right(self):
        """The UDP checksum fits (RFC 768; RFC 8200, 8.1)."""
        return checksum(self.addresses + struct.pack("!HH", 17, len(self.datagram)) + self.datagram) == 0


def tunnelled(packet, family):
    """A packet of the uplink as VXLAN to a remote VTEP; None where it is something else."""
    ethertype, = struct.unpack_from("!H", packet, 12)
    if family == "ipv4" and ethertype == 0x0800 and packet[23] == 17:
        header = packet[ETHERNET:ETHERNET + IPV4]
        flags, = struct.unpack_from("!H", header, 6)
        fields = {"tos": header[1], "ttl": header[8], "flow_label": 0, "dont_fragment": bool(flags & 0x4000),
                  "fragment": bool(flags & 0x3FFF), "addresses": header[12:20]}
        at, remote = ETHERNET + IPV4, header[19] - 1
    elif family == "ipv6" and ethertype == 0x86DD and packet[20] == 17:
        header = packet[ETHERNET:ETHERNET + IPV6]
        first, = struct.unpack_from("!I", header, 0)
        fields = {"tos": first >> 20 & 0xFF, "ttl": header[7], "flow_label": first & 0xFFFFF, "dont_fragment": True,
                  "fragment": False, "addresses": header[8:40]}
        at, remote = ETHERNET + IPV6, header[39] - 1
    else:
        return None
    source_port, _, length, udp_sum = struct.unpack_from("!HHHH", packet, at)
    vxlan = packet[at + UDP_HEADER:at + UDP_HEADER + VXLAN_HEADER]
    kind = socket.AF_INET if family == "ipv4" else socket.AF_INET6
    half = len(fields["addresses"]) // 2
    destination = socket.inet_ntop(kind, fields["addresses"][half:])
    return Tunnelled(destination=destination, remote=remote, vni=int.from_bytes(vxlan[4:7], "big"), vxlan=vxlan,
                     inner=packet[at + UDP_HEADER + VXLAN_HEADER:at + length], source_port=source_port, udp_sum=udp_sum,
                     datagram=packet[at:at + length], **fields)


def announcements(mac, addresses):
    """What a station says of itself: a gratuitous ARP, an unsolicited neighbour advertisement."""
    ipv4, ipv6 = addresses
    yield bytes(Ether(dst=BROADCAST, src=mac) / ARP(op=1, hwsrc=mac, psrc=ipv4, pdst=ipv4)).ljust(60, b"\0")
    yield bytes(Ether(dst="33:33:00:00:00:01", src=mac) / IPv6(src=ipv6, dst="ff02::1", hlim=255)
                / ICMPv6ND_NA(R=0, S=0, O=1, tgt=ipv6) / ICMPv6NDOptDstLLAddr(lladdr=mac))


def arp_question(mac, ipv4, target, destination=BROADCAST):
    """An ARP request; from 0.0.0.0 it is a probe (RFC 5227)."""
    return bytes(Ether(dst=destination, src=mac) / ARP(op=1, hwsrc=mac, psrc=ipv4, pdst=target)).ljust(60, b"\0")


def solicitation(mac, ipv6, target):
    """A neighbour solicitation; from the unspecified address it is duplicate address detection (RFC 4862, 5.4)."""
    group = in6_getnsma(socket.inet_pton(socket.AF_INET6, target))
    option = ICMPv6NDOptSrcLLAddr(lladdr=mac) if ipv6 != "::" else b""
    packet = Ether(dst=in6_getnsmac(group), src=mac) / IPv6(src=ipv6, dst=socket.inet_ntop(socket.AF_INET6, group),
                                                          hlim=255) / ICMPv6ND_NS(tgt=target)
    return bytes(packet / option if option else packet)
