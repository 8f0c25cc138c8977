#!/usr/bin/env bats
# docs/POLICY.md against the parser: what it shows is accepted, what it calls an error gives that message.

load helpers
load policy_helpers

setup() {
    common_setup
    make_etc
}

teardown() {
    remove_etc
    common_teardown
}

@test "every example of docs/POLICY.md is accepted, every error gives its message, every option has both" {
    run in_etc "$PYTHON" "$ROOT/tests/policy_docs.py" "$ROOT/docs/POLICY.md" "$ROOT/src/policy_options.c" "$LIBRARY"
    assert_status 0
}
