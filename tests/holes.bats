#!/usr/bin/env bats
# Two hosts behind two home routers open a connection to each other at once (TCP hole punching): there is no listener,
# and so no side that is the server by nature.

load helpers
load network_helpers

setup() {
    common_setup
    network_up alice router-a router-b bob
    cable alice eth 10.1.0.2/24 router-a in 10.1.0.1/24
    cable router-a out 192.0.2.1/24 router-b out 192.0.2.2/24
    cable router-b in 10.2.0.1/24 bob eth 10.2.0.2/24
    route alice 10.1.0.1
    route bob 10.2.0.1
    home_router router-a in out
    home_router router-b in out
}

teardown() {
    stop_all
    network_down
    common_teardown
}

punch() { # plain|p2p
    local prefix=(env)
    [ "$1" = plain ] || prefix=("${P2P[@]}")
    on_host alice
    start alice "${ON[@]}" "${prefix[@]}" P2PTLS_LOG=info:"$BATS_TEST_TMPDIR/library.log" "$PYTHON" \
        "$ROOT/tests/programs/msrp.py" 10.1.0.2:5000 192.0.2.2:5000 both 50
    on_host bob
    start bob "${ON[@]}" "${prefix[@]}" P2PTLS_LOG=info:"$BATS_TEST_TMPDIR/library.log" "$PYTHON" \
        "$ROOT/tests/programs/msrp.py" 10.2.0.2:5000 192.0.2.1:5000 both 50
    finish alice
    finish bob
    assert_contains "$(cat "$(log_of alice)")" '50 sent, 50 received'
    assert_contains "$(cat "$(log_of bob)")" '50 sent, 50 received'
}

@test "hole punching through two home routers (plain)" { punch plain; }

@test "hole punching through two home routers (protected: one client, one server)" {
    policy 'any *:5000 role=peer'
    punch p2p
    assert_equal "$(grep -c 'connected to .* as client, TLS_' "$BATS_TEST_TMPDIR/library.log")" 1 'TLS clients'
    assert_equal "$(grep -c 'connected to .* as server, TLS_' "$BATS_TEST_TMPDIR/library.log")" 1 'TLS servers'
}
