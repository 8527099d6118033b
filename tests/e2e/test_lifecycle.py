"""Start, reload and end of the daemon, and each error an operator can run into as a sentence."""

import os
import re
import signal
import socket
import subprocess
import time

import pytest

from gateway import VTEPCTL, VTEPD, Config, Gateway
from overlay import Overlay
from pings import Pinging
from testbed import ROOT, Stalls, inside, run


def small_config():
    """One uplink, one access port, one bridge."""
    config = Config().uplink().access()
    return config.bridge(100, 100, ["trunk0"], ["10.0.0.2"]).neighbour("10.0.0.2", "02:00:00:bb:00:02")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_gateway_with_a_summary_and_leaves_nothing(bed, number):
    gateway = Gateway(bed, small_config()).start()
    before = len(gateway.log())
    gateway.process.send_signal(number)
    assert gateway.process.wait(10) == 0, gateway.log()
    assert re.search(r"\d+ packets received", gateway.log()[before:]), gateway.log()[before:]
    assert not os.path.exists(gateway.config.api["socket"])
    assert not os.path.exists(f"/var/run/dpdk/{gateway.config.dpdk['file_prefix']}")
    assert "ac0" not in run("ip", "-n", gateway.namespace, "link")


def test_a_killed_gateway_leaves_nothing_that_stops_the_next_one(bed):
    gateway = Gateway(bed, small_config()).start()
    gateway.process.kill()
    gateway.process.wait(5)
    assert "ac0" not in run("ip", "-n", gateway.namespace, "link")
    gateway.start()
    assert gateway.vtepctl("show", "ports").stdout
    assert gateway.stop() == 0


def test_two_gateways_run_side_by_side(bed):
    first = Gateway(bed, small_config()).start()
    config = small_config()
    config.dpdk["file_prefix"] = first.config.dpdk["file_prefix"] + "-b"
    config.api["socket"] = first.config.api["socket"] + "-b"
    second = Gateway(bed, config, bed.namespace("gw2"))
    second.config_path += "-b"
    second.log_path += "-b"
    second.start()
    assert first.get("/readyz")[0] == second.get("/readyz")[0] == 200
    assert second.stop() == 0
    assert first.vtepctl("show", "bridges").stdout
    assert first.stop() == 0


@pytest.fixture(scope="module")
def overlay():
    made = Overlay(remotes=1, access_ports=1)
    try:
        made.full_mesh([100, 101])
        made.here = made.host(0)
        made.there = made.remotes[0].station(100)
        yield made
    finally:
        made.close()


def test_a_reload_of_a_bad_file_says_why_and_forwarding_goes_on(overlay):
    assert overlay.here.ping(overlay.there.ipv4) == 3
    good = overlay.config.text()
    log = overlay.gateway.reload(good.replace("vlan = 100", "vlan = 5000"))
    assert "5000" in log
    assert overlay.here.ping(overlay.there.ipv4) == 3
    assert overlay.here.ping(overlay.there.ipv6) == 3
    overlay.gateway.reload(good)


def test_a_reload_adds_a_bridge_and_loses_no_packet_of_the_others(overlay):
    good = overlay.config.text()
    overlay.here.ping(overlay.there.ipv4)
    pinging = Pinging(overlay.bed, overlay.here.namespace, overlay.there.ipv4, 200)
    time.sleep(0.5)
    more = '[[bridge]]\nvni = 101\nvlan = 101\nports = ["trunk0"]\nremotes = ["10.0.0.2"]\n'
    overlay.gateway.reload(good + more)
    assert pinging.missing() == []
    assert "101" in overlay.gateway.vtepctl("show", "bridges").stdout
    overlay.gateway.reload(good)
    assert "101" not in overlay.gateway.vtepctl("show", "bridges").stdout


def failed_start(bed, config, namespace=None, seconds=30):
    """Starts the gateway, which must refuse: its standard error."""
    gateway = Gateway(bed, config, namespace)
    gateway.launch()
    status = gateway.process.wait(seconds)
    log = gateway.log()
    assert status not in (0, None) and status > 0, f"status {status}:\n{log}"
    assert "panicked" not in log and "RUST_BACKTRACE" not in log, log
    return log


def assert_sentence(log, *words):
    """A line of the log holds all the words and more than them."""
    for line in log.splitlines():
        if all(re.search(word, line, re.IGNORECASE) for word in words) and len(line.split()) >= 6:
            return
    raise AssertionError(f"no line with all of {words}:\n{log}")


def test_a_pci_device_that_does_not_exist_is_named(bed):
    config = small_config()
    config.ports[0]["device"] = "0000:ff:1f.7"
    log = failed_start(bed, config)
    assert_sentence(log, r"0000:ff:1f\.7")
    assert_sentence(log, r"uplink0")


def test_a_driver_that_does_not_exist_is_named(bed):
    config = small_config()
    config.ports[0]["device"] = "net_nosuchdriver0"
    assert_sentence(failed_start(bed, config), r"net_nosuchdriver0")


