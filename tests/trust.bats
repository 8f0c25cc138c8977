#!/usr/bin/env bats
# Trust on first use as a user meets it: two programs, a known-peers file, and the command that accepts a new key.

load helpers
load tls_helpers

A=sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
B=sha256:1111111111111111111111111111111111111111111111111111111111111111

start_s_server_with() { # CERTIFICATE [PORT]: sets PORT
    start_fed "$1" stdbuf -oL openssl s_server -tls1_3 -accept "127.0.0.1:${2:-0}" -rev \
        -cert "$BATS_TEST_TMPDIR/pki/$1.pem" -key "$BATS_TEST_TMPDIR/pki/$1.key"
    wait_for_log "$1" ACCEPT || return
    [ $# -eq 2 ] || port_is_told "$1" '^ACCEPT 127\.0\.0\.1:([0-9]+)$'
}

trust_add() {
    XDG_STATE_HOME=$BATS_TEST_TMPDIR/state "$ROOT/tools/p2ptls" trust add "$@"
}

@test "trust add makes the file of known peers, for its user alone" {
    trust_add Db.Example.org:5432 $A
    run cat "$BATS_TEST_TMPDIR/state/p2ptls/known_peers"
    [[ $output == "db.example.org:5432 $A 20"* ]]
    [ "$(stat -c %a "$BATS_TEST_TMPDIR/state/p2ptls/known_peers")" = 600 ]
    [ "$(stat -c %a "$BATS_TEST_TMPDIR/state/p2ptls")" = 700 ]
}

@test "trust add replaces the key of that name and port alone, and says so" {
    printf '# mine\ndb.example.org:5432 %s\ndb.example.org:54321 %s' $A $A >"$BATS_TEST_TMPDIR/peers"
    run trust_add -f "$BATS_TEST_TMPDIR/peers" db.example.org:5432 $B
    [ "$status" -eq 0 ]
    [ "$output" = "p2ptls: replaces: db.example.org:5432 $A" ]
    run cat "$BATS_TEST_TMPDIR/peers"
    [ "${lines[0]}" = '# mine' ]
    [ "${lines[1]}" = "db.example.org:54321 $A" ]
    [[ ${lines[2]} == "db.example.org:5432 $B 20"* ]]
    [ "${#lines[@]}" -eq 3 ]
}

@test "trust add refuses what is no name, port or fingerprint" {
    local bad
    for bad in "db $A" "db: $A" ":1 $A" "a b:1 $A" "fe80::1:1 $A" "db:1 sha256:00" "db:1 sha1:00" "db:1 ${A%=}x="; do
        run trust_add "${bad% *}" "${bad##* }"
        [ "$status" -eq 125 ]
        [[ $output == *"trust add: "* ]]
    done
    run trust_add db:1
    [ "$status" -eq 125 ]
    run trust_add '[fe80::1]:1' $A
    [ "$status" -eq 0 ]
}

@test "the first key met is recorded; another one is refused with both and the command that accepts it" {
    local known=$XDG_STATE_HOME/p2ptls/known_peers command
    make_certificates "$BATS_TEST_TMPDIR/pki"
    start_s_server_with server
    endpoint_connect "connect *:* role=client known-peers=on" "$PORT" send:$'one\n' recv:4
    assert_output_has '0 got "eno."'
    assert_matches "$(cat "$known")" "^127\.0\.0\.1:$PORT sha256:[A-Za-z0-9+/]{43}= 20"
    endpoint_connect "connect *:* role=client known-peers=on" "$PORT" send:$'two\n' recv:4
    assert_output_has '0 got "owt."'
    assert_equal "$(wc -l <"$known")" 1
    stop server

    start_s_server_with client "$PORT"
    endpoint_connect "connect *:* role=client known-peers=on" "$PORT" send:$'three\n' recv:4
    assert_output_without got
    assert_output_has 'but the one recorded is sha256:'
    command=$(grep -o 'p2ptls trust add [^ ]* sha256:[A-Za-z0-9+/]*=' <<<"$output" | head -n 1)
    [ -n "$command" ]
    # shellcheck disable=SC2086 # the words of the command
    "$ROOT/tools/"$command
    endpoint_connect "connect *:* role=client known-peers=on" "$PORT" send:$'four\n' recv:5
    assert_output_has '0 got "ruof."'
}
