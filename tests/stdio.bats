#!/usr/bin/env bats
# libc's stdio on connections: it reads and writes without libc's exported functions, and streams outlive what their
# numbers were when they were opened.
#
# program: stdio (bash, gawk, sed, coreutils, perl, C++)
# runs: streams of C and C++ on connections, in all ways of buffering; programs under small superservers
# gap: abort messages of libc itself, past every stream

load helpers
load program_helpers
load real_helpers
load traced_helpers

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

@test "streams of C and C++ on connections (traced: all calls are the library's)" {
    local program
    for program in stdio_streams stdio_standard stdio_exit stdio_iostream; do
        ends traced
        rm -f "$TRACES"/server.*
        run "${SERVER[@]}" "$PROGRAMS/$program"
        assert_status 0
        run "$PYTHON" "$ROOT/tests/mediation.py" --at-least 10 "$TRACES"/server.*
        assert_status 0
    done
}

@test "cin, cout, cerr and clog on a connection, with and without stdio below (plain)" {
    plain stdio_iostream
    plain stdio_iostream unsynced
}
@test "cin, cout, cerr and clog on a connection, with and without stdio below (protected)" {
    protected stdio_iostream
    protected stdio_iostream unsynced
}

@test "fflush of all streams, forks and new connections in three threads: no deadlock (plain)" { plain stdio_threads; }
@test "fflush of all streams, forks and new connections in three threads: no deadlock (protected)" {
    protected stdio_threads
}

@test "a stream of popen over a connection fails, and says so (law 2)" {
    plain stdio_standard popen
    assert_output_has written
    protected stdio_standard popen
    assert_output_has EBADF
    assert_contains "$(cat "$BATS_TEST_TMPDIR/library.log")" 'a stream of popen'
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

# ---- programs that a superserver starts: the connection is their standard input and output ---------------------------

# What a command makes of its input through pipes, it makes under each kind of superserver. MARKER comes out, and is not
# on the wire.
under_superservers() { # INPUT COMMAND...; KINDS
    local expected kind
    expected=$(printf '%s' "$1" | "${@:2}")
    assert_contains "$expected" "$MARKER"
    both_ends protected
    for kind in ${KINDS:-inetd inetd_with_stderr systemd socat}; do
        rm -f "$BATS_TEST_TMPDIR"/*.p2ptls
        "superserver_$kind" "${@:2}" || return
        if [ "$kind" = inetd ]; then
            assert_wire_hides_marker protected "$PORT" answered "$@" || return
        else
            answered "$@" && assert_both_protected "$PORT" || return
        fi
        stop superserver
    done
}

answered() { # INPUT COMMAND...
    assert_equal "$(printf '%s' "$1" | "${CLIENT[@]}" socat -t 60 - "TCP:127.0.0.1:$PORT")" "$expected" \
        "the output of $2 under $kind"
}

superserver_inetd() { # COMMAND...
    start superserver "${SERVER[@]}" "$PROGRAMS/superserver" "${NUMBERS:-2}" "$@"
    wait_for_log superserver 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of superserver)")
}

superserver_inetd_with_stderr() { NUMBERS=3 superserver_inetd "$@"; }

superserver_systemd() {
    local name pass=()
    PORT=$(free_port)
    for name in LD_PRELOAD P2PTLS_POLICY P2PTLS_LOG XDG_STATE_HOME ASAN_OPTIONS LC_ALL; do
        pass+=(-E "$name")
    done
    start superserver "${SERVER[@]}" systemd-socket-activate "${pass[@]}" --accept --inetd -l "127.0.0.1:$PORT" "$@"
    wait_for_port "$PORT" superserver
}

superserver_socat() { # no word of COMMAND may hold what socat takes for its own
    PORT=$(free_port)
    start superserver "${SERVER[@]}" socat "TCP-LISTEN:$PORT,bind=127.0.0.1" "EXEC:$*,nofork"
    wait_for_port "$PORT" superserver
}

script() { # standard input is the program; sets SCRIPT
    SCRIPT=$BATS_TEST_TMPDIR/script
    cat >"$SCRIPT"
}

INPUT="first $MARKER"$'\nsecond line\nthird\n'

@test "bash's read, echo and printf on a connection" {
    script <<'EOT'
while read -r line; do echo "got $line"; done
printf '%s-%d\n' formatted 7
EOT
    under_superservers "$INPUT" bash "$SCRIPT"
}

@test "gawk, mawk and sed on a connection" {
    require gawk mawk sed
    script <<'EOT'
{ print NR ": " toupper($1), $2 }
END { printf "%d lines\n", NR; fflush(); print "end" }
EOT
    under_superservers "$INPUT" gawk -f "$SCRIPT"
    local KINDS=inetd
    under_superservers "$INPUT" mawk -f "$SCRIPT"
    script <<<'s/line/sed/'
    under_superservers "$INPUT" sed -f "$SCRIPT"
}

@test "cat, sort, head, date and ls on a connection" {
    local KINDS=inetd
    mkdir -p "$BATS_TEST_TMPDIR/directory/$MARKER"
    under_superservers "$INPUT" cat
    under_superservers "$INPUT" sort
    under_superservers "$INPUT" head -n 2
    under_superservers '' date --utc --date=@0 "+$MARKER-%F"
    under_superservers '' ls "$BATS_TEST_TMPDIR/directory"
}

@test "perl and python on a connection" {
    script <<'EOT'
while (<STDIN>) { print "perl: $_"; }
printf("%s\n", "formatted"); print STDOUT "end";
EOT
    under_superservers "$INPUT" perl "$SCRIPT"
    script <<'EOT'
import sys
for line in sys.stdin: print("python:", line, end="")
sys.stdout.write("end")
EOT
    under_superservers "$INPUT" "$PYTHON" "$SCRIPT"
}

@test "the library's own tool writes nothing in clear to a connection that it inherits (law 2)" {
    local expected
    expected=$("$P2PTLS_BUILD/p2ptls-tool" version)
    both_ends protected
    superserver_inetd "$P2PTLS_BUILD/p2ptls-tool" version
    answered "" "p2ptls-tool version"
    assert_both_protected "$PORT"
}
