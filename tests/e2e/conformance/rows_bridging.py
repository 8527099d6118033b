"""The rows of bridging (IEEE 802.1Q)."""

import time

from scapy.layers.inet6 import ICMPv6ND_NA
from scapy.layers.l2 import ARP, Ether
from testbed import looks

from .desk import ACCESS, PATIENCE, SENTINELS, expect, expected_flood
from .packets import BROADCAST, announcements, arp_question, frame, marker, solicitation
from .table import row

HOST, OTHER, PINNED = "02:30:00:00:00:01", "02:30:00:00:00:02", "02:30:00:00:00:03"
UNKNOWN = "02:30:ff:00:00:01"
LLDP, SLOW = 0x88CC, 0x8809

b1 = row("B1", "Stations are learned, refreshed, aged and moved at once; static entries are never overwritten",
         "IEEE 802.1Q, 8.7, 8.8")
b2 = row("B2", "Beyond a limit of stations frames still pass, and nobody is forgotten for a newcomer", "-")
b3 = row("B3", "A station that moves too often is frozen where it is, and follows again after a while", "RFC 7432, 15.1")
b4 = row("B4", "Frames from a group or from the zero address are dropped, and these never learned", "IEEE 802.1Q, 8.7")
b5 = row("B5", "Frames to reserved link-local groups are not bridged unless it is configured", "IEEE 802.1Q, 8.6.3")
b6 = row("B6", "Questions of ARP and ND for a known station are answered in its place, once; all others are flooded",
         "RFC 9161, 3")
b7 = row("B7", "Broadcasts, multicasts and unknown unicast are limited, each by itself", "-")
b8 = row("B8", "A flood reaches each member once", "RFC 7348, 4.2")


def goes_to(desk, mac, asker="access1"):
    """Where a frame for a station comes out."""
    mark = marker()
    return desk.exchange(asker, frame(mac, SENTINELS[asker], mark)).places(mark)


@b1
def a_station_is_learned_and_moves_at_once(desk):
    for place in ("access0", "remote1", "remote2", "access0"):
        desk.teach(place, HOST)
    # One frame from the new place is enough.
    desk.send_from("remote1", frame(BROADCAST, HOST))
    for is_last in looks(PATIENCE, 0):
        if goes_to(desk, HOST) == {"remote1": 1}:
            break
        expect(not is_last, "a move is not learned from one frame")
    return 5


@b1
def a_station_that_is_silent_is_forgotten_and_one_that_talks_is_not(desk):
    desk.configure(ageing=1)
    desk.teach("access0", HOST)
    desk.teach("access0", OTHER)
    heard, asked = float("-inf"), 0
    for _ in looks(2.5, 0.1):
        is_known = goes_to(desk, OTHER) == {"access0": 1}
        # Where the machine has stood still since it was heard, it may have been forgotten.
        if time.monotonic() - heard < 0.8:
            expect(is_known, "a station that talks is forgotten")
            asked += 1
        heard = time.monotonic()
        desk.send_from("access0", frame(BROADCAST, OTHER))
    expect(asked > 5, "this machine stands still too often to tell")
    expect(goes_to(desk, HOST) == expected_flood("access1"), "a station that has been silent is not forgotten")
    return 2


@b1
def a_static_entry_stays(desk):
    desk.configure(statics=[(PINNED, "access0"), (OTHER, "remote2")])
    for mac, place, elsewhere in ((PINNED, "access0", "remote1"), (OTHER, "remote2", "access0")):
        for _ in range(3):
            desk.send_from(elsewhere, frame(BROADCAST, mac))
            time.sleep(0.02)
        expect(goes_to(desk, mac) == {place: 1}, f"a static entry is overwritten by a frame from {elsewhere}")
    return 2


