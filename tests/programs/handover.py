"""Connections that go on in other programs: by exec, spawn, system, popen and SCM_RIGHTS. Run on plain TCP and protected,
with the same results. Usage: handover.py CASE"""
import ctypes
import errno
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

CAT = "/bin/cat"
WHOLE = 300000
NOBODY = 64321  # a user who has nothing else in flight


def pair():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    here = socket.create_connection(listener.getsockname())
    there, _ = listener.accept()
    listener.close()
    return here, there


def receive(end, size):
    got = b""
    while len(got) < size:
        part = end.recv(size - len(got))
        assert part, f"end of stream after {len(got)} of {size} bytes"
        got += part
    return got


def expect(end, text):
    got = receive(end, len(text))
    assert got == text, (got[:80], text[:80])


def expect_end(end):
    got = end.recv(10)
    assert got == b"", got


def talk(here, there):
    """Brings the connection into mid-stream, with records of both directions."""
    here.sendall(b"hello")
    expect(there, b"hello")
    there.sendall(b"world")
    expect(here, b"world")


def echo_through(here, process):
    """The other end is a cat in another program: everything comes back, and then the end."""
    data = os.urandom(WHOLE)
    pid = os.fork()
    if pid == 0:
        here.sendall(data)
        here.shutdown(socket.SHUT_WR)
        os._exit(0)
    expect(here, data)
    expect_end(here)
    os.waitpid(pid, 0)
    assert process.wait() == 0


def exec_in_mid_stream():
    here, there = pair()
    talk(here, there)
    process = subprocess.Popen([CAT], stdin=there, stdout=there)
    there.close()
    echo_through(here, process)


def exec_before_the_handshake():
    here, there = pair()
    process = subprocess.Popen([CAT], stdin=there, stdout=there)
    there.close()
    echo_through(here, process)


def exec_with_an_empty_environment():
    here, there = pair()
    talk(here, there)
    process = subprocess.Popen([CAT], stdin=there, stdout=there, env={})
    there.close()
    echo_through(here, process)


def exec_of_a_shell_and_its_children():
    here, there = pair()
    talk(here, there)
    script = "read first; echo $first | cat; cat; echo end | cat"
    process = subprocess.Popen(["/bin/sh", "-c", script], stdin=there, stdout=there, bufsize=0)
    there.close()
    here.sendall(b"one\ntwo\nthree\n")
    expect(here, b"one\ntwo\nthree\n")
    here.shutdown(socket.SHUT_WR)
    expect(here, b"end\n")
    expect_end(here)
    assert process.wait() == 0


def exec_keeps_plaintext_that_was_not_read_yet():
    here, there = pair()
    here.sendall(b"taken, left over")
    expect(there, b"taken, ")
    process = subprocess.Popen([CAT], stdin=there, stdout=there)
    there.close()
    expect(here, b"left over")
    echo_through(here, process)


def exec_of_itself():
    here, there = pair()
    talk(here, there)
    pid = os.fork()
    if pid == 0:
        here.close()
        os.dup2(there.fileno(), 0)
        os.dup2(there.fileno(), 1)
        os.execv(CAT, [CAT])
    there.close()
    here.sendall(b"abc")
    expect(here, b"abc")
    here.shutdown(socket.SHUT_WR)
    expect_end(here)
    assert os.waitpid(pid, 0)[1] == 0


def exec_that_fails():
    here, there = pair()
    talk(here, there)
    there.set_inheritable(True)
    for path in ("/nonexistent", "/", "/etc/passwd"):
        try:
            os.execv(path, ["x"])
        except OSError:
            pass
    talk(here, there)
    there.close()
    expect_end(here)


