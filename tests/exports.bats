#!/usr/bin/env bats
# What the library exports, beside what libc has: a socket call of a newer glibc must be noticed.

load helpers

LIST=$ROOT/tests/libc-functions.list

# Names that programs can link to; GLIBC_PRIVATE ones are for glibc's own libraries.
functions_of() { # LIBRARY
    nm -D --defined-only "$1" | awk '$2 ~ /[TWi]/ && $3 !~ /GLIBC_PRIVATE/ { sub(/@.*/, "", $3); print $3 }' | sort -u
}

libc() {
    ldd "$(type -P true)" | awk '$1 ~ /^libc\.so/ { print $3 }'
}

# Of one section, or of all.
listed() { # [SECTION]
    awk -v want="${1:-}" '/^#/ { next } /^\[/ { section = substr($1, 2, length($1) - 2); next }
        want == "" || section == want { for (i = 1; i <= NF; i++) print $i }' "$LIST" | sort
}

@test "every function of libc is known, and what it means for a descriptor" {
    functions_of "$(libc)" >"$BATS_TEST_TMPDIR/libc"
    assert_at_least "$(wc -l <"$BATS_TEST_TMPDIR/libc")" 2000 "functions of libc"
    run comm -23 "$BATS_TEST_TMPDIR/libc" <(listed)
    [ -z "$output" ] || fail "new in this libc: see tests/libc-functions.list" "$output"
    assert_equal "$(listed | uniq -d)" "" "names that are listed twice"
}

@test "what is listed as hooked is exported, and nothing is exported that neither libc nor the list has" {
    functions_of "$LIBRARY" >"$BATS_TEST_TMPDIR/ours"
    run comm -23 <(listed hooked) "$BATS_TEST_TMPDIR/ours"
    [ -z "$output" ] || fail "listed as hooked, and not exported" "$output"
    run comm -23 "$BATS_TEST_TMPDIR/ours" <(cat <(functions_of "$(libc)") <(listed beyond-libc) | sort -u)
    [ -z "$output" ] || fail "exported, and neither libc's nor listed" "$output"
}

@test "the list notices a function that is missing from it" {
    LIST=$BATS_TEST_TMPDIR/list
    sed 's/\bsendmmsg\b//' "$ROOT/tests/libc-functions.list" >"$LIST"
    run comm -23 <(functions_of "$(libc)") <(listed)
    assert_output sendmmsg
}

@test "io_uring is not there while a policy is active, and the log says so once" {
    cat >"$BATS_TEST_TMPDIR/uring.c" <<'EOT'
#include <liburing.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
    struct io_uring ring;
    struct io_uring_params p = {0};
    printf("%d %d", io_uring_queue_init(4, &ring, 0), io_uring_queue_init_params(4, &ring, &p));
    printf(" %d", io_uring_setup(4, &p));
    printf(" %ld\n", syscall(SYS_io_uring_setup, 4, &p));
}
EOT
    gcc -o "$BATS_TEST_TMPDIR/uring" "$BATS_TEST_TMPDIR/uring.c" -luring
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=warn:$BATS_TEST_TMPDIR/log run p2p "$BATS_TEST_TMPDIR/uring"
    assert_status 0
    assert_output "-38 -38 -38 -1"
    assert_equal "$(grep -c io_uring "$BATS_TEST_TMPDIR/log")" 1 "lines in the log"
}

# Each of them calls the kernel inline, or an own function that does.
@test "liburing's functions that are looked up by name in liburing set up nothing while a policy is active" {
    local script='import ctypes
liburing, ring = ctypes.CDLL("liburing.so.2"), ctypes.create_string_buffer(1024)
for name in "io_uring_queue_init", "io_uring_queue_init_params", "io_uring_setup":
    r = getattr(liburing, name)(4, ring, ctypes.create_string_buffer(256))
    print(r if r < 0 else "set up")'
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=error run p2p "$PYTHON" -c "$script"
    assert_output $'-38\n-38\n-38'
}
