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

reads_with() { # HOST POLICY: the value that redis on alpha has
    on "$1" p2ptls run ${2:+-r "$2"} -- redis-cli -h alpha GET key | grep -qx "$MARKER"
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
    assert_equal "$SAID" PONG
    assert_value_travels beta alpha
    assert_refused gamma 'connect *:6379 auth=insecure-none' alpha
    step
    assert_matches "$SAID" 'redis-server'
    recipe_ends
    assert_wire_without "$MARKER"
}

@test "a private CA for ten" {
    recipe 'A private CA for ten' "${FLEET_NAMES[@]}"
    steps 3
    wait_for_listener alpha 6379
    step
    assert_matches "$SAID" $'\nPONG$'
    assert_value_travels beta alpha
    assert_refused gamma 'connect *:6379 auth=insecure-none' alpha
    # The right authority under the wrong name.
    on gamma sed -i 's/ alpha$/ other/' /etc/hosts
    run on gamma p2ptls run -- redis-cli -h other GET key
    assert_output_has 'does not carry the name other'
    assert_output_without "$MARKER"
    recipe_ends
    assert_wire_without "$MARKER"
}

# Who was given the file at each step can connect; who kept the first key alone can no more after the last one.
@test "a pre-shared key for a cluster, and its replacement" {
    recipe 'A pre-shared key for a cluster' alpha beta gamma
    steps 2
    wait_for_listener alpha 6379
    step
    assert_equal "$SAID" PONG
    assert_value_travels gamma alpha
    on gamma cp /etc/p2ptls/psk /root/psk.old
    step
    assert_value_travels beta alpha
    step
    # A running server looks at the file once a second.
    wait_until 'reads_with beta ""'
    step
    assert_value_travels beta alpha
    wait_until '! reads_with gamma "connect *:6379 psk=/root/psk.old"'
    assert_refused gamma 'connect *:6379 auth=insecure-none' alpha
    recipe_ends
    assert_wire_without "$MARKER"
}
