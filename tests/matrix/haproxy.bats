#!/usr/bin/env bats
# HAProxy between curl and nginx: it accepts and connects, and both sides are protected.
#
# program: HAProxy
# runs: TCP mode with splice, HTTP mode with and without; 100 MB down and 20 MB up; 200 requests, 20 at once

load helpers

setup() {
    common_setup
    require haproxy nginx curl || return
    mkdir "$BATS_TEST_TMPDIR/files"
    printf '%s\n' "$MARKER" >"$BATS_TEST_TMPDIR/files/marker"
    WEB_PORT=$(free_port)
    PORT=$(free_port)
}

start_proxy() { # plain|protected|traced tcp|http [GLOBAL OPTION]
    ends "$1"
    cat >"$BATS_TEST_TMPDIR/nginx.conf" <<END
user root;
daemon off;
pid $BATS_TEST_TMPDIR/pid;
events { }
http {
    access_log off;
    sendfile on;
    client_max_body_size 0;
    client_body_temp_path $BATS_TEST_TMPDIR/bodies;
    server { listen 127.0.0.1:$WEB_PORT; root $BATS_TEST_TMPDIR/files; dav_methods PUT; }
}
END
    cat >"$BATS_TEST_TMPDIR/haproxy.conf" <<END
global
    ${3:-}
defaults
    mode $2
    timeout connect 60s
    timeout client 60s
    timeout server 60s
    option splice-request
    option splice-response
listen web
    bind 127.0.0.1:$PORT
    server only 127.0.0.1:$WEB_PORT
END
    start web "${SERVER[@]}" nginx -c "$BATS_TEST_TMPDIR/nginx.conf" -e stderr
    start proxy "${SERVER[@]}" haproxy -db -f "$BATS_TEST_TMPDIR/haproxy.conf"
    wait_for_port "$WEB_PORT" web
    wait_for_port "$PORT" proxy
}

get() { # CURL OPTIONS... PATH
    "${CLIENT[@]}" curl --no-progress-meter --fail "${@:1:$#-1}" "http://127.0.0.1:$PORT/${*: -1}"
}

get_marker() {
    assert_equal "$(get marker)" "$MARKER"
}

# The wire behind the proxy is looked at, the one before it is as for every client.
marker_on_the_wire() { # plain|protected|traced tcp|http
    start_proxy "$1" "$2"
    if [ "$1" = traced ]; then
        on_the_wire traced "$PORT" get_marker
        return
    fi
    capture_start "$WEB_PORT"
    get_marker
    capture_stop
    if [ "$1" = plain ]; then
        assert_wire_has "$MARKER"
        return
    fi
    assert_wire_without "$MARKER"
    assert_matches "$(library_log server)" "connected to 127\.0\.0\.1:$WEB_PORT as (client|server), TLS_"
    assert_both_protected "$PORT"
}

much() { # tcp|http [GLOBAL OPTION]
    start_proxy protected "$@"
    random_file "$BATS_TEST_TMPDIR/files/large" 100M
    head -c 20M "$BATS_TEST_TMPDIR/files/large" >"$BATS_TEST_TMPDIR/upload"
    head -c 50000 "$BATS_TEST_TMPDIR/files/large" >"$BATS_TEST_TMPDIR/files/page"
    assert_equal "$(get large | hash_of)" "$(hash_of "$BATS_TEST_TMPDIR/files/large")"
    get -T "$BATS_TEST_TMPDIR/upload" uploaded
    assert_same_file "$BATS_TEST_TMPDIR/upload" "$BATS_TEST_TMPDIR/files/uploaded"
    run get -Z --parallel-immediate --parallel-max 20 -o "$BATS_TEST_TMPDIR/page-#1" -w '%{http_code}\n' 'page?[1-200]'
    assert_status 0
    assert_equal "$(sort <<<"$output" | uniq -c | xargs)" '200 200'
    assert_equal "$(sha256sum "$BATS_TEST_TMPDIR"/page-* | cut -d ' ' -f 1 | uniq -c | xargs)" \
        "200 $(hash_of "$BATS_TEST_TMPDIR/files/page")"
    assert_both_protected "$PORT"
}

@test "TCP mode: a page, the wire behind the proxy (plain: it is there)" { marker_on_the_wire plain tcp; }
@test "TCP mode: a page, the wire behind the proxy (protected: it is not)" { marker_on_the_wire protected tcp; }
@test "TCP mode: a page (traced: all calls are the library's)" { marker_on_the_wire traced tcp; }
@test "HTTP mode: a page, the wire behind the proxy (protected: it is not there)" { marker_on_the_wire protected http; }
@test "HTTP mode: a page (traced: all calls are the library's)" { marker_on_the_wire traced http; }
@test "TCP mode with splice: 100 MB down, 20 MB up, 200 requests; by hash" { much tcp; }
@test "HTTP mode with splice: 100 MB down, 20 MB up, 200 requests; by hash" { much http; }
@test "HTTP mode without splice: 100 MB down, 20 MB up, 200 requests; by hash" { much http nosplice; }
