"""The desk that a device lies on: three wires, and what is sent and seen on them."""

import select
import socket
import time

from frames import ETH_P_ALL, PACKET_AUXDATA, SO_RCVBUFFORCE, SOL_PACKET, with_tag
from testbed import Testbed, inside, looks, run

from .packets import BROADCAST, Outer, address, frame, marker, remote_mac, tunnelled

PACKET_IGNORE_OUTGOING = 23
WIRES = {"uplink": "up0", "access0": "ac0", "access1": "ac1"}
ACCESS = ("access0", "access1")
PATIENCE = 3.0
# Who sends the frames that show that all before them has passed.
SENTINELS = {"uplink": "02:5e:00:00:00:00", "access0": "02:5e:00:00:00:01", "access1": "02:5e:00:00:00:02"}


class Differs(Exception):
    """The device does something else than the row says."""


class NotOffered(Exception):
    """The device has no such feature."""


class NotTried(Exception):
    """This machine cannot show it."""


def expect(condition, says):
    """The row holds only if the condition does."""
    if not condition:
        raise Differs(says)


class Seen:
    """What came out of the wires while something was sent."""

    def __init__(self, frames, family):
        self.frames = frames
        self._family = family

    def at(self, wire, mark):
        """The frames on a wire that carry the mark."""
        return [frame for frame in self.frames[wire] if mark in frame]

    def tunnelled(self, mark=b""):
        """What was sent to remote VTEPs and carries the mark."""
        packets = (tunnelled(packet, self._family) for packet in self.frames["uplink"] if mark in packet)
        return [packet for packet in packets if packet]

    def places(self, mark):
        """How often each place got a frame with the mark."""
        counts = {wire: len(self.at(wire, mark)) for wire in ACCESS}
        counts |= {"remote1": 0, "remote2": 0}
        for packet in self.tunnelled(mark):
            place = f"remote{packet.remote}" if packet.remote in (1, 2) else packet.destination
            counts[place] = counts.get(place, 0) + 1
        return {place: count for place, count in counts.items() if count}


