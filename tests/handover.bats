#!/usr/bin/env bats
# Connections that go on in other programs: each case runs on plain TCP, and under the library with the same result.

load helpers
load program_helpers

both() { # CASE of programs/handover.py [ARGUMENT]
    run "$PYTHON" "$BATS_TEST_DIRNAME/programs/handover.py" "$@"
    assert_status 0
    only_protected "$@"
}

only_protected() { # CASE [ARGUMENT]
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/log run \
        p2p "$PYTHON" "$BATS_TEST_DIRNAME/programs/handover.py" "$@"
    assert_status 0
    grep -q TLS_ "$BATS_TEST_TMPDIR/log" || fail "no handshake is in the log"
}

# bats file_tags=unsanitized

@test "exec in mid-stream: the new program goes on with the connection (law 6)" { both exec_in_mid_stream; }
@test "exec with the newest of many connections: it goes on whatever boxes the older ones have" {
    both the_newest_of_many
}
@test "exec before the handshake: the new program makes it" { both exec_before_the_handshake; }
@test "exec with an empty environment: the library is put back where a connection survives" {
    both exec_with_an_empty_environment
}
@test "exec of a shell: its children share the connection with it" { both exec_of_a_shell_and_its_children; }
@test "exec hands over plaintext that was opened and not read" { both exec_keeps_plaintext_that_was_not_read_yet; }
@test "exec in a forked child with the connection on 0 and 1" { both exec_of_itself; }
@test "exec that fails leaves the connection as it was" { both exec_that_fails; }
@test "exec that fails when the kernel looks closer leaves connections with close-on-exec alone" {
    both exec_that_fails_late
}
@test "the same in a filter, where the kernel is not asked" {
    P2P=("$PROGRAMS/deny_calls" EPERM madvise "${P2P[@]}")
    only_protected exec_that_fails_late filtered
}
@test "exec that is only tried leaves connections as they were" { both exec_that_is_only_tried; }
@test "with too many descriptors in flight a connection is not handed over, with a clear error, and goes on" {
    run "$PYTHON" "$BATS_TEST_DIRNAME/programs/handover.py" too_many_in_flight
    assert_status 0
    only_protected too_many_in_flight lose
    assert_contains "$(cat "$BATS_TEST_TMPDIR/log")" 'cannot be handed'
}
@test "the shell of wordexp gets no connection, whatever environment it has (law 2)" {
    only_protected wordexp_gets_no_connection
}
@test "exec ends connections with close-on-exec in an orderly way (laws 5, 8)" {
    both exec_closes_what_has_close_on_exec
}
@test "posix_spawn with the connection as standard input and output" { both spawned_programs; }
@test "posix_spawn that fails leaves the connection as it was" { both spawn_that_fails; }
@test "system: the shell shares the connection" { both shell_of_system; }
@test "SCM_RIGHTS to a relative in mid-stream" { both passed_to_a_relative; }
@test "SCM_RIGHTS to a program that was started apart: two connections, one not begun" { both passed_to_a_stranger; }
@test "SCM_RIGHTS to itself, peeked at before: one connection, with one state (law 6)" { both passed_there_and_back; }
@test "SCM_RIGHTS of a listener: what is accepted is protected" { both a_listener_passed; }
@test "parent and executed child write at once: no message is torn (law 6)" { both both_go_on_after_exec; }

starting() { # MODE of programs/spawning
    plain spawning "$1"
    protected spawning "$1"
}

@test "vfork and exec" { starting vfork; }
@test "vfork children that change their descriptors, or whose exec fails, leave the parent's alone" {
    starting vfork-harmless
}
@test "vfork stays a vfork where no socket is open, whatever else was inherited and never looked at" {
    require strace
    exec 9</dev/null
    P2PTLS_POLICY='any 127.0.0.0/8:*' p2p strace -f -e trace=vfork,clone,fork -o "$BATS_TEST_TMPDIR/calls" \
        "$PYTHON" -c 'import subprocess; subprocess.run(["/bin/true"], check=True)'
    exec 9<&-
    grep -q 'vfork(' "$BATS_TEST_TMPDIR/calls" || fail "$(cat "$BATS_TEST_TMPDIR/calls")"
}
@test "clone with CLONE_VM and CLONE_VFORK, and exec" { starting clone-vfork; }
@test "clone as fork, and exec" { starting clone; }
@test "posix_spawnp with dup2, closefrom, process group and signal mask" { starting spawn; }
@test "popen and pclose: the shell shares the connection" { starting popen; }
@test "execvp, execl, execle, fexecve, execveat" {
    local form
    for form in execvp execl execle fexecve execveat execveat-path; do
        starting "$form"
    done
}

