"""What the operator sees: tables aligned for people, JSON for programs."""

import json

import pytest

from frames import BROADCAST, marked_frame, send
from overlay import Overlay
from testbed import wait_until

SUBJECTS = ["ports", "bridges", "fdb", "vteps", "drops", "workers", "config"]


@pytest.fixture(scope="module")
def overlay():
    made = Overlay()
    try:
        made.full_mesh()
        made.here, made.there = made.host(0), made.remotes[0].station(made.vni)
        assert made.here.ping(made.there.ipv4) == 3
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("subject", SUBJECTS)
def test_each_subject_prints_for_people(overlay, subject):
    text = overlay.gateway.vtepctl("show", subject).stdout
    assert text.strip()
    assert "{" not in text or subject == "config"


@pytest.mark.parametrize("subject", SUBJECTS)
def test_each_subject_is_json_for_programs(overlay, subject):
    assert json.loads(overlay.gateway.vtepctl("show", subject, "--json").stdout)


def test_the_tables_name_what_the_config_named(overlay):
    gateway = overlay.gateway
    ports = gateway.vtepctl("show", "ports").stdout
    assert all(name in ports for name in ("uplink0", "trunk0", "trunk1"))
    assert "100" in gateway.vtepctl("show", "bridges").stdout
    assert all(address in gateway.vtepctl("show", "vteps").stdout for address in overlay.remote_addresses)
    assert overlay.underlay.gateway in gateway.vtepctl("show", "config").stdout


def test_the_fdb_shows_both_sides_with_their_places(overlay):
    rows = overlay.gateway.vtepctl("show", "fdb").stdout.lower().splitlines()
    assert any(overlay.here.mac() in row and "trunk0" in row for row in rows)
    assert any(overlay.there.mac() in row and overlay.remotes[0].address in row for row in rows)


def test_json_table_and_metrics_agree_on_drops(overlay):
    gateway = overlay.gateway
    before = gateway.dropped("unknown_vlan")
    frame, _ = marked_frame("02:41:00:00:00:01", BROADCAST, vlan=999)
    send(overlay.host_namespaces[0], overlay.access[0], *[frame] * 7)
    wait_until(lambda: gateway.dropped("unknown_vlan") >= before + 7, 5, "seven drops")
    count = int(gateway.dropped("unknown_vlan"))
    assert count == before + 7
    counts = {reason["name"]: reason["count"] for reason in gateway.show("drops")["reasons"]}
    assert counts["unknown_vlan"] == count
    rows = gateway.vtepctl("show", "drops").stdout.splitlines()
    assert any("unknown_vlan" in row and str(count) in row.split() for row in rows)


def test_an_unknown_subject_is_an_error(overlay):
    result = overlay.gateway.vtepctl("show", "nonsense", check=False)
    assert result.returncode > 0
    assert "nonsense" in result.stderr
