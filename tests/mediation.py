#!/usr/bin/env python3
"""Reads what `strace -ff -k -y` has written, and verifies complete mediation: each call that moves bytes on a protected
socket was made from a frame of the library.

    mediation.py [--at-least N] FILE...

A socket is known by its inode, which `-y` shows with each descriptor: so dups, inherited and passed descriptors need no
following. Protected is a TCP socket that was connected to 127.0.0.0/8, or accepted from a listener that was bound there
or to no address (the matrix runs with the policy `any 127.0.0.1:*`). Of the frames, those of libc and of the loader are
passed over: the first one after them has made the call. Calls that never returned (the process was killed in them)
leave no frames, and are not judged.

Prints how many calls there were, and each one that came from elsewhere; exit status 1 if there was one, or if there
were fewer calls than N.
"""

import re
import sys

DATA = set(
    "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 recvfrom sendto recvmsg sendmsg recvmmsg "
    "sendmmsg sendfile splice tee copy_file_range io_submit io_uring_enter".split()
)
# Of these each descriptor counts, not only the first one.
SEVERAL = {"sendfile", "splice", "tee", "copy_file_range", "io_submit"}
LIBC = re.compile(r"/(libc|libpthread|ld-linux[^/]*)[.-][^/]*$|^\[vdso\]$")
LIBRARY = re.compile(r"/libp2ptls(-core)?\.so$")

CALL = re.compile(r"(\w+)\((.*)$")
DESCRIPTOR = re.compile(r"\b\d+<socket:\[(\d+)\]>")
FIRST = re.compile(r"\d+<socket:\[(\d+)\]>")
RESULT = re.compile(r"= \d+<socket:\[(\d+)\]>")
STRING = re.compile(r'"(?:\\.|[^"\\])*"(?:\.\.\.)?')
LOOPBACK = re.compile(r'"(?:::ffff:)?127\.')
ANYWHERE = re.compile(r'"(?:::ffff:)?0\.0\.0\.0"|"::"')
FRAME = re.compile(r"(.*?)(?:\(.*\))? \[0x[0-9a-f]+\]$")


def calls(path):
    """Each system call of a file: its line, and its frames, the innermost first."""
    line, frames = None, []
    with open(path, errors="replace") as trace:
        for text in trace:
            text = text.rstrip("\n")
            if text.startswith(" > "):
                frames.append(text[3:])
                continue
            if line is not None:
                yield line, frames
            line, frames = text, []
    if line is not None:
        yield line, frames


class Sockets:
    def __init__(self):
        self.datagrams, self.listeners, self.protected = set(), set(), set()

    def note(self, name, arguments):
        first, result = FIRST.match(arguments), RESULT.search(arguments)
        if name == "socket" and result and "SOCK_STREAM" not in arguments:
            self.datagrams.add(result[1])
        elif name == "bind" and first and arguments.endswith("= 0"):
            if LOOPBACK.search(arguments) or ANYWHERE.search(arguments):
                self.listeners.add(first[1])
        elif name == "connect" and first and first[1] not in self.datagrams:
            if LOOPBACK.search(arguments) and re.search(r"= 0$|EINPROGRESS|EINTR|ERESTART", arguments):
                self.protected.add(first[1])
        elif name in ("accept", "accept4") and first and result and first[1] in self.listeners:
            self.protected.add(result[1])


def moved_on(name, arguments):
    """The inodes of the sockets on which a call moves bytes."""
    if name in SEVERAL:
        return DESCRIPTOR.findall(STRING.sub('""', arguments))
    first = FIRST.match(arguments)
    return [first[1]] if first else []


def made_by_library(frames):
    for frame in frames:
        known = FRAME.match(frame)
        module = known[1] if known else frame
        if not LIBC.search(module):
            return bool(LIBRARY.search(module))
    return False


def main(arguments):
    least = 1
    if arguments[:1] == ["--at-least"]:
        least, arguments = int(arguments[1]), arguments[2:]
    sockets, candidates = Sockets(), []
    for path in arguments:
        for line, frames in calls(path):
            call = CALL.match(line)
            if not call:
                continue
            sockets.note(*call.groups())
            if call[1] in DATA and "<unfinished" not in line and not line.endswith("= ?"):
                candidates.append((path, line, frames, moved_on(*call.groups())))
    judged = [c for c in candidates if sockets.protected.intersection(c[3])]
    elsewhere = [c for c in judged if not made_by_library(c[2])]
    for path, line, frames, _ in elsewhere[:20]:
        print(f"{path}: {line}", *[f"    {frame}" for frame in frames[:4]], sep="\n")
    used = len(set().union(*[c[3] for c in judged]) & sockets.protected)
    print(f"{len(judged)} calls on {used} protected sockets, {len(elsewhere)} not by the library")
    return 1 if elsewhere or len(judged) < least else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
