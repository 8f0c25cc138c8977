#!/usr/bin/env bats
# PostgreSQL as Debian ships it: a server that forks for each connection, and its own clients.
#
# program: PostgreSQL
# runs: psql; pgbench with 8 clients; COPY of 100 MB each way; a backend that is killed, and the recovery

load helpers

BIN=$(echo /usr/lib/postgresql/*/bin)

setup() {
    common_setup
    require setpriv useradd || return
    [ -x "$BIN/postgres" ] || fail "postgresql is not installed: run tools/check" || return
    make_user
    export PGDATABASE=postgres PGUSER=postgres PGHOST=127.0.0.1
    PGPORT=$(free_port)
    export PGPORT
}

start_postgres() { # plain|protected|traced
    ends "$1"
    serve_as_user || return
    "${AS_USER[@]}" "$BIN/initdb" -D "$PLACE/data" -U postgres -A trust --no-sync -E UTF8 --locale=C >"$PLACE/initdb" ||
        fail "$(cat "$PLACE/initdb")" || return
    start postgres "${SERVER[@]}" "$BIN/postgres" -D "$PLACE/data" -p "$PGPORT" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c fsync=off -c ssl=off
    wait_for_log postgres 'ready to accept connections'
}

sql() { # STATEMENT...
    local statement options=()
    for statement; do
        options+=(-c "$statement")
    done
    "${CLIENT[@]}" "$BIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 "${options[@]}"
}

keep_marker() {
    sql 'CREATE TABLE kept (text text)' "INSERT INTO kept VALUES ('$MARKER')" || return
    assert_equal "$(sql 'SELECT text FROM kept')" "$MARKER"
}

marker_on_the_wire() { # plain|protected|traced
    start_postgres "$1"
    on_the_wire "$1" "$PGPORT" keep_marker
}

@test "psql keeps and reads a row (plain: it is on the wire)" { marker_on_the_wire plain; }
@test "psql keeps and reads a row (protected: it is not)" { marker_on_the_wire protected; }
@test "psql keeps and reads a row (traced: all calls are the library's)" { marker_on_the_wire traced; }

# What the transactions have added is what their history says, on each level.
@test "pgbench with 8 clients, and with a connection for each transaction; the books balance" {
    start_postgres protected
    "${CLIENT[@]}" "$BIN/pgbench" -i -q -s 1 2>"$BATS_TEST_TMPDIR/initialised"
    run --separate-stderr "${CLIENT[@]}" "$BIN/pgbench" -n -c 8 -j 2 -t 200
    assert_status 0
    assert_output_has 'number of transactions actually processed: 1600/1600'
    run --separate-stderr "${CLIENT[@]}" "$BIN/pgbench" -n -C -c 4 -t 10
    assert_status 0
    assert_output_has 'number of transactions actually processed: 40/40'
    assert_equal "$(sql 'SELECT count(*), sum(delta) = (SELECT sum(abalance) FROM pgbench_accounts),
        sum(delta) = (SELECT sum(bbalance) FROM pgbench_branches) FROM pgbench_history')" '1640|t|t'
    assert_both_protected "$PGPORT"
}

@test "COPY of 100 MB in and out again, compared by hash" {
    local expected
    start_postgres protected
    random_file "$BATS_TEST_TMPDIR/bytes" 75M
    base64 -w 1000 "$BATS_TEST_TMPDIR/bytes" >"$BATS_TEST_TMPDIR/lines"
    expected=$(hash_of "$BATS_TEST_TMPDIR/lines")
    sql 'CREATE UNLOGGED TABLE lines (line text)'
    sql '\copy lines FROM pstdin' <"$BATS_TEST_TMPDIR/lines"
    assert_equal "$(sql 'SELECT count(*), sum(length(line)) FROM lines')" '104858|104857600'
    assert_equal "$(sql '\copy lines TO pstdout' | hash_of)" "$expected"
    assert_both_protected "$PGPORT"
}

# A dead backend may have left shared memory in any state: the postmaster ends all others and starts again.
@test "a backend that is killed: every client is told, and after the recovery what was committed is there" {
    local backend
    start_postgres protected
    sql 'CREATE TABLE kept (text text)' "INSERT INTO kept VALUES ('committed')"
    start victim "${CLIENT[@]}" "$BIN/psql" -X -c BEGIN -c "INSERT INTO kept VALUES ('lost')" -c 'SELECT pg_sleep(1000)'
    start witness "${CLIENT[@]}" "$BIN/psql" -X -c 'SELECT pg_sleep(999)'
    wait_until "[ \"\$(sql \"SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'\")\" = 2 ]"
    backend=$(sql "SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(1000)%'")
    kill -KILL "$backend"
    ! finish victim || fail "psql did not notice that its backend was killed"
    ! finish witness || fail "psql did not notice that its backend was ended"
    wait_until "grep -c 'ready to accept connections' '$(log_of postgres)' | grep -qx 2"
    assert_equal "$(sql 'SELECT text FROM kept')" committed
    assert_contains "$(cat "$(log_of witness)")" 'because of crash of another server process'
    assert_contains "$(cat "$(log_of postgres)")" 'was terminated by signal 9: Killed'
}
