#!/usr/bin/env python3
"""A program that listens, and connects to itself by way of the port that a file names (a relay, or its own port).

    reflected.py PORT-FILE

Prints `port N`, then for each end what it got, or the name of its error."""

import errno
import os
import socket
import sys
import threading
import time


def say(text):
    os.write(1, f"{text}\n".encode())


def talk(name, connection):
    try:
        connection.sendall(b"from " + name)
        got = connection.recv(100)
        say(f"{name.decode()} got {got.decode() or 'the end'}")
    except OSError as error:
        say(f"{name.decode()} {errno.errorcode.get(error.errno, error)}")


listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
deadline = time.monotonic() + 60
while not os.path.exists(sys.argv[1]) and time.monotonic() < deadline:
    time.sleep(0.02)
with open(sys.argv[1]) as file:
    port = int(file.read())
out = socket.create_connection(("127.0.0.1", port))
accepted, _ = listener.accept()
threads = [threading.Thread(target=talk, args=(b"connector", out)), threading.Thread(target=talk, args=(b"acceptor", accepted))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
