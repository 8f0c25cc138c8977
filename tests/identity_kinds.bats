#!/usr/bin/env bats
# Own credentials of each kind, against conventional programs at the other end: raw public keys, several pre-shared
# keys, encrypted keys, keys in a token, OCSP staples, several identities in one program.

load helpers
load tls_helpers

setup_file() {
    make_certificates "$BATS_FILE_TMPDIR/pki"
}

setup() {
    common_setup
    PKI=$BATS_FILE_TMPDIR/pki
    TRUST="ca=$PKI/ca.pem"
    OLD=$(printf '%064d' 1)
    NEW=$(printf '%064d' 2)
}

serve() { # POLICY: sets PORT; an echo server that forks for each connection
    P2PTLS_LOG=info P2PTLS_POLICY=$1 start server p2p "$PYTHON" "$ROOT/tests/programs/echo.py" "${2:-forking}"
    wait_for_log server 'port ' || return
    PORT=$(sed -n 's/^port //p' "$(log_of server)")
}

s_client() { # ARGS...: sends a line and prints what comes
    local came="grep -q 'over and back' '$BATS_TEST_TMPDIR/s_client' || ! is_running server"
    : >"$BATS_TEST_TMPDIR/s_client" # or the line of the one before would be found
    (echo 'over and back' && wait_until "$came" 5) |
        openssl s_client -tls1_3 -connect "127.0.0.1:$PORT" "$@" >"$BATS_TEST_TMPDIR/s_client" 2>&1 || true
    cat "$BATS_TEST_TMPDIR/s_client"
}

as_client() {
    s_client -cert "$PKI/client.pem" -key "$PKI/client.key" -CAfile "$PKI/ca.pem" -verify_return_error "$@"
}

refused_at_start() { # POLICY TEXT: the program's socket is refused, with that text in the log
    P2PTLS_LOG=info P2PTLS_POLICY="connect *:* $1" run p2p "$PROGRAMS/endpoint" connect:1 send:hello
    assert_output_has "$2"
}

start_gnutls_serv() { # sets PORT
    PORT=$(free_port)
    start peer gnutls-serv --echo -p "$PORT" --x509certfile "$PKI/server.pem" --x509keyfile "$PKI/server.key" \
        --priority NORMAL:-VERS-ALL:+VERS-TLS1.3:+CTYPE-CLI-RAWPK --require-client-cert
    wait_for_port "$PORT" peer
}

@test "a raw public key is shown to gnutls-cli and to gnutls-serv" {
    serve "accept *:* role=server key=$PKI/server.key $TRUST"
    run bash -c "echo 'over and back' | gnutls-cli --insecure \
        --priority NORMAL:-VERS-ALL:+VERS-TLS1.3:+CTYPE-SRV-RAWPK \
        --x509certfile '$PKI/client.pem' --x509keyfile '$PKI/client.key' -p $PORT 127.0.0.1"
    assert_output_has 'Raw Public Key'
    assert_output_has 'over and back'

    start_gnutls_serv
    endpoint_connect "connect *:* role=client key=$PKI/client.key $TRUST" "$PORT" send:hello
    assert_output_has 'peer "CN=server"'
    wait_for_log peer 'BEGIN PUBLIC KEY'
    assert_log_has peer "$(openssl pkey -in "$PKI/client.key" -pubout | sed -n 2p)"
}

@test "a raw public key is of no use to a client that wants a certificate" {
    serve "accept *:* role=server key=$PKI/server.key $TRUST"
    as_client >/dev/null
    wait_for_log server ' error: '
}

@test "kinds of credentials that do not meet are refused with a reason on both sides, also after the end of one" {
    (umask 077 && printf 'one:%s\n' "$NEW" >"$BATS_TEST_TMPDIR/keys")
    endpoint_listen acceptor "accept *:* role=server cert=$PKI/server.pem key=$PKI/server.key $TRUST" recv:5
    endpoint_connect "connect *:* role=client key=$PKI/client.key $TRUST peer=server.test connect=wait" "$PORT" recv:5
    assert_output_has 'this side has a raw public key (key= without cert=)'
    wait_for_log acceptor 'the peer has a raw public key (key= without cert=)'
    stop acceptor
    endpoint_listen acceptor "accept *:* role=server psk=$BATS_TEST_TMPDIR/keys" recv:5
    endpoint_connect "connect *:* role=client key=$PKI/client.key $TRUST" "$PORT" recv:5
    assert_output_has 'and the kind of credential: this side has a raw public key'
    wait_for_log acceptor 'the peer offers no pre-shared key'
}

