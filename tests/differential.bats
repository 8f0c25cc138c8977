#!/usr/bin/env bats
# The same calls on a plain and on a protected connection of one process: results, errnos and side effects compared.
# Without the library both connections are plain: a difference then is a mistake of the test.

load helpers
load program_helpers

# 127.0.0.2 is protected, 127.0.0.1 is not.
differential() { # ARGS...
    P2PTLS_POLICY='any 127.0.0.2:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/library.log run p2p "$PROGRAMS/differential" "$@"
    assert_status 0
    assert_contains "$(cat "$BATS_TEST_TMPDIR/library.log")" 'connected to 127.0.0.2'
    refute_contains "$(cat "$BATS_TEST_TMPDIR/library.log")" 'connected to 127.0.0.1'
}

@test "a protected connection differs in no operation and situation, but for the list" {
    differential --directed
}

@test "two plain connections do not differ in random sequences" {
    plain differential --seed 1 --steps 5000
}

@test "a protected connection does not differ in random sequences" {
    differential --seed 1 --steps 10000
}

@test "each known difference is explained in docs/COMPATIBILITY.md, and no other" {
    run "$PROGRAMS/differential" --known
    assert_status 0
    local explained
    explained=$(sed -n '/^## Differences/,$s/^\* \*\*\([a-z-]*\)\*\*:.*/\1/p' "$ROOT/docs/COMPATIBILITY.md" | sort)
    assert_equal "$(sort <<<"$output")" "$explained"
}

# Each entry of the list, with a sequence that shows what it explains.
entries() {
    cat <<'EOF'
low-water-mark|send:0:0:0:100 rcvlowat:1:0:0:3000
reset-stays|abort:0 drain:1 read:1:0:0:1
close-unread|send:0:0:0:100 close:1 drain:0
reset-taken|write:1:0:0:39 dissolve:1 sendfile_in:0:0:0:100 select:0:0:0:0:0x4
reset-forgotten|dup:0 dissolve:1 fionread:0 dissolve:0:1 drain:0
pieces|close:1:0:2 splice_out:0:0:0:40000:0x6
end-met-shutdown|shutdown:1:0:2 shutdown:0:0:1 poll:1:0:0:0:0x1
both-shut|shutdown:1:0:2 abort:0 send:1:0:0:1
EOF
    # Linux begins to stamp segments some time after the first socket has asked.
    printf 'timestamps|setsockopt:0:0:0:1:0xd'
    printf ' rcvtimeo:0 send:1:0:0:101 recvmsg:0:0:0:101%.0s' {1..100}
    echo
    printf '%s\n' 'urgent-data|urgent:1:0:0:1' 'closed-under|close_under:1' \
        'early-aborted|fresh:0:0:5 dissolve:0 preadv2:1:0:0:2:0x1'
}

@test "each known difference excuses what it explains, and without it a test fails" {
    local name script seen=
    while IFS='|' read -r name script <&3; do
        differential --script "$script"
        P2PTLS_POLICY='any 127.0.0.2:*' run p2p "$PROGRAMS/differential" --script "$script" --without "$name"
        assert_status 1
        assert_contains "$output" 'DIFFERENCE'
        seen+="$name "
    done 3< <(entries)
    run "$PROGRAMS/differential" --known
    assert_equal "$(tr '\n' ' ' <<<"$output")" "$seen"
}

@test "no known difference excuses another one of the same step" {
    local name script steps
    while IFS='|' read -r name script <&3; do
        case $name in
        close-unread | early-aborted) continue ;; # bytes are lost on one of the two: nothing else can be compared
        esac
        steps=$(wc -w <<<"$script")
        P2PTLS_POLICY='any 127.0.0.2:*' run p2p "$PROGRAMS/differential" --script "$script" --spoil $((steps - 1))
        assert_status 1
        assert_contains "$output" 'DIFFERENCE'
    done 3< <(entries)
}

# A test that cannot fail proves nothing: one protected outcome is changed.
@test "a difference is found" {
    run "$PROGRAMS/differential" --directed --only read --spoil 7
    assert_status 1
    assert_contains "$output" 'DIFFERENCE: step 8, drain: differs from the stream at is'
}

