"""The rows of VXLAN itself (RFC 7348)."""

import socket
import struct

from frames import Capture
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, Ether
from testbed import looks

from .desk import PATIENCE, WIRES, NotTried, expect, expected_flood, lengths
from .packets import BROADCAST, ETHERNET, VNI, frame, group_mac, ip_frame, marker
from .table import row

HOST, OTHER = "02:10:00:00:00:01", "02:10:00:00:00:02"
UNKNOWN = "02:10:ff:00:00:01"
BUM = {"broadcast": BROADCAST, "IPv4 multicast": "01:00:5e:01:02:03", "IPv6 multicast": "33:33:00:01:02:03",
       "unknown unicast": UNKNOWN}
TAGS = {"0x8100": [(0x8100, 5)], "0x88a8": [(0x88A8, 5)], "a priority tag": [(0x8100, 0xE000)],
        "two tags": [(0x88A8, 5), (0x8100, 6)]}

v1 = row("V1", "A packet whose I flag is zero is dropped, under a reason of its own", "RFC 7348, 5")
v2 = row("V2", "Reserved flags and fields are sent as zero, and ignored when received", "RFC 7348, 5")
v3 = row("V3", "The UDP port is 4789, or another that is configured", "RFC 7348, 5; RFC 6335")
v4 = row("V4", "The source port is a hash of the inner frame, in 49152-65535: one for a flow, many for many", "RFC 7348, 5")
v5 = row("V5", "Over IPv4 the UDP checksum is sent as zero; one that is received is verified", "RFC 7348, 5", ("ipv4",))
v6 = row("V6", "VXLAN packets are never fragmented, and fragments of them not taken", "RFC 7348, 4.3", ("ipv4",))
v7 = row("V7", "An inner VLAN tag is refused unless the bridge carries tags; the access tag is taken off", "RFC 7348, 6.1")
q1 = row("Q1", "A bridge has another VLAN on each port, or two tags on one of them", "IEEE 802.1Q, 6.9; IEEE 802.1ad")
v8 = row("V8", "The VNI is checked, and a station is learned at the outer source address", "RFC 7348, 4.1")
v9 = row("V9", "Broadcast, multicast and unknown unicast go to every remote VTEP of the VNI, or to its group, which is joined",
         "RFC 7348, 4.2; RFC 3376, 4.2; RFC 3810, 5.2")
v10 = row("V10", "What came from a tunnel goes into no tunnel, and nothing back where it came from", "RFC 7348, 4; RFC 8365, 6")
v11 = row("V11", "Short frames are padded on access ports, and what is behind the datagram is cut off", "IEEE 802.3, 4A.2.3.2.4")
v12 = row("V12", "Lengths that disagree, and packets cut short, are refused and harm nothing", "RFC 768; RFC 791; RFC 8200")
v13 = row("V13", "A wrong outer IPv4 header checksum is refused", "RFC 791, 3.1", ("ipv4",))


@v1
def packets_without_the_i_flag(desk):
    mark = marker()
    packets = [desk.outer(frame(BROADCAST, HOST, mark), vxlan=bytes([flags, 0, 0, 0, 0, 0, VNI, 0])).build()
               for flags in (0x00, 0xF7)]
    return desk.refuse("uplink", packets, ["vxlan_flags"], "a packet with the I flag zero is bridged")


@v2
def each_reserved_bit_that_is_set(desk):
    usual = bytes([0x08, 0, 0, 0, 0, 0, VNI, 0])
    flips = [(0, 1 << bit) for bit in range(8) if bit != 3]
    flips += [(at, 1 << bit) for at in (1, 2, 3, 7) for bit in range(8)]
    for at, bit in flips:
        header = bytearray(usual)
        header[at] |= bit
        mark = marker()
        seen = desk.exchange("uplink", desk.outer(frame(BROADCAST, HOST, mark), vxlan=bytes(header)).build())
        expect(seen.places(mark) == expected_flood("remote1"), f"byte {at} with {bit:#04x} set is not bridged")
    return len(flips)


@v2
def the_header_that_is_sent(desk):
    mark = marker()
    for packet in desk.send_from("access0", frame(BROADCAST, HOST, mark)).tunnelled(mark):
        expect(packet.vxlan == bytes([0x08, 0, 0, 0, 0, 0, VNI, 0]), f"the header sent is {packet.vxlan.hex()}")
    return 1


