#!/usr/bin/env bats
# Programs that lower their privileges or enter sandboxes; root. What is in a seccomp filter's list works, and anything
# else kills: so a system call of the library that is not in it fails the test.

load helpers
load program_helpers

PROTECTED_CASES=(blocking poll select epoll tiny leftover pipe timeout signals)

each_case() { # plain|protected FILTER CASE...
    local name
    for name in "${@:3}"; do
        "$1" sandbox "$2" "$name"
    done
}

@test "the test's own programs run in their sandboxes without the library" {
    each_case plain sshd "${PROTECTED_CASES[@]}"
    each_case plain poll blocking poll tiny pipe timeout signals
    each_case plain lenient "${PROTECTED_CASES[@]}"
}

@test "a protected connection works in sshd's own kind of seccomp filter" {
    each_case protected sshd "${PROTECTED_CASES[@]}"
}

@test "a filter without ppoll and pselect, installed by syscall: the library does with poll" {
    each_case protected poll blocking poll tiny pipe timeout signals
}

@test "a filter that leaves the library what it needs changes nothing" {
    each_case protected lenient "${PROTECTED_CASES[@]}"
}

@test "without a filter the same transfers work" {
    each_case protected none "${PROTECTED_CASES[@]}"
}

@test "in seccomp's strict mode protected connections fail, say so before, and let nothing through" {
    protected sandbox strict refused
    assert_output_has 'write: Input/output error'
    assert_output_has 'read: Input/output error'
    run cat "$BATS_TEST_TMPDIR/library.log"
    assert_output_has 'enters a sandbox (seccomp strict mode)'
}

# What a program in a filter without memfd_create tells `p2ptls status`: the file for it is made before.
@test "p2ptls status shows the connections of a program in a seccomp filter, made before it and in it, with all bytes" {
    local when
    policy 'any 127.0.0.1:*'
    for when in before after; do
        start "$when" p2p "$PYTHON" "$ROOT/tests/programs/filtered.py" "$when"
        wait_for_log "$when" ready
        run "$P2PTLS_BUILD/p2ptls-status" "pid=$(pid_of "$when")"
        assert_status 0
        assert_output_has '2 connections of 1 process'
        assert_matches "$output" ' 0 +15 +no'
        assert_matches "$output" ' 15 +0 +no'
    done
}

@test "where a filter from outside allows no memfd, connections work, and are not shown; nothing is said of it" {
    policy 'any 127.0.0.1:*'
    start held "$PYTHON" "$ROOT/tests/programs/filtered.py" exec "${P2P[@]}" \
        "$PYTHON" "$ROOT/tests/programs/filtered.py" none
    wait_for_log held ready
    run "$P2PTLS_BUILD/p2ptls-status" "pid=$(pid_of held)"
    assert_status 0
    assert_output '0 connections of 0 processes'
    assert_equal "$(cat "$(log_of held)")" ready
}

# The handshake of a connection that nobody has accepted is under way, and with it the library's own thread.
@test "calls that lower privileges hold for all threads, and the connection goes on" {
    local case
    mkdir "$BATS_TEST_TMPDIR/empty"
    for case in unshare setns raw libc no_new_privs capset bounding; do
        plain privileges "$case" "$BATS_TEST_TMPDIR/empty"
        protected privileges "$case" "$BATS_TEST_TMPDIR/empty"
    done
}

@test "a daemon forks twice, goes into a chroot, becomes nobody and drops its capabilities; then it accepts" {
    mkdir "$BATS_TEST_TMPDIR/empty"
    plain privileges server "$BATS_TEST_TMPDIR/empty"
    protected privileges server "$BATS_TEST_TMPDIR/empty"
}

# Its keys are readable to root alone, and nothing told of a connection before.
@test "a daemon that has made no socket yet becomes nobody, and then connects" {
    mkdir "$BATS_TEST_TMPDIR/empty"
    plain privileges client "$BATS_TEST_TMPDIR/empty"
    protected privileges client "$BATS_TEST_TMPDIR/empty"
}

# ---- filters from outside, whose answers are errors ------------------------------------------------------------------

SECRET='what-no-filter-may-let-out'

# Starts rawpeer or endpoint, and sets PORT.
start_listener() { # NAME COMMAND...
    start "$@"
    wait_until "grep -q '^port ' '$(log_of "$1")' || ! is_running '$1'"
    PORT=$(sed -n 's/^port //p' "$(log_of "$1")")
}

