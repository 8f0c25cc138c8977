#!/usr/bin/env bats
# Two hosts with different users and different CAs, in network namespaces: each kind of credential as it is documented,
# in either TLS role, with the wire between them recorded; and a third host that gets nothing through.

load helpers
load network_helpers
load policy_helpers
load tls_helpers
load real_helpers
load host_helpers

setup_file() {
    world_make
    local dir=$WORLD/pki host
    mkdir -m 755 "$dir"
    for host in "${HOST_NAMES[@]}"; do
        issue "ca-$host" '' ca cert_signing_key
    done
    issue alice ca-alice
    issue bob ca-bob
    # What mallory's own CA says of it is what the others' CAs would never say.
    issue mallory ca-mallory 'dns_name = alice.test' 'dns_name = bob.test'
}

teardown_file() {
    world_remove
}

setup() {
    common_setup
    hosts_up
    local host
    for host in "${HOST_NAMES[@]}"; do
        give "$WORLD/pki/$host.key" "$host" key
        install -m 644 "$WORLD/pki/$host.pem" "$WORLD/$host/cert"
    done
}

teardown() {
    common_teardown
    network_down
}

# ---- what the administrators write -----------------------------------------------------------------------------------

own_certificate() { # HOST
    echo "cert=$WORLD/$1/cert key=$WORLD/$1/home/key"
}

key_pin() { # HOST
    echo "pin=sha256:$(openssl pkey -in "$WORLD/pki/$1.key" -pubout -outform DER | sha256sum | cut -d ' ' -f 1)"
}

# What a host says of itself and of another, for each kind of credential.
x509_rule() { echo "$(own_certificate "$1") ca=$WORLD/pki/ca-$2.pem"; } # HOST PEER
pin_rule() { echo "$(own_certificate "$1") $(key_pin "$2")"; }
raw_key_rule() { echo "key=$WORLD/$1/home/key $(key_pin "$2")"; }
known_peers_rule() { echo known-peers=on; }
psk_rule() { echo "psk=$WORLD/$1/home/psk"; }

# ---- steps -----------------------------------------------------------------------------------------------------------

talk_under() { # KIND DIALLER ACCEPTOR PATTERN-OF-ACCEPTOR PATTERN-OF-DIALLER OPTIONS OPTIONS
    rules "$2" "$("$1_rule" "$2" "$3") $6"
    rules "$3" "$("$1_rule" "$3" "$2") $7"
    converse "$2" "$3" || return
    assert_each_heard_the_other "$2" "$3" || return
    assert_roles "$2" "$3" "$6" || return
    assert_matches "$(library_log_of "$2")" " connected to ${ADDRESS_OF[$3]}:$PORT as .* peer \"$4" || return
    assert_matches "$(library_log_of "$3")" " accepted from ${ADDRESS_OF[$2]}:[0-9]+ as .* peer \"$5"
}

# alice and bob talk in every role, whoever dials, and the wire does not show what they say.
alice_and_bob_talk() { # KIND NAME-OF-ALICE NAME-OF-BOB, as the log has them
    switch_capture_start
    in_each_role talk_under "$1" alice bob "$3" "$2" || return
    switch_capture_stop
    assert_wire_without "$MARKER"
}

# mallory dials bob, or answers alice in the place of bob: refused by whom it should not fool, and no word gets through.
intrude() { # KIND MALLORY'S-RULE WORDS-OF-REFUSAL OPTIONS OPTIONS
    rules bob "$("$1_rule" bob alice) $5"
    rules mallory "$2 $4"
    converse mallory bob || return
    assert_nobody_heard_a_byte mallory bob || return
    assert_matches "$(library_log_of bob)" "error: connection from 10.9.0.3:[0-9]+ refused: .*$3" || return

    take_address_of bob
    RULE=$("$1_rule" alice bob) answer_alice_as_bob "$2" "$3" "$4" "$5" || return
    give_address_back bob
}

# While mallory has bob's address. RULE: of alice, by default X.509.
answer_alice_as_bob() { # MALLORY'S-RULE WORDS-OF-REFUSAL OPTIONS OPTIONS
    rules alice "${RULE:-$(x509_rule alice bob)} $3"
    rules mallory "$1 $4"
    converse alice mallory bob.test || return
    assert_nobody_heard_a_byte alice mallory || return
    assert_matches "$(library_log_of alice)" "error: connection to 10.9.0.2:$PORT refused: .*$2"
}