@v3
def the_configured_port(desk):
    for port in (4789, 8472):
        if port != desk.device.port:
            desk.configure(port=port)
        mark = marker()
        seen = desk.send_from("access0", frame(BROADCAST, HOST, mark))
        ports = {struct.unpack_from("!H", packet.datagram, 2)[0] for packet in seen.tunnelled(mark)}
        expect(ports == {port}, f"sent to the ports {ports} where {port} is configured")
        expect(desk.send_from("remote1", frame(BROADCAST, OTHER, mark)).places(mark) == expected_flood("remote1"),
               f"packets to port {port} are not taken")
        elsewhere = desk.outer(frame(BROADCAST, OTHER, mark), port=port + 1).build()
        expect(not desk.exchange("uplink", elsewhere).places(mark), f"packets to port {port + 1} are taken")
    return 6


def source_port(desk, sent):
    """The outer source port of the copy to the first remote VTEP."""
    packets = [packet for packet in desk.send_from("access0", sent).tunnelled() if packet.inner[:12] == sent[:12]]
    expect(packets, "a frame to an unknown station is not flooded to the remote VTEPs")
    return packets[0].source_port


def spread(desk, what, flows):
    """Each flow has one port, twice asked; of many flows few share one."""
    ports = []
    for flow in flows:
        first, second = source_port(desk, flow), source_port(desk, flow)
        expect(first == second, f"a flow of {what} has two source ports")
        ports.append(first)
    outside = [port for port in ports if not 49152 <= port <= 65535]
    expect(not outside, f"{what}: a source port is outside 49152-65535")
    expect(len(set(ports)) >= len(flows) * 3 // 4, f"{what}: the source ports of the flows hardly differ")
    return 2 * len(flows)


@v4
def flows_by_ports_addresses_and_stations(desk):
    count = 32
    cases = spread(desk, "UDP over IPv4", [ip_frame(UNKNOWN, HOST, sport=1000 + n) for n in range(count)])
    cases += spread(desk, "UDP over IPv6", [ip_frame(UNKNOWN, HOST, "ipv6", sport=1000 + n) for n in range(count)])
    pairs = [bytes(Ether(dst=UNKNOWN, src=HOST) / IP(src="192.0.2.1", dst=f"192.0.2.{n}", proto=89) / (b"x" * 40))
             for n in range(2, 2 + count)]
    cases += spread(desk, "pairs of IP addresses", pairs)
    stations = [frame(UNKNOWN, f"02:10:00:00:01:{n:02x}") for n in range(count)]
    return cases + spread(desk, "pairs of stations", stations)


@v4
def flows_behind_extension_headers(desk):
    flows = [bytes(Ether(dst=UNKNOWN, src=HOST) / IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrDestOpt()
                   / UDP(sport=1000 + n, dport=7) / b"x") for n in range(32)]
    return spread(desk, "UDP behind an extension header", flows)


@v4
def fragments_of_one_datagram_share_a_port(desk):
    whole = IP(src="192.0.2.1", dst="192.0.2.2", id=77) / UDP(sport=1, dport=2) / (b"x" * 3000)
    pieces = fragment(whole, fragsize=1200)
    ports = {source_port(desk, bytes(Ether(dst=UNKNOWN, src=HOST) / piece)) for piece in pieces}
    expect(len(ports) == 1, "the fragments of a datagram have several source ports")
    return len(pieces)


@v5
def checksums_over_ipv4(desk):
    mark = marker()
    for packet in desk.send_from("access0", frame(BROADCAST, HOST, mark)).tunnelled(mark):
        expect(packet.udp_sum == 0, "a UDP checksum is sent")
    for kind in ("zero", "right"):
        seen = desk.send_from("remote1", frame(BROADCAST, OTHER, mark), udp_sum=kind)
        expect(seen.places(mark) == expected_flood("remote1"), f"a checksum that is {kind} is refused")
    wrong = desk.outer(frame(BROADCAST, OTHER, mark), udp_sum="wrong").build()
    return 3 + desk.refuse("uplink", [wrong], ["outer_udp_checksum"], "a wrong UDP checksum is taken")


@v6
def the_outer_header_forbids_fragments(desk):
    mark = marker()
    for size in (60, 1514, 8000):
        packets = desk.send_from("access0", frame(BROADCAST, HOST, mark, size=size)).tunnelled(mark)
        expect(packets and not any(packet.fragment for packet in packets), f"a frame of {size} bytes leaves in pieces")
        expect(all(packet.dont_fragment for packet in packets), "DF is not set: a router may fragment")
    return 3


@v6
def a_frame_that_does_not_fit_is_not_sent_in_pieces(desk):
    mark = marker()
    # Full of the mark: any piece of it is recognised.
    seen = desk.send_from("access0", frame(BROADCAST, HOST, mark * 750))
    expect(not seen.at("uplink", mark), "something is sent of a frame that does not fit")
    return 1


@v6
def fragments_are_not_taken(desk):
    outer = desk.outer(frame(BROADCAST, OTHER, marker(), size=400))
    datagram = outer.datagram()
    outer.fragment = (True, 0)
    first = outer.build(datagram[:200])
    outer.fragment = (False, 25)
    return desk.refuse("uplink", [first, outer.build(datagram[200:])], ["outer_fragment"],
                       "fragments of a VXLAN packet are put together and bridged")


@v7
def inner_tags(desk):
    for what, tags in TAGS.items():
        packet = desk.outer(frame(BROADCAST, OTHER, marker(), tags=tags)).build()
        desk.refuse("uplink", [packet], ["inner_tagged"], f"an inner tag is bridged although nobody asked for it: {what}")
    desk.configure(tags=True)
    for what, tags in TAGS.items():
        for place in ("access0", "remote1"):
            mark = marker()
            sent = frame(BROADCAST, OTHER, mark, tags=tags)
            # A port takes a priority tag for none (IEEE 802.1Q, 6.9).
            if what == "a priority tag" and place == "access0":
                continue
            seen = desk.send_from(place, sent)
            expect(seen.places(mark) == expected_flood(place), f"a bridge that carries tags does not carry {what}")
            got = [packet.inner for packet in seen.tunnelled(mark)] + seen.at("access1", mark)
            expect(all(inner == sent for inner in got), f"a tag that is carried is changed: {what}")
    return 3 * len(TAGS) - 1


@v7
def the_access_tag(desk):
    if not desk.device.has_vlans():
        return 0
    desk.configure(vlan=200)
    mark = marker()
    seen = desk.exchange("access0", frame(BROADCAST, HOST, mark, tags=[(0x8100, 200)]))
    plain = frame(BROADCAST, HOST, mark)
    expect([(packet.vni, packet.inner) for packet in seen.tunnelled(mark)] == [(200, plain)] * 2,
           "the access tag is not taken off in front of the tunnel")
    seen = desk.send_from("remote1", plain, vni=200)
    for wire in ("access0", "access1"):
        expect(seen.at(wire, mark) == [frame(BROADCAST, HOST, mark, tags=[(0x8100, 200)], size=64)],
               "the access tag is not put on behind the tunnel")
    return 2


@q1
def tags_of_each_port(desk):
    # The bridge's members, and the tags that its frames have on each of the two ports.
    forms = {
        "translation": ([{"port": "access0", "vlan": 300}, {"port": "access1", "vlan": 400}],
                        [(0x8100, 300)], [(0x8100, 400)]),
        "two tags": ([{"port": "access0", "vlan": 500, "inner_vlan": 7}, {"port": "access1", "vlan": 400}],
                     [(0x8100, 500), (0x8100, 7)], [(0x8100, 400)]),
        "a VLAN on one port alone": ([{"port": "access0", "vlan": 300}], [(0x8100, 300)], None),
    }
    cases = 0
    for what, (members, *tags) in forms.items():
        desk.configure(vlan=200, members=members)
        for wire, own, other, others in (("access0", tags[0], "access1", tags[1]), ("access1", tags[1], "access0", tags[0])):
            if own is None:
                continue
            mark = marker()
            seen = desk.exchange(wire, frame(BROADCAST, HOST, mark, tags=own))
            plain = frame(BROADCAST, HOST, mark)[:ETHERNET + len(mark)]
            inner = [packet.inner[:len(plain)] for packet in seen.tunnelled(mark) if packet.vni == 200]
            expect(inner == [plain] * 2, f"{what}: the frames of {wire} have not their tags taken off in front of the tunnel")
            expected = [] if others is None else [frame(BROADCAST, HOST, mark, tags=others)[:len(plain) + 4 * len(others)]]
            got = [packet[:len(expected[0])] if expected else packet for packet in seen.at(other, mark)]
            expect(got == expected, f"{what}: the frames of {wire} have other tags on {other}")
            cases += 2
    return cases


@v8
def unknown_vnis(desk):
    packets = [desk.outer(frame(BROADCAST, OTHER, marker()), vni=vni).build() for vni in (0, 99, 101, VNI << 8, 0xFFFFFF)]
    return desk.refuse("uplink", packets, ["unknown_vni"], "a packet of an unknown VNI is bridged")


@v8
def stations_are_learned_at_the_outer_source(desk):
    for remote in (1, 2, 1):
        desk.teach(f"remote{remote}", OTHER)
    return 3


@v9
def floods_reach_every_remote_vtep(desk):
    for what, destination in BUM.items():
        mark = marker()
        seen = desk.send_from("access0", frame(destination, HOST, mark))
        remotes = sorted(packet.remote for packet in seen.tunnelled(mark))
        expect(remotes == [1, 2], f"{what} reaches the remote VTEPs {remotes}")
        expect({packet.vni for packet in seen.tunnelled(mark)} == {VNI}, f"{what} has another VNI")
    return len(BUM)


@v9
def floods_by_a_group_of_the_underlay(desk):
    group = "239.1.1.1" if desk.family == "ipv4" else "ff05::1:1"
    # One copy for all.
    desk.remotes = (1,)
    try:
        desk.configure(group=group, keys={"source_check": False})
        for what, destination in BUM.items():
            mark = marker()
            seen = desk.send_from("access0", frame(destination, HOST, mark))
            expect(seen.places(mark) == {"access1": 1, group: 1}, f"{what} comes out at {seen.places(mark)}")
            sent = [packet for packet in seen.frames["uplink"] if mark in packet]
            expect([packet[:6] for packet in sent] == [group_mac(group)], f"{what} has another MAC address than the group")
        mark = marker()
        packet = desk.outer(frame(BROADCAST, OTHER, mark), group=group).build()
        seen = desk.exchange("uplink", packet)
        expect(seen.places(mark) == expected_flood("remote1"), "what is sent to the group is not taken")
    finally:
        desk.remotes = (1, 2)
    return len(BUM) + 1


# Records of a report that ask for all that is sent to a group (RFC 3376, 4.2.12; RFC 3810, 5.2.12).
IS_EXCLUDE, TO_EXCLUDE = 2, 4


def joined(packet):
    """The groups that an IGMPv3 or MLDv2 report asks for; none of any other packet."""
    read = Ether(packet)
    if IP in read and read[IP].proto == 2 and read[IP].dst == "224.0.0.22":
        body, kind, family, length = bytes(read[IP].payload), 0x22, socket.AF_INET, 4
    elif IPv6 in read and read[IPv6].nh == 0 and read[IPv6].dst == "ff02::16":
        # Behind the router alert option (RFC 3810, 5).
        body, kind, family, length = bytes(read[IPv6].payload)[8:], 143, socket.AF_INET6, 16
    else:
        return set()
    groups, at = set(), 8
    if body[0] == kind:
        for _ in range(struct.unpack_from("!H", body, 6)[0]):
            what, more, sources = struct.unpack_from("!BBH", body, at)
            if what in (IS_EXCLUDE, TO_EXCLUDE) and sources == 0:
                groups.add(socket.inet_ntop(family, body[at + 4:at + 4 + length]))
            at += 4 + length * (1 + sources) + 4 * more
    return groups


@v9
def the_group_is_joined_by_a_report_of_its_own(desk):
    group = "239.1.1.7" if desk.family == "ipv4" else "ff05::1:7"
    desk.remotes = (1,)
    try:
        with Capture(desk.namespace, WIRES["uplink"]) as capture:
            desk.configure(group=group, keys={"source_check": False})
            for is_last in looks(2 * PATIENCE, 0.1):
                if reports := [groups for groups in map(joined, capture.frames()) if groups]:
                    break
                expect(not is_last, "no IGMPv3 or MLDv2 report says that the group is wanted")
        expect(any(group in groups for groups in reports), f"groups are joined, and not {group}: {reports}")
    finally:
        desk.remotes = (1, 2)
    return 1


@v10
def floods_from_every_place(desk):
    for place in ("access0", "access1", "remote1", "remote2"):
        for what, destination in BUM.items():
            mark = marker()
            places = desk.send_from(place, frame(destination, HOST, mark)).places(mark)
            expect(places == expected_flood(place), f"{what} from {place} comes out at {places}")
    return 4 * len(BUM)


@v10
def known_stations(desk):
    for place in ("access0", "remote1"):
        desk.teach(place, OTHER)
        back = marker()
        seen = desk.send_from(place, frame(OTHER, HOST, back))
        expect(not seen.places(back), f"a frame goes back to {place}, where it came from")
    # Now the station is at the first remote VTEP: a frame for it from the second is from tunnel to tunnel.
    mark = marker()
    seen = desk.send_from("remote2", frame(OTHER, HOST, mark))
    expect(not seen.tunnelled(mark), "a frame goes from tunnel to tunnel")
    return 3


@v11
def short_frames(desk):
    if not desk.device.pads():
        raise NotTried("Linux leaves padding to the NIC, and there is none here")
    for size in (14, 15, 42, 59):
        sent = frame(BROADCAST, OTHER, marker()[:max(0, size - ETHERNET)], size=size)
        seen = desk.send_from("remote1", sent)
        got = [packet for packet in seen.frames["access0"] if packet.startswith(sent)]
        expect(len(got) == 1 and len(got[0]) >= 60, f"a frame of {size} bytes comes out with {[len(g) for g in got]}")
        expect(not got[0][size:].strip(b"\0"), "the padding is not zero")
    return 4


@v11
def an_arp_request_and_what_is_behind_the_datagram(desk):
    request = bytes(Ether(dst=BROADCAST, src=OTHER) / ARP(hwsrc=OTHER, psrc="192.0.2.9", pdst="192.0.2.8"))
    seen = desk.exchange("uplink", desk.outer(request).build() + b"\xee" * 24)
    got = [packet for packet in seen.frames["access0"] if packet.startswith(request)]
    expect(len(got) == 1, "an ARP request of 42 bytes is not bridged")
    expect(b"\xee" not in got[0][len(request):], "bytes behind the datagram come out of an access port")
    return 1


@v12
def packets_cut_short(desk):
    whole = desk.outer(frame(BROADCAST, OTHER, marker())).build()
    cut = lengths(whole, ETHERNET)
    reasons = ["truncated", "outer_ip_malformed", "outer_udp_length", "inner_truncated", "outer_extension_header"]
    return desk.refuse("uplink", cut, reasons, "a packet that is cut short is bridged")


@v12
def lengths_that_disagree(desk):
    inner = frame(BROADCAST, OTHER, marker())
    wrong = [desk.outer(inner, udp_length=length).build() for length in (0, 7, 8, 15, 200, 0xFFFF)]
    wrong += [desk.outer(inner, ip_length=length).build() for length in (0, 19, 28, 500, 0xFFFF)]
    wrong += [desk.outer(inner[:length]).build() for length in range(14)]
    if desk.family == "ipv4":
        wrong += [desk.outer(inner, header_words=words).build() for words in range(5)]
    reasons = ["truncated", "outer_ip_malformed", "outer_udp_length", "inner_truncated", "outer_udp_checksum",
               "outer_extension_header"]
    return desk.refuse("uplink", wrong, reasons, "a packet with a wrong length is bridged")


@v12
def ip_options(desk):
    if desk.family != "ipv4":
        return 0
    mark = marker()
    for options in (b"\x01" * 4, b"\x94\x04\x00\x00", b"\x07\x27\x04" + b"\0" * 37):
        seen = desk.send_from("remote1", frame(BROADCAST, OTHER, mark), options=options)
        expect(seen.places(mark) in ({}, expected_flood("remote1")), "IP options are misread")
    return 3


@v13
def header_checksums(desk):
    packet = desk.outer(frame(BROADCAST, OTHER, marker()), ip_sum="wrong").build()
    return desk.refuse("uplink", [packet], ["outer_ip_checksum"], "a wrong IPv4 header checksum is taken")
