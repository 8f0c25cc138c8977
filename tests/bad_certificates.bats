#!/usr/bin/env bats
# The mutual check cannot be talked down: whoever shows a bad certificate, or none, is refused in either TLS role,
# whoever dialled; the program under test never sees a byte of his, and he none of its. He has the library himself,
# with a policy that checks nothing and a clock of his choice, or is a conventional program. Each row has a good one
# beside it: what is refused is refused for its flaw.

load helpers
load tls_helpers

setup_file() {
    export PKI=$BATS_FILE_TMPDIR/pki
    make_certificates "$PKI"
    local dir=$PKI
    issue good ca
    issue future ca 'activation_date = "2090-01-01 00:00:00"' 'expiration_date = "2095-01-01 00:00:00"'
    issue selfsigned ''
    issue revoked ca
    IP_ADDRESS=127.0.0.9 issue misnamed ca
    issue special ca 'add_critical_extension = "1.2.3.4.5 0x0500"'
    issue large ca "add_extension = \"1.2.3.4.5 octet_string(0x$(head -c 70000 /dev/zero | xxd -p | tr -d '\n'))\""
    issue by-leaf good && cat "$dir/good.pem" >>"$dir/by-leaf.pem"
    issue only-client ca tls_www_client
    issue only-server ca tls_www_server
    make_forged
    make_revocations
    make_long_chain
}

# Issued by a CA that has the name of ours, and another key.
make_forged() {
    local dir=$PKI/forger
    mkdir "$dir"
    issue ca '' ca cert_signing_key
    issue forged ca
    cp "$dir/forged.pem" "$dir/forged.key" "$PKI/"
}

make_revocations() {
    printf '%s\n' 'crl_next_update = 30' 'crl_number = 1' >"$PKI/crl.template"
    certtool --generate-crl --load-ca-certificate "$PKI/ca.pem" --load-ca-privkey "$PKI/ca.key" \
        --load-certificate "$PKI/revoked.pem" --template "$PKI/crl.template" --outfile "$PKI/list.crl" 2>"$PKI/log"
    staple revoked R "$(date -u +%y%m%d%H%M%SZ)"
    staple good V ''
}

staple() { # NAME V|R DATE-OF-REVOCATION
    printf '%s\t%s\t%s\t%s\tunknown\t/CN=%s\n' "$2" 301231000000Z "$3" \
        "$(openssl x509 -in "$PKI/$1.pem" -noout -serial | cut -d = -f 2)" "$1" >"$PKI/$1.index"
    openssl ocsp -issuer "$PKI/ca.pem" -cert "$PKI/$1.pem" -no_nonce -reqout "$PKI/request" &&
        openssl ocsp -index "$PKI/$1.index" -CA "$PKI/ca.pem" -rsigner "$PKI/ca.pem" -rkey "$PKI/ca.key" \
            -reqin "$PKI/request" -ndays 5 -respout "$PKI/$1.staple"
} 2>>"$PKI/log"

# A hundred certificates from ca down, the last one first; and the same with a hole in it, short enough to be looked at.
make_long_chain() {
    local dir=$PKI/chain i
    mkdir "$dir"
    cp "$PKI/ca.pem" "$dir/i0.pem" && cp "$PKI/ca.key" "$dir/i0.key"
    for i in {1..99}; do
        issue "i$i" "i$((i - 1))" ca cert_signing_key
    done
    issue long i99
    cp "$dir/long.key" "$PKI/long.key" && cp "$dir/long.key" "$PKI/broken.key"
    cp "$dir/long.pem" "$PKI/long.pem" && cp "$dir/long.pem" "$PKI/broken.pem"
    for i in {99..1}; do
        cat "$dir/i$i.pem" >>"$PKI/long.pem"
        [ "$i" -lt 95 ] || cat "$dir/i$i.pem" >>"$PKI/broken.pem"
    done
    rm -r "$dir"
}

