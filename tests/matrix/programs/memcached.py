"""memcached.py PORT CLIENTS VALUES [TEXT]: threads that store values (TEXT, or random ones), read them again in another
order, several in one request, and compare."""

import random
import socket
import sys
import threading

port, clients, values = map(int, sys.argv[1:4])
text = sys.argv[4].encode() if len(sys.argv) > 4 else None
right = []


def work(number):
    source = random.Random(number)
    stored = {}
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as answers:
        for index in range(values):
            key = f"key-{number}-{index}"
            stored[key] = text or source.randbytes(source.choice([0, 1, 100, 16384, 100000, 1000000]))
            connection.sendall(f"set {key} 0 0 {len(stored[key])}\r\n".encode() + stored[key] + b"\r\n")
            assert answers.readline() == b"STORED\r\n"
        keys = list(stored)
        source.shuffle(keys)
        for first in range(0, len(keys), 5):
            some = keys[first : first + 5]
            connection.sendall(f"get {' '.join(some)}\r\n".encode())
            while (line := answers.readline()) != b"END\r\n":
                _, key, _, length = line.split()
                assert answers.read(int(length) + 2) == stored[key.decode()] + b"\r\n", key
                some.remove(key.decode())
                right.append(key)
            assert not some, f"lost: {some}"


threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(f"{len(right)} values were right")
sys.exit(len(right) != clients * values)