@test "a difference that comes once, and not again, fails the directed run and a short random one" {
    run "$PROGRAMS/differential" --directed --only read --spoil-once 7
    assert_status 1
    assert_contains "$output" 'once, and not again'
    run "$PROGRAMS/differential" --seed 3 --steps 2000 --spoil-once 7
    assert_status 1
    assert_contains "$output" 'seed 3, episode '
    assert_contains "$output" "script: --script '"
    assert_contains "$output" 'once, and not again'
}

# Each differed in an earlier version.
sequences() {
    cat <<'EOF'
dup:0 linger:1 shutdown:0:1:2 recvmmsg:0:0:0:22105:0x140
shutdown:1:0:2 shutdown:0:0:1 getsockopt:0
stream_read:0:0:2 dissolve:1 fionread:0 stream_write:0:0:0:5598
write:0:0:0:1 dissolve:0 splice_in:1:0:0:40000:0x1 sendmsg:1:0:0:1000
send:0:0:0:10 abort:0 recv:1:0:0:10 fionread:1 getsockopt:1
shutdown:0:0:2 send:1:0:0:81 rcvlowat:0
dissolve:1 nonblock:1:0:1 connect:1 spawn:1:0:3
dissolve:1 nonblock:1:0:1 connect:1 connect:1 connect:1 write:1:0:0:10
fresh:0:0:3 send:0:0:0:95:0x20000000 send:0:0:0:95:0x20000000
fresh:0:0:7 sendto:0:0:0:1:0x20000000
fresh:1:0:3 sendmsg:1:0:0:586 shutdown:1:0:2 send:0:0:0:24730 send:0:0:0:95:0x20000000 drain:0
fresh abort:0 sendfile:1:0:0:1 pwritev2:1:0:0:22
fresh abort:0 splice_in:1:0:0:196:0x1 getsockopt:1
fresh abort:0 getsockopt:1 getsockopt:1 write:1:0:0:10
fresh:0:0:2 abort:1 connect:0 connect:0:0:1
fresh dissolve:1 syscall:0:0:10:20000 send:0:0:0:1:0x40
fresh dissolve:0 stream_read:1 connect:1:0:5
odd_copies:1
shutdown:1:0:1 epoll_add:0:0:1:0:0x1 epoll_wait:0:0:1 rcvlowat:0:0:0:3000 epoll_wait:0:0:1
epoll_add:0:0:1:0:0x1 send:1:0:0:100 epoll_wait:0:0:1 rcvlowat:0:0:0:50 epoll_wait:0:0:1 rcvlowat:0:0:0:3000
EOF
}

@test "sequences that differed are as on plain TCP" {
    local script
    while read -r script <&3; do
        differential --script "$script" --times 20
    done 3< <(sequences)
}

# Its helper may still be sending what was written during the handshake.
@test "a write of nothing on a young connection that was reset says so" {
    differential --script 'dissolve:1 more:0' --times 500
}

# Calls that may meet what ended a connection, each on end 0 and on a few bytes.
enders() {
    printf '%s\n' read:0:0:0:100 readv:0:0:0:100 recv:0:0:0:100:0x40 recvfrom:0:0:0:100:0x40 \
        recvmsg:0:0:0:100:0x40 recvmsg:0:0:0:100:0x2 preadv2:0:0:0:100 recvmmsg:0:0:0:100:0x40 syscall:0:0:10:100 \
        stream_read:0 drain:0 write:0:0:0:10 writev:0:0:0:10 sendmmsg:0:0:0:5 stream_write:0:0:0:5 \
        sendfile_in:0:0:0:100 splice_out:0:0:0:100 splice_in:0:0:0:100 getsockopt:0 fionread:0 poll:0:0:0:0:0x1 \
        poll:0:0:0:0:0x4 select:0:0:0:0:0x1 connect:0 shutdown:0:0:1 shutdown:0:0:2
}

# The helper has met the reset, meets it now, or has not looked yet: the program is told of it once, and at once.
@test "a reset in the handshake is told as on plain TCP, whoever meets it" {
    local begun call next
    for begun in fresh fresh:0:0:2; do # :2: a connect without waiting
        while read -r call <&3; do
            for next in send:0:0:0:1:0x40 read:0:0:0:1 getsockopt:0; do
                differential --script "$begun dissolve:1 $call $next" --times 50
            done
        done 3< <(enders)
    done
}
