#!/usr/bin/env bats
# Node.js: libuv's edge-triggered epoll, writev, sockets closed by syscall(), handles passed between processes.
#
# program: Node.js
# runs: http with connections kept alive and not; net, 50 MB each way at once; cluster, where the primary passes
#     accepted connections or its listener to workers

load helpers

setup() {
    common_setup
    require node
    SCRIPT=$BATS_TEST_DIRNAME/programs/node.js
}

start_node() { # plain|protected|traced KIND [ARGUMENTS]
    ends "$1"
    PORT=0
    start node "${SERVER[@]}" node "$SCRIPT" "$2" 0 "${@:3}"
    wait_for_log node 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of node)" | head -n 1)
}

call() { # KIND [ARGUMENTS]
    run --separate-stderr "${CLIENT[@]}" node "$SCRIPT" "$1" "$PORT" "${@:2}"
    assert_status 0
}

say_marker() {
    call say "$MARKER" && assert_output "$MARKER"
}

marker_on_the_wire() { # plain|protected|traced
    start_node "$1" http
    on_the_wire "$1" "$PORT" say_marker
}

@test "a request (plain: it is on the wire)" { marker_on_the_wire plain; }
@test "a request (protected: it is not)" { marker_on_the_wire protected; }
@test "a request (traced: all calls are the library's)" { marker_on_the_wire traced; }

@test "600 requests on 20 connections that are kept alive, 150 on connections of their own" {
    start_node protected http
    call requests 600 20 kept
    assert_output '600 right, from 1 processes'
    call requests 150 20
    assert_output '150 right, from 1 processes'
    assert_both_protected "$PORT"
}

@test "50 MB each way on one connection at once, by hash" {
    start_node protected net
    call stream 50000000
    assert_output '50000000 right'
    assert_both_protected "$PORT"
}

cluster_answers() { # plain|protected [shared]
    start_node "$1" cluster "${@:2}"
    wait_until "[ \$(grep -c ^port '$(log_of node)') -eq 3 ]"
    call requests 300 12
    assert_matches "$output" '^300 right, from [123] processes$'
    [ "$1" = plain ] || assert_both_protected "$PORT"
}

@test "cluster: workers get connections from the primary (plain)" { cluster_answers plain; }
@test "cluster: workers get connections from the primary (protected)" { cluster_answers protected; }
@test "cluster: workers share a listener (plain)" { cluster_answers plain shared; }
@test "cluster: workers share a listener (protected)" { cluster_answers protected shared; }