setup() {
    common_setup
    OURS="cert=$PKI/server.pem key=$PKI/server.key ca=$PKI/ca.pem handshake-timeout=60"
    SHIFT=0 HIS_EXTRA='' OPTIONS='' DIALLING='' ACCEPTING=''
    OPENSSL=() GNUTLS=()
}

# ---- his certificate and our rule ------------------------------------------------------------------------------------

# Whose certificate he shows. What else a test may set: HIS_EXTRA (of his policy), SHIFT (of his clock); OPTIONS of our
# rule, and those of the rules that dial (DIALLING) and accept (ACCEPTING); OPENSSL and GNUTLS (options of these).
he_shows() { # NAME
    HIS="cert=$PKI/$1.pem key=$PKI/$1.key auth=insecure-none"
    HIS_ROLES=(role=server role=client 'role=peer prefer=server' 'role=peer prefer=client')
    OPENSSL=(-cert "$PKI/$1.pem" -cert_chain "$PKI/$1.pem" -key "$PKI/$1.key")
    GNUTLS=(--x509certfile "$PKI/$1.pem" --x509keyfile "$PKI/$1.key")
    SUBJECT="the certificate of CN=$1 \\(SHA-256 [0-9a-f]*\\)"
}

seconds_until() { # DATE
    echo $(($(date -ud "$1" +%s) - $(date +%s)))
}

# ---- ways to meet him ------------------------------------------------------------------------------------------------

# With the library: a policy that checks nothing, and a clock under which his certificate is good.
attacker() { # COMMAND of the program endpoint
    LD_PRELOAD=$P2PTLS_BUILD/tests/programs/shifted_clock.so define_p2p
    CLOCK_SHIFT=$SHIFT P2PTLS_LOG=info P2PTLS_POLICY="any *:* $HIS $HIS_EXTRA $HIS_ROLE" \
        start attacker p2p "$PROGRAMS/endpoint" "$1" send:ATTACK recv:6
    define_p2p
}

dial() { # PORT OUR-OPTIONS
    P2PTLS_LOG=info P2PTLS_POLICY="connect *:* $OURS $OPTIONS $DIALLING $2" start victim p2p "$PROGRAMS/endpoint" \
        "connect:$1" send:$'SECRET\n' recv:6
    finish victim
}

listen() { # OUR-OPTIONS: sets PORT
    endpoint_listen victim "accept *:* $OURS $OPTIONS $ACCEPTING $1" send:$'SECRET\n' recv:6
}

we_dial_the_library() { # OUR-OPTIONS
    attacker listen
    wait_for_log attacker 'port ' || return
    dial "$(sed -n 's/^port //p' "$(log_of attacker)")" "$1" || return
    finish attacker
}

the_library_dials() { # OUR-OPTIONS
    listen "$1" || return
    attacker "connect:$PORT"
    finish victim || return
    finish attacker
}

we_dial_openssl() { # OUR-OPTIONS
    start_fed attacker stdbuf -oL openssl s_server -tls1_3 -accept 127.0.0.1:0 -verify 1 "${OPENSSL[@]}"
    wait_for_log attacker 'ACCEPT 127.0.0.1:' || return
    port_is_told attacker '^ACCEPT 127\.0\.0\.1:([0-9]+)$' || return
    feed attacker ATTACK
    dial "$PORT" "$1" || return
    stop attacker
}

openssl_dials() { # OUR-OPTIONS
    listen "$1" || return
    start_fed attacker stdbuf -oL openssl s_client -tls1_3 -connect "127.0.0.1:$PORT" "${OPENSSL[@]}"
    wait_for_log attacker CONNECTED || return
    feed attacker ATTACK
    finish victim || return
    stop attacker
}

we_dial_gnutls() { # OUR-OPTIONS
    PORT=$(free_port)
    start attacker gnutls-serv --echo -p "$PORT" --priority NORMAL:-VERS-ALL:+VERS-TLS1.3 "${GNUTLS[@]}"
    wait_for_port "$PORT" attacker || return
    dial "$PORT" "$1" || return
    stop attacker
}

