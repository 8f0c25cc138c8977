#!/usr/bin/env bats
# nginx as Debian ships it, with curl: edge-triggered epoll, two workers that have dropped their privileges, sendfile,
# keep-alive; as a file server, as one that takes uploads, and as a proxy whose upstream is protected too.
#
# program: nginx
# runs: sendfile of 1 GB; proxies; uploads; keep-alive and 50 parallel requests; a reload; curl as client

load helpers
load real_helpers
load traced_helpers

PARALLEL=50

# The workers run as www-data, which cannot enter bats's folders.
setup() {
    common_setup
    WEB=$(mktemp -d "${TMPDIR:-/tmp}/p2ptls-nginx.XXXXXX")
    mkdir -m 777 "$WEB/files" "$WEB/bodies"
    chmod 755 "$WEB"
    printf '%s\n' "$MARKER" >"$WEB/files/marker"
    PORT=$(free_port)
    PROXY_PORT=$(free_port)
}

teardown() {
    [ -n "${BATS_TEST_COMPLETED:-}" ] || tail -n 20 "$WEB/error.log" || :
    stop_all
    rm -rf "$WEB"
    common_teardown
}

# Uploads wait in files, for the proxy as well.
write_config() {
    cat >"$WEB/nginx.conf" <<END
user www-data;
daemon off;
worker_processes 2;
pid $WEB/pid;
error_log $WEB/error.log notice;
events { use epoll; worker_connections 1024; multi_accept on; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 65;
    keepalive_requests 100000;
    client_max_body_size 0;
    client_body_temp_path $WEB/bodies;
    proxy_temp_path $WEB/proxied;
    proxy_max_temp_file_size 0;
    upstream files { server 127.0.0.1:$PORT; keepalive 8; }
    server {
        listen 127.0.0.1:$PORT;
        root $WEB/files;
        dav_methods PUT DELETE;
    }
    server {
        listen 127.0.0.1:$PROXY_PORT;
        location / {
            proxy_pass http://files;
            proxy_http_version 1.1;
            proxy_set_header Connection '';
        }
    }
}
END
}

start_nginx() {
    require nginx curl || return
    write_config
    start nginx "${SERVER[@]}" /usr/sbin/nginx -c "$WEB/nginx.conf" -e "$WEB/error.log"
    wait_for_port "$PORT" nginx
    wait_for_port "$PROXY_PORT" nginx
}

get() { # CURL OPTIONS... URL
    "${CLIENT[@]}" curl --no-progress-meter --fail "$@"
}

get_marker() { # PORT
    assert_equal "$(get "http://127.0.0.1:$1/marker")" "$MARKER"
}

# nginx itself has nothing to complain about.
assert_no_alerts() {
    run grep -E '\[(error|crit|alert|emerg)\]|exited on signal' "$WEB/error.log"
    assert_output ''
}

marker_on_the_wire() { # plain|protected|traced PORT
    ends "$1"
    start_nginx
    on_the_wire "$1" "$2" get_marker "$2"
}

@test "a page (plain: it is on the wire)" { marker_on_the_wire plain "$PORT"; }
@test "a page (protected: it is not)" { marker_on_the_wire protected "$PORT"; }
@test "a page through a proxy (traced: all calls are the library's)" { marker_on_the_wire traced "$PROXY_PORT"; }
@test "a page through a proxy, its upstream's wire (plain: it is on the wire)" {
    both_ends plain
    start_nginx
    assert_wire_hides_marker plain "$PORT" get_marker "$PROXY_PORT"
}
@test "a page through a proxy, its upstream's wire (protected: it is not)" {
    both_ends protected
    start_nginx
    capture_start "$PORT"
    get_marker "$PROXY_PORT"
    capture_stop
    assert_wire_without "$MARKER"
    assert_matches "$(library_log server)" "connected to 127\.0\.0\.1:$PORT as (client|server), TLS_"
    assert_both_protected "$PROXY_PORT"
}

download() { # PORT SIZE
    both_ends protected
    start_nginx
    random_file "$WEB/files/large" "$2"
    assert_equal "$(get "http://127.0.0.1:$1/large" | hash_of)" "$(hash_of "$WEB/files/large")"
    assert_both_protected "$1"
    assert_no_alerts
}

@test "a download of 1 GiB by sendfile, compared by hash" { download "$PORT" 1G; }
@test "a download of 200 MiB by a proxy, compared by hash" { download "$PROXY_PORT" 200M; }

