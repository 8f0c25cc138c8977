#!/usr/bin/env bats
# An attacker in the middle answers two programs that dial out and joins their connections: each is connected to
# somebody, and nobody to whom it dialled. Both sides have dialled, so only the name can tell: whoever becomes TLS
# client or server checks the one that it dialled. (Under a pre-shared key: tests/reflection.bats.)

load helpers
load tls_helpers

setup_file() {
    export PKI=$BATS_FILE_TMPDIR/pki
    make_certificates "$PKI"
    local dir=$PKI name
    # Of the same fleet: one CA, a name each, and no address that all of them have.
    for name in node db web; do
        IP_ADDRESS=192.0.2.1 issue $name ca
    done
    printf '%s\n' '127.0.0.1 localhost' '127.0.0.1 db.test' '127.0.0.1 web.test' '127.0.0.1 node.test' \
        >"$BATS_FILE_TMPDIR/hosts"
    printf 'hosts: files\n' >"$BATS_FILE_TMPDIR/nsswitch.conf"
}

# Sets FIRST and SECOND, the attacker's ports.
start_attacker() {
    start attacker "$PYTHON" "$ROOT/tests/programs/cross_wire.py"
    wait_for_log attacker 'ports ' || return
    read -r _ FIRST SECOND <"$(log_of attacker)"
}

# A program dials a name, says what it would say to nobody else, and tells what it heard.
dial() { # NAME-OF-PROCESS NAME-TO-DIAL PORT OPTIONS
    # shellcheck disable=SC2016 # for the inner shell
    P2PTLS_LOG=info:$BATS_TEST_TMPDIR/$1.p2ptls P2PTLS_POLICY="connect *:* $4" \
        start "$1" unshare -m sh -c 'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/nsswitch.conf &&
            shift 2 && exec "$@"' sh "$BATS_FILE_TMPDIR/hosts" "$BATS_FILE_TMPDIR/nsswitch.conf" \
        "${P2P[@]}" "$PYTHON" "$ROOT/tests/programs/dial.py" "$3" "lookup=$2" dial=127.0.0.1
}

wire_together() { # NAME-THAT-ONE-DIALS OPTIONS-OF-ONE NAME-THAT-TWO-DIALS OPTIONS-OF-TWO
    rm -f "$BATS_TEST_TMPDIR"/*.p2ptls
    start_attacker || return
    dial one "$1" "$FIRST" "$2"
    dial two "$3" "$SECOND" "$4"
    finish one || return
    finish two || return
    finish attacker
}

# In each role: what they dial and their options as above, then what must come of it.
wired_in_each_role() { # NAME OPTIONS NAME OPTIONS VERDICT [ARGS]...
    local one two
    while IFS='|' read -r one two; do
        wire_together "$1" "$2 $one" "$3" "$4 $two" || fail "$one / $two" || return
        "${@:5}" || fail "$one / $two" || return
    done <<END
role=client|role=server
role=server|role=client
role=peer prefer=client|role=peer prefer=server
role=peer prefer=server|role=peer prefer=client
END
}

own() { # NAME
    echo "cert=$PKI/$1.pem key=$PKI/$1.key"
}

key_pin() { # NAME
    echo "pin=sha256:$(openssl pkey -in "$PKI/$1.key" -pubout -outform DER | sha256sum | cut -d ' ' -f 1)"
}

# ---- verdicts --------------------------------------------------------------------------------------------------------

heard_nothing() {
    assert_matches "$(cat "$(log_of one)")" '^(Key was rejected by service|Protocol error)$' || return
    assert_matches "$(cat "$(log_of two)")" '^(Key was rejected by service|Protocol error)$'
}

refused_by() { # one|two WORDS
    heard_nothing || return
    assert_matches "$(cat "$BATS_TEST_TMPDIR/$1.p2ptls")" " error: connection to 127\\.0\\.0\\.1:[0-9]+ refused: $2"
}

refused_by_either() { # WORDS
    heard_nothing || return
    assert_matches "$(cat "$BATS_TEST_TMPDIR"/*.p2ptls)" " error: connection to 127\\.0\\.0\\.1:[0-9]+ refused: $1"
}

both_heard() {
    assert_equal "$(cat "$(log_of one)")/$(cat "$(log_of two)")" hello/hello
}

# ---- the tests -------------------------------------------------------------------------------------------------------

@test "two programs of one node that dial two services, wired together, refuse each other in either role" {
    wired_in_each_role db.test "$(own node) ca=$PKI/ca.pem" web.test "$(own node) ca=$PKI/ca.pem" \
        refused_by_either 'the certificate of CN=node .* does not carry the name (db|web)\.test'
}

@test "each side by itself checks the name that it dialled, as TLS client and as TLS server" {
    wired_in_each_role db.test "$(own node) ca=$PKI/ca.pem peer=web.test" db.test "$(own web) ca=$PKI/ca.pem" \
        refused_by two 'the certificate of CN=node .* does not carry the name db\.test'
    wired_in_each_role db.test "$(own web) ca=$PKI/ca.pem" db.test "$(own node) ca=$PKI/ca.pem peer=web.test" \
        refused_by one 'the certificate of CN=node .* does not carry the name db\.test'
}

@test "two services that have dialled each other are whom they dialled, whatever lies between them" {
    wired_in_each_role db.test "$(own web) ca=$PKI/ca.pem" web.test "$(own db) ca=$PKI/ca.pem" both_heard
}

@test "with pins: the key of whoever was wired in is not the one that was dialled" {
    wired_in_each_role db.test "$(own node) $(key_pin db)" db.test "$(own node) $(key_pin db)" \
        refused_by_either 'the certificate of CN=node .* has the key sha256:[^ ]*, which is not pinned'
}

@test "the identity of one user: its programs do not tell each other apart, and alpn= of the services does" {
    wired_in_each_role db.test '' web.test '' both_heard
    wired_in_each_role db.test alpn=db web.test alpn=web refused_by_either '.*alpn='
}
