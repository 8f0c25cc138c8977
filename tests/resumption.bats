#!/usr/bin/env bats
# Session resumption: who comes again to a service makes a cheaper handshake, and is proven to be who it was.

load helpers
load tls_helpers
load real_helpers

setup_file() {
    make_certificates "$BATS_FILE_TMPDIR/pki"
}

setup() {
    common_setup
    PKI=$BATS_FILE_TMPDIR/pki
    OURS_AS_CLIENT="cert=$PKI/client.pem key=$PKI/client.key ca=$PKI/ca.pem"
    OURS_AS_SERVER="cert=$PKI/server.pem key=$PKI/server.key ca=$PKI/ca.pem"
}

serve() { # KIND of echo.py, OPTIONS of the rule: sets PORT
    P2PTLS_LOG=info P2PTLS_POLICY="accept *:* ${2-role=server $OURS_AS_SERVER}" \
        start server p2p "$PYTHON" "$ROOT/tests/programs/echo.py" "$1"
    wait_for_log server 'port ' || return
    PORT=$(sed -n 's/^port //p' "$(log_of server)")
}

# Sets output to a word for each connection.
dial() { # OPTIONS STEP...
    P2PTLS_LOG=info:$BATS_TEST_TMPDIR/client.p2ptls P2PTLS_POLICY="connect *:* $1" \
        run p2p "$PYTHON" "$ROOT/tests/programs/resuming.py" "$PORT" "${@:2}"
    assert_status 0 || return
    output=${output//$'\n'/ }
}

count_in() { # FILE PATTERN
    grep -c -- "$2" "$1" || true
}

# ---- between two of ours ---------------------------------------------------------------------------------------------

@test "who comes again is resumed, and both ends report the same peer" {
    serve threading
    dial "$OURS_AS_CLIENT" dial dial dial dial
    assert_output 'full resumed resumed resumed'
    assert_equal "$(count_in "$BATS_TEST_TMPDIR/client.p2ptls" ' as client, .* peer "CN=server", resumed category=')" 3
    assert_equal "$(count_in "$BATS_TEST_TMPDIR/client.p2ptls" ' as client, .* peer "CN=server" category=')" 1
    wait_until "[ \$(grep -c 'peer \"CN=client\", resumed' '$(log_of server)') -eq 3 ]"
    assert_equal "$(count_in "$(log_of server)" 'peer "CN=client" category=')" 1
}

@test "without any configuration, and with roles that chance decides, most are resumed" {
    serve threading ''
    local steps=()
    while [ ${#steps[@]} -lt 40 ]; do
        steps+=(dial)
    done
    dial '' "${steps[@]}"
    # The first ticket takes a connection in which the accepting side happened to be server: one in two.
    assert_at_least "$(grep -o resumed <<<"$output" | wc -l)" 20 'resumed of 40'
    refute_contains "$(cat "$BATS_TEST_TMPDIR/client.p2ptls")" ' error: '
}

@test "resume=off, revalidate=always or psk= on either side: every handshake is a full one" {
    local off
    for off in resume=off revalidate=always; do
        serve threading "role=server $OURS_AS_SERVER $off"
        dial "$OURS_AS_CLIENT" dial dial dial
        assert_output 'full full full' || fail "$off of the server"
        stop server
        serve threading
        dial "$OURS_AS_CLIENT $off" dial dial dial
        assert_output 'full full full' || fail "$off of the client"
        stop server
    done
    (umask 077 && printf 'one:%s\n' "$(openssl rand -hex 32)" >"$BATS_TEST_TMPDIR/psk")
    serve threading "role=server psk=$BATS_TEST_TMPDIR/psk"
    dial "psk=$BATS_TEST_TMPDIR/psk" dial dial dial
    assert_output 'full full full'
}

@test "another rule, another name, another program: a full handshake" {
    serve threading
    dial "$OURS_AS_CLIENT" dial
    assert_output full
    dial "$OURS_AS_CLIENT" dial dial # another process
    assert_output 'full resumed'
    assert_equal "$(count_in "$(log_of server)" 'resumed category=')" 1
}

@test "a forked child has no tickets, its parent keeps its own" {
    serve threading
    dial "$OURS_AS_CLIENT" dial in-child dial dial
    assert_output 'full full resumed resumed'
}

@test "workers that were forked before resume, a process for each connection does not, and both serve" {
    serve prefork
    dial "$OURS_AS_CLIENT" dial dial dial
    assert_output 'full resumed resumed'
    stop server
    serve forking
    dial "$OURS_AS_CLIENT" dial dial dial dial dial dial
    assert_output 'full full full full full full'
    refute_contains "$(cat "$(log_of server)" "$BATS_TEST_TMPDIR/client.p2ptls")" ' error: '
}

# ---- what changes in between -----------------------------------------------------------------------------------------

# A copy of the server's side, with a list of its own of who is revoked. The files are looked at once a second.
serve_with_list() {
    local dir=$BATS_TEST_TMPDIR/trust
    mkdir -p "$dir"
    cp "$PKI/ca.pem" "$dir/ca.pem"
    revoke "$dir" || return
    serve threading "role=server cert=$PKI/server.pem key=$PKI/server.key ca=$dir/ca.pem crl=$dir/ca.crl"
}

revoke() { # DIR [CERTIFICATE...]
    local dir=$1 load=()
    shift
    printf '%s\n' 'crl_next_update = 10' >"$dir/crl.template"
    if [ $# -gt 0 ]; then
        cat "$@" >"$dir/revoked.pem"
        load=(--load-certificate "$dir/revoked.pem")
    fi
    certtool --generate-crl --load-ca-certificate "$PKI/ca.pem" --load-ca-privkey "$PKI/ca.key" \
        --template "$dir/crl.template" "${load[@]}" --outfile "$dir/next" 2>"$dir/log" ||
        fail "$(cat "$dir/log")" || return
    mv "$dir/next" "$dir/ca.crl"
}

start_client() { # STEP...
    P2PTLS_POLICY="connect *:* $OURS_AS_CLIENT" start client p2p "$PYTHON" "$ROOT/tests/programs/resuming.py" "$PORT" \
        "$@"
}

assert_client() { # WORDS
    finish client
    assert_equal "$(grep -v p2ptls "$(log_of client)" | tr '\n' ' ')" "$1 "
}

@test "a client that is revoked in between is refused" {
    serve_with_list
    start_client dial dial await="$BATS_TEST_TMPDIR/go" until=EKEYREJECTED
    wait_for_log client resumed
    revoke "$BATS_TEST_TMPDIR/trust" "$PKI/client.pem"
    touch "$BATS_TEST_TMPDIR/go"
    assert_client 'full resumed EKEYREJECTED'
    assert_log_has server 'revoked'
}

@test "when the server has read an authority again, the old tickets are worth nothing, and new ones are" {
    serve_with_list
    start_client dial dial await="$BATS_TEST_TMPDIR/go" until=full dial
    wait_for_log client resumed
    cp "$PKI/ca.pem" "$BATS_TEST_TMPDIR/trust/next"
    mv "$BATS_TEST_TMPDIR/trust/next" "$BATS_TEST_TMPDIR/trust/ca.pem"
    touch "$BATS_TEST_TMPDIR/go"
    assert_client 'full resumed full resumed'
}

# ---- when tickets travel ---------------------------------------------------------------------------------------------

# A wire between the two, recorded. Sets SENT to the lengths of the server's records.
through_relay() { # STEP of resuming.py
    local port=$PORT
    start relay "$PROGRAMS/record_relay" --to "$PORT" --record "$BATS_TEST_TMPDIR/dump"
    wait_for_log relay 'port ' || return
    PORT=$(sed -n 's/^port //p' "$(log_of relay)")
    dial "$OURS_AS_CLIENT" "$1" || return
    finish relay || return
    PORT=$port
    SENT=$("$PYTHON" -c '
import sys
data, at = sys.stdin.buffer.read(), 0
while at < len(data):
    n = int.from_bytes(data[at + 3:at + 5], "big")
    print(n, end=" ")
    at += 5 + n' <"$BATS_TEST_TMPDIR/dump.s")
}

@test "a ticket goes out in front of data, and a server that says nothing sends none" {
    serve threading
    through_relay dial
    assert_output full
    # ... Finished (36 + 17), ticket, six bytes of data (23), close_notify (19)
    assert_matches "$SENT" ' 53 [0-9]{3,4} 23 19 $'
    through_relay silent
    assert_output ended
    assert_matches "$SENT" ' 53 19 $'
}

@test "it goes in one system call with the data" {
    require strace
    P2PTLS_POLICY="accept *:* role=server $OURS_AS_SERVER" start server p2p strace -f -e trace=sendto,sendmsg,write \
        -o "$BATS_TEST_TMPDIR/calls" "$PYTHON" "$ROOT/tests/programs/echo.py" threading
    wait_for_log server 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of server)")
    dial "$OURS_AS_CLIENT" dial
    assert_output full
    wait_until "grep -q ' = 24\$' '$BATS_TEST_TMPDIR/calls'" # close_notify
    # One call of the six bytes' record and a ticket of some hundred bytes before it; none of 28 bytes.
    assert_equal 1 \
        "$(grep -cE 'send(to|msg)\(.*"\\27\\3\\3.* = ([5-9][0-9]{2}|[1-9][0-9]{3})$' "$BATS_TEST_TMPDIR/calls")"
    assert_equal "$(count_in "$BATS_TEST_TMPDIR/calls" ' = 28$')" 0
}

# ---- conventional peers ----------------------------------------------------------------------------------------------

@test "openssl s_server and gnutls-serv resume a protected client" {
    start_fed s_server stdbuf -oL openssl s_server -tls1_3 -accept 127.0.0.1:0 -www \
        -cert "$PKI/server.pem" -key "$PKI/server.key" -CAfile "$PKI/ca.pem" -Verify 1 -verify_return_error
    wait_for_log s_server 'ACCEPT 127.0.0.1:'
    port_is_told s_server '^ACCEPT 127\.0\.0\.1:([0-9]+)$'
    P2PTLS_LOG=info P2PTLS_POLICY="connect *:* remote-role=server $OURS_AS_CLIENT peer=server.test" \
        run p2p "$PYTHON" -c "
import socket
for i in range(3):
    with socket.create_connection(('127.0.0.1', $PORT)) as s:
        s.sendall(b'GET / HTTP/1.0\r\n\r\n')
        page = b''.join(iter(lambda: s.recv(65536), b''))
        print(*[line for line in page.decode().splitlines() if 'TLSv1.3, Cipher' in line], flush=True)"
    assert_status 0
    assert_equal "$(grep -c '^New, TLSv1.3' <<<"$output")" 1 "$output"
    assert_equal "$(grep -c '^Reused, TLSv1.3' <<<"$output")" 2 "$output"
    assert_equal "$(grep -c 'peer "CN=server", resumed' <<<"$output")" 2

    PORT=$(free_port)
    start gnutls_serv gnutls-serv --echo -p "$PORT" --x509certfile "$PKI/server.pem" --x509keyfile "$PKI/server.key" \
        --x509cafile "$PKI/ca.pem" --require-client-cert --verify-client-cert --priority NORMAL:-VERS-ALL:+VERS-TLS1.3
    wait_for_port "$PORT" gnutls_serv
    dial "remote-role=server $OURS_AS_CLIENT peer=server.test" dial dial dial
    assert_output 'full resumed resumed'
}

@test "openssl s_client is resumed by a protected server, and stays who it is" {
    local session=$BATS_TEST_TMPDIR/session
    endpoint_listen ours "accept *:* role=server $OURS_AS_SERVER" --count 2 recv:5 send:world all
    start_fed s_client openssl s_client -tls1_3 -connect "127.0.0.1:$PORT" -cert "$PKI/client.pem" \
        -key "$PKI/client.key" -CAfile "$PKI/ca.pem" -sess_out "$session"
    wait_for_log s_client 'Verify return code: 0 (ok)'
    feed s_client hello
    wait_for_log s_client world
    feed s_client Q
    finish s_client
    start_fed again openssl s_client -tls1_3 -connect "127.0.0.1:$PORT" -CAfile "$PKI/ca.pem" -sess_in "$session"
    wait_for_log again 'Reused, TLSv1.3'
    feed again hello
    wait_for_log again world
    feed again Q
    finish again
    finish ours
    assert_log_has ours 'as server, TLS_AES_128_GCM_SHA256, peer "CN=client", resumed'
}

# ---- well-known programs ---------------------------------------------------------------------------------------------

@test "redis-benchmark with a connection for each request: all are answered, most are resumed" {
    require redis-server redis-benchmark
    local port
    port=$(free_port)
    P2PTLS_LOG=info:$BATS_TEST_TMPDIR/server.p2ptls P2PTLS_POLICY="accept *:* role=server $OURS_AS_SERVER" \
        start redis p2p redis-server --bind 127.0.0.1 --port "$port" --save '' --dir "$BATS_TEST_TMPDIR"
    wait_for_port "$port" redis
    P2PTLS_POLICY="connect *:* $OURS_AS_CLIENT" run p2p redis-benchmark -p "$port" -k 0 -c 4 -n 200 -t ping_mbulk --csv
    assert_status 0
    assert_output_has '"PING_MBULK"'
    # Of the first twenty connections; then the log is limited.
    assert_at_least "$(count_in "$BATS_TEST_TMPDIR/server.p2ptls" ', resumed category=')" 5 'resumed of 20'
    P2PTLS_POLICY="connect *:* $OURS_AS_CLIENT" run p2p redis-cli -p "$port" INFO stats
    assert_matches "$output" 'total_connections_received:20[0-9]'
}

@test "curl fetches two pages from nginx over two connections, the second one resumed" {
    require nginx curl
    local port dir=$BATS_TEST_TMPDIR/nginx
    port=$(free_port)
    mkdir -p "$dir"
    echo "$MARKER" >"$dir/page"
    cat >"$dir/nginx.conf" <<EOT
daemon off; pid $dir/pid; error_log $dir/error.log; worker_processes 1;
events {}
http { access_log off; client_body_temp_path $dir/b; proxy_temp_path $dir/p; fastcgi_temp_path $dir/f;
       uwsgi_temp_path $dir/u; scgi_temp_path $dir/s; keepalive_timeout 0;
       server { listen 127.0.0.1:$port; root $dir; } }
EOT
    chmod 755 "$BATS_TEST_TMPDIR" "$dir"
    P2PTLS_LOG=info:$BATS_TEST_TMPDIR/server.p2ptls P2PTLS_POLICY="accept *:* role=server $OURS_AS_SERVER" \
        start nginx p2p nginx -p "$dir" -c "$dir/nginx.conf" -g 'user root;'
    wait_for_port "$port" nginx
    P2PTLS_LOG=info:$BATS_TEST_TMPDIR/client.p2ptls P2PTLS_POLICY="connect *:* $OURS_AS_CLIENT" \
        run p2p curl -sS "http://127.0.0.1:$port/page" "http://127.0.0.1:$port/page"
    assert_output "$MARKER"$'\n'"$MARKER"
    assert_equal "$(count_in "$BATS_TEST_TMPDIR/client.p2ptls" ', resumed category=')" 1
}