gnutls_dials() { # OUR-OPTIONS
    listen "$1" || return
    start_fed attacker gnutls-cli --insecure -p "$PORT" 127.0.0.1 --priority NORMAL:-VERS-ALL:+VERS-TLS1.3 \
        "${GNUTLS[@]}"
    wait_for_log attacker 'Connecting to' || return
    feed attacker ATTACK
    finish victim || return
    stop attacker
}

# ---- what must come of it --------------------------------------------------------------------------------------------

is_refused() { # FLAW
    refute_contains "$(cat "$(log_of victim)")" ' got ' || return
    refute_contains "$(cat "$(log_of attacker)")" SECRET || return
    assert_matches "$(cat "$(log_of victim)")" " error: connection (to|from) 127\\.0\\.0\\.1:[0-9]+ refused: $1" ||
        return
    assert_matches "$(cat "$(log_of victim)")" $'(^|\n)0 (send|recv) EKEYREJECTED'
}

is_taken() {
    assert_matches "$(cat "$(log_of victim)")" ' got "(ATTACK|SECRET)"' # or the echo of what it said
}

# Meets him in one way, and looks at what came of it.
meet() { # WAY OUR-OPTIONS VERDICT [ARGS]...
    if ! "$1" "$2" || ! "${@:3}"; then
        fail "in this way: $1 with $2"
    fi
}

# We are the other one of what he is.
meet_the_library() { # VERDICT [ARGS]...
    local ours
    for HIS_ROLE in "${HIS_ROLES[@]}"; do
        case $HIS_ROLE in
        role=client) ours=role=server ;;
        role=server) ours=role=client ;;
        role=peer) ours=role=peer ;;
        *=client) ours='role=peer prefer=server' ;;
        *) ours='role=peer prefer=client' ;;
        esac
        meet we_dial_the_library "$ours" "$@" || return
        meet the_library_dials "$ours" "$@" || return
    done
}

# In the role that they have by nature; a side that waits for their hello may be a peer.
meet_servers() { # VERDICT [ARGS]...
    meet we_dial_openssl role=peer "$@" && meet we_dial_gnutls role=client "$@"
}

meet_clients() { # VERDICT [ARGS]...
    meet openssl_dials hello=wait "$@" && meet gnutls_dials role=server "$@"
}

everywhere() { # VERDICT [ARGS]...
    meet_the_library "$@" && meet_servers "$@" && meet_clients "$@"
}

# ---- the tests -------------------------------------------------------------------------------------------------------

@test "a good certificate is taken in each of these ways, also where revocation, name and usage are looked at" {
    he_shows good
    everywhere is_taken
    OPTIONS="crl=$PKI/list.crl peer=good.test usage=role"
    everywhere is_taken
}

@test "no certificate: a client without one, and one that does not show it" {
    he_shows good
    HIS_ROLES=(role=client role=peer) # who hides his is always client
    HIS_EXTRA=show=never
    OPENSSL=() GNUTLS=()
    meet_the_library is_refused 'the (peer|remote side) sent no certificate: set cert= and key= there'
    meet_clients is_refused 'the (peer|remote side) sent no certificate: set cert= and key= there'
}

@test "a certificate of another CA" {
    he_shows stranger
    everywhere is_refused "$SUBJECT was not issued by a trusted CA: compare ca= here with the CA that issued it"
}

@test "a certificate of a CA that has the name of the right one and another key" {
    he_shows forged
    everywhere is_refused "$SUBJECT (has a bad signature: it was changed|was not issued by a trusted CA: compare ca=)"
}

@test "a certificate that signed itself" {
    he_shows selfsigned
    everywhere is_refused "$SUBJECT was not issued by a trusted CA: compare ca="
}

@test "a certificate that was issued by one that is no CA" {
    he_shows by-leaf
    everywhere is_refused "$SUBJECT was issued by a certificate that is no CA: the remote side needs one from a CA"
}

@test "an expired certificate" {
    he_shows expired
    SHIFT=$(seconds_until 2001-06-01)
    everywhere is_refused "$SUBJECT or one of its chain has expired: renew it on the remote side"
}

