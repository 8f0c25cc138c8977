# shellcheck shell=bash
# For the matrix: well-known programs on plain TCP, under the library on both ends, and under strace as well. Each suite
# says in its head what it stands for in the table of docs/COMPATIBILITY.md (see tests/matrix/table):
#
#     # program: NAME           suites of the same name share a row
#     # runs: what is run       more lines go on
#     # gap: what is not right, and why; only if there is something

load ../helpers
load ../real_helpers

teardown() { matrix_teardown; }

# What a suite has made outside of BATS_TEST_TMPDIR is in CLEANUP (folders) and MADE_USER.
matrix_teardown() {
    common_teardown
    [ -z "${CLEANUP:-}" ] || rm -rf "$CLEANUP"
    [ -z "${MADE_USER:-}" ] || userdel "$MADE_USER" 2>/dev/null || :
}

# ---- who made the calls ----------------------------------------------------------------------------------------------

TRACED_CALLS=read,write,readv,writev,pread64,pwrite64,preadv,pwritev,preadv2,pwritev2,recvfrom,sendto,recvmsg,sendmsg
TRACED_CALLS+=,recvmmsg,sendmmsg,sendfile,splice,tee,copy_file_range,io_submit,io_uring_enter
TRACED_CALLS+=,socket,bind,connect,accept,accept4

# As both_ends, with clients that end when they hang; `traced` is protected with both ends under strace, for
# assert_mediated.
ends() { # plain|protected|traced
    both_ends "${1/traced/protected}"
    if [ "$1" = traced ]; then
        require strace || return
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
        run "$PYTHON" "$ROOT/tests/mediation.py" --at-least 10 "$TRACES/$end".* ${PLACE:+"$PLACE/traces/$end".*}
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

# ---- places and users ------------------------------------------------------------------------------------------------

# A folder that other users may enter, which bats's own are not: sets PLACE.
make_place() {
    PLACE=$(mktemp -d "${TMPDIR:-/tmp}/p2ptls-matrix.XXXXXX") || return
    CLEANUP=$PLACE
    chmod 755 "$PLACE"
}

# An account of this test alone, which owns PLACE: sets MADE_USER, and AS_USER, the prefix of its commands.
make_user() {
    [ -n "${PLACE:-}" ] || make_place || return
    MADE_USER=p2ptls-test-$BASHPID
    useradd --system --no-create-home --home-dir "$PLACE" --shell /bin/sh "$MADE_USER" || return
    AS_USER=(setpriv "--reuid=$MADE_USER" "--regid=$MADE_USER" --clear-groups)
    chown "$MADE_USER:" "$PLACE"
}

# After `ends` and `make_user`: SERVER runs as that user, with a copy of the identity (as on another machine of the same
# user) and of the library in PLACE, since it may not look into our folders.
serve_as_user() {
    local state=$PLACE/state/p2ptls
    [ -e "$XDG_STATE_HOME/p2ptls/identity.pem" ] ||
        P2PTLS_POLICY='any 127.0.0.1:*' p2p "$PROGRAMS/inline_write" >"$BATS_TEST_TMPDIR/identity" || return
    mkdir -p "$PLACE/traces" &&
        install -m 700 -o "$MADE_USER" -d "$PLACE/state" "$state" &&
        install -m 600 -o "$MADE_USER" "$XDG_STATE_HOME/p2ptls/identity.pem" "$state/" &&
        install -m 755 "$LIBRARY" "${LIBRARY%.so}-core.so" "$PLACE/" &&
        chown "$MADE_USER:" "$PLACE/traces" || return
    ln -sf "$PLACE/server.p2ptls" "$BATS_TEST_TMPDIR/server.p2ptls"
    SERVER=("${SERVER[@]//"$BATS_TEST_TMPDIR"/$PLACE}")
    SERVER=("${SERVER[@]//"$LIBRARY"/$PLACE/${LIBRARY##*/}}")
    SERVER=("${AS_USER[@]}" env "XDG_STATE_HOME=$PLACE/state" "${SERVER[@]}")
}
