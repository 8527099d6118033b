"""Conformance row B7: storm control and unknown unicast, set and changed while the gateway runs."""

import dataclasses
import time

import pytest

from frames import BROADCAST, Capture, marked_frame, send
from overlay import Overlay
from testbed import wait_until

MULTICAST = "01:00:5e:01:02:03"
UNKNOWN = "02:99:00:00:00:01"
SOURCE = "02:11:00:00:00:01"
KINDS = {"broadcast": BROADCAST, "multicast": MULTICAST, "unknown_unicast": UNKNOWN}
# As many frames as wait before the gateway at the most, on a machine that is busy with other things.
STORM = 450


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


@dataclasses.dataclass
class Storm:
    """What became of a storm: each of its frames arrived or was dropped."""

    arrived: int
    seconds: float

    def is_whole(self):
        """Nothing was cut."""
        return self.arrived == STORM

    def is_cut_to(self, rate):
        """At least what may come at once, and no more than the rate besides."""
        return rate * 0.1 <= self.arrived <= rate * (self.seconds + 0.1) + 2


def received(overlay):
    """Frames that the bridge received on its access ports."""
    return overlay.gateway.total("vtepd_bridge_packets_total", side="access", direction="receive", vni=str(overlay.vni))


def storm(overlay, kind, size=100, source="h0", reason=None):
    """Sends a storm in half a second, and sees what arrives at the first remote VTEP."""
    frame, marker = marked_frame(SOURCE, KINDS[kind], size=size)
    tag = b"\x81\x00" + overlay.vlan.to_bytes(2, "big")
    number, reason = int(source[1]), reason or f"storm_{kind}"
    before = received(overlay), overlay.gateway.dropped(reason)
    with Capture(overlay.remotes[0].namespace, f"vx{overlay.vni}") as seen:
        began = time.monotonic()
        for _ in range(10):
            send(overlay.host_namespaces[number], overlay.access[number],
                 *[frame[:12] + tag + frame[12:]] * (STORM // 10))
            time.sleep(0.05)
        wait_until(lambda: received(overlay) - before[0] == STORM, 20, "the gateway to receive the storm")
        seconds = time.monotonic() - began
        passed = STORM - (overlay.gateway.dropped(reason) - before[1])
        wait_until(lambda: len(seen.with_marker(marker)) == passed, 20, "what was not dropped to arrive")
        return Storm(len(seen.with_marker(marker)), seconds)


def dropped_for(overlay, scope, kind):
    labels = {"vni": str(overlay.vni)} if scope == "bridge" else {"port": "trunk0"}
    return overlay.gateway.total(f"vtepd_{scope}_storm_dropped_packets_total", kind=kind, **labels)


@pytest.mark.parametrize("scope", ["bridge", "port"])
@pytest.mark.parametrize("kind", KINDS)
def test_b7_a_storm_is_cut_to_its_limit_and_counted(overlay, scope, kind):
    limit(overlay, **{scope: {kind: "50 pps"}})
    before = dropped_for(overlay, scope, kind)
    cut = storm(overlay, kind)
    assert cut.is_cut_to(50), cut
    # A frame is dropped once, whatever number of places it would have gone to.
    assert dropped_for(overlay, scope, kind) - before == STORM - cut.arrived
    for other in KINDS.keys() - {kind}:
        whole = storm(overlay, other)
        assert whole.is_whole(), f"{other} is not limited: {whole}"


def test_b7_a_limit_in_bits_is_one_of_bytes(overlay):
    limit(overlay, bridge={"broadcast": "400 kbit/s"})
    cut = storm(overlay, "broadcast", size=1000)
    assert cut.is_cut_to(50), cut


def test_b7_another_port_is_not_limited_and_a_limit_goes_with_a_reload(overlay):
    limit(overlay, port={"broadcast": "10 pps"})
    cut = storm(overlay, "broadcast")
    assert cut.is_cut_to(10), cut
    assert storm(overlay, "broadcast", source="h1").is_whole()
    limit(overlay)
    assert storm(overlay, "broadcast").is_whole()


def test_unknown_unicast_is_dropped_where_the_bridge_does_not_flood_it(overlay):
    limit(overlay, unknown_unicast="drop")
    try:
        cut = storm(overlay, "unknown_unicast", reason="unknown_unicast")
        assert cut.arrived == 0, cut
        assert storm(overlay, "multicast").is_whole()
        # A station that was heard is reached.
        hello, _ = marked_frame(UNKNOWN, BROADCAST)
        send(overlay.remotes[0].namespace, f"vx{overlay.vni}", hello)
        wait_until(lambda: UNKNOWN in overlay.gateway.vtepctl("show", "fdb").stdout, 5, "the station to be learned")
        assert storm(overlay, "unknown_unicast", reason="unknown_unicast").is_whole()
    finally:
        limit(overlay, unknown_unicast="flood")
