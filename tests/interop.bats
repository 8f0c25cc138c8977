#!/usr/bin/env bats
# Conventional TLS 1.3 programs on one end, the library under an unmodified program on the other, roles fixed.

load helpers
load tls_helpers

setup_file() {
    make_certificates "$BATS_FILE_TMPDIR/pki"
}

setup() {
    common_setup
    PKI=$BATS_FILE_TMPDIR/pki
    OURS_AS_CLIENT="cert=$PKI/client.pem key=$PKI/client.key ca=$PKI/ca.pem"
    OURS_AS_SERVER="cert=$PKI/server.pem key=$PKI/server.key ca=$PKI/ca.pem"
    TLS13=NORMAL:-VERS-ALL:+VERS-TLS1.3
}

# s_server that demands and verifies a client certificate, and sends several tickets.
start_s_server() { # ARGS...: sets PORT
    start_fed s_server stdbuf -oL openssl s_server -tls1_3 -accept 127.0.0.1:0 \
        -cert "$PKI/server.pem" -key "$PKI/server.key" -CAfile "$PKI/ca.pem" -Verify 1 -verify_return_error \
        -num_tickets 4 "$@"
    wait_for_log s_server 'ACCEPT 127.0.0.1:' || return
    port_is_told s_server '^ACCEPT 127\.0\.0\.1:([0-9]+)$'
}

# (It listens on all addresses: it has no option for one.)
start_gnutls_serv() { # ARGS...: sets PORT
    PORT=$(free_port)
    start gnutls_serv gnutls-serv --echo -p "$PORT" --x509certfile "$PKI/server.pem" --x509keyfile "$PKI/server.key" \
        --x509cafile "$PKI/ca.pem" --require-client-cert --verify-client-cert --priority "$TLS13" "$@"
    wait_for_port "$PORT" gnutls_serv
}

start_s_client() { # ARGS...
    start_fed s_client openssl s_client -tls1_3 -connect "127.0.0.1:$PORT" -cert "$PKI/client.pem" \
        -key "$PKI/client.key" -CAfile "$PKI/ca.pem" -verify_return_error -verify_hostname server.test "$@"
}

start_gnutls_cli() { # ARGS...
    start_fed gnutls_cli gnutls-cli -p "$PORT" 127.0.0.1 --x509certfile "$PKI/client.pem" \
        --x509keyfile "$PKI/client.key" --x509cafile "$PKI/ca.pem" --verify-hostname server.test --priority "$TLS13" \
        "$@"
}

# ---- this side connects ----------------------------------------------------------------------------------------------

@test "a protected client and openssl s_server, certificates both ways, several tickets" {
    local role
    start_s_server -rev
    for role in client peer; do
        endpoint_connect "connect *:* role=$role $OURS_AS_CLIENT peer=server.test" "$PORT" \
            send:$'first\n' recv:6 send:$'second\n' recv:7
        assert_output_has '0 got "tsrif." got "dnoces."'
        assert_output_has "as client, TLS_AES_128_GCM_SHA256, peer \"CN=server\""
    done
    assert_log_has s_server 'CN = client'
}

@test "a protected client and gnutls-serv, certificates both ways, tickets" {
    local role
    start_gnutls_serv
    for role in client peer; do
        endpoint_connect "connect *:* role=$role $OURS_AS_CLIENT peer=server.test" "$PORT" \
            send:$'first\n' recv:6 send:$'second\n' recv:7 fin all
        assert_output_has '0 got "first." got "second." eof'
        assert_output_has "as client, TLS_AES_128_GCM_SHA256, peer \"CN=server\""
    done
}

@test "a protected client and s_server with an RSA certificate, this side with Ed25519" {
    start_s_server -rev -cert "$PKI/server-rsa.pem" -key "$PKI/server-rsa.key"
    endpoint_connect "connect *:* role=client cert=$PKI/client-ed25519.pem key=$PKI/client-ed25519.key ca=$PKI/ca.pem" \
        "$PORT" send:$'hello\n' recv:6
    assert_output_has '0 got "olleh."'
    assert_output_has 'peer "CN=server-rsa"'
}

