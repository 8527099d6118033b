"""The gateway on the desk: the built daemon, its ports on TAPs."""

import re
import subprocess

from gateway import VTEPD, Config, Gateway
from testbed import run

from .desk import WIRES, NotOffered
from .packets import DEVICE_MAC, VNI, VXLAN_PORT, address, announcements, remote_mac

UNDERLAY_MTU = ACCESS_MTU = 9000


class GatewayDevice:
    """A gateway with one bridge of untagged frames, and the settings that a row asks for."""

    name = "vtepd"

    def __init__(self, desk, controlled=False):
        self.family = desk.family
        self.port = VXLAN_PORT
        self.controlled = controlled
        self.gateway = Gateway(desk.bed, self._config())
        self.gateway.start()
        if controlled:
            self._make_control()
        for number, interface in enumerate(WIRES.values()):
            self.gateway.move(interface, desk.namespace, f"02:00:00:fa:00:{number:02x}", UNDERLAY_MTU)

    @staticmethod
    def version():
        """What the daemon calls itself."""
        return subprocess.run([VTEPD, "--version"], capture_output=True, text=True, check=True).stdout.strip()

    def _config(self, port=VXLAN_PORT, ageing=300, fdb=None, group=None, max_macs=None, statics=(), vlan=None, members=None,
                vtep=None, bridge=None):
        underlay = "kernel" if self.controlled else "static"
        config = Config(address(self.family, 0), underlay=underlay, udp_port=port, **(vtep or {}))
        config.uplink(mac=DEVICE_MAC, mtu=UNDERLAY_MTU)
        for number in (0, 1):
            config.access(f"access{number}", f"ac{number}", mtu=ACCESS_MTU)
        remotes = [address(self.family, number) for number in (1, 2)]
        limit = {} if max_macs is None else {"max_macs": max_macs}
        if group:
            limit["group"] = group
        control = {"control": "kernel", "kernel_device": "vx100"} if self.controlled else {}
        flood_list = [] if self.controlled or group else remotes
        config.bridge(VNI, None, ["access0", "access1"], flood_list, **limit, **control, **(bridge or {}))
        if vlan:
            if members:
                config.bridge(vlan, None, members, remotes)
            else:
                config.bridge(vlan, vlan, ["access0", "access1"], remotes)
        for number, remote in enumerate(remotes, 1):
            config.neighbour(remote, remote_mac(number))
        for mac, place in statics:
            where = {"port": place} if place.startswith("access") else {"remote": address(self.family, int(place[-1]))}
            config.static(vni=VNI, mac=mac, **where)
        # The rows move their few stations about; one of them asks what becomes of that.
        config.fdb = {"ageing": ageing, "max_moves": 0, **(fdb or {})}
        return config

    def configure(self, strict=False, clamp_mss=False, zero_checksum=False, dscp="inherit", tags=False, link_local=False,
                  learning=True, keys=None, **rest):
        """Reloads the config with these settings, and further keys of the bridge."""
        vtep = {"strict": strict, "udp_checksum": "zero" if zero_checksum else "full", "dscp": dscp}
        bridge = {"tags": "carry" if tags else "refuse", "link_local": link_local, "learning": learning,
                  "clamp_mss": clamp_mss, **(keys or {})}
        config = self._config(vtep=vtep, bridge=bridge, **rest)
        for section in ("dpdk", "api"):
            setattr(config, section, getattr(self.gateway.config, section))
        self.gateway.config = config
        self.gateway.write_config()
        answer = self.gateway.vtepctl("reload", check=False)
        if "has no key" in answer.stderr:
            raise NotOffered("the config file has no such key")
        assert answer.returncode == 0, answer.stderr
        self.port = rest.get("port", VXLAN_PORT)

    def _make_control(self):
        """A vxlan device in the gateway's namespace, with both remote VTEPs in its flood list."""
        run("ip", "-n", self.gateway.namespace, "link", "add", "vx100", "type", "vxlan", "id", str(VNI), "local",
            address(self.family, 0), "dstport", str(VXLAN_PORT), "nolearning")
        run("ip", "-n", self.gateway.namespace, "link", "set", "vx100", "up")
        for number in (1, 2):
            self.say("append", "00:00:00:00:00:00", number)

    def say(self, verb, mac, remote):
        """Has the control plane add an entry (`append`) or remove one (`del`)."""
        run("bridge", "-n", self.gateway.namespace, "fdb", verb, mac, "dev", "vx100", "dst",
            address(self.family, remote))

    def drops(self):
        """Packets dropped so far, by reason."""
        _, body = self.gateway.get("/metrics")
        pattern = r'^vtepd_dropped_packets_total\{reason="(\w+)"\} (\S+)'
        return {reason: float(value) for reason, value in re.findall(pattern, body, re.MULTILINE)}

    def suppress(self, desk):
        """Has it answer for known stations. Gives where one is that it can know."""
        desk.configure(keys={"neighbour_suppression": True})
        return "access0"

    def bind(self, desk, mac, addresses):
        """Lets it know a station's addresses: the station says so itself."""
        for announcement in announcements(mac, addresses):
            desk.exchange("access0", announcement)

    def damp(self, desk, moves, seconds):
        """Freezes a station with so many moves, for so long."""
        desk.configure(fdb={"max_moves": moves, "freeze": seconds})

    def limit(self, desk, what, rate):
        """Limits what is flooded of a kind of frames, in packets a second."""
        desk.configure(keys={f"{what}_limit": f"{rate} pps"})

    def has_vlans(self):
        """Whether access ports can be tagged."""
        return True

    def pads(self):
        """Whether padding is the device's and not its NIC's."""
        return True

    def alive(self):
        """The process runs."""
        return self.gateway.process.poll() is None
