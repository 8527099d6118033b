"""The uplink's interface in the kernel over the gateway's life: link, restart, crash, removal, and when it cannot be had."""

import re
import signal

import pytest

from fabric import KERNEL_INTERFACE, KernelFabric, carrier
from gateway import Config, Gateway
from overlay import GATEWAY_UPLINK_MAC
from pings import pinged
from testbed import run, wait_until


def small_config(underlay="kernel", devices=("net_tap0,iface=up0", "net_tap1,iface=ac0")):
    """One uplink with an interface in the kernel, one access port, one bridge."""
    config = Config(**({"underlay": underlay} if underlay else {}))
    config.uplink(device=devices[0], kernel_interface=KERNEL_INTERFACE, mac=GATEWAY_UPLINK_MAC, mtu=1500)
    config.access(device=devices[1], mtu=1500)
    return config.bridge(100, 100, ["trunk0"])


def interface(gateway):
    """What `ip` says of the kernel's interface; empty where there is none."""
    return run("ip", "-n", gateway.namespace, "-d", "addr", "show", KERNEL_INTERFACE, check=False)


def test_the_carrier_follows_the_link_of_the_nic(bed):
    gateway = Gateway(bed, small_config()).start()
    for state in ("down", "up", "down"):
        run("ip", "-n", gateway.namespace, "link", "set", "up0", state)
        wait_until(lambda: ("NO-CARRIER" in interface(gateway)) == (state == "down"), 10, f"the carrier to be {state}")
    assert "uplink0" in gateway.log() and "link=\"down\"" in gateway.log()


def test_mtu_and_mac_are_the_ports(bed):
    gateway = Gateway(bed, small_config())
    gateway.config.ports[0]["mtu"] = 4000
    gateway.start()
    assert GATEWAY_UPLINK_MAC in interface(gateway) and "mtu 4000" in interface(gateway)
    assert gateway.stop() == 0
    # An interface of an earlier run is adapted.
    gateway.config.ports[0].update(mtu=3000, mac="02:00:00:aa:00:77")
    gateway.start()
    assert "02:00:00:aa:00:77" in interface(gateway) and "mtu 3000" in interface(gateway)


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_addresses_and_sessions_survive_a_gateway_that_was(end):
    fabric = KernelFabric()
    try:
        fabric.give_address()
        gateway = fabric.gateway
        number = interface(gateway).split(":")[0]
        if end == "stopped":
            assert gateway.stop() == 0
        else:
            gateway.process.send_signal(signal.SIGKILL)
            gateway.process.wait(10)
        # The kernel looks at such a change at its leisure, once a second.
        wait_until(lambda: "NO-CARRIER" in interface(gateway), 10, "the carrier to be gone")
        text = interface(gateway)
        assert f"inet {fabric.underlay.gateway}/24" in text, text
        # The TAP of the fabric goes with the gateway; it is put in its place again.
        gateway.start()
        gateway.move("up0", fabric.fabric, "02:00:00:fa:00:01", 9100)
        run("ip", "-n", fabric.fabric, "link", "set", "up0", "master", "fabric")
        assert interface(gateway).split(":")[0] == number, "it is another interface"
        assert f"inet {fabric.underlay.gateway}/24" in interface(gateway) and carrier(fabric)
        wait_until(lambda: pinged(fabric.remotes[0].namespace, fabric.underlay.gateway) == 3, 10, "answers")
    finally:
        fabric.close()


def test_an_interface_that_is_removed_is_made_again(bed):
    gateway = Gateway(bed, small_config()).start()
    number = interface(gateway).split(":")[0]
    run("ip", "-n", gateway.namespace, "link", "del", KERNEL_INTERFACE)
    wait_until(lambda: interface(gateway).split(":")[0] not in ("", number), 5, "a new interface")
    wait_until(lambda: "UP" in interface(gateway) and "NO-CARRIER" not in interface(gateway), 5, "it to be up")
    assert re.search(r"WARN.*removed", gateway.log()), gateway.log()
    assert gateway.stop() == 0