def exec_that_fails_late():
    """A kernel reads the arguments and opens the file before it knows: connections with close-on-exec live on. With an
    argument: without the error that nobody but the kernel can foresee."""
    here, there = pair()
    talk(here, there)
    libc = ctypes.CDLL(None, use_errno=True)
    with tempfile.TemporaryDirectory() as folder:
        busy = os.path.join(folder, "busy")
        shutil.copy("/bin/true", busy)
        os.environ["PATH"] += ":" + folder
        script = os.path.join(folder, "script")
        with open(script, "w") as lines:
            lines.write("#! /no/interpreter of this name\n")
        os.chmod(script, 0o755)
        long, many = "x" * (128 << 10), ["x" * (100 << 10)] * 70
        with open(busy, "r+b"):
            for expected, call in [
                (errno.ETXTBSY, lambda: os.execv(busy, ["busy"])),
                (errno.ETXTBSY, lambda: libc_exec(libc.execvp, "busy")),
                (errno.E2BIG, lambda: os.execv("/bin/true", ["true", long])),
                (errno.E2BIG, lambda: os.execve("/bin/true", ["true"], {"X": long})),
                (errno.E2BIG, lambda: os.execv("/bin/true", ["true", *many])),
                (errno.ENOENT, lambda: libc_exec(libc.execvp, "no-program-of-this-name")),
                (errno.ENOENT, lambda: libc_exec(libc.execvp, "")),
                (errno.EACCES, lambda: os.execv(folder, ["folder"])),
                (errno.ENOENT, lambda: os.execv(script, ["script"])),
            ]:
                if expected == errno.ETXTBSY and sys.argv[2:]:
                    continue
                try:
                    call()
                except OSError as error:
                    assert error.errno == expected, error
                talk(here, there)
    there.close()
    expect_end(here)


def libc_exec(function, file):
    function(file.encode(), (ctypes.c_char_p * 2)(file.encode(), None))
    raise OSError(ctypes.get_errno(), file)


def exec_that_is_only_tried():
    """execveat(2) with AT_EXECVE_CHECK (Linux 6.14) executes nothing; an older kernel refuses it."""
    here, there = pair()
    talk(here, there)
    libc = ctypes.CDLL(None, use_errno=True)
    nothing = (ctypes.c_char_p * 1)(None)
    for inheritable in (False, True):
        there.set_inheritable(inheritable)
        result = libc.execveat(-100, b"/bin/true", (ctypes.c_char_p * 2)(b"true", None), nothing, 0x10000)
        assert result == 0 or ctypes.get_errno() == errno.EINVAL, (result, ctypes.get_errno())
        talk(here, there)
    there.close()
    expect_end(here)


def fill_flight():
    """As many descriptors in flight as one may have (unix(7), ETOOMANYREFS), until the sockets are closed."""
    ends = socket.socketpair()
    ends[0].setblocking(False)
    try:
        with open("/dev/null", "rb") as null:
            while True:
                socket.send_fds(ends[0], [b"x"], [null.fileno()] * 10)
    except OSError as error:
        assert error.errno == errno.ETOOMANYREFS, error
    return ends


def too_many_in_flight():
    """The library can pack nothing: what cannot go on elsewhere is refused, and the connection goes on here. With an
    argument, a program that was started with the connection finds that it has none."""
    here, there = pair()
    talk(here, there)
    if os.geteuid() == 0:  # who may do everything has no such limit
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    one, other = socket.socketpair()
    flight = fill_flight()
    try:
        socket.send_fds(one, [b"x"], [there.fileno()])
        raise AssertionError("sent")
    except OSError as error:
        assert error.errno == errno.ETOOMANYREFS, error
    talk(here, there)
    for end in flight:
        end.close()
    socket.send_fds(one, [b"x"], [there.fileno()])
    there.close()
    there = socket.socket(fileno=socket.recv_fds(other, 1, 1)[1][0])
    talk(here, there)
    here.close()
    there.close()

    here, there = pair()
    talk(here, there)
    flight = fill_flight()
    pid = os.fork()
    if pid == 0:
        there.sendall(b"child")
        os._exit(0)
    expect(here, b"child")
    os.waitpid(pid, 0)
    talk(here, there)
    there.set_inheritable(True)
    try:
        os.execv("/nonexistent", ["x"])
    except OSError:
        pass
    talk(here, there)
    if sys.argv[2:]:
        assert subprocess.run([CAT], stdin=there, stdout=there, stderr=subprocess.DEVNULL).returncode == 1
        talk(here, there)
        pid = os.fork()
        if pid == 0:
            os.dup2(there.fileno(), 0)
            os.dup2(there.fileno(), 1)
            os.execv(CAT, [CAT])
        assert os.waitpid(pid, 0)[1] >> 8 == 1
        talk(here, there)
    there.close()
    expect_end(here)
    del flight