@test "each cipher, with s_server, s_client, gnutls-serv and gnutls-cli" {
    local cipher suite name
    while read -r cipher suite name; do
        start_s_server -rev -ciphersuites "$suite"
        endpoint_connect "connect *:* role=client $OURS_AS_CLIENT" "$PORT" send:$'hello\n' recv:6
        assert_output_has '0 got "olleh."'
        assert_output_has "as client, $suite,"
        stop s_server
        start_gnutls_serv --priority "$TLS13:-CIPHER-ALL:+$name"
        endpoint_connect "connect *:* role=client $OURS_AS_CLIENT" "$PORT" send:$'hello\n' recv:6
        assert_output_has '0 got "hello."'
        assert_output_has "as client, $suite,"
        stop gnutls_serv

        endpoint_listen ours "accept *:* role=server ciphers=$cipher $OURS_AS_SERVER" recv:6 send:world all
        start_s_client -quiet
        wait_for_log s_client 'verify return:1'
        feed s_client hello
        wait_for_log s_client world
        stop s_client
        finish ours
        assert_log_has ours "as server, $suite, peer \"CN=client\""
        endpoint_listen ours "accept *:* role=server ciphers=$cipher $OURS_AS_SERVER" recv:6 send:world all
        start_gnutls_cli
        wait_for_log gnutls_cli 'Simple Client Mode'
        feed gnutls_cli hello
        wait_for_log gnutls_cli world
        stop gnutls_cli
        finish ours
        assert_log_has ours "as server, $suite, peer \"CN=client\""
    done <<EOT
aes-128-gcm TLS_AES_128_GCM_SHA256 AES-128-GCM
aes-256-gcm TLS_AES_256_GCM_SHA384 AES-256-GCM
chacha20-poly1305 TLS_CHACHA20_POLY1305_SHA256 CHACHA20-POLY1305
EOT
}

@test "pre-shared keys with s_server, s_client, gnutls-serv and gnutls-cli" {
    local key=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
    local priority="$TLS13:-KX-ALL:+ECDHE-PSK"
    (umask 077 && echo "shared:$key" >"$BATS_TEST_TMPDIR/psk")

    start_fed s_server openssl s_server -tls1_3 -accept 127.0.0.1:0 -nocert -psk_identity shared -psk $key -rev
    wait_for_log s_server 'ACCEPT 127.0.0.1:'
    port_is_told s_server '^ACCEPT 127\.0\.0\.1:([0-9]+)$'
    endpoint_connect "connect *:* role=client psk=$BATS_TEST_TMPDIR/psk" "$PORT" send:$'hello\n' recv:6
    assert_output_has '0 got "olleh."'
    assert_output_has 'peer "psk:shared"'
    PORT=$(free_port)
    start gnutls_serv gnutls-serv --echo -p "$PORT" --pskpasswd "$BATS_TEST_TMPDIR/psk" --priority "$priority"
    wait_for_port "$PORT" gnutls_serv
    endpoint_connect "connect *:* role=client psk=$BATS_TEST_TMPDIR/psk" "$PORT" send:$'hello\n' recv:6
    assert_output_has '0 got "hello."'

    endpoint_listen ours "accept *:* role=server psk=$BATS_TEST_TMPDIR/psk" --count 2 recv:6 send:world all
    start_fed s_client openssl s_client -tls1_3 -connect "127.0.0.1:$PORT" -psk_identity shared -psk $key
    wait_for_log s_client 'SSL handshake has read'
    feed s_client hello
    wait_for_log s_client world
    feed s_client Q
    finish s_client
    start_fed gnutls_cli gnutls-cli -p "$PORT" 127.0.0.1 --pskusername shared --pskkey $key --priority "$priority"
    wait_for_log gnutls_cli 'Simple Client Mode'
    feed gnutls_cli hello
    wait_for_log gnutls_cli world
    stop gnutls_cli
    finish ours
    assert_log_has ours '0 got "hello."'
    assert_log_has ours '1 got "hello."'
    assert_log_has ours 'as server, TLS_AES_128_GCM_SHA256, peer "psk:shared"'
}

# Commands and lines in one read would be one command: so each waits for the effect of the one before.
@test "KeyUpdate by s_server, asked for and not, and by this side after each ten records" {
    local i updates=0 words=''
    start_s_server
    P2PTLS_LOG=info P2PTLS_POLICY="connect *:* role=client rekey-after=10 $OURS_AS_CLIENT" \
        start ours p2p "$PROGRAMS/endpoint" "connect:$PORT" send:$'hello\n' echo
    wait_for_log s_server hello
    for i in {1..25}; do
        if [ $((i % 3)) -ne 0 ]; then
            updates=$((updates + 1))
            feed s_server "$([ $((i % 3)) -eq 1 ] && echo K || echo k)"
            wait_until "[ \$(grep -c '^SSL_do_handshake -> 1' '$(log_of s_server)') -eq $updates ]"
        fi
        feed s_server "word-$i"
        words+="word-$i"
        wait_for_log s_server "word-$i"
    done
    assert_equal "$updates" 17
    assert_equal "$(grep '^word' "$(log_of s_server)" | tr -d '\n')" "$words"
    feed s_server Q # which sends no close_notify
    finish ours
    assert_matches "$(cat "$(log_of ours)")" '0 echoed [0-9]+ recv ECONNRESET'
}

