"""Removes what a test run made when the run itself cannot: it waits until the run's end of a pipe closes, which
happens also when the run is killed, and then removes everything that carries the run's name."""

import os
import signal
import subprocess
import sys

import testbed


def start():
    """Starts the reaper of this process and returns its process; closing its stdin sets it to work."""
    environment = {key: value for key, value in os.environ.items() if key != testbed.RUN_VARIABLE}
    return subprocess.Popen([sys.executable, "-I", "-c", _PROGRAM, os.path.dirname(__file__), testbed.RUN],
                            stdin=subprocess.PIPE, start_new_session=True, env=environment)


_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); import reaper; reaper.main(sys.argv[2])"


def main(run_name):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    if testbed.leftovers(run_name):
        testbed.remove_everything(run_name)
