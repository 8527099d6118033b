"""Two workers on two cores, polling and adaptive: each has queues of its own, and everything passes."""

import itertools
import os
import socket

import pytest

from overlay import Overlay
from pings import Pinging
from testbed import inside, run, wait_until
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


def test_reloads_and_flushes_lose_nothing_of_what_two_workers_forward(overlay):
    gateway, good = overlay.gateway, overlay.config.text()
    more = '[[bridge]]\nvni = 101\nvlan = 101\nports = ["trunk0"]\nremotes = ["10.0.0.2"]\n'
    ways = [*overlay.hosts, overlay.station]
    assert [here.ping(there.ipv4) for here in ways for there in ways if here is not there] == [3] * 6
    pings = [Pinging(overlay.bed, here.namespace, there.ipv4, 300) for here in ways for there in ways if here is not there]
    changes = itertools.cycle([good + more, good])
    while not all(ping.is_over() for ping in pings):
        gateway.write_config(next(changes))
        gateway.vtepctl("reload")
        gateway.vtepctl("fdb", "flush", "--all")
    assert [ping.missing() for ping in pings] == [[]] * 6
    gateway.write_config(good)
    gateway.vtepctl("reload")


def test_only_adaptive_workers_sleep(overlay):
    sleeps = [worker["sleeps"] for worker in overlay.gateway.show("workers")]
    assert len(sleeps) == 2
    assert all(count > 0 for count in sleeps) if overlay.idle == "adaptive" else sleeps == [0, 0]


def test_a_port_whose_device_goes_loses_its_own_packets_and_the_rest_forwards(overlay):
    """The last test of this overlay: it has one port less from here on."""
    gateway, (h0, h1) = overlay.gateway, overlay.hosts
    assert h0.ping(h1.ipv4) == 3
    run("ip", "-n", h1.namespace, "link", "del", overlay.access[1])
    lost = gateway.dropped("transmit_full")
    assert h0.ping(h1.ipv4) == 0
    wait_until(lambda: gateway.dropped("transmit_full") > lost, 5, "the packets for it to be counted")
    assert (h0.ping(overlay.station.ipv4), overlay.station.ping(h0.ipv6)) == (3, 3)
    assert gateway.get("/healthz") == (200, "ok\n")
    assert gateway.stop() == 0
