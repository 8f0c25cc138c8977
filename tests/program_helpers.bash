# shellcheck shell=bash
# Runs one of tests/programs by itself, or under the library on both ends.

plain() { # PROGRAM [ARGS]...
    local program=$1
    shift
    run "$PROGRAMS/$program" "$@"
    # shellcheck disable=SC2154 # status is set by run
    [ "$status" -eq 0 ] || echo "plain: $program $*" >&2
    assert_status 0
}

# The log shows that handshakes took place: a library that did nothing would pass everything else.
protected() { # PROGRAM [ARGS]...; OPTIONS: of the policy
    local program=$1 log=$BATS_TEST_TMPDIR/library.log
    shift
    : >"$log"
    P2PTLS_POLICY="any 127.0.0.0/8:* ${OPTIONS:-}" P2PTLS_LOG=info:$log run p2p "$PROGRAMS/$program" "$@"
    [ "$status" -eq 0 ] || echo "protected: $program $*" >&2
    assert_status 0 || return
    [ -s "$log" ] || fail "no handshake is in the log of: $program $*"
}

port_in_log() { # NAME
    sed -n 's/^port //p' "$(log_of "$1")"
}
