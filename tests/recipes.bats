#!/usr/bin/env bats
# Each recipe of docs/RECIPES.md, run as it stands there, between hosts that are namespaces.

load helpers
load network_helpers
load policy_helpers
load real_helpers
load recipe_helpers

setup_file() { recipes_prepare; }
teardown_file() { recipes_remove; }

setup() {
    common_setup
    HOSTS=()
}

teardown() {
    common_teardown || return
    network_down
}

# A redis that is reached by name, from another host; the value is not on the wire.
assert_value_travels() { # FROM-HOST TO-HOST
    assert_equal "$(on "$1" p2ptls run -- redis-cli -h "$2" SET key "$MARKER")" OK || return
    assert_equal "$(on "$1" p2ptls run -- redis-cli -h "$2" GET key)" "$MARKER"
}

# What a host without an identity of the fleet gets.
assert_refused() { # HOST POLICY TO-HOST
    run on "$1" timeout 60 p2ptls run -r "$2" -- redis-cli -h "$3" GET key
    assert_output_without "$MARKER"
    run on "$1" timeout 60 redis-cli -h "$3" GET key
    assert_output_without "$MARKER"
}

@test "two hosts with pins" {
    recipe 'Two hosts with pins' alpha beta gamma
    steps 5
    wait_for_listener alpha 6379
    step
    assert_equal "$OUTPUT" PONG
    assert_value_travels beta alpha
    assert_refused gamma 'connect *:6379 auth=insecure-none' alpha
    step
    assert_matches "$OUTPUT" 'redis-server'
    recipe_ends
    assert_wire_without "$MARKER"
}
