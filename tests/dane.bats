#!/usr/bin/env bats
# dane=on: TLSA records are looked up for the name that the program dialled, believed if DNSSEC proves them, and decide
# in either TLS role. The resolver (unbound) and the zones are real.

load helpers
load tls_helpers
load network_helpers
load dns_helpers

digest_of() { # CERTIFICATE: SHA-256 of its key, hexadecimal
    openssl x509 -in "$1" -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | cut -d ' ' -f 1
}

hex_of() { # CERTIFICATE
    openssl x509 -in "$1" -outform DER | xxd -p -c 0
}

setup_file() {
    local dir=$BATS_FILE_TMPDIR/pki good other many=() i
    make_certificates "$dir"
    good=$(digest_of "$dir/server.pem")
    other=$(digest_of "$dir/stranger.pem")
    # More than a datagram takes: the whole certificates of strangers in front.
    for i in 1 2 3 4; do
        issue "many$i" "" "organization = $(printf 'x%.0s' {1..60})"
        many+=("*._tcp.many TLSA 3 0 0 $(hex_of "$dir/many$i.pem")")
    done
    make_zones "$BATS_FILE_TMPDIR/zones" {good,other,alias,many}' A 127.0.0.1' "*._tcp.good TLSA 3 1 1 $good" \
        "*._tcp.other TLSA 3 1 1 $other" \
        "*._tcp.alias CNAME _1._tcp.good" "${many[@]}" "*._tcp.many TLSA 3 1 1 $good"
}

setup() {
    common_setup
    PKI=$BATS_FILE_TMPDIR/pki
    LOG=$BATS_TEST_TMPDIR/dial.p2ptls
    SHOW="cert=$PKI/client.pem key=$PKI/client.key"
    resolver_up "$BATS_FILE_TMPDIR/zones"
}

teardown() {
    common_teardown
    network_down
}

serve() { # sets PORT; shows a certificate that names good.dane.test nowhere, as DANE-EE needs no name
    P2PTLS_POLICY="accept *:* cert=$PKI/server.pem key=$PKI/server.key ca=$PKI/ca.pem" \
        start echo "${IN_NET[@]}" "${P2P[@]}" "$PYTHON" "$ROOT/tests/programs/echo.py" threading
    wait_for_log echo 'port ' || return
    PORT=$(sed -n 's/^port //p' "$(log_of echo)")
}

dial() { # NAME OPTION...
    : >"$LOG"
    P2PTLS_POLICY="connect *:* ${*:2}" P2PTLS_LOG=info:$LOG run "${IN_NET[@]}" "${P2P[@]}" "$PYTHON" \
        "$ROOT/tests/programs/dial.py" "$PORT" "lookup=$1" dial=127.0.0.1
    assert_status 0
}

silence() { # ADDRESS: what is sent there is lost
    "${ON[@]}" nft -f - <<<"table ip t { chain c { type filter hook input priority 0; ip daddr $1 drop; }; }"
}

assert_refused() { # REASON
    assert_output 'Key was rejected by service'
    assert_contains "$(<"$LOG")" "$1"
}

@test "a record that fits accepts the peer in either TLS role, one that does not refuses it" {
    local role
    for role in client server; do
        serve
        dial good.dane.test "$SHOW" "role=$role" dane=on
        assert_output hello
        assert_contains "$(<"$LOG")" " as $role,"
        dial other.dane.test "$SHOW" "role=$role" dane=on
        assert_refused 'fits none of the 1 TLSA records'
        stop echo
    done
}

@test "records are found through an alias of their own name, and by TCP where a datagram is too short for them" {
    serve
    dial alias.dane.test "$SHOW" dane=on
    assert_output hello
    dial many.dane.test "$SHOW" dane=on
    assert_output hello
    assert_equal "$("${IN_NET[@]}" drill -b 1232 _1._tcp.many.dane.test TLSA @127.0.0.1 | grep -c ' tc ')" 1
}

@test "forged and unproven records refuse, whatever else could be trusted" {
    local trust
    serve
    for trust in '' "ca=$PKI/ca.pem trust=\"ca or dane\""; do
        dial good.broken.test "$SHOW" dane=on "$trust" peer=server.test
        assert_refused 'the resolver answers SERVFAIL for the TLSA records'
        dial good.unsigned.test "$SHOW" dane=on "$trust" peer=server.test
        assert_refused 'is not proven by DNSSEC'
    done
}

