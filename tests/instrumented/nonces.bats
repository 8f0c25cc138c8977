#!/usr/bin/env bats
# No nonce is spent twice under one key, whatever the kernel took of what was written, and whichever process wrote.
# Needs `make NONCE_AUDIT=1 lib programs`: that build aborts at a nonce which one process or its parent has spent, and
# writes each to a file, where a double of two processes shows. (That it aborts is tested by test_record_audit.)

P2PTLS_BUILD=${P2PTLS_BUILD:-build-audit}
load ../helpers
load ../program_helpers

count_doubles() { # FILE of entries: 8 bytes that tell the key, and 8 of the sequence number
    xxd -p -c 16 "$1" | sort | uniq -d | wc -l
}

count_keys() { # FILE
    xxd -p -c 16 "$1" | cut -c 1-16 | sort -u | wc -l
}

# audited REKEY TORTURE-ARGS: three runs, each with 400,000 bytes both ways in writes of up to 2,000. They make some
# thousand records; what was written before the handshake's end is sent in full ones, but that is at most 256 KiB.
audited() {
    local OPTIONS=${1:+rekey-after=$1} seed entries
    export P2PTLS_NONCE_AUDIT_FILE=$BATS_TEST_TMPDIR/nonces
    for seed in 1 2 3; do
        rm -f "$P2PTLS_NONCE_AUDIT_FILE"
        protected torture --seed $seed --bytes 400000 --max 2000 "${@:2}" || return
        entries=$(($(stat -c %s "$P2PTLS_NONCE_AUDIT_FILE") / 16))
        assert_at_least "$entries" 100 "number of nonces" || return
        assert_equal "$(count_doubles "$P2PTLS_NONCE_AUDIT_FILE")" 0 "number of doubles" || return
        assert_at_least "$(count_keys "$P2PTLS_NONCE_AUDIT_FILE")" $((${1:+entries / (2 * $1)} + 2)) "keys" || return
    done
}

@test "edge-triggered" { audited '' --mode epoll-edge; }
@test "edge-triggered, new keys after 3 records" { audited 3 --mode epoll-edge; }
@test "edge-triggered, the smallest send buffer" { audited '' --mode epoll-edge --sndbuf 1; }
@test "edge-triggered, the smallest send buffer, new keys after 3 records" { audited 3 --mode epoll-edge --sndbuf 1; }
@test "non-blocking with poll, the smallest send buffer, new keys after 7 records" {
    audited 7 --mode nonblocking-poll --sndbuf 1
}
@test "threads that block, new keys after 7 records" { audited 7 --mode blocking --threads; }
@test "halves in two processes" { audited '' --mode blocking --forked-halves; }
@test "halves in two processes, new keys after 3 records" { audited 3 --mode blocking --forked-halves; }
@test "halves in two processes, the smallest send buffer, new keys after 7 records" {
    audited 7 --mode epoll-edge --forked-halves --sndbuf 1
}

# messages MODE: two processes that write at the same time. At least a record for each message.
messages() {
    export P2PTLS_NONCE_AUDIT_FILE=$BATS_TEST_TMPDIR/nonces
    protected both_write "$1" || return
    assert_at_least $(($(stat -c %s "$P2PTLS_NONCE_AUDIT_FILE") / 16)) 15000 "number of nonces" || return
    assert_equal "$(count_doubles "$P2PTLS_NONCE_AUDIT_FILE")" 0 "number of doubles"
}

@test "both processes after fork write 10,000 messages each" { messages --fork; }
@test "both processes after _Fork write 10,000 messages each" { messages --_Fork; }

@test "a writer and an executed writer, 10,000 messages each" { messages --exec; }
@test "a writer and the receiver of a descriptor, 10,000 messages each" { messages --pass; }

@test "a double that is planted in the file is found" {
    audited 3 --mode blocking --forked-halves
    head -c 32 "$P2PTLS_NONCE_AUDIT_FILE" | tail -c 16 | cat "$P2PTLS_NONCE_AUDIT_FILE" - >"$BATS_TEST_TMPDIR/planted"
    assert_equal "$(count_doubles "$BATS_TEST_TMPDIR/planted")" 1
}
