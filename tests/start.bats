#!/usr/bin/env bats
# The start of a program: how the library finds what it stands in front of, and what it leaves alone.

load helpers

LOOKUPS=$P2PTLS_BUILD/tests/programs/lookups.so

# Runs the program with the look-ups of the library and those of dlsym side by side.
look_up() { # PRELOADED_BEHIND PROGRAM [ARGUMENT]...
    local behind=$1
    shift
    LD_PRELOAD=$LOOKUPS${behind:+:$behind} run "$(type -P "$1")" "${@:2}"
    [ "$status" -eq 0 ] || fail "$* failed" "$output" || return
    FUNCTIONS=$(sed -n 's/^lookups: \([0-9]*\) functions, .*/\1/p' <<<"$output")
    assert_at_least "${FUNCTIONS:-0}" 100 "functions"
}

shared() { # NAME [OPTION]...; the code on standard input
    gcc -D_GNU_SOURCE -shared -fPIC -x c -o "$BATS_TEST_TMPDIR/$1.so" "${@:2}" -
}

@test "libc's functions are found at a program's start where dlsym would find them, without dlsym" {
    local program
    for program in true "bash -c :" "$PYTHON -c pass" "openssl version" "perl -e 1"; do
        # shellcheck disable=SC2086 # words
        look_up "" $program
        assert_output_has "lookups: $FUNCTIONS functions, 0 differ, 0 by dlsym"
    done
}

@test "what another library behind this one puts in front of libc is found, whichever kind of function it is" {
    shared plain <<<'int read(void) { return 0; } int __attribute__((weak)) connect(void) { return 0; }'
    shared chosen <<'EOT'
static int one(void) { return 1; }
static int (*choose(void))(void) { return one; }
int write(void) __attribute__((ifunc("choose")));
EOT
    shared variable <<<'int send = 1; extern int recv(void); void *use(void) { return recv; }'
    look_up "$BATS_TEST_TMPDIR/plain.so" true
    assert_output_has "lookups: $FUNCTIONS functions, 0 differ, 0 by dlsym"
    look_up "$BATS_TEST_TMPDIR/plain.so:$BATS_TEST_TMPDIR/chosen.so:$BATS_TEST_TMPDIR/variable.so" true
    assert_output_has "lookups: $FUNCTIONS functions, 0 differ, 2 by dlsym"
}

@test "old versions of a function are not taken, and a library without GNU's table of names is asked by dlsym" {
    printf 'OLD { global: *; };\nNEW { } OLD;\n' >"$BATS_TEST_TMPDIR/map"
    shared old -Wl,--version-script="$BATS_TEST_TMPDIR/map" <<'EOT'
int old_read(void) { return 0; }
__asm__(".symver old_read,read@OLD");
int old_write(void) { return 0; }
__asm__(".symver old_write,write@OLD");
int new_write(void) { return 1; }
__asm__(".symver new_write,write@@NEW");
EOT
    shared sysv -Wl,--hash-style=sysv <<<'int read(void) { return 0; }'
    look_up "$BATS_TEST_TMPDIR/old.so" true
    assert_output_has "lookups: $FUNCTIONS functions, 0 differ, 0 by dlsym"
    look_up "$BATS_TEST_TMPDIR/sysv.so" true
    assert_output_has "lookups: $FUNCTIONS functions, 0 differ, $FUNCTIONS by dlsym"
    look_up "$BATS_TEST_TMPDIR/old.so:$BATS_TEST_TMPDIR/sysv.so" true
    assert_output_has "lookups: $FUNCTIONS functions, 0 differ, $((FUNCTIONS - 1)) by dlsym"
}

@test "the functions of a sanitizer that a program was built with are found, and those that an auditor gives" {
    echo 'int main(void) { return 0; }' | gcc -fsanitize=address -x c -o "$BATS_TEST_TMPDIR/sanitized" -
    ASAN_OPTIONS=verify_asan_link_order=0 look_up "" "$BATS_TEST_TMPDIR/sanitized"
    assert_output_has "lookups: $FUNCTIONS functions, 0 differ, 0 by dlsym"
    shared audit <<'EOT'
#include <link.h>
#include <stdint.h>
#include <string.h>
static int other(void) { return 0; }
unsigned la_version(unsigned v) { return v; }
unsigned la_objopen(struct link_map *m, Lmid_t id, uintptr_t *cookie) { return LA_FLG_BINDTO | LA_FLG_BINDFROM; }
uintptr_t la_symbind64(Elf64_Sym *s, unsigned n, uintptr_t *by, uintptr_t *in, unsigned *flags, const char *name)
{
    return strcmp(name, "sendfile") == 0 ? (uintptr_t)other : s->st_value;
}
EOT
    LD_AUDIT=$BATS_TEST_TMPDIR/audit.so look_up "" true
    assert_output_has "lookups: $FUNCTIONS functions, 0 differ, $FUNCTIONS by dlsym"
}
