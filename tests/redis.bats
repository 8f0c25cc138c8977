#!/usr/bin/env bats
# redis-server, redis-cli and redis-benchmark as Debian ships them; and memcached, the other one with a text protocol.
#
# program: redis
# runs: redis-cli; redis-benchmark with 50 clients; 20 MB values; replicas; memcached for one value

load helpers
load real_helpers
load traced_helpers

start_redis() { # NAME PORT [SERVER OPTIONS]...
    mkdir -p "$BATS_TEST_TMPDIR/$1"
    start "$1" "${SERVER[@]}" redis-server --bind 127.0.0.1 --port "$2" --save '' --dir "$BATS_TEST_TMPDIR/$1" "${@:3}"
    wait_for_port "$2" "$1"
}

cli() { # PORT COMMAND...
    "${CLIENT[@]}" redis-cli -p "$@"
}

set_and_get() { # PORT
    assert_equal "$(cli "$1" SET key "$MARKER")" OK || return
    assert_equal "$(cli "$1" GET key)" "$MARKER"
}

set_and_get_on_the_wire() { # plain|protected|traced
    local port
    port=$(free_port)
    ends "$1"
    start_redis redis "$port"
    on_the_wire "$1" "$port" set_and_get "$port"
}

@test "redis-cli sets and gets a value (plain: it is on the wire)" { set_and_get_on_the_wire plain; }
@test "redis-cli sets and gets a value (protected: it is not)" { set_and_get_on_the_wire protected; }
@test "redis-cli sets and gets a value (traced: all calls are the library's)" { set_and_get_on_the_wire traced; }

@test "of one connection one end is TLS client and the other TLS server" {
    local port
    port=$(free_port)
    both_ends protected
    start_redis redis "$port"
    assert_equal "$(cli "$port" PING)" PONG
    assert_opposite_roles
}

@test "redis-cli without the library, and a server without it, get nothing through" {
    local port
    port=$(free_port)
    both_ends protected
    start_redis redis "$port"
    run redis-cli -p "$port" GET key
    assert_output_without nil
    wait_until "grep -q ' error: ' '$BATS_TEST_TMPDIR/server.p2ptls'"

    SERVER=(env)
    policy 'any 127.0.0.1:* handshake-timeout=300ms' # redis waits for the end of a line; the hello has none
    port=$(free_port)
    start_redis unprotected "$port"
    run --separate-stderr cli "$port" SET key "$MARKER"
    assert_output_without OK
    assert_equal "$(redis-cli -p "$port" DBSIZE)" 0
}

# A pipelined run sends 16 requests at once. Values of 40,000 bytes take several records each way.
@test "redis-benchmark with 50 clients, pipelined and not, small values and large ones" {
    local port options
    port=$(free_port)
    both_ends protected
    start_redis redis "$port"
    for options in '-n 10000' '-n 50000 -P 16' '-n 2000 -d 40000' '-n 1000 -d 40000 -P 16' '-n 250 -k 0'; do
        # shellcheck disable=SC2086 # several words
        run --separate-stderr "${CLIENT[@]}" redis-benchmark -p "$port" -c 50 -t set,get -q $options
        assert_status 0
        assert_matches "$output" 'SET: [0-9.]+ requests per second' || fail "options: $options"
        assert_matches "$output" 'GET: [0-9.]+ requests per second' || fail "options: $options"
    done
    assert_both_protected "$port"
    assert_equal "$(cli "$port" PING)" PONG
}

@test "a large value, and many commands through one connection" {
    local port
    port=$(free_port)
    both_ends protected
    start_redis redis "$port"
    random_file "$BATS_TEST_TMPDIR/value" 20M
    assert_equal "$(cli "$port" -x SET large <"$BATS_TEST_TMPDIR/value")" OK
    assert_equal "$(cli "$port" GET large | head -c -1 | hash_of)" "$(hash_of "$BATS_TEST_TMPDIR/value")"
    seq 1 20000 | sed 's/.*/SET key:& value:&/' | "${CLIENT[@]}" redis-cli -p "$port" --pipe >"$BATS_TEST_TMPDIR/pipe"
    assert_contains "$(cat "$BATS_TEST_TMPDIR/pipe")" 'errors: 0, replies: 20000'
    assert_equal "$(cli "$port" GET key:20000)" value:20000
}

# The primary is a server to its clients and to the replica; the replica is a server that connects.
replicate() { # SERVER OPTIONS...
    local primary replica
    primary=$(free_port)
    both_ends protected
    start_redis primary "$primary" "$@"
    cli "$primary" DEBUG POPULATE 20000 before 200
    assert_equal "$(cli "$primary" SET key "$MARKER")" OK
    capture_start "$primary"
    replica=$(free_port)
    start_redis replica "$replica" --replicaof 127.0.0.1 "$primary" "$@"
    wait_for_log replica 'MASTER <-> REPLICA sync: Finished with success'
    assert_equal "$(cli "$primary" SET after "$MARKER")" OK
    assert_equal "$(cli "$primary" WAIT 1 0)" 1
    capture_stop
    assert_equal "$(cli "$replica" GET after)" "$MARKER"
    assert_equal "$(cli "$replica" GET key)" "$MARKER"
    assert_equal "$(cli "$replica" DBSIZE)" 20002
    assert_equal "$(cli "$replica" DEBUG DIGEST)" "$(cli "$primary" DEBUG DIGEST)"
    assert_wire_without "$MARKER"
    assert_matches "$(library_log server)" "connected to 127\.0\.0\.1:$primary as (client|server), TLS_"
    assert_both_protected "$primary"
}

@test "a replica is filled from the primary's memory, by a forked child" {
    replicate --enable-debug-command local --repl-diskless-sync yes --repl-diskless-sync-delay 0
}

@test "a replica is filled from a file on the primary's disk" {
    replicate --enable-debug-command local --repl-diskless-sync no
}

# ---- memcached: threads with libevent --------------------------------------------------------------------------------

ask_memcached() { # PORT
    local answer
    answer=$(printf 'set key 0 0 %d\r\n%s\r\nget key\r\nquit\r\n' ${#MARKER} "$MARKER" |
        "${CLIENT[@]}" ncat 127.0.0.1 "$1" | tr -d '\r')
    assert_equal "$answer" "STORED"$'\n'"VALUE key 0 ${#MARKER}"$'\n'"$MARKER"$'\n'END
}

memcached_on_the_wire() { # plain|protected
    local port
    port=$(free_port)
    both_ends "$1"
    start memcached "${SERVER[@]}" memcached -u root -l 127.0.0.1 -p "$port" -U 0
    wait_for_port "$port" memcached
    assert_wire_hides_marker "$1" "$port" ask_memcached "$port"
}

@test "memcached stores and returns a value (plain: it is on the wire)" { memcached_on_the_wire plain; }
@test "memcached stores and returns a value (protected: it is not)" { memcached_on_the_wire protected; }
