"""The gateway is a node of a flannel network, by the files of `examples/flannel-node`: machines on a VLAN reach pods."""

import signal

import pytest

from flannel import FlannelNetwork, Lease
from testbed import run, wait_until
from transfer import bulk_transfer_between


@pytest.fixture(scope="module", name="network")
def make_network():
    """A flannel network, of which each test leaves what it found."""
    made = FlannelNetwork()
    try:
        made.known()
        yield made
    finally:
        made.close()


@pytest.fixture
def gateway(network):
    """The gateway."""
    return network.gateway


def everywhere(network):
    """How many of three pings are answered, from the machine to each pod, and back."""
    pods = [node.pod for node in network.nodes]
    return [network.machine.ping(pod) for pod in pods] + [pod.ping(network.machine) for pod in pods]


def test_a_machine_and_the_pods_of_every_node_reach_each_other(network, gateway):
    assert everywhere(network) == [3] * 4
    # As large as flannel leaves it, and not to be fragmented.
    assert network.machine.ping(network.nodes[0].pod, "-M", "do", "-s", "1422") == 3
    pod = network.nodes[1].pod
    sent, received = bulk_transfer_between(network.machine.namespace, pod.namespace, pod.address, 32 << 20)
    assert sent == received
    # All of it went where the kernel's FDB says; flannel has no flood list.
    assert gateway.dropped("no_next_hop") == gateway.dropped("unknown_remote") == 0
    assert network.node9.stations() == {node.lease.vtep_mac: node.lease.public_ip for node in network.nodes}


def bindings(gateway):
    """Of each address that the gateway knows from the kernel, the MAC."""
    items = gateway.show("bindings")["items"]
    return {item["address"]: item["mac"] for item in items if item["kind"] == "kernel"}


def test_a_machine_that_asks_for_a_nodes_address_is_told_what_flannel_says(network, gateway):
    node9, nodes = network.node9, network.nodes
    wanted = {node.lease.router: node.lease.vtep_mac for node in nodes}
    wait_until(lambda: bindings(gateway) == wanted, 2, "the neighbours of flannel.1 to be bindings")
    # A machine that knows the routes alone: nobody but the gateway can answer, for flannel floods nowhere.
    namespace, device, _ = node9.machines[0]
    answered = gateway.total("vtepd_events_total", event="arp_suppressed")
    for node in nodes:
        run("ip", "-n", namespace, "neigh", "del", node.lease.router, "dev", device)
    try:
        assert everywhere(network) == [3] * 4
        said = run("ip", "-n", namespace, "neigh", "show", "dev", device)
        for node in nodes:
            assert f"{node.lease.router} lladdr {node.lease.vtep_mac}" in said and "PERMANENT" not in said, said
        assert gateway.total("vtepd_events_total", event="arp_suppressed") >= answered + len(nodes)
        # A node that leaves takes its address along, and is back with it.
        left = nodes[1]
        node9.flanneld.removed(left.lease)
        wait_until(lambda: bindings(gateway) == {nodes[0].lease.router: nodes[0].lease.vtep_mac}, 2, "it to be gone")
        node9.flanneld.added(left.lease)
        wait_until(lambda: bindings(gateway) == wanted, 2, "it to be back")
    finally:
        node9.tell()
    # Nothing of a machine is told flannel's device.
    own = run("ip", "-n", node9.namespace, "neigh", "show", "dev", "flannel.1", "proto", "176")
    assert own == "", own


def test_nodes_that_join_move_and_leave_are_followed(network, gateway):
    third = network.join(3)
    network.known()
    network.node9.tell()
    assert (network.machine.ping(third.pod), third.pod.ping(network.machine)) == (3, 3)
    # Its public IP changes: flanneld gets the lease anew and replaces the entry.
    for command in ("addr del 10.0.0.3/24 dev eth0", "addr add 10.0.0.33/24 dev eth0",
                    "link set flannel.1 type vxlan local 10.0.0.33"):
        run("ip", "-n", third.namespace, *command.split())
    third.lease = Lease(3, "10.0.0.33", third.lease.vtep_mac)
    others = [node for node in (*network.nodes, network.node9) if node is not third]
    for node in others:
        node.flanneld.added(third.lease)
    network.known()
    assert network.machine.ping(third.pod) == 3
    # It leaves: nothing of it stays, and nothing is sent to it any more.
    network.nodes.remove(third)
    for node in others:
        node.flanneld.removed(third.lease)
    network.known()
    wait_until(lambda: [remote["address"] for remote in gateway.show("vteps")["remotes"]["items"]]
               == ["10.0.0.1", "10.0.0.2"], 5, "its VTEP to be gone")
    assert network.machine.ping(third.pod, count=1) == 0


def test_a_second_machine_has_a_lease_of_its_own(network):
    lease = Lease(10, network.node9.lease.public_ip, "02:00:00:cc:00:02")
    for node in (*network.nodes, network.node9):
        # flanneld on the gateway's node hears of it, too, and writes an entry that leads to its own address.
        node.flanneld.added(lease)
    second = network.node9.machine(lease)
    network.node9.tell()
    pod = network.nodes[1].pod
    assert (second.ping(pod), pod.ping(second)) == (3, 3)
    assert everywhere(network) == [3] * 4
    assert network.node9.stations() == {node.lease.vtep_mac: node.lease.public_ip for node in network.nodes}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_gateway_that_ended_is_a_node_again(network, gateway, number):
    gateway.process.send_signal(number)
    gateway.process.wait(10)
    assert network.machine.ping(network.nodes[0].pod, count=1) == 0
    # flanneld goes on meanwhile, and says what has changed only once.
    network.node9.flanneld.removed(network.nodes[1].lease)
    network.node9.start()
    assert network.node9.stations() == {network.nodes[0].lease.vtep_mac: network.nodes[0].lease.public_ip}
    network.node9.flanneld.added(network.nodes[1].lease)
    network.known()
    assert everywhere(network) == [3] * 4


def test_a_flannel_device_that_is_made_anew_is_taken(network):
    node9 = network.node9
    run("ip", "-n", node9.namespace, "link", "del", "flannel.1")
    wait_until(lambda: node9.stations() == {}, 2, "what it said to be gone")
    assert network.machine.ping(network.nodes[0].pod, count=1) == 0
    node9.flanneld.start("uplink0")
    for node in network.nodes:
        node9.flanneld.added(node.lease)
    network.known()
    assert everywhere(network) == [3] * 4
