"""Two workers on two cores, polling and adaptive: each has queues of its own, and everything passes."""

import os
import socket

import pytest

from overlay import Overlay
from testbed import inside, wait_until
from transfer import bulk_transfer

CORES = sorted(os.sched_getaffinity(0))[:2]
pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="two workers need two cores")


@pytest.fixture(scope="module", params=["adaptive", "poll"])
def overlay(request):
    def configure(overlay):
        overlay.config.workers = {"cores": CORES, "idle": request.param}
        overlay.config.bridge(100, 100, ["trunk0", "trunk1"], overlay.remote_addresses)

    made = Overlay(remotes=1, configure=configure)
    try:
        made.full_mesh()
        made.idle = request.param
        made.hosts = [made.host(0), made.host(1)]
        made.station = made.remotes[0].station(100)
        yield made
    finally:
        made.close()


def test_pings_pass_in_every_direction(overlay):
    h0, h1 = overlay.hosts
    for here, there in ((h0, overlay.station), (overlay.station, h1), (h0, h1)):
        assert here.ping(there.ipv4) == 3
        assert here.ping(there.ipv6, "-s", "8000") == 3


@pytest.mark.parametrize("way", ["out", "in"])
def test_a_bulk_transfer_is_intact(overlay, way):
    here, there = (overlay.hosts[0], overlay.station) if way == "out" else (overlay.station, overlay.hosts[1])
    sent, received = bulk_transfer(here, there, there.ipv4, 16 << 20)
    assert received == sent


def test_both_workers_forward_and_their_port_counters_say_so(overlay):
    gateway = overlay.gateway

    def packets(worker, port, direction):
        return gateway.total("vtepd_worker_port_packets_total", worker=str(worker), port=port, direction=direction)

    before = [packets(worker, "trunk0", "receive") for worker in (0, 1)]
    sent_before = sum(packets(worker, "uplink0", "transmit") for worker in (0, 1))
    # Flows enough that the kernel's hash gives some to each queue.
    with inside(overlay.hosts[0].namespace):
        for _ in range(64):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"x" * 100, (overlay.station.ipv4, 9))
    wait_until(lambda: all(packets(worker, "trunk0", "receive") > before[worker] for worker in (0, 1)), 5,
               "packets of the trunk at both workers")
    wait_until(lambda: sum(packets(worker, "uplink0", "transmit") for worker in (0, 1)) >= sent_before + 64, 5,
               "the packets on the uplink")


def test_only_adaptive_workers_sleep(overlay):
    sleeps = [worker["sleeps"] for worker in overlay.gateway.show("workers")]
    assert len(sleeps) == 2
    assert all(count > 0 for count in sleeps) if overlay.idle == "adaptive" else sleeps == [0, 0]
