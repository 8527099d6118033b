"""Frames on the wire of a namespace: raw sending, exact capture (VLAN tags included), and frames to recognise."""

import os
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass

from testbed import inside

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SOL_PACKET = 263
PACKET_AUXDATA = 8
SO_RCVBUFFORCE = 33
TP_STATUS_VLAN_VALID = 0x10
TP_STATUS_VLAN_TPID_VALID = 0x40
LOCAL_EXPERIMENTAL = 0x88B5

BROADCAST = "ff:ff:ff:ff:ff:ff"


def mac_bytes(text):
    """The six bytes of a MAC address."""
    return bytes.fromhex(text.replace(":", ""))


def marked_frame(source, destination, vlan=None, size=64, marker=None):
    """An Ethernet frame of the local experimental EtherType with a random marker: (frame, marker)."""
    marker = marker or os.urandom(16)
    tag = struct.pack("!HH", 0x8100, vlan) if vlan is not None else b""
    head = mac_bytes(destination) + mac_bytes(source) + tag + struct.pack("!H", LOCAL_EXPERIMENTAL)
    return (head + marker).ljust(size, b"\0"), marker


def vlan_of(frame):
    """The VLAN of the frame's outermost tag, None where there is none."""
    ethertype, tci = struct.unpack_from("!HH", frame, 12)
    return tci & 0x0FFF if ethertype in (0x8100, 0x88A8) else None


def without_tag(frame):
    """The frame without its outermost VLAN tag."""
    return frame if vlan_of(frame) is None else frame[:12] + frame[16:]


def send(namespace, device, *frames):
    """Sends the frames as they are."""
    with inside(namespace), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((device, 0))
        for frame in frames:
            sender.send(frame)


@dataclass
class Seen:
    """One captured frame, with its tag where the wire had one."""

    frame: bytes
    device: str
    outgoing: bool
    time: float


class Capture:
    """Collects what a device receives (and sends, where `outgoing`) from the moment it is entered.

    With no device, all devices of the namespace.
    """

    def __init__(self, namespace, device=None, outgoing=False):
        self.outgoing = outgoing
        self.seen = []
        with inside(namespace):
            # With a protocol the socket captures at once and everywhere; without, from the bind on.
            protocol = 0 if device else socket.htons(ETH_P_ALL)
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, protocol)
            self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
            if device:
                self._socket.bind((device, ETH_P_ALL))
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._collect, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends the capture. May be called twice."""
        if self._stop_write is not None:
            os.close(self._stop_write)
            self._stop_write = None
            self._thread.join(5)
            os.close(self._stop_read)
            self._socket.close()

    def _collect(self):
        end = None
        while True:
            readable, _, _ = select.select([self._socket, self._stop_read], [], [])
            # What lies in the socket is taken out first; where more comes all the time, what comes within a second.
            if self._stop_read in readable:
                end = end or time.monotonic() + 1
                if self._socket not in readable or time.monotonic() > end:
                    return
            data, ancillary, _, address = self._socket.recvmsg(1 << 16, 256)
            outgoing = address[2] == PACKET_OUTGOING
            if outgoing and not self.outgoing:
                continue
            self.seen.append(Seen(with_tag(data, ancillary), address[0], outgoing, time.monotonic()))

    def frames(self):
        """The frames so far."""
        return [seen.frame for seen in list(self.seen)]

    def with_marker(self, marker):
        """The frames so far that carry the marker."""
        return [seen for seen in list(self.seen) if marker in seen.frame]


def with_tag(data, ancillary):
    # The kernel keeps a received tag beside the frame; a capture puts it back.
    for level, kind, value in ancillary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", value[:20])
            if status & TP_STATUS_VLAN_VALID:
                tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                return data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
    return data
