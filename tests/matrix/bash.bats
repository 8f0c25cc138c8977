#!/usr/bin/env bats
# bash's /dev/tcp: a descriptor of the shell that its commands inherit, read and write.
#
# program: bash, /dev/tcp
# runs: builtins and commands (cat, head, grep) on one connection, in turn and at once, in pipelines and subshells; 5 MB
#     each way

load helpers

ECHO=$ROOT/tests/programs/echo.py

start_echo() { # plain|protected|traced
    ends "$1"
    start echo "${SERVER[@]}" "$PYTHON" "$ECHO" threading
    wait_for_log echo 'port '
    PORT=$(sed -n 's/^.*port \([0-9]*\).*/\1/p' "$(log_of echo)" | head -n 1)
}

shell() { # SCRIPT [ARGUMENTS]: $PORT is in the environment
    PORT=$PORT "${CLIENT[@]}" bash -c "$@"
}

say_marker() {
    # shellcheck disable=SC2016 # for the inner shell
    assert_equal "$(shell 'exec 3<>/dev/tcp/127.0.0.1/$PORT; echo "$0" >&3; head -n 1 <&3' "$MARKER")" "$MARKER"
}

marker_on_the_wire() { # plain|protected|traced
    start_echo "$1"
    on_the_wire "$1" "$PORT" say_marker
}

@test "a line there and back (plain: it is on the wire)" { marker_on_the_wire plain; }
@test "a line there and back (protected: it is not)" { marker_on_the_wire protected; }
@test "a line there and back (traced: all calls are the library's)" { marker_on_the_wire traced; }

@test "builtins and commands use one connection in turn" {
    start_echo protected
    cat >"$BATS_TEST_TMPDIR/script" <<'END'
exec 3<>"/dev/tcp/127.0.0.1/$PORT"
echo first >&3
read -r line <&3
echo "read: $line"
printf 'second\n' | cat >&3
echo "head: $(head -n 1 <&3)"
(echo third >&3)
(read -r -u 3 line && echo "subshell: $line")
sh -c 'echo fourth >&3; dd bs=7 count=1 status=none <&3'
grep -o fifth <<<'the fifth word' >&3
read -r -u 3 line
echo "read: $line"
exec 3>&-
echo closed
END
    run --separate-stderr shell "source '$BATS_TEST_TMPDIR/script'"
    assert_status 0
    assert_output "$(printf '%s\n' 'read: first' 'head: second' 'subshell: third' fourth 'read: fifth' closed)"
    assert_both_protected "$PORT"
}

@test "one command writes 5 MB while another reads them" {
    start_echo protected
    random_file "$BATS_TEST_TMPDIR/bytes" 5000000
    cat >"$BATS_TEST_TMPDIR/script" <<'END'
exec 3<>"/dev/tcp/127.0.0.1/$PORT"
cat "$1" >&3 &
head -c 5000000 <&3
wait
END
    assert_equal "$(shell "source '$BATS_TEST_TMPDIR/script' '$BATS_TEST_TMPDIR/bytes'" | hash_of)" \
        "$(hash_of "$BATS_TEST_TMPDIR/bytes")"
    assert_both_protected "$PORT"
}
