# shellcheck shell=bash
# For the matrix: well-known programs on plain TCP, under the library on both ends, and under strace as well. Each suite
# says in its head what it stands for in the table of docs/COMPATIBILITY.md (see tests/matrix/table):
#
#     # program: NAME           suites of the same name share a row
#     # runs: what is run       more lines go on
#     # gap: what is not right, and why; only if there is something

load ../helpers
load ../real_helpers
load ../traced_helpers

teardown() { matrix_teardown; }

# What a suite has made outside of BATS_TEST_TMPDIR is in CLEANUP (folders) and MADE_USER.
matrix_teardown() {
    stop_all
    [ -z "${CLEANUP:-}" ] || rm -rf "$CLEANUP"
    [ -z "${MADE_USER:-}" ] || userdel "$MADE_USER" 2>/dev/null || :
    common_teardown
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
