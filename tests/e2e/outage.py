"""How long hosts did not hear each other."""

import os
import re
import signal

# The interval of the pings, in seconds: what an outage is measured to.
INTERVAL = 0.01


class Pings:
    """Pings between many hosts at once, from now until `stop`."""

    def __init__(self, bed, pairs):
        self.running = []
        for number, (source, target) in enumerate(pairs):
            path = os.path.join(bed.directory, f"pings-{number}")
            with open(path, "wb") as log:
                process = bed.start("ping", "-n", "-D", "-i", str(INTERVAL), target, namespace=source.namespace,
                                    stdout=log, stderr=log)
            self.running.append((f"{source.number} to {target}", process, path))

    def stop(self):
        """Ends them. Of each, the longest time in seconds between an answer and the next."""
        for _, process, _ in self.running:
            process.send_signal(signal.SIGINT)
        outages = {}
        for name, process, path in self.running:
            process.wait(10)
            with open(path, encoding="utf-8") as log:
                times = [float(time) for time in re.findall(r"^\[(\d+\.\d+)\] \d+ bytes from", log.read(), re.MULTILINE)]
            assert len(times) > 10, f"{name} was never answered"
            outages[name] = max(later - earlier for earlier, later in zip(times, times[1:]))
        return outages