@b2
def stations_beyond_the_limit(desk):
    limit = 8
    desk.configure(max_macs=limit)
    macs = [f"02:31:00:00:00:{number:02x}" for number in range(32)]
    for mac in macs:
        mark = marker()
        seen = desk.send_from("access0", frame(BROADCAST, mac, mark))
        expect(seen.places(mark) == expected_flood("access0"), "a frame from a station beyond the limit does not pass")
        time.sleep(0.01)
    for is_last in looks(PATIENCE):
        known = [mac for mac in macs if goes_to(desk, mac) == {"access0": 1}]
        flooded = [mac for mac in macs if goes_to(desk, mac) == expected_flood("access1")]
        expect(len(known) <= limit, f"{len(known)} stations are known where {limit} may be")
        # One that is learned between the two questions is in neither.
        if known and known + flooded == macs:
            return len(macs)
        expect(not is_last, f"a frame to a station beyond the limit is not flooded, or one is forgotten for a newcomer: "
                            f"{len(known)} are known, to {len(flooded)} is flooded")
    return 0


@b3
def a_station_that_moves_too_often(desk):
    moves, frozen_for = 4, 5
    desk.device.damp(desk, moves, frozen_for)
    mover = "02:30:00:00:00:04"
    desk.teach("access0", mover)
    for number in range(moves):
        desk.teach("remote1" if number % 2 == 0 else "access0", mover)
    here, elsewhere = ("access0", "remote1") if moves % 2 == 0 else ("remote1", "access0")
    begin = time.monotonic()
    for _ in range(5):
        mark = marker()
        seen = desk.send_from(elsewhere, frame(BROADCAST, mover, mark))
        expect(seen.places(mark) == expected_flood(elsewhere), "frames from a frozen station do not pass")
        time.sleep(0.02)
        expect(goes_to(desk, mover) == {here: 1}, "a station that moves too often moves on")
    while time.monotonic() < begin + frozen_for + 5:
        desk.send_from(elsewhere, frame(BROADCAST, mover))
        if goes_to(desk, mover) == {elsewhere: 1}:
            return moves + 6
        time.sleep(0.1)
    expect(False, "a frozen station is never followed again")


@b4
def sources_that_no_station_can_have(desk):
    cases = 0
    for source in ("00:00:00:00:00:00", BROADCAST, "01:00:5e:00:00:01", "33:33:00:00:00:01"):
        for place in ("access0", "remote1"):
            sent = frame(BROADCAST, source, marker())
            wire, packet = (place, sent) if place in ACCESS else ("uplink", desk.outer(sent).build())
            cases += desk.refuse(wire, [packet], ["invalid_source_mac"], f"a frame from {source} is bridged")
    return cases


@b5
def reserved_groups_are_dropped(desk):
    cases = 0
    for last in range(16):
        sent = frame(f"01:80:c2:00:00:{last:02x}", HOST, marker(), LLDP if last == 0x0E else SLOW)
        for wire, packet in (("access0", sent), ("uplink", desk.outer(sent).build())):
            cases += desk.refuse(wire, [packet], ["link_local"], f"a frame to 01:80:c2:00:00:{last:02x} is bridged")
    mark = marker()
    seen = desk.send_from("access0", frame("01:80:c2:00:00:10", HOST, mark))
    expect(seen.places(mark) == expected_flood("access0"), "a frame to 01:80:c2:00:00:10, which is not reserved, is dropped")
    return cases + 1


@b5
def reserved_groups_are_tunnelled_where_it_is_configured(desk):
    desk.configure(link_local=True)
    for last in (0x00, 0x02, 0x03, 0x0E):
        for place in ("access0", "remote1"):
            mark = marker()
            seen = desk.send_from(place, frame(f"01:80:c2:00:00:{last:02x}", HOST, mark, LLDP if last == 0x0E else SLOW))
            expect(seen.places(mark) == expected_flood(place), f"a frame to 01:80:c2:00:00:{last:02x} is not tunnelled")
    pause = frame("01:80:c2:00:00:01", HOST, marker(), 0x8808)
    return 8 + desk.refuse("access0", [pause], ["link_local"], "PAUSE is tunnelled")


