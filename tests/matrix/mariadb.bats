#!/usr/bin/env bats
# MariaDB as Debian ships it: a thread for each connection, its own client.
#
# program: MariaDB
# runs: mariadbd and the mariadb client; LOAD DATA of 100,000 rows and back; 8 clients with transactions at once

load helpers

# The system tables are made once, by root, and copied.
setup_file() {
    mariadb-install-db --no-defaults --user=root --datadir="$BATS_FILE_TMPDIR/data" --skip-test-db \
        --auth-root-authentication-method=normal --innodb-log-file-size=4M >"$BATS_FILE_TMPDIR/install" 2>&1 ||
        { cat "$BATS_FILE_TMPDIR/install" && return 1; }
}

setup() {
    common_setup
    require mariadbd mariadb setpriv useradd || return
    make_user
    PORT=$(free_port)
    CONNECT=(--no-defaults --protocol=tcp -h 127.0.0.1 -P "$PORT" -u root)
}

start_mariadb() { # plain|protected|traced
    ends "$1"
    serve_as_user || return
    cp -r "$BATS_FILE_TMPDIR/data" "$PLACE/" && chown -R "$MADE_USER:" "$PLACE/data" || return
    start mariadb "${SERVER[@]}" mariadbd --no-defaults --datadir="$PLACE/data" --bind-address=127.0.0.1 \
        --port="$PORT" --socket="$PLACE/socket" --pid-file="$PLACE/pid" --skip-grant-tables --skip-name-resolve \
        --local-infile=1 --innodb-flush-log-at-trx-commit=0 --innodb-log-file-size=4M \
        --innodb-buffer-pool-size=32M
    wait_for_log mariadb 'ready for connections'
}

sql() { # STATEMENTS
    "${CLIENT[@]}" mariadb "${CONNECT[@]}" --local-infile=1 -B -N -e "$1"
}

keep_marker() {
    sql "CREATE DATABASE kept; CREATE TABLE kept.kept (text text); INSERT INTO kept.kept VALUES ('$MARKER')" || return
    assert_equal "$(sql 'SELECT text FROM kept.kept')" "$MARKER"
}

marker_on_the_wire() { # plain|protected|traced
    start_mariadb "$1"
    on_the_wire "$1" "$PORT" keep_marker
}

@test "a row (plain: it is on the wire)" { marker_on_the_wire plain; }
@test "a row (protected: it is not)" { marker_on_the_wire protected; }
@test "a row (traced: all calls are the library's)" { marker_on_the_wire traced; }

@test "100,000 rows in and out again, compared by hash" {
    start_mariadb protected
    random_file "$BATS_TEST_TMPDIR/bytes" 10M
    base64 -w 136 "$BATS_TEST_TMPDIR/bytes" | head -n 100000 | cat -n | sed 's/^ *//' >"$BATS_TEST_TMPDIR/rows"
    sql 'CREATE DATABASE rows_; CREATE TABLE rows_.t (id int PRIMARY KEY, text varchar(200))'
    sql "LOAD DATA LOCAL INFILE '$BATS_TEST_TMPDIR/rows' INTO TABLE rows_.t"
    assert_equal "$(sql 'SELECT count(*), sum(length(text)) FROM rows_.t')" $'100000\t13600000'
    assert_equal "$(sql 'SELECT id, text FROM rows_.t ORDER BY id' | hash_of)" "$(hash_of "$BATS_TEST_TMPDIR/rows")"
    assert_both_protected "$PORT"
}

@test "8 clients that move money at once: none is lost" {
    local number round
    start_mariadb protected
    sql 'CREATE DATABASE bank; CREATE TABLE bank.a (id int PRIMARY KEY, money int) ENGINE=InnoDB;
        INSERT INTO bank.a SELECT seq, 1000 FROM bank.seq_0_to_7'
    for number in {0..7}; do
        for round in {1..100}; do
            printf 'BEGIN; UPDATE a SET money = money - 1 WHERE id = %d;' "$number"
            printf 'UPDATE a SET money = money + 1 WHERE id = %d; COMMIT;\n' $(((number + round) % 8))
        done >"$BATS_TEST_TMPDIR/moves-$number"
        # Clients that wait in a circle are told so: --force goes on, as the next line is a BEGIN.
        start "client_$number" "${CLIENT[@]}" mariadb "${CONNECT[@]}" --force -D bank \
            -e "source $BATS_TEST_TMPDIR/moves-$number"
    done
    for number in {0..7}; do
        finish "client_$number" || :
        refute_contains "$(cat "$(log_of "client_$number")")" 'ERROR 20' # the connection was lost
    done
    assert_equal "$(sql 'SELECT sum(money), count(*) FROM bank.a')" $'8000\t8'
    assert_both_protected "$PORT"
}
