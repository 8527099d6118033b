"""However a run ends, nothing of it is left: no namespace, TAP, process, hugepage file or socket."""

import os
import re
import signal
import subprocess
import sys

import pytest

import testbed
from testbed import RUN_VARIABLE, leftovers, wait_until

HERE = os.path.dirname(__file__)
INNER = os.path.join(HERE, "inner_failures.py")


def start_inner(name):
    """Starts one of the tests that fail, in a pytest of its own: (process, name of its run)."""
    environment = {key: value for key, value in os.environ.items() if key != RUN_VARIABLE}
    # Started in the background by a shell, this run does not heed an interrupt, nor would whatever it starts.
    process = subprocess.Popen([sys.executable, "-m", "pytest", "-q", "-s", f"{INNER}::{name}"], cwd=HERE,
                               env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    return process, f"{process.pid:x}"


def assert_clean(inner, taps):
    # A killed run is cleaned by its reaper, which needs a moment.
    wait_until(lambda: not leftovers(inner), 30, f"nothing of run {inner} to be left")
    assert testbed.taps() == taps


@pytest.mark.parametrize("name", ["test_fails_with_a_gateway_running", "test_gateway_is_killed_and_the_test_fails",
                                  "test_fails_while_the_bed_is_made", "test_fails_with_a_fabric_running"])
def test_after_a_failed_test(name):
    taps = testbed.taps()
    process, inner = start_inner(name)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "1 failed" in output and "left behind" not in output, output
    assert f"made {inner}" in output, output
    assert leftovers(inner) == []
    assert testbed.taps() == taps


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("name", ["test_waits_with_a_gateway_running", "test_waits_with_a_fabric_running"])
def test_after_a_run_that_was_ended(name, number):
    taps = testbed.taps()
    process, inner = start_inner(name)
    try:
        for line in process.stdout:
            if re.search(rf"made {inner}", line):
                break
        assert leftovers(inner), "the inner run made nothing: this test would prove nothing"
        process.send_signal(number)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert_clean(inner, taps)
