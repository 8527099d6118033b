"""Runs the table and writes docs/conformance.md and docs/conformance.json: python3 -m conformance [--only ROW,ROW]."""

import argparse
import atexit
import os
import sys
import time

import testbed

from . import report


def main():
    """Runs what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("--only", help="these rows, separated by commas; nothing is written")
    parser.add_argument("--docs", default=os.path.join(testbed.ROOT, "docs"), help="where the report is written")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("the devices lie in network namespaces, which need root: sudo make conformance")
    atexit.register(testbed.remove_everything, testbed.RUN)
    names = arguments.only.split(",") if arguments.only else None
    unknown = set(names or ()) - set(report.TABLE)
    if unknown:
        sys.exit(f"there is no row {', '.join(sorted(unknown))}; there are {', '.join(report.TABLE)}")
    began = time.monotonic()
    verdicts = {device: report.judge_all(device, names, lambda line: print(line, flush=True))
                for device in report.DEVICES}
    print(f"took {time.monotonic() - began:.0f} s")
    if names:
        return
    found = report.report_of(verdicts)
    for name, text in (("conformance.md", report.as_markdown(found)), ("conformance.json", report.as_json(found))):
        path = os.path.join(arguments.docs, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        print(f"wrote {path}")
    if any(entry["vtepd"]["verdict"] == report.DIFFERS for entry in found["rows"]):
        sys.exit("the gateway differs from a row")


if __name__ == "__main__":
    main()
