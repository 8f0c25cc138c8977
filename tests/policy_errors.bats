#!/usr/bin/env bats
# The errors of the policy language, beyond those that docs/POLICY.md shows: each is provoked, with its very message.

load helpers

@test "every policy of the list gives its message, and every error text in the sources is provoked somewhere" {
    run "$PYTHON" "$ROOT/tests/policy_errors.py" "$ROOT" "$LIBRARY"
    assert_status 0
}
