"""A transfer over TCP, checked byte for byte."""

import hashlib
import os
import socket

from testbed import in_thread, inside


def bulk_transfer(here, there, address, size):
    """Sends `size` random bytes (a multiple of 1 MiB) from one station to the other: what was sent and what arrived,
    each as (bytes, SHA-256)."""
    return bulk_transfer_between(here.namespace, there.namespace, address, size)


def bulk_transfer_between(here, there, address, size, port=0):
    """The same between two namespaces, to an address and port of the second."""
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    data = os.urandom(1 << 20)
    with inside(there):
        server = socket.create_server((address, port), family=kind)
    server.settimeout(20)
    received = in_thread(_receive, server)
    with inside(here):
        sender = socket.socket(kind)
    sender.settimeout(20)
    total, digest = 0, hashlib.sha256()
    with sender:
        sender.connect(server.getsockname())
        while total < size:
            sender.sendall(data)
            digest.update(data)
            total += len(data)
    return (total, digest.hexdigest()), received.join(60)


def _receive(server):
    total, digest = 0, hashlib.sha256()
    with server:
        connection, _ = server.accept()
        connection.settimeout(20)
        with connection:
            while block := connection.recv(1 << 18):
                total += len(block)
                digest.update(block)
    return total, digest.hexdigest()