# A station that is known, one that asks, and an address that nobody has.
STATION, ASKER = "02:32:00:00:00:01", "02:32:00:00:00:02"
STATION_IPS, ASKER_IPS = ("192.0.2.10", "2001:db8::10"), ("192.0.2.11", "2001:db8::11")
NOBODY = ("192.0.2.99", "2001:db8::99")


def answered(seen):
    """Who is told where: the MAC addresses in the answers that the asker's wire got."""
    packets = [Ether(packet) for packet in seen.frames["access1"]]
    arp = [packet[ARP].hwsrc for packet in packets if ARP in packet and packet[ARP].op == 2]
    return arp + [packet[ICMPv6ND_NA].lladdr for packet in packets if ICMPv6ND_NA in packet]


@b6
def questions(desk):
    place = desk.device.suppress(desk)
    for announcement in announcements(STATION, STATION_IPS):
        desk.send_from(place, announcement)
    desk.teach(place, STATION)
    desk.device.bind(desk, STATION, STATION_IPS)
    questions = {"a request": arp_question(ASKER, ASKER_IPS[0], STATION_IPS[0]),
                 "a probe": arp_question(ASKER, "0.0.0.0", STATION_IPS[0]),
                 "a solicitation": solicitation(ASKER, ASKER_IPS[1], STATION_IPS[1]),
                 "duplicate address detection": solicitation(ASKER, "::", STATION_IPS[1])}
    for what, question in questions.items():
        for is_last in looks(PATIENCE, 0):
            seen = desk.exchange("access1", question)
            if answered(seen) == [STATION]:
                break
            expect(not is_last, f"{what} for a known station has the answers {answered(seen)}")
        expect(not seen.tunnelled(), f"{what} that is answered is flooded into the tunnel, too")
    flooded = {"access0": 1, "remote1": 1, "remote2": 1}
    for what, question in (("a request", arp_question(ASKER, ASKER_IPS[0], NOBODY[0])),
                           ("a solicitation", solicitation(ASKER, ASKER_IPS[1], NOBODY[1]))):
        seen = desk.exchange("access1", question)
        expect(seen.places(question[14:40]) == flooded and not answered(seen), f"{what} for nobody is not flooded")
    unicast = arp_question(ASKER, ASKER_IPS[0], STATION_IPS[0], STATION)
    seen = desk.exchange("access1", unicast)
    expect(seen.places(unicast[:40]) == {place: 1} and not answered(seen), "a unicast request does not reach its station")
    return 7


@b7
def storms(desk):
    limit, sent = 100, 400
    kinds = {"broadcast": BROADCAST, "multicast": "01:00:5e:01:02:03", "unknown_unicast": UNKNOWN}
    for limited, destination in kinds.items():
        desk.device.limit(desk, limited, limit)
        # By another kind of frame, which must not be limited.
        desk.sentinel_group = kinds["multicast"] if limited == "broadcast" else BROADCAST
        for kind, other in kinds.items():
            mark = marker()
            began = time.monotonic()
            seen = desk.exchange("access0", *[frame(other, HOST, mark)] * sent)
            passed = len(seen.at("access1", mark))
            # A tenth of a second's at once, and what comes in while they are sent; some more, for it is another clock.
            most = limit * (0.2 + 1.1 * (time.monotonic() - began))
            if kind == limited:
                expect(0 < passed < min(most, sent), f"{passed} of {sent} frames pass where {limited} is limited to {limit}")
            else:
                expect(passed == sent, f"{passed} of {sent} frames pass of {kind}, where {limited} is limited")
        desk.sentinel_group = BROADCAST
    return 9


@b8
def copies_of_a_flood(desk):
    for size in (60, 1514, 8900):
        for place in ("access0", "remote1"):
            mark = marker()
            sent = frame(BROADCAST, HOST if place == "access0" else OTHER, mark, size=size)
            seen = desk.send_from(place, sent)
            expect(seen.places(mark) == expected_flood(place), f"a flood from {place} reaches {seen.places(mark)}")
            got = [packet.inner for packet in seen.tunnelled(mark)] + seen.at("access1", mark)
            expect(all(inner == sent for inner in got), "the copies of a flood differ")
    return 6
