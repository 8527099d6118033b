"""The rows of the underlay: IPv6, ECN and DSCP, MTU."""

import struct
import time

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether
from testbed import looks, settle

from .desk import PATIENCE, expect, expected_flood
from .packets import (BROADCAST, DEVICE_MAC, ETHERNET, address, frame, ip_frame, mac_bytes, marker,
                      remote_mac)
from .table import row

HOST, OTHER = "02:20:00:00:00:01", "02:20:00:00:00:02"
UNKNOWN = "02:20:ff:00:00:01"
UNDERLAY_MTU = 9000
OVERHEAD = {"ipv4": 50, "ipv6": 70}
NOT_ECT, ECT1, ECT0, CE = 0, 1, 2, 3
NAMES = {NOT_ECT: "Not-ECT", ECT0: "ECT(0)", ECT1: "ECT(1)", CE: "CE"}
# What is delivered, by inner and outer field; None is dropped (RFC 6040, 4.2, figure 4).
DELIVERED = {
    NOT_ECT: {NOT_ECT: NOT_ECT, ECT0: NOT_ECT, ECT1: NOT_ECT, CE: None},
    ECT0: {NOT_ECT: ECT0, ECT0: ECT0, ECT1: ECT1, CE: CE},
    ECT1: {NOT_ECT: ECT1, ECT0: ECT1, ECT1: ECT1, CE: CE},
    CE: {NOT_ECT: CE, ECT0: CE, ECT1: CE, CE: CE},
}

u1 = row("U1", "Over IPv6 the UDP checksum is computed and verified, and zero only where it is configured",
         "RFC 8200, 8.1; RFC 6935; RFC 6936", ("ipv6",))
u2 = row("U2", "The flow label is zero or the flow's, a hop limit is set, extension headers are walked or refused",
         "RFC 8200, 4; RFC 6438", ("ipv6",))
ecn = row("ECN", "Congestion marks cross the tunnel both ways, and the inner checksum stays right", "RFC 6040, 4.1, 4.2")
dscp = row("DSCP", "The outer code point is the inner one, or a fixed one", "RFC 2983, 3.1")
m1 = row("M1", "The sender of what does not fit is told the usable MTU, and not too often",
         "RFC 1191, 4; RFC 4443, 3.2; RFC 1812, 4.3.2.8")
m2 = row("M2", "What a router says of the path to one remote VTEP counts for that one, and what nobody can have meant "
         "for none", "RFC 1191, 3, 6.3; RFC 8201, 4", alone=True)
m3 = row("M3", "Jumbo frames pass as they are", "-")
m4 = row("M4", "Where it is configured, TCP connections are opened with a segment size that fits the tunnel",
         "RFC 9293, 3.7.1")


@u1
def checksums_over_ipv6(desk):
    mark = marker()
    for packet in desk.send_from("access0", frame(BROADCAST, HOST, mark)).tunnelled(mark):
        expect(packet.udp_sum != 0 and packet.udp_sum_is_right(), "the UDP checksum sent is missing or wrong")
    seen = desk.send_from("remote1", frame(BROADCAST, OTHER, mark), udp_sum="right")
    expect(seen.places(mark) == expected_flood("remote1"), "a right checksum is refused")
    cases = 2
    for kind, reason in (("wrong", "outer_udp_checksum"), ("zero", "outer_udp_checksum_missing")):
        packet = desk.outer(frame(BROADCAST, OTHER, marker()), udp_sum=kind).build()
        cases += desk.refuse("uplink", [packet], [reason], f"a checksum that is {kind} is taken")
    return cases


@u1
def zero_where_it_is_configured(desk):
    desk.configure(zero_checksum=True)
    mark = marker()
    for packet in desk.send_from("access0", frame(BROADCAST, HOST, mark)).tunnelled(mark):
        expect(packet.udp_sum == 0, "a checksum is sent where zero is configured")
    for kind in ("zero", "right"):
        seen = desk.send_from("remote1", frame(BROADCAST, OTHER, mark), udp_sum=kind)
        expect(seen.places(mark) == expected_flood("remote1"), f"a checksum that is {kind} is refused")
    return 3


