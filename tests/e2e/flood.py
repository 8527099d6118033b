"""Sends one frame over and over, as fast as it can, until it is ended: flood.py DEVICE FRAME_IN_HEX."""

import socket
import sys


def main(device, frame):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((device, 0))
        while True:
            try:
                sender.send(frame)
            except OSError:
                # The device's queue is full: that is as fast as it can.
                pass


if __name__ == "__main__":
    main(sys.argv[1], bytes.fromhex(sys.argv[2]))
