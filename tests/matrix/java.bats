#!/usr/bin/env bats
# Java: channels with a selector, and blocking sockets with threads.
#
# program: Java (OpenJDK 17)
# runs: java.nio with a selector on both ends, java.net with threads on both ends, each against the other; 60 clients at
#     once

load helpers

# Debian's runtime holds the compiler as a module, without the command.
setup_file() {
    local source=$BATS_TEST_DIRNAME/programs/Sockets.java
    java -XX:TieredStopAtLevel=1 -m jdk.compiler/com.sun.tools.javac.Main -d "$BATS_FILE_TMPDIR" "$source"
}

setup() {
    common_setup
    require java || return
    JAVA=(java -Xshare:auto -XX:TieredStopAtLevel=1 -cp "$BATS_FILE_TMPDIR" Sockets)
}

start_java() { # plain|protected|traced KIND
    ends "$1"
    start java "${SERVER[@]}" "${JAVA[@]}" "$2"
    wait_for_log java 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of java)")
}

call() { # KIND [ARGUMENTS]
    run --separate-stderr "${CLIENT[@]}" "${JAVA[@]}" "$1" "$PORT" "${@:2}"
    assert_status 0
}

say_marker() {
    call say "$MARKER" && assert_output "$MARKER"
}

marker_on_the_wire() { # plain|protected|traced KIND
    start_java "$1" "$2"
    on_the_wire "$1" "$PORT" say_marker
}

many_clients() { # SERVER
    local kind
    start_java protected "$1"
    for kind in nio-clients net-clients; do
        call $kind 60 500000
        assert_output '60 right'
    done
    refute_contains "$(cat "$(log_of java)")" server:
    assert_both_protected "$PORT"
}

@test "java.nio: a text there and back (plain: it is on the wire)" { marker_on_the_wire plain nio-server; }
@test "java.nio: a text there and back (protected: it is not)" { marker_on_the_wire protected nio-server; }
@test "java.nio: a text there and back (traced: all calls are the library's)" { marker_on_the_wire traced nio-server; }
@test "java.net: a text there and back (protected: it is not on the wire)" { marker_on_the_wire protected net-server; }
@test "java.net: a text there and back (traced: all calls are the library's)" { marker_on_the_wire traced net-server; }
@test "a server with a selector: 60 clients of each kind at once" { many_clients nio-server; }
@test "a server with threads: 60 clients of each kind at once" { many_clients net-server; }
