#!/usr/bin/env bats
# Which accepted connections are let in, and in what form: from=, mode=observe, and insecure-accept-plain= while a fleet
# moves over. And name endpoints, where connections leave.

load helpers

setup() {
    common_setup
    require ncat
    LOG=$BATS_TEST_TMPDIR/library.log
    : >"$LOG"
    export P2PTLS_LOG=info:$LOG
}

listen_with() { # POLICY
    P2PTLS_POLICY=$1 start echo p2p "$PYTHON" "$ROOT/tests/programs/echo.py" threading
    wait_for_log echo 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of echo)")
}

# Says a line and shows what comes back; empty if nothing does.
say() { # plain|POLICY [OPTIONS of ncat]
    if [ "$1" = plain ]; then
        run env "${@:2}" "$PYTHON" "$ROOT/tests/programs/dial.py" "$PORT" dial=127.0.0.1
    else
        P2PTLS_POLICY=$1 run p2p "$PYTHON" "$ROOT/tests/programs/dial.py" "$PORT" dial=127.0.0.1
    fi
    assert_status 0
}

@test "from= lets in whom it names" {
    listen_with 'accept *:* from=127.0.0.0/8'
    say 'connect *:*'
    assert_output hello
}

@test "from= closes a connection from anywhere else at once, and says which rule" {
    listen_with 'accept *:* from=10.0.0.0/8,192.0.2.7'
    say 'connect *:*'
    assert_output_without hello
    assert_matches "$(<"$LOG")" 'connection from 127\.0\.0\.1:[0-9]+ refused: it is not in from= of P2PTLS_POLICY:1'
    say plain
    assert_output_without hello
}

@test "mode=observe changes nothing, and the log says what would have become of each connection" {
    listen_with 'accept *:* mode=observe'
    say plain
    assert_output hello
    [ ! -e "$XDG_STATE_HOME/p2ptls" ] || fail "an identity was made"
    assert_matches "$(<"$LOG")" 'observed: the connection from 127\.0\.0\.1:[0-9]+ would be protected by P2P'
    : >"$LOG"
    say 'set mode=observe; connect 127.0.0.1:* tls role=client'
    assert_output hello
    assert_contains "$(<"$LOG")" "observed: the connection to 127.0.0.1:$PORT would be protected by P2PTLS_POLICY:1"
}

@test "insecure-accept-plain=on: TLS and plain peers on one port, each counted plain one in the log" {
    listen_with 'accept *:* insecure-accept-plain=on'
    say 'connect *:*'
    assert_output hello
    assert_contains "$(<"$LOG")" 'accepted from 127.0.0.1'
    say plain
    assert_output hello
    say plain
    assert_output hello
    assert_matches "$(<"$LOG")" 'accepted IN CLEAR \(number 1 of this process\)'
    assert_matches "$(<"$LOG")" 'accepted IN CLEAR \(number 2 of this process\)'
    say 'connect *:*'
    assert_output hello
}

@test "insecure-accept-plain=on: a peer that says nothing is plain after a while" {
    listen_with 'accept *:* insecure-accept-plain=on plain-wait=1s'
    start silent ncat --recv-only 127.0.0.1 "$PORT"
    wait_until "grep -q 'IN CLEAR' '$LOG'"
}

@test "without it a plain peer is refused, and the program sees none of its bytes" {
    listen_with 'accept *:*'
    say plain
    assert_output_without hello
    refute_contains "$(<"$LOG")" 'IN CLEAR'
}

