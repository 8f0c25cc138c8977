#!/usr/bin/env bats
# p2ptls status: the live connections of all processes of a user, in each of its forms.

load helpers

STATUS=$P2PTLS_BUILD/p2ptls-status

setup() {
    common_setup
    policy 'any 127.0.0.1:*'
}

# Connections of this test alone: other programs of the user may be protected, too.
status_of() { # NAME [ARGUMENT]...
    "$STATUS" "${@:2}" "pid=$(pid_of "$1")"
}

many() { # NAME PAIRS [NAME-OF-THE-PROCESS]
    start "$1" p2p "$PYTHON" "$ROOT/tests/programs/many.py" "${@:2}"
    wait_for_log "$1" ready
}

# jq EXPRESSION: of the JSON of the programs that this test has started, as a set of objects called c.
ask() { # EXPRESSION in Python, of the list c
    local name pids=
    for name in "${STARTED[@]}"; do
        pids+=$(pid_of "$name"),
    done
    "$STATUS" --json | "$PYTHON" -c '
import json, sys
pids = [int(p) for p in sys.argv[2].split(",") if p]
c = [x for x in json.load(sys.stdin)["connections"] if x["pid"] in pids]
print(eval(sys.argv[1]))' "$1" "$pids"
}

@test "a thousand connections of four programs are shown, and counted" {
    for name in one two three four; do
        many $name 125
    done
    assert_equal "$(ask 'len(c)')" 1000
    assert_equal "$(ask 'len({x["pid"] for x in c})')" 4
    assert_equal "$(ask 'len({x["socket"] for x in c})')" 1000
    assert_equal "$(ask 'sum(x["received_bytes"] for x in c)')" 50000
    assert_equal "$(ask 'sum(x["sent_bytes"] for x in c)')" 50000
    assert_equal "$(ask '{x["state"] for x in c}')" "{'open'}"
    assert_equal "$(status_of one | tail -n 1)" '250 connections of 1 process'
    assert_equal "$(status_of one | wc -l)" 252
}

@test "each connection is told with peer, identity, role, cipher, age, bytes, and whether it was resumed" {
    many one 1
    assert_equal "$(ask 'sorted(x["role"] for x in c)')" "['client', 'server']"
    assert_equal "$(ask 'sorted(x["direction"] for x in c)')" "['in', 'out']"
    assert_equal "$(ask '{x["cipher"] for x in c}')" "{'TLS_AES_128_GCM_SHA256'}"
    assert_equal "$(ask '{x["proven"] for x in c}')" '{True}'
    assert_equal "$(ask '{x["resumed"] for x in c}')" '{False}'
    assert_equal "$(ask 'all(0 <= x["age_seconds"] < 3600 for x in c)')" True
    assert_equal "$(ask 'sorted((x["received_bytes"], x["sent_bytes"]) for x in c)')" '[(0, 100), (100, 0)]'
    assert_equal "$(ask 'all(x["peer"].startswith("127.0.0.1:") for x in c)')" True
    assert_contains "$(status_of one)" 'own identity (SHA-256 '
}

@test "a peer that shows no identity is told as that" {
    policy 'any 127.0.0.1:* auth=insecure-none'
    many one 1
    assert_equal "$(ask '{(x["proven"], x["identity"]) for x in c}')" "{(False, '(unauthenticated)')}"
}

@test "lists are filtered and sorted by their columns" {
    many one 3
    assert_equal "$(status_of one direction=out | tail -n 1)" '3 connections of 1 process'
    assert_equal "$(status_of one role=client peer='127.*' | tail -n 1)" '3 connections of 1 process'
    assert_equal "$(status_of one program='!x' | tail -n 1)" '0 connections of 0 processes'
    assert_equal "$(status_of one identity!='own*' | tail -n 1)" '0 connections of 0 processes'
    assert_equal "$(status_of one --sort -sent | awk '/^python3/ { print $NF, $(NF - 1) }' | head -n 3 | uniq)" \
        'no 100'
    assert_equal "$(status_of one --sort sent,-peer | awk '/^python3/ { print $(NF - 1) }' | xargs)" \
        '0 0 0 100 100 100'
}

