#!/usr/bin/env bats
# Programs that know of the library: STARTTLS in mid-stream and what they learn of their connection (preload/p2ptls.h).

load helpers
load tls_helpers

# The two example programs, symmetric: who dials and who listens is all that differs.
C=("$PROGRAMS/starttls")
PY=("$PYTHON" "$ROOT/tests/programs/starttls.py")

# converse LISTENER DIALLER [OPTIONS-OF-LISTENER [OPTIONS-OF-DIALLER]]: names of the arrays above. The exit statuses are
# in LISTENED and DIALLED.
converse() {
    local -n listener=$1 dialler=$2
    policy 'any *:* plain' "${IDENTITIES:-}"
    export P2PTLS_LOG=info:$BATS_TEST_TMPDIR/library.log
    start listener p2p "${listener[@]}" listen 0 "${3:-}"
    wait_for_log listener 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of listener)")
    [ -z "${RECORD:-}" ] || capture_start "$PORT"
    start dialler p2p "${dialler[@]}" dial "$PORT" "${4:-}"
    DIALLED=0 LISTENED=0
    finish dialler || DIALLED=$?
    finish listener || LISTENED=$?
    [ -z "${RECORD:-}" ] || capture_stop
}

status_of() { # NAME EXPECTED
    local status=0
    finish "$1" || status=$?
    assert_equal $status "$2" "exit status of $1"
}

line_of() { # NAME of a program, WORD
    sed -n "s/^$2 //p" "$(log_of "$1")"
}

assert_conversed() {
    assert_equal "$LISTENED/$DIALLED" 0/0 'exit statuses' || return
    assert_contains "$(line_of dialler heard)" 'SECRET of the listening side' || return
    assert_contains "$(line_of listener heard)" 'SECRET of the dialling side' || return
    assert_matches "$(line_of listener exporter)" '^[0-9a-f]{64}$' || return
    assert_equal "$(line_of dialler exporter)" "$(line_of listener exporter)" 'exporter value' || return
    assert_matches "$(line_of dialler role)/$(line_of listener role)" '^(client/server|server/client)$' || return
    assert_contains "$(line_of dialler cipher)" TLS_
}

@test "two programs in C begin in clear and go on in TLS; the wire shows the first part alone" {
    RECORD=yes converse C C
    assert_conversed
    assert_contains "$(line_of listener peer)" 'own identity'
    assert_wire_has 'HELLO in clear'
    assert_wire_without SECRET
}

@test "C and Python understand each other, whoever dials, and the exporter values agree" {
    converse C PY
    assert_conversed
    converse PY C
    assert_conversed
}

@test "a number that was made by dup before goes on in TLS as well" {
    RECORD=yes converse PY PY
    assert_conversed
    assert_wire_without SECRET
}

@test "options of the policy language say role and identity of the one connection" {
    converse C C 'role=client ciphers=chacha20-poly1305' 'role=server'
    assert_conversed
    assert_equal "$(line_of listener role)" client
    assert_equal "$(line_of dialler cipher)" TLS_CHACHA20_POLY1305_SHA256
}

@test "options that say nothing sensible are EINVAL, and the log says where" {
    converse C C 'rolle=client' 'rolle=client'
    assert_equal "$LISTENED/$DIALLED" 3/3
    assert_contains "$(<"$(log_of dialler)")" 'P2PTLS_STARTTLS: Invalid argument'
    assert_contains "$(<"$BATS_TEST_TMPDIR/library.log")" 'found "rolle"; did you mean role?'
    local word
    for word in plain deny 'role=client; connect *:*' '# nothing'; do
        converse C C "$word" "$word"
        assert_equal "$LISTENED/$DIALLED" 3/3 "with: $word"
    done
    assert_contains "$(<"$BATS_TEST_TMPDIR/library.log")" \
        "expected one list of options, found ';', '#', a newline or a zero byte"
}

@test "two sides that can only be client refuse each other, and neither hears a word" {
    converse C C 'role=client' 'role=client'
    assert_equal "$LISTENED/$DIALLED" 3/3
    refute_contains "$(cat "$(log_of dialler)" "$(log_of listener)")" SECRET
}

@test "without the library, or without a policy, the option is ENOPROTOOPT and nothing more is said" {
    local how
    for how in env p2p; do
        unset P2PTLS_POLICY
        start listener $how "${C[@]}" listen 0
        wait_for_log listener 'port '
        start dialler $how "${C[@]}" dial "$(sed -n 's/^port //p' "$(log_of listener)")"
        status_of dialler 3
        status_of listener 3
        assert_contains "$(<"$(log_of dialler)")" 'P2PTLS_STARTTLS: Protocol not available'
    done
}

@test "with connect=wait the call has the verdict: a peer with another identity is EKEYREJECTED" {
    policy 'any *:* plain'
    mkdir -m 700 "$BATS_TEST_TMPDIR/other"
    start listener env XDG_STATE_HOME="$BATS_TEST_TMPDIR/other" "${P2P[@]}" "${C[@]}" listen 0
    wait_for_log listener 'port '
    start dialler p2p "${C[@]}" dial "$(sed -n 's/^port //p' "$(log_of listener)")" 'connect=wait role=client'
    status_of dialler 3
    assert_contains "$(<"$(log_of dialler)")" 'P2PTLS_STARTTLS: Key was rejected by service'
    finish listener || :
    refute_contains "$(<"$(log_of listener)")" SECRET
}