# A protected client of a peer without TLS, and a protected server of one.
nothing_in_clear() { # ERRNO CALLS
    local saved=$BATS_TEST_TMPDIR/saved denied=("$PROGRAMS/deny_calls" "$1" "$2")
    rm -f "$saved"
    start_listener raw "$PROGRAMS/rawpeer" listen --save "$saved"
    run timeout 20 "${denied[@]}" "${P2P[@]}" "$PROGRAMS/endpoint" "connect:$PORT" "send:$SECRET" all
    assert_output_without "got" || fail "connecting, $2 says $1"
    stop raw
    [ ! -f "$saved" ] || ! grep -aqF "$SECRET" "$saved" || fail "in clear: connecting, $2 says $1"

    start_listener server "${denied[@]}" "${P2P[@]}" "$PROGRAMS/endpoint" listen recv:9 "send:$SECRET"
    [ -n "$PORT" ] || return 0 # it has asked for its port itself, in vain
    run timeout 20 "$PROGRAMS/rawpeer" "connect:$PORT" --send text:FROMPLAIN --end fin --save "$saved"
    finish server || :
    refute_contains "$(cat "$(log_of server)")" FROMPLAIN || fail "taken in clear: $2 says $1"
    ! grep -aqF "$SECRET" "$saved" || fail "in clear: accepting, $2 says $1"
}

@test "system calls that a filter from outside answers with an error never end in plaintext" {
    local calls
    policy 'any 127.0.0.0/8:* handshake-timeout=300ms'
    for calls in getsockopt setsockopt getsockname getpeername getsockopt,getsockname,getpeername recvfrom \
        sendto ppoll fcntl ioctl clone,clone3; do
        nothing_in_clear 1 "$calls"
    done
    nothing_in_clear 38 getsockopt
    nothing_in_clear 38 clone3,clone
}

# Whoever does not know its own name cannot know that it is not selected.
@test "a listener whose address cannot be asked takes no plaintext" {
    local port
    port=$(free_port)
    policy 'any 127.0.0.0/8:*'
    start server "$PROGRAMS/deny_calls" 1 getsockname "${P2P[@]}" "$PYTHON" -c '
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen()
print("listening", flush=True)
try:
    print("got", s.accept()[0].recv(100))
except OSError as error:
    print("failed", error)
' "$port"
    wait_for_log server listening
    run "$PROGRAMS/rawpeer" "connect:$port" --send text:FROMPLAIN --end fin
    finish server
    assert_contains "$(cat "$(log_of server)")" failed
    refute_contains "$(cat "$(log_of server)")" FROMPLAIN
}

@test "without threads, timeouts to ask for, or ppoll, both ends still understand each other" {
    local calls
    policy 'any 127.0.0.0/8:*'
    for calls in clone,clone3 eventfd2 ppoll fcntl ioctl setsockopt,getpeername get_robust_list,set_robust_list; do
        start_listener server "$PROGRAMS/deny_calls" 1 "$calls" "${P2P[@]}" "$PROGRAMS/endpoint" listen echo
        run p2p "$PROGRAMS/endpoint" "connect:$PORT" fill:300000 fin check:300000 all
        assert_output_has 'checked 300000 eof' || fail "denied: $calls"
        finish server
    done
}

# Otherwise a thread of the library speaks, once the other side has been silent for a moment.
@test "without threads, an accepting side speaks at once to a peer that waits" {
    local calls
    for calls in clone,clone3 clone,clone3,eventfd2; do
        policy 'accept 127.0.0.0/8:*'
        start_listener server "$PROGRAMS/deny_calls" 1 "$calls" "${P2P[@]}" "$PROGRAMS/endpoint" listen echo
        policy 'connect 127.0.0.0/8:* hello=wait'
        run p2p "$PROGRAMS/endpoint" "connect:$PORT" send:hello fin all
        assert_output_has 'got "hello" eof' || fail "denied: $calls"
        finish server
    done
}

# sshd sets it to 0 before it enters its sandbox; a write behind it is SIGXFSZ.
@test "RLIMIT_FSIZE ends the log and not the program" {
    policy 'any 127.0.0.0/8:*'
    start_listener server p2p "$PROGRAMS/endpoint" listen echo
    export P2PTLS_LOG=debug:$BATS_TEST_TMPDIR/library.log
    run prlimit --fsize=0 "${P2P[@]}" "$PROGRAMS/endpoint" "connect:$PORT" send:hello fin all
    assert_status 0
    assert_output_has 'got "hello" eof'
}

@test "a program that is started by exec or posix_spawn as a user who cannot open the library is told of in the log" {
    local way folder=$BATS_TEST_TMPDIR/closed
    local -A ways=([exec]='os.execv("/bin/true", ["true"])'
        [posix_spawn]='os.waitpid(os.posix_spawn("/bin/true", ["true"], os.environ), 0)')
    mkdir -m 700 "$folder"
    cp "$LIBRARY" "$(dirname "$LIBRARY")/libp2ptls-core.so" "$folder"
    for way in exec posix_spawn; do
        P2PTLS_POLICY='connect 127.0.0.0/8:*' LD_PRELOAD=$folder/libp2ptls.so run \
            "$PYTHON" -c "import os; os.setresuid(54321, 54321, 54321); ${ways[$way]}"
        assert_contains "$output" "error: $way of /bin/true: it runs without protection, since ld.so will not load" ||
            return
        assert_contains "$output" '(user 54321, group 0)' || return
        # As the same user, it is there.
        P2PTLS_POLICY="connect 127.0.0.0/8:*" LD_PRELOAD=$folder/libp2ptls.so run \
            "$PYTHON" -c "import os; ${ways[$way]}"
        assert_output '' || return
    done
}
