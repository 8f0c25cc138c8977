#!/usr/bin/env bats
# A program of ours in the style of the nineties: select() and blocking sockets.
#
# program: select() with blocking sockets
# runs: a chat of 20 clients through one process, 100 lines each, so 40,000 lines passed on

load helpers

start_chat() { # plain|protected|traced CLIENTS
    ends "$1"
    start chat "${SERVER[@]}" "$PROGRAMS/select_chat" server "$2"
    wait_for_log chat 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of chat)")
}

say_marker() {
    assert_equal "$("${CLIENT[@]}" "$PROGRAMS/select_chat" client "$PORT" 1 1 "$MARKER")" "$MARKER 1"
}

marker_on_the_wire() { # plain|protected|traced
    start_chat "$1" 1
    on_the_wire "$1" "$PORT" say_marker
    finish chat
}

@test "a line there and back (plain: it is on the wire)" { marker_on_the_wire plain; }
@test "a line there and back (protected: it is not)" { marker_on_the_wire protected; }
@test "a line there and back (traced: all calls are the library's)" {
    start_chat traced 1
    on_the_wire traced "$PORT" say_marker
}

@test "20 clients of 100 lines: each sees each line once, and everybody's in order" {
    local number
    start_chat protected 20
    for number in {1..20}; do
        start "client_$number" "${CLIENT[@]}" "$PROGRAMS/select_chat" client "$PORT" 100 2000 "client-$number"
    done
    for number in {1..20}; do
        finish "client_$number"
        awk '{ if ($2 != ++seen[$1]) exit 1 } END { exit NR != 2000 }' "$(log_of "client_$number")"
    done
    finish chat
    assert_both_protected "$PORT"
}