@test "id= names an identity of the program's policy: a certificate, or the key of a group" {
    local pki=$BATS_TEST_TMPDIR/pki
    make_certificates "$pki"
    (umask 077 && echo "group:$(printf '%064d' 5)" >"$BATS_TEST_TMPDIR/psk")
    IDENTITIES="identity one cert=$pki/server.pem key=$pki/server.key
        identity two cert=$pki/client.pem key=$pki/client.key
        identity group psk=$BATS_TEST_TMPDIR/psk"
    local listens dials
    for listens in C PY; do
        dials=$([ $listens = C ] && echo PY || echo C)
        converse "$listens" "$dials" "id=one ca=$pki/ca.pem role=server" "id=two ca=$pki/ca.pem"
        assert_conversed
        assert_equal "$(line_of listener peer)/$(line_of dialler peer)" CN=client/CN=server
        converse "$listens" "$dials" "id=two ca=$pki/ca.pem role=client" "id=one ca=$pki/ca.pem"
        assert_conversed
        assert_equal "$(line_of listener peer)/$(line_of dialler peer)" CN=server/CN=client
        converse "$listens" "$dials" id=group id=group
        assert_conversed
        assert_equal "$(line_of listener peer)/$(line_of dialler peer)" psk:group/psk:group
    done
}

@test "id=: another name than the policy has is EINVAL, and an identity that cannot be loaded EKEYREJECTED" {
    IDENTITIES='identity gone psk=/nowhere/psk'
    converse C C id=none id=none
    assert_equal "$LISTENED/$DIALLED" 3/3
    assert_contains "$(<"$(log_of dialler)")" 'P2PTLS_STARTTLS: Invalid argument'
    assert_contains "$(<"$BATS_TEST_TMPDIR/library.log")" \
        'column 18: expected the name of an identity statement, found "none"; there is none: add identity NAME'
    converse C C id=gone id=gone
    assert_equal "$LISTENED/$DIALLED" 3/3
    assert_contains "$(<"$(log_of dialler)")" 'P2PTLS_STARTTLS: Key was rejected by service'
    assert_contains "$(<"$BATS_TEST_TMPDIR/library.log")" 'cannot open /nowhere/psk: No such file or directory'
    refute_contains "$(cat "$(log_of dialler)" "$(log_of listener)")" SECRET
}

@test "the properties of the call decide: who is not trusted is refused on either side, and neither hears a word" {
    local pki=$BATS_TEST_TMPDIR/pki role trust
    make_certificates "$pki"
    IDENTITIES="identity one cert=$pki/server.pem key=$pki/server.key
        identity two cert=$pki/client.pem key=$pki/client.key"
    for role in client server; do
        for trust in "ca=$pki/stranger-ca.pem" "ca=$pki/ca.pem peer=nobody.test" "pin=sha256:$(printf '%064d' 1)"; do
            converse C C "id=one ca=$pki/ca.pem" "id=two $trust role=$role"
            assert_equal "$LISTENED/$DIALLED" 3/3
            converse C C "id=one $trust role=$role" "id=two ca=$pki/ca.pem"
            assert_equal "$LISTENED/$DIALLED" 3/3
            refute_contains "$(cat "$(log_of dialler)" "$(log_of listener)")" SECRET
        done
    done
}

@test "where /proc is not there to find the other numbers of a socket, TLS is not started" {
    P2P=(unshare -m sh -c 'mount -t tmpfs none /proc && exec "$@"' sh "${P2P[@]}")
    converse PY PY
    assert_equal "$LISTENED/$DIALLED" 3/3
    assert_contains "$(<"$(log_of dialler)")" 'refused: Operation not supported'
    assert_contains "$(<"$BATS_TEST_TMPDIR/library.log")" \
        'without /proc other numbers of this socket, which would stay in clear, cannot be found: refused'
    refute_contains "$(cat "$(log_of dialler)" "$(log_of listener)")" SECRET
}

@test "a text that would not be honoured whole is EINVAL, and quoted separators are part of it" {
    # shellcheck disable=SC2016 # Python's
    P2PTLS_LOG=error P2PTLS_POLICY='any *:* plain' run p2p "$PYTHON" -c '
import ctypes, errno, socket
libc = ctypes.CDLL(None, use_errno=True)
def start(text):
    with socket.create_server(("127.0.0.1", 0)) as l:
        with socket.create_connection(l.getsockname()) as a, l.accept()[0]:
            ctypes.set_errno(0)
            r = libc.setsockopt(a.fileno(), 0x7032, 1, text, len(text))
            print(text[:40], errno.errorcode.get(ctypes.get_errno(), "-") if r else "started", flush=True)
for text in (b"connect", b"connect\0", b"connect alpn=\"a;b#c\"", b"connect for=nothing",
             b"connect mode=observe", b"accept from=10.0.0.0/8", b"accept insecure-accept-plain=on",
             b"connect auth=insecure-none\0 auth=require",
             b"connect\0\0", b"connect;", b"connect # x", b"connect alpn=a\"b;c\"", b"connect alpn=a=\"b;c\"",
             b"connect alpn=\"a;b\" ;", b"connect alpn=\"a;b", b"connect\nplain"):
    start(text)'
    assert_status 0
    assert_output_has "b'connect' started"
    assert_output_has "b'connect\\x00' started"
    assert_output_has "b'connect alpn=\"a;b#c\"' started"
    assert_equal "$(grep -c ' EINVAL$' <<<"$output")" 13 'texts that are refused'
    assert_output_has 'mode=observe has no meaning here: leave it out'
    assert_output_has 'for=, which names another program, has no meaning here'
}
