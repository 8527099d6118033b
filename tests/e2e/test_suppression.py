"""B6: ARP and ND suppression (RFC 9161) before kernel hosts: who asks for a known address is answered in its owner's
place, nothing of it is on the fabric, and what is not known floods as ever."""

import ipaddress
import os

import pytest
from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6, in6_getnsma, in6_getnsmac
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.utils import wrpcap

from frames import BROADCAST, Capture, send
from overlay import Overlay
from testbed import run, settle, wait_until

VNI = VLAN = 100
AGEING_SECONDS = 4
SETTLE_SECONDS = 0.4
STRANGER = "02:60:00:00:00:01"
NOBODY = "192.168.100.200"
NOBODY6 = "fd00:0:64::200"
# A station that never speaks, behind the remote VTEP: the config says all that is known of it.
SILENT = "02:60:00:00:00:77"
SILENT_ADDRESSES = ("192.168.100.77", "fd00:0:64::77")


@pytest.fixture(scope="module")
def overlay():
    def configure(overlay):
        overlay.config.fdb = {"ageing": AGEING_SECONDS}
        overlay.config.bridge(VNI, VLAN, ["trunk0", "trunk1"], overlay.remote_addresses, neighbour_suppression=True)
        overlay.config.static(vni=VNI, mac=SILENT, remote=overlay.remote_addresses[0])
        for address in SILENT_ADDRESSES:
            overlay.config.bindings.append({"vni": VNI, "address": address, "mac": SILENT})

    made = Overlay(remotes=1, configure=configure)
    try:
        made.full_mesh()
        made.asker, made.owner, made.remote = made.host(0), made.host(1), made.remotes[0].station(VNI)
        yield made
    finally:
        made.close()


def bindings(overlay):
    """The MAC address of each known IP address."""
    return {binding["address"]: binding["mac"] for binding in overlay.gateway.show("bindings")["items"]}


def known(overlay, station):
    """Lets a station speak, and waits until both of its addresses are known, that of IPv6 by an advertisement: it has to
    be asked for that."""
    def has_spoken():
        station.forget_neighbours()
        station.ping(overlay.remote.ipv4, count=1)
        station.ping(overlay.remote.ipv6, count=1)
        overlay.remote.forget_neighbours()
        has_advertised = overlay.remote.ping(station.ipv6, count=1) == 1
        return has_advertised and {station.ipv4, station.ipv6} <= bindings(overlay).keys()

    wait_until(has_spoken, 10, f"the bindings of {station.device}: {bindings(overlay)}")
    # Control takes in what the last of them said.
    settle(SETTLE_SECONDS)
    return station


def events(overlay):
    """What was answered or flooded, by event."""
    names = ("arp_suppressed", "arp_probe_suppressed", "solicitation_suppressed", "dad_suppressed",
             "suppression_missed")
    return {name: overlay.gateway.total("vtepd_events_total", event=name) for name in names}


def changed(overlay, before):
    """The events counted since, those that were."""
    return {name: count - before[name] for name, count in events(overlay).items() if count != before[name]}


class Watched:
    """What the asker's interface, the other access port and the remote VTEP see of address resolution."""

    def __init__(self, overlay):
        self.asker = Capture(overlay.host_namespaces[0], overlay.access[0])
        self.owner = Capture(overlay.host_namespaces[1], overlay.access[1])
        self.remote = Capture(overlay.remotes[0].namespace, f"vx{VNI}")

    def __enter__(self):
        for capture in (self.asker, self.owner, self.remote):
            capture.__enter__()
        return self

    def __exit__(self, *_):
        settle(SETTLE_SECONDS)
        for capture in (self.asker, self.owner, self.remote):
            capture.stop()


def untagged(frame):
    """The frame without its access tag."""
    return frame[:12] + frame[16:] if frame[12:14] == b"\x81\x00" else frame


def about(capture, address):
    """The ARP and ND packets that name the address as sender or target."""
    wanted = ipaddress.ip_address(address).packed
    found = []
    for frame in map(untagged, capture.frames()):
        is_nd = frame[12:14] == b"\x86\xdd" and frame[20:21] == b"\x3a" and frame[54] in (135, 136)
        if (frame[12:14] == b"\x08\x06" or is_nd) and wanted in frame:
            found.append(frame)
    return found


def asked(capture, address):
    """The ARP requests and solicitations to everyone for the address."""
    target = ipaddress.ip_address(address).packed
    is_request = {0x06: lambda frame: frame[20:22] == b"\0\1" and frame[38:42] == target,
                  0xDD: lambda frame: frame[54] == 135 and frame[62:78] == target}
    return [frame for frame in about(capture, address) if frame[0] & 1 and is_request[frame[13]](frame)]


def answers(capture, address):
    """The ARP replies and advertisements that name the address. What else is to one station alone is the kernels' own: they
    ask each other again from time to time whether they are still there."""
    is_answer = {0x06: lambda frame: frame[20:22] == b"\0\2", 0xDD: lambda frame: frame[54] == 136}
    return [frame for frame in about(capture, address) if is_answer[frame[13]](frame)]


