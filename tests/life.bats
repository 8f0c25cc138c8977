#!/usr/bin/env bats
# The life of processes that share connections: both write, one is killed. Each program runs on plain TCP first.

load helpers
load program_helpers

@test "both processes after fork write 10,000 messages each, each arrives whole (plain)" { plain both_write --fork; }
@test "both processes after fork write 10,000 messages each, each arrives whole (protected)" {
    protected both_write --fork
}
@test "both processes after _Fork write 10,000 messages each, each arrives whole (plain)" { plain both_write --_Fork; }
@test "both processes after _Fork write 10,000 messages each, each arrives whole (protected)" {
    protected both_write --_Fork
}

@test "writer and executed writer: 10,000 messages each, each arrives whole (plain)" {
    plain both_write --exec
}
# bats test_tags=unsanitized
@test "writer and executed writer: 10,000 messages each, each arrives whole (protected)" {
    protected both_write --exec
}
@test "writer and receiver of a descriptor: 10,000 messages each, each arrives whole (plain)" {
    plain both_write --pass
}
# bats test_tags=unsanitized
@test "writer and receiver of a descriptor: 10,000 messages each, each arrives whole (protected)" {
    protected both_write --pass
}

@test "of two processes one is killed: the other goes on or gets an error, 50 times (plain)" { plain kills 50; }
# bats test_tags=unsanitized
@test "of two processes one is killed: the other goes on or gets an error, 50 times (protected)" {
    protected kills 50
    assert_survivors 10
    refute_contains "$(cat "$BATS_TEST_TMPDIR/library.log")" 'bad record'
}

@test "a child that scribbles over all shared memory neither crashes nor hangs its parent (plain)" {
    plain hostile_child 1 2
}
@test "a child that scribbles over all shared memory neither crashes nor hangs its parent (protected)" {
    protected hostile_child $RANDOM 6
    assert_matches "$output" 'areas [1-9]' # it found what there is to scribble on
}

@test "a child finds the keys of connections from before its fork, and of none that its parent made since" {
    plain memory_search
    assert_output_has 'found 0 and 0'
    protected memory_search
    assert_matches "$output" 'secrets [1-9][0-9]+ before the fork, [1-9][0-9]+ since'
    assert_matches "$output" 'found [1-9][0-9]* and 0'
}

@test "a number that was closed unseen is not taken for its old connection (plain)" { plain stale; }
@test "a number that was closed unseen is not taken for its old connection (protected)" { protected stale; }

@test "a number that is copied while another thread connects on it (plain)" { plain dup_race 300; }
@test "a number that is copied while another thread connects on it (protected)" { protected dup_race 300; }
@test "a number that is copied for the first time while another thread connects on it: nothing in clear (law 2)" {
    local i delays=()
    require strace
    for i in getsockopt:2000 getpeername:20000 sched_yield:1000; do # where the threads have to meet
        delays+=(-e "inject=${i%:*}:delay_exit=${i#*:}")
    done
    for ((i = 0; i < 3; i++)); do
        P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/library.log run p2p strace -qqq -f \
            -o /dev/null -e trace=getsockopt,getpeername,sched_yield "${delays[@]}" "$PROGRAMS/dup_race" 60
        assert_status 0
        grep -q TLS_ "$BATS_TEST_TMPDIR/library.log" || fail 'no handshake is in the log'
    done
}
@test "a number that is copied while a connect on it fails (plain)" { plain dup_race 5000 refused; }
@test "a number that is copied while a connect on it fails (protected)" {
    P2PTLS_POLICY='any 127.0.0.0/8:*' run p2p "$PROGRAMS/dup_race" 5000 refused
    assert_status 0
}
@test "a number that is closed while another thread is in a connect on it (plain)" { plain close_connecting; }
@test "a number that is closed while another thread is in a connect on it (protected)" { protected close_connecting; }
@test "threads that connect a socket, take it back, copy it and write to it at once: nothing in clear (law 2)" {
    plain reconnect_race 1
    refute_contains "$output" 'in clear 0'
    P2PTLS_POLICY='connect 127.0.0.0/8:*' run p2p "$PROGRAMS/reconnect_race" 4
    assert_status 0
    assert_matches "$output" 'arrived [1-9][0-9]* in clear 0'
}
@test "a number that is passed while other threads connect it in vain: nothing is freed twice (plain)" {
    plain pass_refused 1
}
@test "a number that is passed while other threads connect it in vain: nothing is freed twice (protected)" {
    P2PTLS_POLICY='connect 127.0.0.0/8:*' run p2p "$PROGRAMS/pass_refused" 3
    assert_status 0
}
@test "what came to a socket that another program connected and that was reset is not read in clear (law 2)" {
    P2PTLS_POLICY='connect 127.0.0.0/8:*' run p2p "$PYTHON" -c '
import errno, socket, struct, subprocess, sys
listener = socket.create_server(("127.0.0.1", 0))
number = socket.socket()
subprocess.run(["env", "-u", "LD_PRELOAD", sys.executable, "-c", """
import socket, sys
socket.socket(fileno=int(sys.argv[1])).connect(("127.0.0.1", int(sys.argv[2])))""",
    str(number.fileno()), str(listener.getsockname()[1])], pass_fds=[number.fileno()], check=True)
peer = listener.accept()[0]
peer.sendall(b"in clear")
peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
peer.close()
try:
    print(number.recv(100))
except OSError as e:
    print(errno.errorcode[e.errno])'
    assert_status 0
    assert_equal "${lines[-1]}" EIO
}
@test "threads that use, dup, close and connect again on the same numbers (plain)" { plain threads_churn 2; }
@test "threads that use, dup, close and connect again on the same numbers (protected)" { protected threads_churn 5; }

assert_survivors() { # MINIMUM that went on
    assert_at_least "$(sed -n 's/^went on \([0-9]*\) of .*/\1/p' <<<"$output")" "$1" "survivors that went on"
}
