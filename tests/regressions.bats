#!/usr/bin/env bats
# Defects that were found by attack, one test each. Programs run on plain TCP too, which shows that they are right. Why
# forks are not sanitized: sockets.bats.

load helpers

both() { # MODE
    run "$PROGRAMS/fork_races" "$1"
    assert_status 0
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/log run p2p "$PROGRAMS/fork_races" "$1"
    assert_status 0
    [ -s "$BATS_TEST_TMPDIR/log" ] || fail "no handshake is in the log"
}

# bats test_tags=unsanitized
@test "forks that run no fork handlers: child and parent go on with the connection (law 6)" {
    run "$PROGRAMS/raw_fork"
    assert_status 0
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/log run p2p "$PROGRAMS/raw_fork"
    assert_status 0
    [ -s "$BATS_TEST_TMPDIR/log" ] || fail "no handshake is in the log"
}

@test "clone by its number with a stack for the child is refused: it would come back from the library on it" {
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=error:$BATS_TEST_TMPDIR/log run p2p "$PROGRAMS/raw_fork" stack
    assert_status 0
    grep -q 'with a stack for the child refused' "$BATS_TEST_TMPDIR/log" || fail "the log does not say so"
}

# bats test_tags=unsanitized
@test "parent and child draw other random numbers, however the child is forked" {
    run "$PROGRAMS/fork_random"
    assert_status 0
    P2PTLS_POLICY='connect 127.0.0.0/8:*' run p2p "$PROGRAMS/fork_random" hello
    assert_status 0
}

@test "every way past the library is refused, and nothing of it passes (law 2)" {
    run "$PYTHON" "$BATS_TEST_DIRNAME/programs/refusals.py" plain
    assert_status 0
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/log run \
        p2p "$PYTHON" "$BATS_TEST_DIRNAME/programs/refusals.py" protected
    assert_status 0
    grep -q 'every use of it fails' "$BATS_TEST_TMPDIR/log" || fail "no refusal is in the log"
}

# bats test_tags=unsanitized
@test "several threads fork at once: no deadlock, and the connection goes on (law 6)" { both together; }
# bats test_tags=unsanitized
@test "a child forked while another thread closes connections can close and exit" { both closing; }
@test "a refused connect leaves no thread that keeps the processor busy" { both refused; }

foreign() { # CASE of programs/regressions.py
    run "$PYTHON" "$BATS_TEST_DIRNAME/programs/regressions.py" "$1"
    assert_status 0
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/log run \
        p2p "$PYTHON" "$BATS_TEST_DIRNAME/programs/regressions.py" "$1"
    assert_status 0
    grep -q TLS_ "$BATS_TEST_TMPDIR/log" || fail "no handshake is in the log"
}

@test "what was written arrives although threads go on reading while the process ends (law 5)" {
    run "$PROGRAMS/write_exit" readers
    assert_status 0
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/log run p2p "$PROGRAMS/write_exit" readers
    assert_status 0
    [ -s "$BATS_TEST_TMPDIR/log" ] || fail "no handshake is in the log"
}

# bats test_tags=unsanitized
@test "a child that another thread forks while exit ends connections has no handshake of its parent's (law 6)" {
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/log run \
        p2p "$PROGRAMS/exit_threads" 100 forks exit
    assert_status 0
    [ -s "$BATS_TEST_TMPDIR/log" ] || fail "no handshake is in the log"
}

# bats test_tags=unsanitized
@test "other threads use connections while the process ends: all arrives, and its status is its own (law 5)" {
    run "$PROGRAMS/exit_threads" 3
    assert_status 0
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/log run p2p "$PROGRAMS/exit_threads" 12
    assert_status 0
    [ -s "$BATS_TEST_TMPDIR/log" ] || fail "no handshake is in the log"
}

@test "a program that has both ends of a full connection does not wait for itself when it ends" {
    local log=$BATS_TEST_TMPDIR/log
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=debug:$log run p2p "$PYTHON" - <<'EOT'
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
a = socket.create_connection(listener.getsockname())
b, _ = listener.accept()
a.sendall(b"x")
b.recv(1)
a.setblocking(False)
try:
    while True:
        a.send(bytes(100000))
except BlockingIOError:
    os._exit(0)
EOT
    assert_status 0
    grep -q TLS_ "$log" || fail "no handshake is in the log"
    refute_contains "$(cat "$log")" 'has not acknowledged'
}

