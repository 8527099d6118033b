"""The files of `examples/`, which the tests run with names, addresses and devices of their own."""

import os
import re

from gateway import Config
from testbed import ROOT, run


class Example:
    """A folder of `examples/`."""

    def __init__(self, name):
        self.directory = os.path.join(ROOT, "examples", name)

    def text(self, name, changes=None):
        """A file's text, changed as [`replaced`] does it."""
        with open(os.path.join(self.directory, name), encoding="utf-8") as file:
            return replaced(file.read(), changes or {})

    def run(self, bed, namespace, name, *arguments, changes=None):
        """Runs one of its scripts in a namespace and returns what it printed."""
        script = os.path.join(bed.directory, f"{name}-{namespace}")
        with open(script, "w", encoding="utf-8") as file:
            file.write(self.text(name, changes))
        return run("ip", "netns", "exec", namespace, "sh", script, *arguments)


def replaced(text, changes):
    """The text with each name replaced; every name must be there, so that the test runs what the file says."""
    for old, new in changes.items():
        text, times = re.subn(rf"(?<![\w.:]){re.escape(old)}(?![\w:])", new, text)
        assert times, f"{old} is not in the file"
    return text


class ExampleConfig(Config):
    """An example's vtepd.toml, with memory and cores that a test has, and what else is to be changed: devices by their
    PCI addresses."""

    def __init__(self, example, address, changes):
        super().__init__(address)
        self.example = example
        self.changes = changes

    def text(self):
        """The TOML text."""
        dpdk = f'hugepages = false\nmemory_mib = 256\nfile_prefix = "{self.dpdk["file_prefix"]}"'
        cores = f'cores = {self.workers["cores"]}\nidle = "adaptive"'
        text = self.example.text("vtepd.toml", {"memory_mib = 1024": dpdk, "cores = [2, 3]": cores, **self.changes})
        return f'{text}\n[api]\nsocket = "{self.api["socket"]}"\n'