def wordexp_gets_no_connection():
    """The shell of wordexp(3) is started by libc behind the library's back, with whatever environment there is."""
    here, there = pair()
    talk(here, there)
    there.set_inheritable(True)
    libc = ctypes.CDLL(None, use_errno=True)
    words = ctypes.create_string_buffer(64)
    for name in ("", "LD_PRELOAD"):
        os.environ.pop(name, None)
        command = f"$(echo into the clear >&{there.fileno()}; echo done)"
        assert libc.wordexp(command.encode(), words, 0) == 0
        vector = ctypes.cast(words, ctypes.POINTER(ctypes.c_void_p))
        count, first = vector[0], ctypes.cast(vector[1], ctypes.POINTER(ctypes.c_char_p))[0]
        assert (count, first) == (1, b"done"), (count, first)
        assert there.get_inheritable()
        talk(here, there)
    there.close()
    expect_end(here)


def exec_closes_what_has_close_on_exec():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    here = socket.create_connection(listener.getsockname())
    pid = os.fork()
    if pid == 0:
        here.close()
        there, _ = listener.accept()
        there.sendall(b"bye")
        os.execv("/bin/true", ["true"])
    listener.close()
    expect(here, b"bye")
    expect_end(here)
    os.waitpid(pid, 0)


def spawned_programs():
    here, there = pair()
    talk(here, there)
    actions = [(os.POSIX_SPAWN_DUP2, there.fileno(), 0), (os.POSIX_SPAWN_DUP2, there.fileno(), 1)]
    pid = os.posix_spawn(CAT, [CAT], os.environ, file_actions=actions, setsigmask=[], setsigdef=[signal.SIGUSR1])
    there.close()
    here.sendall(b"spawned")
    expect(here, b"spawned")
    here.shutdown(socket.SHUT_WR)
    expect_end(here)
    assert os.waitpid(pid, 0)[1] == 0


def spawn_that_fails():
    here, there = pair()
    talk(here, there)
    there.set_inheritable(True)
    try:
        os.posix_spawn("/nonexistent", ["x"], os.environ)
        raise AssertionError("spawned")
    except FileNotFoundError:
        pass
    talk(here, there)


def shell_of_system():
    here, there = pair()
    talk(here, there)
    there.set_inheritable(True)
    number = there.fileno()
    assert os.system("exit 3") >> 8 == 3
    assert os.system(f"echo text | cat >&{number}") == 0
    expect(here, b"text\n")
    talk(here, there)
    there.close()
    expect_end(here)


def passed_to_a_relative():
    left, right = socket.socketpair()
    here, there = pair()
    talk(here, there)
    pid = os.fork()
    if pid == 0:
        here.close()
        there.close()
        _, fds, _, _ = socket.recv_fds(right, 10, 1)
        got = socket.socket(fileno=fds[0])
        got.sendall(b"child " + got.recv(10))
        got.close()
        os._exit(0)
    socket.send_fds(left, [b"m"], [there.fileno()])
    there.close()
    here.sendall(b"text")
    expect(here, b"child text")
    expect_end(here)
    assert os.waitpid(pid, 0)[1] == 0


RECEIVER = """
import socket, sys
way = socket.socket(fileno=int(sys.argv[1]))
_, fds, _, _ = socket.recv_fds(way, 10, 2)
got = [socket.socket(fileno=fd) for fd in fds]
for end in got:
    end.sendall(b"stranger " + end.recv(10) + b" " + str(end.getpeername()[1]).encode())
    end.close()
"""


