"""FRR in a namespace: zebra and bgpd, as a VTEP's control plane (EVPN, RFC 8365)."""

import os
import shutil
import subprocess

from testbed import run, wait_until

DAEMONS = "/usr/lib/frr"

ZEBRA = "hostname {name}\nno zebra nexthop kernel enable\n"

BGPD = """hostname {name}
router bgp {autonomous_system}
 bgp router-id {router_id}
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 neighbor {peer} remote-as external
 neighbor {peer} timers 1 3
 neighbor {peer} timers connect 1
 address-family l2vpn evpn
  neighbor {peer} activate
  advertise-all-vni
 exit-address-family
"""


class Frr:
    """zebra and bgpd of one namespace."""

    def __init__(self, bed, namespace, number, peer):
        self.bed = bed
        self.namespace = namespace
        self.folder = os.path.join(bed.directory, f"frr{number}")
        os.mkdir(self.folder)
        # The daemons leave root as soon as they can.
        os.chmod(bed.directory, 0o711)
        shutil.chown(self.folder, "frr", "frr")
        values = {"name": f"frr{number}", "autonomous_system": 65000 + number, "router_id": f"10.255.0.{number}",
                  "peer": peer}
        self.processes = {}
        for daemon, text in (("zebra", ZEBRA), ("bgpd", BGPD)):
            with open(os.path.join(self.folder, f"{daemon}.conf"), "w", encoding="utf-8") as file:
                file.write(text.format(**values))
            self.start(daemon)
            # A bgpd that is there before zebra does not tell it of EVPN when it comes.
            wait_until(lambda: os.path.exists(os.path.join(self.folder, f"{daemon}.vty")), 10, f"{daemon} to run")

    def start(self, daemon):
        """Starts a daemon with its files in the folder; its own sockets, and no TCP port for people."""
        at = lambda name: os.path.join(self.folder, name)  # noqa: E731
        more = ("-s", "90000000") if daemon == "zebra" else ()
        with open(at(f"{daemon}.log"), "ab") as log:
            self.processes[daemon] = self.bed.start(
                os.path.join(DAEMONS, daemon), "-f", at(f"{daemon}.conf"), "-z", at("zserv"), "--vty_socket",
                self.folder, "-i", at(f"{daemon}.pid"), "-P", "0", *more,
                namespace=self.namespace, stdout=log, stderr=subprocess.STDOUT)

    def show(self, daemon, command):
        """What `vtysh` says."""
        return run("vtysh", "--vty_socket", self.folder, "-d", daemon, "-c", command)
