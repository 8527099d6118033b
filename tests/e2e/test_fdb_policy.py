"""Who may be where in the FDB, as an operator sees it: limits of ports, ageing of bridges, pinned stations, damped moves,
flushes, and the record of what became of whom."""

import contextlib
import json
import time

import pytest

from frames import BROADCAST, Capture, marked_frame, send
from overlay import Overlay
from pings import Pinging
from testbed import Stalls, settle, wait_until

PORT_LIMIT = 4
SETTLE_SECONDS = 0.4
SHORT_SECONDS = 2
MOVES = 5
FREEZE_SECONDS = 8
PINNED_HERE = "02:60:00:00:00:01"
PINNED_THERE = "02:60:00:00:00:02"


@pytest.fixture(scope="module")
def overlay():
    def configure(overlay):
        config, remotes = overlay.config, overlay.remote_addresses
        config.ports[2]["max_macs"] = PORT_LIMIT
        config.fdb = {"max_moves": MOVES, "freeze": FREEZE_SECONDS}
        config.bridge(100, 100, ["trunk0", "trunk1"], remotes)
        config.bridge(101, 101, ["trunk0", "trunk1"], remotes)
        config.bridge(102, 102, ["trunk0"], remotes, ageing=SHORT_SECONDS)
        config.bridge(103, 103, ["trunk0"], remotes)
        config.static(vni=100, mac=PINNED_HERE, port="trunk0", pinned=True)
        config.static(vni=100, mac=PINNED_THERE, remote=remotes[0], pinned=True)

    made = Overlay(remotes=2, configure=configure)
    try:
        # No remote VTEP floods to the other: what one sees of another has come through the gateway.
        for remote in made.remotes:
            remote.bridges([100, 101, 102, 103], [made.underlay.gateway])
        yield made
    finally:
        made.close()


def entries(overlay, vni):
    """The bridge's entries by MAC."""
    return {entry["mac"]: entry for entry in overlay.gateway.show("fdb")["items"] if entry["vni"] == vni}


def from_host(overlay, number, vlan, source, destination=BROADCAST):
    """Sends a marked frame from behind access port `number`; the marker."""
    frame, marker = marked_frame(source, destination, vlan)
    send(overlay.host_namespaces[number], overlay.access[number], frame)
    return marker


def from_remote(overlay, number, vni, source, destination=BROADCAST):
    """Sends a marked frame from behind remote VTEP `number`; the marker."""
    frame, marker = marked_frame(source, destination)
    send(overlay.remotes[number].namespace, f"vx{vni}", frame)
    return marker


def delivered(overlay, vni, sender):
    """Lets `sender` send a frame with a marker: the places that saw it, each once."""
    with contextlib.ExitStack() as stack:
        hosts = enumerate(zip(overlay.host_namespaces, overlay.access))
        seen = {f"h{number}": stack.enter_context(Capture(*place)) for number, place in hosts}
        for number, remote in enumerate(overlay.remotes):
            seen[f"r{number}"] = stack.enter_context(Capture(remote.namespace, f"vx{vni}"))
        marker = sender()
        settle(SETTLE_SECONDS)
        counts = {name: len(capture.with_marker(marker)) for name, capture in seen.items()}
    assert all(count <= 1 for count in counts.values()), counts
    return {name for name, count in counts.items() if count}


def test_b2_a_full_port_learns_no_more_and_frames_to_others_behind_it_flood(overlay):
    gateway = overlay.gateway
    stations = [(100 + number % 2, f"02:61:00:00:00:{number:02x}") for number in range(2 * PORT_LIMIT)]

    def refused():
        return gateway.total("vtepd_fdb_events_total", event="refused_by_port_limit")

    for vni, station in stations:
        from_host(overlay, 1, vni, station)
        wait_until(lambda: station in entries(overlay, vni) or refused() > 0, 5, "it to be learned or refused")
    wait_until(lambda: refused() >= PORT_LIMIT, 5, "refusals")
    known = {(vni, mac) for vni in (100, 101) for mac, entry in entries(overlay, vni).items()
             if entry.get("port") == "trunk1"}
    assert known == set(stations[:PORT_LIMIT])
    assert gateway.log().count("the port has all the addresses it may") == 1
    assert gateway.total("vtepd_port_learned_macs", port="trunk1") == PORT_LIMIT
    ports = {port["name"]: port for port in gateway.show("ports")}
    assert (ports["trunk1"]["learned_macs"], ports["trunk1"]["max_macs"]) == (PORT_LIMIT, PORT_LIMIT)
    vni, one_too_many = stations[-1]
    sender = "02:61:00:00:01:00"
    assert delivered(overlay, vni, lambda: from_remote(overlay, 0, vni, sender, one_too_many)) == {"h0", "h1"}
    vni, first = stations[0]
    assert delivered(overlay, vni, lambda: from_remote(overlay, 0, vni, sender, first)) == {"h1"}
    # What a refused station sends arrives all the same.
    vni, one_too_many = stations[-2]
    assert delivered(overlay, vni, lambda: from_host(overlay, 1, vni, one_too_many)) == {"h0", "r0", "r1"}


