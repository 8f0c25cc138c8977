#!/usr/bin/env bats
# connect=wait: what connect says of a handshake under each property of a rule, in the TLS role that can know it. A
# program that does not block hears the same from SO_ERROR.

load helpers
load tls_helpers

setup_file() {
    export PKI=$BATS_FILE_TMPDIR/pki
    make_certificates "$PKI"
    local dir=$PKI
    issue only-client ca tls_www_client
    issue only-server ca tls_www_server
}

setup() {
    common_setup
    CREDENTIALS="cert=$PKI/client.pem key=$PKI/client.key"
    OURS="$CREDENTIALS ca=$PKI/ca.pem"
}

# The other side: an echo server, with a certificate and options. Sets PORT.
serve() { # CERTIFICATE OPTIONS
    [ -z "${PID_echo:-}" ] || stop echo
    P2PTLS_LOG=info P2PTLS_POLICY="accept *:* cert=$PKI/$1.pem key=$PKI/$1.key $2" \
        start echo p2p "$PYTHON" "$ROOT/tests/programs/echo.py" threading
    wait_for_log echo 'port ' || return
    PORT=$(sed -n 's/^port //p' "$(log_of echo)")
}

# What the calls say, in one line; the library's log is in LOG.
report() { # HOW OPTIONS
    LOG=$BATS_TEST_TMPDIR/report.p2ptls
    : >"$LOG"
    P2PTLS_LOG=info:$LOG P2PTLS_POLICY="connect *:* connect=wait $2" \
        p2p "$PYTHON" "$ROOT/tests/programs/connect_report.py" "$1" "$PORT" | paste -sd ' '
}

log_says() { # WORDS
    assert_matches "$(cat "$BATS_TEST_TMPDIR/report.p2ptls")" "error: connection to 127\\.0\\.0\\.1:$PORT refused: .*$1"
}

# Both kinds of program are told why, once by connect or SO_ERROR, and then by each call.
assert_refused() { # ERROR OPTIONS WORDS-OF-THE-LOG
    assert_equal "$(report blocking "$2")" "connect $1 SO_ERROR 0 send $1 recv $1" "blocking, with $2" || return
    log_says "$3" || return
    assert_equal "$(report nonblocking "$2")" "connect EINPROGRESS SO_ERROR $1 send $1 recv $1" \
        "nonblocking, with $2" || return
    log_says "$3"
}

assert_connected() { # OPTIONS
    assert_equal "$(report blocking "$1")" "connect 0 SO_ERROR 0 send 0 recv 'ping\\n'" "blocking, with $1" || return
    assert_equal "$(report nonblocking "$1")" "connect EINPROGRESS SO_ERROR 0 send 0 recv 'ping\\n'" \
        "nonblocking, with $1"
}

# ---- what this side judges -------------------------------------------------------------------------------------------

@test "who is trusted: connect has the verdict in either TLS role" {
    local role
    serve server "ca=$PKI/ca.pem"
    for role in client server; do
        assert_connected "$OURS role=$role"
        assert_connected "$OURS peer=server.test role=$role"
        assert_refused EKEYREJECTED "$CREDENTIALS ca=$PKI/stranger-ca.pem role=$role" 'was not issued by a trusted CA'
        assert_refused EKEYREJECTED "$OURS peer=nobody.test role=$role" 'does not carry the name nobody.test'
        assert_refused EKEYREJECTED "$OURS ocsp=stapled role=$role" 'came without a stapled OCSP answer'
        assert_refused EKEYREJECTED \
            "$CREDENTIALS pin=sha256:fUNZ4s3ewNh2DCyDzAJXFd4KqiNDNR5Wc5fmFsnErC4= role=$role" 'which is not pinned'
        assert_refused EPROTO "$OURS alpn=other role=$role" 'alpn='
    done
}

@test "usage=role: connect has the verdict in either TLS role" {
    serve only-client "ca=$PKI/ca.pem"
    assert_connected "$OURS usage=role role=server"
    assert_refused EKEYREJECTED "$OURS usage=role role=client" 'is not for a TLS server'
    serve only-server "ca=$PKI/ca.pem"
    assert_connected "$OURS usage=role role=client"
    assert_refused EKEYREJECTED "$OURS usage=role role=server" 'is not for a TLS client'
}

