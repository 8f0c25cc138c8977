#!/usr/bin/env bats
# Python's servers and clients: asyncio, threads, a fork for each connection, http.server; and as a daemon that
# systemd-socket-activate starts.
#
# program: Python, servers
# runs: asyncio, threads, forks with 200 clients; http.server and urllib; under systemd-socket-activate

load helpers
load real_helpers
load traced_helpers

ECHO=$ROOT/tests/programs/echo.py

port_of() { # NAME: from its first line
    wait_for_log "$1" 'port ' && sed -n 's/^.*port \([0-9]*\).*/\1/p' "$(log_of "$1")" | head -n 1
}

start_echo() { # KIND
    start echo "${SERVER[@]}" "$PYTHON" "$ECHO" "$1"
    PORT=$(port_of echo)
}

# One connection, by another program than Python.
echo_marker() { # PORT
    assert_equal "$("${CLIENT[@]}" socat -t 60 - "TCP:127.0.0.1:$1" <<<"$MARKER")" "$MARKER"
}

echo_on_the_wire() { # plain|protected|traced KIND
    ends "$1"
    start_echo "$2"
    on_the_wire "$1" "$PORT" echo_marker "$PORT"
}

many_clients() { # KIND COUNT BYTES
    both_ends protected
    start_echo "$1"
    run --separate-stderr "${CLIENT[@]}" "$PYTHON" "$ECHO" clients "$PORT" "$2" "$3"
    assert_status 0
    assert_output "$2 of $2"
    assert_both_protected "$PORT"
}

@test "an asyncio echo server (plain: the text is on the wire)" { echo_on_the_wire plain asyncio; }
@test "an asyncio echo server (protected: it is not)" { echo_on_the_wire protected asyncio; }
@test "an asyncio echo server (traced: all calls are the library's)" { echo_on_the_wire traced asyncio; }
@test "a threaded, blocking echo server (plain: the text is on the wire)" { echo_on_the_wire plain threading; }
@test "a threaded, blocking echo server (protected: it is not)" { echo_on_the_wire protected threading; }
@test "a server that forks for each connection and closes it at once (plain: the text is on the wire)" {
    echo_on_the_wire plain forking
}
@test "a server that forks for each connection and closes it at once (protected: it is not)" {
    echo_on_the_wire protected forking
}

@test "an asyncio echo server with 200 clients at once" { many_clients asyncio 200 50000; }
@test "a threaded, blocking echo server with 100 clients at once" { many_clients threading 100 50000; }
@test "a server that forks for each connection, with 40 clients at once" { many_clients forking 40 50000; }
@test "a few clients that send much" { many_clients asyncio 4 8000000; }

# ---- http.server -----------------------------------------------------------------------------------------------------

start_http() {
    mkdir "$BATS_TEST_TMPDIR/files"
    start http "${SERVER[@]}" "$PYTHON" -u -m http.server --bind 127.0.0.1 --directory "$BATS_TEST_TMPDIR/files" 0
    PORT=$(port_of http)
}

get_marker() {
    assert_equal "$("${CLIENT[@]}" curl -sf "http://127.0.0.1:$PORT/marker")" "$MARKER" || return
    assert_equal "$("${CLIENT[@]}" "$PYTHON" "$ECHO" urllib "http://127.0.0.1:$PORT/marker")" "$MARKER"
}

http_on_the_wire() { # plain|protected|traced
    ends "$1"
    start_http
    printf '%s\n' "$MARKER" >"$BATS_TEST_TMPDIR/files/marker"
    on_the_wire "$1" "$PORT" get_marker
}

@test "http.server with curl and urllib (plain: the text is on the wire)" { http_on_the_wire plain; }
@test "http.server with curl and urllib (protected: it is not)" { http_on_the_wire protected; }
@test "http.server with curl and urllib (traced: all calls are the library's)" { http_on_the_wire traced; }

@test "http.server sends a file of 50 MiB to curl and to urllib, compared by hash" {
    local expected
    both_ends protected
    start_http
    random_file "$BATS_TEST_TMPDIR/files/large" 50M
    expected=$(hash_of "$BATS_TEST_TMPDIR/files/large")
    assert_equal "$("${CLIENT[@]}" curl -sf "http://127.0.0.1:$PORT/large" | hash_of)" "$expected"
    assert_equal "$("${CLIENT[@]}" "$PYTHON" "$ECHO" urllib "http://127.0.0.1:$PORT/large" | hash_of)" \
        "$expected"
    assert_both_protected "$PORT"
}

# ---- systemd-socket-activate: sockets that the daemon never accepted or bound itself ---------------------------------

# It passes on none of its own environment, but for what -E names.
activate() { # OPTIONS... KIND
    local name pass=()
    require systemd-socket-activate
    PORT=$(free_port)
    for name in LD_PRELOAD P2PTLS_POLICY P2PTLS_LOG XDG_STATE_HOME ASAN_OPTIONS; do
        pass+=(-E "$name")
    done
    start activate "${SERVER[@]}" systemd-socket-activate "${pass[@]}" -l "127.0.0.1:$PORT" "${@:1:$#-1}" \
        "$PYTHON" "$ECHO" "${*: -1}"
    wait_for_port "$PORT" activate
}

activated_on_the_wire() { # plain|protected OPTIONS... KIND
    both_ends "$1"
    activate "${@:2}"
    assert_wire_hides_marker "$1" "$PORT" echo_marker "$PORT"
    # The daemon's listener or connection is the one that was passed on; once more for a daemon that went on.
    echo_marker "$PORT"
}

@test "a daemon that inherits a listener (plain: the text is on the wire)" {
    activated_on_the_wire plain inherited-listener
}
@test "a daemon that inherits a listener (protected: it is not)" { activated_on_the_wire protected inherited-listener; }
@test "a daemon that inherits an accepted connection over exec (plain: the text is on the wire)" {
    activated_on_the_wire plain --accept inherited-connection
}
@test "a daemon that inherits an accepted connection over exec (protected: it is not)" {
    activated_on_the_wire protected --accept inherited-connection
}
