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
@test "connections on the stacks of small threads and coroutines (plain)" {
    plain small_stacks threads 24
    plain small_stacks coroutines 16
}
@test "connections on the stacks of small threads and coroutines (protected)" {
    protected small_stacks threads 24
    protected small_stacks coroutines 16
}
@test "options, ioctls, flags, SIGIO and bad addresses (plain)" { plain options; }
@test "options, ioctls, flags, SIGIO and bad addresses (protected)" { protected options; }
@test "functions of libc that are looked up by name (plain)" { plain looked_up; }
@test "functions of libc that are looked up by name (protected)" { protected looked_up; }

# Code of an interposer that is behind the library in LD_PRELOAD, or before it; it counts and goes on by RTLD_NEXT.
@test "a library behind or before this one in LD_PRELOAD goes on by RTLD_NEXT, and nothing is in clear" {
    cat >"$BATS_TEST_TMPDIR/counts.c" <<'EOT'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/socket.h>
static int count;
ssize_t send(int fd, const void *data, size_t len, int flags)
{
    static ssize_t (*next)(int, const void *, size_t, int);
    if (!next)
        next = (ssize_t (*)(int, const void *, size_t, int))dlsym(RTLD_NEXT, "send");
    count++;
    return next(fd, data, len, flags);
}
__attribute__((destructor)) static void tell(void)
{
    fprintf(stderr, "%d counted\n", count);
}
EOT
    gcc -shared -fPIC -O2 -o "$BATS_TEST_TMPDIR/counts.so" "$BATS_TEST_TMPDIR/counts.c"
    local order
    for order in "$BATS_TEST_TMPDIR/counts.so:$LIBRARY" "$LIBRARY:$BATS_TEST_TMPDIR/counts.so"; do
        P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/log run env "LD_PRELOAD=$order" \
            "$PYTHON" -c '
import socket
listener = socket.create_server(("127.0.0.1", 0))
a = socket.create_connection(listener.getsockname())
b, _ = listener.accept()
a.send(b"hello")
print(b.recv(5))'
        assert_status 0
        assert_contains "$output" "b'hello'"
        # The library sends by other calls than the program: in front of it, that one sees the program's.
        assert_matches "$output" '[0-9] counted'
    done
    assert_equal "$(grep -c 'connected to' "$BATS_TEST_TMPDIR/log")" 2
}

@test "a second libc by dlmopen is refused while a policy is active, and dlerror says so" {
    cat >"$BATS_TEST_TMPDIR/second.c" <<'EOT'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
int main(void)
{
    void *it = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
    printf("%s\n", it ? "there" : dlerror());
    printf("%s\n", dlmopen(LM_ID_BASE, "libc.so.6", RTLD_NOW) ? "there" : dlerror());
}
EOT
    gcc -o "$BATS_TEST_TMPDIR/second" "$BATS_TEST_TMPDIR/second.c"
    P2PTLS_POLICY='' run p2p "$BATS_TEST_TMPDIR/second"
    assert_output $'there\nthere'
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=warn:$BATS_TEST_TMPDIR/log run p2p "$BATS_TEST_TMPDIR/second"
    assert_contains "${lines[0]}" p2ptls/refuses/a/second/libc
    assert_equal "${lines[1]}" there
    assert_equal "$(grep -c 'dlmopen of libc.so.6' "$BATS_TEST_TMPDIR/log")" 1
}
@test "addresses, lengths, sets and timeouts in memory that may not be touched (plain)" { plain bad_pointers; }
@test "addresses, lengths, sets and timeouts in memory that may not be touched (protected)" { protected bad_pointers; }

@test "io_submit by its number with addresses that may not be read says EFAULT, as without the library" {
    local script='import ctypes
libc = ctypes.CDLL(None, use_errno=True)
context = ctypes.c_ulong(0)
assert libc.syscall(206, 1, ctypes.byref(context)) == 0
for batch in ctypes.byref(ctypes.c_void_p(8)), ctypes.c_void_p(8):
    print(libc.syscall(209, context, 1, batch), ctypes.get_errno())'
    run "$PYTHON" -c "$script"
    assert_output $'-1 14\n-1 14'
    P2PTLS_POLICY='connect 192.0.2.1:1' run p2p "$PYTHON" -c "$script"
    assert_output $'-1 14\n-1 14'
}

@test "io_submit moves no byte of a socket that is or may be protected, whoever connected it (law 2)" {
    protected submit "$BATS_TEST_TMPDIR/file"
    assert_equal "$(cat "$BATS_TEST_TMPDIR/file")" words
}

# Where threads share a table of descriptors, the kernel waits for a grace period of RCU before it enlarges it.
@test "the table of descriptors has room for the library's own before the program makes threads" {
    local calls=$BATS_TEST_TMPDIR/calls
    require strace
    P2PTLS_POLICY='any 127.0.0.1:*' p2p strace -f -o "$calls" -e trace=fcntl,clone,clone3 \
        "$PYTHON" -c 'import threading; t = threading.Thread(target=print, args=("made",)); t.start(); t.join()'
    assert_matches "$(grep -nE 'F_DUPFD_CLOEXEC, [0-9]{3,}|clone' "$calls" | head -1)" 'F_DUPFD_CLOEXEC, [0-9]{3,}'
    assert_matches "$(cat "$calls")" 'clone'
}

@test "a thread that is cancelled in the program's first connect leaves nothing half made (plain)" {
    plain cancelled_first
}
@test "a thread that is cancelled in the program's first connect leaves nothing half made (protected)" {
    protected cancelled_first
}

@test "a cancellation that is pending acts in cancellation points alone, and leaves nothing held (plain)" {
    plain cancel_pending
}
@test "a cancellation that is pending acts in cancellation points alone, and leaves nothing held (protected)" {
    protected cancel_pending
}