def failed_start(gateway):
    """Starts the gateway, which must refuse: its log."""
    gateway.launch()
    assert gateway.process.wait(30) > 0, gateway.log()
    assert "panicked" not in gateway.log(), gateway.log()
    return gateway.log()


@pytest.mark.parametrize("kind", ["bridge", "tap"])
def test_a_foreign_interface_is_neither_taken_nor_changed(bed, kind):
    gateway = Gateway(bed, small_config())
    how = ("link", "add", KERNEL_INTERFACE, "type", "bridge") if kind == "bridge" else (
        "tuntap", "add", "dev", KERNEL_INTERFACE, "mode", "tap")
    run("ip", "-n", gateway.namespace, *how)
    before = interface(gateway)
    log = failed_start(gateway)
    assert re.search(r"uplink0.*fabric0.*not vtepd's.*kernel_interface", log), log
    assert interface(gateway) == before
    # Where the config does not ask for it, the gateway works without.
    del gateway.config.vtep["underlay"]
    gateway.start()
    assert re.search(r"WARN.*uplink0.*fabric0.*not vtepd's.*static", gateway.log()), gateway.log()
    assert interface(gateway) == before
    assert gateway.stop() == 0
    assert interface(gateway) == before


def test_two_gateways_do_not_share_an_interface(bed):
    first = Gateway(bed, small_config()).start()
    config = small_config(devices=("net_tap0,iface=up1", "net_tap1,iface=ac1"))
    config.dpdk["file_prefix"] = first.config.dpdk["file_prefix"] + "-b"
    config.api["socket"] = first.config.api["socket"] + "-b"
    config.stats["listen"] = "127.0.0.1:9479"
    second = Gateway(bed, config, first.namespace)
    second.config_path += "-b"
    second.log_path += "-b"
    log = failed_start(second)
    assert re.search(r"fabric0.*another process has it open", log), log
    assert first.get("/readyz")[0] == 200 and "NO-CARRIER" not in interface(first)


NO_TUN = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh")
NO_PERMISSION = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")


@pytest.mark.parametrize("wrapper,words", [(NO_TUN, r"/dev/net/tun.*modprobe tun"),
                                           (NO_PERMISSION, r"may not make it.*CAP_NET_ADMIN")])
def test_where_it_cannot_be_had_the_default_works_without_and_the_explicit_fails(bed, wrapper, words):
    devices = ("net_null0", "net_null1")
    explicit = Gateway(bed, small_config("kernel", devices))
    explicit.wrapper = wrapper
    log = failed_start(explicit)
    assert re.search(rf"uplink0.*fabric0.*{words}.*underlay = \"static\"", log), log
    default = Gateway(bed, small_config(None, devices), explicit.namespace)
    default.wrapper = wrapper
    default.start()
    assert re.search(rf"WARN.*uplink0.*fabric0.*{words}.*underlay = \"static\"", default.log()), default.log()
    assert interface(default) == ""
    assert default.stop() == 0


def test_static_makes_nothing(bed):
    gateway = Gateway(bed, small_config("static")).start()
    assert interface(gateway) == "" and "WARN" not in gateway.log()
    assert gateway.stop() == 0


def test_the_default_makes_an_interface_of_the_ports_name(bed):
    config = small_config(None)
    del config.ports[0]["kernel_interface"]
    gateway = Gateway(bed, config).start()
    assert "alias vtepd exception path" in run("ip", "-n", gateway.namespace, "link", "show", "uplink0")
    assert gateway.stop() == 0


def test_a_name_that_is_too_long_for_an_interface_is_told(bed):
    config = small_config()
    del config.ports[0]["kernel_interface"]
    config.ports[0]["name"] = "the-uplink-to-spine-1"
    log = failed_start(Gateway(bed, config))
    assert re.search(r"the-uplink-to-spine-1.*15 characters.*kernel_interface", log), log
