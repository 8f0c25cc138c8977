#!/usr/bin/env bats
# Keys, certificates and pre-shared keys are read again when their files change, without a signal and without a
# connection that is lost.

load helpers
load tls_helpers

setup() {
    common_setup
    dir=$BATS_TEST_TMPDIR/pki
    mkdir -m 755 "$dir"
    issue ca '' ca cert_signing_key
    local name
    for name in old new client; do
        issue $name ca
    done
    use old
    TRUST="ca=$dir/ca.pem"
    CLIENT="connect *:* role=client cert=$dir/client.pem key=$dir/client.key $TRUST peer=127.0.0.1"
}

# The server's files become those of NAME, one after the other as an administrator's `install` would do it.
use() { # NAME
    local what
    for what in pem key; do
        cp -p "$dir/$1.$what" "$dir/next"
        mv "$dir/next" "$dir/server.$what"
    done
}

serve() { # KIND of echo.py, OPTIONS: sets PORT
    P2PTLS_LOG=info P2PTLS_POLICY="accept *:* cert=$dir/server.pem key=$dir/server.key $TRUST ${2:-}" \
        start server p2p "$PYTHON" "$ROOT/tests/programs/echo.py" "$1"
    wait_for_log server 'port ' || return
    PORT=$(sed -n 's/^port //p' "$(log_of server)")
}

# Whose certificate the server shows. (Names in both: CN=old or CN=new.)
shown() {
    P2PTLS_LOG=info P2PTLS_POLICY=$CLIENT p2p "$PROGRAMS/endpoint" "connect:$PORT" send:hello fin recv:5 \
        >"$BATS_TEST_TMPDIR/shown" 2>&1
    assert_contains "$(cat "$BATS_TEST_TMPDIR/shown")" 'got "hello"' >&2 || return
    sed -nE 's/.* connected to .*CN=(old|new).*/\1/p' "$BATS_TEST_TMPDIR/shown"
}

shows_new() {
    [ "$(shown)" = new ]
}

count_in_log() { # PATTERN
    grep -c "$1" "$(log_of server)" || true
}

@test "rotating the certificates of both ends under 50 connections a second loses none" {
    local name=new rotations=0
    serve threading
    CLIENT="connect *:* cert=$dir/server.pem key=$dir/server.key $TRUST peer=127.0.0.1"
    P2PTLS_POLICY=$CLIENT start load p2p "$PYTHON" "$ROOT/tests/programs/echo.py" steady "$PORT" 200 50
    while is_running load; do
        use $name
        wait_until "! is_running load || [ \"\$(shown)\" = $name ]"
        [ $name = new ] && name=old || name=new
        rotations=$((rotations + 1))
    done
    finish load
    assert_log_has load '200 of 200'
    assert_at_least $rotations 2
    use new
    wait_until shows_new
}

@test "a process that was forked before its first connection reads the files again" {
    serve prefork
    assert_equal "$(shown)" old
    use new
    wait_until shows_new
}

resident() { # NAME: KiB
    awk '/^VmRSS/ { print $2 }' "/proc/$(pid_of "$1")/status"
}

# What is in use is one identity; each that it replaced was 14 KiB and more.
@test "identities that were replaced are given back" {
    local before name=new
    serve asyncio revalidate=always
    for _ in $(seq 20); do
        assert_at_least "$(shown | wc -w)" 1
    done
    before=$(resident server)
    for _ in $(seq 100); do
        use $name
        assert_equal "$(shown)" $name
        [ $name = new ] && name=old || name=new
    done
    assert_at_most $(($(resident server) - before)) 1024
}

@test "a broken certificate leaves the last good one in use, and is logged once" {
    serve asyncio revalidate=always
    assert_equal "$(shown)" old
    head -c 100 "$dir/new.pem" >"$dir/server.pem"
    for _ in 1 2 3; do
        assert_equal "$(shown)" old
    done
    assert_equal "$(count_in_log 'cannot be used; new connections go on')" 1
    assert_log_has server "$dir/server.pem holds no readable PEM certificate"
    use new
    assert_equal "$(shown)" new
}