@test "known peers: recorded before connect says 0, refused with another key or where it cannot be recorded" {
    local role known
    serve server "ca=$PKI/ca.pem"
    for role in client server; do
        known=$BATS_TEST_TMPDIR/known-$role
        assert_connected "$CREDENTIALS known-peers=$known role=$role"
        assert_contains "$(cat "$known")" "127.0.0.1:$PORT sha256:"
        printf '127.0.0.1:%s sha256:%064d\n' "$PORT" 1 >"$known"
        assert_refused EKEYREJECTED "$CREDENTIALS known-peers=$known role=$role" 'but the one recorded is sha256:'
        assert_refused EKEYREJECTED "$CREDENTIALS known-peers=/proc/nowhere/peers role=$role" 'cannot be recorded'
    done
}

@test "auth=: a client that shows nothing is refused, or taken where that is allowed" {
    serve server "ca=$PKI/ca.pem role=client show=never"
    assert_refused EKEYREJECTED "$OURS role=server" 'sent no certificate'
    assert_connected "$OURS role=server auth=request"
    assert_contains "$(cat "$BATS_TEST_TMPDIR/report.p2ptls")" 'as server, TLS_AES_128_GCM_SHA256, peer "(unauth'
    assert_connected "$CREDENTIALS role=server auth=insecure-none"
}

# ---- what both judge, and what only the other can --------------------------------------------------------------------

@test "roles that do not meet, by role= and by show=: EPROTO" {
    serve server "ca=$PKI/ca.pem role=client"
    assert_refused EPROTO "$OURS role=client" 'role='
    assert_refused EPROTO "ca=$PKI/ca.pem show=never" 'show='
    serve server "ca=$PKI/ca.pem role=server"
    assert_refused EPROTO "$OURS role=server" 'role='
}

@test "as TLS server this side knows of the other's refusal; as client connect says 0, and the first read knows" {
    local how
    serve server "ca=$PKI/stranger-ca.pem"
    assert_refused EKEYREJECTED "$OURS role=server" 'does not know who issued our certificate'
    for how in blocking nonblocking; do
        assert_matches "$(report $how "$OURS role=client")" '^connect (0|EINPROGRESS) .* recv EKEYREJECTED$'
    done
    serve server "ca=$PKI/ca.pem"
    assert_matches "$(report blocking "ca=$PKI/ca.pem show=never")" '^connect 0 .* recv EKEYREJECTED$'
}

# ---- and what is not about the other ---------------------------------------------------------------------------------

@test "an own identity that cannot be used is EKEYREJECTED at once, and nothing is sent" {
    serve server "ca=$PKI/ca.pem"
    chmod 644 "$PKI/client-ed25519.key"
    local how own="cert=$PKI/client-ed25519.pem key=$PKI/client-ed25519.key ca=$PKI/ca.pem"
    for how in blocking nonblocking; do
        assert_matches "$(report $how "$own")" '^connect EKEYREJECTED '
        assert_contains "$(cat "$BATS_TEST_TMPDIR/report.p2ptls")" "chmod 600 $PKI/client-ed25519.key"
    done
    assert_equal "$(grep -v '^port' "$(log_of echo)")" '' 'log of the other side'
}

@test "a connect that SO_SNDTIMEO ends is EINPROGRESS, and the next one has the verdict" {
    serve server "ca=$PKI/ca.pem hello=wait"
    assert_equal "$(report again "$OURS hello=wait handshake-timeout=1s")" \
        'connect EINPROGRESS connect ETIMEDOUT send ETIMEDOUT recv ETIMEDOUT'
}

# A peer without TLS that answers, hears the alert, and goes away with a reset.
@test "SO_ERROR gives the reason and not the reset that follows it" {
    start rude "$PYTHON" -c '
import socket, struct
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
s = listener.accept()[0]
s.sendall(b"220 no TLS here\n")
while s.recv(1000):
    pass
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
s.close()'
    wait_for_log rude 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of rude)")
    assert_equal "$(report reset "$OURS")" 'connect EINPROGRESS SO_ERROR EPROTO send EPROTO recv EPROTO'
    log_says 'TLS'
}
