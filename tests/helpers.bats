#!/usr/bin/env bats
# The helpers themselves: an assertion that cannot fail or a capture that loses packets makes every suite worthless.

load helpers

@test "assertions fail, and show expected and actual" {
    run assert_equal one two
    assert_status 1
    assert_output_has 'expected: two'
    assert_output_has 'actual:   one'
    run assert_contains abc x
    assert_status 1
    run refute_contains abc b
    assert_status 1
    run assert_at_least 1 2
    assert_status 1
    run assert_at_most 3 2
    assert_status 1
    run assert_matches abc '^b'
    assert_status 1
}

@test "a missing tool is a failure" {
    run require surely-no-such-tool
    assert_status 1
    assert_output_has 'not installed'
}

@test "waiting ends at the deadline, with the condition in the message" {
    run wait_until false 1
    assert_status 1
    assert_output_has 'until: false'
}

@test "waiting for a port fails when the server has ended" {
    start brief true
    run wait_for_port "$(free_port)" brief
    assert_status 1
    assert_output_has 'brief ended'
}

@test "stopping ends what a started program has forked, and nothing else" {
    start outside sleep 1000
    start forking sh -c 'sleep 1000 & sleep 1000 & echo started; wait'
    wait_for_log forking started
    local group
    group=$(pid_of forking)
    STARTED=(forking)
    stop_all
    group_is_gone "$group"
    is_running outside
    # shellcheck disable=SC2034 # for teardown
    STARTED=(outside)
}

@test "finish gives the exit status" {
    start seven sh -c 'exit 7'
    local got=0
    finish seven || got=$?
    assert_equal $got 7
}

@test "a capture holds what was sent, to the last byte, and is searched as bytes" {
    local port text="wire-$RANDOM$RANDOM"
    port=$(free_port)
    start server socat -u "TCP-LISTEN:$port,bind=127.0.0.1" "OPEN:$BATS_TEST_TMPDIR/received,creat"
    wait_for_port "$port" server
    capture_start "$port"
    printf 'first %s last\0' "$text" >"/dev/tcp/127.0.0.1/$port"
    finish server
    capture_stop
    assert_wire_has "first $text last"
    assert_wire_without "not-$text"
    run assert_wire_without "$text"
    assert_status 1
    run assert_wire_has "not-$text"
    assert_status 1
}

@test "an empty capture does not pass for one without plaintext" {
    CAPTURE=$BATS_TEST_TMPDIR/empty.pcap
    : >"$CAPTURE"
    run assert_wire_without anything
    assert_status 1
}

@test "an assertion that failed and was passed over fails the test at its end" {
    pass_over() { # COMMAND...
        STARTED=()
        "$@" || :
        BATS_TEST_COMPLETED=1 common_teardown
    }
    run pass_over fail 'what was seen'
    assert_status 1
    assert_output_has 'the test went on after an assertion that had failed'
    run pass_over false
    assert_status 0
}
