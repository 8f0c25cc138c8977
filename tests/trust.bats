#!/usr/bin/env bats
# Trust on first use as a user meets it: two programs, a known-peers file, and the command that accepts a new key.

load helpers
load tls_helpers

A=sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
B=sha256:1111111111111111111111111111111111111111111111111111111111111111

start_s_server_with() { # CERTIFICATE [PORT]: sets PORT
    start_fed "$1" stdbuf -oL openssl s_server -tls1_3 -accept "127.0.0.1:${2:-0}" -rev \
        -cert "$BATS_TEST_TMPDIR/pki/$1.pem" -key "$BATS_TEST_TMPDIR/pki/$1.key"
    wait_for_log "$1" ACCEPT || return
    [ $# -eq 2 ] || port_is_told "$1" '^ACCEPT 127\.0\.0\.1:([0-9]+)$'
}

dial_as_client() { # the certificate of that name: output is what came
    run timeout 60 openssl s_client -connect "127.0.0.1:$PORT" -cert "$BATS_TEST_TMPDIR/pki/client.pem" \
        -key "$BATS_TEST_TMPDIR/pki/client.key" -quiet < <(printf 'two\n')
}

trust_add() {
    XDG_STATE_HOME=$BATS_TEST_TMPDIR/state "$ROOT/tools/p2ptls" trust add "$@"
}

@test "trust add makes the file of known peers, for its user alone" {
    trust_add Db.Example.org:5432 $A
    run cat "$BATS_TEST_TMPDIR/state/p2ptls/known_peers"
    [[ $output == "db.example.org:5432 $A 20"* ]]
    [ "$(stat -c %a "$BATS_TEST_TMPDIR/state/p2ptls/known_peers")" = 600 ]
    [ "$(stat -c %a "$BATS_TEST_TMPDIR/state/p2ptls")" = 700 ]
}

@test "trust add replaces the key of that name and port alone, and says so" {
    printf '# mine\ndb.example.org:5432 %s\ndb.example.org:54321 %s' $A $A >"$BATS_TEST_TMPDIR/peers"
    run trust_add -f "$BATS_TEST_TMPDIR/peers" db.example.org:5432 $B
    [ "$status" -eq 0 ]
    [ "$output" = "p2ptls: replaces: db.example.org:5432 $A" ]
    run cat "$BATS_TEST_TMPDIR/peers"
    [ "${lines[0]}" = '# mine' ]
    [ "${lines[1]}" = "db.example.org:54321 $A" ]
    [[ ${lines[2]} == "db.example.org:5432 $B 20"* ]]
    [ "${#lines[@]}" -eq 3 ]
}

@test "trust add writes names and addresses as they are looked up, and replaces each other spelling" {
    local known=$BATS_TEST_TMPDIR/peers written spelt
    while read -r written spelt; do
        printf '# mine\n%s %s older\nlocalhost:1 %s' "$written" $A $A >"$known"
        run trust_add -f "$known" "$written" $B
        [ "$status" -eq 0 ]
        assert_equal "$output" "p2ptls: replaces: $written $A older" "$written"
        run cat "$known"
        [ "${#lines[@]}" -eq 3 ]
        assert_contains "${lines[2]}" "$spelt $B 20" "$written"
        run trust_add -f "$known" "$spelt" $A
        assert_contains "$output" "p2ptls: replaces: $spelt $B 20" "$written"
    done <<'END'
localhost.:7460 localhost:7460
LOCALHOST:7460 localhost:7460
[0:0:0:0:0:0:0:1]:7460 [::1]:7460
[2001:DB8:0::00A]:7460 [2001:db8::a]:7460
[::FFFF:127.0.0.1]:7460 127.0.0.1:7460
[FE80::1%lo]:7460 [fe80::1]:7460
END
    for written in db:0 db:65536 db:07 db:99999 db: db Accept '[db]:1' '[1.2.3.4]:1' '[::g]:1' '[::1]1' ::1:1; do
        run trust_add -f "$known" "$written" $A
        assert_equal "$status" 2 "$written"
    done
}

@test "trust add accept lets one more connect, and leaves the others" {
    local known=$BATS_TEST_TMPDIR/peers
    printf 'accept %s alice\naccept:1 %s' $A $A >"$known"
    trust_add -f "$known" accept $B
    run trust_add -f "$known" accept $B
    [ "$status" -eq 0 ]
    [[ $output == "p2ptls: replaces: accept $B 20"* ]]
    run cat "$known"
    [ "${lines[0]}" = "accept $A alice" ]
    [ "${lines[1]}" = "accept:1 $A" ]
    [[ ${lines[2]} == "accept $B 20"* ]]
    [ "${#lines[@]}" -eq 3 ]
}

@test "a server that was dialled once may not connect by that, until the command in the refusal was run" {
    local known=$XDG_STATE_HOME/p2ptls/known_peers command
    make_certificates "$BATS_TEST_TMPDIR/pki"
    start_s_server_with client
    endpoint_connect "connect *:* role=client known-peers=on" "$PORT" send:$'one\n' recv:4
    assert_output_has '0 got "eno."'
    stop client

    endpoint_listen service "accept *:* role=server known-peers=on" --count 2 recv:4 send:hello
    dial_as_client
    assert_output_without hello
    assert_log_has service "has a key that is recorded for connecting to 127.0.0.1:"
    command=$(grep -o 'p2ptls trust add [^ ]* sha256:[A-Za-z0-9+/]*=' "$(log_of service)" | head -n 1)
    [[ $command == *" add accept "* ]]
    # shellcheck disable=SC2086 # the words of the command
    "$ROOT/tools/"$command
    assert_equal "$(wc -l <"$known")" 2
    dial_as_client
    assert_output_has hello
    assert_log_has service '1 got "two."'
}

@test "trust add refuses what is no name, port or fingerprint" {
    local bad
    for bad in "db $A" "db: $A" ":1 $A" "a b:1 $A" "fe80::1:1 $A" "db:1 sha256:00" "db:1 sha1:00" "db:1 ${A%=}x="; do
        run trust_add "${bad% *}" "${bad##* }"
        [ "$status" -eq 2 ]
        [[ $output == *"p2ptls trust: "* ]]
    done
    run trust_add db:1
    [ "$status" -eq 2 ]
    run trust_add '[fe80::1]:1' $A
    [ "$status" -eq 0 ]
}

@test "the first key met is recorded; another one is refused with both and the command that accepts it" {
    local known=$XDG_STATE_HOME/p2ptls/known_peers command
    make_certificates "$BATS_TEST_TMPDIR/pki"
    start_s_server_with server
    endpoint_connect "connect *:* role=client known-peers=on" "$PORT" send:$'one\n' recv:4
    assert_output_has '0 got "eno."'
    assert_matches "$(cat "$known")" "^127\.0\.0\.1:$PORT sha256:[A-Za-z0-9+/]{43}= 20"
    endpoint_connect "connect *:* role=client known-peers=on" "$PORT" send:$'two\n' recv:4
    assert_output_has '0 got "owt."'
    assert_equal "$(wc -l <"$known")" 1
    stop server

    start_s_server_with client "$PORT"
    endpoint_connect "connect *:* role=client known-peers=on" "$PORT" send:$'three\n' recv:4
    assert_output_without got
    assert_output_has 'but the one recorded is sha256:'
    command=$(grep -o 'p2ptls trust add [^ ]* sha256:[A-Za-z0-9+/]*=' <<<"$output" | head -n 1)
    [ -n "$command" ]
    # shellcheck disable=SC2086 # the words of the command
    "$ROOT/tools/"$command
    endpoint_connect "connect *:* role=client known-peers=on" "$PORT" send:$'four\n' recv:5
    assert_output_has '0 got "ruof."'
}

# ---- first contacts that cannot be recorded --------------------------------------------------------------------------

assert_not_recorded() { # KNOWN-PEERS-FILE WORDS
    endpoint_connect "connect *:* role=client known-peers=$1" "$PORT" send:$'hello\n' recv:6
    assert_output_has 'EKEYREJECTED'
    assert_output_has 'is met for the first time and cannot be recorded: '
    assert_output_has "$2"
}

@test "a first contact that cannot be recorded is refused, and the log says why" {
    local known=$BATS_TEST_TMPDIR/known
    make_certificates "$BATS_TEST_TMPDIR/pki"
    start_s_server_with server
    ln -s /nowhere/peers "$known"
    assert_not_recorded "$known" "cannot open $known: No such file or directory"
    ln -sf /dev/full "$known"
    assert_not_recorded "$known" "cannot write $known: No space left on device"
    rm "$known"
    start holder flock -x "$known.lock" sleep 1000
    wait_until "[ -e '$known.lock' ] && ! flock -n '$known.lock' true"
    assert_not_recorded "$known" "cannot lock $known.lock: Resource temporarily unavailable"
    [ ! -s "$known" ]
    stop_all
    refute_contains "$(cat "$(log_of server)")" olleh
}

# Two contacts of one program, with something in between that the file or the program suffers.
two_contacts() { # PYTHON-STATEMENTS
    local known=$BATS_TEST_TMPDIR/known first
    make_certificates "$BATS_TEST_TMPDIR/pki"
    start_s_server_with server
    first=$PORT
    start_s_server_with client
    P2PTLS_LOG=info P2PTLS_POLICY="connect *:* role=client known-peers=$known" run p2p "$PYTHON" -c "
import ctypes, os, socket, struct, sys
def contact(port):
    try:
        s = socket.create_connection(('127.0.0.1', port))
        s.sendall(b'hello\\n')
        print(port, s.recv(6), flush=True)
    except OSError as e:
        print(port, os.strerror(e.errno), flush=True)
contact($first)
$1
contact($PORT)
contact($first)
"
    assert_output_has "$first b'olleh\\n'"
    assert_output_has "$PORT Key was rejected by service"
    assert_output_has "127.0.0.1:$first is met for the first time; its key sha256:"
    assert_equal "$(grep -c "^$first b'olleh" <<<"$output")" 2 'contacts with the peer that is known'
}

@test "a file of known peers that breaks while a program runs: who is known is taken, nobody is added" {
    two_contacts "open('$BATS_TEST_TMPDIR/known', 'a').write('rubbish\\n')"
    assert_output_has "known peers stay as they were read last: $BATS_TEST_TMPDIR/known:2: expected HOST:PORT"
    assert_output_has "cannot be recorded: $BATS_TEST_TMPDIR/known:2: expected HOST:PORT or accept, and sha256:"
}

@test "a file of known peers that vanishes is not begun anew by a program that knew some" {
    two_contacts "os.unlink('$BATS_TEST_TMPDIR/known')"
    assert_output_has "cannot be recorded: $BATS_TEST_TMPDIR/known has vanished: make it again, empty, if that was"
}

@test "after chroot nobody is added to the known peers" {
    mkdir "$BATS_TEST_TMPDIR/root"
    two_contacts "os.chroot('$BATS_TEST_TMPDIR/root')"
    assert_output_has 'cannot be recorded: the program has changed its root directory'
}

# A filter that forbids openat, the number of which is at offset 0 of struct seccomp_data.
@test "in a sandbox without files nobody is added to the known peers" {
    two_contacts "
openat = {'x86_64': 257, 'aarch64': 56}[os.uname().machine]
code = b''.join(struct.pack('HBBI', *i) for i in [
    (0x20, 0, 0, 0), (0x15, 0, 1, openat), (6, 0, 0, 0x50001), (6, 0, 0, 0x7fff0000)])
filter = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack('HxxxxxxP', 4, ctypes.addressof(filter)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(program)), 0, 0) == 0"
    assert_output_has 'cannot be recorded: a sandbox keeps this process from files'
}

