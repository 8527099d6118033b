"""Floods and moves: every frame exactly once at every place it belongs, nowhere else (RFC 7348, 4; RFC 8365)."""

import contextlib

import pytest

from frames import BROADCAST, Capture, marked_frame, send, vlan_of
from overlay import Overlay
from testbed import settle, wait_until

SETTLE_SECONDS = 0.4
UNKNOWN = "02:99:00:00:00:01"
MULTICAST = "01:00:5e:01:02:03"
IPV6_MULTICAST = "33:33:00:01:02:03"


@pytest.fixture(scope="module", params=["ipv4", "ipv6"])
def overlay(request):
    made = Overlay(request.param)
    try:
        made.full_mesh()
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def captures(overlay):
    """Captures at all four places of the overlay and on the underlay next to the gateway."""
    places = {f"h{number}": (overlay.host_namespaces[number], overlay.access[number]) for number in (0, 1)}
    places |= {f"r{number}": (overlay.remotes[number].namespace, f"vx{overlay.vni}") for number in (0, 1)}
    places["uplink"] = (overlay.fabric, "up0")
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Capture(*place)) for name, place in places.items()}


def send_from(overlay, place, frame):
    """Sends an untagged frame from the overlay's place: tagged on an access port."""
    number = int(place[1])
    if place[0] == "h":
        tag = b"\x81\x00" + overlay.vlan.to_bytes(2, "big")
        send(overlay.host_namespaces[number], overlay.access[number], frame[:12] + tag + frame[12:])
    else:
        send(overlay.remotes[number].namespace, f"vx{overlay.vni}", frame)


def delivered(overlay, place, source, destination, size=100):
    """Sends one frame and returns how often each place saw it."""
    frame, marker = marked_frame(source, destination, size=size)
    with captures(overlay) as seen:
        send_from(overlay, place, frame)
        settle(SETTLE_SECONDS)
        counts = {name: len(capture.with_marker(marker)) for name, capture in seen.items()}
        for name in ("h0", "h1"):
            for copy in seen[name].with_marker(marker):
                assert vlan_of(copy.frame) == overlay.vlan, f"{name} received it on another VLAN"
                assert copy.frame[16:] == frame[12:], f"{name} received another frame"
        for name in ("r0", "r1"):
            for copy in seen[name].with_marker(marker):
                assert copy.frame == frame, f"{name} received another frame"
    return counts


@pytest.mark.parametrize("destination", [BROADCAST, MULTICAST, IPV6_MULTICAST, UNKNOWN])
@pytest.mark.parametrize("source", ["h0", "h1"])
def test_v10_a_flood_from_an_access_port_reaches_the_others_once(overlay, source, destination):
    counts = delivered(overlay, source, f"02:11:00:00:00:0{source[1]}", destination)
    other = "h1" if source == "h0" else "h0"
    assert counts == {source: 0, other: 1, "r0": 1, "r1": 1, "uplink": 2}


@pytest.mark.parametrize("destination", [BROADCAST, MULTICAST, IPV6_MULTICAST, UNKNOWN])
@pytest.mark.parametrize("source", ["r0", "r1"])
def test_v10_a_flood_from_a_tunnel_is_never_sent_into_a_tunnel(overlay, source, destination):
    counts = delivered(overlay, source, f"02:12:00:00:00:0{source[1]}", destination)
    other = "r1" if source == "r0" else "r0"
    assert counts == {"h0": 1, "h1": 1, source: 0, other: 1, "uplink": 0}


@pytest.mark.parametrize("size", [60, 1514, 9014])
def test_a_flood_of_any_size_is_the_same_at_every_place(overlay, size):
    assert delivered(overlay, "h0", "02:11:00:00:00:00", BROADCAST, size) == {
        "h0": 0, "h1": 1, "r0": 1, "r1": 1, "uplink": 2}


def test_a_frame_to_where_it_came_from_is_dropped(overlay):
    teach(overlay, "h0", "02:13:00:00:00:01")
    before = overlay.gateway.dropped("same_port")
    assert delivered(overlay, "h0", "02:13:00:00:00:02", "02:13:00:00:00:01") == nowhere()
    assert overlay.gateway.dropped("same_port") == before + 1


def test_a_mac_moves_from_access_to_tunnel_and_back(overlay):
    mover, sender = "02:14:00:00:00:01", "02:14:00:00:00:02"
    teach(overlay, "h1", sender)
    for place in ("h0", "r0", "h0", "r1", "r0", "h0"):
        teach(overlay, place, mover)
        expected = nowhere() | {place: 1} | ({"uplink": 1} if place[0] == "r" else {})
        assert delivered(overlay, "h1", sender, mover) == expected


def test_a_mac_moves_between_access_ports(overlay):
    mover, sender = "02:15:00:00:00:01", "02:15:00:00:00:02"
    for place in ("h0", "h1", "h0"):
        teach(overlay, place, mover)
        counts = delivered(overlay, "r0", sender, mover)
        assert (counts["h0"], counts["h1"]) == ((1, 0) if place == "h0" else (0, 1))


def nowhere():
    """No copy at any place."""
    return {"h0": 0, "h1": 0, "r0": 0, "r1": 0, "uplink": 0}


def teach(overlay, place, mac):
    """Sends from the place until the gateway's FDB has the MAC there."""
    location = f"trunk{place[1]}" if place[0] == "h" else overlay.remotes[int(place[1])].address

    def learned():
        send_from(overlay, place, marked_frame(mac, BROADCAST)[0])
        return any(mac in row.lower() and location in row
                   for row in overlay.gateway.vtepctl("show", "fdb").stdout.splitlines())

    wait_until(learned, 5, f"{mac} to be learned at {location}", every=0.1)