@u2
def labels_and_hop_limits(desk):
    for sport in range(1000, 1016):
        twice = [desk.send_from("access0", ip_frame(UNKNOWN, HOST, sport=sport)).tunnelled() for _ in range(2)]
        packets = [packet for packets in twice for packet in packets]
        expect(all(packet.ttl > 1 for packet in packets), "the hop limit is too low to reach anyone")
        expect(len({packet.flow_label for packet in packets}) == 1, "a flow has two flow labels")
    return 32


@u2
def extension_headers(desk):
    padding = bytes([1, 4, 0, 0, 0, 0])
    udp, hop_by_hop, destination, fragment_header = 17, 0, 60, 44
    chains = {
        "hop-by-hop options": (hop_by_hop, bytes([udp, 0]) + padding),
        "destination options": (destination, bytes([udp, 0]) + padding),
        "both": (hop_by_hop, bytes([destination, 0]) + padding + bytes([udp, 0]) + padding),
        "a fragment header without a fragment": (fragment_header, bytes([udp, 0, 0, 0, 0, 0, 0, 9])),
    }
    for what, chain in chains.items():
        mark = marker()
        seen = desk.send_from("remote1", frame(BROADCAST, OTHER, mark), extensions=chain)
        expect(seen.places(mark) in ({}, expected_flood("remote1")), f"{what}: the packet is misread")
    return len(chains)


@u2
def fragments_over_ipv6(desk):
    outer = desk.outer(frame(BROADCAST, OTHER, marker(), size=400))
    datagram = outer.datagram()
    outer.extensions = (44, bytes([17, 0, 0, 1, 0, 0, 0, 9]))
    first = outer.build(datagram[:200])
    outer.extensions = (44, bytes([17, 0]) + struct.pack("!HI", 25 << 3, 9))
    return desk.refuse("uplink", [first, outer.build(datagram[200:])], ["outer_fragment"],
                       "fragments of a VXLAN packet are put together and bridged")


@ecn
def marks_into_the_tunnel(desk):
    for inner in ("ipv4", "ipv6"):
        for field in NAMES:
            mark = marker()
            for packet in desk.send_from("access0", ip_frame(UNKNOWN, HOST, inner, field, payload=mark)).tunnelled(mark):
                expect(packet.tos & 3 == field, f"inner {NAMES[field]} ({inner}) leaves as {NAMES[packet.tos & 3]}")
    mark = marker()
    for packet in desk.send_from("access0", frame(BROADCAST, HOST, mark)).tunnelled(mark):
        expect(packet.tos & 3 == NOT_ECT, "a frame that is not IP leaves with a mark")
    return 9


@ecn
def marks_out_of_the_tunnel(desk):
    cases = 0
    for inner in ("ipv4", "ipv6"):
        for field, row_of in DELIVERED.items():
            for outer, expected in row_of.items():
                cases += 1
                mark = marker()
                sent = ip_frame(UNKNOWN, OTHER, inner, field, payload=mark)
                got = desk.send_from("remote1", sent, tos=outer).at("access0", mark)
                case = f"inner {NAMES[field]} ({inner}), outer {NAMES[outer]}"
                if expected is None:
                    expect(not got, f"{case} is delivered")
                    continue
                expect(len(got) == 1, f"{case} is not delivered")
                delivered = mark_of(got[0], inner)
                expect(delivered == expected, f"{case} is delivered as {NAMES[delivered]}")
                expect(inner != "ipv4" or ipv4_sum_is_right(got[0]), f"{case}: the inner checksum is wrong")
    return cases


def mark_of(delivered, inner):
    """The ECN field of a delivered frame."""
    return delivered[ETHERNET + 1] & 3 if inner == "ipv4" else delivered[ETHERNET + 1] >> 4 & 3


def ipv4_sum_is_right(delivered):
    """The inner header's checksum fits."""
    total = Ether(delivered)[IP].chksum
    again = Ether(delivered)
    del again[IP].chksum
    return Ether(bytes(again))[IP].chksum == total


@dscp
def code_points(desk):
    for setting, expected in (("inherit", lambda point: point), (46, lambda point: 46)):
        if setting != "inherit":
            desk.configure(dscp=setting)
        for inner in ("ipv4", "ipv6"):
            for point in (0, 10, 46, 63):
                mark = marker()
                sent = ip_frame(UNKNOWN, HOST, inner, point << 2, payload=mark)
                for packet in desk.send_from("access0", sent).tunnelled(mark):
                    expect(packet.tos >> 2 == expected(point), f"inner {point} leaves as {packet.tos >> 2}")
    return 16


