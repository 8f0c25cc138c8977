#!/usr/bin/env bats
# iperf3, socat and ncat on both ends: bulk in both directions, files compared by hash, half-close.

load helpers
load real_helpers

# ---- iperf3 ----------------------------------------------------------------------------------------------------------

bulk() { # CLIENT OPTIONS...: writes what each connection's sender and receiver counted, in bytes, to a file
    local port
    port=$(free_port)
    both_ends protected
    start iperf "${SERVER[@]}" iperf3 -s -1 -B 127.0.0.1 -p "$port"
    wait_for_port "$port" iperf
    "${CLIENT[@]}" iperf3 -c 127.0.0.1 -p "$port" -J "$@" >"$BATS_TEST_TMPDIR/report" || {
        cat "$BATS_TEST_TMPDIR/report"
        return 1
    }
    finish iperf || return
    assert_both_protected "$port" || return
    "$PYTHON" -c '
import json, sys
for s in json.load(sys.stdin)["end"]["streams"]:
    print(s["sender"]["bytes"], s["receiver"]["bytes"])' <"$BATS_TEST_TMPDIR/report" >"$BATS_TEST_TMPDIR/counts"
}

# The client stops counting at the end of the run; some buffers may be under way then. Of several connections only the
# sum is prescribed.
assert_bulk() { # MINIMUM CONNECTIONS
    local sent received lines=0
    while read -r sent received; do
        lines=$((lines + 1))
        assert_at_least "$sent" "$1" "bytes sent" || return
        assert_at_least "$received" $(($1 / 2)) "bytes received" || return
        assert_at_most "$received" "$sent" "bytes received" || return
    done <"$BATS_TEST_TMPDIR/counts"
    assert_equal $lines "$2" "number of connections"
}

@test "iperf3 sends to the server" {
    bulk -n 500M
    assert_bulk 524288000 1
}

@test "iperf3 receives from the server" {
    bulk -n 500M -R
    assert_bulk 524288000 1
}

@test "iperf3 in both directions at once" {
    bulk -n 200M --bidir
    assert_bulk 2000 2
}

@test "iperf3 with four connections and short writes" {
    bulk -n 20M -P 4 -l 1000
    assert_bulk 2000 4
}

# ---- socat and ncat --------------------------------------------------------------------------------------------------

# A server for one connection, which is as if it were its standard input and output: two files.
serve_files_socat() { # SEND RECEIVE
    start serving "${SERVER[@]}" socat -d -d -t 60 "OPEN:$1!!OPEN:$2,creat,wronly" TCP-LISTEN:0,bind=127.0.0.1
    socat_port
}

serve_files_ncat() { # SEND RECEIVE
    PORT=$(free_port)
    # shellcheck disable=SC2016 # for the inner shell
    start serving "${SERVER[@]}" sh -c 'exec ncat -l 127.0.0.1 "$0" <"$1" >"$2"' "$PORT" "$1" "$2"
    wait_for_port "$PORT" serving
}

serve_command() { # COMMAND
    start serving "${SERVER[@]}" socat -d -d -t 60 TCP-LISTEN:0,bind=127.0.0.1 "SYSTEM:$1"
    socat_port
}

socat_port() {
    wait_for_log serving 'listening on' || return
    PORT=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' "$(log_of serving)")
}

talk_socat() { "${CLIENT[@]}" socat -t 60 - "TCP:127.0.0.1:$PORT"; }
talk_ncat() { "${CLIENT[@]}" ncat 127.0.0.1 "$PORT"; }

# The marker goes from the server to the client.
get_marker() { # TOOL
    assert_equal "$(talk_"$1" </dev/null)" "$MARKER"
}

marker_on_the_wire() { # plain|protected TOOL
    both_ends "$1"
    printf '%s\n' "$MARKER" >"$BATS_TEST_TMPDIR/marker"
    serve_files_"$2" "$BATS_TEST_TMPDIR/marker" "$BATS_TEST_TMPDIR/nothing"
    assert_wire_hides_marker "$1" "$PORT" get_marker "$2"
}

@test "socat (plain: the text is on the wire)" { marker_on_the_wire plain socat; }
@test "socat (protected: it is not)" { marker_on_the_wire protected socat; }
@test "ncat (plain: the text is on the wire)" { marker_on_the_wire plain ncat; }
@test "ncat (protected: it is not)" { marker_on_the_wire protected ncat; }

# A file each way at the same time, of different sizes, so that one direction ends first.
exchange() { # TOOL SIZE-TO-SERVER SIZE-TO-CLIENT
    both_ends protected
    random_file "$BATS_TEST_TMPDIR/there" "$2"
    random_file "$BATS_TEST_TMPDIR/back" "$3"
    serve_files_"$1" "$BATS_TEST_TMPDIR/back" "$BATS_TEST_TMPDIR/got-there"
    talk_"$1" <"$BATS_TEST_TMPDIR/there" >"$BATS_TEST_TMPDIR/got-back"
    finish serving
    assert_same_file "$BATS_TEST_TMPDIR/there" "$BATS_TEST_TMPDIR/got-there"
    assert_same_file "$BATS_TEST_TMPDIR/back" "$BATS_TEST_TMPDIR/got-back"
    assert_both_protected "$PORT"
    assert_opposite_roles
}

# (A listening ncat ends when it sees the end of what the client sends, so it must have sent everything by then.)
@test "socat: a large file there, a small one back" { exchange socat 50M 100K; }
@test "socat: a small file there, a large one back" { exchange socat 100K 50M; }
@test "ncat: a large file there, a small one back, by select on non-blocking descriptors" { exchange ncat 50M 100K; }

@test "ncat: a large file from the server" {
    both_ends protected
    random_file "$BATS_TEST_TMPDIR/back" 50M
    PORT=$(free_port)
    # shellcheck disable=SC2016 # for the inner shell
    start serving "${SERVER[@]}" sh -c 'exec ncat -l --send-only 127.0.0.1 "$0" <"$1"' "$PORT" "$BATS_TEST_TMPDIR/back"
    wait_for_port "$PORT" serving
    "${CLIENT[@]}" ncat --recv-only 127.0.0.1 "$PORT" >"$BATS_TEST_TMPDIR/got-back"
    finish serving
    assert_same_file "$BATS_TEST_TMPDIR/back" "$BATS_TEST_TMPDIR/got-back"
    assert_both_protected "$PORT"
}

# The server answers only once it has seen the end of what the client sends; the client's reading half is open still.
half_close() { # TOOL
    both_ends protected
    random_file "$BATS_TEST_TMPDIR/there" 20M
    serve_command sha256sum
    assert_equal "$(talk_"$1" <"$BATS_TEST_TMPDIR/there" | cut -d ' ' -f 1)" "$(hash_of "$BATS_TEST_TMPDIR/there")"
    finish serving
    assert_both_protected "$PORT"
}

@test "socat: half-close, then the answer" { half_close socat; }
@test "ncat: half-close, then the answer" { half_close ncat; }
