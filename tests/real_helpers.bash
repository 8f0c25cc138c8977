# shellcheck shell=bash
# For the suites that run well-known programs: the same steps on plain TCP and under the library on both ends, a
# recorded wire, and the library's log of each end. Load after helpers.

# A text that programs carry in a value, a file or a message; no program sends it by itself.
MARKER='the-marker-that-nobody-on-the-wire-may-read'

# Sets SERVER and CLIENT to the prefixes of the commands of both ends. Each end has a log of the library of its own.
both_ends() { # plain|protected
    SERVER=(env)
    CLIENT=(env)
    [ "$1" = protected ] || return 0
    policy 'any 127.0.0.1:*'
    SERVER=("${P2P[@]}" "P2PTLS_LOG=info:$BATS_TEST_TMPDIR/server.p2ptls")
    CLIENT=("${P2P[@]}" "P2PTLS_LOG=info:$BATS_TEST_TMPDIR/client.p2ptls")
}

library_log() { # server|client
    cat "$BATS_TEST_TMPDIR/$1.p2ptls"
}

# Both ends say who became TLS client and who server, and neither complains.
assert_both_protected() { # PORT of the server
    assert_matches "$(library_log server)" 'accepted from 127\.0\.0\.1:[0-9]+ as (client|server), TLS_' || return
    assert_matches "$(library_log client)" "connected to 127\.0\.0\.1:$1 as (client|server), TLS_" || return
    refute_contains "$(library_log server)" ' error: ' || return
    refute_contains "$(library_log client)" ' error: '
}

# Between two programs that have made just one connection.
assert_opposite_roles() {
    local server client
    server=$(library_log server | sed -n 's/.* as \(client\|server\), TLS_.*/\1/p')
    client=$(library_log client | sed -n 's/.* as \(client\|server\), TLS_.*/\1/p')
    assert_matches "$server/$client" '^(client/server|server/client)$'
}

# Runs a command that sends MARKER, with the wire recorded. The plain run shows that the recording would find it.
assert_wire_hides_marker() { # plain|protected PORT COMMAND...
    capture_start "$2" || return
    "${@:3}" || return
    capture_stop || return
    if [ "$1" = plain ]; then
        assert_wire_has "$MARKER"
    else
        assert_wire_without "$MARKER" && assert_both_protected "$2"
    fi
}

# Bytes without a pattern, the same ones each time.
random_file() { # FILE SIZE, with K, M or G
    openssl enc -aes-128-ctr -K 00112233445566778899aabbccddeeff -iv 00 </dev/zero 2>/dev/null | head -c "$2" >"$1"
    [ -s "$1" ] || fail "no random bytes in $1"
}

hash_of() { # FILE, or standard input
    sha256sum "$@" | cut -d ' ' -f 1
}