# What a tenant's packet is full of: any piece of one is recognised by it, and the device's own reports of the groups
# that it wants or leaves, which it repeats at a time of its own (RFC 3376, 5.1), are not taken for one.
FILLING = b"filling "


def too_big(inner, size, df=True, tags=b""):
    """A tenant's IP packet of this length to a station behind the tunnel."""
    if inner == "ipv4":
        network = IP(src="192.0.2.1", dst="192.0.2.2", flags="DF" if df else "")
        body = size - 28
    else:
        network, body = IPv6(src="2001:db8::1", dst="2001:db8::2"), size - 48
    packet = bytes(Ether(dst=OTHER, src=HOST) / network / UDP(sport=1, dport=2) / (FILLING * body)[:body])
    return packet[:12] + tags + packet[12:]


@m1
def senders_are_told(desk):
    desk.teach("remote1", OTHER)
    usable = UNDERLAY_MTU - OVERHEAD[desk.family]
    for inner in ("ipv4", "ipv6"):
        fits = desk.exchange("access0", too_big(inner, usable))
        expect(len(fits.tunnelled()) == 1, "what just fits is not sent")
        seen = desk.exchange("access0", too_big(inner, usable + 1))
        expect(not seen.at("uplink", FILLING), "something is sent of what does not fit")
        answers = [Ether(packet) for packet in seen.frames["access0"]]
        expect(len(answers) == 1, f"{len(answers)} answers to an {inner} packet that does not fit")
        expect(answers[0].dst == HOST and not seen.frames["access1"], "the answer goes to someone else")
        told = answers[0][ICMP].nexthopmtu if inner == "ipv4" else answers[0][ICMPv6PacketTooBig].mtu
        expect(told == usable, f"the sender is told an MTU of {told}, not {usable}")
    return 4


@m1
def senders_of_carried_tags_are_told(desk):
    desk.configure(tags=True)
    desk.teach("remote1", OTHER)
    tag = bytes.fromhex("8100a005")
    usable = UNDERLAY_MTU - OVERHEAD[desk.family] - len(tag)
    fits = desk.exchange("access0", too_big("ipv4", usable, tags=tag))
    expect(len(fits.tunnelled()) == 1, "a tagged frame that just fits is not sent")
    answers = desk.exchange("access0", too_big("ipv4", usable + 1, tags=tag)).frames["access0"]
    expect([answer[12:16] for answer in answers] == [tag], "the answer to a tagged frame has not its tag")
    told = Ether(answers[0])[ICMP].nexthopmtu
    expect(told == usable, f"the sender of a tagged frame is told an MTU of {told}, not {usable}")
    return 2


@m1
def who_did_not_ask_is_not_told(desk):
    desk.teach("remote1", OTHER)
    seen = desk.exchange("access0", too_big("ipv4", 9000, df=False))
    expect(not seen.frames["access0"], "the sender of a packet without DF is told")
    return 1


@m1
def answers_are_limited(desk):
    desk.teach("remote1", OTHER)
    frames = [too_big("ipv4", 9000)] * 400
    began = time.monotonic()
    answers = desk.exchange("access0", *frames).frames["access0"]
    # No more than a hundred at once and a hundred a second are sent by anybody.
    most = 200 + 100 * (time.monotonic() - began)
    expect(0 < len(answers) < min(most, 400), f"{len(answers)} answers to 400 packets at once")
    return 1


def narrow(desk, quoted, mtu, changed=None):
    """A router's message that a packet which the device sent (an Ethernet frame) is larger than the MTU."""
    quote = bytearray(quoted[ETHERNET:ETHERNET + 120])
    for at, value in (changed or {}).items():
        quote[at] = value
    if desk.family == "ipv4":
        head = IP(src="10.0.0.77", dst=address("ipv4", 0)) / ICMP(type=3, code=4, nexthopmtu=mtu)
    else:
        head = IPv6(src="fd00::77", dst=address("ipv6", 0)) / ICMPv6PacketTooBig(mtu=mtu)
    return bytes(Ether(src=remote_mac(77), dst=DEVICE_MAC) / head / bytes(quote))