@test "a program that was killed leaves nothing behind" {
    many one 2
    assert_equal "$(ask 'len(c)')" 4
    stop one KILL
    assert_equal "$(ask 'len(c)')" 0
    assert_equal "$(find /dev/shm "$BATS_TEST_TMPDIR" -name '*p2ptls-status*')" ''
}

@test "connections that were closed are shown no more" {
    cat >"$BATS_TEST_TMPDIR/closing.py" <<'END'
import signal, socket
listener = socket.create_server(('127.0.0.1', 0))
for _ in range(3):
    a = socket.create_connection(listener.getsockname())
    b = listener.accept()[0]
    a.sendall(b'x')
    b.recv(1)
    if _ < 2:
        a.close()
        b.close()
print('ready', flush=True)
signal.pause()
END
    start one p2p "$PYTHON" "$BATS_TEST_TMPDIR/closing.py"
    wait_for_log one ready
    wait_until "[ \"\$(ask 'len(c)')\" = 2 ]"
}

@test "another user's connections are invisible, and root sees whose they are" {
    local home=$BATS_TEST_TMPDIR/nobody
    install -d -o nobody -g nogroup "$home"
    # bats's own folder may be closed to others: what nobody needs lies elsewhere.
    local open
    open=$(mktemp -d)
    cp "$P2PTLS_BUILD"/libp2ptls*.so "$STATUS" "$ROOT/tests/programs/many.py" "$open"
    chmod -R a+rX "$open"
    install -d -o nobody -g nogroup "$open/home"
    local nobody=(setpriv --reuid nobody --regid nogroup --clear-groups --)
    many own 1
    start others "${nobody[@]}" env HOME="$open/home" XDG_STATE_HOME="$open/home" XDG_CONFIG_HOME="$open/home" \
        LD_PRELOAD="$open/libp2ptls.so" "$PYTHON" "$open/many.py" 2
    wait_for_log others ready
    run "${nobody[@]}" "$open/p2ptls-status" direction=in
    assert_status 0
    assert_contains "$output" '2 connections of 1 process'
    refute_contains "$output" "$(pid_of own)"
    run "$STATUS"
    assert_matches "$output" "python3 +$(pid_of own) +root"
    assert_matches "$output" "python3 +$(pid_of others) +nobody"
    rm -rf "$open"
}

