"""Two equal sides that talk to each other in the manner of MSRP (RFC 4975): both send requests and both answer.

    msrp.py LOCAL REMOTE open|wait|both COUNT      LOCAL, REMOTE: [ADDRESS:]PORT, the address is 127.0.0.1 if left out

open connects, wait listens, both connects from its port to the other's while the other does the same (TCP's
simultaneous open; it is tried until it succeeds). Each side sends COUNT requests with a body and a transaction id, the
other answers each with 200; ends when all were answered and as many have come. Prints "COUNT sent, COUNT received".
"""
import errno
import random
import socket
import sys
import threading
import time

DEADLINE = 60


def place(text):
    address, _, port = text.rpartition(":")
    return address or "127.0.0.1", int(port)


def bound(at):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(at)
    return s


def opened(local, remote, how):
    if how == "wait":
        with bound(local) as listener:
            listener.listen(1)
            print("listening", flush=True)
            return listener.accept()[0]
    end = time.monotonic() + DEADLINE
    while True:
        s = bound(local if how == "both" else (local[0], 0))
        try:
            s.connect(remote)
            return s
        except OSError as e:
            s.close()
            if e.errno not in (errno.ECONNREFUSED, errno.ECONNRESET, errno.EADDRNOTAVAIL) or time.monotonic() > end:
                raise


class Side:
    def __init__(self, s, count):
        self.stream = s
        self.reader = s.makefile("rb")
        self.count = count
        self.lock = threading.Lock()
        self.open_requests = {}
        self.received = 0

    def send(self, text, body=b""):
        with self.lock:
            self.stream.sendall(text.encode() + body)

    def send_requests(self):
        for n in range(self.count):
            body = random.Random(n).randbytes(n % 3000)
            identity = f"t{n:x}"
            self.open_requests[identity] = n
            self.send(f"MSRP {identity} SEND\r\nNumber: {n}\r\nLength: {len(body)}\r\n\r\n", body)

    def headers(self):
        found = {}
        while (line := self.reader.readline()) != b"\r\n":
            if not line:
                raise ConnectionError("the stream ended within a message")
            name, value = line.decode().split(":", 1)
            found[name] = value.strip()
        return found

    def read_one(self):
        line = self.reader.readline().decode().split()
        if not line:
            raise ConnectionError("the stream ended too early")
        headers = self.headers()
        if line[2] == "SEND":
            n = int(headers["Number"])
            assert n == self.received, "a request is missing"
            assert self.reader.read(int(headers["Length"])) == random.Random(n).randbytes(n % 3000), "a body differs"
            self.received += 1
            self.send(f"MSRP {line[1]} 200 OK\r\n\r\n")
        else:
            assert line[2] == "200", "refused"
            del self.open_requests[line[1]]

    def run(self):
        sender = threading.Thread(target=self.send_requests)
        sender.start()
        while self.received < self.count or sender.is_alive() or self.open_requests:
            self.read_one()
        sender.join()
        self.stream.shutdown(socket.SHUT_WR)
        assert not self.reader.read(1), "bytes behind the end"
        print(f"{self.count} sent, {self.received} received", flush=True)


def main():
    local, remote, how, count = place(sys.argv[1]), place(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    with opened(local, remote, how) as s:
        s.settimeout(DEADLINE)
        Side(s, count).run()


main()
