"""Looks names up and dials addresses in a given order, to see by which name a connection is known.

    dial.py PORT STEP...

    lookup=NAME[/PORT]  getaddrinfo in the main thread; PORT may be "here", the one that is dialled
    old-lookup=NAME     gethostbyname_r in the main thread
    thread-lookup=NAME[/PORT]  getaddrinfo in a thread of its own, as event loops do it
    lookup-all=PATTERN,N  getaddrinfo of N names, 0 to N-1 in the place of %
    from=ADDRESS        where the next connections come from
    dial=ADDRESS        connects to ADDRESS and PORT, sends a line and prints what comes back, or the error
"""
import os
import socket
import sys
import threading


def dial(address, port, source):
    try:
        with socket.socket() as s:
            if source:
                s.bind((source, 0))
            s.settimeout(60)
            s.connect((address, port))
            s.sendall(b"hello\n")
            print(s.makefile(errors="replace").readline().strip() or "ended", flush=True)
    except OSError as e:
        print(os.strerror(e.errno) if e.errno else e, flush=True)


def lookup(what):
    name, _, service = what.partition("/")
    socket.getaddrinfo(name, sys.argv[1] if service == "here" else service or None)


def main():
    port, source = int(sys.argv[1]), None
    for step in sys.argv[2:]:
        what, value = step.split("=", 1)
        if what == "lookup":
            lookup(value)
        elif what == "lookup-all":
            pattern, count = value.split(",")
            for i in range(int(count)):
                lookup(pattern.replace("%", str(i)))
        elif what == "old-lookup":
            socket.gethostbyname_ex(value)
        elif what == "thread-lookup":
            thread = threading.Thread(target=lookup, args=(value,))
            thread.start()
            thread.join()
        elif what == "from":
            source = value
        else:
            dial(value, port, source)


main()
