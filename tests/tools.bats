#!/usr/bin/env bats
# tools/lint and tools/check find what they are for, and `make install` makes a tree that works.

load helpers

setup() {
    common_setup
    cd "$BATS_TEST_TMPDIR" || return
}

# ---- lint ------------------------------------------------------------------------------------------------------------

# A tree that keeps all rules, with lint itself in it.
clean_tree() {
    mkdir -p src preload tests/unit tools .ci docs
    cp "$ROOT/tools/lint" "$ROOT/tools/p2ptls" tools/
    cp "$ROOT/.clang-format" .
    printf 'VERSION   := %s\n' "$(sed -n 's/^_version=//p' tools/p2ptls)" >Makefile
    printf 'int good(int a)\n{\n    return a; /* not a call: getenv("A") connect(2) */\n}\n' >src/good.c
    printf '#!/bin/sh\nexec true\n' >.ci/run
    printf '@test "good" {\n    sleep 1000 &\n}\n' >tests/good.bats
}

@test "lint is content with a tree that keeps the rules" {
    clean_tree
    run tools/lint
    assert_status 0
    assert_output 'lint: all rules are kept'
}

breaks() { # RULE FILE TEXT (for printf)
    # shellcheck disable=SC2059 # the text is a format
    printf "$3" >"$2"
    run tools/lint
    rm "$2"
    assert_status 1
    assert_output_has "lint: $1"
    assert_output_has "$2"
}

@test "lint finds each thing that breaks a rule" {
    clean_tree
    breaks formatting src/bad.c 'int bad(int a) { return a; }\n'
    # shellcheck disable=SC2016 # what shellcheck shall find
    breaks shellcheck tools/bad '#!/bin/sh\nrm $1\n'
    breaks cppcheck src/bad.c 'int bad(void)\n{\n    int a[2] = {0};\n    return a[3];\n}\n'
    breaks 'functions that do not check' src/bad.c 'void bad(char *a)\n{\n    strcpy(a, "b");\n}\n'
    breaks 'src/ gets its I/O' src/bad.c 'int bad(int a)\n{\n    return shutdown(a, 1);\n}\n'
    breaks 'src/ reads no environment' src/bad.c 'char *bad(void)\n{\n    return getenv("A");\n}\n'
    breaks 'loose ends' docs/bad.md 'TO''DO: later\n'
    breaks 'paths of one machine' docs/bad.md 'see /wo''rk/main\n'
    breaks 'blanks at the end' docs/bad.md 'blank \n'
    breaks 'files above 450 lines' tests/bad.bash "$(printf '#\\n%.0s' {1..451})"
    breaks 'shell lines above' tools/bad.sh "#!/bin/sh\n# $(printf '%.0sx' {1..120})\n"
    breaks 'tests wait' tests/bad.bats '@test "bad" {\n    sleep\0401\n}\n'
    breaks 'tests wait' tests/unit/bad.c 'void bad(void)\n{\n    usleep(1);\n}\n'
    breaks 'tests are never skipped' tests/bad.bats '@test "bad" {\n    skip "later"\n}\n'
    breaks 'tests are never skipped' tests/unit/bad.c 'void bad(void)\n{\n    skip();\n}\n'
    cp Makefile Makefile.good
    breaks 'versions differ' Makefile 'VERSION   := 9.9.9\n'
}

@test "lint does not take members, longer names, comments and strings for calls" {
    clean_tree
    cat >src/good.c <<'END'
/* connect(a) and
 * getenv(b) */
int my_connect(struct io *io);
int good(struct io *io)
{
    io->send("exit(1)"); // abort()
    return my_connect(io);
}
END
    run tools/lint
    assert_output 'lint: all rules are kept'
}

# ---- check -----------------------------------------------------------------------------------------------------------

# A tree in which building does nothing, with one unit test program that prints TAP and exits as told.
check_tree() { # TAP-TEXT EXIT-STATUS
    mkdir -p tools tests/unit build/tests/unit build-address-undefined/tests/unit build-thread/tests/unit
    cp "$ROOT"/tools/check "$ROOT"/tools/packages.bash tools/
    sed -i 's/^THREADED_UNITS=.*/THREADED_UNITS=(test_one)/' tools/check
    : >tools/packages.list
    printf '%s:\n\t@:\n' all programs units lint valgrind build-thread/tests/unit/test_one >Makefile
    : >tests/unit/test_one.c
    printf '@test "a" {\n    true\n}\n' >tests/one.bats
    printf '#!/bin/sh\nprintf "%s"\nexit %s\n' "$1" "$2" >build/tests/unit/test_one
    printf '#!/bin/sh\nprintf "1..1\\nok 1 - a\\n"\n' |
        tee build-address-undefined/tests/unit/test_one >build-thread/tests/unit/test_one
    chmod 755 build*/tests/unit/test_one
}

