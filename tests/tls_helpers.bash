# shellcheck shell=bash
# For suites that need certificates, conventional TLS programs, or the small program `endpoint` on either end.

# ---- certificates: DIR/NAME.pem with DIR/NAME.key --------------------------------------------------------------------

# ca and stranger-ca are authorities. Issued by ca: server and client (each with the DNS name NAME.test and 127.0.0.1),
# server-rsa, client-ed25519, and expired. Issued by stranger-ca: stranger.
make_certificates() { # DIR
    local dir=$1
    mkdir -m 700 "$dir" || return
    issue ca "" 'ca' 'cert_signing_key' 'crl_signing_key' || return
    issue stranger-ca "" 'ca' 'cert_signing_key' || return
    issue server ca || return
    issue client ca || return
    issue stranger stranger-ca || return
    issue expired ca 'activation_date = "2001-01-01 00:00:00"' 'expiration_date = "2002-01-01 00:00:00"' || return
    KEY_TYPE='--key-type=rsa --bits=2048' issue server-rsa ca 'dns_name = server.test' || return
    KEY_TYPE=--key-type=ed25519 issue client-ed25519 ca 'dns_name = client.test'
}

issue() { # NAME CA TEMPLATE-LINE...; uses dir, KEY_TYPE, and IP_ADDRESS
    local name=$1 ca=$2 signing=(--generate-self-signed)
    local template=$dir/$name.template
    [ -z "$ca" ] ||
        signing=(--generate-certificate --load-ca-certificate "$dir/$ca.pem" --load-ca-privkey "$dir/$ca.key")
    printf '%s\n' "cn = $name" "dns_name = $name.test" "ip_address = ${IP_ADDRESS:-127.0.0.1}" signing_key \
        "${@:3}" >"$template"
    grep -q '^expiration_date' "$template" || echo 'expiration_days = 30' >>"$template"
    # shellcheck disable=SC2086 # several words
    if ! certtool --generate-privkey ${KEY_TYPE:---key-type=ecdsa --curve=secp256r1} --outfile "$dir/$name.key" ||
        ! certtool "${signing[@]}" --load-privkey "$dir/$name.key" --template "$template" \
            --outfile "$dir/$name.pem"; then
        fail "no certificate $name"
    fi 2>"$dir/log" || fail "$(cat "$dir/log")"
}

# ---- endpoint --------------------------------------------------------------------------------------------------------

# Both run under the library with the given policy, and log each handshake.
endpoint_listen() { # NAME POLICY ARGS...: sets PORT
    P2PTLS_LOG=info P2PTLS_POLICY=$2 start "$1" p2p "$PROGRAMS/endpoint" listen "${@:3}"
    wait_for_log "$1" 'port ' || return
    PORT=$(sed -n 's/^port //p' "$(log_of "$1")")
}

endpoint_connect() { # POLICY PORT ARGS...: output and status as of `run`
    P2PTLS_LOG=info P2PTLS_POLICY=$1 run p2p "$PROGRAMS/endpoint" "connect:$2" "${@:3}"
    assert_status 0
}

# The other end, once it has ended, has written a text.
assert_log_has() { # NAME TEXT
    assert_contains "$(cat "$(log_of "$1")")" "$2"
}

# ---- programs that read commands -------------------------------------------------------------------------------------

# Their input stays open until they end; `feed` gives them a line.
start_fed() { # NAME COMMAND...
    local fifo=$BATS_TEST_TMPDIR/$1.fifo
    rm -f "$fifo"
    mkfifo "$fifo" || return
    # shellcheck disable=SC2016 # for the inner shell
    start "$1" bash -c 'exec "${@:2}" 0<>"$1"' bash "$fifo" "${@:2}"
}

feed() { # NAME LINE: only after the program has shown that it runs
    printf '%s\n' "$2" 1<>"$BATS_TEST_TMPDIR/$1.fifo"
}

port_is_told() { # NAME PATTERN with one group: sets PORT
    PORT=$(sed -nE "s/$2/\\1/p" "$(log_of "$1")" | head -n 1)
    assert_matches "$PORT" '^[0-9]+$'
}
