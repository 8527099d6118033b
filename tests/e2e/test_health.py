"""`/healthz` and `vtepctl check` name a thread that stands still, whichever it is, and no other."""

import contextlib
import ctypes
import json
import os

import pytest

from overlay import Overlay
from pings import Pinging, pinged
from testbed import run, wait_until

# By ptrace(2) one thread of a process can be stopped, and the others run on.
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
WALL = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]

# How long each may stand still before it is said (5 s; what waits for the kernel 15 s), and looked at each second.
NOTICED_SECONDS = {"worker 0": 10, "the control thread": 10, "vtepd-netlink": 10, "vtepd-exception": 10,
                   "vtepd-kernel": 20, "vtepd-nexthops": 20, "vtepd-dumps": 20, "vtepd-survey": 20}
# What the system calls those that are not called what people call them.
NAMES = {"worker 0": "vtepd-worker0", "the control thread": "vtepd"}


@pytest.fixture(scope="module", name="overlay")
def make_overlay():
    """An overlay whose gateway takes part in the kernel's tables: all of its threads run."""
    made = Overlay("ipv4", access_ports=1, configure=lambda overlay: overlay.config.vtep.update(underlay="kernel"))
    yield made
    made.close()


def thread_of(process, name):
    """The id of a process's thread."""
    for thread in os.listdir(f"/proc/{process}/task"):
        with open(f"/proc/{process}/task/{thread}/comm", encoding="utf-8") as file:
            if file.read().strip() == name:
                return int(thread)
    raise AssertionError(f"process {process} has no thread {name}")


def _ptrace(request, thread):
    if _libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace of thread {thread}")


@contextlib.contextmanager
def stopped(thread):
    """The thread does not move; everything else does."""
    _ptrace(PTRACE_ATTACH, thread)
    os.waitpid(thread, WALL)
    try:
        yield
    finally:
        _ptrace(PTRACE_DETACH, thread)


@pytest.mark.parametrize("name", NOTICED_SECONDS)
def test_a_thread_that_stands_still_is_named_until_it_moves_again(overlay, name):
    gateway = overlay.gateway
    assert gateway.get("/healthz") == (200, "ok\n")
    with stopped(thread_of(gateway.process.pid, NAMES.get(name, name))):
        wait_until(lambda: gateway.get("/healthz")[0] == 503, NOTICED_SECONDS[name], f"{name} to be missed", every=0.2)
        said = gateway.get("/healthz")[1].splitlines()
        assert len(said) == 1 and said[0].startswith(f"{name} has not moved for "), said
        check = gateway.vtepctl("check", "--json", check=False)
        found = {finding["name"]: finding["what"] for finding in json.loads(check.stdout)["findings"]}
        assert check.returncode == 1 and f"{name} has not moved" in found["thread_stuck"], found
    wait_until(lambda: gateway.get("/healthz") == (200, "ok\n"), 3, f"{name} to move again", every=0.1)
    assert "thread_stuck" not in gateway.vtepctl("check", "--json", check=False).stdout


def test_what_waits_for_a_worker_that_stands_still_is_told_and_goes_on(overlay):
    """A flush is done when every worker has passed by. A reload is not kept waiting."""
    gateway, good = overlay.gateway, overlay.config.text()
    with stopped(thread_of(gateway.process.pid, "vtepd-worker0")):
        gateway.write_config(good + '[[bridge]]\nvni = 101\nvlan = 101\nports = ["trunk0"]\n')
        assert "1 bridge," in gateway.vtepctl("reload").stdout
        flushed = gateway.vtepctl("fdb", "flush", "--all", check=False)
        assert flushed.returncode == 1 and "goes on" in flushed.stderr, flushed
        gateway.write_config(good)
        assert "0 bridges" in gateway.vtepctl("reload").stdout
    assert gateway.vtepctl("fdb", "flush", "--all").returncode == 0
    assert gateway.show("bridges")["total"] == 0


def test_packets_for_the_kernel_do_not_wait_for_who_asks_it(overlay):
    """Who asks the kernel for addresses waits while it removes links for anybody: a thousand take many seconds, in
    which a BFD session of 0.5 s would be lost."""
    gateway, remote = overlay.gateway, overlay.remotes[0]
    run("ip", "-n", gateway.namespace, "addr", "add", "10.0.0.201/24", "dev", "uplink0")
    wait_until(lambda: pinged(remote.namespace, "10.0.0.201", count=1) == 1, 5, "the kernel to answer")
    with stopped(thread_of(gateway.process.pid, "vtepd-survey")):
        assert Pinging(overlay.bed, remote.namespace, "10.0.0.201", 30, rate=10).missing() == []