@test "of several pre-shared keys each is accepted by its name, and an unknown one is refused" {
    (umask 077 && printf '%s\n' "old:$OLD" "new:$NEW" >"$BATS_TEST_TMPDIR/keys")
    serve "accept *:* role=server psk=$BATS_TEST_TMPDIR/keys"
    assert_contains "$(s_client -psk_identity old -psk "$OLD")" 'over and back'
    assert_contains "$(s_client -psk_identity new -psk "$NEW")" 'over and back'
    assert_log_has server 'psk:old'
    assert_log_has server 'psk:new'
    refute_contains "$(s_client -psk_identity older -psk "$OLD" | grep -v '^over')" 'over and back'
    wait_for_log server ' error: '
    assert_log_has server 'psk='
}

@test "psk-name= says which key is offered" {
    (umask 077 && printf '%s\n' "old:$OLD" "new:$NEW" >"$BATS_TEST_TMPDIR/keys")
    endpoint_listen acceptor "accept *:* role=server psk=$BATS_TEST_TMPDIR/keys" --count 2 recv:5
    endpoint_connect "connect *:* role=client psk=$BATS_TEST_TMPDIR/keys psk-name=new" "$PORT" send:hello
    endpoint_connect "connect *:* role=client psk=$BATS_TEST_TMPDIR/keys" "$PORT" send:hello
    finish acceptor
    assert_log_has acceptor 'psk:new'
    assert_log_has acceptor 'psk:old'
    refused_at_start "psk=$BATS_TEST_TMPDIR/keys psk-name=none" 'holds no key named none'
}

more_done() { # until so many more connections have ended: at 50 a second, more than a second later
    local before
    before=$(grep -c '^done' "$(log_of load)" || true)
    wait_until "! is_running load || [ \$(grep -c '^done' '$(log_of load)') -ge $((before + 70)) ]"
}

write_keys() { # FILE LINE...
    (umask 077 && printf '%s\n' "${@:2}" >"$BATS_TEST_TMPDIR/next" && mv "$BATS_TEST_TMPDIR/next" "$1")
}

# Each step everywhere before the next one: accept the new key, offer it, forget the old one.
@test "a pre-shared key is rotated under traffic and no connection fails" {
    local here=$BATS_TEST_TMPDIR/here there=$BATS_TEST_TMPDIR/there file
    write_keys "$here" "old:$OLD"
    write_keys "$there" "old:$OLD"
    serve "accept *:* psk=$here" threading
    P2PTLS_POLICY="connect *:* psk=$there" start load p2p "$PYTHON" "$ROOT/tests/programs/echo.py" steady "$PORT" 250 50
    more_done
    for file in "$here" "$there"; do write_keys "$file" "old:$OLD" "new:$NEW"; done
    more_done
    for file in "$here" "$there"; do write_keys "$file" "new:$NEW" "old:$OLD"; done
    more_done
    for file in "$here" "$there"; do write_keys "$file" "new:$NEW"; done
    finish load
    assert_log_has load '250 of 250'
}

@test "an encrypted key is opened by its passphrase file, and a wrong passphrase is named" {
    openssl pkcs8 -topk8 -in "$PKI/server.key" -out "$BATS_TEST_TMPDIR/key" -v2 aes-256-cbc -passout pass:sesame
    openssl ec -in "$PKI/server.key" -out "$BATS_TEST_TMPDIR/traditional" -aes256 -passout pass:sesame
    (umask 077 && echo sesame >"$BATS_TEST_TMPDIR/pass" && echo sesam >"$BATS_TEST_TMPDIR/wrong")
    chmod 600 "$BATS_TEST_TMPDIR/key" "$BATS_TEST_TMPDIR/traditional"
    local key own
    for key in key traditional; do
        own="cert=$PKI/server.pem key=$BATS_TEST_TMPDIR/$key $TRUST"
        serve "accept *:* role=server $own passphrase-file=$BATS_TEST_TMPDIR/pass"
        assert_contains "$(as_client)" 'over and back'
        stop_all
        refused_at_start "$own" 'passphrase-file='
        refused_at_start "$own passphrase-file=$BATS_TEST_TMPDIR/wrong" 'does not open the key'
    done
}

