"""Who may be where in the FDB, as an operator sees it: limits of ports, ageing of bridges, pinned stations."""

import contextlib
import time

import pytest

from frames import BROADCAST, Capture, marked_frame, send
from overlay import Overlay
from testbed import wait_until

PORT_LIMIT = 4
SETTLE_SECONDS = 0.4
SHORT_SECONDS = 2
PINNED_HERE = "02:60:00:00:00:01"
PINNED_THERE = "02:60:00:00:00:02"


@pytest.fixture(scope="module")
def overlay():
    def configure(overlay):
        config, remotes = overlay.config, overlay.remote_addresses
        config.ports[2]["max_macs"] = PORT_LIMIT
        config.bridge(100, 100, ["trunk0", "trunk1"], remotes)
        config.bridge(101, 101, ["trunk0", "trunk1"], remotes)
        config.bridge(102, 102, ["trunk0"], remotes, ageing=SHORT_SECONDS)
        config.static(vni=100, mac=PINNED_HERE, port="trunk0", pinned=True)
        config.static(vni=100, mac=PINNED_THERE, remote=remotes[0], pinned=True)

    made = Overlay(remotes=2, configure=configure)
    try:
        # No remote VTEP floods to the other: what one sees of another has come through the gateway.
        for remote in made.remotes:
            remote.bridges([100, 101, 102], [made.underlay.gateway])
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
        time.sleep(SETTLE_SECONDS)
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
    for vni in (101, 102):
        from_host(overlay, 0, vni, "02:62:00:00:00:01")
    wait_until(lambda: all("02:62:00:00:00:01" in entries(overlay, vni) for vni in (101, 102)), 5, "both learned")
    learned = time.monotonic()
    wait_until(lambda: "02:62:00:00:00:01" not in entries(overlay, 102), 3 * SHORT_SECONDS, "the short one to age")
    assert SHORT_SECONDS - 0.5 <= time.monotonic() - learned <= SHORT_SECONDS + 1.5
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