@test "exec of a static program: it gets an unconnected socket, and nothing of it passes (law 2)" {
    local static=$BATS_TEST_TMPDIR/spill
    gcc -static -o "$static" "$BATS_TEST_DIRNAME/programs/spill.c"
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/log run \
        p2p "$PYTHON" "$BATS_TEST_DIRNAME/programs/handover.py" exec_of_what_cannot_be_covered "$static"
    assert_status 0
    grep -q 'does not go on in it' "$BATS_TEST_TMPDIR/log" || fail "$(cat "$BATS_TEST_TMPDIR/log")"
    # The same program reaches a plain connection: the test can fail.
    run "$PYTHON" "$BATS_TEST_DIRNAME/programs/handover.py" exec_of_what_cannot_be_covered "$static"
    assert_status 1
    assert_output_has "spill"
}

go_like() { # FILE [OPTION]...: a program with Go's marks
    gcc -o "$1" "$BATS_TEST_DIRNAME/programs/go_like.c" "${@:2}"
}

assert_gets_nothing() { # PROGRAM
    only_protected exec_of_what_cannot_be_covered "$1" || return
    grep -q "does not go on in it (a program built by Go" "$BATS_TEST_TMPDIR/log" ||
        fail "$(cat "$BATS_TEST_TMPDIR/log")"
    rm "$BATS_TEST_TMPDIR/log"
}

@test "exec of a dynamically linked Go program, also a stripped one: it gets an unconnected socket (law 2)" {
    cd "$BATS_TEST_TMPDIR"
    go_like both-marks
    assert_gets_nothing ./both-marks
    strip both-marks
    assert_gets_nothing ./both-marks
    go_like note -DNO_SECTION
    assert_gets_nothing ./note
    go_like section -DNO_NOTE -s
    assert_gets_nothing ./section
    # Without a mark its bytes arrive, in clear: the test can fail.
    go_like unmarked -DNO_NOTE -DNO_SECTION
    P2PTLS_POLICY='any 127.0.0.0/8:*' run \
        p2p "$PYTHON" "$BATS_TEST_DIRNAME/programs/handover.py" exec_of_what_cannot_be_covered ./unmarked
    assert_status 1
}

@test "a Go program that is started under the library is told of in the log" {
    go_like "$BATS_TEST_TMPDIR/program"
    P2PTLS_POLICY='any 127.0.0.0/8:*' run p2p "$BATS_TEST_TMPDIR/program"
    assert_output_has 'this program was built by Go'
    go_like "$BATS_TEST_TMPDIR/program" -DNO_NOTE -DNO_SECTION
    P2PTLS_POLICY='any 127.0.0.0/8:*' run p2p "$BATS_TEST_TMPDIR/program"
    assert_output_without 'built by Go'
}

@test "SCM_RIGHTS to a program without the library: it gets no socket (law 2)" {
    P2PTLS_POLICY='any 127.0.0.0/8:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/log run \
        p2p "$PYTHON" "$BATS_TEST_DIRNAME/programs/handover.py" passed_to_the_unprotected
    assert_status 0
}

@test "exec with LD_PRELOAD taken out, and a policy: the library is put back with that policy (law 2)" {
    both exec_without_the_library_in_the_environment
}
@test "exec with a policy that has no rules: the connection keeps its protection (law 2)" {
    both exec_with_a_policy_without_rules
}
@test "exec with a second LD_PRELOAD, which ld.so prefers: the library is in the program (law 2)" {
    both exec_with_another_preload_behind
}
@test "exec of a file that is no program: the shell reads it, with the connection" {
    local script=$BATS_TEST_TMPDIR/script
    echo 'echo from the script' >"$script"
    chmod +x "$script"
    both exec_by_a_shell_of_a_script_without_a_first_line "$script"
}

@test "exec with differing real and effective ids: nothing passes in clear (law 2)" {
    only_protected exec_with_differing_ids "$PROGRAMS/spill"
    grep -q 'does not go on in it' "$BATS_TEST_TMPDIR/log" || fail "$(cat "$BATS_TEST_TMPDIR/log")"
}

@test "exec where ld.so cannot open the library: nothing passes in clear (law 2)" {
    cp "$LIBRARY" "$(dirname "$LIBRARY")/libp2ptls-core.so" "$BATS_TEST_TMPDIR"
    LIBRARY=$BATS_TEST_TMPDIR/${LIBRARY##*/}
    define_p2p
    only_protected exec_where_the_library_is_not_to_be_found "$PROGRAMS/spill"
    grep -q 'does not go on in it' "$BATS_TEST_TMPDIR/log" || fail "$(cat "$BATS_TEST_TMPDIR/log")"
}

@test "dup2 and dup3 onto a connection that fail leave it as it was" { both replacing_that_fails; }
@test "a bound socket that another process connects is refused here (law 2)" {
    only_protected bound_then_connected_by_another
}
@test "popen: a later child does not keep an earlier one's pipe open" { both popen_before_and_after; }
