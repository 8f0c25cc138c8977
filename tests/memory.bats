#!/usr/bin/env bats
# What an idle connection takes of memory: a kilobyte of shared state, two AEAD handles, and little else.

load helpers

# The kilobytes of memory of "server" or "client" that came with all connections but the first, when all of them had an
# exchange behind them.
kilobytes_of() { # server|client OUTPUT
    awk -v who="$1" '$1 == who && $2 == "first" { before = $3 }
        $1 == who && $2 == "exchanged" { print $3 - before }' <<<"$2"
}

# All are connected before the first handshake is over, which is the worst order: what stays lies between what goes.
idle_connections_take() { # CONNECTIONS KIB
    local plain protected who
    plain=$("$PROGRAMS/idle" "$1")
    policy 'any 127.0.0.1:* handshake-timeout=600s'
    protected=$(p2p "$PROGRAMS/idle" "$1")
    for who in server client; do
        assert_at_most "$(($(kilobytes_of $who "$protected") - $(kilobytes_of $who "$plain")))" $(($1 * $2)) \
            "KiB of the $who for $1 connections"
    done
}

@test "100 idle connections take at most 8 KiB each more than on plain TCP" { idle_connections_take 100 8; }
@test "1,000 idle connections take at most 5 KiB each more than on plain TCP" { idle_connections_take 1000 5; }
