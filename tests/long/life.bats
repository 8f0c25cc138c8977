#!/usr/bin/env bats
# What tests/life.bats does, for longer.

load ../helpers
load ../program_helpers

@test "of two processes one is killed: the other goes on or gets an error, 1,000 times" {
    protected kills 1000 $RANDOM
    assert_at_least "$(sed -n 's/^went on \([0-9]*\) of .*/\1/p' <<<"$output")" 200 "survivors that went on"
    refute_contains "$(cat "$BATS_TEST_TMPDIR/library.log")" 'bad record'
}

@test "a child that scribbles over all shared memory neither crashes nor hangs its parent, 60 seeds" {
    local seed
    for seed in {1..60}; do
        protected hostile_child $((seed * 100 + RANDOM % 100)) 6
    done
}
