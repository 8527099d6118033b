"""How flows are spread over UDP source ports is measured for each remote VTEP, and one that gives them all one port is
told of."""

import pytest

from flows import send_flows
from overlay import Overlay
from testbed import wait_until

FLOWS, DATAGRAMS = 100, 20
ENOUGH = 64


@pytest.fixture
def overlay():
    """An overlay with two remote VTEPs, of which the second has one source port for all flows."""
    made = Overlay("ipv4", access_ports=1, remotes=2)
    made.remotes[1].options = "srcport 50000 50001"
    made.full_mesh()
    yield made
    made.close()


def readings(overlay):
    """What the gateway says of each remote VTEP and direction."""
    items = overlay.gateway.show("entropy")["items"]
    return {(item["remote"], item["direction"]): item for item in items}


def test_a_remote_vtep_that_polarises_its_flows_is_told_of_and_others_are_not(overlay):
    host = overlay.host(0)
    good, bad = overlay.remotes
    stations = [remote.station(overlay.vni) for remote in overlay.remotes]
    for station in stations:
        assert host.ping(station.ipv4) == 3
    keys = [(remote.address, direction) for remote in (good, bad) for direction in ("receive", "transmit")]

    def enough():
        return all(readings(overlay).get(key, {}).get("samples", 0) >= ENOUGH for key in keys)

    def talk():
        """A worker takes a sample of a burst: how many it takes of so many datagrams depends on how busy the machine is."""
        for station in stations:
            for source, target in ((station, host), (host, station)):
                assert send_flows(source, target, target.ipv4, FLOWS, DATAGRAMS) > 0
        return enough()

    wait_until(talk, 60, "samples")
    found = readings(overlay)
    assert [found[key]["verdict"] for key in keys] == ["spread", "spread", "polarised", "spread"]
    assert found[bad.address, "receive"]["source_ports"] < 2 < 20 < found[bad.address, "receive"]["flows"]
    # What the gateway sends has a port of its own for nearly each flow.
    sent = found[bad.address, "transmit"]
    assert sent["source_ports"] > 0.8 * min(sent["flows"], FLOWS)
    assert overlay.gateway.total("vtepd_remote_polarised", remote=bad.address, direction="receive") == 1
    assert overlay.gateway.total("vtepd_remote_polarised", remote=good.address) == 0
    wait_until(lambda: "few UDP source ports" in overlay.gateway.log(), 5, "the log to tell")
    assert overlay.gateway.log().count("few UDP source ports") == 1
    assert "POLARISED" in overlay.gateway.vtepctl("show", "entropy").stdout
