"""Network namespaces, links and processes of one test, and their removal.

All that is made carries the run's name: namespaces `vtepd-RUN-...`, and processes the environment variable
VTEPD_TEST_RUN. `remove_everything(RUN)` finds it by that alone, so that it serves the normal end, a failed test and the
reaper (`reaper.py`), which acts when the test process was killed.
"""

import contextlib
import ctypes
import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

RUN = f"{os.getpid():x}"
RUN_VARIABLE = "VTEPD_TEST_RUN"
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = iter(range(1, 1 << 20))


def run(*command, check=True, **options):
    """Runs a command to its end, at most 30 seconds, and returns what it printed."""
    options.setdefault("timeout", 30)
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: status {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


@contextlib.contextmanager
def inside(namespace):
    """This thread is in the namespace; sockets opened here stay in it."""
    with open("/proc/thread-self/ns/net", "rb") as before, open(f"/run/netns/{namespace}", "rb") as target:
        _setns(target)
        try:
            yield
        finally:
            _setns(before)


def _setns(file):
    if _libc.setns(file.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


# So much of a look's time counts, and what is longer is taken for a machine that stood still.
LOOK_SECONDS = 0.2


def looks(seconds, every=0.02):
    """Gives as many looks as fit into the time that the machine runs, with a pause between: whether it is the last one.
    Where it stands still nothing comes on, and that time does not count; but for three times as long at the most, and ten
    seconds in any case."""
    left, end = seconds, time.monotonic() + max(3 * seconds, 10)
    while left > 0 and time.monotonic() < end:
        began = time.monotonic()
        yield False
        time.sleep(every)
        left -= min(time.monotonic() - began, every + LOOK_SECONDS)
    yield True


def wait_until(condition, seconds, what, every=0.02):
    """Waits until the condition holds and returns its value; fails with `what` when it does not in time."""
    for is_last in looks(seconds, every):
        value = condition()
        if value:
            return value
        if is_last:
            raise AssertionError(f"not within {seconds} s: {what}")


def settle(seconds):
    """Lets everything that is under way arrive: waits until the machine has run for so long."""
    left = seconds
    while left > 0:
        began = time.monotonic()
        time.sleep(min(0.02, left))
        left -= min(time.monotonic() - began, 0.04)


class Stalls:
    """How long this machine stood still while the `with` was entered, in seconds: what a test may not hold against the
    gateway, or FRR. Only what is longer than any busy machine makes a thread wait counts."""

    USUAL = 0.05
    INTERVAL = 0.01

    def __init__(self):
        # The sum, the longest, and since when the thread waits: taken and set at once.
        self._state = 0.0, 0.0, time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._state = 0.0, 0.0, time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    @property
    def seconds(self):
        """All of them so far, with one that has just ended."""
        return self._now()[0]

    @property
    def longest(self):
        """The longest one of them."""
        return self._now()[1]

    def _now(self):
        """The sum and the longest, with what the thread that watches waits already, where that is too long."""
        total, longest, began = self._state
        late = time.monotonic() - began - self.INTERVAL if self._thread.is_alive() else 0.0
        return (total + late, max(longest, late)) if late > self.USUAL else (total, longest)

    def _watch(self):
        is_over = False
        while not is_over:
            is_over = self._over.wait(self.INTERVAL)
            self._state = *self._now(), time.monotonic()


class Testbed:
    """Makes namespaces and processes, and removes them in the reverse order."""

    __test__ = False

    def __init__(self):
        self.number = next(_numbers)
        self.name = f"{RUN}-{self.number}"
        self.directory = tempfile.mkdtemp(prefix=f"vtepd-{self.name}-")
        self.namespaces = []
        self.processes = []

    def namespace(self, role, ipv6=True):
        """Makes a namespace with its loopback up and without addresses or chatter of its own."""
        name = f"vtepd-{self.name}-{role}"
        run("ip", "netns", "add", name)
        self.namespaces.append(name)
        for scope in ("default", "all"):
            settings = {"disable_ipv6": 0 if ipv6 else 1, "router_solicitations": 0, "accept_ra": 0,
                        "addr_gen_mode": 1 if scope == "default" else None, "accept_dad": 0}
            for key, value in settings.items():
                if value is not None:
                    run("ip", "netns", "exec", name, "sysctl", "-qw", f"net.ipv6.conf.{scope}.{key}={value}")
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def veth(self, namespace, name, peer_namespace, peer_name, mtu=9100):
        """Joins two namespaces. Checksums and tags are in the frames before the wire: a capture shall see them
        right, and AF_XDP does not see what is only noted beside a frame."""
        run("ip", "-n", namespace, "link", "add", name, "mtu", str(mtu), "type", "veth", "peer", "name", peer_name,
            "netns", peer_namespace)
        run("ip", "-n", peer_namespace, "link", "set", peer_name, "mtu", str(mtu))
        for where, device in ((namespace, name), (peer_namespace, peer_name)):
            run("ip", "netns", "exec", where, "ethtool", "-K", device, "tx", "off", "txvlan", "off", check=False)
            run("ip", "-n", where, "link", "set", device, "up")

    def start(self, *command, namespace=None, **options):
        """Starts a process that ends with the test bed."""
        if namespace:
            command = ("ip", "netns", "exec", namespace, *command)
        environment = {**os.environ, RUN_VARIABLE: RUN, **options.pop("env", {})}
        process = subprocess.Popen(command, env=environment, **options)
        self.processes.append(process)
        return process

    def close(self):
        """Ends the processes and removes the namespaces. May be called twice."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(10)
        for name in reversed(self.namespaces):
            _remove_namespace(name)
        self.processes.clear()
        self.namespaces.clear()
        _remove_dpdk_files(self.name)
        shutil.rmtree(self.directory, ignore_errors=True)


def file_prefix(testbed, number=1):
    """DPDK's file prefix of the bed's gateway: it names the run too."""
    return f"vtepd-{testbed.name}-{number}"


def namespaces_of(run_name):
    """The run's namespaces."""
    names = os.listdir("/run/netns") if os.path.isdir("/run/netns") else []
    return sorted(name for name in names if name.startswith(f"vtepd-{run_name}-"))


def processes_of(run_name):
    """The process ids that carry the run's name in their environment, without this process and zombies."""
    found = []
    for path in glob.glob("/proc/[0-9]*/environ"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if f"{RUN_VARIABLE}={run_name}".encode() in file.read().split(b"\0"):
                found.append(int(path.split("/")[2]))
    return sorted(set(found) - {os.getpid(), os.getppid()})


def files_of(run_name):
    """Run-time folders of DPDK, hugepage files, sockets and temporary folders of the run."""
    patterns = (f"/var/run/dpdk/vtepd-{run_name}-*", f"/dev/hugepages/vtepd-{run_name}-*",
                f"/run/vtepd/vtepd-{run_name}-*", f"{tempfile.gettempdir()}/vtepd-{run_name}-*")
    return sorted(path for pattern in patterns for path in glob.glob(pattern))


def taps():
    """TAP devices in this process's own namespace."""
    return sorted(re.findall(r"^\d+: (\S+?)[:@]", run("ip", "-o", "link", "show", "type", "tun"), re.MULTILINE))


def leftovers(run_name):
    """Whatever the run left, as lines for a person; empty when it left nothing."""
    return ([f"namespace {name}" for name in namespaces_of(run_name)]
            + [f"process {pid}" for pid in processes_of(run_name)]
            + [f"file {path}" for path in files_of(run_name)])


def remove_everything(run_name):
    """Removes what the run made, however it ended."""
    for signal_number, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        for pid in processes_of(run_name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal_number)
        end = time.monotonic() + seconds
        while processes_of(run_name) and time.monotonic() < end:
            time.sleep(0.05)
    for name in namespaces_of(run_name):
        _remove_namespace(name)
    for path in files_of(run_name):
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _remove_namespace(name):
    for pid in run("ip", "netns", "pids", name, check=False).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    run("ip", "netns", "del", name, check=False)


def _remove_dpdk_files(bed_name):
    for path in glob.glob(f"/var/run/dpdk/vtepd-{bed_name}-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in glob.glob(f"/dev/hugepages/vtepd-{bed_name}-*"):
        os.unlink(path)


def in_thread(function, *arguments):
    """Runs the function in a thread; `join()` on the answer gives its result or raises its exception."""
    return _Outcome(function, arguments)


class _Outcome:
    def __init__(self, function, arguments):
        self._result = None
        self._error = None
        self._thread = threading.Thread(target=self._work, args=(function, arguments), daemon=True)
        self._thread.start()

    def _work(self, function, arguments):
        try:
            self._result = function(*arguments)
        except BaseException as error:  # handed to the thread that joins
            self._error = error

    def done(self):
        """Whether it has ended."""
        return not self._thread.is_alive()

    def join(self, seconds):
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"not done within {seconds} s"
        if self._error:
            raise self._error
        return self._result