def test_b1_a_bridge_ages_by_its_own_time_and_the_others_by_the_default(overlay):
    with Stalls() as stalls:
        for vni in (101, 102):
            from_host(overlay, 0, vni, "02:62:00:00:00:01")
        wait_until(lambda: all("02:62:00:00:00:01" in entries(overlay, vni) for vni in (101, 102)), 5, "both learned")
        learned = time.monotonic()
        wait_until(lambda: "02:62:00:00:00:01" not in entries(overlay, 102), 3 * SHORT_SECONDS, "the short one to age")
        aged = time.monotonic() - learned
    assert SHORT_SECONDS - 0.5 - stalls.seconds <= aged <= SHORT_SECONDS + 1.5 + stalls.seconds
    assert "02:62:00:00:00:01" in entries(overlay, 101)


def test_b1_a_pinned_stations_address_is_dropped_from_anywhere_else(overlay):
    gateway = overlay.gateway
    before = gateway.dropped("pinned_elsewhere")
    assert delivered(overlay, 100, lambda: from_host(overlay, 1, 100, PINNED_HERE)) == set()
    assert delivered(overlay, 100, lambda: from_remote(overlay, 0, 100, PINNED_HERE)) == set()
    assert delivered(overlay, 100, lambda: from_host(overlay, 0, 100, PINNED_THERE)) == set()
    assert delivered(overlay, 100, lambda: from_remote(overlay, 1, 100, PINNED_THERE)) == set()
    assert gateway.dropped("pinned_elsewhere") == before + 4
    assert delivered(overlay, 100, lambda: from_host(overlay, 0, 100, PINNED_HERE)) == {"h1", "r0", "r1"}
    assert delivered(overlay, 100, lambda: from_remote(overlay, 0, 100, PINNED_THERE)) == {"h0", "h1"}
    assert gateway.dropped("pinned_elsewhere") == before + 4
    shown = gateway.vtepctl("show", "fdb", "--mac", PINNED_HERE).stdout
    assert "static, pinned" in shown and "trunk0 vlan 100" in shown, shown


def history(overlay, *arguments):
    """What became of stations, the newest first."""
    return json.loads(overlay.gateway.vtepctl("fdb", "history", "--json", *arguments).stdout)["items"]


def place_of(overlay, vni, station):
    """The port or the remote VTEP that the station is behind."""
    entry = entries(overlay, vni).get(station, {})
    return entry.get("port") or entry.get("remote")


def flap(overlay, station, moves):
    """Lets a station be heard behind trunk0 and behind a remote VTEP in turns; where it was heard last."""
    here, there = "trunk0", overlay.remote_addresses[0]
    for number in range(moves + 1):
        if number % 2 == 0:
            from_host(overlay, 0, 103, station)
        else:
            from_remote(overlay, 0, 103, station)
        where = there if number % 2 else here
        wait_until(lambda: place_of(overlay, 103, station) == where, 5, f"it to be at {where}")
    return where


