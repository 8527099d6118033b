"""Hosts on VLANs and hosts behind the kernel's vxlan talk through the gateway, over IPv4 and IPv6 underlays."""

import re

import pytest

from overlay import OVERLAY_MTU, Overlay
from transfer import bulk_transfer

BULK_BYTES = 48 << 20


@pytest.fixture(scope="module", params=["ipv4", "ipv6"])
def overlay(request):
    made = Overlay(request.param)
    try:
        made.full_mesh()
        made.hosts = [made.host(0), made.host(1)]
        made.stations = [remote.station(made.vni) for remote in made.remotes]
        yield made
    finally:
        made.close()


def pairs(overlay):
    """Every kind of way: access to tunnel, tunnel to access, access to access, tunnel to tunnel past the gateway."""
    h0, h1 = overlay.hosts
    r0, r1 = overlay.stations
    return {"access to tunnel": (h0, r0), "tunnel to access": (r1, h1), "access to access": (h0, h1),
            "second access to second tunnel": (h1, r1)}


@pytest.mark.parametrize("way", ["access to tunnel", "tunnel to access", "access to access",
                                 "second access to second tunnel"])
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_ping_after_address_resolution_over_the_overlay(overlay, way, family):
    here, there = pairs(overlay)[way]
    here.forget_neighbours()
    there.forget_neighbours()
    assert here.ping(getattr(there, family), count=3) == 3


@pytest.mark.parametrize("way", ["access to tunnel", "tunnel to access", "access to access"])
@pytest.mark.parametrize("family,headers", [("ipv4", 28), ("ipv6", 48)])
def test_jumbo_packets_pass_whole(overlay, way, family, headers):
    here, there = pairs(overlay)[way]
    assert here.ping(getattr(there, family), "-M", "do", "-s", str(OVERLAY_MTU - headers), count=3) == 3


@pytest.mark.parametrize("size", [0, 1, 17, 18, 19, 46, 1372, 1373, 1450, 1472, 1473, 2000])
def test_every_awkward_size_passes(overlay, size):
    here, there = pairs(overlay)["access to tunnel"]
    assert here.ping(there.ipv4, "-M", "do", "-s", str(size), count=2) == 2


@pytest.mark.parametrize("way", ["access to tunnel", "tunnel to access", "access to access"])
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_bulk_transfer_is_intact_byte_for_byte(overlay, way, family):
    here, there = pairs(overlay)[way]
    sent, received = bulk_transfer(here, there, getattr(there, family), BULK_BYTES)
    assert received == sent


def test_the_counters_say_what_passed(overlay):
    here, there = pairs(overlay)["access to tunnel"]
    gateway = overlay.gateway
    here.ping(there.ipv4, count=1)
    before = gateway.metrics()
    assert here.ping(there.ipv4, count=10) == 10

    def grown():
        after = gateway.metrics()
        return {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}

    packets = {labels: value for (name, labels), value in grown().items() if name == "vtepd_bridge_packets_total"}
    directions = {(dict(labels)["side"], dict(labels)["direction"]) for labels, value in packets.items() if value >= 10}
    assert len(directions) == 4, packets
    assert all(dict(labels)["vni"] == str(overlay.vni) for labels in packets)


def test_metrics_have_help_and_type_for_every_name(overlay):
    status, body = overlay.gateway.get("/metrics")
    assert status == 200
    helped = set(re.findall(r"^# HELP (\S+) \S", body, re.MULTILINE))
    typed = set(re.findall(r"^# TYPE (\S+) \w+$", body, re.MULTILINE))
    names = {name for name, _ in overlay.gateway.metrics()}
    assert len(names) >= 20
    for name in names:
        family = re.sub(r"_(total|bucket|sum|count|info)$", "", name)
        assert {name, family} & helped, f"{name} has no HELP"
        assert {name, family} & typed, f"{name} has no TYPE"


def test_health_and_readiness_answer(overlay):
    assert overlay.gateway.get("/healthz")[0] == 200
    assert overlay.gateway.get("/readyz")[0] == 200
    assert overlay.gateway.get("/no-such-page")[0] == 404
