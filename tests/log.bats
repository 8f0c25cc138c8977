#!/usr/bin/env bats
# The log: its forms, its categories, where it goes.

load helpers

setup() {
    common_setup
    policy 'any 127.0.0.1:*'
    cat >"$BATS_TEST_TMPDIR/pair.py" <<'END'
import socket, threading
listener = socket.create_server(('127.0.0.1', 0))
a = socket.create_connection(listener.getsockname())
b = listener.accept()[0]
reader = threading.Thread(target=lambda: b.recv(1))
reader.start()
a.sendall(b'x')
reader.join()
END
}

pair() { # SETTING [PREFIX]...: a connection of a program with itself
    P2PTLS_LOG=$1 p2p "${@:2}" "$PYTHON" "$BATS_TEST_TMPDIR/pair.py"
}

@test "a handshake line tells peer, identity, role, cipher, whether it was resumed, how long it took, and the rule" {
    run pair info
    assert_status 0
    assert_equal "${#lines[@]}" 2
    assert_matches "$output" 'p2ptls\[[0-9]+\]: info: connected to 127.0.0.1:[0-9]+ as (client|server), '
    local field
    for field in 'category=handshake' 'direction=out' 'peer=127\.0\.0\.1:[0-9]+' 'rule=P2PTLS_POLICY:1' 'ms=[0-9]+' \
        'role=(client|server)' 'cipher=TLS_AES_128_GCM_SHA256' 'identity="own identity \(SHA-256 [0-9a-f]+\)"' \
        'resumed=no'; do
        assert_equal "$(grep -cE " $field( |$)" <<<"$(grep 'connected to' <<<"$output")")" 1 "$field"
    done
}

@test "each line of JSON is an object, each of logfmt has its sentence as msg" {
    pair info,json:"$BATS_TEST_TMPDIR/log"
    run "$PYTHON" -c '
import json, os, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
print(sorted((x["level"], x["category"], x["direction"], x["program"]) for x in lines))
print(all(x["time"].endswith("Z") and x["msg"] and x["pid"] > 0 for x in lines))' "$BATS_TEST_TMPDIR/log"
    assert_output "[('info', 'handshake', 'in', 'python3'), ('info', 'handshake', 'out', 'python3')]
True"
    run pair info,logfmt
    assert_matches "$output" "time=[^ ]+Z pid=[0-9]+ program=python3 level=info category=handshake msg=\"[a-z]+ed "
}

@test "keys that cannot be used are told of with the rule, as what is about keys" {
    (umask 077 && echo rubbish >"$BATS_TEST_TMPDIR/psk")
    policy "any 127.0.0.1:* psk=$BATS_TEST_TMPDIR/psk"
    run pair warn
    assert_status 1
    assert_matches "$output" ': no identity for this rule.*/psk.* category=identity rule=P2PTLS_POLICY:1'
    run pair warn,library=silent
    assert_output_has 'no identity for this rule'
    run pair warn,identity=silent
    assert_output_without 'no identity for this rule'
}

@test "a category is silenced, or told of more, by itself" {
    run pair info,handshake=silent
    assert_output ''
    run pair silent,handshake=info
    assert_equal "${#lines[@]}" 2
    policy 'connect 127.0.0.1:* deny'
    run pair warn
    assert_output_has 'category=refusal'
    run pair debug,refusal=silent
    assert_output_without category=refusal
}

@test "a refusal tells the rule's file and line, whoever refuses" {
    printf '\n\nconnect 127.0.0.1:* deny\n' >"$BATS_TEST_TMPDIR/deny.conf"
    unset P2PTLS_POLICY
    export P2PTLS_CONFIG=$BATS_TEST_TMPDIR/deny.conf
    run pair warn
    assert_output_has "error: connection to 127.0.0.1:"
    assert_output_has "category=refusal direction=out"
    assert_output_has "rule=$BATS_TEST_TMPDIR/deny.conf:3"
    printf '\nconnect 127.0.0.1:* role=client\naccept 127.0.0.1:* role=client' >"$BATS_TEST_TMPDIR/deny.conf"
    run pair warn
    assert_matches "$output" \
        "error: connection to .* category=refusal .* rule=$BATS_TEST_TMPDIR/deny.conf:2 ms=[0-9]+ reason="
    printf '\nconnect 127.0.0.1:*\n\naccept 127.0.0.1:* from=10.0.0.0/8' >"$BATS_TEST_TMPDIR/deny.conf"
    start refused p2p env P2PTLS_LOG=warn "$PYTHON" "$BATS_TEST_TMPDIR/pair.py"
    wait_for_log refused "rule=$BATS_TEST_TMPDIR/deny.conf:4"
}

@test "what P2PTLS_LOG cannot mean is told, and the rest of it counts" {
    run pair info,handshakes=silent,json
    assert_output_has 'P2PTLS_LOG: expected silent, error, warn, info or debug'
    assert_output_has 'found handshakes=silent,json'
    assert_output_has '"category":"handshake"'
}

