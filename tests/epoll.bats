#!/usr/bin/env bats
# What epoll says of protected sockets is true, also of those that do not block (law 4): no event for a record that is
# nothing to the program, or that is not whole, and none is missed.

load helpers
load program_helpers
load tls_helpers

@test "epoll, level-triggered, tells no lies and misses nothing (plain)" { plain epoll_truth level; }
@test "epoll, level-triggered, tells no lies and misses nothing (protected)" {
    protected epoll_truth level
}
@test "epoll, edge-triggered (plain)" { plain epoll_truth edge; }
@test "epoll, edge-triggered (protected)" { protected epoll_truth edge; }
@test "epoll, EPOLLONESHOT (plain)" { plain epoll_truth oneshot; }
@test "epoll, EPOLLONESHOT (protected)" { protected epoll_truth oneshot; }
@test "epoll, changes in the middle of a handshake, and registrations before connect (plain)" {
    plain epoll_truth changed
}
@test "epoll, changes in the middle of a handshake, and registrations before connect (protected)" {
    protected epoll_truth changed
}
@test "epoll sets with copies, in a child, and with data that are not unique (plain)" { plain epoll_truth names; }
@test "epoll sets with copies, in a child, and with data that are not unique (protected)" {
    protected epoll_truth names
}
@test "epoll sets in epoll sets (plain)" { plain epoll_truth nested; }
@test "epoll sets in epoll sets (protected)" { protected epoll_truth nested; }
@test "epoll: the time goes on while events are kept back, and signals end it (plain)" { plain epoll_truth waits; }
@test "epoll: the time goes on while events are kept back, and signals end it (protected)" {
    protected epoll_truth waits
}
@test "epoll: several threads wait for one set, and each event is one thread's (plain)" { plain epoll_truth threads; }
@test "epoll: several threads wait for one set, and each event is one thread's (protected)" {
    protected epoll_truth threads
}

over_relay() { # BYTES [--mode MODE]...: everything arrives
    export P2PTLS_POLICY='any 127.0.0.0/8:*'
    start listener p2p "$PROGRAMS/epoll_truth" listen
    wait_for_log listener 'port '
    start relay "$PROGRAMS/record_relay" --to "$(port_in_log listener)" "${@:2}"
    wait_for_log relay 'port '
    run p2p "$PROGRAMS/epoll_truth" "connect:$(port_in_log relay)" "$1"
    assert_status 0
    finish listener || return
    finish relay || return
    assert_log_has listener "read $1"
}

@test "epoll: flights of the handshake that come late" { over_relay 1000 --mode delay-ms:150; }
@test "epoll: records that come in small pieces" { over_relay 40000 --mode split:997 --mode delay-ms:2; }
@test "epoll: handshake and data in the smallest pieces" { over_relay 300 --mode split:7 --mode delay-ms:1; }

@test "epoll: tickets and KeyUpdates that come alone are no events" {
    local n pki=$BATS_TEST_TMPDIR/pki
    make_certificates "$pki"
    start_fed s_server stdbuf -oL openssl s_server -tls1_3 -accept 127.0.0.1:0 -num_tickets 4 \
        -cert "$pki/server.pem" -key "$pki/server.key"
    wait_for_log s_server 'ACCEPT 127.0.0.1:'
    port_is_told s_server '^ACCEPT 127\.0\.0\.1:([0-9]+)$'
    P2PTLS_POLICY="connect *:* role=peer cert=$pki/client.pem key=$pki/client.key ca=$pki/ca.pem peer=server.test" \
        start client p2p "$PROGRAMS/epoll_truth" "connect:$PORT"
    wait_for_log s_server 'CIPHER is'
    for ((n = 1; n <= 6; n++)); do # k asks for none back, K does
        feed s_server "$([ $((n % 2)) -eq 0 ] && echo k || echo K)"
        wait_until "[ \"\$(grep -c 'SSL_do_handshake -> 1' $(log_of s_server) || :)\" -ge $n ]"
        [ $((n % 3)) -eq 0 ] || continue
        feed s_server hello
        wait_until "[ \"\$(grep -c line $(log_of client) || :)\" -ge $((n / 3)) ]"
    done
    is_running client || fail "the client did not bear it"
}

@test "epoll: the mode of a connection that is registered again and again is asked for once" {
    local calls=$BATS_TEST_TMPDIR/calls
    require strace
    cat >"$BATS_TEST_TMPDIR/again.py" <<'EOT'
import select, socket
listener = socket.create_server(("127.0.0.1", 0))
a = socket.create_connection(listener.getsockname())
b, _ = listener.accept()
a.sendall(b"x")
b.recv(1)
b.setblocking(False)
poller = select.epoll()
for _ in range(500):
    poller.register(b, select.EPOLLIN)
    poller.modify(b, select.EPOLLOUT)
    poller.unregister(b)
EOT
    P2PTLS_POLICY='any 127.0.0.1:*' p2p strace -f -o "$calls" -e trace=fcntl,epoll_ctl "$PYTHON" \
        "$BATS_TEST_TMPDIR/again.py"
    assert_at_least "$(grep -c EPOLL_CTL_ADD "$calls")" 500 registrations
    assert_at_most "$(grep -c F_GETFL "$calls")" 50 questions
}
