#!/usr/bin/env bats
# What tests/differential.bats does at random, for a million steps.

load ../helpers
load ../program_helpers

differential() { # SEED STEPS
    P2PTLS_POLICY='any 127.0.0.2:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/library.log \
        run p2p "$PROGRAMS/differential" --seed "$1" --steps "$2"
    echo "$output" # a failure shows the seed and the smallest script
    assert_status 0
    assert_contains "$(cat "$BATS_TEST_TMPDIR/library.log")" 'connected to 127.0.0.2'
    refute_contains "$(cat "$BATS_TEST_TMPDIR/library.log")" 'connected to 127.0.0.1'
}

@test "two plain connections do not differ in any operation and situation" {
    plain differential --directed --complete
}

@test "a protected connection differs in nothing but the list, in all situations, those of the handshake too" {
    P2PTLS_POLICY='any 127.0.0.2:*' run p2p "$PROGRAMS/differential" --directed --complete
    echo "$output"
    assert_status 0
}

@test "a protected connection does not differ in 800,000 random steps of 4 seeds" {
    local seed
    for seed in 101 102 103 104; do
        differential $seed 200000
    done
}

@test "a protected connection does not differ in 200,000 random steps of a seed from the clock" {
    differential "$EPOCHSECONDS" 200000
}

@test "two plain connections do not differ in 200,000 random steps" {
    plain differential --seed 105 --steps 200000
}
