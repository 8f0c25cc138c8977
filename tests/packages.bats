#!/usr/bin/env bats
# The Debian packages: built twice with the same result, clean to lintian, tested as installed, replaced under programs
# that run. What is installed goes into a file system that only the test sees (an overlay).

load helpers

setup_file() {
    require dpkg-buildpackage dh lintian autopkgtest dpkg-deb
    DEBS=$(mktemp -d)
    export DEBS
    # The dates are the same, and all else differs: folder, umask, locale, time zone, time, and how parallel it is.
    SOURCE_DATE_EPOCH=1790000000 "$ROOT/tools/packaging/build-deb" "$DEBS/first" 3>&-
}

teardown_file() {
    rm -rf "$DEBS"
}

version() {
    sed -n 's/^VERSION *:= *//p' "$ROOT/Makefile"
}

deb() { # NAME [FOLDER]
    printf '%s\n' "$DEBS/${2:-first}/$1_$(version)_$(dpkg --print-architecture).deb"
}

contents() { # NAME
    dpkg-deb -c "$(deb "$1")" | awk '{ sub(/^\./, "", $6); print $6 }'
}

# Runs a shell command in an overlay of this system's files, with a network of its own.
in_overlay() { # COMMAND [ARGUMENT]...
    # shellcheck disable=SC2016 # for the inner shell
    unshare --mount --pid --fork --kill-child sh -ec '
        over=$1/over && shift
        mkdir -p "$over"
        mount -t tmpfs tmpfs "$over"
        mkdir "$over/upper" "$over/work" "$over/root"
        mount -t overlay overlay -o "lowerdir=/,upperdir=$over/upper,workdir=$over/work" "$over/root"
        cd "$over/root"
        mount -t proc proc proc
        mount --rbind /dev dev
        mount -t tmpfs tmpfs tmp
        mount --bind "$DEBS" mnt
        exec chroot . "$@"' - "$BATS_TEST_TMPDIR" "$@" 3>&-
}

@test "three packages have what they say, in the folders of the architecture" {
    local triplet
    triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
    assert_contains "$(contents libp2ptls)" "/usr/lib/$triplet/p2ptls/libp2ptls.so"
    assert_contains "$(contents libp2ptls)" "/usr/lib/$triplet/p2ptls/libp2ptls-core.so"
    assert_contains "$(contents p2ptls-tools)" /usr/bin/p2ptls
    assert_contains "$(contents p2ptls-tools)" /usr/libexec/p2ptls/p2ptls-status
    assert_contains "$(contents p2ptls-tools)" /usr/share/man/man1/p2ptls-status.1.gz
    assert_contains "$(contents libp2ptls-dev)" /usr/include/p2ptls.h
    local name
    for name in libp2ptls libp2ptls-dev; do
        assert_equal "$(dpkg-deb -f "$(deb $name)" Multi-Arch)" same
        # Two architectures side by side: what both have is the same file, or lies under a name of its own.
        assert_equal "$(contents $name | grep -v "/$triplet/" | grep -E '\.so$|/bin/' || :)" ''
    done
    assert_equal "$(dpkg-deb -f "$(deb libp2ptls-dev)" Depends)" "libp2ptls (= $(version))"
}

@test "lintian has nothing to say against the packages" {
    run lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$DEBS"/first/*.changes
    assert_output ''
    assert_status 0
}

