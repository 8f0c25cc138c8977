#!/usr/bin/env bats
# vsftpd: a process for each session, beside one with more rights that gives it connections; its own seccomp filter.
#
# program: vsftpd
# runs: curl downloads and uploads over passive connections, in one session and several; with the two processes that
#     vsftpd is made of, in a chroot, its seccomp filter on

load helpers

setup() {
    common_setup
    require vsftpd curl || return
    make_place
    mkdir "$PLACE/empty" "$PLACE/files" "$PLACE/files/upload"
    chown ftp: "$PLACE/files/upload" 2>/dev/null || chown www-data: "$PLACE/files/upload"
    printf '%s\n' "$MARKER" >"$PLACE/files/marker"
    PORT=$(free_port)
}

start_vsftpd() { # plain|protected|traced [SETTINGS]
    local folder
    ends "$1"
    if [ "$1" = traced ]; then
        for folder in "$PLACE/empty" "$PLACE/files"; do
            visible_in_chroot "$folder" /usr/sbin/vsftpd
        done
    fi
    printf '%s\n' listen=YES listen_address=127.0.0.1 "listen_port=$PORT" background=NO anonymous_enable=YES \
        ftp_username=www-data nopriv_user=nobody "anon_root=$PLACE/files" "secure_chroot_dir=$PLACE/empty" \
        write_enable=YES anon_upload_enable=YES anon_umask=022 no_anon_password=YES "${@:2}" >"$PLACE/vsftpd.conf"
    chown www-data: "$PLACE/files/upload"
    start vsftpd "${SERVER[@]}" vsftpd "$PLACE/vsftpd.conf"
    wait_for_port "$PORT" vsftpd
}

get() { # CURL OPTIONS... PATH
    "${CLIENT[@]}" curl --no-progress-meter --disable-epsv "${@:1:$#-1}" "ftp://127.0.0.1:$PORT/${*: -1}"
}

get_marker() {
    assert_equal "$(get marker)" "$MARKER"
}

# The names of users travel on the session's connection, the file on one of its own: of that the port is not known.
marker_on_the_wire() { # plain|protected
    start_vsftpd "$1" "pasv_min_port=$((PORT + 1))" "pasv_max_port=$((PORT + 1))"
    capture_start $((PORT + 1))
    get_marker
    capture_stop
    if [ "$1" = plain ]; then
        assert_wire_has "$MARKER"
    else
        assert_wire_without "$MARKER"
        assert_both_protected "$PORT"
    fi
}

@test "a file (plain: it is on the wire)" { marker_on_the_wire plain; }
@test "a file (protected: it is not)" { marker_on_the_wire protected; }
@test "a file (traced: all calls are the library's)" {
    start_vsftpd traced
    on_the_wire traced "$PORT" get_marker
}

@test "50 MB down and up, and ten files in one session, by hash" {
    local number
    start_vsftpd protected
    random_file "$PLACE/files/large" 50M
    for number in {1..10}; do
        head -c $((number * 10000)) "$PLACE/files/large" >"$PLACE/files/file-$number"
    done
    assert_equal "$(get large | hash_of)" "$(hash_of "$PLACE/files/large")"
    get -T "$PLACE/files/large" upload/large
    assert_same_file "$PLACE/files/large" "$PLACE/files/upload/large"
    get -o "$BATS_TEST_TMPDIR/file-#1" 'file-[1-10]'
    for number in {1..10}; do
        assert_same_file "$BATS_TEST_TMPDIR/file-$number" "$PLACE/files/file-$number"
    done
    assert_both_protected "$PORT"
}
