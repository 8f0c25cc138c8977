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
