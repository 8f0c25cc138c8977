#!/usr/bin/env bats
# nginx again (tests/nginx.bats has most of it): what has to go on while workers are replaced, and threads that send.
#
# program: nginx, reload under load
# runs: five reloads under load; sendfile in a pool of threads

load helpers

setup() {
    common_setup
    require nginx curl || return
    make_place
    mkdir "$PLACE/files"
    printf '%s\n' "$MARKER" >"$PLACE/files/marker"
    PORT=$(free_port)
}

teardown() {
    [ -n "${BATS_TEST_COMPLETED:-}" ] || tail -n 20 "$PLACE/error.log" || :
    matrix_teardown
}

start_nginx() { # plain|protected|traced [DIRECTIVES of the server]
    ends "$1"
    cat >"$PLACE/nginx.conf" <<END
user www-data;
daemon off;
worker_processes 2;
pid $PLACE/pid;
error_log $PLACE/error.log notice;
events { use epoll; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path $PLACE/bodies;
    server { listen 127.0.0.1:$PORT; root $PLACE/files; ${2:-} }
}
END
    start nginx "${SERVER[@]}" nginx -c "$PLACE/nginx.conf" -e "$PLACE/error.log"
    wait_for_port "$PORT" nginx
}

get() { # CURL OPTIONS... PATH
    "${CLIENT[@]}" curl --no-progress-meter --fail "${@:1:$#-1}" "http://127.0.0.1:$PORT/${*: -1}"
}

get_marker() {
    assert_equal "$(get marker)" "$MARKER"
}

assert_no_complaints() {
    run grep -E '\[(error|crit|alert|emerg)\]|exited on signal' "$PLACE/error.log"
    assert_output ''
}

@test "a page (traced: all calls are the library's)" {
    start_nginx traced
    on_the_wire traced "$PORT" get_marker
}

@test "five reloads under load lose no request, and every old worker ends" {
    local round
    start_nginx protected
    random_file "$PLACE/files/page" 100000
    pgrep -P "$(pid_of nginx)" >"$BATS_TEST_TMPDIR/workers"
    # A kept-alive connection that a reload closes may be lost between two requests, on plain TCP too.
    start load "${CLIENT[@]}" curl --no-progress-meter --fail -Z --parallel-max 10 -H 'Connection: close' -o /dev/null \
        -w '%{http_code} %{size_download}\n' "http://127.0.0.1:$PORT/page?[1-600]"
    for round in 1 2 3 4 5; do
        wait_until "[ \$(grep -c ^200 '$(log_of load)') -ge $((round * 80)) ]"
        kill -HUP "$(pid_of nginx)"
        wait_until "[ \$(grep -c ': reconfiguring' '$PLACE/error.log') -eq $round ]"
    done
    finish load
    assert_equal "$(sort <"$(log_of load)" | uniq -c | xargs)" '600 200 100000'
    wait_until "! xargs kill -0 <'$BATS_TEST_TMPDIR/workers' 2>/dev/null"
    get_marker
    assert_both_protected "$PORT"
    assert_no_complaints
}

@test "200 MB sent by sendfile in a pool of threads, to 4 clients at once, by hash" {
    local expected
    start_nginx protected 'aio threads; sendfile_max_chunk 512k;'
    random_file "$PLACE/files/large" 50M
    expected=$(hash_of "$PLACE/files/large")
    get -Z --parallel-immediate -o "$BATS_TEST_TMPDIR/large-#1" 'large?[1-4]'
    assert_equal "$(sha256sum "$BATS_TEST_TMPDIR"/large-* | cut -d ' ' -f 1 | uniq -c | xargs)" "4 $expected"
    assert_both_protected "$PORT"
    assert_no_complaints
}
