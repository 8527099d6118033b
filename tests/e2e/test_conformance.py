"""docs/conformance.md is what the gateway does: every row is run again, and its verdict compared with the one there."""

import json
import os

import pytest

from conformance import report
from testbed import ROOT

# The first test waits for the whole table.
pytestmark = pytest.mark.timeout(300)

DOCS = os.path.join(ROOT, "docs")
WRITE_ANEW = "run `make conformance`, and look at the difference"


def written(name):
    """A file of the documentation."""
    with open(os.path.join(DOCS, name), encoding="utf-8") as file:
        return file.read()


@pytest.fixture(scope="module")
def said():
    """What the report says: {row: entry}."""
    return {entry["row"]: entry for entry in json.loads(written("conformance.json"))["rows"]}


@pytest.fixture(scope="module")
def verdicts():
    """What the gateway does."""
    return report.judge_all(report.GatewayDevice)


@pytest.mark.parametrize("name", report.TABLE)
def test_the_gateway_does_what_the_report_says(said, verdicts, name):
    made = report.TABLE[name]
    expected = {"row": name, "what": made.what, "source": made.source, "vtepd": vars(verdicts[name])}
    assert {key: said.get(name, {}).get(key) for key in expected} == expected, WRITE_ANEW


def test_the_page_is_the_report_and_has_every_row(said):
    found = json.loads(written("conformance.json"))
    assert list(said) == list(report.TABLE), WRITE_ANEW
    assert written("conformance.md") == report.as_markdown(found), WRITE_ANEW
    assert written("conformance.json") == report.as_json(found), WRITE_ANEW


def test_a_row_that_does_not_hold_is_told():
    made = report.TABLE["V1"]
    desk = report.Desk(report.GatewayDevice, "ipv4")
    try:
        # A gateway that took the packets would not count them; one that counts others is not right either.
        sound = desk.device.drops
        desk.device.drops = lambda: sound() | {"vxlan_flags": 0.0}
        verdict = report.judge(desk, made)
    finally:
        desk.close()
    assert verdict.verdict == report.DIFFERS and "counted" in verdict.says, verdict
