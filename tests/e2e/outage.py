"""A spine dies: how long hosts do not hear each other."""

import os
import re
import signal
import threading
import time

from testbed import Stalls, in_thread, settle, wait_until
from transfer import bulk_transfer

# BFD notices within 0.5 s. The rest is for routes to change on a busy machine.
FAILOVER_SECONDS = 1.0
TRANSFER_BYTES = 512 << 20

# The interval of the pings, in seconds: what an outage is measured to.
INTERVAL = 0.01


class Pings:
    """Pings between many hosts at once, from now until `stop`."""

    def __init__(self, bed, pairs):
        self.running = []
        for number, (source, target) in enumerate(pairs):
            path = os.path.join(bed.directory, f"pings-{number}")
            with open(path, "wb") as log:
                process = bed.start("ping", "-n", "-i", str(INTERVAL), target, namespace=source.namespace,
                                    stdout=log, stderr=log)
            self.running.append((f"{number}: {source.number} to {target}", process, path))

    def stop(self):
        """Ends them. Of each, how long in seconds there was no answer: by the number of those that did not come in a row,
        which a process that has to wait for its turn has not sent."""
        for _, process, _ in self.running:
            process.send_signal(signal.SIGINT)
        outages = {}
        for name, process, path in self.running:
            process.wait(10)
            with open(path, encoding="utf-8") as log:
                text = log.read()
            answers = re.findall(r"^\d+ bytes from .* icmp_seq=(\d+)", text, re.MULTILINE)
            assert len(answers) > 10, f"{name} was never answered"
            # The last one may be on its way yet.
            sent = int(re.search(r"^(\d+) packets transmitted", text, re.MULTILINE).group(1))
            numbers = sorted(int(answer) for answer in answers) + [sent]
            outages[name] = INTERVAL * max(later - earlier for earlier, later in zip(numbers, numbers[1:]))
        return outages


def silence(spine):
    """The spine dies without a word: its links stay up. Only BFD tells."""
    spine.fall_silent()


def unplug(spine):
    """The spine dies with its links."""
    spine.set_links("down")


def everybody(clos):
    """Pairs of hosts: each host with an address of each other."""
    return [(source, target.ipv4) for source in clos.hosts for target in clos.hosts if source is not target]


def flows(clos):
    """Each host with all addresses of each other: of one family's six it happens that none leads by a spine."""
    return everybody(clos) + [(source, target.ipv6) for source in clos.hosts for target in clos.hosts
                              if source is not target]


def busier_spine(clos):
    """The spine that more packets leave by, now."""
    def sent():
        return [sum(spine.sent(port) for port in spine.ports) for spine in clos.spines]

    before = sent()
    time.sleep(0.3)
    grown = [after - earlier for earlier, after in zip(before, sent())]
    return clos.spines[grown.index(max(grown))]


def assert_failover(clos, source, target, die, size=TRANSFER_BYTES):
    """During a transfer between two hosts the spine that carries more dies: all of the transfer arrives, and no host
    misses another for longer than it may."""
    with clos.watched_closely():
        _fail_over(clos, source, target, die, size)


def _fail_over(clos, source, target, die, size):
    pings = Pings(clos.bed, flows(clos))
    pauses, enough = [], threading.Event()
    with Stalls() as stalls:
        transfer = in_thread(bulk_transfer, source, target, target.ipv4, size, pauses, enough)
        try:
            spine = busier_spine(clos)
            stood = stalls.seconds
            die(spine)
            survivor = next(other for other in clos.spines if other is not spine)
            ports = [f"uplink{clos.spines.index(survivor)}"]
            wait_until(lambda: all(leaf.next_hops(other.address) == ports for leaf in clos.leaves for other in clos.leaves
                                   if other is not leaf), 5, "the leaves to use the other spine alone")
            stood = stalls.seconds - stood
        finally:
            enough.set()
        sent, received = transfer.join(60)
        settle(0.2)
        outages = pings.stop()
    print(f"{die.__name__}: {({name: round(outage, 3) for name, outage in outages.items()})}, stood still {stood:.3f}")
    assert sent == received
    assert max(outages.values()) < FAILOVER_SECONDS + stood, (outages, stood)
    if die is silence:
        # The transfer's way did: it is the busier spine. It may be the only one's.
        assert max(*outages.values(), *pauses) > 0.2, f"nobody's way led by {spine.name}: {outages}, {pauses}"