@test "KeyUpdate by s_client, asked for and not, and by this side after each ten records" {
    local i updates=0
    endpoint_listen ours "accept *:* role=server rekey-after=10 $OURS_AS_SERVER" echo
    start_s_client
    wait_for_log s_client 'Verify return code: 0 (ok)'
    for i in {1..25}; do
        if [ $((i % 3)) -ne 0 ]; then
            updates=$((updates + 1))
            feed s_client "$([ $((i % 3)) -eq 1 ] && echo K || echo k)"
            wait_until "[ \$(grep -c '^KEYUPDATE' '$(log_of s_client)') -eq $updates ]"
        fi
        feed s_client "word-$i"
        wait_for_log s_client "word-$i"
    done
    assert_equal "$updates" 17
    feed s_client Q
    finish ours
    assert_matches "$(cat "$(log_of ours)")" '0 echoed [0-9]+ eof'
}

# GnuTLS takes eight updates a second.
@test "KeyUpdate of this side after each five records, against gnutls-serv and gnutls-cli" {
    local i steps=()
    for i in {10..39}; do
        steps+=(send:"line-$i"$'\n' recv:8)
    done
    start_gnutls_serv
    endpoint_connect "connect *:* role=client rekey-after=5 $OURS_AS_CLIENT" "$PORT" "${steps[@]}"
    assert_output_has 'got "line-10." got "line-11."'
    assert_output_has 'got "line-38." got "line-39."'
    endpoint_listen ours "accept *:* role=server rekey-after=5 $OURS_AS_SERVER" "${steps[@]}"
    start_gnutls_cli
    for i in {10..39}; do
        wait_for_log gnutls_cli "line-$i"
        feed gnutls_cli "back-$i"
    done
    finish ours
    assert_log_has ours 'got "back-38." got "back-39."'
}

@test "gnutls-serv and gnutls-cli that take small records alone (record_size_limit, RFC 8449) get no larger ones" {
    local text size
    text=$(printf 'many%.0s' {1..1000})
    for size in 512 2000; do
        start_gnutls_serv --recordsize "$size"
        endpoint_connect "connect *:* role=client $OURS_AS_CLIENT" "$PORT" "send:$text"$'\n' recv:100
        assert_output_has "got \"${text:0:100}\""
        stop gnutls_serv
        endpoint_listen ours "accept *:* role=server $OURS_AS_SERVER" recv:6 "send:$text"$'\n' all
        start_gnutls_cli --recordsize "$size"
        wait_for_log gnutls_cli 'Simple Client Mode'
        feed gnutls_cli hello
        wait_for_log gnutls_cli "$text"
        stop gnutls_cli
        finish ours
    done
}

# ---- this side accepts -----------------------------------------------------------------------------------------------

@test "s_client and a protected server, certificates both ways" {
    endpoint_listen ours "accept *:* role=server peer=client.test $OURS_AS_SERVER" recv:6 send:world all
    start_s_client
    wait_for_log s_client 'Verify return code: 0 (ok)'
    feed s_client hello
    wait_for_log s_client world
    feed s_client Q
    finish ours
    assert_log_has ours '0 got "hello." eof'
    assert_log_has ours 'as server, TLS_AES_128_GCM_SHA256, peer "CN=client"'
}

@test "gnutls-cli and a protected server, certificates both ways" {
    endpoint_listen ours "accept *:* role=server peer=client.test $OURS_AS_SERVER" recv:6 send:world all
    start_gnutls_cli
    wait_for_log gnutls_cli 'Simple Client Mode'
    feed gnutls_cli hello
    wait_for_log gnutls_cli world
    stop gnutls_cli
    finish ours
    assert_log_has gnutls_cli 'Status: The certificate is trusted'
    assert_log_has ours '0 got "hello."'
    assert_log_has ours 'as server, TLS_AES_128_GCM_SHA256, peer "CN=client"'
}

@test "a peer that is told to wait takes conventional clients too" {
    endpoint_listen ours "accept *:* hello=wait $OURS_AS_SERVER" recv:6 send:world all
    start_s_client
    wait_for_log s_client 'Verify return code: 0 (ok)'
    feed s_client hello
    wait_for_log s_client world
    feed s_client Q
    finish ours
    assert_log_has ours '0 got "hello." eof'
}