@test "what goes to the other end of one's own connection arrives if a child has that end (law 5)" {
    local log=$BATS_TEST_TMPDIR/log
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=debug:$log run p2p "$PYTHON" - <<'EOT'
import os, socket, time
listener = socket.create_server(("127.0.0.1", 0))
a = socket.create_connection(listener.getsockname())
b, _ = listener.accept()
a.sendall(b"x")
b.recv(1)
a.setblocking(False)
begin, end = os.pipe()
taken = 0
child = os.fork()
if not child:
    a.close()
    os.close(end)
    sent = int(os.read(begin, 100))
    os.read(begin, 1)  # until its parent has ended
    while data := b.recv(1 << 20):
        taken += len(data)
    os.execvp("sh", ["sh", "-c", f"echo {'all' if taken == sent else taken - sent}"])
try:
    while True:
        taken += a.send(bytes(100000))
except BlockingIOError:
    os.write(end, b"%d" % taken)
    os._exit(0)
EOT
    assert_status 0
    assert_contains "$output" all
    grep -q TLS_ "$log" || fail "no handshake is in the log"
}

@test "fork waits for a thread that flushes all streams to a full connection, and its reader goes on (law 7)" {
    run "$PROGRAMS/fork_flush"
    assert_status 0
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/log run p2p "$PROGRAMS/fork_flush"
    assert_status 0
    [ -s "$BATS_TEST_TMPDIR/log" ] || fail "no handshake is in the log"
}

interrupted_connects() { # MODE
    run "$PROGRAMS/handler_connects" "$1"
    assert_status 0
    assert_output_has 'left some'
    P2PTLS_POLICY='any 127.0.0.0/8:* handshake-timeout=1' P2PTLS_LOG=silent run p2p "$PROGRAMS/handler_connects" "$1"
    assert_status 0
    assert_output_has 'left some'
}

# bats test_tags=unsanitized
@test "a handler that leaves connect by siglongjmp leaves no lock of the streams behind (law 7)" {
    interrupted_connects jump
}

# bats test_tags=unsanitized
@test "a handler forks in connect while another thread forks (law 7)" { interrupted_connects fork; }

@test "a connection inherited on 0 and 1 is one connection, with one handshake" { foreign superserver; }
@test "early writes that the kernel refused later: the next write has their errno (law 7)" { foreign lost-errno; }
@test "a reset that a blocked reader meets during the handshake is told as on plain TCP (law 7)" {
    run "$PYTHON" "$BATS_TEST_DIRNAME/programs/regressions.py" reset-in-handshake
    assert_status 0
    P2PTLS_POLICY='connect 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/log run \
        p2p "$PYTHON" "$BATS_TEST_DIRNAME/programs/regressions.py" reset-in-handshake
    assert_status 0
    grep -q 'broke during the handshake: Connection reset by peer' "$BATS_TEST_TMPDIR/log" || fail "the log says else"
}
@test "a reader that waits in a handshake with a silent peer comes back from shutdown of both directions (law 7)" {
    run "$PYTHON" "$BATS_TEST_DIRNAME/programs/regressions.py" shut-in-handshake
    assert_status 0
    policy 'connect 127.0.0.0/8:* handshake-timeout=600s'
    P2PTLS_LOG=debug:$BATS_TEST_TMPDIR/log run p2p "$PYTHON" "$BATS_TEST_DIRNAME/programs/regressions.py" \
        shut-in-handshake
    assert_status 0
    grep -q 'closed before the end of the handshake' "$BATS_TEST_TMPDIR/log" || fail "the log says else"
}
@test "sendfile at a negative offset is EINVAL" { foreign sendfile-offset; }
# bats test_tags=unsanitized
@test "a child made by the system call clone can change its groups" { foreign cloned-groups; }

retry() { # CASE of programs/retry.py
    local log=$BATS_TEST_TMPDIR/log
    run "$PYTHON" "$BATS_TEST_DIRNAME/programs/retry.py" "$1"
    assert_status 0
    policy 'any 127.0.0.2:* alpn=first' 'connect 127.0.0.3:* deny' 'any 127.0.0.5:* alpn=second'
    P2PTLS_LOG=info:$log run p2p "$PYTHON" "$BATS_TEST_DIRNAME/programs/retry.py" "$1" protected
    assert_status 0
}

