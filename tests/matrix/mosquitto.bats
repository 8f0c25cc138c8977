#!/usr/bin/env bats
# Mosquitto, a message broker, with its own clients.
#
# program: Mosquitto
# runs: a broker with publishers and subscribers; 5,000 messages with acknowledgement (QoS 1 and 2); a retained
#     message of 5 MB

load helpers

setup() {
    common_setup
    require mosquitto mosquitto_pub mosquitto_sub || return
    PORT=$(free_port)
    cat >"$BATS_TEST_TMPDIR/mosquitto.conf" <<END
listener $PORT 127.0.0.1
allow_anonymous true
user root
persistence false
log_dest stderr
log_type error
log_type subscribe
max_queued_messages 0
END
}

start_broker() { # plain|protected|traced
    ends "$1"
    start broker "${SERVER[@]}" mosquitto -c "$BATS_TEST_TMPDIR/mosquitto.conf"
    wait_for_port "$PORT" broker
}

publish() { # OPTIONS...
    "${CLIENT[@]}" mosquitto_pub -h 127.0.0.1 -p "$PORT" "$@"
}

receive() { # OPTIONS...
    "${CLIENT[@]}" mosquitto_sub -h 127.0.0.1 -p "$PORT" "$@"
}

keep_marker() {
    publish -q 1 -r -t kept -m "$MARKER" || return
    assert_equal "$(receive -t kept -C 1)" "$MARKER"
}

marker_on_the_wire() { # plain|protected|traced
    start_broker "$1"
    on_the_wire "$1" "$PORT" keep_marker
}

@test "a retained message (plain: it is on the wire)" { marker_on_the_wire plain; }
@test "a retained message (protected: it is not)" { marker_on_the_wire protected; }
@test "a retained message (traced: all calls are the library's)" { marker_on_the_wire traced; }

@test "5,000 messages to two subscribers, each once and in order, and a message of 5 MB" {
    local quality
    start_broker protected
    for quality in 1 2; do
        start "subscriber_$quality" "${CLIENT[@]}" mosquitto_sub -h 127.0.0.1 -p "$PORT" -q "$quality" -t 'numbers' \
            -C 5000 -F %p
    done
    wait_until "[ \"\$(grep -c 'numbers$' '$(log_of broker)')\" = 2 ]"
    seq 5000 | publish -q 2 -t numbers -l
    for quality in 1 2; do
        finish "subscriber_$quality"
        seq 5000 | cmp - "$(log_of "subscriber_$quality")"
    done
    random_file "$BATS_TEST_TMPDIR/large" 5M
    publish -q 1 -r -t large -f "$BATS_TEST_TMPDIR/large"
    assert_equal "$(receive -t large -C 1 -N | hash_of)" "$(hash_of "$BATS_TEST_TMPDIR/large")"
    assert_both_protected "$PORT"
}
