"""Runs the table against the devices and writes the report, as Markdown for people and as JSON for programs."""

import json
import textwrap

# They fill the table, in this order.
from . import rows_vxlan, rows_underlay, rows_bridging, rows_evpn  # noqa: F401
from .desk import Desk
from .gateway_device import GatewayDevice
from .kernel_device import KernelDevice
from .table import ABSENT, DIFFERS, FAMILIES, HOLDS, TABLE, UNTRIED, Verdict, judge, together

DEVICES = (GatewayDevice, KernelDevice)
SIGNS = {HOLDS: "holds", DIFFERS: "**differs**", ABSENT: "not offered", UNTRIED: "not tried"}


def judge_all(make_device, names=None, progress=lambda line: None):
    """A device's verdicts: {row: Verdict}."""
    rows = [made for made in TABLE.values() if names is None or made.name in names]
    found = {made.name: [] for made in rows}
    for family in FAMILIES:
        mine = [made for made in rows if family in made.families]
        batches = [[made for made in mine if not made.alone and not made.controlled],
                   [made for made in mine if made.controlled], *([made] for made in mine if made.alone)]
        for batch in filter(None, batches):
            controlled = batch[0].controlled
            desk = Desk(lambda desk: make_device(desk, controlled), family)
            try:
                for made in batch:
                    verdict = judge(desk, made)
                    if not desk.device.alive():
                        raise AssertionError(f"{make_device.name} has died of row {made.name}")
                    found[made.name].append(verdict)
                    progress(f"{make_device.name} {family} {made.name}: {verdict.verdict} ({verdict.cases}) {verdict.says}")
            finally:
                desk.close()
    return {name: together(verdicts) for name, verdicts in found.items()}


def report_of(verdicts):
    """The report as data, of {device class: {row: Verdict}}."""
    rows = []
    for made in TABLE.values():
        entry = {"row": made.name, "what": made.what, "source": made.source}
        for device, found in verdicts.items():
            verdict = found.get(made.name, Verdict(UNTRIED, 0))
            entry[device.name] = {"verdict": verdict.verdict, "cases": verdict.cases, "says": verdict.says}
        rows.append(entry)
    return {"devices": {device.name: device.version() for device in verdicts}, "rows": rows}


def as_json(report):
    """The report for programs."""
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


HEAD = """\
# Conformance

<!-- Made by `make conformance`: do not edit. -->

What a conforming VTEP does, row by row, and what two devices do when the same traffic is sent through them: the built
gateway, and the kernel's own vxlan in a bridge, with every setting that brings it nearer to the table. Every row is sent
as frames on wires and judged by what comes out of the others, over an IPv4 and an IPv6 underlay where the row has to do
with both; the numbers are the cases tried. Of the gateway it is also asked that each drop is counted under its reason.

"holds" is said where every case of the row does, "differs" where one does not: what is written of it is the first.
"not offered": the device has no such setting. "not tried": this machine cannot show it.

`make conformance` runs it again and writes this page and [conformance.json](conformance.json); a test holds the page to
what the gateway does. The kernel was {kernel}."""


def as_markdown(report):
    """The report for people."""
    lines = [HEAD.format(kernel=report["devices"]["kernel"]), ""]
    lines.append("| row | what | source | vtepd | kernel |")
    lines.append("|---|---|---|---|---|")
    for entry in report["rows"]:
        cells = [entry["row"], entry["what"], entry["source"], *(cell(entry[name]) for name in ("vtepd", "kernel"))]
        lines.append("| " + " | ".join(cells) + " |")
    notes = [(entry["row"], name, entry[name]["says"]) for name in ("vtepd", "kernel") for entry in report["rows"]
             if entry[name]["says"]]
    if notes:
        lines += ["", "## What is not as the row says", ""]
        for name, device, says in notes:
            lines.append(textwrap.fill(f"- {name}, {device}: {says}.", 120, subsequent_indent="  "))
    return "\n".join(lines) + "\n"


def cell(entry):
    """A device's verdict in the table."""
    cases = f" ({entry['cases']})" if entry["verdict"] == HOLDS else ""
    return SIGNS[entry["verdict"]] + cases
