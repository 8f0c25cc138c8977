#!/usr/bin/env bats
# Defects that were found by attack, one test each. Programs run on plain TCP too, which shows that they are right.

load helpers

both() { # MODE
    run "$PROGRAMS/fork_races" "$1"
    assert_status 0
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/log run p2p "$PROGRAMS/fork_races" "$1"
    assert_status 0
    [ -s "$BATS_TEST_TMPDIR/log" ] || fail "no handshake is in the log"
}

@test "several threads fork at once: no deadlock, and the connection goes on (law 6)" { both together; }
@test "a child forked while another thread closes connections can close and exit" { both closing; }
@test "a refused connect leaves no thread that keeps the processor busy" { both refused; }