@test "a peer that does not wait refuses a conventional client, and says what to set" {
    endpoint_listen ours "accept *:* $OURS_AS_SERVER" all
    start_s_client
    finish ours
    assert_log_has ours '0 recv EPROTO'
    assert_log_has ours 'set role=server here'
}

@test "half-close: what this side has still to say arrives after the other's close_notify" {
    endpoint_listen ours "accept *:* role=server $OURS_AS_SERVER" all fill:300000
    run "$PYTHON" "$ROOT/tests/programs/half_close.py" "$PORT" hello "$PKI/client.pem" "$PKI/client.key" "$PKI/ca.pem"
    assert_output 'received 300000, then close_notify'
    assert_status 0
    finish ours
    assert_log_has ours '0 got "hello" eof'
}

# ---- refused identities ----------------------------------------------------------------------------------------------

@test "this side refuses a server of a strange CA, of another name, and an expired one" {
    local certificate options reason
    while IFS='|' read -r certificate options reason; do
        start_s_server -rev -cert "$PKI/$certificate.pem" -key "$PKI/$certificate.key"
        endpoint_connect "connect *:* role=client $OURS_AS_CLIENT $options" "$PORT" send:secret recv:6
        assert_matches "$output" '0 (send|recv) EKEYREJECTED'
        assert_output_has "connection to 127.0.0.1:$PORT refused: the certificate of CN=$certificate"
        assert_output_has "$reason"
        refute_contains "$(cat "$(log_of s_server)")" terces
        stop s_server
    done <<'EOT'
stranger||was not issued by a trusted CA
server|peer=other.test|does not carry the name other.test
expired||has expired
EOT
}

@test "this side refuses a client of a strange CA, of another name, an expired one, and one without a certificate" {
    local certificate options reason
    while IFS='|' read -r certificate options reason; do
        endpoint_listen ours "accept *:* role=server $OURS_AS_SERVER $options" send:secret recv:6
        start_s_client -cert "$PKI/$certificate.pem" -key "$PKI/$certificate.key"
        finish ours
        assert_log_has ours 'EKEYREJECTED'
        assert_log_has ours "refused: the certificate of CN=$certificate"
        assert_log_has ours "$reason"
        finish s_client || :
        refute_contains "$(cat "$(log_of s_client)")" secret
    done <<'EOT'
stranger||was not issued by a trusted CA
client|peer=other.test|does not carry the name other.test
expired||has expired
EOT
    endpoint_listen ours "accept *:* role=server $OURS_AS_SERVER" send:secret recv:6
    start_fed s_client openssl s_client -tls1_3 -connect "127.0.0.1:$PORT" -CAfile "$PKI/ca.pem"
    finish ours
    assert_log_has ours 'EKEYREJECTED'
    assert_log_has ours 'no certificate'
    finish s_client || :
    assert_log_has s_client 'certificate required'
    refute_contains "$(cat "$(log_of s_client)")" secret
}

@test "this side is told that it was refused, as client and as server" {
    start_s_server -rev
    endpoint_connect "connect *:* role=client cert=$PKI/stranger.pem key=$PKI/stranger.key ca=$PKI/ca.pem" "$PORT" \
        send:$'hello\n' recv:6
    assert_output_has '0 recv EKEYREJECTED'
    endpoint_listen ours "accept *:* role=server cert=$PKI/stranger.pem key=$PKI/stranger.key ca=$PKI/ca.pem" recv:6
    start_s_client
    finish ours
    assert_log_has ours '0 recv EKEYREJECTED'
    assert_log_has ours 'compare cert= here with ca= there'
}

@test "auth=insecure-none takes clients without a certificate, and servers of anybody" {
    endpoint_listen ours "accept *:* role=server cert=$PKI/server.pem key=$PKI/server.key auth=insecure-none" \
        recv:6 send:world all
    start_fed s_client openssl s_client -tls1_3 -connect "127.0.0.1:$PORT" -CAfile "$PKI/ca.pem"
    wait_for_log s_client 'Verify return code: 0 (ok)'
    feed s_client hello
    wait_for_log s_client world
    feed s_client Q
    finish ours
    assert_log_has ours '0 got "hello." eof'
    assert_log_has ours 'peer "(unauthenticated)"'
    start_s_server -rev -cert "$PKI/stranger.pem" -key "$PKI/stranger.key"
    endpoint_connect "connect *:* role=client cert=$PKI/client.pem key=$PKI/client.key auth=insecure-none" "$PORT" \
        send:$'hello\n' recv:6
    assert_output_has '0 got "olleh."'
}

