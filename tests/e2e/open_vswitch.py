"""Open vSwitch with its userspace datapath, in a namespace of a test bed: a database and a switch of its own."""

import os

from testbed import run, wait_until

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class OpenVswitch:
    """A switch with one bridge, `ovs0`, and more where asked for. It ends with the bed."""

    def __init__(self, bed, namespace):
        self.namespace = namespace
        self.folder = os.path.join(bed.directory, "ovs")
        os.mkdir(self.folder)
        database, socket = self._path("conf.db"), self._path("db.sock")
        run("ovsdb-tool", "create", database, SCHEMA)
        environment = {"OVS_RUNDIR": self.folder, "OVS_LOGDIR": self.folder, "OVS_DBDIR": self.folder}
        with open(self._path("log"), "wb") as log:
            options = {"namespace": namespace, "env": environment, "stdout": log, "stderr": log}
            bed.start("ovsdb-server", database, f"--remote=punix:{socket}", "--no-chdir",
                      f"--unixctl={self._path('db.ctl')}", **options)
            wait_until(lambda: os.path.exists(socket), 10, "the database's socket")
            self.configure("--no-wait", "init")
            bed.start("ovs-vswitchd", f"unix:{socket}", "--no-chdir", f"--unixctl={self._path('ctl')}", **options)
        self.configure("set", "Open_vSwitch", ".", "other_config:vlan-limit=2")
        self.bridge("ovs0")

    def _path(self, name):
        return os.path.join(self.folder, name)

    def configure(self, *arguments):
        """ovs-vsctl."""
        return run("ovs-vsctl", f"--db=unix:{self._path('db.sock')}", "--timeout=10", *arguments)

    def bridge(self, name, *settings, mtu=None):
        """Adds a bridge, whose device of that name is the namespace's."""
        mtus = ("--", "set", "interface", name, f"mtu_request={mtu}") if mtu else ()
        self.configure("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev", *settings, *mtus)

    def tunnel(self, name, remote, local, vni):
        """Adds a VXLAN tunnel as a port of `ovs0`."""
        self.configure("add-port", "ovs0", name, "--", "set", "interface", name, "type=vxlan",
                       f"options:remote_ip=\"{remote}\"", f"options:local_ip=\"{local}\"", f"options:key={vni}")

    def neighbour(self, bridge, address, mac):
        """Says a neighbour of a bridge that tunnels go out of."""
        run("ovs-appctl", "--target", self._path("ctl"), "tnl/neigh/set", bridge, address, mac)

    def port(self, device, *settings):
        """Adds a device of the namespace as a port."""
        more = ("--", "set", "port", device, *settings) if settings else ()
        self.configure("add-port", "ovs0", device, *more)