@pytest.mark.skipif(open("/proc/sys/vm/nr_hugepages").read().strip() != "0", reason="this machine has hugepages")
def test_missing_hugepages_are_said_with_the_remedy(bed):
    config = small_config()
    config.dpdk["hugepages"] = True
    log = failed_start(bed, config)
    assert_sentence(log, "hugepages")
    assert re.search(r"hugepages = false|dpdk-config/hugepages|nr_hugepages", log), log


def test_a_core_that_is_not_there_is_named(bed):
    config = small_config()
    config.workers["cores"] = [1023]
    assert_sentence(failed_start(bed, config), r"\b1023\b", "core")


def test_a_metrics_address_in_use_is_named(bed):
    config = small_config()
    namespace = bed.namespace("gw", ipv6=False)
    with inside(namespace):
        taken = socket.create_server(("127.0.0.1", 9478))
    with taken:
        assert_sentence(failed_start(bed, config, namespace), r"127\.0\.0\.1:9478", "use")
    # By then the ports are open, and a thread has them: they are closed again, and DPDK is ended.
    assert not os.path.exists("/var/run/dpdk/" + config.dpdk["file_prefix"])


def test_a_second_gateway_of_the_same_file_prefix_is_refused_and_the_first_runs_on(bed):
    first = Gateway(bed, small_config()).start()
    config = small_config()
    config.dpdk["file_prefix"] = first.config.dpdk["file_prefix"]
    config.api["socket"] = first.config.api["socket"] + "-b"
    second = Gateway(bed, config, bed.namespace("gw2"))
    second.config_path += "-b"
    second.log_path += "-b"
    second.launch()
    assert second.process.wait(30) > 0
    assert config.dpdk["file_prefix"] in second.log()
    assert first.get("/readyz")[0] == 200
    assert first.vtepctl("show", "ports").stdout
    assert first.stop() == 0


def test_a_missing_config_file_is_named(bed):
    result = daemon("--config", f"{bed.directory}/nowhere.toml")
    assert result.returncode > 0
    assert "nowhere.toml" in result.stderr


def daemon(*arguments):
    """Runs vtepd to its end."""
    return subprocess.run([VTEPD, *arguments], capture_output=True, text=True, timeout=20, check=False)


def test_without_permission_the_remedy_is_said(bed):
    gateway = Gateway(bed, small_config())
    gateway.write_config()
    os.chmod(bed.directory, 0o755)
    os.chmod(gateway.config_path, 0o644)
    copy = os.path.join(bed.directory, "vtepd")
    with open(VTEPD, "rb") as source, open(copy, "wb") as target:
        target.write(source.read())
    os.chmod(copy, 0o755)
    result = subprocess.run([copy, "--config", gateway.config_path], capture_output=True, text=True, timeout=30,
                            check=False, user=65534, group=65534, extra_groups=[], cwd="/")
    assert result.returncode > 0
    assert "panicked" not in result.stderr
    assert re.search(r"root|permission|CAP_|sudo", result.stderr, re.IGNORECASE), result.stderr


def test_check_accepts_a_good_file_and_starts_nothing(bed):
    gateway = Gateway(bed, small_config())
    gateway.write_config()
    result = daemon("--config", gateway.config_path, "--check")
    assert result.returncode == 0, result.stderr
    assert not os.path.exists(f"/var/run/dpdk/{gateway.config.dpdk['file_prefix']}")


@pytest.mark.parametrize("name", ["laptop-tap.toml", "ci-tap.toml", "kernel-interfaces.toml", "bench-pcap.toml",
                                  "bare-metal-sriov.toml"])
def test_check_accepts_the_sample_configs(name):
    result = daemon("--config", f"{ROOT}/dpdk-config/{name}", "--check")
    # A sample may name cores that this machine does not have; nothing else may be wrong with it.
    complaints = [line for line in result.stderr.splitlines() if re.match(r"error", line)]
    assert all("core" in line for line in complaints), result.stderr
    assert result.returncode == 0 or complaints


def test_check_points_at_every_error_in_one_run(bed):
    gateway = Gateway(bed, small_config())
    text = gateway.config.text()
    text = text.replace("vlan = 100", "vlan = 5000").replace('role = "access"', 'role = "acess"')
    text = text.replace('mac = "02:00:00:bb:00:02"', 'mac = "02:00:00:bb:00"')
    gateway.write_config(text)
    result = daemon("--config", gateway.config_path, "--check")
    assert result.returncode > 0
    for wrong in ("vlan = 5000", 'role = "acess"', 'mac = "02:00:00:bb:00"'):
        line = 1 + text[:text.index(wrong)].count("\n")
        assert f"{gateway.config_path}:{line}:" in result.stderr, f"line {line} not named:\n{result.stderr}"
    assert result.stderr.count("^") >= 3


def test_vtepctl_says_when_no_gateway_answers(bed):
    with Stalls() as stalls:
        started = time.monotonic()
        result = subprocess.run([VTEPCTL, "--socket", f"{bed.directory}/none.sock", "show", "ports"], capture_output=True,
                                text=True, timeout=10, check=False)
        took = time.monotonic() - started - stalls.seconds
    assert result.returncode > 0
    assert "none.sock" in result.stderr
    assert took < 1


def test_vtepctl_links_no_dpdk():
    assert "librte" not in run("ldd", VTEPCTL)
