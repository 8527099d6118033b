"""lldpd in a namespace, with a socket of its own."""

import json
import os

from testbed import run, wait_until


def _text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


class Lldpd:
    """A running lldpd that speaks on these interfaces of a namespace, under this name."""

    def __init__(self, bed, namespace, name, *interfaces):
        # lldpcli gives up root's rights before it opens the socket.
        os.chmod(bed.directory, 0o755)
        self.socket = os.path.join(bed.directory, f"lldpd-{name}.sock")
        log = os.path.join(bed.directory, f"lldpd-{name}.log")
        with open(log, "wb") as file:
            bed.start("/usr/sbin/lldpd", "-d", "-u", self.socket, "-I", ",".join(interfaces), "-S", name,
                      namespace=namespace, stdout=file, stderr=file)
        # It starts paused, and its own lldpcli lets it go on: by handing it the whole configuration, as ours does. What
        # one of the two changes while the other is at it is lost.
        wait_until(lambda: "lldpd should resume operations" in _text(log), 10, f"lldpd {name} to begin")
        self._cli("configure", "system", "hostname", name)
        self._cli("configure", "lldp", "tx-interval", "1")

    def _cli(self, *command):
        return run("/usr/sbin/lldpcli", "-u", self.socket, *command)

    def neighbours(self):
        """Whom it hears: {interface: name}."""
        found = json.loads(self._cli("-f", "json0", "show", "neighbors"))
        heard = {}
        for table in found["lldp"]:
            for interface in table.get("interface", ()):
                names = [chassis["name"][0]["value"] for chassis in interface["chassis"] if "name" in chassis]
                heard[interface["name"]] = names[0] if names else None
        return heard
