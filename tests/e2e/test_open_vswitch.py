"""Open vSwitch's userspace datapath as a peer: as the switch behind an access port, in each of its VLAN modes, and as a
remote VTEP."""

import pytest

from frames import Capture
from open_vswitch import OpenVswitch
from overlay import GATEWAY_UPLINK_MAC, UNDERLAY_MTU, Overlay, Station
from test_vlan_modes import CUSTOMER, tags_of
from testbed import run, wait_until

VNI, VLAN, OTHER_VNI, OTHER_VLAN = 101, 30, 102, 40

# How Open vSwitch has VLAN 30 on its port to the gateway, what of the gateway's config is the same, and what tags frames
# of it then have on the link: those of the switch, and those of the gateway.
BOTH = f"trunks={VLAN},{OTHER_VLAN}"
MODES = {
    "access": (("vlan_mode=access", f"tag={VLAN}"), {"untagged": True}, [], []),
    "trunk": (("vlan_mode=trunk", BOTH), {"vlan": VLAN}, [VLAN], [VLAN]),
    "native-untagged": (("vlan_mode=native-untagged", f"tag={VLAN}", BOTH), {"vlan": VLAN, "native": True}, [], []),
    "native-tagged": (("vlan_mode=native-tagged", f"tag={VLAN}", BOTH), {"vlan": VLAN}, [VLAN], [VLAN]),
    "priority-tagged": (("vlan_mode=native-untagged", f"tag={VLAN}", BOTH), {"untagged": True, "priority_tag": True},
                        [], [0]),
}


def customer(made, switch, vlan, number, vni):
    """A host with addresses in the VNI, on an access port of the switch with this VLAN, or with none."""
    namespace = made.bed.namespace(f"customer{number}")
    made.bed.veth(switch.namespace, f"to-c{number}", namespace, "eth0", made.medium.overlay_mtu)
    switch.port(f"to-c{number}", *(("vlan_mode=access", f"tag={vlan}") if vlan else ()))
    station = Station(namespace, "eth0", number, vni)
    station.take_addresses(1400)
    return station


def talk(one, other):
    """Both answer each other, over either family."""
    wait_until(lambda: one.ping(other.ipv4) == 3 and other.ping(one.ipv6) == 3, 20, "all pings to be answered")


@pytest.mark.parametrize("mode", MODES)
def test_a_vlan_of_open_vswitch_is_the_bridges_in_each_of_its_modes(mode):
    settings, place, theirs, ours = MODES[mode]

    def configure(overlay):
        overlay.config.bridge(VNI, None, [{"port": "trunk0", **place}], overlay.remote_addresses)
        overlay.config.bridge(OTHER_VNI, OTHER_VLAN, ["trunk0"], overlay.remote_addresses)

    made = Overlay(access_ports=1, remotes=1, configure=configure)
    try:
        made.full_mesh([VNI, OTHER_VNI])
        switch = OpenVswitch(made.bed, made.host_namespaces[0])
        switch.port("ac0", *settings)
        here, far = customer(made, switch, VLAN, 9, VNI), made.remotes[0].station(VNI)
        with Capture(switch.namespace, "ac0", outgoing=True) as capture:
            talk(here, far)
        of_host = [seen for seen in list(capture.seen) if here.mac().replace(":", "") in seen.frame[:12].hex()]
        forms = {(seen.outgoing, tuple(tci & 0x0FFF for _, tci in tags_of(seen.frame))) for seen in of_host}
        assert forms == {(True, tuple(theirs)), (False, tuple(ours))}, forms
        assert all(ethertype == CUSTOMER for seen in of_host for ethertype, _ in tags_of(seen.frame))
        if mode != "access":
            # Another VLAN of the same link is another bridge.
            other = customer(made, switch, OTHER_VLAN, 8, OTHER_VNI)
            talk(other, made.remotes[0].station(OTHER_VNI))
            assert here.ping(other.ipv4, count=1) == 0
        entries = {entry["mac"]: entry["vni"] for entry in made.gateway.show("fdb")["items"]}
        assert entries[here.mac()] == VNI
    finally:
        made.close()


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_open_vswitch_is_a_remote_vtep(family):
    def configure(overlay):
        overlay.config.bridge(VNI, VLAN, ["trunk0"], overlay.remote_addresses)

    made = Overlay(family, access_ports=1, remotes=2, configure=configure)
    try:
        remote, kernel = made.remotes
        kernel.bridges([VNI], [made.underlay.gateway, remote.address])
        switch = OpenVswitch(made.bed, remote.namespace)
        # Its userspace datapath sends tunnels out of a bridge that has the underlay's address.
        run("ip", "-n", remote.namespace, "addr", "flush", "dev", "eth0")
        switch.bridge("fabric0", f"other_config:hwaddr=\"{remote.mac}\"", mtu=UNDERLAY_MTU)
        switch.configure("add-port", "fabric0", "eth0")
        prefix = f"{remote.address}/{made.underlay.length}"
        options = ("nodad",) if family == "ipv6" else ()
        run("ip", "-n", remote.namespace, "addr", "add", prefix, "dev", "fabric0", *options)
        run("ip", "-n", remote.namespace, "link", "set", "fabric0", "up")
        switch.neighbour("fabric0", made.underlay.gateway, GATEWAY_UPLINK_MAC)
        switch.neighbour("fabric0", kernel.address, kernel.mac)
        for name, address in (("gateway0", made.underlay.gateway), ("kernel0", kernel.address)):
            switch.tunnel(name, address, remote.address, VNI)
        far = customer(made, switch, None, 9, VNI)
        here = made.host(0, vni=VNI, vlan=VLAN)
        with Capture(made.fabric, "up0") as sent, Capture(made.fabric, "to-r2") as answers:
            talk(here, far)
        talk(here, kernel.station(VNI))
        udp = 34 if family == "ipv4" else 54
        ports = [int.from_bytes(frame[udp + 2:udp + 4]) for frame in sent.frames() + answers.frames()
                 if frame[udp - 20 + 9 if family == "ipv4" else 20] == 17]
        assert ports and set(ports) == {4789}, ports
        places = {entry["mac"]: entry["remote"] for entry in made.gateway.show("fdb")["items"] if "remote" in entry}
        assert places[far.mac()] == remote.address, places
        dropped = {reason: count for reason in ("outer_udp_checksum", "outer_udp_checksum_missing", "vxlan_flags")
                   if (count := made.gateway.dropped(reason))}
        assert not dropped, dropped
    finally:
        made.close()