def passed_to_a_stranger():
    left, right = socket.socketpair()
    first, second = pair(), pair()
    talk(*first)
    process = subprocess.Popen([sys.executable, "-c", RECEIVER, str(right.fileno())], pass_fds=[right.fileno()])
    socket.send_fds(left, [b"m"], [first[1].fileno(), second[1].fileno()])
    for here, there in (first, second):
        there.close()
        here.sendall(b"text")
        expect(here, b"stranger text " + str(here.getsockname()[1]).encode())
        expect_end(here)
    assert process.wait() == 0


def passed_there_and_back():
    left, right = socket.socketpair()
    here, there = pair()
    talk(here, there)
    socket.send_fds(left, [b"m"], [there.fileno()])
    _, control, _, _ = right.recvmsg(10, socket.CMSG_LEN(4), socket.MSG_PEEK)
    os.close(int.from_bytes(control[0][2], sys.byteorder))
    _, fds, _, _ = socket.recv_fds(right, 10, 1)
    again = socket.socket(fileno=fds[0])
    talk(here, again)
    there.close()
    talk(here, again)
    again.close()
    expect_end(here)


def a_listener_passed():
    left, right = socket.socketpair()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    socket.send_fds(left, [b"m"], [listener.fileno()])
    address = listener.getsockname()
    listener.close()
    _, fds, _, _ = socket.recv_fds(right, 10, 1)
    received = socket.socket(fileno=fds[0])
    here = socket.create_connection(address)
    there, _ = received.accept()
    talk(here, there)


def the_newest_of_many():
    """A server with many connections, which it had at earlier forks too, gives a new one to a program."""
    old = [pair() for _ in range(70)]
    for here, there in old:
        talk(here, there)
    for _ in range(3):
        subprocess.run(["/bin/true"], check=True)
    exec_in_mid_stream()
    talk(*old[0])


def both_go_on_after_exec():
    """Parent and executed child use one connection at once."""
    here, there = pair()
    talk(here, there)
    child = "import os\nfor i in range(200): os.write(1, b'c' * 100)"
    process = subprocess.Popen([sys.executable, "-c", child], stdout=there)
    for _ in range(200):
        there.sendall(b"p" * 100)
    there.close()
    got = receive(here, 40000)
    assert got.count(b"c") == got.count(b"p") == 20000
    for at in range(0, 40000, 100):
        assert len(set(got[at : at + 100])) == 1, "a message was torn"
    expect_end(here)
    assert process.wait() == 0


def exec_of_what_cannot_be_covered():
    """argv[2]: a program that writes a marker to all its descriptors. Nothing may arrive of it."""
    here, there = pair()
    talk(here, there)
    process = subprocess.Popen([sys.argv[2]], stdin=there, stdout=there)
    assert process.wait() in (0, -signal.SIGPIPE)
    talk(here, there)
    there.close()
    expect_end(here)


def with_libc():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.popen.restype = ctypes.c_void_p
    libc.pclose.argtypes = [ctypes.c_void_p]
    return libc


def exec_without_the_library_in_the_environment():
    here, there = pair()
    talk(here, there)
    env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    process = subprocess.Popen([CAT], stdin=there, stdout=there, env=env)
    there.close()
    echo_through(here, process)


def exec_with_a_policy_without_rules():
    here, there = pair()
    talk(here, there)
    process = subprocess.Popen([CAT], stdin=there, stdout=there, env=os.environ | {"P2PTLS_POLICY": "# none"})
    there.close()
    echo_through(here, process)


