"""Many flows of UDP between two stations."""

import contextlib
import socket
import time

from testbed import inside

# So many datagrams at once, and then a pause in seconds: a TAP's queue holds them.
AT_ONCE = 16
PAUSE = 0.002
PATIENCE = 2


def send_flows(here, there, address, flows, datagrams):
    """Sends so many datagrams of each of so many flows, which differ in their source ports, to an address of the other
    station; returns how many arrived."""
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        with inside(there.namespace):
            receiver = stack.enter_context(socket.socket(kind, socket.SOCK_DGRAM))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        receiver.bind((address, 0))
        with inside(here.namespace):
            senders = [stack.enter_context(socket.socket(kind, socket.SOCK_DGRAM)) for _ in range(flows)]
        for number, sender in enumerate(sender for _ in range(datagrams) for sender in senders):
            sender.sendto(b"flow", receiver.getsockname()[:2])
            if number % AT_ONCE == AT_ONCE - 1:
                time.sleep(PAUSE)
        return _count(receiver, flows * datagrams)


def _count(receiver, most):
    receiver.settimeout(PATIENCE)
    count = 0
    with contextlib.suppress(TimeoutError):
        while count < most:
            receiver.recv(16)
            count += 1
    return count
