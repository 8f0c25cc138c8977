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

@test "redis with replicas" {
    recipe 'redis with replicas' alpha beta gamma
    steps 2
    wait_for_listener alpha 6379
    steps 2
    assert_value_travels beta alpha
    step
    assert_matches "$SAID" $'^OK\n2\n'
    assert_matches "$SAID" 'redis'
    assert_equal "$(on gamma redis-cli GET greeting)" hello
    recipe_ends
    assert_wire_without "$MARKER"
    assert_wire_without greeting
}

@test "memcached" {
    recipe 'memcached' alpha beta
    step
    wait_for_listener alpha 11211
    step
    assert_equal "$(tr -d '\r' <<<"$SAID")" $'STORED\nVALUE greeting 0 5\nhello\nEND'
    run on beta timeout 60 ncat --recv-only alpha 11211
    assert_output_without hello
    recipe_ends
    assert_wire_without greeting
}

@test "an nginx upstream" {
    recipe 'An nginx upstream' alpha beta gamma
    step
    wait_for_listener beta 8080
    step
    wait_for_listener alpha 80
    step
    assert_equal "$SAID" hello
    recipe_ends
    assert_wire_has hello # from nginx to who asked
    assert_wire_between_without hello 'host 10.0.0.2'
}

@test "PostgreSQL with a standby" {
    recipe 'PostgreSQL with a standby' alpha beta
    steps 4
    wait_until 'standby_has_the_table'
    run on beta runuser -l postgres -c 'PGCONNECT_TIMEOUT=60 psql -h alpha -c "SELECT 1"'
    [ "$status" -ne 0 ] || fail "psql without the library got in: $output"
    recipe_ends
    assert_wire_without greeting
}

standby_has_the_table() {
    on beta runuser -l postgres -c 'p2ptls run -- psql -h beta -At -c "TABLE greeting"' | grep -qx 1
}
