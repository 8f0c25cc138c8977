#!/usr/bin/env bats
# Superservers: one process accepts, another program gets the connection as its standard input and output.
#
# program: Superservers (inetd, tcpserver, systemd)
# runs: a small inetd, tcpserver of ucspi-tcp, and systemd-socket-activate --accept --inetd; with cat, with a shell
#     script of several programs, and with awk, which uses stdio

load helpers

setup() {
    common_setup
    require tcpserver systemd-socket-activate awk || return
    PORT=$(free_port)
    # Each line once more, the first half by one program, the rest by others that the shell starts.
    cat >"$BATS_TEST_TMPDIR/script" <<'END'
#!/bin/sh
read -r line
echo "$line"
head -c 0
/bin/echo "$(head -n 1)"
exec cat
END
    chmod 755 "$BATS_TEST_TMPDIR/script"
}

start_superserver() { # plain|protected|traced inetd|tcpserver|systemd PROGRAM...
    local name pass=()
    ends "$1"
    case $2 in
    inetd) start super "${SERVER[@]}" "$PYTHON" "$ROOT/tests/matrix/programs/inetd.py" "$PORT" "${@:3}" ;;
    tcpserver) start super "${SERVER[@]}" tcpserver -H -R -l 0 127.0.0.1 "$PORT" "${@:3}" ;;
    systemd)
        for name in LD_PRELOAD P2PTLS_POLICY P2PTLS_LOG XDG_STATE_HOME; do # it passes nothing by itself
            pass+=(-E "$name")
        done
        start super "${SERVER[@]}" systemd-socket-activate "${pass[@]}" --accept --inetd -l "127.0.0.1:$PORT" "${@:3}"
        ;;
    esac
    wait_for_port "$PORT" super
}

# Lines that the client does not send before it has the answer to the one before it.
talk() {
    run "${CLIENT[@]}" "$PYTHON" "$ROOT/tests/matrix/programs/inetd.py" talk "$PORT" "$MARKER" two three four
    assert_status 0
    assert_output "$(printf '%s\n' "$MARKER" two three four)"
}

talk_on_the_wire() { # plain|protected|traced SUPERSERVER PROGRAM...
    start_superserver "$@"
    on_the_wire "$1" "$PORT" talk
}

@test "a small inetd with cat (plain: the text is on the wire)" { talk_on_the_wire plain inetd cat; }
@test "a small inetd with cat (protected: it is not)" { talk_on_the_wire protected inetd cat; }
@test "a small inetd with cat (traced: all calls are the library's)" { talk_on_the_wire traced inetd cat; }
@test "a small inetd with a shell script of several programs (plain: the text is on the wire)" {
    talk_on_the_wire plain inetd "$BATS_TEST_TMPDIR/script"
}
@test "a small inetd with a shell script of several programs (protected: it is not)" {
    talk_on_the_wire protected inetd "$BATS_TEST_TMPDIR/script"
}
@test "a small inetd with awk, by stdio (protected: the text is not on the wire)" {
    talk_on_the_wire protected inetd awk '{ print; fflush() }'
}
@test "tcpserver with cat (plain: the text is on the wire)" { talk_on_the_wire plain tcpserver cat; }
@test "tcpserver with cat (protected: it is not)" { talk_on_the_wire protected tcpserver cat; }
@test "tcpserver with a shell script of several programs (protected: the text is not on the wire)" {
    talk_on_the_wire protected tcpserver "$BATS_TEST_TMPDIR/script"
}
@test "tcpserver with cat (traced: all calls are the library's)" { talk_on_the_wire traced tcpserver cat; }
@test "systemd-socket-activate with cat (protected: the text is not on the wire)" {
    talk_on_the_wire protected systemd cat
}
@test "systemd-socket-activate with a shell script of several programs (protected: the text is not on the wire)" {
    talk_on_the_wire protected systemd "$BATS_TEST_TMPDIR/script"
}
@test "systemd-socket-activate with cat (traced: all calls are the library's)" { talk_on_the_wire traced systemd cat; }