@m2
def the_path_to_one_remote_vtep(desk):
    path, second = 1500, "02:20:00:00:00:03"
    desk.teach("remote1", OTHER)
    desk.teach("remote2", second)
    usable = path - OVERHEAD[desk.family]

    def passes(station, size):
        sent = too_big("ipv4", size)
        sent = mac_bytes(station) + sent[6:]
        return desk.exchange("access0", sent)

    before = passes(OTHER, 4000)
    expect(len(before.tunnelled()) == 1, "what fits the uplink is not sent")
    own = before.at("uplink", FILLING)[0]
    # Of another sender, to another port, larger than the packet: none of these is about a packet of the device's.
    source, port = (15, 23) if desk.family == "ipv4" else (23, 43)
    forged = [narrow(desk, own, path, {source: own[ETHERNET + source] ^ 1}),
              narrow(desk, own, path, {port: own[ETHERNET + port] ^ 1}), narrow(desk, own, 8000)]
    desk.exchange("uplink", *forged)
    settle(0.3)
    expect(len(passes(OTHER, 4000).tunnelled()) == 1, "a message about a packet that was never sent is believed")
    for is_last in looks(PATIENCE, 0.1):
        if not passes(OTHER, 4000).tunnelled():
            break
        expect(not is_last, "packets that a router cannot send on are sent again and again")
        desk.exchange("uplink", narrow(desk, own, path))
    seen = passes(OTHER, 4000)
    answers = [Ether(packet) for packet in seen.frames["access0"] if ICMP in Ether(packet)]
    expect(answers and answers[0][ICMP].nexthopmtu == usable, "the sender is not told what the path takes")
    expect(len(passes(OTHER, usable).tunnelled()) == 1, "what fits the path is not sent")
    expect(len(passes(second, 4000).tunnelled()) == 1, "the path to one remote VTEP counts for another")
    return 7


@m3
def jumbo_frames(desk):
    for size in (1514, 2100, 4500, 8900):
        for place in ("access0", "remote1"):
            mark = marker()
            sent = frame(BROADCAST, HOST if place == "access0" else OTHER, mark + bytes(range(256)) * 35, size=size)[:size]
            seen = desk.send_from(place, sent)
            expect(seen.places(mark) == expected_flood(place), f"{size} bytes from {place} do not pass")
            got = [packet.inner for packet in seen.tunnelled(mark)] + seen.at("access1", mark)
            expect(all(inner == sent for inner in got), f"{size} bytes from {place} are changed")
    return 8


@m4
def segment_sizes(desk):
    desk.configure(clamp_mss=True)
    desk.teach("remote1", OTHER)
    desk.teach("access0", HOST)
    cases = 0
    for inner, headers in (("ipv4", 40), ("ipv6", 60)):
        fits = UNDERLAY_MTU - OVERHEAD[desk.family] - headers
        for flags, announced, expected in (("S", 8960, fits), ("SA", 8960, fits), ("S", 1460, 1460), ("A", 8960, 8960)):
            for place in ("access0", "remote1"):
                there, here = (OTHER, HOST) if place == "access0" else (HOST, OTHER)
                network = IP(src="192.0.2.1", dst="192.0.2.2") if inner == "ipv4" else IPv6(src="2001:db8::1",
                                                                                          dst="2001:db8::2")
                sent = Ether(dst=there, src=here) / network / TCP(flags=flags, options=[("NOP", None), ("MSS", announced)])
                seen = desk.send_from(place, bytes(sent))
                got = [packet.inner for packet in seen.tunnelled()] if place == "access0" else seen.frames["access0"]
                expect(len(got) == 1, f"a TCP segment from {place} does not pass")
                tcp = Ether(got[0])[TCP]
                size = dict(tcp.options)["MSS"]
                expect(size == expected, f"{announced} announced in {flags} ({inner}) from {place} leaves as {size}")
                total, again = tcp.chksum, Ether(got[0])
                del again[TCP].chksum
                expect(Ether(bytes(again))[TCP].chksum == total, "the TCP checksum is wrong")
                cases += 1
    return cases