@test "after an attempt that was refused, the policy's deny holds for the next address (law 2)" { retry deny; }
@test "after an attempt that was refused, the next address is judged by its own rule" {
    retry plain
    refute_contains "$(cat "$BATS_TEST_TMPDIR/log")" TLS_
    retry other
    assert_contains "$(cat "$BATS_TEST_TMPDIR/log")" 'connected to 127.0.0.5:'
    assert_contains "$(cat "$BATS_TEST_TMPDIR/log")" 'protocol second'
    retry asked
}
@test "a connection in clear stays in clear when connect asks how it went, with a selected address (law 1)" {
    retry taken
    retry queued
    refute_contains "$(cat "$BATS_TEST_TMPDIR/log" 2>/dev/null)" TLS_
}

@test "splice and sendfile that wait for a pipe move nothing in clear when another thread connects the socket (law 2)" {
    local mode
    for mode in alone into from sendfile; do
        run "$PROGRAMS/splice_waits" "$mode" plain
        assert_status 0
        P2PTLS_POLICY='connect 127.0.0.2:*' run p2p "$PROGRAMS/splice_waits" "$mode" protected
        assert_status 0
    done
}

# A sanitizer's runtime would have to be preloaded first.
# bats test_tags=unsanitized
@test "two copies of the library in one program: the log says so, and nothing leaves in clear (law 2)" {
    local copy=$BATS_TEST_TMPDIR/copy code
    mkdir "$copy"
    cp "$LIBRARY" "$(dirname "$LIBRARY")/libp2ptls-core.so" "$copy"
    code='
import socket, threading
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
try:
    client.sendall(b"secret")
except OSError:
    pass
listener.settimeout(20)
peer = listener.accept()[0]
peer.settimeout(20)
print("first byte", peer.recv(100)[:1])'
    export P2PTLS_POLICY='connect 127.0.0.0/8:* handshake-timeout=2'
    LD_PRELOAD="$LIBRARY $copy/libp2ptls.so" run "$PYTHON" -c "$code"
    assert_contains "$output" "the library is loaded twice, as $LIBRARY and $copy/libp2ptls.so" || return
    assert_contains "$output" "first byte b'\\x16'" || return
    LD_PRELOAD=$LIBRARY run "$PYTHON" -c "$code"
    refute_contains "$output" 'loaded twice' || return
    assert_contains "$output" "first byte b'\\x16'"
}

@test "a P2PTLS_LOAD that means nothing is warned of" {
    P2PTLS_LOAD=yes P2PTLS_POLICY='connect 127.0.0.0/8:*' run p2p env true
    assert_contains "$output" 'P2PTLS_LOAD: expected early, found yes' || return
    P2PTLS_LOAD=early P2PTLS_POLICY='connect 127.0.0.0/8:*' run p2p env true
    assert_output ''
}

@test "close waits for no stranger who says nothing, and keeps few descriptors for such" {
    local mode
    for mode in descriptors many; do
        policy 'accept 127.0.0.0/8:* role=server handshake-timeout=100s'
        run p2p "$PROGRAMS/strangers" "$mode"
        assert_status 0
        assert_at_most "$(tail -n 1 <<<"$output")" 50000 "milliseconds in close"
    done
}

@test "a handshake goes on in the background when the number that was waited for becomes another file" {
    cat >"$BATS_TEST_TMPDIR/renumber.py" <<'EOT'
import os, signal, socket, sys

def waits(): # does another thread wait by ppoll (x86-64, aarch64) for two descriptors: its own and the connection?
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/syscall") as now:
            words = now.read().split()
        if words[0] in ("271", "73") and int(words[2], 16) == 2:
            return True
    return False

port, server, log = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
os.kill(server, signal.SIGSTOP)
client = socket.socket()
os.dup2(client.fileno(), 50)
client.connect(("127.0.0.1", port))
os.write(50, b"hello")
while not waits():
    pass
os.dup2(os.pipe()[0], 50) # nothing ever comes from it
os.kill(server, signal.SIGCONT)
told = ""
while not told:
    with open(log) as file:
        told = file.read()
print(told)
EOT
    P2PTLS_POLICY='accept *:*' start echo p2p "$PYTHON" "$ROOT/tests/programs/echo.py" threading
    wait_for_log echo 'port '
    local log=$BATS_TEST_TMPDIR/client.p2ptls
    : >"$log"
    P2PTLS_POLICY='connect *:*' P2PTLS_LOG=info:$log run p2p "$PYTHON" "$BATS_TEST_TMPDIR/renumber.py" \
        "$(sed -n 's/^port //p' "$(log_of echo)")" "$(pid_of echo)" "$log"
    assert_contains "$output" 'connected to'
}
