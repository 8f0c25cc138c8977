#!/usr/bin/env bats
# libc's stdio on connections: it reads and writes without libc's exported functions, and streams outlive what their
# numbers were when they were opened.

load helpers
load program_helpers
load real_helpers

@test "streams by fdopen, dprintf, freopen: buffers, orientation, flags and errors of stdio (plain)" {
    plain stdio_streams
}
@test "streams by fdopen, dprintf, freopen: buffers, orientation, flags and errors of stdio (protected)" {
    protected stdio_streams
}
@test "stdin, stdout and stderr on a connection, there and back (plain)" { plain stdio_standard; }
@test "stdin, stdout and stderr on a connection, there and back (protected)" { protected stdio_standard; }
@test "what streams hold, and what is written at exit, arrives by every way to end (law 5) (plain)" {
    plain stdio_exit
}
@test "what streams hold, and what is written at exit, arrives by every way to end (law 5) (protected)" {
    protected stdio_exit
}

# ---- the wire --------------------------------------------------------------------------------------------------------

print_marker() { # PORT
    "${CLIENT[@]}" "$PROGRAMS/stdio_standard" marker "$1" "$MARKER" >"$(log_of client)" 2>&1
    finish listener
    assert_contains "$(cat "$(log_of listener)")" "$MARKER, buffered before and $MARKER after"
}

stdio_on_the_wire() { # plain|protected
    both_ends "$1"
    start listener "${SERVER[@]}" "$PROGRAMS/endpoint" listen all
    wait_for_log listener 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of listener)")
    assert_wire_hides_marker "$1" "$PORT" print_marker "$PORT"
}

@test "stdout, perror and dprintf on a connection (plain: the text is on the wire)" { stdio_on_the_wire plain; }
@test "stdout, perror and dprintf on a connection (protected: it is not)" { stdio_on_the_wire protected; }
