#!/usr/bin/env bats
# socat: relays that fork, and programs that it starts with the connection as standard input and output.
#
# program: socat
# runs: a listener that forks, EXEC by socket pair, by pipes and by pty, and with nofork, where the program gets the
#     connection itself; 20 MB each way

load helpers

setup() {
    common_setup
    require socat
    PORT=$(free_port)
}

start_socat() { # plain|protected|traced ADDRESS
    ends "$1"
    start socat "${SERVER[@]}" socat "TCP-LISTEN:$PORT,bind=127.0.0.1,fork,reuseaddr" "$2"
    wait_for_port "$PORT" socat
}

call() { # standard input there and back
    "${CLIENT[@]}" socat -t 60 - "TCP:127.0.0.1:$PORT"
}

say_marker() {
    assert_equal "$(call <<<"$MARKER")" "$MARKER"
}

marker_on_the_wire() { # plain|protected|traced ADDRESS
    start_socat "$@"
    on_the_wire "$1" "$PORT" say_marker
}

much() { # ADDRESS
    start_socat protected "$1"
    random_file "$BATS_TEST_TMPDIR/bytes" 20M
    assert_equal "$(call <"$BATS_TEST_TMPDIR/bytes" | hash_of)" "$(hash_of "$BATS_TEST_TMPDIR/bytes")"
    assert_both_protected "$PORT"
}

@test "EXEC: a line there and back (plain: it is on the wire)" { marker_on_the_wire plain EXEC:cat; }
@test "EXEC: a line there and back (protected: it is not)" { marker_on_the_wire protected EXEC:cat; }
@test "EXEC: a line there and back (traced: all calls are the library's)" { marker_on_the_wire traced EXEC:cat; }
@test "EXEC with nofork: a line there and back (plain: it is on the wire)" { marker_on_the_wire plain EXEC:cat,nofork; }
@test "EXEC with nofork: a line there and back (protected: it is not)" { marker_on_the_wire protected EXEC:cat,nofork; }
@test "EXEC with nofork: a line there and back (traced: all calls are the library's)" {
    marker_on_the_wire traced EXEC:cat,nofork
}
@test "EXEC with pipes: 20 MB there and back, by hash" { much EXEC:cat,pipes; }
@test "EXEC with nofork: 20 MB there and back, by hash" { much EXEC:cat,nofork; }
@test "SYSTEM: a pipeline of the shell, 20 MB there and back, by hash" { much 'SYSTEM:cat | cat'; }