@test "processes that share a connection are all shown, with the same bytes, and it counts once" {
    cat >"$BATS_TEST_TMPDIR/sharing.py" <<'END'
import os, signal, socket
listener = socket.create_server(('127.0.0.1', 0))
a = socket.create_connection(listener.getsockname())
b = listener.accept()[0]
a.sendall(b'x' * 10)
b.recv(10)
child = os.fork()
if not child:
    b.sendall(b'y' * 20)
    print('ready', flush=True)
    signal.pause()
a.recv(20)
signal.pause()
END
    start one p2p "$PYTHON" "$BATS_TEST_TMPDIR/sharing.py"
    wait_for_log one ready
    local family json
    wait_until "[ \"\$(ask '[x[\"received_bytes\"] for x in c if x[\"direction\"] == \"out\"]')\" = '[20]' ]"
    family=$(pgrep -g "$(pid_of one)" | paste -sd,)
    json=$("$STATUS" --json | "$PYTHON" -c '
import json, sys
c = [x for x in json.load(sys.stdin)["connections"] if str(x["pid"]) in sys.argv[1].split(",")]
print(sorted((x["direction"], x["shared_by"], x["sent_bytes"], x["received_bytes"], x["state"]) for x in c))
print(sum(x["counted"] for x in c))' "$family")
    assert_equal "$json" "[('in', 2, 20, 10, 'open'), ('in', 2, 20, 10, 'open'), ('out', 1, 10, 20, 'open')]
2"
}

@test "a connection that a program was given by exec is shown as its own" {
    cat >"$BATS_TEST_TMPDIR/executing.py" <<'END'
import os, socket, sys
listener = socket.create_server(('127.0.0.1', 0))
a = socket.create_connection(listener.getsockname())
b = listener.accept()[0]
a.sendall(b'x' * 10)
b.recv(10)
b.set_inheritable(True)
os.execv(sys.executable, [sys.executable, '-c', 'import signal; print("ready", flush=True); signal.pause()'])
END
    start one p2p "$PYTHON" "$BATS_TEST_TMPDIR/executing.py"
    wait_for_log one ready
    assert_equal "$(ask '[(x["direction"], x["received_bytes"], x["role"] in ("client", "server")) for x in c]')" \
        "[('in', 10, True)]"
}

@test "control characters in names of programs do not reach the terminal, and are whole in JSON" {
    many one 1 'b"\x1b[31m\xff\xe2\x80\xae"'
    run status_of one
    assert_contains "$output" '?[31m'
    refute_contains "$output" $'\033'
    assert_equal "$(ask '{x["program"] for x in c} == {"\x1b[31m\ufffd\u202e"}')" True
}

@test "no form writes control characters as they are, C1 and DEL neither" {
    many one 1 'b"\x1b[31m\xc2\x9b32m\x7f"'
    local form
    for form in --json --prometheus; do
        "$STATUS" "$form" >"$BATS_TEST_TMPDIR/numbers"
        run env LC_ALL=C grep -c $'[\033\177\233]' "$BATS_TEST_TMPDIR/numbers"
        assert_equal "$output" 0
        assert_contains "$(cat "$BATS_TEST_TMPDIR/numbers")" 32m
    done
}

@test "P2PTLS_STATUS=off shows nothing, and makes no file" {
    export P2PTLS_STATUS=off
    many one 1
    assert_equal "$(ask 'len(c)')" 0
    run ls -l "/proc/$(pid_of one)/fd"
    assert_output_without p2ptls-status
}

@test "an unknown setting of P2PTLS_STATUS is told in the log" {
    P2PTLS_STATUS=no run p2p true
    assert_output_has 'P2PTLS_STATUS: expected on or off, found no'
}

@test "a program whose descriptors or file size are limited works without being shown" {
    start one p2p prlimit --fsize=1000000 "$PYTHON" "$ROOT/tests/programs/many.py" 1
    wait_for_log one ready
    assert_equal "$(ask 'len(c)')" 0
}

# ---- forms -----------------------------------------------------------------------------------------------------------

@test "Prometheus's own tool accepts the numbers, also of a program with a strange name" {
    require promtool
    many one 2
    many two 1 'b"a\"b\\c\nd"'
    "$STATUS" --prometheus >"$BATS_TEST_TMPDIR/numbers.prom"
    promtool check metrics <"$BATS_TEST_TMPDIR/numbers.prom"
    run cat "$BATS_TEST_TMPDIR/numbers.prom"
    assert_output_has 'program="a\"b\\c\nd",user="root",direction="in",state="open",cipher="aes-128-gcm",resumed="no"'
    assert_matches "$output" 'p2ptls_connections_received_bytes\{program="python3",.*direction="in".*\} [1-9]'
}

@test "programs whose names look the same in the numbers are one series, as readers demand" {
    many one 1 'b"x\xff"'
    many two 1 'b"x\xfe"'
    "$STATUS" --prometheus >"$BATS_TEST_TMPDIR/numbers.prom"
    assert_equal "$(sed 's/} .*/}/' "$BATS_TEST_TMPDIR/numbers.prom" | sort | uniq -d)" ''
    run grep -c '^p2ptls_connections{program="x.*direction="in".* 2$' "$BATS_TEST_TMPDIR/numbers.prom"
    assert_equal "$output" 1
}

# A hostile program: tables as large as they may be, in which nothing is.
@test "empty tables of any size cost the reader as little as whoever made them" {
    require strace
    cat >"$BATS_TEST_TMPDIR/tables.py" <<'END'
import fcntl, os, signal, struct
for _ in range(4):
    fd = os.memfd_create('p2ptls-status', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4096 + (512 << 20))
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    os.pwrite(fd, b'p2pstat\0' + struct.pack('<4I', 1, 512, 1 << 20, 0), 0)
    os.pwrite(fd, struct.pack('<IB', 0, 2), 4096 + 512 * 1000000)
print('ready', flush=True)
signal.pause()
END
    start tables "$PYTHON" "$BATS_TEST_TMPDIR/tables.py"
    wait_for_log tables ready
    strace -qq -e trace=pread64 -o "$BATS_TEST_TMPDIR/calls" "$STATUS" "pid=$(pid_of tables)" >"$BATS_TEST_TMPDIR/told"
    assert_contains "$(cat "$BATS_TEST_TMPDIR/told")" '4 connections of'
    [ "$(wc -l <"$BATS_TEST_TMPDIR/calls")" -lt 1000 ]
}

@test "--output replaces the file whole, for everyone to read, and leaves no draft" {
    local folder=$BATS_TEST_TMPDIR/folder
    mkdir "$folder"
    echo old >"$folder/p2ptls.prom"
    umask 022
    "$STATUS" --prometheus --output "$folder/p2ptls.prom"
    assert_equal "$(ls -A "$folder")" p2ptls.prom
    assert_equal "$(stat -c %a "$folder/p2ptls.prom")" 644
    assert_contains "$(cat "$folder/p2ptls.prom")" 'p2ptls_processes '
}

@test "a full disk leaves the old file, no draft, and an error" {
    local folder=$BATS_TEST_TMPDIR/full
    mkdir "$folder"
    # shellcheck disable=SC2016 # for the inner shell
    run unshare --mount bash -c '
        mount -t tmpfs -o size=8k tmpfs "$1" && echo old >"$1/p2ptls.prom" && head -c 4000 /dev/zero >"$1/filler"
        "$2" --prometheus -o "$1/p2ptls.prom"
        echo "status $?"
        ls -A "$1"
        cat "$1/p2ptls.prom"' - "$folder" "$STATUS"
    assert_output "p2ptls status: $folder/p2ptls.prom: No space left on device
status 1
filler
p2ptls.prom
old"
    run "$STATUS" -o "$BATS_TEST_TMPDIR/nowhere/file"
    assert_status 1
    assert_output "p2ptls status: $BATS_TEST_TMPDIR/nowhere/file: No such file or directory"
    run bash -c "'$STATUS' >/dev/full"
    assert_status 1
    assert_output 'p2ptls status: standard output: No space left on device'
}

@test "what is no ordinary file is not replaced" {
    run "$STATUS" -o /dev/null
    assert_status 1
    assert_output_has '/dev/null: not a file that could be replaced'
    [ -c /dev/null ]
}

@test "wrong arguments are told with the usage on stderr and status 2" {
    local arguments count=0
    while read -r arguments; do
        # shellcheck disable=SC2086 # several arguments
        run --separate-stderr "$STATUS" $arguments
        assert_status 2
        assert_output ''
        # shellcheck disable=SC2154 # set by run
        assert_contains "$stderr" 'Usage: p2ptls status'
        count=$((count + 1))
    done <<'END'
--nothing
-x
--sort
--sort pear
--sort pid,
--sort pid,pid,pid,pid,pid
--interval 1
--watch
--watch --json
--watch --interval 0
--watch --interval x
--json --prometheus
--output
pear=x
peer
=x
-w peer=x
END
    assert_equal $count 17
    run "$STATUS" --help
    assert_status 0
    assert_output_has 'Usage: p2ptls status'
}

# ---- the full screen -------------------------------------------------------------------------------------------------

in_terminal() { # COLUMNS ROWS [ARGUMENT]...
    "$PYTHON" "$ROOT/tests/programs/in_terminal.py" "$1" "$2" "$STATUS" --watch "${@:3}"
}

@test "--watch fills 80 by 24 and 200 by 60, follows a new size, and q gives the terminal back" {
    many one 40
    run in_terminal 80 24 "pid=$(pid_of one)" <<'END'
count 22 python3
screen
size 200 60
see RES
size 60 12
see (q quits
keys b"\x1b[6~"
keys b"s"
see by pid
keys b"q"
END
    assert_status 0
    assert_contains "$output" '80 connections of 1 process, by program  (q quits'
    assert_equal "$(grep -c '^python3 ' <<<"$output")" 22
    assert_equal "$(awk 'length > 80' <<<"$output")" ''
    assert_contains "$output" $'status 0\nmodes restored\nscreen restored'
    # What keys do is said as far as it fits.
    run in_terminal 75 12 --sort -sent "pid=$(pid_of one)" <<<$'count 10 python3\nscreen\nkeys b"q"'
    assert_matches "$output" $'(^|\n)80 connections of 1 process, by -sent  \(q quits, s r sort, arrows scroll\)\n'
    run in_terminal 70 12 --sort -sent "pid=$(pid_of one)" <<<$'count 10 python3\nscreen\nkeys b"q"'
    assert_matches "$output" $'(^|\n)80 connections of 1 process, by -sent  \(q quits, s r sort\)\n'
    run in_terminal 50 12 "pid=$(pid_of one)" <<<$'count 10 python3\nscreen\nkeys b"q"'
    assert_matches "$output" $'(^|\n)80 connections of 1 process, by program  \(q quits\)\n'
    run in_terminal 45 12 "pid=$(pid_of one)" <<<$'count 10 python3\nscreen\nkeys b"q"'
    assert_matches "$output" $'(^|\n)80 connections of 1 process, by program\n'
    run in_terminal 200 60 "pid=$(pid_of one)" <<<$'count 58 python3\nscreen\nkeys b"q"'
    assert_status 0
    assert_equal "$(grep -c '^python3 .* no$' <<<"$output")" 58
}

@test "--watch shows what changes" {
    many one 1
    run in_terminal 80 24 --interval 0.1 "pid=$(pid_of one)" <<END
see 2 connections of 1 process
run kill $(pid_of one)
see 0 connections of 0 processes
keys b"q"
END
    assert_contains "$output" 'status 0'
}

@test "--watch gives the terminal back before a signal ends it" {
    local number
    for number in 1 2 3 15; do
        run in_terminal 80 24 <<<$'see PROGRAM\nsignal '$number
        assert_output "signal $number
modes restored
screen restored"
    done
}

@test "--watch needs a terminal that is known" {
    INNER_TERM=nothing-known run in_terminal 80 24 </dev/null
    assert_contains "$output" 'status 1'
}

# ---- costs -----------------------------------------------------------------------------------------------------------

# Instructions of the library's own code in 200 calls of each kind, and system calls of the process.
costs() { # on|off
    local out=$BATS_TEST_TMPDIR/costs.$1 part i=1
    P2PTLS_STATUS=$1 p2p valgrind --tool=callgrind --callgrind-out-file="$out" --compress-strings=no \
        --compress-pos=no --toggle-collect='measure_*' --dump-after=part_ends "$PROGRAMS/hot_calls" >"$out.log" 2>&1
    for part in requests seal_1k open_1k seal_16k open_16k; do
        i=$((i + 1))
        awk -v part=$part '/^ob=/ { object = $0 } /^calls=/ { getline; next }
            /^[0-9]/ && object ~ /libp2ptls/ { own += $2 } END { print part, own }' "$out.$i"
    done
}

@test "a record costs at most 20 instructions more, and no system call" {
    local name
    require valgrind strace
    costs on >"$BATS_TEST_TMPDIR/on"
    costs off >"$BATS_TEST_TMPDIR/off"
    paste -d ' ' "$BATS_TEST_TMPDIR/on" "$BATS_TEST_TMPDIR/off" >"$BATS_TEST_TMPDIR/both"
    cat "$BATS_TEST_TMPDIR/both"
    assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/both")" 5
    # A request is four calls of both ends.
    assert_equal "$(awk '{ room = ($1 == "requests" ? 4 : 1) * 200 * 20; if ($2 - $4 > room || $4 == 0) print }' \
        "$BATS_TEST_TMPDIR/both")" ''
    for name in on off; do
        P2PTLS_STATUS=$name p2p strace -qq -o "$BATS_TEST_TMPDIR/$name.trace" "$PROGRAMS/hot_calls" >/dev/null
        # poll, futex and signal masks hang on what the helper does meanwhile, and on when bytes are there.
        awk '/"part warm/ { go = 1 } /"part pieces/ { exit } go && !/^(ppoll|poll|futex|rt_sig[a-z]*)\(/ {
            sub(/\(.*/, ""); print }' "$BATS_TEST_TMPDIR/$name.trace" | sort >"$BATS_TEST_TMPDIR/$name.calls"
        uniq "$BATS_TEST_TMPDIR/$name.calls" >"$BATS_TEST_TMPDIR/$name.kinds"
    done
    assert_same_file "$BATS_TEST_TMPDIR/on.kinds" "$BATS_TEST_TMPDIR/off.kinds"
    # 2020 records were written, and as many read.
    assert_at_most "$(wc -l <"$BATS_TEST_TMPDIR/on.calls")" $(($(wc -l <"$BATS_TEST_TMPDIR/off.calls") + 100)) calls
}
