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
