"""refused_then_reset.py PORT COUNT HELLO: connects COUNT times, sends the first record in the file HELLO some
milliseconds later, reads the answer to its end or to an alert, and resets. The delays lie around 3 ms, when an accepting
side that has heard nothing speaks itself, so that now its reader and now its helper meets the hello."""
import socket
import struct
import sys
import time

FIRST, STEP, STEPS = 0.0022, 0.0000025, 600  # seconds


def is_alert(data):
    return data[:1] == b'\x15' or data[-7:-5] == b'\x15\x03'


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()


def refused(port, delay, hello):
    s = socket.create_connection(('127.0.0.1', port))
    begin = time.perf_counter() + delay
    while time.perf_counter() < begin:
        pass
    s.sendall(hello)
    while True:
        try:
            data = s.recv(4096)
        except ConnectionResetError:
            break
        if not data or is_alert(data):
            break
    reset(s)


def main():
    port, count = int(sys.argv[1]), int(sys.argv[2])
    with open(sys.argv[3], 'rb') as file:
        said = file.read()
    hello = said[:5 + int.from_bytes(said[3:5], 'big')]
    for i in range(count):
        refused(port, FIRST + STEP * (i % STEPS), hello)


main()
