#!/usr/bin/env bats
# Families of calls, each compared with what Linux says on plain TCP: results, errors and side effects.

load helpers
load program_helpers

@test "sendmmsg, recvmmsg, preadv2 and pwritev2 (plain)" { plain mmsg; }
@test "sendmmsg, recvmmsg, preadv2 and pwritev2 (protected)" { protected mmsg; }
@test "splice and sendfile, without losing or reordering a byte (plain)" { plain splices; }
@test "splice and sendfile, without losing or reordering a byte (protected)" { protected splices; }
@test "splice with pipes that have a name (plain)" { plain splices "$BATS_TEST_TMPDIR"; }
@test "splice with pipes that have a name (protected)" { protected splices "$BATS_TEST_TMPDIR"; }
@test "connect to AF_UNSPEC, fast open, corks from the first moment (plain)" { plain connects; }
@test "connect to AF_UNSPEC, fast open, corks from the first moment (protected)" { protected connects; }
@test "POSIX aio: order, lists with files in them, cancelling, each way to be told (plain)" { plain aio; }
@test "POSIX aio: order, lists with files in them, cancelling, each way to be told (protected)" { protected aio; }
@test "socket calls by their numbers (plain)" { plain raw_calls; }
@test "socket calls by their numbers (protected)" { protected raw_calls; }
@test "a program that closes and overwrites every number, and close_range that unshares (plain)" {
    plain hidden "$BATS_TEST_TMPDIR/file"
}
@test "a program that closes and overwrites every number, and close_range that unshares (protected)" {
    protected hidden "$BATS_TEST_TMPDIR/file"
}
@test "options, ioctls, flags, SIGIO and bad addresses (plain)" { plain options; }
@test "options, ioctls, flags, SIGIO and bad addresses (protected)" { protected options; }