@test "two builds elsewhere, at another time, under another umask and locale are the same bytes" {
    local copy=$BATS_TEST_TMPDIR/somewhere/else name
    mkdir -p "$copy"
    tar -C "$ROOT" -c --exclude=./build --exclude='./build-*' --exclude=./.git . | tar -C "$copy" -x
    touch -d '1999-01-01' "$copy/Makefile" "$copy"/src/*.c
    (
        umask 077
        export SOURCE_DATE_EPOCH=1790000000 LC_ALL=C.UTF-8 LANG=de_DE.UTF-8 TZ=Asia/Kathmandu JOBS=1 USER=somebody
        "$copy/tools/packaging/build-deb" "$DEBS/second"
    )
    for name in libp2ptls p2ptls-tools libp2ptls-dev; do
        assert_same_file "$(deb $name)" "$(deb $name second)"
    done
}

@test "the packages pass their own tests as installed" {
    mkdir -p "$DEBS/tree"
    cp -R "$ROOT/tools/packaging/debian" "$DEBS/tree/debian"
    # shellcheck disable=SC2016 # for the inner shell
    run in_overlay sh -ec '
        dpkg -i /mnt/first/*.deb >/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log; exit 1; }
        cp -R /mnt/tree /tmp/tree
        gunzip -c /usr/share/doc/libp2ptls/changelog*.gz >/tmp/tree/debian/changelog
        autopkgtest --no-built-binaries /tmp/tree/ -- null'
    assert_status 0
    local name
    for name in protected-connection private-ca header; do
        assert_matches "$output" "$name +PASS"
    done
}

# The next version of the same sources.
build_next() {
    local copy=$BATS_TEST_TMPDIR/next
    mkdir "$copy"
    tar -C "$ROOT" -c --exclude=./build --exclude='./build-*' --exclude=./.git . | tar -C "$copy" -x
    sed -i 's/^VERSION *:= .*/VERSION := 99.0.0/' "$copy/Makefile"
    sed -i 's/^_version=.*/_version=99.0.0/' "$copy/tools/p2ptls"
    SOURCE_DATE_EPOCH=1790000000 DEBFULLNAME='A & B' DEBEMAIL=ab@example.org \
        "$copy/tools/packaging/build-deb" "$DEBS/next"
}

@test "an upgrade leaves programs their connections; what has none is told to restart; new ones get the new version" {
    build_next 3>&-
    local maintainer='A & B <ab@example.org>'
    assert_equal "$(dpkg-deb -f "$DEBS"/next/libp2ptls_*.deb Maintainer)" "$maintainer"
    # Its first connection comes after the upgrade: the core is another version's by then.
    cat >"$DEBS/late.py" <<'END'
import os, socket, sys
sys.stdin.read()
try:
    listener = socket.create_server(('127.0.0.1', 0))
    socket.create_connection(listener.getsockname()).sendall(b'x')
except OSError as error:
    print('late:', os.strerror(error.errno))
END
    cat >"$DEBS/talk.py" <<'END'
import socket, subprocess, sys, threading

def talk(pair):
    got = []
    reader = threading.Thread(target=lambda: got.append(pair[1].recv(5)))
    reader.start()
    pair[0].sendall(b'hello')
    reader.join()
    assert got == [b'hello'], got

def connect():
    pair = socket.create_connection(listener.getsockname()), listener.accept()[0]
    talk(pair)
    return pair

late = subprocess.Popen([sys.executable, '/mnt/late.py'], stdin=subprocess.PIPE)
listener = socket.create_server(('127.0.0.1', 0))
old = connect()
subprocess.run('dpkg -i /mnt/next/*.deb', shell=True, check=True, stdout=subprocess.DEVNULL)
talk(old)
print('the old connection goes on')
connect()
print('new connections are made')
late.communicate(b'')
subprocess.run(['p2ptls', 'version'])
subprocess.run(['p2ptls', 'run', '-r', 'any 127.0.0.1:*', '--', sys.executable, '-c', 'print("new programs start")'])
END
    # shellcheck disable=SC2016 # for the inner shell
    run in_overlay sh -ec '
        dpkg -i /mnt/first/*.deb >/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log; exit 1; }
        p2ptls version
        exec p2ptls run -r "any 127.0.0.1:*" -- /usr/bin/python3 /mnt/talk.py'
    assert_status 0
    assert_contains "$output" "p2ptls $(version)
"
    assert_contains "$output" 'the old connection goes on'
    assert_contains "$output" 'new connections are made'
    assert_contains "$output" 'libp2ptls-core.so is of another version, as after an upgrade: restart the program'
    assert_contains "$output" 'late: Key was rejected by service'
    assert_contains "$output" 'p2ptls 99.0.0'
    assert_contains "$output" 'new programs start'
}
