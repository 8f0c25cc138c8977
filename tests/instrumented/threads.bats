#!/usr/bin/env bats
# The library under ThreadSanitizer, which ends a program at the first race (helpers.bash). Needs
# `make SANITIZE=thread lib programs`.

P2PTLS_BUILD=${P2PTLS_BUILD:-build-thread}
load ../helpers
load ../program_helpers

@test "the library under test is instrumented" {
    assert_contains "$(nm -D "$LIBRARY")" 'U __tsan_write8'
    assert_contains "$(nm -D "${LIBRARY%/*}/libp2ptls-core.so")" 'U __tsan_write8'
}

@test "a reading and a writing thread, blocking" { protected torture --threads --mode blocking --bytes 1000000; }
@test "a reading and a writing thread, the smallest send buffer" {
    protected torture --threads --mode blocking --bytes 100000 --sndbuf 1
}
@test "a reading and a writing thread, edge-triggered" {
    protected torture --threads --mode epoll-edge --bytes 1000000
}
@test "a reading and a writing thread, new keys after 3 records" {
    OPTIONS=rekey-after=3 protected torture --threads --mode epoll-edge --bytes 300000 --max 2000
}
@test "a thread for each connection" { protected threads_echo server; }
@test "many threads on one descriptor" { protected threads_echo shared; }
@test "a storm of signals" { protected signal_io storm; }
@test "an edge-triggered server with 200 clients, the smallest send buffers" { protected readiness small; }
@test "threads that use, dup, close and connect again on the same numbers" {
    protected threads_churn "${CHURN_SECONDS:-10}"
}
@test "a number that is copied while a connect on it fails" {
    P2PTLS_POLICY='any 127.0.0.0/8:*' run p2p "$PROGRAMS/dup_race" 2000 refused
    assert_status 0
}
