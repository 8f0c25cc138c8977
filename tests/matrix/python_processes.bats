#!/usr/bin/env bats
# Python programs that give connections to other processes.
#
# program: Python, processes
# runs: multiprocessing with passed descriptors, before and after the first byte, and one process that reads while
#     another writes; subprocess with a connection as standard input and output

load helpers

SCRIPT=$ROOT/tests/matrix/programs/passing.py

start_passing() { # plain|protected|traced KIND
    ends "$1"
    start passing "${SERVER[@]}" "$PYTHON" "$SCRIPT" "$2"
    wait_for_log passing 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of passing)")
}

say_marker() {
    assert_equal "$("${CLIENT[@]}" "$PYTHON" "$SCRIPT" say "$PORT" "$MARKER")" "$MARKER"
}

marker_on_the_wire() { # plain|protected|traced KIND
    start_passing "$1" "$2"
    on_the_wire "$1" "$PORT" say_marker
}

many() { # KIND
    start_passing protected "$1"
    run --separate-stderr "${CLIENT[@]}" "$PYTHON" "$SCRIPT" clients "$PORT" 15 1000000
    assert_output '15 of 15'
    assert_both_protected "$PORT"
}

@test "multiprocessing: a connection passed to a worker (plain: the text is on the wire)" {
    marker_on_the_wire plain workers
}
@test "multiprocessing: a connection passed to a worker (protected: it is not)" {
    marker_on_the_wire protected workers
}
@test "multiprocessing: a connection passed to a worker (traced: all calls are the library's)" {
    marker_on_the_wire traced workers
}
@test "subprocess: a connection as standard input and output (plain: the text is on the wire)" {
    marker_on_the_wire plain subprocess
}
@test "subprocess: a connection as standard input and output (protected: it is not)" {
    marker_on_the_wire protected subprocess
}
@test "subprocess: a connection as standard input and output (traced: all calls are the library's)" {
    marker_on_the_wire traced subprocess
}
@test "connections passed to workers, 15 clients at once" { many workers; }
@test "connections passed to workers after a line was answered, 15 clients at once" { many talked; }
@test "connections that one process reads and another writes, 15 clients at once" { many halves; }
@test "connections that become standard input and output of a program, 15 clients at once" { many subprocess; }