def heard(watched, address):
    """How many answers about an address its asker had, and how many questions to everyone the others."""
    return [len(answers(watched.asker, address)), len(asked(watched.owner, address)), len(asked(watched.remote, address))]


def probe(source, target, sender="0.0.0.0", destination=BROADCAST):
    """An ARP request on the access VLAN, as scapy makes it."""
    return bytes(Ether(src=source, dst=destination) / Dot1Q(vlan=VLAN)
                 / ARP(op=1, hwsrc=source, psrc=sender, hwdst="00:00:00:00:00:00", pdst=target))


def solicitation(source, target, sender="::"):
    """A neighbour solicitation on the access VLAN, as scapy makes it; of a sender with an address or detecting duplicates."""
    group = in6_getnsma(ipaddress.ip_address(target).packed)
    packet = (Ether(src=source, dst=in6_getnsmac(group)) / Dot1Q(vlan=VLAN)
              / IPv6(src=sender, dst=str(ipaddress.ip_address(group)), hlim=255) / ICMPv6ND_NS(tgt=target))
    return bytes(packet if sender == "::" else packet / ICMPv6NDOptSrcLLAddr(lladdr=source))


def decoded(overlay, frame, *fields):
    """What tshark reads in a frame."""
    path = os.path.join(overlay.bed.directory, "answer.pcap")
    wrpcap(path, [Ether(frame)])
    options = [option for field in fields for option in ("-e", field)]
    line = run("/usr/bin/tshark", "-n", "-r", path, "-T", "fields", *options).rstrip("\n")
    return dict(zip(fields, line.split("\t")))


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_b6_hosts_find_each_other_and_nothing_of_it_is_on_the_fabric(overlay, family):
    asker, owner = known(overlay, overlay.asker), known(overlay, overlay.owner)
    address = getattr(owner, family)
    run("ip", "-n", asker.namespace, "neigh", "del", address, "dev", asker.device, check=False)
    before = events(overlay)
    with Watched(overlay) as watched:
        assert asker.ping(address) == 3
    event = "arp_suppressed" if family == "ipv4" else "solicitation_suppressed"
    assert changed(overlay, before).get(event, 0) >= 1
    assert about(watched.remote, address) == [], "nothing of it goes to the remote VTEP"
    assert f"lladdr {owner.mac()}" in run("ip", "-n", asker.namespace, "neigh", "show", address)


def test_b6_an_unknown_address_is_asked_for_everywhere(overlay):
    known(overlay, overlay.asker)
    for address, frame in ((NOBODY, probe(STRANGER, NOBODY)), (NOBODY6, solicitation(STRANGER, NOBODY6))):
        before = events(overlay)
        with Watched(overlay) as watched:
            send(overlay.host_namespaces[0], overlay.access[0], frame)
        assert heard(watched, address) == [0, 1, 1]
        assert changed(overlay, before) == {"suppression_missed": 1}


def test_b6_a_probe_for_a_taken_address_is_answered_by_the_gateway_as_tshark_reads_it(overlay):
    owner = known(overlay, overlay.owner)
    before = events(overlay)
    with Watched(overlay) as watched:
        send(overlay.host_namespaces[0], overlay.access[0], probe(STRANGER, owner.ipv4))
    assert about(watched.remote, owner.ipv4) == about(watched.owner, owner.ipv4) == []
    [answer] = about(watched.asker, owner.ipv4)
    assert decoded(overlay, answer, "eth.src", "eth.dst", "arp.opcode", "arp.src.hw_mac", "arp.src.proto_ipv4",
                   "arp.dst.hw_mac", "arp.dst.proto_ipv4") == {
        "eth.src": owner.mac(), "eth.dst": STRANGER, "arp.opcode": "2", "arp.src.hw_mac": owner.mac(),
        "arp.src.proto_ipv4": owner.ipv4, "arp.dst.hw_mac": STRANGER, "arp.dst.proto_ipv4": "0.0.0.0"}
    assert changed(overlay, before) == {"arp_probe_suppressed": 1}


def test_b6_a_solicitation_is_answered_as_tshark_reads_it(overlay):
    owner = known(overlay, overlay.owner)
    sender = "fd00:0:64::60"
    with Watched(overlay) as watched:
        send(overlay.host_namespaces[0], overlay.access[0], solicitation(STRANGER, owner.ipv6, sender))
    [answer] = about(watched.asker, owner.ipv6)
    read = decoded(overlay, answer, "eth.dst", "ipv6.src", "ipv6.dst", "ipv6.hlim", "icmpv6.type",
                   "icmpv6.checksum.status", "icmpv6.nd.na.flag.s", "icmpv6.nd.na.flag.o", "icmpv6.nd.na.flag.r",
                   "icmpv6.opt.linkaddr")
    flags = {flag: read.pop(f"icmpv6.nd.na.flag.{flag}") in ("1", "True") for flag in "sor"}
    assert flags == {"s": True, "o": True, "r": False}
    source, target = (str(ipaddress.ip_address(address)) for address in (sender, owner.ipv6))
    assert read == {"eth.dst": STRANGER, "ipv6.src": target, "ipv6.dst": source, "ipv6.hlim": "255",
                    "icmpv6.type": "136", "icmpv6.checksum.status": "1", "icmpv6.opt.linkaddr": owner.mac()}