@test "a certificate that is not valid yet" {
    he_shows future
    SHIFT=$(seconds_until 2091-01-01)
    everywhere is_refused "$SUBJECT or one of its chain is not valid yet: check the clocks of both machines"
}

@test "a certificate that the list of its CA has revoked" {
    he_shows revoked
    OPTIONS="crl=$PKI/list.crl"
    everywhere is_refused "$SUBJECT was revoked \\($PKI/list.crl\\): the remote side needs a new one"
}

@test "a certificate that its stapled OCSP answer calls revoked" {
    he_shows revoked
    OPTIONS=ocsp=stapled
    HIS_EXTRA="ocsp-staple=$PKI/revoked.staple"
    local flaw="$SUBJECT was revoked, as its stapled OCSP answer says: the remote side needs a new one"
    meet_the_library is_refused "$flaw"
    OPENSSL+=(-status_file "$PKI/revoked.staple")
    GNUTLS+=(--ocsp-response="$PKI/revoked.staple" --ignore-ocsp-response-errors)
    meet_servers is_refused "$flaw"
    he_shows good
    HIS_EXTRA="ocsp-staple=$PKI/good.staple"
    meet_the_library is_taken
    OPTIONS=''
    meet_the_library is_taken
}

@test "a certificate that comes without the OCSP answer that is asked for" {
    he_shows good
    OPTIONS=ocsp=stapled
    everywhere is_refused "$SUBJECT came without a stapled OCSP answer, .*: set ocsp-staple= there"
}

@test "a certificate of another name than was dialled, or than peer= says" {
    he_shows misnamed
    ACCEPTING=peer=127.0.0.1
    everywhere is_refused "$SUBJECT does not carry the name 127.0.0.1: it must be one of its subject"
}

@test "a stapled answer that is a responder's error" {
    he_shows good
    OPTIONS=ocsp=stapled
    printf '\x30\x03\x0a\x01\x06' >"$BATS_TEST_TMPDIR/staple" # RFC 6960 section 4.2.1: unauthorized
    OPENSSL+=(-status_file "$BATS_TEST_TMPDIR/staple")
    meet we_dial_openssl role=peer is_refused "$SUBJECT has a stapled OCSP answer that is a responder's error"
}

@test "a certificate with a critical extension that nobody knows, and one of more than 64 KiB" {
    he_shows special
    everywhere is_refused "$SUBJECT is not valid: look at it with: certtool --verify"
    he_shows large
    OPENSSL=(-cert "$PKI/large.pem" -key "$PKI/large.key")
    everywhere is_refused 'a certificate of the remote side is larger than 64 KiB: it needs a smaller one'
}

@test "a chain of a hundred certificates that leads to the right CA, and one with a hole in it" {
    he_shows long
    local flaw='the remote side shows 10[01] certificates, more than the 16 that are looked at: it should send'
    meet_the_library is_refused "$flaw"
    meet we_dial_openssl role=peer is_refused "$flaw"
    meet openssl_dials hello=wait is_refused "$flaw"
    he_shows broken
    meet_servers is_refused "the certificate of CN=long .* was not issued by a trusted CA: compare ca="
    meet_clients is_refused "the certificate of CN=long .* was not issued by a trusted CA: compare ca="
}

@test "usage=role: a certificate for the other TLS role" {
    local usage='issue it with that extended key usage, or remove usage=role here'
    OPTIONS=usage=role
    he_shows only-client
    HIS_ROLES=(role=server 'role=peer prefer=server')
    meet_the_library is_refused "$SUBJECT is not for a TLS server: $usage"
    meet_servers is_refused "$SUBJECT is not for a TLS server: $usage"
    meet_clients is_taken
    he_shows only-server
    HIS_ROLES=(role=client 'role=peer prefer=client')
    meet_the_library is_refused "$SUBJECT is not for a TLS client: $usage"
    meet_clients is_refused "$SUBJECT is not for a TLS client: $usage"
    meet_servers is_taken
}
