#!/usr/bin/env bats
# Properties of a rule against conventional TLS programs on the other end: who must be proven, what is shown, names of
# protocols, groups, the end of a stream. (In either TLS role and in all combinations: tests/unit/test_properties.c.)

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
    OURS="cert=$PKI/client.pem key=$PKI/client.key ca=$PKI/ca.pem"
}

start_s_server() { # ARGS...: sets PORT
    start_fed s_server stdbuf -oL openssl s_server -tls1_3 -accept 127.0.0.1:0 -cert "$PKI/server.pem" \
        -key "$PKI/server.key" -CAfile "$PKI/ca.pem" "$@"
    wait_for_log s_server 'ACCEPT 127.0.0.1:' || return
    port_is_told s_server '^ACCEPT 127\.0\.0\.1:([0-9]+)$'
}

say_hello() { # POLICY-OPTIONS
    endpoint_connect "connect *:* role=client $*" "$PORT" send:$'hello\n' recv:6
}

# One connection of s_client to a rule of ours; what our program heard, and the library's log, are in log_of ours.
answer_s_client() { # OPTIONS, ARGS of s_client...
    endpoint_listen ours "accept *:* role=server cert=$PKI/server.pem key=$PKI/server.key ca=$PKI/ca.pem $1" recv:5
    start_fed s_client openssl s_client -tls1_3 -connect "127.0.0.1:$PORT" -CAfile "$PKI/ca.pem" "${@:2}"
    # A refused one ends by itself; feed would make a file of the name of its pipe.
    wait_until "grep -q '^Verify return code' '$(log_of s_client)' || ! is_running ours"
    ! is_running ours || feed s_client hello
    finish ours
    stop s_client
}

@test "auth=require refuses a client without a certificate, and the program hears nothing" {
    answer_s_client ''
    assert_log_has ours 'certificate'
    refute_contains "$(cat "$(log_of ours)")" 'got "hello'
}

@test "auth=request takes a client without a certificate as unauthenticated" {
    answer_s_client auth=request
    assert_log_has ours 'peer "(unauthenticated)"'
    assert_log_has ours 'got "hello"'
}

@test "auth=request takes a client with a good certificate as what it is" {
    answer_s_client auth=request -cert "$PKI/client.pem" -key "$PKI/client.key"
    assert_log_has ours 'peer "CN=client"'
}

@test "auth=request refuses a client that shows a certificate of another CA" {
    answer_s_client auth=request -cert "$PKI/stranger.pem" -key "$PKI/stranger.key"
    assert_log_has ours 'was not issued by a trusted CA'
    refute_contains "$(cat "$(log_of ours)")" 'got "hello'
}

@test "show=never: a server that asks for a certificate is given none" {
    start_s_server -rev -verify 1
    say_hello "ca=$PKI/ca.pem show=never"
    assert_output_has 'as client, TLS_AES_128_GCM_SHA256, peer "CN=server"'
    refute_contains "$(cat "$(log_of s_server)")" 'CN = client'
    say_hello "$OURS"
    assert_log_has s_server 'CN = client'
}

@test "show=never with role=server is refused when the policy is read" {
    P2PTLS_POLICY="accept *:* role=server ca=$PKI/ca.pem cert=$PKI/server.pem key=$PKI/server.key show=never" \
        run p2p true
    assert_status 125
    assert_output_has 'show='
}

@test "alpn=: what both have is agreed on; without agreement the connection is refused" {
    start_s_server -rev -alpn p2p/1,other
    say_hello "$OURS alpn=p2p/1"
    assert_output_has 'got "olleh."'
    say_hello "$OURS alpn=p2p/2"
    assert_output_without 'got "olleh.'
    assert_output_has 'refused'
    answer_s_client 'auth=request alpn=p2p/1' -alpn p2p/1
    assert_log_has ours 'got "hello"'
    assert_log_has s_client 'ALPN protocol: p2p/1'
    answer_s_client 'auth=request alpn=p2p/1' -alpn something
    refute_contains "$(cat "$(log_of ours)")" 'got "hello'
}

@test "usage=role wants the extended key usage of the peer's TLS role; without it any will do" {
    start_s_server -rev -cert "$PKI/only-client.pem" -key "$PKI/only-client.key"
    say_hello "$OURS"
    assert_output_has 'got "olleh."'
    say_hello "$OURS usage=role"
    assert_output_without 'got "olleh.'
    assert_output_has 'is not for a TLS server'
    answer_s_client usage=role -cert "$PKI/only-server.pem" -key "$PKI/only-server.key"
    assert_log_has ours 'is not for a TLS client'
    answer_s_client usage=role -cert "$PKI/only-client.pem" -key "$PKI/only-client.key"
    assert_log_has ours 'got "hello"'
}

@test "groups=: only those are offered" {
    start_s_server -rev -groups P-384
    say_hello "$OURS groups=secp384r1,x25519"
    assert_output_has 'got "olleh."'
    say_hello "$OURS groups=x25519"
    assert_output_without 'got "olleh.'
}

@test "ciphers can be said for one outcome alone" {
    start_s_server -rev
    say_hello "$OURS client-ciphers=chacha20-poly1305 server-ciphers=aes-256-gcm"
    assert_output_has 'as client, TLS_CHACHA20_POLY1305_SHA256'
}

# openssl s_server, killed, leaves the kernel to end its stream: a FIN without close_notify.
cut_off() { # OPTIONS: what the program sees is in log_of ours
    start_s_server
    P2PTLS_LOG=info P2PTLS_POLICY="connect *:* role=client $OURS $1" start ours p2p "$PROGRAMS/endpoint" \
        "connect:$PORT" send:$'hello\n' all
    wait_for_log s_server hello
    stop s_server KILL
    finish ours
}

@test "a FIN without close_notify is an error" {
    cut_off ''
    assert_log_has ours 'ECONNRESET'
    assert_log_has ours 'without close_notify'
}

@test "eof=insecure-fin: a FIN without close_notify is an end, and the log says so" {
    cut_off eof=insecure-fin
    assert_log_has ours ' eof'
    assert_log_has ours 'without close_notify'
}
