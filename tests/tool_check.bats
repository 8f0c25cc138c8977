#!/usr/bin/env bats
# check and show: the tool reads policies as the library does, and says which rule decides, and why.
# shellcheck disable=SC2154 # stderr is set by run

load helpers
load policy_helpers
load tool_helpers

setup() {
    tool_setup
    make_etc
    mkdir -p "$XDG_CONFIG_HOME/p2ptls"
}

teardown() {
    remove_etc
    common_teardown
}

check_in_etc() { run --separate-stderr in_etc "$TOOL" check "$@"; }

# What the library does, by the errno of a connection that nobody accepts.
library_says() { # HOST PORT
    in_etc env P2PTLS_LOG=silent "${P2P[@]}" "$PYTHON" -c '
import socket, sys
s = socket.socket()
try:
    s.connect((socket.gethostbyname(sys.argv[1]), int(sys.argv[2])))
except PermissionError:
    print("refused")
except ConnectionRefusedError:
    print("not refused")' "$@"
}

@test "check names the rule that decides, by the sources' order, and what it does" {
    system_policy z 'connect *:9 deny'
    check_in_etc connect 127.0.0.1:9
    assert_status 0
    assert_output_has 'by /etc/p2ptls/z.conf:1:1: connect *:9 deny'
    assert_output_has 'refused (EACCES): the rule says deny'
    assert_equal "$(library_says 127.0.0.1 9)" refused
    echo 'connect *:9 plain' >"$XDG_CONFIG_HOME/p2ptls/a.conf"
    check_in_etc connect 127.0.0.1:9
    assert_status 1
    assert_output_has "by $XDG_CONFIG_HOME/p2ptls/a.conf:1:1: connect *:9 plain"
    assert_output_has 'in clear: the rule says plain'
    assert_equal "$(library_says 127.0.0.1 9)" 'not refused'
    P2PTLS_POLICY='connect *:9 known-peers=on' check_in_etc connect 127.0.0.1:9
    assert_status 0
    assert_output_has 'by P2PTLS_POLICY:1:1: connect *:9 tls known-peers=on'
    assert_output_has 'protected: peer-to-peer TLS 1.3, or it fails'
    assert_output_has 'this side is the per-user identity'
    assert_output_has 'accepted is a key that is known'
    P2PTLS_POLICY='connect *:9 plain' check_in_etc -r 'connect *:9 mode=observe' connect 127.0.0.1:9
    assert_status 1
    assert_output_has 'in clear: the rule only observes'
    echo 'connect *:9 deny' >rules
    check_in_etc -f rules connect 127.0.0.1:9
    assert_output_has 'by rules:1:1: connect *:9 deny'
    check_in_etc connect 127.0.0.1:10
    assert_status 1
    assert_output_has 'in clear: no rule matches, and the socket is left alone'
}

@test "check says why the rules in front were passed over" {
    local rules='connect 10.0.0.0/8:9; connect *.example:9; accept *:9 deny; connect *:10 deny; connect [::]/0:9 deny'
    tool check -v -r "$rules; connect *:9 deny" connect 127.0.0.1:9
    assert_status 0
    assert_output_has 'passed over, as the address is none of its own: P2PTLS_POLICY:1:1: connect 10.0.0.0/8:9 tls'
    assert_output_has 'passed over, as it is for a name, and an address is dialled: P2PTLS_POLICY:1:23: '
    assert_output_has 'passed over, as it is for the other direction: P2PTLS_POLICY:1:44: accept *:9 deny'
    assert_output_has 'passed over, as the port is another: P2PTLS_POLICY:1:61: connect *:10 deny'
    assert_output_has 'passed over, as the address is none of its own: P2PTLS_POLICY:1:80: connect [::]/0:9 deny'
    tool check -r "$rules; connect *:9 deny" connect 127.0.0.1:9
    assert_output_without 'the port is another'
    assert_output_has 'connect 10.0.0.0/8:9 tls'
}

@test "check looks a name up, and compares each address and the name" {
    echo '192.0.2.7 db.example' >>"$ETC/hosts"
    echo '192.0.2.8 other.example' >>"$ETC/hosts"
    export P2PTLS_POLICY='connect *.example:5432 peer=db.example ca=/c cert=/e key=/k; connect 192.0.2.0/24:* deny'
    check_in_etc connect db.example:5432
    assert_status 0
    assert_output_has 'connect 192.0.2.7:5432 (db.example)'
    assert_output_has 'by P2PTLS_POLICY:1:1: '
    assert_output_has 'accepted is a certificate of an authority in /c, as db.example'
    check_in_etc connect 192.0.2.8:5432
    assert_output_has 'by P2PTLS_POLICY:1:62: '
    check_in_etc connect nobody.invalid:5432
    assert_status 1
    assert_contains "$stderr" 'nobody.invalid cannot be looked up'
}