@test "check counts what passed, and ends with the sum" {
    check_tree '1..2\nok 1 - a\nok 2 - b\n' 0
    run tools/check
    assert_status 0
    # Three builds, lint, valgrind, two tests, one test under each of two sanitizers, one suite.
    assert_equal "${lines[-1]}" '10 passed, 0 failed, 0 skipped'
}

@test "check fails for each way in which a test can fail to pass" {
    local case
    local -a cases=(
        '1..2\nok 1 - a\nnot ok 2 - b\n|1|9 passed, 1 failed, 0 skipped'
        '1..2\nok 1 - a\nok 2 - b # SKIP no time\n|0|9 passed, 0 failed, 1 skipped'
        '1..3\nok 1 - a\n|139|9 passed, 2 failed, 0 skipped'
        '1..1\nok 1 - a\n|1|9 passed, 1 failed, 0 skipped'
        '1..1\nok 1 - a\nok 1 - a\n|0|10 passed, 1 failed, 0 skipped'
        'nothing\n|0|8 passed, 1 failed, 0 skipped'
    )
    for case in "${cases[@]}"; do
        IFS='|' read -r tap exit sum <<<"$case"
        rm -rf tools tests build build-*
        check_tree "$tap" "$exit"
        run tools/check
        assert_status 1
        assert_equal "${lines[-1]}" "$sum"
    done
}

@test "check fails if a build or lint fails" {
    check_tree '1..1\nok 1 - a\n' 0
    printf '%s:\n\t@:\n' all programs units valgrind >Makefile
    run tools/check
    assert_status 1
    assert_equal "${lines[-1]}" '8 passed, 1 failed, 0 skipped'
}

@test "an interrupted check has failed" {
    check_tree '1..1\nok 1 - a\n' 0
    # shellcheck disable=SC2016 # for the script
    printf '#!/bin/sh\nkill -TERM "$(ps -o ppid= -p $PPID)"\n' >build/tests/unit/test_one # timeout's parent is check
    run tools/check
    assert_status 1
    assert_matches "${lines[-1]}" ', [1-9][0-9]* failed, 0 skipped$'
    assert_output_without build-thread-test_one
}

@test "check says what to install if it may not, and fails" {
    check_tree '1..1\nok 1 - a\n' 0
    echo 'check: surely-no-such-package' >tools/packages.list
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR/.."
    chmod -R go+rwX .
    run setpriv --reuid nobody --regid nogroup --clear-groups -- tools/check
    assert_status 1
    assert_output_has 'apt-get install --no-install-recommends surely-no-such-package'
    assert_equal "${lines[-1]}" '0 passed, 1 failed, 0 skipped'
}

@test "continuous integration runs check and nothing else" {
    check_tree '1..1\nok 1 - a\n' 0
    mkdir .ci
    cp "$ROOT/.ci/run" .ci/
    cd /
    run env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$BATS_TEST_TMPDIR/.ci/run"
    assert_status 0
    assert_equal "${lines[-1]}" '9 passed, 0 failed, 0 skipped'
}

# ---- install ---------------------------------------------------------------------------------------------------------

@test "make install makes a tree that works wherever it is moved" {
    run make -C "$ROOT" install BUILD="$P2PTLS_BUILD" DESTDIR="$PWD/stage" PREFIX=/opt/p2p LIBDIR=/opt/p2p/lib64/x
    assert_status 0
    mv stage/opt/p2p moved
    run env -i moved/bin/p2ptls run -r 'connect 203.0.113.1:1' -- /bin/grep -o '/.*/libp2ptls.so' /proc/self/maps
    assert_status 0
    assert_equal "${lines[0]}" "$PWD/moved/lib64/x/libp2ptls.so"
    [ -f moved/lib64/x/libp2ptls-core.so ]
    [ -f moved/share/doc/p2ptls/LICENSE ]
}
