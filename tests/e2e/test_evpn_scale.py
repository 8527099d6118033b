"""Many VNIs and stations from FRR's EVPN: all of them are there, at once after a start, and gone at once."""

import json

import pytest

from evpn_lab import EvpnLab, station
from testbed import Stalls

VNIS = 20
STATIONS = 2000

# From the kernel's message to the first frame that is forwarded by it, in seconds.
ADVERTISED = 0.05


@pytest.fixture(scope="module", name="lab")
def make_lab():
    """A lab whose remote leaf has stations in every VNI."""
    made = EvpnLab(VNIS)
    try:
        made.make_devices()
        made.start_frr()
        made.add_stations(range(STATIONS))
        made.await_stations(STATIONS, 30)
        yield made
    finally:
        made.close()


def test_a_station_is_forwarded_to_soon_after_the_kernel_has_it(lab):
    delays = sorted(lab.advertise(STATIONS + number)[1] for number in range(5))
    lab.remove_stations(range(STATIONS, STATIONS + 5))
    lab.await_stations(STATIONS, 10)
    # Two processors have others' work to do besides: it is what they let through that tells.
    assert delays[1] < ADVERTISED, delays


def test_a_gateway_that_was_killed_has_all_stations_again(lab):
    # FRR's session goes with the uplink, and what it said with the session. zebra dies as well, so that it all stays.
    lab.frr[0].kill("zebra")
    lab.gateway.process.kill()
    lab.gateway.process.wait(10)
    lab.gateway.start()
    assert lab.stations() == STATIONS, "it is not ready before it has them"
    lab.cable()
    lab.frr[0].restart()
    lab.await_stations(STATIONS, 30)
    with Stalls() as stalls:
        delay = lab.advertise(STATIONS)[1]
    assert delay < 1 + stalls.seconds, delay
    lab.remove_stations([STATIONS])
    lab.await_stations(STATIONS, 10)


def test_ten_thousand_stations_that_are_withdrawn_at_once_are_gone(lab):
    many = range(1_000_000, 1_010_000)
    lab.add_stations(many)
    lab.await_stations(STATIONS + len(many), 60)
    lab.remove_stations(many)
    lab.await_stations(STATIONS, 30)
    shown = json.loads(lab.gateway.vtepctl("show", "fdb", "--kernel", "--limit", "10000", "--json").stdout)
    assert {item["mac"] for item in shown["items"]} == {station(number) for number in range(STATIONS)}
