"""A flood towards the kernel takes nothing from a BGP session, nor from what is forwarded, and is counted."""

import os
import time

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether

from fabric import KernelFabric
from frames import BROADCAST
from overlay import GATEWAY_UPLINK_MAC
from testbed import in_thread, wait_until
from transfer import bulk_transfer, bulk_transfer_between

BGP = 179
SECONDS = 3
SIZE = 2 << 20
# In seconds, for each transfer, where sender, workers and the kernels share few cores.
PATIENCE = 25
# What a worker gives the kernel in one second, and at once (docs/operations.md).
RATES = {"icmp": 1000, "arp_nd": 2000, "other": 5000}


@pytest.fixture(scope="module")
def overlay():
    made = KernelFabric()
    try:
        made.give_address()
        made.full_mesh()
        made.here, made.there = made.host(0), made.remotes[0].station(made.vni)
        yield made
    finally:
        made.close()


def frames_of(overlay):
    """A flood of each kind, from a station that is not there: (class, frame)."""
    to_gateway = (Ether(src="02:51:00:00:00:01", dst=GATEWAY_UPLINK_MAC)
                  / IP(src="10.0.0.77", dst=overlay.underlay.gateway))
    return {
        "ping": ("icmp", to_gateway / ICMP() / (b"x" * 56)),
        "closed port": ("other", to_gateway / UDP(sport=1, dport=9) / (b"x" * 56)),
        "connection attempts": ("other", to_gateway / TCP(sport=1, dport=22)),
        "arp": ("arp_nd", Ether(src="02:51:00:00:00:01", dst=BROADCAST)
                / ARP(psrc="10.0.0.77", hwsrc="02:51:00:00:00:01", pdst=overlay.underlay.gateway)),
    }


@pytest.mark.parametrize("kind", ["ping", "closed port", "connection attempts", "arp"])
def test_a_flood_starves_neither_bgp_nor_forwarding(overlay, kind):
    name, frame = frames_of(overlay)[kind]
    before = {outcome: overlay.punted(name, outcome) for outcome in ("passed", "limited", "full")}
    dropped = overlay.gateway.dropped("punt_limited")
    started = time.monotonic()
    flood = overlay.bed.start("/usr/bin/python3", os.path.join(os.path.dirname(__file__), "flood.py"), "eth0",
                              bytes(frame).hex(), namespace=overlay.remotes[0].namespace)
    try:
        wait_until(lambda: overlay.punted(name, "limited") > before["limited"], 10, "the flood to be limited")
        remote, gateway = overlay.remotes[0].namespace, overlay.gateway.namespace
        session_took = []
        began = time.monotonic()

        def talk():
            outcome = bulk_transfer_between(remote, gateway, overlay.underlay.gateway, SIZE, BGP)
            session_took.append(time.monotonic() - began)
            return outcome

        session = in_thread(talk)
        sent, received = bulk_transfer(overlay.here, overlay.there, overlay.there.ipv4, SIZE)
        forwarded_took = time.monotonic() - began
        assert received == sent
        sent, received = session.join(60)
        assert received == sent
        assert max(forwarded_took, *session_took) < PATIENCE
        time.sleep(max(0, started + SECONDS - time.monotonic()))
    finally:
        flood.kill()
        flood.wait(5)
    seconds = time.monotonic() - started
    passed, limited = (overlay.punted(name, outcome) - before[outcome] for outcome in ("passed", "limited"))
    # Other packets of the class, such as the ARP of the transfers, are few.
    assert passed <= RATES[name] * (seconds + 0.5) + 20, (passed, seconds)
    assert limited > passed / 10, (passed, limited)
    assert overlay.gateway.dropped("punt_limited") - dropped >= limited
    assert overlay.punted("bgp", "limited") == 0
    print(f"{kind}: {passed + limited:.0f} packets in {seconds:.1f} s, {passed:.0f} of them to the kernel; transfers of "
          f"{SIZE >> 20} MiB beside it: BGP {session_took[0]:.2f} s, through the tunnel {forwarded_took:.2f} s")
