"""Processes of a run: starting them, talking to them, their CPU time, memory and system calls, and ending them.

CPU time comes from the kernel's CPU clock of each process (clock_getcpuclockid(3): the number of a clock is made of the
process id), which counts all its threads in nanoseconds, also those that have ended. Children that have ended are in
their parent's cutime and cstime (proc(5)), in ticks of 10 ms.
"""

import contextlib
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

HANG = 300  # seconds after which a program counts as hung; far above what anything here takes
TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """What was to be measured did not work; the text says why."""


class Ending:
    """A signal ends the run by SystemExit, so that all that was started is ended; but never between the start of a
    process and the note of it, or in the middle of ending one."""

    held = wanted = False

    @classmethod
    def on_signals(cls):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, cls.end)

    @classmethod
    def end(cls, *_):
        if cls.held:
            cls.wanted = True
        else:
            sys.exit(1)

    @classmethod
    @contextlib.contextmanager
    def put_off(cls):
        before, cls.held = cls.held, True
        try:
            yield
        finally:
            cls.held = before
            if cls.wanted and not before:
                cls.wanted = False
                sys.exit(1)


def as_user(user):
    """For Popen; user: a record of pwd, or None."""
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


class Process:
    """A child with its output in a log, or line by line through a pipe."""

    def __init__(self, argv, log, env=None, talks=False, user=None, cwd=None):
        self.name = os.path.basename(argv[0])
        self.log = log
        self.buffer = b""
        out = subprocess.PIPE if talks else open(log, "ab")
        try:
            self.child = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=out,
                stderr=open(log, "ab") if talks else subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                bufsize=0,
                start_new_session=True,
                **as_user(user),
                cwd=cwd,
            )
        except OSError as error:
            raise Failed(f"{argv[0]}: {error.strerror}") from error
        self.pid = self.child.pid

    def line(self):
        """The next line that it writes."""
        end = time.monotonic() + HANG
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.child.stdout], [], [], max(0, end - time.monotonic()))
            data = os.read(self.child.stdout.fileno(), 65536) if ready else b""
            if not data:
                why = "ended" if ready else f"wrote nothing for {HANG} s"
                raise Failed(f"{self.name} {why}: {self.last_words()}")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()

    def go_on(self):
        try:
            self.child.stdin.write(b"\n")
        except BrokenPipeError as error:
            raise Failed(f"{self.name} ended: {self.last_words()}") from error

    def port(self):
        """Of our own servers, which say it first."""
        return int(self.line().removeprefix("port "))

    def last_words(self):
        try:
            with open(self.log, "rb") as log:
                text = log.read()[-600:].decode(errors="replace").strip()
        except OSError:
            text = ""
        return " / ".join(text.splitlines()[-3:]) or "without a word"

    def wait_for_text(self, text):
        """Until its log has it."""
        end = time.monotonic() + HANG
        while not self.has_written(text):
            if not self.is_running() or time.monotonic() > end:
                raise Failed(f"{self.name} did not write '{text}': {self.last_words()}")
            time.sleep(0.01)

    def has_written(self, text):
        with open(self.log, errors="replace") as log:
            return text in log.read()

    def is_running(self):
        return self.child.poll() is None

    def stop(self):
        """Ends it and what it started (its own session); waits until it has gone."""
        for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, HANG)):
            try:
                os.killpg(self.pid, number)
            except (ProcessLookupError, PermissionError):
                pass
            try:
                self.child.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe:
                pipe.close()


class Scope:
    """The processes of one contender in one measure, and a folder; a context that ends them, the last one first. The
    folder goes with them: the next run would find the data that a server has left, and the words in its log."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        os.makedirs(folder, exist_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with Ending.put_off():
            while self.processes:
                self.processes.pop().stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, argv, **options):
        log = self.path(f"{len(self.processes)}-{os.path.basename(argv[0])}.log")
        with Ending.put_off():
            process = Process(argv, log, **options)
            self.processes.append(process)
        return process

    def start_daemon(self, argv, port, **options):
        """One that listens on a port which it was told; comes back when it does."""
        process = self.start(argv, **options)
        end = time.monotonic() + HANG
        while not port_is_open(port):
            if not process.is_running():
                raise Failed(f"{process.name} ended: {process.last_words()}")
            if time.monotonic() > end:
                raise Failed(f"{process.name} does not listen on port {port}")
            time.sleep(0.01)
        return process

    def stop(self, process):
        with Ending.put_off():
            process.stop()
            self.processes.remove(process)

    def pids(self):
        return [pid for process in self.processes for pid in tree(process.pid)]


def run(argv, env=None, user=None):
    """Runs a program to its end; its output."""
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            **as_user(user),
        )
    except OSError as error:
        raise Failed(f"{argv[0]}: {error.strerror}") from error
    try:
        out, err = child.communicate(timeout=HANG)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{argv[0]} hung") from error
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if child.returncode != 0:
        words = (err or out).decode(errors="replace").strip().splitlines()
        raise Failed(f"{argv[0]}: status {child.returncode}: {' / '.join(words[-3:])}")
    return out.decode(errors="replace")


def children_cpu_ns():
    """CPU time of children of ours that have ended and were waited for: in microseconds, unlike /proc's."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int(1e9 * (usage.ru_utime + usage.ru_stime))


