# shellcheck shell=bash
# For the suites that run well-known programs: the same steps under strace as well, which shows who made the calls on
# protected sockets. Load after real_helpers.

TRACED_CALLS=read,write,readv,writev,pread64,pwrite64,preadv,pwritev,preadv2,pwritev2,recvfrom,sendto,recvmsg,sendmsg
TRACED_CALLS+=,recvmmsg,sendmmsg,sendfile,splice,tee,copy_file_range,io_submit,io_uring_enter
TRACED_CALLS+=,socket,bind,connect,accept,accept4
LIBC=/usr/lib/x86_64-linux-gnu/libc.so.6

# As both_ends, with clients that end when they hang; `traced` is protected with both ends under strace, for
# assert_mediated.
ends() { # plain|protected|traced
    both_ends "${1/traced/protected}"
    if [ "$1" = traced ]; then
        require strace || return
        DEADLINE=600 # strace -k takes its time for each call that an interpreter makes to load its modules
        TRACES=$BATS_TEST_TMPDIR/traces
        mkdir -p "$TRACES"
        local strace=(strace -ff -k -y -s 0 -qqq --signal=none -e "trace=$TRACED_CALLS")
        SERVER=("${strace[@]}" -o "$TRACES/server" "${SERVER[@]}")
        CLIENT=("${strace[@]}" -o "$TRACES/client" "${CLIENT[@]}")
    fi
    CLIENT=(timeout $((2 * DEADLINE)) "${CLIENT[@]}")
}

# Each read-like and write-like call on a protected socket was made by the library, on either end. Programs that are
# still running have to be stopped before: strace writes its files at the end.
assert_mediated() {
    local end
    stop_all
    shopt -s nullglob
    for end in server client; do
        # Servers of another user have theirs in PLACE.
        run "$PYTHON" "$ROOT/tests/mediation.py" --at-least 5 "$TRACES/$end".* ${PLACE:+"$PLACE/traces/$end".*}
        assert_status 0 || return
    done
}

# Runs a command that sends MARKER. Plain: it is on the wire; protected: it is not; traced: all calls are the library's.
on_the_wire() { # plain|protected|traced PORT COMMAND...
    if [ "$1" = traced ]; then
        "${@:3}" && assert_both_protected "$2" && assert_mediated
    else
        assert_wire_hides_marker "$@"
    fi
}

# What strace -k unwinds it opens as the traced process sees it: for one that will be in a chroot, what it runs has to
# be there as well.
visible_in_chroot() { # FOLDER FILE...
    mkdir -p "$1" && cp --parents "$(realpath "$LIBC")" "$LIBRARY" "${LIBRARY%.so}-core.so" "${@:2}" "$1"
}
