"""The FDB's bounds and exceptions as an operator sees them: ageing, limits, static entries, strangers, reloads."""

import contextlib
import time

import pytest

from frames import BROADCAST, Capture, marked_frame, send
from overlay import Overlay, vxlan_packet
from pings import Pinging
from testbed import Stalls, settle, wait_until

AGEING_SECONDS = 2
LIMIT = 5
SETTLE_SECONDS = 0.4
FIXED_HERE = "02:50:00:00:00:01"
FIXED_THERE = "02:50:00:00:00:02"
STRANGER = "10.0.0.77"


@pytest.fixture(scope="module")
def overlay():
    def configure(overlay):
        config, remotes = overlay.config, overlay.remote_addresses
        config.fdb = {"ageing": AGEING_SECONDS}
        config.bridge(100, 100, ["trunk0", "trunk1"], remotes)
        config.bridge(101, 101, ["trunk0", "trunk1"], remotes, max_macs=LIMIT)
        config.bridge(102, 102, ["trunk0", "trunk1"], remotes, source_check=False)
        config.static(vni=100, mac=FIXED_HERE, port="trunk1").static(vni=100, mac=FIXED_THERE, remote=remotes[0])

    made = Overlay(remotes=1, configure=configure)
    try:
        made.full_mesh([100, 101, 102])
        yield made
    finally:
        made.close()


def entries(overlay, vni):
    """The bridge's entries by MAC."""
    return {entry["mac"]: entry for entry in overlay.gateway.show("fdb")["items"] if entry["vni"] == vni}


@contextlib.contextmanager
def captures(overlay, vni):
    """Captures behind both access ports and at the remote VTEP."""
    with contextlib.ExitStack() as stack:
        places = zip(overlay.host_namespaces, overlay.access)
        seen = {f"h{number}": stack.enter_context(Capture(*place)) for number, place in enumerate(places)}
        seen["r0"] = stack.enter_context(Capture(overlay.remotes[0].namespace, f"vx{vni}"))
        yield seen


def delivered(overlay, vni, sender):
    """Lets `sender` send a frame with a marker: the places that saw it, each once."""
    with captures(overlay, vni) as seen:
        marker = sender()
        settle(SETTLE_SECONDS)
        counts = {name: len(capture.with_marker(marker)) for name, capture in seen.items()}
    assert all(count <= 1 for count in counts.values()), counts
    return {name for name, count in counts.items() if count}


def from_h0(overlay, vlan, source, destination=BROADCAST):
    """Sends a marked frame from behind trunk0; the marker."""
    frame, marker = marked_frame(source, destination, vlan)
    send(overlay.host_namespaces[0], overlay.access[0], frame)
    return marker


def test_what_is_not_heard_of_ages_away_and_what_is_stays(overlay):
    quiet, busy = "02:51:00:00:00:01", "02:51:00:00:00:02"
    with Stalls() as stalls:
        from_h0(overlay, 100, quiet)
        from_h0(overlay, 100, busy)
        wait_until(lambda: {quiet, busy} <= entries(overlay, 100).keys(), 2, "both to be learned")
        learned = time.monotonic()
        aged, stood = None, 0
        while time.monotonic() < learned + 3 * AGEING_SECONDS:
            from_h0(overlay, 100, busy)
            have = entries(overlay, 100)
            # As old as it may be, and gone, where the machine stood still since the last frame.
            now = stalls.seconds
            still, stood = now - stood, now
            assert busy in have or still > 0.5, have
            if busy in have:
                assert have[busy]["kind"] == "learned", have[busy]
                assert have[busy]["age_seconds"] <= 1 + still, have[busy]
            if quiet in have:
                assert have[quiet]["age_seconds"] <= AGEING_SECONDS + 1 + stalls.seconds
            elif aged is None:
                aged = time.monotonic() - learned
            time.sleep(0.05)
    assert aged is not None, "it never aged"
    within = AGEING_SECONDS - 0.5 - stalls.seconds, AGEING_SECONDS + 1.5 + stalls.seconds
    assert within[0] <= aged <= within[1], f"aged after {aged:.2f} s"
    assert {FIXED_HERE, FIXED_THERE} <= entries(overlay, 100).keys()


