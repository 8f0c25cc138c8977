#!/usr/bin/env bats
# By which name a connection is known: the names that a program looks up are what its connections are checked against
# (preload/names.c). Two hosts behind one address, and a certificate for each name.

load helpers
load tls_helpers

setup_file() {
    DIR=$BATS_FILE_TMPDIR/certificates
    make_certificates "$DIR"
    printf '%s\n' '127.0.0.1 localhost' '127.0.0.1 server.test Other.Test' >"$BATS_FILE_TMPDIR/hosts"
    # The server's certificate without its address: what proves the name alone.
    local dir=$DIR
    printf '%s\n' 'cn = named' 'dns_name = server.test' signing_key 'expiration_days = 30' >"$dir/named.template"
    certtool --generate-certificate --load-ca-certificate "$dir/ca.pem" --load-ca-privkey "$dir/ca.key" \
        --load-privkey "$dir/server.key" --template "$dir/named.template" --outfile "$dir/named.pem" 2>/dev/null
    printf 'hosts: files\n' >"$BATS_FILE_TMPDIR/nsswitch.conf"
    printf 'multi on\n' >"$BATS_FILE_TMPDIR/host.conf" # all addresses of a name, not the first one
}

setup() {
    common_setup
    DIR=$BATS_FILE_TMPDIR/certificates
    LOG=$BATS_TEST_TMPDIR/dial.p2ptls
    CREDENTIALS="cert=$DIR/client.pem key=$DIR/client.key ca=$DIR/ca.pem"
}

listen_as() { # CERTIFICATE
    P2PTLS_POLICY="accept *:* cert=$DIR/$1.pem key=$DIR/server.key ca=$DIR/ca.pem" \
        start echo p2p "$PYTHON" "$ROOT/tests/programs/echo.py" threading
    wait_for_log echo 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of echo)")
}

# With a hosts file of our own, in a mount namespace of its own.
dial() { # POLICY STEP...
    : >"$LOG"
    # shellcheck disable=SC2016 # for the inner shell
    P2PTLS_POLICY=$1 P2PTLS_LOG=info:$LOG run unshare -m sh -c '
        for file in hosts nsswitch.conf host.conf; do
            mount --bind "$1/$file" "/etc/$file" || exit
        done
        shift && exec "$@"' sh "$BATS_FILE_TMPDIR" \
        "${P2P[@]}" "$PYTHON" "$ROOT/tests/programs/dial.py" "$PORT" "${@:2}"
    assert_status 0
}

@test "the name that was looked up is what the certificate must carry" {
    listen_as named
    dial "connect *:* $CREDENTIALS" lookup=server.test dial=127.0.0.1
    assert_output hello
    dial "connect *:* $CREDENTIALS" old-lookup=SERVER.test dial=127.0.0.1
    assert_output hello
    dial "connect *:* $CREDENTIALS" lookup=other.test dial=127.0.0.1
    assert_output 'Key was rejected by service'
    assert_contains "$(<"$LOG")" 'does not carry the name other.test'
}

@test "the last name counts, in the order of the program's own look-ups" {
    listen_as named
    dial "connect *:* $CREDENTIALS" lookup=server.test lookup=other.test dial=127.0.0.1 lookup=server.test \
        dial=127.0.0.1
    assert_equal "$output" $'Key was rejected by service\nhello'
}

@test "an address that was dialled as such is matched against the addresses of the certificate" {
    listen_as named
    dial "connect *:* $CREDENTIALS" dial=127.0.0.1
    assert_output 'Key was rejected by service'
    assert_contains "$(<"$LOG")" 'does not carry the name 127.0.0.1'
    dial "connect *:* $CREDENTIALS" lookup=server.test lookup=127.0.0.1 dial=127.0.0.1
    assert_output 'Key was rejected by service'
    stop echo
    listen_as server
    dial "connect *:* $CREDENTIALS" dial=127.0.0.1
    assert_output hello
}

@test "a look-up in another thread counts where it is the only one; several are ambiguous and refused" {
    listen_as named
    dial "connect *:* $CREDENTIALS" thread-lookup=server.test dial=127.0.0.1
    assert_output hello
    dial "connect *:* $CREDENTIALS" thread-lookup=server.test thread-lookup=other.test dial=127.0.0.1
    assert_output 'Key was rejected by service'
    assert_contains "$(<"$LOG")" 'several names'
    dial "connect *:* $CREDENTIALS" thread-lookup=other.test lookup=server.test dial=127.0.0.1
    assert_output hello
    dial "connect *:* $CREDENTIALS peer=server.test" thread-lookup=server.test thread-lookup=other.test dial=127.0.0.1
    assert_output hello
}