def test_b3_a_station_that_moves_too_often_is_frozen_reported_and_recovers(overlay):
    gateway, station = overlay.gateway, "02:63:00:00:00:01"
    where = flap(overlay, station, MOVES)
    assert where == overlay.remote_addresses[0]
    assert gateway.total("vtepd_fdb_frozen_entries") == 1
    shown = gateway.vtepctl("show", "fdb", "--mac", station).stdout
    assert "learned, frozen" in shown, shown
    assert gateway.log().count("moved too often") == 1
    # What it sends from elsewhere arrives, and moves it no more.
    before = gateway.total("vtepd_events_total", event="frozen_conflict")
    assert delivered(overlay, 103, lambda: from_host(overlay, 0, 103, station)) == {"r0", "r1"}
    assert gateway.total("vtepd_events_total", event="frozen_conflict") == before + 1
    assert place_of(overlay, 103, station) == where
    caller = "02:63:00:00:00:02"
    assert delivered(overlay, 103, lambda: from_host(overlay, 0, 103, caller, station)) == {"r0"}
    # It recovers by itself.
    wait_until(lambda: gateway.total("vtepd_fdb_frozen_entries") == 0, 2 * FREEZE_SECONDS, "the freeze to end")
    from_host(overlay, 0, 103, station)
    wait_until(lambda: place_of(overlay, 103, station) == "trunk0", 5, "it to move again")
    changes = [change["change"] for change in history(overlay, station)]
    assert changes == ["moved", "thawed", "frozen"] + MOVES * ["moved"]


def test_b3_an_operator_ends_a_freeze(overlay):
    gateway, station = overlay.gateway, "02:63:00:00:00:03"
    flap(overlay, station, MOVES)
    assert gateway.vtepctl("fdb", "unfreeze", station).stdout == "1 entry unfrozen\n"
    assert gateway.vtepctl("fdb", "unfreeze").stdout == "0 entries unfrozen\n"
    from_host(overlay, 0, 103, station)
    wait_until(lambda: place_of(overlay, 103, station) == "trunk0", 5, "it to move again")
    assert [change["change"] for change in history(overlay, station)][:3] == ["moved", "unfrozen", "frozen"]


def test_what_is_flushed_is_flooded_to_and_on_record(overlay):
    gateway = overlay.gateway
    stations = {"trunk0": "02:64:00:00:00:01", "r0": "02:64:00:00:00:02", "r1": "02:64:00:00:00:03"}

    def learn():
        from_host(overlay, 0, 103, stations["trunk0"])
        from_remote(overlay, 0, 103, stations["r0"])
        from_remote(overlay, 1, 103, stations["r1"])
        wait_until(lambda: set(stations.values()) <= entries(overlay, 103).keys(), 5, "all to be learned")

    def left():
        have = entries(overlay, 103)
        return {name for name, station in stations.items() if station in have}

    remote = overlay.remote_addresses[0]
    for arguments, expected in [
        (("--vtep", remote), {"trunk0", "r1"}),
        (("--port", "trunk0"), {"r0", "r1"}),
        (("--vni", "103"), set()),
        (("--mac", stations["r1"]), {"trunk0", "r0"}),
        (("--vni", "103", "--vtep", remote), {"trunk0", "r1"}),
        (("--vni", "100"), {"trunk0", "r0", "r1"}),
        (("--all",), set()),
    ]:
        learn()
        gateway.vtepctl("fdb", "flush", *arguments)
        assert left() == expected, arguments
    assert {PINNED_HERE, PINNED_THERE} <= entries(overlay, 100).keys(), "static entries stay"
    learn()
    sender = "02:64:00:00:00:04"
    assert delivered(overlay, 103, lambda: from_host(overlay, 0, 103, sender, stations["r0"])) == {"r0"}
    gateway.vtepctl("fdb", "flush", "--mac", stations["r0"], "--vni", "103")
    assert delivered(overlay, 103, lambda: from_host(overlay, 0, 103, sender, stations["r0"])) == {"r0", "r1"}
    flushed = history(overlay, stations["r0"])[0]
    assert (flushed["change"], flushed["mac"], flushed["entries"]) == ("flushed", stations["r0"], 1)
    shown = gateway.vtepctl("fdb", "history", "--vni", "103").stdout
    assert "flushed: An operator had it flushed." in shown and f"remote {remote}" in shown, shown
    wrong = gateway.vtepctl("fdb", "flush", "--port", "nowhere", check=False)
    assert wrong.returncode == 1 and "no port is called `nowhere`" in wrong.stderr


def test_what_leaves_with_a_flush_comes_back_while_traffic_flows(overlay):
    """Hosts talk on while their bridge is flushed over and over: what is flushed is flooded, nothing is lost."""
    here, there = overlay.host(0, vni=103, vlan=103), overlay.remotes[0].station(103)
    assert here.ping(there.ipv4) == 3
    pinging = Pinging(overlay.bed, here.namespace, there.ipv4, 200)
    while not pinging.is_over():
        overlay.gateway.vtepctl("fdb", "flush", "--vni", "103")
    assert pinging.missing() == []
