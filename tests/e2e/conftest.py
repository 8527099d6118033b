"""What the end-to-end tests share. They need root, and run every packet in namespaces of their own."""

import atexit
import os
import subprocess
import signal
import sys

import pytest

import reaper
import testbed
from gateway import VTEPD


def pytest_configure(config):
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests need root, for namespaces and TAPs: sudo make e2e", returncode=3)
    if not os.access(VTEPD, os.X_OK):
        pytest.exit(f"no gateway at {VTEPD}: `make build` first, or set VTEPD_BIN", returncode=3)
    # SIGTERM and SIGHUP end the run as Ctrl-C does: with its fixtures torn down.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: pytest.exit("ended by a signal", returncode=130))
    config.taps_before = testbed.taps()
    config.reaper = reaper.start()
    atexit.register(testbed.remove_everything, testbed.RUN)


def pytest_sessionfinish(session):
    left = testbed.leftovers(testbed.RUN)
    left += [f"TAP {name}" for name in testbed.taps() if name not in session.config.taps_before]
    if left:
        print(f"\nleft behind: {', '.join(left)}", file=sys.stderr)
        testbed.remove_everything(testbed.RUN)
        session.exitstatus = 1
    session.config.reaper.stdin.close()
    session.config.reaper.wait(30)


@pytest.fixture
def bed():
    """An empty test bed, removed after the test."""
    made = testbed.Testbed()
    yield made
    made.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    # A failed test shows the logs, which its directory takes away with it.
    report = (yield).get_result()
    if report.failed:
        for name in ("overlay", "gateway"):
            made = item.funcargs.get(name)
            gateway = getattr(made, "gateway", made)
            if hasattr(gateway, "log_path") and os.path.exists(gateway.log_path):
                report.sections.append((f"log of the {name}", gateway.log()))
        if clos := item.funcargs.get("clos"):
            # A fabric that has just failed a test may not answer; that must not hide the failure.
            try:
                lacking = clos.report()
            except (OSError, ValueError, AssertionError, subprocess.SubprocessError) as error:
                lacking = f"it does not say: {error}"
            report.sections.append(("what the fabric lacks", lacking))
