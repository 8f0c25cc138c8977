#!/usr/bin/env bats
# Law 1: nothing unselected changes. No GnuTLS in a program without a selected socket, and no system call more.

load helpers
load real_helpers

# ---- what is loaded --------------------------------------------------------------------------------------------------

# The names of what a running program has mapped.
mapped() { # NAME
    awk '{ print $6 }' "/proc/$(pid_of "$1")/maps" | sort -u
}

talk_to_listener() { # NAME: one byte there and back
    local port
    port=$(sed -n 's/^port //p' "$(log_of "$1")")
    [ "$("${P2P[@]}" socat -t 60 - "TCP:127.0.0.1:$port" <<<hello)" = hello ]
}

start_listener() { # NAME POLICY
    P2PTLS_POLICY=$2 start "$1" p2p "$PYTHON" "$ROOT/tests/programs/echo.py" asyncio
    wait_for_log "$1" 'port '
}

@test "a program without a selected socket never loads GnuTLS" {
    local port
    # A selected port that is somebody else's, and one of another address.
    port=$(free_port)
    start_listener unselected "any 127.0.0.1:$port; connect 10.0.0.0/8:*"
    talk_to_listener unselected
    assert_contains "$(mapped unselected)" libp2ptls.so
    refute_contains "$(mapped unselected)" libp2ptls-core
    refute_contains "$(mapped unselected)" gnutls
}

@test "a program without a policy never loads GnuTLS" {
    start_listener inert ''
    talk_to_listener inert
    assert_contains "$(mapped inert)" libp2ptls.so
    refute_contains "$(mapped inert)" libp2ptls-core
    refute_contains "$(mapped inert)" gnutls
}

@test "a program that listens on a selected address has GnuTLS loaded from then on" {
    start_listener selected 'any 127.0.0.1:*'
    assert_contains "$(mapped selected)" libp2ptls-core
    assert_contains "$(mapped selected)" gnutls
    P2PTLS_POLICY='any 127.0.0.1:*' talk_to_listener selected
}

# ---- system calls ----------------------------------------------------------------------------------------------------

# Prints what a program does between its marks. Numbers that differ from run to run are taken out: addresses of memory,
# ports, what the kernel says about times left.
calls_of() { # STRACE-PREFIX... PROGRAM ARGS
    local trace=$BATS_TEST_TMPDIR/trace
    require strace || return
    strace -f -o "$trace" "$@" || return
    sed -e '1,/\/main-begins/d' -e '/\/main-ends/,$d' "$trace" |
        sed -E -e 's/^[0-9]+ +//' -e 's/0x[0-9a-f]+/ADDRESS/g' -e 's/htons\([0-9]+\)/PORT/g' -e 's/, left \{[^}]*\}//'
}

under_library() { # POLICY PROGRAM ARGS
    calls_of -E "LD_PRELOAD=$LIBRARY" -E "P2PTLS_POLICY=$1" "${@:2}"
}

compare_calls() { # POLICY
    calls_of "$PROGRAMS/unselected" >"$BATS_TEST_TMPDIR/plain"
    assert_at_least "$(wc -l <"$BATS_TEST_TMPDIR/plain")" 90 "number of system calls"
    under_library "$1" "$PROGRAMS/unselected" >"$BATS_TEST_TMPDIR/library"
    run diff "$BATS_TEST_TMPDIR/plain" "$BATS_TEST_TMPDIR/library"
    assert_output ''
}

@test "without a policy, every call is the same system call as without the library" { compare_calls ''; }

@test "with a policy that selects others, every call is the same system call as without the library" {
    compare_calls 'connect 10.0.0.0/8:*; accept 10.0.0.1:80'
}

@test "the comparison would find one system call more" {
    calls_of "$PROGRAMS/unselected" >"$BATS_TEST_TMPDIR/plain"
    P2PTLS_LOG=silent under_library 'any 127.0.0.1:*' "$PROGRAMS/unselected" >"$BATS_TEST_TMPDIR/library" || :
    run diff "$BATS_TEST_TMPDIR/plain" "$BATS_TEST_TMPDIR/library"
    [ "$status" -eq 1 ] || fail "a protected connection made the same system calls as a plain one"
}

@test "an inherited descriptor that is no socket is looked at once, before main" {
    local file=$BATS_TEST_TMPDIR/file
    printf 'some bytes' >"$file"
    calls_of "$PROGRAMS/unselected" 5 5<"$file" >"$BATS_TEST_TMPDIR/plain"
    assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/plain")" 2
    under_library 'connect 10.0.0.0/8:*' "$PROGRAMS/unselected" 5 5<"$file" >"$BATS_TEST_TMPDIR/library"
    assert_equal "$(cat "$BATS_TEST_TMPDIR/library")" "$(cat "$BATS_TEST_TMPDIR/plain")"
    assert_equal "$(grep -c 'getsockopt(5, ' "$BATS_TEST_TMPDIR/trace")" 1
    assert_matches "$(grep 'getsockopt(5, ' "$BATS_TEST_TMPDIR/trace")" 'SO_PROTOCOL, .* = -1 ENOTSOCK'
}

@test "an inherited socket is looked at once more, at its first use" {
    local code='import os, socket, sys
ours, its = socket.socketpair()
ours.send(b"some bytes")
os.dup2(its.fileno(), 5)
os.execv(sys.argv[1], sys.argv[1:])'
    calls_of "$PYTHON" -c "$code" "$PROGRAMS/unselected" 5 >"$BATS_TEST_TMPDIR/plain"
    assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/plain")" 2
    under_library 'connect 10.0.0.0/8:*' "$PYTHON" -c "$code" "$PROGRAMS/unselected" 5 >"$BATS_TEST_TMPDIR/library"
    assert_matches "$(head -n 1 "$BATS_TEST_TMPDIR/library")" '^getsockopt\(5, SOL_SOCKET, SO_PROTOCOL, .* = 0$'
    assert_equal "$(sed 1d "$BATS_TEST_TMPDIR/library")" "$(cat "$BATS_TEST_TMPDIR/plain")"
}

# ---- instructions ----------------------------------------------------------------------------------------------------

# Prints "CALL INSTRUCTIONS" of the hundreds of calls that a program makes of each.
instructions_of() { # OUTPUT-FILE VALGRIND-PREFIX...
    require valgrind callgrind_annotate || return
    "${@:2}" valgrind --tool=callgrind --callgrind-out-file="$1" "$PROGRAMS/instructions" >"$1.log" 2>&1 || return
    callgrind_annotate --inclusive=yes --threshold=100 "$1" |
        sed -nE 's/^ *([0-9,]+) \(.*instructions\.c:measure_([a-z]+) \[.*/\2 \1/p' | tr -d , | sort
}

@test "read, write, recv, send and close on an unselected descriptor cost at most 15 instructions more" {
    local policy plain protected call more
    plain=$(instructions_of "$BATS_TEST_TMPDIR/plain" env)
    for policy in 'any 10.0.0.0/8:*' ''; do
        protected=$(P2PTLS_POLICY=$policy instructions_of "$BATS_TEST_TMPDIR/protected" "${P2P[@]}")
        more=$(join <(echo "$plain") <(echo "$protected") | awk '{ printf "%s %.1f\n", $1, ($3 - $2) / 500 }')
        echo "$more"
        assert_equal "$(wc -l <<<"$more")" 5 "calls that were measured"
        assert_equal "$(awk '$2 <= 0 || $2 > 15' <<<"$more")" '' "calls that cost nothing, or too much"
    done
}
