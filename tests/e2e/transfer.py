"""A transfer over TCP, checked byte for byte."""

import hashlib
import os
import socket
import time

from testbed import in_thread, inside


def bulk_transfer(here, there, address, size, pauses=None, enough=None):
    """Sends `size` random bytes (a multiple of 1 MiB) from one station to the other, and more until the event `enough` is
    set: what was sent and what arrived, each as (bytes, SHA-256). The longest time in seconds in which nothing arrived is
    appended to `pauses`."""
    return bulk_transfer_between(here.namespace, there.namespace, address, size, pauses=pauses, enough=enough)


def bulk_transfer_between(here, there, address, size, port=0, pauses=None, enough=None):
    """The same between two namespaces, to an address and port of the second."""
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    data = os.urandom(1 << 20)
    with inside(there):
        server = socket.create_server((address, port), family=kind)
    server.settimeout(20)
    received = in_thread(_receive, server, pauses)
    with inside(here):
        sender = socket.socket(kind)
    sender.settimeout(20)
    total, digest = 0, hashlib.sha256()
    with sender:
        sender.connect(server.getsockname())
        while total < size or (enough and not enough.is_set()):
            sender.sendall(data)
            digest.update(data)
            total += len(data)
    return (total, digest.hexdigest()), received.join(60)


def _receive(server, pauses):
    total, digest, longest = 0, hashlib.sha256(), 0
    with server:
        connection, _ = server.accept()
        connection.settimeout(20)
        with connection:
            last = time.monotonic()
            while block := connection.recv(1 << 18):
                now = time.monotonic()
                longest, last = max(longest, now - last), now
                total += len(block)
                digest.update(block)
    if pauses is not None:
        pauses.append(longest)
    return total, digest.hexdigest()