def free_port():
    """A port that was free a moment ago, for programs that cannot bind port 0 and say what they got."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def port_is_open(port):
    """From the kernel's tables: a connection made to find out would be one that nobody asked for."""
    wanted = f":{port:04X}"
    with open("/proc/net/tcp") as table:
        return any(f[1].endswith(wanted) and f[3] == "0A" for f in map(str.split, table) if len(f) > 3)


def tree(pid):
    """A process and all that descend from it and live."""
    pids = [pid]
    for parent in pids:
        for thread in threads_of(parent):
            try:
                with open(f"/proc/{parent}/task/{thread}/children") as children:
                    pids += map(int, children.read().split())
            except OSError:
                continue
    return pids


def threads_of(pid):
    """Of a process that may end at any time."""
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def cpu_ns(pids):
    """CPU time so far of these processes and of their children that have ended."""
    total = 0
    for pid in pids:
        try:
            total += time.clock_gettime_ns((~pid << 3) | 2)
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
            total += TICK_NS * (int(fields[13]) + int(fields[14]))
        except OSError:
            continue
    return total


def pss_bytes(pid):
    """Memory of a process; what several share is divided by their number. Not the pages of files: what of these counts
    for it changes with each other process on the machine that maps the same library."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return 1024 * sum(map(int, re.findall(r"^Pss_(?:Anon|Shmem): +(\d+) kB", rollup.read(), re.M)))


class CallCounter:
    """Counts the system calls of running processes, from attaching on. Never used in a run that is timed."""

    def __init__(self, pids, path):
        self.path, self.pids = path, pids
        argv = ["strace", "-f", "-qq", "-e", "signal=none", "-o", path]
        for pid in pids:
            argv += ["-p", str(pid)]
        self.strace = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.monotonic() + HANG
        threads = [thread for pid in pids for thread in threads_of(pid)]
        while not all(map(is_traced, threads)):
            if self.strace.poll() is not None or time.monotonic() > end:
                raise Failed(f"strace: {self.strace.stderr.read().decode().strip()}")
            time.sleep(0.01)

    def finish(self):
        """Detaches; the Calls."""
        owners = {thread: pid for pid in self.pids for thread in threads_of(pid)}
        self.strace.send_signal(signal.SIGINT)
        self.strace.wait(HANG)
        self.strace.stderr.close()
        with open(self.path, errors="replace") as trace:
            # One in which another thread came between is in two lines; its flags may be in the second.
            pattern = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed>)(.*)")
            lines = [found.groups() for found in map(pattern.match, trace) if found]
        os.unlink(self.path)
        for thread, call, rest in lines:
            made = re.search(r"= (\d+)$", rest) if call in ("clone", "clone3", "fork", "vfork") else None
            if made:  # a thread or a process: it counts as its maker's
                owners.setdefault(made[1], owners.get(thread, 0))
        calls = Calls()
        for thread, call, rest in lines:
            if not rest.endswith("<unfinished ...>"):
                calls.add(owners.get(thread, 0), call_name(call, rest))
        return calls


class Calls:
    """System calls by process and name; receives that only peek, and SO_RCVLOWAT, have names of their own."""

    def __init__(self):
        self.by_process = {}

    def add(self, pid, name):
        names = self.by_process.setdefault(pid, {})
        names[name] = names.get(name, 0) + 1

    def of(self, pids=None):
        """{name: number} of these processes, or of all."""
        total = {}
        for pid, names in self.by_process.items():
            if pids is None or pid in pids:
                for name, number in names.items():
                    total[name] = total.get(name, 0) + number
        return total


def call_name(call, arguments):
    if call.startswith("recv") and "MSG_PEEK" in arguments:
        return f"{call} (peek)"
    if call == "setsockopt" and "SO_RCVLOWAT" in arguments:
        return "setsockopt (SO_RCVLOWAT)"
    return call


def is_traced(thread):
    try:
        with open(f"/proc/{thread}/status") as status:
            return not re.search(r"^TracerPid:\t0$", status.read(), re.M)
    except OSError:
        return True  # it has ended meanwhile
