"""The table: rows, each with what it asks, where that is written, and the checks that show it."""

from dataclasses import dataclass, field

from .desk import Differs, NotOffered, NotTried

HOLDS, DIFFERS, ABSENT, UNTRIED = "holds", "differs", "not offered", "not tried"
FAMILIES = ("ipv4", "ipv6")


@dataclass
class Row:
    """A row of the table. Each check takes a desk and gives how many cases it has tried."""

    name: str
    what: str
    source: str
    families: tuple = FAMILIES
    # It leaves traces in the device that no setting removes: it gets a device of its own.
    alone: bool = False
    # The kernel's vxlan device says where remote stations are, as FRR has it. Such a device is its own, too.
    controlled: bool = False
    checks: list = field(default_factory=list)


@dataclass
class Verdict:
    """What a device does about a row."""

    verdict: str
    cases: int
    says: str = ""


TABLE = {}


def row(name, what, source, families=FAMILIES, alone=False, controlled=False):
    """Adds a row; its checks are added by the decorator that this gives."""
    made = TABLE[name] = Row(name, what, source, families, alone, controlled)

    def add(check):
        made.checks.append(check)
        return check

    return add


def judge(desk, made):
    """A device's verdict on a row, on one desk."""
    cases = 0
    worst = Verdict(HOLDS, 0)
    for check in made.checks:
        try:
            cases += check(desk)
        except NotOffered as absent:
            worst = Verdict(ABSENT, 0, str(absent))
        except NotTried as untried:
            worst = Verdict(UNTRIED, 0, str(untried))
        except (Differs, TimeoutError) as differs:
            return Verdict(DIFFERS, cases, str(differs))
        finally:
            desk.restore()
    worst.cases = cases
    return worst


def together(verdicts):
    """One verdict of those on several desks: the worst."""
    order = [HOLDS, UNTRIED, ABSENT, DIFFERS]
    worst = max(verdicts, key=lambda verdict: order.index(verdict.verdict))
    return Verdict(worst.verdict, sum(verdict.cases for verdict in verdicts), worst.says)
