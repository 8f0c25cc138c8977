#!/usr/bin/env bats
# Protocols with equal sides: either opens the connection, or both at once, and both rules say role=peer.

load helpers
load real_helpers

setup() {
    common_setup
    require sipp
    A=$(free_port)
    B=$(free_port)
    policy 'any 127.0.0.1:* role=peer'
    export P2PTLS_LOG=info:$BATS_TEST_TMPDIR/library.log
}

msrp() { # NAME LOCAL REMOTE open|wait|both
    start "$1" "${SIDE[@]}" "$PYTHON" "$ROOT/tests/programs/msrp.py" "$2" "$3" "$4" 500
}

# shellcheck disable=SC2034 # SIDE is used by msrp
pair() { # plain|p2p OF-A OF-B
    SIDE=(env)
    [ "$1" = plain ] || SIDE=(p2p)
    [ "$2" != wait ] || { msrp a "$A" "$B" wait && wait_for_port "$A" a; }
    [ "$3" != wait ] || { msrp b "$B" "$A" wait && wait_for_port "$B" b; }
    [ "$2" = wait ] || msrp a "$A" "$B" "$2"
    [ "$3" = wait ] || msrp b "$B" "$A" "$3"
    finish a
    finish b
    assert_contains "$(cat "$(log_of a)")" '500 sent, 500 received'
    assert_contains "$(cat "$(log_of b)")" '500 sent, 500 received'
    [ "$1" = plain ] || assert_one_client_one_server
}

assert_one_client_one_server() {
    assert_equal "$(grep -c ' as client, TLS_' "$BATS_TEST_TMPDIR/library.log")" 1 'TLS clients'
    assert_equal "$(grep -c ' as server, TLS_' "$BATS_TEST_TMPDIR/library.log")" 1 'TLS servers'
}

@test "MSRP-like pair: A opens (plain)" { pair plain open wait; }
@test "MSRP-like pair: A opens (protected)" { pair p2p open wait; }
@test "MSRP-like pair: B opens (protected)" { pair p2p wait open; }
@test "MSRP-like pair: both open at once (plain)" { pair plain both both; }
@test "MSRP-like pair: both open at once (protected)" { pair p2p both both; }

# SIP over TCP between two user agents of the same program: one calls, the other answers, and both hang up in time.
calls() { # plain|p2p
    local how=env
    [ "$1" = plain ] || how=p2p
    start answers $how sipp -sn uas -t t1 -i 127.0.0.1 -p "$A" -m 20 -nostdin
    wait_for_port "$A" answers
    start caller $how sipp -sn uac -t t1 -i 127.0.0.1 "127.0.0.1:$A" -m 20 -r 100 -rp 1000 -nostdin
    finish caller
    assert_matches "$(cat "$(log_of caller)")" 'Successful call +\| +[0-9]+ +\| +20 '
    assert_matches "$(cat "$(log_of caller)")" 'Failed call +\| +[0-9]+ +\| +0 '
}

@test "SIP: twenty calls over one TCP connection (plain: the wire shows INVITE)" {
    capture_start "$A"
    calls plain
    capture_stop
    assert_wire_has 'INVITE sip:'
}

@test "SIP: twenty calls over one TCP connection (protected: it does not)" {
    capture_start "$A"
    calls p2p
    capture_stop
    assert_wire_without 'INVITE sip:'
    assert_one_client_one_server
}
