"""Pings in which an answer may be late, as on a machine that stalls, and none may be missing."""

import re
import subprocess

from testbed import run


def pinged(namespace, address, *options, count=3):
    """Pings so often: the number of answers, those that come twice among them.

    All requests leave before ping looks for the first answer (`-l`): once it has one it waits for the last not as long
    as `-W` says, but only twice as long as for those before.
    """
    text = run("ip", "netns", "exec", namespace, "ping", "-n", "-l", str(count), "-c", str(count), "-W", "3", *options,
               address, check=False)
    return text.count(" bytes from ")


class Pinging:
    """So many pings in the background, `rate` of them a second, until as many are answered."""

    def __init__(self, bed, namespace, address, count, rate=100):
        self.count = count
        self._process = bed.start("ping", "-n", "-i", str(1 / rate), "-c", str(count), "-w", "30", address,
                                  namespace=namespace, stdout=subprocess.PIPE, text=True)

    def is_over(self):
        """Whether it has ended."""
        return self._process.poll() is not None

    def missing(self):
        """Waits for the end: which of the pings were never answered, however late."""
        text = self._process.communicate(timeout=40)[0]
        answered = {int(number) for number in re.findall(r" bytes from .* icmp_seq=(\d+)", text)}
        return sorted(set(range(1, self.count + 1)) - answered)