@test "that there are no records is proven too: then the rest of trust= decides" {
    serve
    dial none.dane.test "$SHOW" dane=on
    assert_refused 'has no TLSA record that could be used, as DNSSEC proves'
    dial none.dane.test "$SHOW" dane=on "ca=$PKI/ca.pem" 'trust="ca or dane"' peer=server.test
    assert_output hello
    dial none.dane.test "$SHOW" dane=on "ca=$PKI/stranger-ca.pem" 'trust="ca or dane"' peer=server.test
    assert_refused 'was not issued by a trusted CA'
}

@test "an address has no records" {
    serve
    dial 127.0.0.1 "$SHOW" dane=on
    assert_refused 'an address was dialled'
    dial 127.0.0.1 "$SHOW" dane=on "ca=$PKI/ca.pem" 'trust="ca or dane"'
    assert_output hello
}

@test "a resolver elsewhere is believed only where resolv.conf says trust-ad" {
    serve
    resolved_by 'nameserver 10.9.9.9'
    dial good.dane.test "$SHOW" dane=on
    assert_refused "names no resolver whose word on DNSSEC could be trusted"
    resolved_by 'nameserver 10.9.9.9' 'options edns0 trust-ad'
    dial good.dane.test "$SHOW" dane=on
    assert_output hello
}

@test "a resolver that is silent or absent refuses; the next one is asked" {
    serve
    silence 127.0.0.9
    # libc's own look-up needs an answer, so that one comes by a file.
    printf 'hosts: files dns\n' >"$BATS_TEST_TMPDIR/nsswitch.conf"
    printf '127.0.0.1 good.dane.test\n' >"$BATS_TEST_TMPDIR/hosts"
    # shellcheck disable=SC2016 # for the inner shell
    IN_NET+=(sh -c 'mount --bind "$1" /etc/hosts && shift && exec "$@"' sh "$BATS_TEST_TMPDIR/hosts")
    resolved_by 'nameserver 127.0.0.9' 'options timeout:1 attempts:1'
    dial good.dane.test "$SHOW" dane=on
    assert_refused 'no answer from the resolver'
    resolved_by 'nameserver 127.0.0.8' 'options timeout:1 attempts:1'
    dial good.dane.test "$SHOW" dane=on
    assert_refused 'Connection refused'
    resolved_by 'nameserver 127.0.0.9' 'options timeout:30'
    dial good.dane.test "$SHOW" dane=on handshake-timeout=1
    assert_output 'Connection timed out' || assert_refused 'no answer from the resolver'
    resolved_by 'nameserver 127.0.0.9' 'nameserver 127.0.0.1' 'options timeout:1'
    dial good.dane.test "$SHOW" dane=on
    assert_output hello
}

# Gives an answer late: the first resolver is silent.
slow_resolver() {
    silence 127.0.0.9
    resolved_by 'nameserver 127.0.0.9' 'nameserver 127.0.0.1' 'options timeout:1'
}

@test "the program notices nothing of the look-up: no socket, no child, no signal, no waiting; privileges do not stay" {
    serve
    slow_resolver
    P2PTLS_POLICY="connect *:* $SHOW dane=on" run "${IN_NET[@]}" "${P2P[@]}" "$PYTHON" \
        "$ROOT/tests/programs/dane_guest.py" good.dane.test "$PORT"
    assert_output "connect and send did not wait: True
sockets of the program: 1
children to wait for: none
its own child: True ['SIGCHLD']
gone with the privileges: True
hello
left over: nothing none ['SIGCHLD']"
}

@test "a process whose next child would be the first of a pid namespace makes none for a look-up" {
    serve
    : >"$LOG"
    # shellcheck disable=SC2016 # for the inner shell
    P2PTLS_POLICY="connect *:* $SHOW dane=on" P2PTLS_LOG=info:$LOG run "${IN_NET[@]}" unshare --pid "${P2P[@]}" \
        "$PYTHON" -c '
import os, socket, sys
s = socket.socket()
try:
    s.connect(socket.getaddrinfo("good.dane.test", int(sys.argv[1]), proto=socket.IPPROTO_TCP)[0][4])
    s.recv(1)
except OSError as error:
    print(os.strerror(error.errno))
child = os.fork()
if child == 0:
    os._exit(0 if os.getpid() == 1 else 1)
print("the first child is process 1:", os.waitpid(child, 0)[1] == 0)' "$PORT"
    assert_output $'Key was rejected by service\nthe first child is process 1: True'
    assert_contains "$(<"$LOG")" 'pid namespace'
}
