"""Connects to an echo server again and again, and tells whether each connection was resumed (p2ptls.h).

    resuming.py PORT STEP...

    dial        connects, has a word echoed, prints "full" or "resumed", or the error, closes
    until=WORD  the same, again and again, until it would print WORD; prints the last one
    in-child    the same in a forked child, and waits for its end
    await=FILE  until it is there
    silent      connects, lets the other end know by sending nothing but its end, prints what came
"""
import errno
import os
import socket
import sys
import time

SOL_P2PTLS, P2PTLS_RESUMED = 0x7032, 8
WORD = b"hello\n"


def connect():
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    s.settimeout(60)
    return s


def echoed(s):
    s.sendall(WORD)
    got = b""
    while len(got) < len(WORD) and (part := s.recv(len(WORD) - len(got))):
        got += part
    return got


def dial():
    try:
        with connect() as s:
            got = echoed(s)
            how = "resumed" if s.getsockopt(SOL_P2PTLS, P2PTLS_RESUMED) else "full"
            return how if got == WORD else f"{how} {got}"
    except OSError as e:
        return errno.errorcode[e.errno]


def dial_until(word):
    end = time.monotonic() + 60
    while (found := dial()) != word and time.monotonic() < end:
        time.sleep(0.1)
    return found


def silent():
    with connect() as s:
        s.shutdown(socket.SHUT_WR)
        print("ended" if s.recv(1) == b"" else "more", flush=True)


def main():
    for step in sys.argv[2:]:
        what, _, value = step.partition("=")
        if what == "dial":
            print(dial(), flush=True)
        elif what == "until":
            print(dial_until(value), flush=True)
        elif what == "silent":
            silent()
        elif what == "in-child":
            pid = os.fork()
            if not pid:
                print(dial(), flush=True)
                os._exit(0)
            if os.waitpid(pid, 0)[1]:
                sys.exit("the child failed")
        else:
            end = time.monotonic() + 60
            while not os.path.exists(value):
                if time.monotonic() > end:
                    sys.exit("gave up waiting")
                time.sleep(0.01)


main()
