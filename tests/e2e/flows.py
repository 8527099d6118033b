"""Many flows of UDP between two stations."""

import contextlib
import socket

from testbed import inside

# So many datagrams are under way at once: every queue on the way holds them.
AT_ONCE = 16
PATIENCE = 10


def send_flows(here, there, address, flows, datagrams):
    """Sends so many datagrams of each of so many flows, which differ in their source ports, to an address of the other
    station; returns how many arrived. It ends when one does not arrive."""
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        with inside(there.namespace):
            receiver = stack.enter_context(socket.socket(kind, socket.SOCK_DGRAM))
        receiver.bind((address, 0))
        with inside(here.namespace):
            senders = [stack.enter_context(socket.socket(kind, socket.SOCK_DGRAM)) for _ in range(flows)]
        receiver.settimeout(PATIENCE)
        sent = received = 0
        with contextlib.suppress(TimeoutError):
            for sender in (sender for _ in range(datagrams) for sender in senders):
                sender.sendto(b"flow", receiver.getsockname()[:2])
                sent += 1
                while sent % AT_ONCE == 0 and received < sent or sent == flows * datagrams > received:
                    receiver.recv(16)
                    received += 1
        return received