def exec_with_another_preload_behind():
    here, there = pair()
    talk(here, there)
    there.set_inheritable(True)
    settings = [name + b"=" + value for name, value in os.environb.items()] + [b"LD_PRELOAD="]
    if os.fork() == 0:
        os.dup2(there.fileno(), 0)
        os.dup2(there.fileno(), 1)
        there.close()
        argv = (ctypes.c_char_p * 2)(CAT.encode(), None)
        with_libc().execve(CAT.encode(), argv, (ctypes.c_char_p * (len(settings) + 1))(*settings, None))
        os._exit(1)
    there.close()
    here.sendall(b"abc")
    expect(here, b"abc")
    here.shutdown(socket.SHUT_WR)
    expect_end(here)
    assert os.wait()[1] == 0


def exec_by_a_shell_of_a_script_without_a_first_line():
    """ENOEXEC: the shell goes on in the same process, with the connection."""
    here, there = pair()
    talk(here, there)
    process = subprocess.Popen(["/bin/sh", "-c", f"exec {sys.argv[2]}"], stdin=there, stdout=there)
    there.close()
    expect(here, b"from the script\n")
    expect_end(here)
    assert process.wait() == 0


def exec_with_differing_ids():
    """ld.so ignores LD_PRELOAD then. argv[2]: the program that writes to all its descriptors."""
    here, there = pair()
    talk(here, there)
    process = subprocess.Popen([sys.argv[2]], stdin=there, stdout=there, preexec_fn=lambda: os.setegid(65534))
    assert process.wait() in (0, -signal.SIGPIPE)
    talk(here, there)


def exec_where_the_library_is_not_to_be_found():
    here, there = pair()
    talk(here, there)
    if "LD_PRELOAD" in os.environ:
        os.unlink(os.environ["LD_PRELOAD"])
    process = subprocess.Popen([sys.argv[2]], stdin=there, stdout=there, stderr=subprocess.DEVNULL)
    assert process.wait() in (0, -signal.SIGPIPE)
    talk(here, there)
    there.close()
    expect_end(here)


def replacing_that_fails():
    here, there = pair()
    talk(here, there)
    libc = with_libc()
    assert libc.dup3(0, here.fileno(), 1) == -1 and ctypes.get_errno() == 22
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (there.fileno(), hard))
    assert libc.dup2(0, there.fileno()) == -1 and ctypes.get_errno() == 9
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    talk(here, there)


def bound_then_connected_by_another():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    here = socket.socket()
    here.bind(("127.0.0.1", 0))
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(ready, 1)
        try:
            os.write(here.fileno(), b"in clear")
        except OSError:
            os._exit(7)
        os._exit(0)
    here.connect(listener.getsockname())
    there, _ = listener.accept()
    talk(here, there)
    os.write(go, b"x")
    assert os.waitpid(pid, 0)[1] >> 8 == 7
    talk(here, there)


def popen_before_and_after():
    """A later child must not keep the pipe of an earlier one open."""
    libc = with_libc()
    before = libc.popen(b"cat >/dev/null", b"w")
    here, there = pair()
    there.set_inheritable(True)
    talk(here, there)
    after = libc.popen(b"cat >/dev/null", b"w")
    there.close()
    last = libc.popen(b"cat >/dev/null", b"w")
    for stream in before, after, last:
        assert libc.pclose(stream) == 0
    expect_end(here)


UNPROTECTED = """
import os, socket, sys
way = socket.socket(fileno=int(sys.argv[1]))
_, fds, _, _ = socket.recv_fds(way, 10, 1)
assert b"p2ptls" in os.read(fds[0], 400)
try:
    os.write(fds[0], b"in clear")
    sys.exit("written")
except BrokenPipeError:
    pass
"""


def passed_to_the_unprotected():
    left, right = socket.socketpair()
    here, there = pair()
    talk(here, there)
    env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    process = subprocess.Popen([sys.executable, "-c", UNPROTECTED, str(right.fileno())], pass_fds=[right.fileno()],
                               env=env)
    socket.send_fds(left, [b"m"], [there.fileno()])
    assert process.wait() == 0
    talk(here, there)


if __name__ == "__main__":
    signal.alarm(50)
    globals()[sys.argv[1]]()