class Desk:
    """The wires' far ends, in a namespace, and the device at their near ends."""

    def __init__(self, make_device, family):
        self.family = family
        self.bed = Testbed()
        self.sockets = {}
        self.is_changed = False
        # The remote VTEPs that floods go to, and the group that sentinels are for.
        self.remotes = (1, 2)
        self.sentinel_group = BROADCAST
        try:
            self.namespace = self.bed.namespace("far", ipv6=False)
            self.device = make_device(self)
            self._open()
            self.settle()
        except BaseException:
            self.close()
            raise

    def _open(self):
        with inside(self.namespace):
            for wire, device in WIRES.items():
                opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                opened.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
                opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
                opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
                opened.bind((device, ETH_P_ALL))
                opened.setblocking(False)
                self.sockets[wire] = opened

    def close(self):
        """Ends the device and removes everything."""
        for opened in self.sockets.values():
            opened.close()
        self.bed.close()

    def configure(self, **wishes):
        """Has the device take these settings; all others are as at the start."""
        self.is_changed = True
        self.device.configure(**wishes)
        self.settle()

    def restore(self):
        """Has the device take the settings of the start, if a check has changed them."""
        if self.is_changed:
            self.device.configure()
            self.settle()
            self.is_changed = False

    def settle(self):
        """Waits until frames pass from every wire."""
        end = time.monotonic() + 10
        while True:
            try:
                for wire in WIRES:
                    self.exchange(wire)
                return
            except TimeoutError:
                if time.monotonic() > end:
                    raise

    def sentinel(self, wire):
        """A frame that the device floods from this wire, and how often it then comes out of each other one."""
        mark = marker()
        sent = frame(self.sentinel_group, SENTINELS[wire], mark)
        if wire == "uplink":
            return mark, self.outer(sent).build(), {"access0": 1, "access1": 1}
        other = "access1" if wire == "access0" else "access0"
        return mark, sent, {other: 1, "uplink": len(self.remotes)}

    def outer(self, inner, **fields):
        """A VXLAN packet of a remote VTEP's."""
        return Outer(self.family, inner, **({"port": self.device.port} | fields))

    def exchange(self, wire, *packets):
        """Sends packets into a wire; what comes out of all wires until a sentinel sent behind them has come out.

        Each wire keeps the order of its frames, so whatever the packets lead to has come out before the sentinel.
        """
        mark, last, awaited = self.sentinel(wire)
        self._drain()
        for packet in packets:
            self._send(wire, packet)
        self._send(wire, last)
        frames = {name: [] for name in WIRES}
        missing = dict(awaited)
        left = PATIENCE
        while any(count > 0 for count in missing.values()):
            if left < 0:
                raise TimeoutError(f"what was sent into {wire} last did not come out: {missing}")
            began = time.monotonic()
            for name, packet in self._receive(0.05):
                if mark in packet:
                    missing[name] = missing.get(name, 0) - 1
                else:
                    frames[name].append(packet)
            # Where the machine stands still it is for much longer.
            left -= min(time.monotonic() - began, 0.1)
        for name, packet in self._receive(0.002):
            frames[name].append(packet)
        return Seen(frames, self.family)

    def listen(self, seconds):
        """What comes out of the wires in this time."""
        frames = {name: [] for name in WIRES}
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for name, packet in self._receive(left):
                frames[name].append(packet)
        return Seen(frames, self.family)

    def _send(self, wire, packet):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.sockets[wire].send(packet)
                return
            except (BlockingIOError, OSError) as error:
                # The device's queue is full.
                if error.errno not in (11, 105) or time.monotonic() > end:
                    raise
                time.sleep(0.001)

    def _receive(self, seconds):
        readable, _, _ = select.select(list(self.sockets.values()), [], [], seconds)
        for name, opened in self.sockets.items():
            while opened in readable:
                try:
                    data, ancillary, _, _ = opened.recvmsg(1 << 16, 256)
                except BlockingIOError:
                    break
                yield name, with_tag(data, ancillary)

    def _drain(self):
        for _ in self._receive(0):
            pass

    def send_from(self, place, inner, **fields):
        """Sends a frame from an access wire, or from a remote VTEP (`remote1`), and gives what is seen."""
        if place in ACCESS:
            return self.exchange(place, inner)
        return self.exchange("uplink", self.outer(inner, remote=int(place[-1]), **fields).build())

    def teach(self, place, mac):
        """Sends from a place until the device sends to the station there and nowhere else."""
        asker = "access1" if place != "access1" else "access0"
        for is_last in looks(PATIENCE, 0):
            self.send_from(place, frame(BROADCAST, mac))
            mark = marker()
            if self.exchange(asker, frame(mac, SENTINELS[asker], mark)).places(mark) == {place: 1}:
                return
            expect(not is_last, f"a station at {place} is not learned")

    def refuse(self, wire, packets, reasons, says):
        """Nothing may come of any of the packets, and each is counted under one of the reasons, where the device has
        such counters. Gives how many packets there were."""
        before = self.device.drops()
        seen = self.exchange(wire, *packets)
        expect(not seen.frames["access0"] and not seen.frames["access1"] and not seen.tunnelled(), says)
        self.counted(before, len(packets), reasons)
        return len(packets)

    def counted(self, before, number, reasons):
        """So many more packets were dropped for these reasons, and none for another."""
        if before is None:
            return
        for is_last in looks(PATIENCE):
            after = self.device.drops()
            grown = {reason: int(after[reason] - before[reason]) for reason in after if after[reason] > before[reason]}
            if grown and set(grown) <= set(reasons) and sum(grown.values()) == number:
                return
            expect(sum(grown.values()) <= number and not is_last, f"{number} drops are counted as {grown}")


def tell_remotes(namespace, device, family):
    """Tells a kernel where the remote VTEPs are, so that it need not ask."""
    for number in (1, 2):
        run("ip", "-n", namespace, "neigh", "replace", address(family, number), "lladdr", remote_mac(number), "dev",
            device, "nud", "permanent")


def expected_flood(source):
    """Where a flood from a place belongs, each place once (split horizon)."""
    if source in ACCESS:
        return {place: 1 for place in (*ACCESS, "remote1", "remote2") if place != source}
    return {place: 1 for place in ACCESS}


def lengths(packet, first):
    """The packet cut short at every length from the first on."""
    return [packet[:length] for length in range(first, len(packet))]
