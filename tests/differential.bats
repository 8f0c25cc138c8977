#!/usr/bin/env bats
# The same calls on a plain and on a protected connection of one process: results, errnos and side effects compared.
# Without the library both connections are plain: a difference then is a mistake of the test.

load helpers
load program_helpers

# 127.0.0.2 is protected, 127.0.0.1 is not.
differential() { # ARGS...
    P2PTLS_POLICY='any 127.0.0.2:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/library.log run p2p "$PROGRAMS/differential" "$@"
    assert_status 0
    assert_contains "$(cat "$BATS_TEST_TMPDIR/library.log")" 'connected to 127.0.0.2'
    refute_contains "$(cat "$BATS_TEST_TMPDIR/library.log")" 'connected to 127.0.0.1'
}

@test "two plain connections do not differ in any operation and situation" {
    plain differential --directed
}

@test "a protected connection differs in no operation and situation, but for the list" {
    differential --directed
}

@test "two plain connections do not differ in random sequences" {
    plain differential --seed 1 --steps 5000
}

@test "a protected connection does not differ in random sequences" {
    differential --seed 1 --steps 10000
}

@test "each known difference is explained in docs/COMPATIBILITY.md, and no other" {
    run "$PROGRAMS/differential" --known
    assert_status 0
    local explained
    explained=$(sed -n '/^## Differences/,$s/^\* \*\*\([a-z-]*\)\*\*:.*/\1/p' "$ROOT/docs/COMPATIBILITY.md" | sort)
    assert_equal "$(sort <<<"$output")" "$explained"
}

# A test that cannot fail proves nothing: one protected outcome is changed.
@test "a difference is found" {
    run "$PROGRAMS/differential" --directed --only read --spoil 7
    assert_status 1
    assert_contains "$output" 'DIFFERENCE: step 8, drain: result is'
}
