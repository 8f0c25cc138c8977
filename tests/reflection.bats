#!/usr/bin/env bats
# A node that is made to talk to itself under a pre-shared key: a relay wires two of its connections together. It must
# notice; a program that really connects to itself, and two nodes that hold one key, must work.

load helpers
load tls_helpers
load program_helpers

setup() {
    common_setup
    PSK=$BATS_TEST_TMPDIR/psk
    (umask 077 && echo "group:$(printf '%064d' 7)" >"$PSK")
}

start_relay() { # TO-PORT: sets PORT
    start relay "$PROGRAMS/record_relay" --to "$1" --record "$BATS_TEST_TMPDIR/dump"
    wait_for_log relay 'port ' || return
    PORT=$(sed -n 's/^port //p' "$(log_of relay)")
}

# Two processes: each one's output is in $output and $acceptor.
through_relay() { # CONNECTOR-OPTIONS ACCEPTOR-OPTIONS [ACCEPTOR-STATE-FOLDER]
    XDG_STATE_HOME=${3:-$XDG_STATE_HOME} \
        endpoint_listen acceptor "accept *:* psk=$PSK $2" send:from-acceptor recv:14 || return
    start_relay "$PORT" || return
    endpoint_connect "connect *:* psk=$PSK $1" "$PORT" send:from-connector recv:13 || return
    finish acceptor || return
    stop relay
    acceptor=$(cat "$(log_of acceptor)")
}

# Of each kind one; tests/unit/test_reflection.c has all of them.
role_sets() {
    cat <<END
prefer=client|prefer=server
prefer=server|prefer=client
role=client|role=server
role=server|role=client
role=peer|hello=wait
END
}

@test "two processes of one user that a relay wires together refuse each other" {
    local connector acceptor_options
    while IFS='|' read -r connector acceptor_options; do
        through_relay "$connector" "$acceptor_options" || fail "$connector / $acceptor_options" || return
        refute_contains "$output$acceptor" ' got ' || fail "$connector / $acceptor_options" || return
        assert_contains "$output$acceptor" 'came here by a detour' || fail "$connector / $acceptor_options" || return
    done < <(role_sets)
}

@test "two nodes that hold one key are not mistaken for one, whatever lies between them" {
    local connector acceptor_options
    while IFS='|' read -r connector acceptor_options; do
        through_relay "$connector" "$acceptor_options" "$BATS_TEST_TMPDIR/other-node" || return
        assert_contains "$output" 'got "from-acceptor"' || fail "$connector / $acceptor_options" || return
        assert_contains "$acceptor" 'got "from-connector"' || fail "$connector / $acceptor_options" || return
    done < <(role_sets)
}

@test "one process whose two connections a relay wires together refuses, and works without the relay" {
    local file=$BATS_TEST_TMPDIR/where options
    for options in 'prefer=none' 'role=client' 'role=server'; do
        for way in relay direct; do
            rm -f "$file"
            P2PTLS_LOG=info P2PTLS_POLICY="connect *:* psk=$PSK ${options/prefer=none/role=peer}; accept *:* psk=$PSK" \
                start program p2p python3 "$ROOT/tests/programs/reflected.py" "$file"
            wait_for_log program 'port ' || return
            PORT=$(sed -n 's/^port //p' "$(log_of program)")
            [ $way = direct ] || start_relay "$PORT" || return
            echo "$PORT" >"$file.new" && mv "$file.new" "$file"
            finish program || return
            if [ $way = relay ]; then
                refute_contains "$(cat "$(log_of program)")" ' got from' || return
                assert_log_has program 'came here by a detour' || return
                stop relay
            else
                assert_log_has program 'connector got from acceptor' || return
                assert_log_has program 'acceptor got from connector' || return
            fi
        done
    done
}

@test "programs that connect to themselves and to each other work with one pre-shared key" {
    export OPTIONS="psk=$PSK"
    protected self_connect || return
    protected loops_cross blocking || return
    protected loops_cross epoll
}

@test "after a death in the middle of a handshake the next connection works" {
    endpoint_listen acceptor "accept *:* psk=$PSK" --count 2 recv:14 || return
    # shellcheck disable=SC2016 # the inner shell expands it
    P2PTLS_POLICY="connect *:* psk=$PSK" start victim p2p \
        bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1"; kill -9 $$' - "$PORT"
    finish victim || :
    endpoint_connect "connect *:* psk=$PSK" "$PORT" send:from-connector || return
    finish acceptor || return
    assert_log_has acceptor 'got "from-connector"'
}

@test "where the file of open handshakes cannot be, a connection under a pre-shared key is refused with a reason" {
    endpoint_listen acceptor "accept *:* psk=$PSK" recv:1 || return
    # shellcheck disable=SC2016 # the inner shell expands it
    XDG_STATE_HOME=/proc/nowhere P2PTLS_LOG=info P2PTLS_POLICY="connect *:* psk=$PSK" run unshare -rm sh -c \
        'mount -t tmpfs -o ro none /dev/shm && exec "$@"' - "${P2P[@]}" "$PROGRAMS/endpoint" "connect:$PORT" send:x
    assert_contains "$output" 'needs a file that tells reflected connections' || return
    assert_contains "$output" EKEYREJECTED
}