@test "a name that was dialled and is no host name is not recorded" {
    make_certificates "$BATS_TEST_TMPDIR/pki"
    start_s_server_with server
    printf '127.0.0.1 odd!name\n' >"$BATS_TEST_TMPDIR/hosts"
    # shellcheck disable=SC2016 # for the inner shell
    P2PTLS_LOG=info P2PTLS_POLICY="connect *:* role=client known-peers=$BATS_TEST_TMPDIR/known" run unshare -m sh -c \
        'mount --bind "$0" /etc/hosts && exec "$@"' "$BATS_TEST_TMPDIR/hosts" "${P2P[@]}" "$PYTHON" \
        "$ROOT/tests/programs/dial.py" "$PORT" 'lookup=odd!name' dial=127.0.0.1
    assert_output_has 'cannot be recorded: the name that was dialled is no host name'
    assert_output_has 'Key was rejected by service'
    [ ! -e "$BATS_TEST_TMPDIR/known" ]
}

@test "a full disk leaves no half line among the known peers, and once there is room all goes on" {
    local disk=$BATS_TEST_TMPDIR/disk
    make_certificates "$BATS_TEST_TMPDIR/pki"
    start_s_server_with server
    mkdir "$disk"
    # Of the line 40 bytes find room: the rest of a page.
    # shellcheck disable=SC2016 # for the inner shell
    P2PTLS_LOG=info P2PTLS_POLICY="connect *:* role=client known-peers=$disk/known" run unshare -m bash -c '
        mount -t tmpfs -o size=16k none "$0" || exit
        { printf "#%4054s\n" ""; } >"$0/known"
        cat /dev/zero >"$0/fill" 2>/dev/null
        "$@"
        echo "left $(wc -c <"$0/known")"
        rm "$0/fill"
        "$@"
        tail -n 1 "$0/known"' "$disk" "${P2P[@]}" "$PYTHON" "$ROOT/tests/programs/dial.py" "$PORT" dial=127.0.0.1
    assert_output_has "cannot write $disk/known: No space left on device"
    assert_output_has 'left 4056'
    assert_matches "$output" "127\.0\.0\.1:$PORT sha256:[A-Za-z0-9+/]{43}= 20[0-9T:-]*Z$"
}