def test_b6_duplicate_address_detection_of_a_kernel_host_finds_the_duplicate(overlay):
    owner, asker = known(overlay, overlay.owner), overlay.asker
    before = events(overlay)
    path = f"/proc/sys/net/ipv6/conf/{asker.device}/accept_dad"
    run("ip", "netns", "exec", asker.namespace, "sh", "-c", f"echo 1 > {path}")
    try:
        with Watched(overlay) as watched:
            run("ip", "-n", asker.namespace, "addr", "add", f"{owner.ipv6}/64", "dev", asker.device)
            wait_until(lambda: "dadfailed" in run("ip", "-n", asker.namespace, "-6", "addr", "show", asker.device), 5,
                       "the kernel to find the duplicate")
    finally:
        run("ip", "-n", asker.namespace, "addr", "del", f"{owner.ipv6}/64", "dev", asker.device)
        run("ip", "netns", "exec", asker.namespace, "sh", "-c", f"echo 0 > {path}")
    assert changed(overlay, before).get("dad_suppressed", 0) >= 1
    assert about(watched.remote, owner.ipv6) == about(watched.owner, owner.ipv6) == []


def test_b6_the_own_address_is_nobodys_answer(overlay):
    asker = known(overlay, overlay.asker)
    for address, frame in ((asker.ipv4, probe(asker.mac(), asker.ipv4)),
                           (asker.ipv6, solicitation(asker.mac(), asker.ipv6))):
        with Watched(overlay) as watched:
            send(overlay.host_namespaces[0], overlay.access[0], frame)
        assert heard(watched, address) == [0, 1, 1]


def test_b6_a_unicast_request_reaches_the_station_itself(overlay):
    asker, owner = known(overlay, overlay.asker), known(overlay, overlay.owner)
    before = events(overlay)
    frame = probe(asker.mac(), owner.ipv4, asker.ipv4, owner.mac())
    with Watched(overlay) as watched:
        send(overlay.host_namespaces[0], overlay.access[0], frame)
    assert len(about(watched.owner, asker.ipv4)) == 1
    assert changed(overlay, before) == {}


def test_b6_who_has_gone_is_asked_for_everywhere_again(overlay):
    owner, gateway = known(overlay, overlay.owner), overlay.gateway
    table = gateway.vtepctl("show", "bindings").stdout
    assert f"{owner.ipv4}" in table and "trunk1 vlan 100" in table
    assert gateway.total("vtepd_bindings", source="learned") >= 2
    # A host without addresses says nothing.
    run("ip", "-n", owner.namespace, "addr", "flush", "dev", owner.device)
    try:
        wait_until(lambda: owner.ipv4 not in bindings(overlay), 3 * AGEING_SECONDS, "the binding to go")
        with Watched(overlay) as watched:
            send(overlay.host_namespaces[0], overlay.access[0], probe(STRANGER, owner.ipv4))
        assert len(about(watched.remote, owner.ipv4)) == 1
        assert about(watched.asker, owner.ipv4) == []
    finally:
        owner.take_addresses(overlay.medium.overlay_mtu)


def test_b6_who_never_speaks_is_answered_for_as_the_config_says_whoever_claims_the_address(overlay):
    gateway = overlay.gateway
    claim = probe(STRANGER, SILENT_ADDRESSES[0], SILENT_ADDRESSES[0])
    send(overlay.host_namespaces[1], overlay.access[1], claim)
    wait_until(lambda: gateway.total("vtepd_binding_events_total", event="refused_static") == 1, 5, "the claim to be refused")
    asker = overlay.asker
    questions = (probe(asker.mac(), SILENT_ADDRESSES[0], asker.ipv4),
                 solicitation(asker.mac(), SILENT_ADDRESSES[1], asker.ipv6))
    for address, question in zip(SILENT_ADDRESSES, questions):
        with Watched(overlay) as watched:
            send(overlay.host_namespaces[0], overlay.access[0], question)
        assert heard(watched, address) == [1, 0, 0]
        assert all(untagged(answer)[6:12] == bytes.fromhex(SILENT.replace(":", "")) for answer in
                   answers(watched.asker, address))
    rows = {row["address"]: (row["mac"], row["kind"]) for row in gateway.show("bindings")["items"]}
    assert {rows[address] for address in SILENT_ADDRESSES} == {(SILENT, "static")}
    assert gateway.total("vtepd_bindings", source="static") == 2
    said, overlay.config.bindings = overlay.config.bindings, []
    gateway.reload()
    try:
        with Watched(overlay) as watched:
            send(overlay.host_namespaces[0], overlay.access[0], questions[0])
        assert heard(watched, SILENT_ADDRESSES[0]) == [0, 1, 1]
    finally:
        overlay.config.bindings = said
        gateway.reload()
