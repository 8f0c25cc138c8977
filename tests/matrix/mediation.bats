#!/usr/bin/env bats
# The check of the matrix itself: strace shows which calls on protected sockets did not come from the library.

load helpers

traced() { # ARGUMENTS
    ends traced
    "${SERVER[@]}" "$PROGRAMS/inline_write" "$@"
}

judge() {
    run "$PYTHON" "$ROOT/tests/mediation.py" "$TRACES/server".*
}

@test "a program that goes through libc is found to be mediated" {
    traced libc
    judge
    assert_status 0
    assert_matches "$output" '^[0-9]+ calls on 2 protected sockets, 0 not by the library$'
}

@test "a write that goes past libc is found" {
    traced inline
    judge
    assert_status 1
    assert_output_has 'inline_write(main+'
    assert_output_has ', 1 not by the library'
}

@test "without the library each call is found" {
    ends traced
    strace -ff -k -y -qqq -s 0 -e "trace=$TRACED_CALLS" -o "$TRACES/server" "$PROGRAMS/inline_write" libc
    judge
    assert_status 1
    assert_output_has '2 calls on 2 protected sockets, 2 not by the library'
}

@test "too few calls do not pass for mediated" {
    : >"$BATS_TEST_TMPDIR/empty"
    run "$PYTHON" "$ROOT/tests/mediation.py" "$BATS_TEST_TMPDIR/empty"
    assert_status 1
}
