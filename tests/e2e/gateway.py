"""The gateway under test: its config, its process, its metrics and its control socket."""

import http.client
import json
import os
import re
import signal
import subprocess

from testbed import ROOT, file_prefix, inside, run, settle, wait_until

VTEPD = os.environ.get("VTEPD_BIN", os.path.join(ROOT, "target", "release", "vtepd"))
VTEPCTL = os.environ.get("VTEPCTL_BIN", os.path.join(os.path.dirname(VTEPD), "vtepctl"))
START_SECONDS = 30


class Config:
    """A gateway's config as tables and keys, written as TOML."""

    def __init__(self, address="10.0.0.1", **vtep):
        self.driver = "net_tap"
        self.vtep = {"address": address, **vtep}
        self.dpdk = {"hugepages": False, "memory_mib": 256}
        self.workers = {"cores": [max(os.sched_getaffinity(0))], "idle": "adaptive"}
        self.qos = {}
        self.fdb = {}
        self.stats = {"listen": "127.0.0.1:9478"}
        self.api = {}
        self.ports = []
        self.bridges = []
        self.neighbours = []
        self.statics = []
        self.bindings = []

    def uplink(self, name="uplink0", interface="up0", **keys):
        """Adds an uplink on an interface of the kernel."""
        return self._port(name, interface, "uplink", mtu=keys.pop("mtu", 9100), **keys)

    def access(self, name="trunk0", interface="ac0", **keys):
        """Adds an access port on an interface of the kernel."""
        return self._port(name, interface, "access", mtu=keys.pop("mtu", 9000), **keys)

    def _port(self, name, interface, role, **keys):
        device = keys.pop("device", f"{self.driver}{len(self.ports)},iface={interface}")
        self.ports.append({"name": name, "device": device, "role": role, **keys})
        return self

    def bridge(self, vni, vlan, ports, remotes=(), **keys):
        """Adds a bridge; `vlan` None is untagged."""
        table = {"vni": vni, "ports": list(ports), "remotes": list(remotes), **keys}
        if vlan is not None:
            table["vlan"] = vlan
        self.bridges.append(table)
        return self

    def neighbour(self, address, mac, port="uplink0"):
        """Adds a next hop."""
        self.neighbours.append({"address": address, "mac": mac, "port": port})
        return self

    def static(self, **keys):
        """Adds a static FDB entry."""
        self.statics.append(keys)
        return self

    def text(self):
        """The TOML text."""
        lines = []
        for name in ("vtep", "dpdk", "workers", "qos", "fdb", "stats", "api"):
            if table := getattr(self, name):
                lines += [f"[{name}]", *_keys(table), ""]
        many = (("port", self.ports), ("bridge", self.bridges), ("neighbour", self.neighbours),
                ("static", self.statics), ("binding", self.bindings))
        for name, tables in many:
            for table in tables:
                lines += [f"[[{name}]]", *_keys(table), ""]
        return "\n".join(lines)


def _keys(table):
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value):
    # TOML's strings, numbers and booleans are written as JSON's are.
    if isinstance(value, dict):
        return f"{{ {', '.join(_keys(value))} }}"
    return f"[{', '.join(map(_value, value))}]" if isinstance(value, list) else json.dumps(value)


class Gateway:
    """A running `vtepd` in a namespace of its own. Those of one test have different numbers."""

    def __init__(self, testbed, config, namespace=None, number=1):
        self.testbed = testbed
        self.config = config
        self.namespace = namespace or testbed.namespace("gw", ipv6=False)
        self.config_path = os.path.join(testbed.directory, f"gateway-{number}.toml")
        self.log_path = os.path.join(testbed.directory, f"gateway-{number}.log")
        config.dpdk.setdefault("file_prefix", file_prefix(testbed, number))
        config.api.setdefault("socket", os.path.join(testbed.directory, f"vtepd-{number}.sock"))
        self.process = None
        # What the daemon is started by, if not directly.
        self.wrapper = ()

    def write_config(self, text=None):
        """Writes the config, or the text in its place."""
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(self.config.text() if text is None else text)

    def start(self):
        """Starts the daemon and waits until it is ready."""
        self.launch()
        wait_until(self._ready_or_dead, START_SECONDS, f"the gateway to be ready; its log:\n{self.log()}")
        assert self.process.poll() is None, f"vtepd ended with status {self.process.returncode}:\n{self.log()}"
        return self

    def launch(self):
        """Starts the daemon without waiting for it."""
        self.write_config()
        with open(self.log_path, "ab") as log:
            self.process = self.testbed.start(*self.wrapper, VTEPD, "--config", self.config_path,
                                              namespace=self.namespace, stdout=log, stderr=log)

    def _ready_or_dead(self):
        if self.process.poll() is not None:
            return True
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def log(self):
        """What the daemon logged so far."""
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def move(self, interface, namespace, mac, mtu=None, name=None):
        """Moves the kernel's end of a TAP. It gets a MAC of its own: the device's is the gateway port's. And a name,
        if one is given."""
        name = name or interface
        run("ip", "-n", self.namespace, "link", "set", interface, "netns", namespace, "name", name)
        interface = name
        run("ip", "-n", namespace, "link", "set", interface, "address", mac)
        if mtu:
            run("ip", "-n", namespace, "link", "set", interface, "mtu", str(mtu))
        run("ip", "-n", namespace, "link", "set", interface, "up")

    def get(self, path):
        """GET from the stats thread: (status, body)."""
        host, port = self.config.stats["listen"].rsplit(":", 1)
        with inside(self.namespace):
            connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=5)
            connection.connect()
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metrics(self):
        """All samples: {(name, frozenset of label pairs): value}."""
        status, body = self.get("/metrics")
        assert status == 200, body
        return parse_metrics(body)

    def total(self, name, **labels):
        """The sum of the samples of that name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (found, have), value in self.metrics().items() if found == name and wanted <= have)

    def dropped(self, reason):
        """Packets dropped for that reason."""
        return self.total("vtepd_dropped_packets_total", reason=reason)

    def vtepctl(self, *arguments, check=True):
        """Runs vtepctl against this gateway and returns its result."""
        command = [VTEPCTL, "--socket", self.config.api["socket"], *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        if check:
            assert result.returncode == 0, f"{' '.join(command)}: {result.returncode}\n{result.stdout}{result.stderr}"
        return result

    def show(self, what):
        """`vtepctl show WHAT --json`, parsed."""
        return json.loads(self.vtepctl("show", what, "--json").stdout)

    def stop(self, seconds=10):
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def reload(self, text=None):
        """Writes a config and sends SIGHUP; returns the log from there on, a moment after it says what became of that."""
        before = len(self.log())
        self.write_config(text)
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any(words in self.log()[before:] for words in (" applied: ", "was not reloaded")), 10,
                   "the log to say what became of the reload")
        settle(0.3)
        return self.log()[before:]


def parse_metrics(text):
    """Prometheus text format to {(name, frozenset of label pairs): value}."""
    samples = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?", line)
            assert match, f"not a sample: {line!r}"
            labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or "")
            samples[match[1], frozenset(labels)] = float(match[3])
    return samples