# Programs that end of themselves: one that hangs is ended after DEADLINE, with status 124.
@test "a FIFO that nobody reads from stops no program: lines go to stderr, or are lost when it is full" {
    mkfifo "$BATS_TEST_TMPDIR/fifo"
    run pair "info:$BATS_TEST_TMPDIR/fifo" timeout "$DEADLINE"
    assert_status 0
    assert_output_has 'P2PTLS_LOG: cannot open (lines go to stderr): '
    assert_output_has 'category=handshake'
    exec 9<>"$BATS_TEST_TMPDIR/fifo"
    "$PYTHON" -c '
import os
os.set_blocking(9, False)
try:
    while os.write(9, b"x"):
        pass
except BlockingIOError:
    pass'
    run pair "info:$BATS_TEST_TMPDIR/fifo" timeout "$DEADLINE"
    exec 9>&-
    assert_status 0
    assert_output ''
}

# ---- the journal -----------------------------------------------------------------------------------------------------

# A journald of the test's own, in a file system of its own: prints each datagram. Then the program, whose descriptor 2
# is a socket as journald's streams are.
journal() { # SETTING AS-JOURNAL: yes|no
    cat >"$BATS_TEST_TMPDIR/journal.py" <<'END'
import os, socket, subprocess, sys
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind('/run/systemd/journal/socket')
ours, theirs = socket.socketpair()
told = os.fstat(theirs.fileno())
environment = dict(os.environ, P2PTLS_LOG=sys.argv[1], LD_PRELOAD=sys.argv[4])
if sys.argv[2] == 'yes':
    environment['JOURNAL_STREAM'] = f'{told.st_dev}:{told.st_ino}'
subprocess.run([sys.executable, sys.argv[3]], stderr=theirs, env=environment, check=True)
journal.setblocking(False)
theirs.close()
try:
    while True:
        print(journal.recv(65536).decode(), end='--\n')
except BlockingIOError:
    pass
print('stream:', ours.recv(65536).decode(), end='')
END
    # shellcheck disable=SC2016 # for the inner shell
    unshare --mount sh -c 'mkdir -p /run/systemd/journal && mount -t tmpfs tmpfs /run/systemd/journal && exec "$@"' - \
        "$PYTHON" "$BATS_TEST_TMPDIR/journal.py" "$1" "$2" "$BATS_TEST_TMPDIR/pair.py" "${P2P[1]#LD_PRELOAD=}"
}

@test "journald gets fields, where descriptor 2 is its stream, or the target says so" {
    local field
    for way in 'info yes' 'info:journal no'; do
        # shellcheck disable=SC2086 # two words
        run journal $way
        assert_status 0
        assert_output_has 'MESSAGE=connected to 127.0.0.1:'
        for field in PRIORITY=6 SYSLOG_IDENTIFIER=p2ptls P2PTLS_PROGRAM=python3 P2PTLS_CATEGORY=handshake \
            P2PTLS_DIRECTION=out P2PTLS_RULE=P2PTLS_POLICY:1 P2PTLS_CIPHER=TLS_AES_128_GCM_SHA256 P2PTLS_RESUMED=no; do
            assert_contains "$output" $'\n'"$field"$'\n'
        done
        assert_contains "$output" $'\nstream: '
        refute_contains "$output" 'stream: p2ptls'
    done
}

@test "lines go to the stream where a form or stderr is asked for, or it is not journald's" {
    run journal info:stderr yes
    assert_output_has 'stream: p2ptls['
    run journal info,json yes
    assert_output_has 'stream: {"time"'
    run journal info no
    assert_output_has 'stream: p2ptls['
    assert_output_without MESSAGE=
}

@test "without a journald its lines go to stderr" {
    # shellcheck disable=SC2016 # for the inner shell
    run unshare --mount sh -c \
        'mkdir -p /run/systemd/journal && mount -t tmpfs tmpfs /run/systemd/journal && exec "$@"' - \
        env P2PTLS_LOG=info:journal "${P2P[@]}" "$PYTHON" "$BATS_TEST_TMPDIR/pair.py"
    assert_output_has 'info: connected to 127.0.0.1:'
}

@test "run -v raises the level, and leaves forms, categories and target" {
    # shellcheck disable=SC2016 # for the inner shell
    run env P2PTLS_LOG=error,json,identity=silent:/tmp/x "$ROOT/tools/p2ptls" run -v -r 'connect *:1' -- \
        sh -c 'printf %s "$P2PTLS_LOG"'
    assert_output info,json,identity=silent:/tmp/x
    # shellcheck disable=SC2016
    run env P2PTLS_LOG=json "$ROOT/tools/p2ptls" run -v -r 'connect *:1' -- sh -c 'printf %s "$P2PTLS_LOG"'
    assert_output info,json
}
