"""FRR in a namespace: zebra, bgpd and bfdd with sockets and files of their own, nothing in /etc or /run/frr."""

import contextlib
import glob
import json
import os
import re
import shlex
import shutil
import signal
import subprocess

from testbed import run, wait_until

DAEMONS = "/usr/lib/frr"
FIRST = ("mgmtd", "zebra")
START_SECONDS = 20

# Where another system's FRR is to be taken from (`frr10`), with /tmp and /proc in their places there. Its /run/frr, where
# sockets are that no option names, is the folder of each FRR.
FRR_ROOT = os.environ.get("FRR_ROOT", "")
ENTER_ROOT = 'mount --bind "$0" "$FRR_ROOT/run/frr" && exec chroot "$FRR_ROOT" "$@"'

# What vtysh of FRR 10 says while mgmtd still reads what it starts with. It asks every 100 ms until it
# is let in, and then loads all of the config.
WAITING = re.compile("% Can't enter config; (running|candidate) datastore locked by another session")


class Frr:
    """FRR under the config and the `daemons` file of that text, as Debian's start script would run it."""

    def __init__(self, bed, namespace, config, daemons):
        self.bed = bed
        self.namespace = namespace
        self.directory = os.path.join(bed.directory, f"frr-{namespace}")
        self.processes = {}
        # The daemons run as the user frr, who must get at the folder and may make sockets in it.
        os.chmod(bed.directory, 0o711)
        os.mkdir(self.directory)
        shutil.chown(self.directory, *_frr_user())
        for name, text in (("frr.conf", config), ("vtysh.conf", "")):
            with open(self._path(name), "w", encoding="utf-8") as file:
                file.write(text)
        self.options = _options(daemons)

    def launch(self):
        """Starts zebra, and mgmtd where newer ones have their interfaces from that, without waiting for them."""
        for name in FIRST:
            if name in self.options:
                self.start_daemon(name)

    def configure(self):
        """Starts the other daemons once zebra listens, for they ask again only after 10 seconds; and has vtysh load
        the config as Debian's start script does."""
        self._wait_for(["zserv.api"])
        for name in self.options:
            if name not in FIRST:
                self.start_daemon(name)
        self._wait_for([f"{name}.vty" for name in self.options])
        said = run(*self._program("vtysh"), "--vty_socket", self.directory, "--config_dir", self.directory, "-b")
        assert "% " not in WAITING.sub("", said), f"FRR refuses its config:\n{said}"

    def _wait_for(self, sockets):
        def there():
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended with status {process.returncode}\n{self.log()}"
            return all(os.path.exists(self._path(name)) for name in sockets)

        wait_until(there, START_SECONDS, f"{sockets} of FRR in {self.namespace}")

    def start_daemon(self, name):
        """Starts one daemon, without a TCP port for the console (`-P 0`)."""
        command = [*self._program(f"{DAEMONS}/{name}"), *self.options[name], "-P", "0", "--log", "stdout",
                   "-z", self._path("zserv.api"), "--vty_socket", self.directory, "-i", self._path(f"{name}.pid")]
        if name != "mgmtd":
            command += ["-f", "/dev/null"]
        # Older ones have a socket besides, for programs that nobody runs here.
        if name == "bfdd" and "--bfdctl" in run(*self._program(f"{DAEMONS}/{name}"), "--help"):
            command += ["--bfdctl", self._path("bfdd.sock")]
        with open(self._path("log"), "ab") as log:
            self.processes[name] = self.bed.start(*command, namespace=self.namespace, stdout=log, stderr=log)

    def vtysh(self, *commands):
        """What vtysh answers to the commands."""
        options = [word for command in commands for word in ("-c", command)]
        return run(*self._program("vtysh"), "--vty_socket", self.directory, "--config_dir", self.directory, *options)

    def show(self, what):
        """`show WHAT json`, parsed; empty where there is nothing to show."""
        text = self.vtysh(f"show {what} json")
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(text)
        return {}

    def kill(self, name):
        """SIGKILL to one daemon."""
        self.processes[name].send_signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.processes[name].wait(10)

    def restart(self):
        """SIGKILL to what is left of the daemons; then all of them again."""
        for name in list(self.processes):
            self.kill(name)
        self.processes.clear()
        for path in (*glob.glob(self._path("*.vty")), self._path("zserv.api")):
            os.unlink(path)
        self.launch()
        self.configure()

    def log(self, lines=30):
        """The last lines that the daemons logged."""
        with open(self._path("log"), encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:])

    def _program(self, path):
        """What starts a program of FRR's."""
        if not FRR_ROOT:
            return [path]
        return ["unshare", "--mount", "sh", "-c", ENTER_ROOT, self.directory, path]

    def _path(self, name):
        return os.path.join(self.directory, name)


def _frr_user():
    """The numbers of the user and the group that the daemons run as."""
    with open(f"{FRR_ROOT}/etc/passwd", encoding="utf-8") as file:
        fields = next(line.split(":") for line in file if line.startswith("frr:"))
    return int(fields[2]), int(fields[3])


def _options(daemons):
    """From a `daemons` file, the daemons that run and their options; those that always run first."""
    settings = dict(word.split("=", 1) for word in shlex.split(daemons, comments=True))
    names = [name for name in FIRST if os.path.exists(f"{FRR_ROOT}{DAEMONS}/{name}")]
    names += [name for name, value in settings.items() if value == "yes" and name != "vtysh_enable"]
    return {name: shlex.split(settings.get(f"{name}_options", "")) for name in names}