@test "an upload of 100 MiB, directly and by a proxy, compared by hash" {
    local port
    both_ends protected
    start_nginx
    random_file "$BATS_TEST_TMPDIR/large" 100M
    for port in "$PORT" "$PROXY_PORT"; do
        get -T "$BATS_TEST_TMPDIR/large" "http://127.0.0.1:$port/uploaded-$port"
        assert_same_file "$BATS_TEST_TMPDIR/large" "$WEB/files/uploaded-$port"
    done
    assert_both_protected "$PORT"
    assert_no_alerts
}

@test "an upload in small pieces whose end is not announced (chunked)" {
    both_ends protected
    start_nginx
    random_file "$BATS_TEST_TMPDIR/body" 5M
    dd if="$BATS_TEST_TMPDIR/body" bs=1000 status=none | get -T - "http://127.0.0.1:$PORT/chunked"
    assert_same_file "$BATS_TEST_TMPDIR/body" "$WEB/files/chunked"
    assert_no_alerts
}

# Sizes around a record's 16384 bytes and nginx's buffers.
make_pages() {
    local size
    for size in 0 1 1000 16383 16384 16385 32768 100000 1000000; do
        random_file "$WEB/files/page-$size" 1000000
        truncate -s $size "$WEB/files/page-$size"
    done
}

fetch_all_pages() { # PORT TIMES CURL OPTIONS...: prints status and size of each
    get "${@:3}" -o /dev/null -w '%{http_code} %{size_download}\n' \
        "http://127.0.0.1:$1/page-{0,1,1000,16383,16384,16385,32768,100000,1000000}?[1-$2]"
}

@test "many requests on one connection that is kept alive" {
    both_ends protected
    start_nginx
    make_pages
    local pages
    pages=$(fetch_all_pages "$PORT" 100)
    assert_equal "$(sort <<<"$pages" | uniq -c | sort -k3n | awk '{print $1 "x" $3}' | tr '\n' ' ')" \
        '100x0 100x1 100x1000 100x16383 100x16384 100x16385 100x32768 100x100000 100x1000000 '
    assert_opposite_roles # so there was just one connection
    assert_no_alerts
}

@test "parallel requests, directly and by a proxy, on connections that are kept alive" {
    local port pages
    both_ends protected
    start_nginx
    make_pages
    for port in "$PORT" "$PROXY_PORT"; do
        pages=$(fetch_all_pages "$port" 50 -Z --parallel-immediate --parallel-max $PARALLEL)
        assert_equal "$(sort <<<"$pages" | uniq -c | sort -k3n | awk '{print $1 "x" $3}' | tr '\n' ' ')" \
            '50x0 50x1 50x1000 50x16383 50x16384 50x16385 50x32768 50x100000 50x1000000 '
    done
    assert_both_protected "$PORT"
    assert_no_alerts
}

@test "pages fetched slowly and at once, each compared" {
    local size sizes='1000 16384 16385 100000 1000000'
    both_ends protected
    start_nginx
    make_pages
    for size in $sizes; do
        start "slow_$size" "${CLIENT[@]}" curl -sf --limit-rate 300K -o "$BATS_TEST_TMPDIR/got-$size" \
            "http://127.0.0.1:$PORT/page-$size"
    done
    for size in $sizes; do
        finish "slow_$size"
        assert_same_file "$BATS_TEST_TMPDIR/got-$size" "$WEB/files/page-$size"
    done
    assert_no_alerts
}

@test "nginx reloads its configuration, and its old workers end" {
    local old
    both_ends protected
    start_nginx
    get_marker "$PORT"
    old=$(pgrep -P "$(pid_of nginx)" | head -n 1)
    kill -HUP "$(pid_of nginx)"
    wait_until "! kill -0 $old 2>/dev/null"
    get_marker "$PORT"
    get_marker "$PROXY_PORT"
    assert_both_protected "$PORT"
}

@test "curl without the library gets nothing from nginx, which goes on" {
    both_ends protected
    start_nginx
    run curl -s "http://127.0.0.1:$PORT/marker"
    [ "$status" -ne 0 ] || fail "curl got an answer: $output"
    assert_output_without "$MARKER"
    get_marker "$PORT"
    assert_contains "$(library_log server)" ' error: '
}
