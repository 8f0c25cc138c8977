#!/usr/bin/env bats
# Each kind of name that peer= can ask for, each way to combine trust, and the system's authorities, with connections in
# both TLS roles: who fits is accepted, and who does not is refused. The certificate of the other end has all kinds of
# names, each different.

load helpers
load tls_helpers

setup_file() {
    local dir=$BATS_FILE_TMPDIR/pki
    mkdir -m 755 "$dir"
    issue ca '' ca cert_signing_key
    issue stranger-ca '' ca cert_signing_key
    issue stranger stranger-ca
    issue named ca 'uri = "spiffe://td.example/db/a"' 'email = "dba@mail.example"' 'dns_name = "b.pool.example"' \
        'ip_address = "2001:db8::7"'
    issue client ca
}

setup() {
    common_setup
    PKI=$BATS_FILE_TMPDIR/pki
}

pin_of() { # NAME
    openssl x509 -in "$PKI/$1.pem" -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r |
        sed 's/ .*//; s/^/sha256:/'
}

# Whether a connection under those options gets through to the end with that certificate, in that TLS role.
gets_through() { # ROLE CERTIFICATE OPTIONS
    local other=client
    [ "$1" = server ] || other=server
    endpoint_listen acceptor "accept *:* role=$other auth=request cert=$PKI/$2.pem key=$PKI/$2.key \
        ca=$PKI/ca.pem trust=ca" recv:5 send:world || return
    P2PTLS_LOG=info:$BATS_TEST_TMPDIR/dialler P2PTLS_POLICY="connect *:* role=$1 cert=$PKI/client.pem \
        key=$PKI/client.key $3" run p2p "$PROGRAMS/endpoint" "connect:$PORT" send:hello recv:5
    stop acceptor
    [[ $output == *'got "world"'* ]]
}

# In both roles.
assert_taken() { # CERTIFICATE OPTIONS
    local role
    for role in client server; do
        gets_through $role "$1" "$2" ||
            fail "refused as $role: $2" "$output" "$(cat "$BATS_TEST_TMPDIR/dialler")" || return
    done
}

refute_taken() { # CERTIFICATE OPTIONS
    local role
    for role in client server; do
        ! gets_through $role "$1" "$2" || fail "accepted as $role: $2" || return
    done
}

@test "peer= asks for a DNS name, an address, a URI, an e-mail address or a common name" {
    local fits no
    for fits in named.test NAMED.test dns:named.test '*.pool.example' 127.0.0.1 ip:127.0.0.1 2001:db8:0::7 \
        uri:spiffe://td.example/db/a 'uri:spiffe://td.example/db/*' email:dba@mail.example cn:named \
        other.test,uri:spiffe://td.example/db/a; do
        assert_taken named "ca=$PKI/ca.pem peer=$fits"
    done
    for no in other.test pool.example '*.example' named 127.0.0.2 2001:db8::8 uri:spiffe://td.example/db \
        uri:spiffe://td.example/db/b 'uri:spiffe://td.example/other/*' email:dba@other.example cn:named.test \
        dns:spiffe://td.example/db/a; do
        if P2PTLS_POLICY="connect *:1 ca=$PKI/ca.pem show=never role=client peer=$no" p2p true 2>/dev/null; then
            refute_taken named "ca=$PKI/ca.pem peer=$no"
        fi # else it is no pattern at all, and no program starts with it
    done
}

@test "trust combines in words, and decides the same in both roles" {
    local named stranger known=$BATS_TEST_TMPDIR/known
    named=$(pin_of named)
    stranger=$(pin_of stranger)
    local both="ca=$PKI/ca.pem pin=$stranger peer=127.0.0.1"
    assert_taken named "$both trust=\"ca or pinned\""
    assert_taken stranger "$both trust=\"ca or pinned\""
    refute_taken named "$both trust=\"ca and pinned\""
    refute_taken stranger "$both trust=\"ca and pinned\""
    refute_taken named "$both"
    assert_taken named "ca=$PKI/ca.pem pin=$named peer=127.0.0.1 trust=\"ca and pinned\""
    assert_taken named "ca=$PKI/ca.pem pin=$named peer=127.0.0.1"
    both="ca=$PKI/ca.pem pin=$stranger known-peers=$known peer=127.0.0.1"
    assert_taken stranger "$both trust=\"ca or (pinned and known)\""
}

@test "ca=system is the authorities of the machine" {
    refute_taken named 'ca=system peer=127.0.0.1'
    local bundle=/etc/ssl/certs/ca-certificates.crt
    cat "$bundle" "$PKI/ca.pem" >"$BATS_TEST_TMPDIR/bundle"
    P2P=(unshare -m sh -c "mount --bind '$BATS_TEST_TMPDIR/bundle' $bundle && exec \"\$@\"" sh "${P2P[@]}")
    assert_taken named 'ca=system peer=127.0.0.1'
    refute_taken stranger 'ca=system peer=127.0.0.1'
}