@test "check accept: a wildcard stands for each address of the machine, and from= is asked" {
    tool check -r 'accept 127.0.0.1:5432 from=10.0.0.0/8,[fd00::]/8; accept *:5432 deny' accept 0.0.0.0:5432
    assert_status 0
    assert_output_has $'accept 127.0.0.1:5432\n  decided, as direction'
    tool check -r 'accept 127.0.0.1:5432 from=10.0.0.0/8' --from 192.0.2.1 accept 127.0.0.1:5432
    assert_status 0
    assert_output_has 'closed: from= of the rule does not allow that peer'
    tool check -r 'accept 127.0.0.1:5432 from=10.0.0.0/8' --from 10.2.2.2 accept 127.0.0.1:5432
    assert_output_has 'protected:'
    tool check -r 'accept [::1]:5432 insecure-accept-plain=on' accept '[::1]:5432'
    assert_status 1
    assert_output_has 'plaintext is taken, too'
}

@test "check --program: for= counts as it does in that program" {
    ln -s "$(type -P sleep)" dozing
    tool check -r 'connect *:9 deny for=dozing' --program ./dozing connect 127.0.0.1:9
    assert_output_has 'the rule says deny'
    tool check -r 'connect *:9 deny for=dozing' --program sleep connect 127.0.0.1:9
    assert_status 1
    assert_output_has 'no rule matches'
    tool check -r 'connect *:9 deny for=dozing' --program sleep
    assert_status 1
    assert_contains "$stderr" 'no rule holds in this program'
    tool check -r 'connect *:9 deny for=dozing' connect 127.0.0.1:9
    assert_output_has 'by P2PTLS_POLICY:1:1: connect *:9 deny for=dozing'
    tool check -r 'connect *:9' --program no-such-program
    assert_status 1
    assert_contains "$stderr" 'no-such-program: there is no such program'
}

@test "check alone: the error where it is, that there is no rule, rules that can never decide" {
    tool check -r 'connect *:1; accept *:2'
    assert_status 0
    assert_output '2 rules, no error'
    tool check -r 'conect *:1'
    assert_status 3
    assert_contains "$stderr" 'P2PTLS_POLICY:1:1: expected connect, accept, any, set, identity or include, found '
    tool check
    assert_status 1
    assert_contains "$stderr" 'no rule holds: every socket is left alone'
    local shadowed
    for shadowed in 'any *:1; connect 10.0.0.0/8:1' 'connect *.a:1-9; connect b.a:2,*.c.a:9' \
        'accept 10.0.0.0/8:*; accept 10.1.0.0/16:1 for=x' 'connect *:*; connect db.example:5 deny'; do
        tool check -r "$shadowed"
        assert_status 1
        assert_contains "$stderr" 'this rule never decides: P2PTLS_POLICY:1:1 in front of it' || return
    done
    local fine
    for fine in 'connect *:1; any 10.0.0.0/8:1' 'connect *.a:1; connect a:1' 'accept *:1 for=x; accept *:1 for=y' \
        'connect 10.1.0.0/16:1; connect 10.0.0.0/8:1' 'connect 10.0.0.0/8:1; connect db.example:1'; do
        tool check -r "$fine"
        assert_status 0 || fail "$fine" "$stderr" || return
    done
    chmod 622 "$XDG_CONFIG_HOME/p2ptls"
    tool check -r 'connect *:1'
    assert_status 3
    assert_contains "$stderr" "$XDG_CONFIG_HOME/p2ptls: can be changed by everyone"
}

# ---- show ------------------------------------------------------------------------------------------------------------

