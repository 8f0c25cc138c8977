#!/usr/bin/env bats
# The library under helgrind: no data race, no lock taken in two orders, none that its holder does not hold. Unlike
# ThreadSanitizer it sees all of the library, libc's and GnuTLS's part too, and orders of locks. Needs `make HELGRIND=1
# lib programs`: to helgrind atomic operations are races, and that build tells it what they are (helgrind_atomics.h).

P2PTLS_BUILD=${P2PTLS_BUILD:-build-helgrind}
load ../helpers
load ../program_helpers

OPTIONS=handshake-timeout=600s
setup() {
    common_setup
    require valgrind || return
    P2P+=(valgrind --tool=helgrind --quiet --error-exitcode=99 --history-level=approx
        "--suppressions=$BATS_TEST_DIRNAME/helgrind.supp")
}

@test "the library under test tells helgrind of its atomic operations" {
    assert_contains "$(nm "$LIBRARY")" helgrind_locks
    assert_contains "$(nm "${LIBRARY%/*}/libp2ptls-core.so")" helgrind_locks
}

@test "a race in a program is found" {
    run "${P2P[@]}" "$PROGRAMS/races"
    assert_status 99
    assert_output_has 'Possible data race'
    run "${P2P[@]}" "$PROGRAMS/races" ordered
    assert_status 0
}

@test "threads that use, dup, close and connect again on the same numbers" {
    protected threads_churn "${CHURN_SECONDS:-15}"
}
@test "a number that is copied while another thread connects on it" { protected dup_race 30; }
@test "a number that is copied while a connect on it fails" {
    P2PTLS_POLICY='any 127.0.0.0/8:*' run p2p "$PROGRAMS/dup_race" 200 refused
    assert_status 0
}
@test "a thread for each connection" { protected threads_echo server; }
@test "many threads on one descriptor" { protected threads_echo shared; }
@test "a reading and a writing thread, blocking" { protected torture --threads --mode blocking --bytes 300000; }
@test "a reading and a writing thread, new keys after 3 records" {
    OPTIONS+=' rekey-after=3' protected torture --threads --mode epoll-edge --bytes 100000 --max 2000
}