@test "TLS 1.2 is refused by either side" {
    endpoint_listen ours "accept *:* role=server $OURS_AS_SERVER" recv:6
    start_fed s_client openssl s_client -tls1_2 -connect "127.0.0.1:$PORT"
    finish ours
    assert_log_has ours '0 recv EPROTO'
    PORT=$(free_port)
    start gnutls_serv gnutls-serv --echo -p "$PORT" --x509certfile "$PKI/server.pem" --x509keyfile "$PKI/server.key" \
        --priority NORMAL:-VERS-ALL:+VERS-TLS1.2
    wait_for_port "$PORT" gnutls_serv
    endpoint_connect "connect *:* role=client $OURS_AS_CLIENT" "$PORT" send:secret recv:6
    assert_matches "$output" '0 (send|recv) EPROTO'
}

# ---- how it ends -----------------------------------------------------------------------------------------------------

@test "a conventional peer that dies without close_notify is a reset, not an end" {
    start_s_server
    P2PTLS_POLICY="connect *:* role=client $OURS_AS_CLIENT" \
        start ours p2p "$PROGRAMS/endpoint" "connect:$PORT" send:$'hello\n' recv:6 all
    wait_for_log s_server hello
    feed s_server world
    stop s_server KILL
    finish ours
    assert_log_has ours '0 got "world." recv ECONNRESET'
}

# ---- real programs ---------------------------------------------------------------------------------------------------

@test "curl by https from a protected python web server, with and without a client certificate" {
    local options
    mkdir "$BATS_TEST_TMPDIR/www"
    head -c 3000000 /dev/urandom >"$BATS_TEST_TMPDIR/www/file"
    for options in "auth=insecure-none" "ca=$PKI/ca.pem peer=client.test"; do
        P2PTLS_POLICY="accept *:* role=server cert=$PKI/server.pem key=$PKI/server.key $options" start web p2p \
            "$PYTHON" -u -m http.server 0 --bind 127.0.0.1 --directory "$BATS_TEST_TMPDIR/www"
        wait_for_log web 'Serving HTTP on 127.0.0.1'
        port_is_told web '^Serving HTTP on 127\.0\.0\.1 port ([0-9]+).*'
        local arguments=(-sS --tlsv1.3 --cacert "$PKI/ca.pem" -o "$BATS_TEST_TMPDIR/got" "https://127.0.0.1:$PORT/file")
        [ "$options" = auth=insecure-none ] || arguments+=(--cert "$PKI/client.pem" --key "$PKI/client.key")
        curl "${arguments[@]}"
        assert_same_file "$BATS_TEST_TMPDIR/got" "$BATS_TEST_TMPDIR/www/file"
        rm "$BATS_TEST_TMPDIR/got"
        stop web
    done
}

@test "a protected curl by http from s_server" {
    start_s_server -www -Verify 0
    P2PTLS_POLICY="connect *:* role=client $OURS_AS_CLIENT peer=server.test" run p2p curl -sS "http://127.0.0.1:$PORT/"
    assert_status 0
    assert_output_has 'TLS_AES_128_GCM_SHA256'
}

@test "a protected curl by http from nginx with TLS 1.3 and client certificates" {
    PORT=$(free_port)
    mkdir "$BATS_TEST_TMPDIR/www"
    head -c 3000000 /dev/urandom >"$BATS_TEST_TMPDIR/www/file"
    cat >"$BATS_TEST_TMPDIR/nginx.conf" <<EOT
daemon off;
pid $BATS_TEST_TMPDIR/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    server {
        listen 127.0.0.1:$PORT ssl;
        ssl_protocols TLSv1.3;
        ssl_certificate $PKI/server.pem;
        ssl_certificate_key $PKI/server.key;
        ssl_client_certificate $PKI/ca.pem;
        ssl_verify_client on;
        root $BATS_TEST_TMPDIR/www;
    }
}
EOT
    chmod a+rx "$BATS_RUN_TMPDIR" "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR/www"
    start nginx nginx -c "$BATS_TEST_TMPDIR/nginx.conf" -g 'user root;'
    wait_for_port "$PORT" nginx
    P2PTLS_POLICY="connect *:* role=client $OURS_AS_CLIENT peer=server.test" run p2p curl -sS \
        -o "$BATS_TEST_TMPDIR/got" "http://127.0.0.1:$PORT/file"
    assert_status 0
    assert_same_file "$BATS_TEST_TMPDIR/got" "$BATS_TEST_TMPDIR/www/file"
}
