#!/usr/bin/env bats
# Who becomes TLS client and who server, as the policies of both ends and the tie-breaker say.

load helpers
load tls_helpers

setup() {
    common_setup
    PSK=$BATS_TEST_TMPDIR/psk
    (umask 077 && echo "all:$(printf '%064d' 7)" >"$PSK")
}

# count_roles CONNECTIONS CONNECTOR-OPTIONS ACCEPTOR-OPTIONS: makes so many connections with a byte each way, both ends
# in one process each; sets ACCEPTOR_CLIENT and ACCEPTOR_SERVER from what was on the wire. (Log lines are limited in
# rate.)
count_roles() {
    local counted
    endpoint_listen acceptor "accept *:* psk=$PSK $3" --count "$1" recv:4 send:pong all
    capture_start "$PORT"
    P2PTLS_POLICY="connect *:* psk=$PSK $2" p2p "$PROGRAMS/endpoint" "connect:$PORT" --count "$1" send:ping recv:4 \
        >"$BATS_TEST_TMPDIR/connector.log" || return
    finish acceptor || return
    capture_stop || return
    assert_equal "$(grep -c ' got "pong"$' "$BATS_TEST_TMPDIR/connector.log")" "$1" "answers" || return
    assert_equal "$(grep -c ' got "ping" eof$' "$(log_of acceptor)")" "$1" "questions" || return
    counted=$("$PYTHON" "$ROOT/tests/programs/count_roles.py" "$PORT" <"$CAPTURE") || return
    assert_matches "$counted" \
        "^connections $1, acceptor client ([0-9]+), acceptor server ([0-9]+), both 0, neither 0$" || return
    ACCEPTOR_CLIENT=${BASH_REMATCH[1]}
    ACCEPTOR_SERVER=${BASH_REMATCH[2]}
}

# One connection between two policies: output is what the connecting end says and logs, log `acceptor` the same of the
# other.
meet() { # CONNECTOR-OPTIONS ACCEPTOR-OPTIONS
    endpoint_listen acceptor "accept *:* psk=$PSK $2" recv:4 send:pong
    endpoint_connect "connect *:* psk=$PSK $1" "$PORT" send:ping recv:4
    finish acceptor
}

@test "over 1,000 connections each side becomes client in 40 to 60 of 100, never both or neither" {
    count_roles 1000 '' ''
    assert_at_least "$ACCEPTOR_CLIENT" 400
    assert_at_least "$ACCEPTOR_SERVER" 400
}

@test "prefer= on one side gives it that role nearly always" {
    # The other side draws the same highest byte once in 256 connections, and wins half of those.
    count_roles 100 'prefer=client' ''
    assert_at_least "$ACCEPTOR_SERVER" 94
    count_roles 100 'prefer=server' ''
    assert_at_least "$ACCEPTOR_CLIENT" 94
    count_roles 100 '' 'prefer=client'
    assert_at_least "$ACCEPTOR_CLIENT" 94
    count_roles 100 '' 'prefer=server'
    assert_at_least "$ACCEPTOR_SERVER" 94
}

@test "opposite preferences always work out, equal ones are settled by chance" {
    count_roles 100 'prefer=client' 'prefer=server'
    assert_equal "$ACCEPTOR_SERVER" 100
    count_roles 100 'prefer=server' 'prefer=client'
    assert_equal "$ACCEPTOR_CLIENT" 100
    count_roles 100 'prefer=client' 'prefer=client'
    assert_at_least "$ACCEPTOR_CLIENT" 20
    assert_at_least "$ACCEPTOR_SERVER" 20
    count_roles 100 'prefer=server' 'prefer=server'
    assert_at_least "$ACCEPTOR_CLIENT" 20
    assert_at_least "$ACCEPTOR_SERVER" 20
}

@test "every pair of options that works out gives the roles that they say" {
    local connector acceptor role
    while IFS='|' read -r connector acceptor role; do
        meet "$connector" "$acceptor"
        assert_output_has '0 got "pong"'
        assert_log_has acceptor '0 got "ping"'
        assert_output_has " as $role, TLS_AES_128_GCM_SHA256, peer \"psk:all\""
        [ "$role" = client ] && role=server || role=client
        assert_log_has acceptor " as $role, TLS_AES_128_GCM_SHA256, peer \"psk:all\""
    done <<'EOT'
role=client|role=server|client
role=client|role=peer|client
role=client|hello=wait|client
role=client|role=server hello=now|client
role=client hello=wait|role=peer|client
role=client hello=wait|role=server hello=now|client
role=peer|role=server|client
role=peer|role=client|server
role=peer|role=client hello=wait|server
role=peer|hello=wait|client
role=peer|remote-role=client|client
role=peer|remote-role=server|server
role=peer hello=wait|role=peer|server
role=peer hello=wait|role=client|server
role=peer hello=wait|role=server hello=now|client
role=server|role=client|server
role=server|role=client hello=wait|server
role=server|role=peer|server
role=server|hello=wait|server
role=server hello=wait|role=client|server
role=server hello=wait|role=peer|server
remote-role=server|role=peer|client
remote-role=client|role=peer|server
prefer=client|prefer=server|client
prefer=server|prefer=client|server
EOT
}

