#!/usr/bin/env bats
# Signals that arrive while a call blocks: what plain TCP says then, a protected connection says.

load helpers
load program_helpers

@test "a signal in each blocking call has the result, errno and handlers of plain TCP" {
    plain signal_matrix
    local expected=$output
    assert_at_least "${#lines[@]}" 300 "cells of the matrix"
    protected signal_matrix
    diff <(printf '%s\n' "$expected") <(printf '%s\n' "$output")
}

@test "a signal ends connect with connect=wait as it ends connect, and the next connect has the verdict" {
    plain signal_matrix connect
    local expected=$output
    OPTIONS=connect=wait protected signal_matrix --verdict
    diff <(printf '%s\n' "$expected") <(printf '%s\n' "$output")
}

same() { # WAY of programs/signal_ways
    plain signal_ways "$1"
    local expected
    expected=$(grep -v '^port ' <<<"$output")
    protected signal_ways "$1"
    assert_equal "$(grep -v '^port ' <<<"$output")" "$expected" "output"
}

@test "SIGIO, or another signal, drives a program that reads in its handler" { same io; }
@test "signalfd beside a connection takes all signals" { same fd; }
@test "real-time signals with values come in order, to the process and to a thread" { same queue; }
@test "what sigaction tells of a handler is what the program asked for" { same readback; }
@test "a handler on a small stack of its own uses and closes the connection, before and after the handshake" {
    same altstack
}
@test "signals that come while a handler on a small stack of its own connects leave its stack alone (plain)" {
    plain altstack_storm
}
@test "signals that come while a handler on a small stack of its own connects leave its stack alone (protected)" {
    protected altstack_storm
}
