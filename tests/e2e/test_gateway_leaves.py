"""Two leaves are gateways, one is the kernel's: hosts reach each other everywhere."""

import pytest

from clos import Clos
from gateway_leaf import GatewayLeaf
from outage import assert_failover, silence

TRANSFER_BYTES = 256 << 20


@pytest.fixture(scope="module", name="clos")
def make_clos():
    """A fabric that has converged, of which each test leaves what it found."""
    made = Clos("ipv4", {2: GatewayLeaf, 3: GatewayLeaf})
    try:
        yield made.converge()
    finally:
        made.close()


def test_hosts_everywhere_reach_each_other(clos):
    for source in clos.hosts:
        for target in clos.hosts:
            if source is not target:
                assert (source.ping(target.ipv4), source.ping(target.ipv6, "-M", "do", "-s", "8900")) == (3, 3)


def test_a_spine_that_dies_between_two_gateways_is_missed_for_less_than_a_second(clos):
    assert_failover(clos, clos.hosts[1], clos.hosts[2], silence, TRANSFER_BYTES)
    for spine in clos.spines:
        spine.speak_again()
    clos.converge()
