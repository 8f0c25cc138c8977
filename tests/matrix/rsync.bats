#!/usr/bin/env bats
# rsync's daemon: a process for each connection, which forks once more for an upload; the client does so for a download.
# Both processes use the one socket, in both directions.
#
# program: rsync
# runs: the daemon and the client; 50 MB and 2,000 small files, up and down; a second run that has changes alone to send

load helpers

setup() {
    common_setup
    require rsync || return
    SOURCE=$BATS_TEST_TMPDIR/source FILES=$BATS_TEST_TMPDIR/served
    mkdir "$SOURCE" "$FILES"
    PORT=$(free_port)
    cat >"$BATS_TEST_TMPDIR/rsyncd.conf" <<END
use chroot = no
uid = $(id -u)
gid = $(id -g)
[files]
path = $FILES
read only = no
END
}

start_rsync() { # plain|protected|traced
    ends "$1"
    start rsync "${SERVER[@]}" rsync --daemon --no-detach --config="$BATS_TEST_TMPDIR/rsyncd.conf" \
        --address=127.0.0.1 --port="$PORT"
    wait_for_port "$PORT" rsync
}

copy() { # FROM TO
    "${CLIENT[@]}" rsync -a --delete --port="$PORT" "$@"
}

there_and_back() { # sends SOURCE, and gets it back
    copy "$SOURCE/" rsync://127.0.0.1/files/ || return
    diff -r "$SOURCE" "$FILES" || return
    copy rsync://127.0.0.1/files/ "$BATS_TEST_TMPDIR/back/" || return
    diff -r "$SOURCE" "$BATS_TEST_TMPDIR/back"
}

marker_on_the_wire() { # plain|protected|traced
    printf '%s\n' "$MARKER" >"$SOURCE/marker"
    start_rsync "$1"
    on_the_wire "$1" "$PORT" there_and_back
}

@test "a file there and back (plain: it is on the wire)" { marker_on_the_wire plain; }
@test "a file there and back (protected: it is not)" { marker_on_the_wire protected; }
@test "a file there and back (traced: all calls are the library's)" { marker_on_the_wire traced; }

@test "50 MB and 2,000 small files there and back, then only what changed" {
    local number
    start_rsync protected
    random_file "$SOURCE/large" 50M
    mkdir "$SOURCE/small"
    for number in {1..2000}; do
        printf '%*d\n' $((number % 500)) "$number" >"$SOURCE/small/$number"
    done
    there_and_back
    printf 'changed' | dd of="$SOURCE/large" bs=1 seek=30000000 conv=notrunc status=none
    rm "$SOURCE"/small/1*
    there_and_back
    assert_both_protected "$PORT"
}