@test "a name endpoint protects the connections to addresses that the program looked up by that name" {
    printf '%s\n' '127.0.0.1 a.db.test' '127.0.0.2 other.test' >"$BATS_TEST_TMPDIR/hosts"
    printf 'hosts: files\n' >"$BATS_TEST_TMPDIR/nsswitch.conf"
    listen_with 'accept *:*'
    # shellcheck disable=SC2016 # for the inner shell
    P2PTLS_POLICY='connect *.db.test:*' run unshare -m sh -c '
        mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/nsswitch.conf && shift 2 && exec "$@"' sh \
        "$BATS_TEST_TMPDIR/hosts" "$BATS_TEST_TMPDIR/nsswitch.conf" \
        "${P2P[@]}" "$PYTHON" "$ROOT/tests/programs/dial.py" "$PORT" lookup=a.db.test dial=127.0.0.1
    assert_output hello
    assert_contains "$(<"$LOG")" "connected to 127.0.0.1:$PORT"
    say 'connect *.db.test:*' # by its address alone: not selected, so plain, which the other side refuses
    assert_output_without hello
}

@test "a peer that is not let in does not hold up a server that asks select, poll or epoll before it accepts" {
    local kind
    for kind in select epoll; do
        P2PTLS_POLICY='accept *:* from=127.0.0.1' start echo p2p "$PYTHON" "$ROOT/tests/programs/echo.py" $kind
        wait_for_log echo 'port '
        PORT=$(sed -n 's/^port //p' "$(log_of echo)")
        P2PTLS_POLICY='connect *:*' run p2p "$PYTHON" "$ROOT/tests/programs/dial.py" "$PORT" \
            dial=127.0.0.1 from=127.0.0.7 dial=127.0.0.1 from=127.0.0.1 dial=127.0.0.1
        assert_equal "${lines[0]} ${lines[2]}" 'hello hello'
        stop echo
    done
}

@test "a listener that is bound a second time is selected by its new address" {
    cat >"$BATS_TEST_TMPDIR/rebind.py" <<'EOT'
import socket
s = socket.socket()
s.bind(("127.0.0.2", 0))
s.listen()
s.shutdown(socket.SHUT_RDWR)
s.bind(("127.0.0.1", 0))
s.listen()
print("port", s.getsockname()[1], flush=True)
connection, _ = s.accept()
try:
    print("got", connection.recv(100), flush=True)
except OSError as e:
    print(e, flush=True)
EOT
    P2PTLS_POLICY='accept 127.0.0.1:*' start rebind p2p "$PYTHON" "$BATS_TEST_TMPDIR/rebind.py"
    wait_for_log rebind 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of rebind)")
    say plain
    finish rebind
    assert_contains "$(cat "$(log_of rebind)")" 'Protocol error'
}

@test "to dial the wildcard address is to dial where the kernel goes: the address that the socket is bound to" {
    start echo "$PYTHON" "$ROOT/tests/programs/echo.py" threading
    wait_for_log echo 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of echo)")
    run_dial() { # POLICY STEP...
        P2PTLS_POLICY=$1 run p2p "$PYTHON" "$ROOT/tests/programs/dial.py" "$PORT" "${@:2}"
    }
    run_dial 'connect 127.0.0.1:* deny' dial=0.0.0.0
    assert_output 'Permission denied'
    run_dial 'connect 127.0.0.5:* deny' dial=0.0.0.0
    assert_output hello
    run_dial 'connect 127.0.0.5:* deny; connect 127.0.0.1:* plain' from=127.0.0.5 dial=0.0.0.0
    assert_output 'Permission denied'
    run_dial 'connect 127.0.0.1:* deny' from=127.0.0.5 dial=0.0.0.0
    assert_output 'Connection refused'
    cat >"$BATS_TEST_TMPDIR/odd.py" <<'EOT'
import socket, sys
port = int(sys.argv[1])
def dial(s, address):
    try:
        s.connect(address)
        print("connected", s.getpeername()[0])
    except OSError as e:
        print(e.strerror)
for bound in "::ffff:127.0.0.1", "::ffff:0.0.0.0", None:
    s = socket.socket(socket.AF_INET6)
    if bound:
        s.bind((bound, 0))
    dial(s, ("::", port))
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
dial(s, ("0.0.0.0", port))
EOT
    P2PTLS_POLICY='connect 127.0.0.0/8:* deny' run p2p "$PYTHON" "$BATS_TEST_TMPDIR/odd.py" "$PORT"
    assert_output $'Permission denied\nPermission denied\nConnection refused\nPermission denied'
}