@test "of several names that other threads looked up, the one for the port that is dialled counts" {
    listen_as named
    local rule="connect *:* $CREDENTIALS"
    dial "$rule" thread-lookup=server.test/here thread-lookup=other.test/80 dial=127.0.0.1
    assert_output hello
    dial "$rule" thread-lookup=other.test/here thread-lookup=server.test/80 dial=127.0.0.1
    assert_output 'Key was rejected by service'
    assert_contains "$(<"$LOG")" 'does not carry the name other.test'
    dial "$rule" thread-lookup=server.test/here thread-lookup=other.test dial=127.0.0.1
    assert_output 'Key was rejected by service'
    assert_contains "$(<"$LOG")" 'several names'
    # By the same thread; and where no look-up was for that port, it does not matter.
    dial "$rule" lookup=server.test/here lookup=other.test/80 dial=127.0.0.1
    assert_output hello
    dial "$rule" lookup=other.test/80 lookup=server.test/81 dial=127.0.0.1
    assert_output hello
}

# An echo server without TLS: whoever gets an answer from it has spoken in clear.
listen_in_clear() {
    start echo "$PYTHON" "$ROOT/tests/programs/echo.py" threading
    wait_for_log echo 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of echo)")
}

@test "a rule for a name protects, however many other names its address is given" {
    listen_in_clear
    seq -f '127.0.0.1 x%g.flood.test' 0 99 >>"$BATS_FILE_TMPDIR/hosts"
    dial 'connect *.test:* plain; connect other.example:*' lookup=server.test dial=127.0.0.1
    assert_output hello
    local rule='connect server.test:*'
    dial "$rule" lookup-all=x%.flood.test,100 dial=127.0.0.1
    assert_output hello
    dial "$rule" lookup=server.test dial=127.0.0.1
    assert_output 'Protocol error'
    dial "$rule" lookup=server.test lookup-all=x%.flood.test,100 dial=127.0.0.1
    assert_output 'Protocol error'
    dial "$rule" lookup=server.test lookup-all=x%.flood.test,100 lookup=server.test dial=127.0.0.1
    assert_output 'Protocol error'
    dial "$rule" thread-lookup=server.test thread-lookup=x1.flood.test dial=127.0.0.1
    assert_output 'Protocol error'
}

@test "of the names of one address the strictest counts: plain for one puts no connection to another in clear" {
    listen_in_clear
    dial 'connect other.test:* plain; connect *:*' lookup=other.test dial=127.0.0.1
    assert_output hello
    dial 'connect other.test:* plain; connect *:*' lookup=server.test lookup=other.test dial=127.0.0.1
    assert_output 'Protocol error'
    dial 'connect other.test:* plain; connect server.test:* deny' lookup=server.test lookup=other.test dial=127.0.0.1
    assert_output 'Permission denied'
    # Which of two rules that protect is meant cannot be told.
    dial 'connect other.test:* auth=insecure-none; connect server.test:* auth=insecure-none' \
        thread-lookup=server.test thread-lookup=other.test dial=127.0.0.1
    assert_output 'Key was rejected by service'
    assert_contains "$(<"$LOG")" 'several names'
}

@test "when no more names can be remembered, a rule for a name refuses what it could concern" {
    listen_in_clear
    "$PYTHON" - >>"$BATS_FILE_TMPDIR/hosts" <<'EOT'
for i in range(66):
    for j in range(1000):
        print(f"10.{i}.{j // 250}.{j % 250} big{i}.flood.test")
EOT
    dial 'connect *.test:1; connect *.example:*' lookup-all=big%.flood.test,66 dial=127.0.0.1
    assert_output 'Permission denied'
    assert_contains "$(<"$LOG")" 'more names than can be remembered'
    dial 'connect *.test:1; connect 127.0.0.0/8:* plain; connect *.example:*' lookup-all=big%.flood.test,66 \
        dial=127.0.0.1
    assert_output hello
}

@test "names that gethostent gives count too" {
    listen_in_clear
    cat >"$BATS_TEST_TMPDIR/walk.py" <<'EOT'
import ctypes, os, socket, sys
class Entry(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("rest", ctypes.c_void_p * 3)]
libc = ctypes.CDLL(None)
libc.gethostent.restype = ctypes.POINTER(Entry)
while libc.gethostent():
    pass
s = socket.socket()
try:
    s.connect(("127.0.0.1", int(sys.argv[1])))
    print("connected")
except OSError as e:
    print(os.strerror(e.errno))
EOT
    P2PTLS_LOG=silent P2PTLS_POLICY='connect localhost:* deny' run p2p "$PYTHON" "$BATS_TEST_TMPDIR/walk.py" "$PORT"
    assert_output 'Permission denied'
}
