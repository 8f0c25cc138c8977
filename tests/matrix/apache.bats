#!/usr/bin/env bats
# Apache httpd as Debian ships it, with threads (mpm_event) and with processes (mpm_prefork), each started as root with
# workers of another user.
#
# program: Apache httpd
# runs: mpm_event and mpm_prefork; sendfile of 200 MB; 100 parallel downloads; CGI with an upload of 20 MB; a graceful
#     restart under load

load helpers

MODULES=/usr/lib/apache2/modules

setup() {
    common_setup
    require apache2 curl || return
    make_place
    mkdir "$PLACE/files" "$PLACE/cgi" "$PLACE/run"
    printf '%s\n' "$MARKER" >"$PLACE/files/marker"
    # Apache reads the answer of a program only after it has written the request: so both are not long.
    printf '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n"\n%s\n' cat >"$PLACE/cgi/echo"
    printf '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n"\n%s\n' sha256sum >"$PLACE/cgi/hash"
    chmod 755 "$PLACE/cgi/echo" "$PLACE/cgi/hash"
    PORT=$(free_port)
}

teardown() {
    [ -n "${BATS_TEST_COMPLETED:-}" ] || tail -n 20 "$PLACE/error.log" || :
    matrix_teardown
}

write_config() { # event|prefork
    local cgi=cgi
    [ "$1" = prefork ] || cgi=cgid # threads and fork do not go together: a daemon starts the programs
    cat >"$PLACE/httpd.conf" <<END
ServerRoot $PLACE
ServerName 127.0.0.1
DefaultRuntimeDir $PLACE/run
PidFile $PLACE/pid
ErrorLog $PLACE/error.log
User www-data
Group www-data
Listen 127.0.0.1:$PORT
LoadModule mpm_$1_module $MODULES/mod_mpm_$1.so
LoadModule authz_core_module $MODULES/mod_authz_core.so
LoadModule alias_module $MODULES/mod_alias.so
LoadModule ${cgi}_module $MODULES/mod_$cgi.so
DocumentRoot $PLACE/files
EnableSendfile on
EnableMMAP off
KeepAlive on
MaxKeepAliveRequests 0
StartServers 2
ScriptAlias /cgi/ $PLACE/cgi/
END
    [ "$1" = prefork ] || echo "ScriptSock $PLACE/run/cgid" >>"$PLACE/httpd.conf"
}

start_apache() { # plain|protected|traced event|prefork
    ends "$1"
    write_config "$2"
    start apache "${SERVER[@]}" apache2 -f "$PLACE/httpd.conf" -DFOREGROUND
    wait_for_port "$PORT" apache
}

get() { # CURL OPTIONS... PATH
    "${CLIENT[@]}" curl --no-progress-meter --fail "${@:1:$#-1}" "http://127.0.0.1:$PORT/${*: -1}"
}

get_marker() {
    assert_equal "$(get marker)" "$MARKER" || return
    assert_equal "$(get --data-binary "$MARKER" cgi/echo)" "$MARKER"
}

marker_on_the_wire() { # plain|protected|traced event|prefork
    start_apache "$1" "$2"
    on_the_wire "$1" "$PORT" get_marker
}

# Nothing but notices in the log, and no child died.
assert_no_complaints() {
    run grep -E ':(error|crit|alert|emerg)\]|exit signal' "$PLACE/error.log"
    assert_output ''
}

much_at_once() { # event|prefork
    start_apache protected "$1"
    random_file "$PLACE/files/large" 200M
    random_file "$BATS_TEST_TMPDIR/upload" 20M
    assert_equal "$(get large | hash_of)" "$(hash_of "$PLACE/files/large")"
    assert_equal "$(get -T "$BATS_TEST_TMPDIR/upload" -X POST cgi/hash)" "$(hash_of "$BATS_TEST_TMPDIR/upload")  -"
    head -c 300000 "$PLACE/files/large" >"$PLACE/files/page"
    run get -Z --parallel-immediate --parallel-max 20 -o "$BATS_TEST_TMPDIR/page-#1" -w '%{http_code}\n' 'page?[1-100]'
    assert_status 0
    assert_equal "$(sort <<<"$output" | uniq -c | xargs)" '100 200'
    assert_equal "$(sha256sum "$BATS_TEST_TMPDIR"/page-* | cut -d ' ' -f 1 | uniq -c | xargs)" \
        "100 $(hash_of "$PLACE/files/page")"
    assert_both_protected "$PORT"
    assert_no_complaints
}

restart_under_load() { # event|prefork
    local round
    start_apache protected "$1"
    random_file "$PLACE/files/page" 100000
    # Kept-alive connections that a restart closes may be lost between two requests, on plain TCP too.
    start load "${CLIENT[@]}" curl --no-progress-meter --fail -Z --parallel-max 10 -H 'Connection: close' -o /dev/null \
        -w '%{http_code} %{size_download}\n' "http://127.0.0.1:$PORT/page?[1-400]"
    for round in 1 2 3; do
        wait_until "[ \$(grep -c ^200 '$(log_of load)') -ge $((round * 80)) ]"
        kill -USR1 "$(pid_of apache)"
        wait_until "[ \$(grep -c 'resuming normal operations' '$PLACE/error.log') -gt $round ]"
    done
    finish load
    assert_equal "$(sort <"$(log_of load)" | uniq -c | xargs)" '400 200 100000'
    get_marker
    assert_no_complaints
}

@test "mpm_event: a page and a CGI program (plain: they are on the wire)" { marker_on_the_wire plain event; }
@test "mpm_event: a page and a CGI program (protected: they are not)" { marker_on_the_wire protected event; }
@test "mpm_event: a page and a CGI program (traced: all calls are the library's)" { marker_on_the_wire traced event; }
@test "mpm_prefork: a page and a CGI program (plain: they are on the wire)" { marker_on_the_wire plain prefork; }
@test "mpm_prefork: a page and a CGI program (protected: they are not)" { marker_on_the_wire protected prefork; }
@test "mpm_prefork: a page and a CGI program (traced: all calls are the library's)" {
    marker_on_the_wire traced prefork
}
@test "mpm_event: 200 MB by sendfile, an upload to a CGI program, 100 downloads; by hash" { much_at_once event; }
@test "mpm_prefork: 200 MB by sendfile, an upload to a CGI program, 100 downloads; by hash" { much_at_once prefork; }
@test "mpm_event: graceful restarts under load lose no request" { restart_under_load event; }
@test "mpm_prefork: graceful restarts under load lose no request" { restart_under_load prefork; }
