"""The gateway on the desk: the built daemon, its ports on TAPs."""

import re
import subprocess

from gateway import VTEPD, Config, Gateway

from .desk import WIRES, NotOffered
from .packets import DEVICE_MAC, VNI, VXLAN_PORT, address, remote_mac

UNDERLAY_MTU = ACCESS_MTU = 9000


class GatewayDevice:
    """A gateway with one bridge of untagged frames, and the settings that a row asks for."""

    name = "vtepd"

    def __init__(self, desk):
        self.family = desk.family
        self.port = VXLAN_PORT
        self.gateway = Gateway(desk.bed, self._config())
        self.gateway.start()
        for number, interface in enumerate(WIRES.values()):
            self.gateway.move(interface, desk.namespace, f"02:00:00:fa:00:{number:02x}", UNDERLAY_MTU)

    @staticmethod
    def version():
        """What the daemon calls itself."""
        return subprocess.run([VTEPD, "--version"], capture_output=True, text=True, check=True).stdout.strip()

    def _config(self, port=VXLAN_PORT, ageing=300, max_macs=None, statics=(), vlan=None, vtep=None, bridge=None):
        config = Config(address(self.family, 0), underlay="static", udp_port=port, **(vtep or {}))
        config.uplink(mac=DEVICE_MAC, mtu=UNDERLAY_MTU)
        for number in (0, 1):
            config.access(f"access{number}", f"ac{number}", mtu=ACCESS_MTU)
        remotes = [address(self.family, number) for number in (1, 2)]
        limit = {} if max_macs is None else {"max_macs": max_macs}
        config.bridge(VNI, None, ["access0", "access1"], remotes, **limit, **(bridge or {}))
        if vlan:
            config.bridge(vlan, vlan, ["access0", "access1"], remotes)
        for number, remote in enumerate(remotes, 1):
            config.neighbour(remote, remote_mac(number))
        for mac, place in statics:
            where = {"port": place} if place.startswith("access") else {"remote": address(self.family, int(place[-1]))}
            config.static(vni=VNI, mac=mac, **where)
        config.fdb["ageing"] = ageing
        return config

    def configure(self, strict=False, zero_checksum=False, dscp="inherit", tags=False, link_local=False,
                  learning=True, **rest):
        """Reloads the config with these settings."""
        vtep = {"strict": strict, "udp_checksum": "zero" if zero_checksum else "full", "dscp": dscp}
        bridge = {"tags": "carry" if tags else "refuse", "link_local": link_local, "learning": learning}
        config = self._config(vtep=vtep, bridge=bridge, **rest)
        for section in ("dpdk", "api"):
            setattr(config, section, getattr(self.gateway.config, section))
        self.gateway.config = config
        self.gateway.write_config()
        answer = self.gateway.vtepctl("reload", check=False)
        if answer.returncode != 0:
            raise NotOffered(answer.stderr.strip())
        self.port = rest.get("port", VXLAN_PORT)

    def drops(self):
        """Packets dropped so far, by reason."""
        _, body = self.gateway.get("/metrics")
        pattern = r'^vtepd_dropped_packets_total\{reason="(\w+)"\} (\S+)'
        return {reason: float(value) for reason, value in re.findall(pattern, body, re.MULTILINE)}

    def has_vlans(self):
        """Whether access ports can be tagged."""
        return True

    def pads(self):
        """Whether padding is the device's and not its NIC's."""
        return True

    def alive(self):
        """The process runs."""
        return self.gateway.process.poll() is None
