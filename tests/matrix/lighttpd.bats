#!/usr/bin/env bats
# lighttpd: one process with epoll, sendfile, and CGI programs that it starts by vfork or fork.
#
# program: lighttpd
# runs: sendfile of 100 MB; 100 parallel requests of curl; CGI with an upload of 5 MB

load helpers

setup() {
    common_setup
    require lighttpd curl || return
    mkdir "$BATS_TEST_TMPDIR/files"
    printf '%s\n' "$MARKER" >"$BATS_TEST_TMPDIR/files/marker"
    printf '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n"\nexec sha256sum\n' >"$BATS_TEST_TMPDIR/files/hash.cgi"
    chmod 755 "$BATS_TEST_TMPDIR/files/hash.cgi"
    PORT=$(free_port)
}

start_lighttpd() { # plain|protected|traced
    ends "$1"
    cat >"$BATS_TEST_TMPDIR/lighttpd.conf" <<END
server.bind = "127.0.0.1"
server.port = $PORT
server.document-root = "$BATS_TEST_TMPDIR/files"
server.modules = ("mod_cgi")
server.network-backend = "sendfile"
server.upload-dirs = ("$BATS_TEST_TMPDIR")
cgi.assign = (".cgi" => "")
END
    start lighttpd "${SERVER[@]}" lighttpd -D -f "$BATS_TEST_TMPDIR/lighttpd.conf"
    wait_for_port "$PORT" lighttpd
}

get() { # CURL OPTIONS... PATH
    "${CLIENT[@]}" curl --no-progress-meter --fail "${@:1:$#-1}" "http://127.0.0.1:$PORT/${*: -1}"
}

get_marker() {
    assert_equal "$(get marker)" "$MARKER" || return
    assert_equal "$(get --data-binary "$MARKER" hash.cgi)" "$(printf %s "$MARKER" | sha256sum)"
}

marker_on_the_wire() { # plain|protected|traced
    start_lighttpd "$1"
    on_the_wire "$1" "$PORT" get_marker
}

@test "a page and a CGI program (plain: they are on the wire)" { marker_on_the_wire plain; }
@test "a page and a CGI program (protected: they are not)" { marker_on_the_wire protected; }
@test "a page and a CGI program (traced: all calls are the library's)" { marker_on_the_wire traced; }

@test "100 MB by sendfile, an upload to a CGI program, 100 requests at once; by hash" {
    start_lighttpd protected
    random_file "$BATS_TEST_TMPDIR/files/large" 100M
    head -c 5M "$BATS_TEST_TMPDIR/files/large" >"$BATS_TEST_TMPDIR/upload"
    head -c 100000 "$BATS_TEST_TMPDIR/files/large" >"$BATS_TEST_TMPDIR/files/page"
    assert_equal "$(get large | hash_of)" "$(hash_of "$BATS_TEST_TMPDIR/files/large")"
    assert_equal "$(get -T "$BATS_TEST_TMPDIR/upload" -X POST hash.cgi)" "$(sha256sum <"$BATS_TEST_TMPDIR/upload")"
    get -Z --parallel-immediate --parallel-max 100 -o "$BATS_TEST_TMPDIR/page-#1" 'page?[1-100]'
    assert_equal "$(sha256sum "$BATS_TEST_TMPDIR"/page-* | cut -d ' ' -f 1 | uniq -c | xargs)" \
        "100 $(hash_of "$BATS_TEST_TMPDIR/files/page")"
    assert_both_protected "$PORT"
}