def test_static_entries_stand_against_who_claims_their_address(overlay):
    gateway = overlay.gateway
    have = entries(overlay, 100)
    assert have[FIXED_HERE]["kind"] == have[FIXED_THERE]["kind"] == "static"
    assert have[FIXED_HERE]["port"] == "trunk1" and have[FIXED_THERE]["remote"] == overlay.remote_addresses[0]
    before = gateway.total("vtepd_events_total", event="static_conflict")
    for address in (FIXED_HERE, FIXED_THERE):
        from_h0(overlay, 100, address)
    wait_until(lambda: gateway.total("vtepd_events_total", event="static_conflict") >= before + 2, 5,
               "two conflicts counted")
    assert entries(overlay, 100)[FIXED_HERE] == have[FIXED_HERE]
    assert entries(overlay, 100)[FIXED_THERE] == have[FIXED_THERE]
    source = "02:52:00:00:00:01"
    assert delivered(overlay, 100, lambda: from_h0(overlay, 100, source, FIXED_HERE)) == {"h1"}
    assert delivered(overlay, 100, lambda: from_h0(overlay, 100, source, FIXED_THERE)) == {"r0"}


def test_beyond_a_bridges_limit_nothing_is_learned_and_frames_are_flooded(overlay):
    gateway = overlay.gateway
    stations = [f"02:53:00:00:00:{number:02x}" for number in range(2 * LIMIT)]

    def refused():
        return gateway.total("vtepd_fdb_events_total", event="refused_by_bridge_limit")

    before = refused()
    for station in stations:
        from_h0(overlay, 101, station)
    wait_until(lambda: refused() >= before + LIMIT, 5, "refusals")
    known = set(entries(overlay, 101))
    assert known == set(stations[:LIMIT])
    assert gateway.log().count("has learned all the addresses it may") == 1

    def to_refused():
        frame, marker = marked_frame("02:53:00:00:01:00", stations[-1])
        send(overlay.remotes[0].namespace, "vx101", frame)
        return marker

    assert delivered(overlay, 101, to_refused) == {"h0", "h1"}


@pytest.mark.parametrize("vni,places", [(102, {"h0", "h1"}), (100, set())])
def test_without_source_check_a_stranger_may_send_and_is_not_learned(overlay, vni, places):
    source = "02:54:00:00:00:01"
    before = overlay.gateway.dropped("unknown_remote")

    def stranger():
        inner, marker = marked_frame(source, BROADCAST)
        send(overlay.remotes[0].namespace, "eth0", vxlan_packet(overlay, vni, inner, STRANGER))
        return marker

    assert delivered(overlay, vni, stranger) == places
    assert overlay.gateway.dropped("unknown_remote") == before + (0 if places else 1)
    assert source not in entries(overlay, vni)


def test_vtepctl_reload_under_a_ping_loses_nothing_and_says_what_it_applied(overlay):
    gateway, good = overlay.gateway, overlay.config.text()
    here, there = overlay.host(0), overlay.remotes[0].station(100)
    assert here.ping(there.ipv4) == 3
    pinging = Pinging(overlay.bed, here.namespace, there.ipv4, 300)
    more = '[[bridge]]\nvni = 103\nvlan = 103\nports = ["trunk0"]\nremotes = ["10.0.0.2"]\n'
    for number in range(6):
        time.sleep(0.3)
        gateway.write_config(good + more if number % 2 == 0 else good)
        said = gateway.vtepctl("reload").stdout
        assert f"{4 if number % 2 == 0 else 3} bridges" in said, said
    assert pinging.missing() == []
    gateway.write_config(good.replace("max_macs = 5", "max_macs = 0x"))
    refused = gateway.vtepctl("reload", check=False)
    assert refused.returncode > 0 and "max_macs" in refused.stdout + refused.stderr
    gateway.write_config(good.replace('idle = "adaptive"', 'idle = "poll"'))
    refused = gateway.vtepctl("reload", check=False)
    assert refused.returncode > 0 and "restart" in refused.stdout + refused.stderr
    gateway.write_config(good)
    assert here.ping(there.ipv4) == 3