@test "a program that has lowered its privileges goes on with what it has, and says so once" {
    chmod 755 "$BATS_TEST_TMPDIR"
    serve lowered revalidate=always
    assert_equal "$(shown)" old
    use new
    for _ in 1 2 3; do
        assert_equal "$(shown)" old
    done
    assert_equal "$(count_in_log 'cannot be used; new connections go on')" 1
    assert_log_has server 'Permission denied'
}

@test "a certificate that is about to expire is announced" {
    issue late ca "activation_date = \"$(date -ud '-100 days' '+%F %T')\"" \
        "expiration_date = \"$(date -ud '+5 days' '+%F %T')\""
    use late
    serve asyncio
    wait_for_log server 'the own certificate expires on 20'
    assert_log_has server ': renew it'
}

@test "an OCSP answer whose time is over is announced, and not shown any more" {
    : >"$dir/index"
    openssl ocsp -issuer "$dir/ca.pem" -cert "$dir/old.pem" -no_nonce -reqout "$dir/request"
    CLOCK_SHIFT=-864000 LD_PRELOAD=$P2PTLS_BUILD/tests/programs/shifted_clock.so openssl ocsp -index "$dir/index" \
        -CA "$dir/ca.pem" -rsigner "$dir/ca.pem" -rkey "$dir/ca.key" -reqin "$dir/request" -ndays 5 \
        -respout "$dir/staple"
    serve asyncio "ocsp-staple=$dir/staple"
    wait_for_log server 'the answer in ocsp-staple= was good until 20'
    assert_log_has server ' and is not shown any more: renew it'
    P2PTLS_LOG=info P2PTLS_POLICY="$CLIENT ocsp=stapled" run p2p "$PROGRAMS/endpoint" "connect:$PORT" send:hello recv:5
    assert_output_has 'came without a stapled OCSP answer'
}

# Whether the client with this certificate gets its answer.
gets_through() { # NAME
    P2PTLS_LOG=silent P2PTLS_POLICY="connect *:* role=client cert=$dir/$1.pem key=$dir/$1.key $TRUST peer=127.0.0.1" \
        p2p "$PROGRAMS/endpoint" "connect:$PORT" send:hello fin recv:5 2>&1 | grep -q 'got "hello"'
}

@test "an authority that is added to ca= counts for new connections, and one that is taken out no more" {
    issue other-ca '' ca cert_signing_key
    issue guest other-ca
    cp "$dir/ca.pem" "$dir/trusted.pem"
    local trust=$TRUST
    TRUST="ca=$dir/trusted.pem" serve threading
    TRUST=$trust
    gets_through client
    ! gets_through guest || fail 'a certificate of an unknown authority was accepted'
    cat "$dir/ca.pem" "$dir/other-ca.pem" >"$dir/next"
    mv "$dir/next" "$dir/trusted.pem"
    wait_until 'gets_through guest'
    gets_through client
    cp "$dir/ca.pem" "$dir/next"
    mv "$dir/next" "$dir/trusted.pem"
    wait_until '! gets_through guest'
    gets_through client
}

@test "a revocation list that replaces another counts for new connections" {
    revoke() { # NAME...: those that the list holds, over FILE
        local name list=()
        for name; do
            cat "$dir/$name.pem"
        done >"$dir/revoked.pem"
        [ $# -eq 0 ] || list=(--load-certificate "$dir/revoked.pem")
        printf 'expiration_days = 30\ncrl_next_update = 30\ncrl_number = %d\n' $(($# + 1)) >"$dir/crl.template"
        certtool --generate-crl --load-ca-certificate "$dir/ca.pem" --load-ca-privkey "$dir/ca.key" \
            "${list[@]}" --template "$dir/crl.template" --outfile "$dir/next" 2>"$dir/log" || fail "$(cat "$dir/log")"
        mv "$dir/next" "$dir/list.crl"
    }
    issue list-ca '' ca cert_signing_key crl_signing_key
    mv "$dir/list-ca.pem" "$dir/ca.pem"
    mv "$dir/list-ca.key" "$dir/ca.key"
    local name trust=$TRUST
    for name in old client guest; do
        issue $name ca
    done
    use old
    revoke
    TRUST="ca=$dir/ca.pem crl=$dir/list.crl" serve threading
    TRUST=$trust
    gets_through client
    gets_through guest
    revoke guest
    wait_until '! gets_through guest'
    gets_through client
}
