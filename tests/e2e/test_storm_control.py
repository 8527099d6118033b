"""Conformance row B7: storm control and unknown unicast, set and changed while the gateway runs."""

import time

import pytest

from frames import BROADCAST, Capture, marked_frame, send
from overlay import Overlay
from testbed import wait_until

MULTICAST = "01:00:5e:01:02:03"
UNKNOWN = "02:99:00:00:00:01"
SOURCE = "02:11:00:00:00:01"
KINDS = {"broadcast": BROADCAST, "multicast": MULTICAST, "unknown_unicast": UNKNOWN}
STORM = 1500


@pytest.fixture(scope="module")
def overlay():
    made = Overlay()
    try:
        made.full_mesh()
        yield made
    finally:
        made.close()


def limit(overlay, bridge=None, port=None, **keys):
    """Reloads with these limits in the bridge and the first access port, and no others."""
    config = overlay.config
    for table in (config.bridges[0], config.ports[1]):
        for kind in KINDS:
            table.pop(f"{kind}_limit", None)
    config.bridges[0] |= {f"{kind}_limit": rate for kind, rate in (bridge or {}).items()}
    config.ports[1] |= {f"{kind}_limit": rate for kind, rate in (port or {}).items()}
    config.bridges[0] |= keys
    log = overlay.gateway.reload()
    assert "applied" in log, log


def storm(overlay, destination, size=100, source="h0"):
    """Sends a storm in half a second: how many frames of it arrived at the first remote VTEP, and how long it took."""
    frame, marker = marked_frame(SOURCE, destination, size=size)
    tag = b"\x81\x00" + overlay.vlan.to_bytes(2, "big")
    number = int(source[1])
    with Capture(overlay.remotes[0].namespace, f"vx{overlay.vni}") as seen:
        began = time.monotonic()
        for _ in range(30):
            send(overlay.host_namespaces[number], overlay.access[number],
                 *[frame[:12] + tag + frame[12:]] * (STORM // 30))
            time.sleep(0.015)
        took = time.monotonic() - began
        time.sleep(0.3)
        return len(seen.with_marker(marker)), took


def dropped_for(overlay, scope, kind):
    labels = {"vni": str(overlay.vni)} if scope == "bridge" else {"port": "trunk0"}
    return overlay.gateway.total(f"vtepd_{scope}_storm_dropped_packets_total", kind=kind, **labels)


@pytest.mark.parametrize("scope", ["bridge", "port"])
@pytest.mark.parametrize("kind", KINDS)
def test_b7_a_storm_is_cut_to_its_limit_and_counted(overlay, scope, kind):
    limit(overlay, **{scope: {kind: "200 pps"}})
    before = overlay.gateway.dropped(f"storm_{kind}"), dropped_for(overlay, scope, kind)
    arrived, took = storm(overlay, KINDS[kind])
    assert 200 * took * 0.9 <= arrived <= 200 * (took + 0.1) + 2, f"{arrived} in {took} s"
    # A frame is dropped once, whatever number of places it would have gone to.
    assert overlay.gateway.dropped(f"storm_{kind}") - before[0] == STORM - arrived
    assert dropped_for(overlay, scope, kind) - before[1] == STORM - arrived
    for other in KINDS.keys() - {kind}:
        assert storm(overlay, KINDS[other])[0] == STORM, f"{other} is not limited"


def test_b7_a_limit_in_bits_is_one_of_bytes(overlay):
    limit(overlay, bridge={"broadcast": "800 kbit/s"})
    arrived, took = storm(overlay, BROADCAST, size=1000)
    assert 100 * took * 0.9 <= arrived <= 100 * (took + 0.1) + 2, f"{arrived} in {took} s"


def test_b7_another_port_is_not_limited_and_a_limit_goes_with_a_reload(overlay):
    limit(overlay, port={"broadcast": "10 pps"})
    assert storm(overlay, BROADCAST)[0] < STORM // 10
    assert storm(overlay, BROADCAST, source="h1")[0] == STORM
    limit(overlay)
    assert storm(overlay, BROADCAST)[0] == STORM


def test_unknown_unicast_is_dropped_where_the_bridge_does_not_flood_it(overlay):
    limit(overlay, unknown_unicast="drop")
    try:
        before = overlay.gateway.dropped("unknown_unicast")
        assert storm(overlay, UNKNOWN)[0] == 0
        assert overlay.gateway.dropped("unknown_unicast") - before == STORM
        assert storm(overlay, MULTICAST)[0] == STORM
        # A station that was heard is reached.
        hello, _ = marked_frame(UNKNOWN, BROADCAST)
        send(overlay.remotes[0].namespace, f"vx{overlay.vni}", hello)
        wait_until(lambda: UNKNOWN in overlay.gateway.vtepctl("show", "fdb").stdout, 5, "the station to be learned")
        assert storm(overlay, UNKNOWN)[0] == STORM
    finally:
        limit(overlay, unknown_unicast="flood")