# As its user would: the command of the last message of a host, word by word.
run_the_command_for() { # HOST
    local command
    command=$(library_log_of "$1" | grep -o 'p2ptls trust add [^ ]* sha256:[A-Za-z0-9+/]*=' | tail -n 1)
    [ -n "$command" ] || fail "no command is in the log of $1" "$(library_log_of "$1")" || return
    at "$1"
    # shellcheck disable=SC2086 # the words of the command
    "${AT[@]}" $command
}

known_to() { # HOST
    cat "$WORLD/$1/home/.local/state/p2ptls/known_peers"
}

# From the first contact on. The identity of each user is a key of its own, made by itself.
first_use() { # OPTIONS OPTIONS
    local host key
    for host in alice bob; do
        rm -rf "$WORLD/$host/home/.local"
    done
    rules alice "known-peers=on $1"
    rules bob "known-peers=on $2"
    converse alice bob || return
    assert_nobody_heard_a_byte alice bob || return
    assert_matches "$(library_log_of bob)" ' a key that is not recorded; if .*: p2ptls trust add accept' || return
    run_the_command_for bob || return

    converse alice bob || return
    assert_each_heard_the_other alice bob || return
    assert_roles alice bob "$1" || return
    key=$(known_to alice)
    assert_matches "$key" "^bob\.test:$PORT sha256:[A-Za-z0-9+/]{43}= 20[0-9T:-]*Z$" || return
    converse alice bob || return
    assert_each_heard_the_other alice bob || return
    assert_equal "$(known_to alice)" "$key" 'what alice knows' || return

    rm "$WORLD/bob/home/.local/state/p2ptls/identity.pem"
    converse alice bob || return
    assert_nobody_heard_a_byte alice bob || return
    key=${key#* } key=${key% *}
    assert_matches "$(library_log_of alice)" 'has the key sha256:[^ ]*, but the one recorded is sha256:' || return
    assert_contains "$(library_log_of alice)" "but the one recorded is $key: somebody may be in between" || return
    run_the_command_for alice || return
    refute_contains "$(known_to alice)" "$key" || return
    converse alice bob || return
    assert_each_heard_the_other alice bob
}

# ---- real programs ---------------------------------------------------------------------------------------------------

serve_redis() {
    at bob
    start redis "${AT[@]}" "${RUN[@]}" redis-server --bind 10.9.0.2 --port "$PORT" --protected-mode no \
        --unixsocket "$WORLD/bob/home/redis" --save ''
    wait_for_log redis 'server is now ready to accept connections at /'
}

redis_of_bob() { # COMMAND...: not by TCP
    redis-cli -s "$WORLD/bob/home/redis" "$@"
}

ask_redis() { # HOST COMMAND...
    at "$1"
    "${AT[@]}" "${RUN[@]}" redis-cli -h bob.test -p "$PORT" "${@:2}"
}

redis_in_a_role() { # OPTIONS OPTIONS
    rules alice "$(x509_rule alice bob) $1"
    rules bob "$(x509_rule bob alice) $2"
    rules mallory "$(own_certificate mallory) auth=insecure-none $1"
    serve_redis || return
    run ask_redis mallory SET "key of mallory" "$MARKER"
    assert_output_without OK || return
    assert_equal "$(redis_of_bob DBSIZE)" 0 || return
    assert_equal "$(ask_redis alice SET key "$MARKER")" OK || return
    assert_equal "$(redis_of_bob GET key)" "$MARKER" || return
    assert_equal "$(ask_redis alice GET key)" "$MARKER" || return
    redis_of_bob SHUTDOWN NOSAVE || return
    finish redis
}

curl_in_a_role() { # OPTIONS OPTIONS
    rules alice "$(pin_rule alice bob) $1"
    rules bob "$(pin_rule bob alice) $2"
    rules mallory "$(own_certificate mallory) auth=insecure-none $1"
    at bob
    start http "${AT[@]}" "${RUN[@]}" "$PYTHON" -u -m http.server --bind 10.9.0.2 --directory "$WORLD/bob" "$PORT"
    wait_for_log http 'Serving HTTP' || return
    at mallory
    run "${AT[@]}" "${RUN[@]}" curl -sS "http://bob.test:$PORT/words"
    assert_output_without "$MARKER" || return
    at alice
    assert_equal "$("${AT[@]}" "${RUN[@]}" curl -sS "http://bob.test:$PORT/words")" "$MARKER from bob" || return
    stop http
    assert_log_has http 'Key was rejected by service' || return # by the read of mallory's connection
    refute_contains "$(cat "$(log_of http)")" '10.9.0.3 - - ' || return
    assert_log_has http '10.9.0.1 - - '
}

share_key() {
    local host
    echo "both:$(printf '%064d' 1)" >"$BATS_TEST_TMPDIR/psk"
    for host in alice bob; do
        give "$BATS_TEST_TMPDIR/psk" $host psk
    done
}

# ---- the tests -------------------------------------------------------------------------------------------------------

@test "without the library the wire between the hosts shows what is said" {
    switch_capture_start
    RUN=(env)
    converse alice bob
    switch_capture_stop
    assert_each_heard_the_other alice bob
    assert_wire_has "$MARKER from alice"
    assert_wire_has "$MARKER from bob"
}

@test "X.509: two hosts that trust each other's CA talk, whoever dials and in either TLS role" {
    alice_and_bob_talk x509 CN=alice CN=bob
    in_each_role talk_under x509 bob alice CN=alice CN=bob
}

@test "X.509: a host with a CA of its own is refused, dialling and in the place of the dialled one" {
    in_each_role intrude x509 "$(own_certificate mallory) auth=insecure-none" \
        'the certificate of CN=mallory .* was not issued by a trusted CA'
}

@test "X.509: a host of the right CA is refused under the name of another" {
    local dir=$WORLD/pki
    issue other ca-bob
    give "$dir/other.key" mallory key
    install -m 644 "$dir/other.pem" "$WORLD/mallory/cert"
    take_address_of bob
    in_each_role answer_alice_as_bob "$(own_certificate mallory) auth=insecure-none" \
        'the certificate of CN=other .* does not carry the name bob.test'
}

@test "pins: two hosts that pin each other's key talk in either TLS role" {
    alice_and_bob_talk pin CN=alice CN=bob
}

@test "pins: a host with another key is refused, dialling and in the place of the dialled one" {
    in_each_role intrude pin "$(own_certificate mallory) auth=insecure-none" \
        'the certificate of CN=mallory .* has the key sha256:.*, which is not pinned: if it is the right one'
}

@test "raw keys: two hosts that pin each other's key talk in either TLS role, and no certificate is there" {
    alice_and_bob_talk raw_key 'raw key sha256:' 'raw key sha256:'
}

@test "raw keys: a host with another key is refused, dialling and in the place of the dialled one" {
    in_each_role intrude raw_key "key=$WORLD/mallory/home/key auth=insecure-none" \
        'the raw public key of the remote side has the key sha256:.*, which is not pinned: if it is the right one'
}

@test "PSK: two hosts with one key talk in either TLS role" {
    share_key
    alice_and_bob_talk psk psk:both psk:both
}

@test "PSK: a host with another key of that name is refused, dialling and in the place of the dialled one" {
    share_key
    echo "both:$(printf '%064d' 2)" >"$BATS_TEST_TMPDIR/psk"
    give "$BATS_TEST_TMPDIR/psk" mallory psk
    in_each_role intrude psk "$(psk_rule mallory)" \
        '(has another pre-shared key of the same name|could not verify our proof).* psk='
}

@test "known peers: recorded at the first contact, taken again, and refused with a new key until its command was run" {
    in_each_role first_use
}

@test "known peers: a host with another key is refused, dialling and in the place of the dialled one" {
    rules alice known-peers=on
    rules bob known-peers=on
    converse alice bob
    run_the_command_for bob
    converse alice bob
    assert_each_heard_the_other alice bob
    in_each_role intrude known_peers "$(own_certificate mallory) auth=insecure-none" \
        'the certificate of CN=mallory .* has (the key sha256:|a key that is not recorded).* p2ptls trust add'
}

@test "redis between the hosts by X.509: in either TLS role alice sets and gets, and mallory's command never arrives" {
    switch_capture_start
    in_each_role redis_in_a_role
    switch_capture_stop
    assert_wire_without "$MARKER"
}

@test "curl and an HTTP server of Python by pins: in either TLS role alice gets the file, and mallory is not heard" {
    switch_capture_start
    in_each_role curl_in_a_role
    switch_capture_stop
    assert_wire_without "$MARKER"
}