# The timeout is far above what the test takes, so that only a refusal can end it.
@test "two clients refuse each other, and so do two servers, at once" {
    local options
    for options in role=client role=server 'remote-role=server' 'remote-role=client'; do
        meet "$options handshake-timeout=86400" "$options handshake-timeout=86400"
        assert_matches "$output" '0 (send|recv) EPROTO'
        assert_matches "$(cat "$(log_of acceptor)")" '0 recv EPROTO'
        assert_matches "$output$(cat "$(log_of acceptor)")" 'refused: .*set role='
    done
}

@test "a reset behind the refusal does not hide it from a reader that waits" {
    local only="psk=$PSK role=client handshake-timeout=86400"
    start raw "$PROGRAMS/rawpeer" listen --save "$BATS_TEST_TMPDIR/hello"
    wait_for_log raw 'port '
    endpoint_connect "connect *:* psk=$PSK role=client handshake-timeout=1" \
        "$(sed -n 's/^port //p' "$(log_of raw)")" recv:4
    finish raw
    endpoint_listen acceptor "accept *:* $only" --count 600 recv:4
    run "$PYTHON" "$ROOT/tests/programs/refused_then_reset.py" "$PORT" 600 "$BATS_TEST_TMPDIR/hello"
    assert_status 0
    finish acceptor
    assert_equal "$(grep -c '^[0-9]* recv EPROTO$' "$(log_of acceptor)")" 600 "$(grep -oE 'recv E[A-Z]+' \
        "$(log_of acceptor)" | sort | uniq -c)"
}

@test "a reset behind the refusal does not hide it from recvmmsg" {
    P2PTLS_POLICY="accept *:* psk=$PSK" P2PTLS_LOG=silent run p2p "$PYTHON" -c '
import ctypes, errno, socket, struct
listener = socket.create_server(("127.0.0.1", 0))
plain = socket.create_connection(listener.getsockname())
protected = listener.accept()[0]
plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
assert plain.recv(100)[:1] == b"\x15", "no alert"
plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
plain.close()
libc = ctypes.CDLL(None, use_errno=True)
result = libc.recvmmsg(protected.fileno(), ctypes.create_string_buffer(64), 1, 0, None)
print(result, errno.errorcode[ctypes.get_errno()])'
    assert_output '-1 EPROTO'
}

@test "two sides that both wait time out" {
    local options
    for options in 'hello=wait' 'role=client hello=wait' 'role=server hello=wait'; do
        endpoint_listen acceptor "accept *:* psk=$PSK $options handshake-timeout=300ms" recv:4
        endpoint_connect "connect *:* psk=$PSK $options handshake-timeout=300ms" "$PORT" recv:4
        finish acceptor
        # Whose timer is first tells the other by an alert, which arrives or not before the own time is up.
        assert_matches "$output" '0 recv (ETIMEDOUT|EPROTO)'
        assert_matches "$(cat "$(log_of acceptor)")" '0 recv (ETIMEDOUT|EPROTO)'
        assert_matches "$output$(cat "$(log_of acceptor)")" 'no TLS handshake within 300 ms'
        assert_contains "$output$(cat "$(log_of acceptor)")" 'recv ETIMEDOUT'
    done
}

@test "connect=wait reports the timeout, the refusal and success" {
    endpoint_listen acceptor "accept *:* psk=$PSK hello=wait" --count 3 all
    endpoint_connect "connect *:* psk=$PSK hello=wait handshake-timeout=300ms connect=wait" "$PORT" recv:4
    assert_output_has '0 connect ETIMEDOUT'
    endpoint_connect "connect *:* psk=$PSK connect=wait" "$PORT" send:ping
    assert_output_has ' as client, '
    assert_matches "$output" $'(^|\n)0($|\n)'
    (umask 077 && echo "all:$(printf '%064d' 8)" >"$PSK.other")
    endpoint_connect "connect *:* psk=$PSK.other connect=wait" "$PORT" recv:4
    assert_output_has '0 connect EKEYREJECTED'
    finish acceptor
    assert_log_has acceptor '1 got "ping" eof'
    assert_log_has acceptor '2 recv EKEYREJECTED'
}

@test "TCP simultaneous open: both sides connect" {
    local options
    for options in '' 'prefer=client' 'prefer=server'; do
        P2PTLS_POLICY="any 127.0.0.1:* psk=$PSK $options" P2PTLS_LOG=info:$BATS_TEST_TMPDIR/library.log \
            run p2p "$PROGRAMS/simultaneous_open"
        assert_status 0
    done
    assert_equal "$(grep -c ' as client,' "$BATS_TEST_TMPDIR/library.log")" 15
    assert_equal "$(grep -c ' as server,' "$BATS_TEST_TMPDIR/library.log")" 15
}

@test "a socket that is connected to itself is refused" {
    P2PTLS_POLICY="any 127.0.0.1:* psk=$PSK handshake-timeout=86400" run p2p "$PYTHON" -c '
import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.connect(s.getsockname())
try:
    s.recv(1)
except OSError as error:
    print(error.errno, error.strerror)
'
    assert_output_has 'Protocol error'
    assert_output_has 'leads back to itself'
}