# Everything that a rule can say, once. (Paths are not looked at.)
rules() {
    local pin=sha256:7d4359e2cddec0d8760c2c83cc025715de0aaa2343351e567397e616c9c4ac2e
    cat <<END
connect 10.0.0.0/8:6379,[2001:db8::]/32:1-5,[::1]:*,*.db.example:5432,*:7 tls
accept *:8443 tls from=10.0.0.0/8,[fd00::]/8 role=server hello=now auth=request
connect *:1 tls remote-role=server connect=wait sni=off eof=insecure-fin revalidate=always resume=off
any *:2 tls prefer=server handshake-timeout=2500ms early-data-buffer=1024 rekey-after=9
any *:3 tls cert=/c key=/k passphrase-file=/p ocsp-staple=/o ca=/a,system crl=/l ocsp=stapled peer=db.example,uri:u:v
any *:4 tls key="pkcs11:token=node;object=tls" pin-file=/pin pin=$pin known-peers=/n trust="(pinned or known)"
any *:5 tls psk=/psk psk-name=n peer=psk:n client-ciphers=aes-128-gcm server-ciphers=chacha20-poly1305
connect *:6 tls auth=insecure-none alpn=h2,http/1.1 ciphers=aes-256-gcm,aes-128-gcm groups=x448,x25519
connect *:8 tls show=never usage=role ca=system dane=on trust="ca or dane"
accept *:9 tls for=a,/b/c mode=observe insecure-accept-plain=on plain-wait=250ms
connect *:10 deny for=x mode=observe
any *:11 plain
END
}

@test "the rules of these tests have every option of the language in them" {
    local option count=0
    while read -r option; do
        count=$((count + 1))
        case $option in
        id | client-groups | server-groups) ;; # id= is shown as what it names; the others are printed as ciphers are
        *) assert_contains "$(rules)" " $option=" || return ;;
        esac
    done < <(sed -nE 's/^ *\{"([a-z-]+)", [A-Z(].*policy_parse.*/\1/p' "$ROOT/src/policy_options.c")
    assert_at_least $count 40
}

@test "show prints each rule in full, and what it prints is that policy again" {
    rules >rules.conf
    tool show -f "$PWD/rules.conf"
    assert_status 0
    assert_equal "$(grep -v '^#' <<<"$output" | grep .)" "$(rules)"
    assert_output_has $'# '"$PWD"$'/rules.conf:12:1\nany *:11 plain'
}

@test "show tells what set and identity statements give to a rule, and where each stands" {
    system_policy fleet 'identity fleet cert=/c key=/k; set ca=/a handshake-timeout=3
connect 10.0.0.0/8:6379 tls final id=fleet'
    run --separate-stderr in_etc "$TOOL" show -r 'set role=client; connect *:1'
    assert_status 0
    assert_output_has $'# /etc/p2ptls/fleet.conf:2:1
connect 10.0.0.0/8:6379 tls final cert=/c key=/k ca=/a handshake-timeout=3

# P2PTLS_POLICY:1:18
connect *:1 tls role=client'
    assert_output_has '# /etc/p2ptls: read'
    assert_output_has "# the user's folder: $XDG_CONFIG_HOME/p2ptls"
}

@test "show --program leaves out what is for others; no rule at all is a no" {
    tool show -r 'connect *:1 for=other; connect *:2 for=sleep' --program sleep
    assert_status 0
    assert_output_has 'connect *:2 tls for=sleep'
    assert_output_without 'connect *:1'
    assert_output_has '# 1 rule is for other programs (for=)'
    tool show
    assert_status 1
    tool show -r 'connect *:x'
    assert_status 3
}

@test "what a name or a path holds never reaches the terminal raw" {
    printf 'connect *:1 psk=/a\033[31mb\n' >raw
    tool show -f raw
    assert_status 3
    refute_contains "$output$stderr" $'\033'
    mkdir $'fol\033der'
    echo 'conect' >$'fol\033der/policy'
    tool check -f $'fol\033der/policy'
    assert_status 3
    refute_contains "$stderr" $'\033'
}

@test "colours are for terminals, and NO_COLOR is honoured" {
    tool check -r 'connect *:1 deny' connect 127.0.0.1:1
    refute_contains "$output" $'\033'
    TERM=xterm run script -qec "'$TOOL' check -r 'connect *:1 deny' connect 127.0.0.1:1" /dev/null
    assert_output_has $'\033[32m'
    NO_COLOR=1 TERM=xterm run script -qec "'$TOOL' check -r 'connect *:1 deny' connect 127.0.0.1:1" /dev/null
    refute_contains "$output" $'\033'
    TERM=dumb run script -qec "'$TOOL' check -r 'connect *:1 deny' connect 127.0.0.1:1" /dev/null
    refute_contains "$output" $'\033'
}