# SoftHSM keeps tokens in files.
make_token() {
    export SOFTHSM2_CONF=$BATS_TEST_TMPDIR/softhsm2.conf
    mkdir -m 700 "$BATS_TEST_TMPDIR/tokens"
    printf '%s\n' "directories.tokendir = $BATS_TEST_TMPDIR/tokens" 'log.level = ERROR' >"$SOFTHSM2_CONF"
    softhsm2-util --init-token --free --label p2ptls --so-pin 4321 --pin 1234
    GNUTLS_PIN=1234 p11tool --batch --login --write --label own --id 01 --load-privkey="$PKI/server.key" \
        'pkcs11:token=p2ptls'
    GNUTLS_PIN=1234 p11tool --batch --login --write --label own --id 01 --load-certificate="$PKI/server.pem" \
        'pkcs11:token=p2ptls'
    (umask 077 && echo 1234 >"$BATS_TEST_TMPDIR/pin" && echo 9999 >"$BATS_TEST_TMPDIR/wrong")
}

@test "a key in a token serves connections of children that were forked later" {
    local uri='"pkcs11:token=p2ptls;object=own"'
    make_token
    refused_at_start "cert=$PKI/server.pem key=$uri $TRUST" 'pin-file='
    refused_at_start "cert=$PKI/server.pem key=$uri $TRUST pin-file=$BATS_TEST_TMPDIR/wrong" 'does not take the PIN'
    serve "accept *:* role=server cert=$uri key=$uri $TRUST pin-file=$BATS_TEST_TMPDIR/pin"
    for _ in 1 2 3; do
        assert_contains "$(as_client)" 'over and back'
    done
}

@test "the OCSP staple reaches openssl s_client" {
    : >"$BATS_TEST_TMPDIR/index"
    openssl ocsp -issuer "$PKI/ca.pem" -cert "$PKI/server.pem" -no_nonce -reqout "$BATS_TEST_TMPDIR/request"
    openssl ocsp -index "$BATS_TEST_TMPDIR/index" -CA "$PKI/ca.pem" -rsigner "$PKI/ca.pem" -rkey "$PKI/ca.key" \
        -reqin "$BATS_TEST_TMPDIR/request" -ndays 5 -respout "$BATS_TEST_TMPDIR/staple"
    serve "accept *:* role=server cert=$PKI/server.pem key=$PKI/server.key ocsp-staple=$BATS_TEST_TMPDIR/staple $TRUST"
    assert_contains "$(as_client -status)" 'OCSP Response Status: successful'
    stop server

    # Who does not ask for one is not given one, and nothing breaks.
    start_fed s_server stdbuf -oL openssl s_server -tls1_3 -accept 127.0.0.1:0 -rev -cert "$PKI/client.pem" \
        -key "$PKI/client.key" -CAfile "$PKI/ca.pem" -Verify 1 -verify_return_error
    wait_for_log s_server 'ACCEPT 127.0.0.1:'
    port_is_told s_server '^ACCEPT 127\.0\.0\.1:([0-9]+)$'
    endpoint_connect "connect *:* role=client cert=$PKI/server.pem key=$PKI/server.key $TRUST \
        ocsp-staple=$BATS_TEST_TMPDIR/staple" "$PORT" send:$'hello\n' recv:6
    assert_output_has 'got "olleh."'
    refused_at_start "cert=$PKI/client.pem key=$PKI/client.key ocsp-staple=$BATS_TEST_TMPDIR/staple $TRUST" \
        'about the first certificate'
}

@test "one program shows different identities by different rules" {
    local identities="identity one cert=$PKI/server.pem key=$PKI/server.key
        identity two cert=$PKI/client.pem key=$PKI/client.key"
    endpoint_listen first "accept *:* role=server cert=$PKI/server.pem key=$PKI/server.key $TRUST" recv:5
    local one=$PORT
    endpoint_listen second "accept *:* role=server cert=$PKI/server.pem key=$PKI/server.key $TRUST" recv:5
    P2PTLS_POLICY="$identities
        connect *:$one id=one $TRUST
        connect *:$PORT id=two $TRUST" p2p "$PYTHON" -c '
import socket, sys
for port in sys.argv[1:]:
    socket.create_connection(("127.0.0.1", port)).sendall(b"hello")
' "$one" "$PORT"
    finish first
    finish second
    assert_log_has first 'CN=server'
    assert_log_has second 'CN=client'
}

@test "a program forks in one thread while others sign with a token, whose module uses stdio" {
    local uri='"pkcs11:token=p2ptls;object=own"'
    make_token
    P2PTLS_POLICY="any *:* cert=$uri key=$uri $TRUST pin-file=$BATS_TEST_TMPDIR/pin" P2PTLS_LOG=error \
        run p2p "$PROGRAMS/fork_handshakes" 300
    assert_output_has 'done'
}
