#!/usr/bin/env bats
# memcached: threads that hand connections to each other, libevent.
#
# program: memcached
# runs: its text protocol; 16 clients at once that store, read and compare values up to 1 MB

load helpers

setup() {
    common_setup
    require memcached || return
    PORT=$(free_port)
    CALLER=$BATS_TEST_DIRNAME/programs/memcached.py
}

start_memcached() { # plain|protected|traced
    ends "$1"
    start memcached "${SERVER[@]}" memcached -u root -l 127.0.0.1 -p "$PORT" -U 0 -m 256
    wait_for_port "$PORT" memcached
}

ask() { # ARGUMENTS of programs/memcached.py
    run "${CLIENT[@]}" "$PYTHON" "$CALLER" "$PORT" "$@"
    assert_status 0
}

marker_on_the_wire() { # plain|protected|traced
    start_memcached "$1"
    on_the_wire "$1" "$PORT" ask 1 1 "$MARKER"
}

@test "a value (plain: it is on the wire)" { marker_on_the_wire plain; }
@test "a value (protected: it is not)" { marker_on_the_wire protected; }
@test "a value (traced: all calls are the library's)" { marker_on_the_wire traced; }

@test "16 clients at once, values from nothing to nearly 1 MB, each compared" {
    start_memcached protected
    ask 16 40
    assert_output '640 values were right'
    assert_both_protected "$PORT"
}
