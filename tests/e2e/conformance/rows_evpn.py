"""The rows of a control plane's entries (RFC 7432, 8365): what FRR writes into the kernel's vxlan FDB counts."""

import time

from testbed import looks

from .desk import PATIENCE, SENTINELS, expect
from .packets import BROADCAST, frame, marker
from .table import row

HOST, OTHER = "02:40:00:00:00:01", "02:40:00:00:00:02"
UNKNOWN = "02:40:ff:00:00:01"
ALL = "00:00:00:00:00:00"

e1 = row("E1", "Entries of the control plane are neither aged nor overwritten from a tunnel; a local station wins",
         "RFC 7432, 15; RFC 8365, 5", controlled=True)
e2 = row("E2", "What is withdrawn is gone at once, and its traffic is flooded again", "RFC 7432, 9", controlled=True)
e3 = row("E3", "The flood list follows the control plane", "RFC 7432, 11; RFC 8365, 9", controlled=True)


def goes_to(desk, mac, asker="access1"):
    """Where a frame for a station comes out."""
    mark = marker()
    return desk.exchange(asker, frame(mac, SENTINELS[asker], mark)).places(mark)


def until(desk, mac, places, says):
    """Waits until frames for a station come out there and nowhere else."""
    for is_last in looks(PATIENCE):
        found = goes_to(desk, mac)
        if found == places:
            return
        expect(not is_last, f"{says}: they come out at {found}")


@e1
def entries_stay(desk):
    desk.configure(ageing=1)
    desk.device.say("append", HOST, 1)
    until(desk, HOST, {"remote1": 1}, "frames do not go where the control plane says")
    for _ in range(3):
        desk.send_from("remote2", frame(BROADCAST, HOST))
        time.sleep(0.02)
    expect(goes_to(desk, HOST) == {"remote1": 1}, "an entry is overwritten by a frame from another remote VTEP")
    time.sleep(2.5)
    expect(goes_to(desk, HOST) == {"remote1": 1}, "an entry of the control plane's is aged")
    desk.send_from("access0", frame(BROADCAST, HOST))
    until(desk, HOST, {"access0": 1}, "a station that is heard locally does not win")
    desk.device.say("del", HOST, 1)
    return 4


@e2
def what_is_withdrawn(desk):
    desk.device.say("append", OTHER, 2)
    until(desk, OTHER, {"remote2": 1}, "frames do not go where the control plane says")
    desk.device.say("del", OTHER, 2)
    until(desk, OTHER, {"access0": 1, "remote1": 1, "remote2": 1}, "frames for a withdrawn station are not flooded")
    return 2


@e3
def the_flood_list(desk):
    desk.device.say("del", ALL, 2)
    desk.remotes = (1,)
    until(desk, UNKNOWN, {"access0": 1, "remote1": 1}, "floods go on to a remote VTEP that has left")
    desk.device.say("append", ALL, 2)
    until(desk, UNKNOWN, {"access0": 1, "remote1": 1, "remote2": 1}, "floods do not go to a remote VTEP that has come")
    desk.remotes = (1, 2)
    return 2
