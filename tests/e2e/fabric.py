"""A gateway whose kernel is a host of the fabric, through the uplink's interface there.

      h0 --- ac0 +---------+ up0       fabric (a bridge)
                 | gateway |----------- o --- r2  kernel VTEP
                 +---------+
                      |
                      | fabric0        the gateway's own namespace
"""

from overlay import Overlay
from pings import pinged
from testbed import run, wait_until

# The name of the uplink's interface in the kernel.
KERNEL_INTERFACE = "fabric0"


class KernelFabric(Overlay):
    """An overlay with one access port and one remote VTEP, on an underlay that the gateway's kernel takes part in.

    The kernel has the VTEP's address where `on` says: on the uplink's interface, on loopback, or (None) not at all.
    """

    def __init__(self, family="ipv4", on=KERNEL_INTERFACE, underlay="kernel", workers=None, remotes=1):
        self.on = on

        def configure(overlay):
            if underlay:
                overlay.config.vtep["underlay"] = underlay
            if workers:
                overlay.config.workers = workers
            overlay.config.ports[0]["kernel_interface"] = KERNEL_INTERFACE
            overlay.config.bridge(overlay.vni, overlay.vlan, ["trunk0"], overlay.remote_addresses)

        super().__init__(family, access_ports=1, remotes=remotes, configure=configure)

    def gateway_namespace(self):
        """With IPv6, which the gateways of other tests do without."""
        namespace = self.bed.namespace("gw")
        run("ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv6.conf.default.addr_gen_mode=0")
        return namespace

    def give_address(self):
        """Gives the kernel the VTEP's address, and waits until the gateway knows."""
        if self.on is None:
            return
        family = self.underlay.family
        host_only = 32 if family == "ipv4" else 128
        length = host_only if self.on == "lo" else self.underlay.length
        options = ("nodad",) if family == "ipv6" else ()
        run("ip", "-n", self.gateway.namespace, "addr", "add", f"{self.underlay.gateway}/{length}", "dev", self.on,
            *options)
        if self.on == "lo":
            route = f"{self.underlay.address(0)}/{self.underlay.length}"
            run("ip", "-n", self.gateway.namespace, "route", "add", route, "dev", KERNEL_INTERFACE,
                "src", self.underlay.gateway)
        # The gateway looks once a second. Until then it answers pings itself, which it counts.
        remote = self.remotes[0]

        def kernel_answers():
            before = self.gateway.total("vtepd_events_total", event="echo_answered")
            answered = pinged(remote.namespace, self.underlay.gateway, count=1)
            return answered and self.gateway.total("vtepd_events_total", event="echo_answered") == before

        wait_until(kernel_answers, 10, "the kernel to answer for its address", every=0.1)

    def interface(self):
        """What `ip` says of the kernel's interface; empty where there is none."""
        return run("ip", "-n", self.gateway.namespace, "-d", "addr", "show", KERNEL_INTERFACE, check=False)

    def punted(self, name, outcome="passed"):
        """Packets of a class with this outcome."""
        return self.gateway.total("vtepd_exception_punted_packets_total", **{"class": name, "outcome": outcome})


def carrier(fabric):
    """Whether the kernel's interface has carrier."""
    return "NO-CARRIER" not in fabric.interface()
