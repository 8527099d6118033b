"""Tests that fail or never end: `test_leaves_nothing.py` runs each by name and looks what is left."""

import time

import pytest

import testbed
from clos import Clos
from overlay import Overlay


@pytest.fixture
def overlay():
    made = Overlay(access_ports=1, remotes=1)
    yield made
    made.close()


def announce():
    """Says that the bed stands, and whose it is."""
    print(f"\nmade {testbed.RUN}", flush=True)


def test_fails_with_a_gateway_running(overlay):
    announce()
    raise AssertionError("on purpose")


def test_gateway_is_killed_and_the_test_fails(overlay):
    announce()
    overlay.gateway.process.kill()
    raise AssertionError("on purpose")


def test_fails_while_the_bed_is_made():
    def configure(overlay):
        overlay.bed.namespace("early")
        announce()
        raise AssertionError("on purpose")

    Overlay(configure=configure)


def test_fails_with_a_fabric_running():
    clos = Clos()
    try:
        announce()
        raise AssertionError("on purpose")
    finally:
        clos.close()


def test_waits_with_a_fabric_running():
    Clos()
    announce()
    time.sleep(60)


def test_waits_with_a_gateway_running(overlay):
    announce()
    time.sleep(60)
