#!/usr/bin/env bats
# Keys, certificates and pre-shared keys that the tool makes: right for real programs, and whole or not there.

# shellcheck disable=SC2154 # stderr is set by run

load helpers
load tls_helpers
load tool_helpers

setup() { tool_setup; }

mode_of() { stat -c %a "$1"; }

pin_of() { # CERTIFICATE or KEY
    openssl pkey -pubin -outform DER -in <(
        openssl x509 -in "$1" -noout -pubkey 2>/dev/null || openssl pkey -in "$1" -pubout) |
        openssl dgst -sha256 -binary | base64 | sed 's/^/sha256:/'
}

text_of() { openssl x509 -in "$1" -noout -text; }

# ---- a private CA ----------------------------------------------------------------------------------------------------

@test "three commands make a private CA and two nodes, and both protect each other's connections" {
    "$TOOL" genca fleet
    "$TOOL" sign fleet alpha alpha.example 127.0.0.1
    "$TOOL" sign fleet beta beta.example 127.0.0.1
    openssl verify -x509_strict -CAfile fleet.pem alpha.pem beta.pem
    certtool --verify --load-ca-certificate fleet.pem --infile alpha.pem
    openssl verify -CAfile fleet.pem -purpose sslserver alpha.pem
    openssl verify -CAfile fleet.pem -purpose sslclient alpha.pem
    openssl verify -CAfile fleet.pem -verify_hostname alpha.example alpha.pem
    openssl verify -CAfile fleet.pem -verify_ip 127.0.0.1 alpha.pem

    local trust="ca=$PWD/fleet.pem"
    endpoint_listen server "accept *:* cert=$PWD/alpha.pem key=$PWD/alpha.key $trust" --count 1 echo
    endpoint_connect "connect *:* cert=$PWD/beta.pem key=$PWD/beta.key $trust" "$PORT" send:hello recv:5
    assert_output_has '0 got "hello"'
    assert_output_has 'CN=alpha.example'
    assert_log_has server 'CN=beta.example'
}

@test "a node of another CA of the same name is refused" {
    "$TOOL" genca fleet
    "$TOOL" genca other
    "$TOOL" sign fleet alpha 127.0.0.1
    "$TOOL" sign other mallory 127.0.0.1
    endpoint_listen server "accept *:* cert=$PWD/alpha.pem key=$PWD/alpha.key ca=$PWD/fleet.pem" --count 1 echo
    endpoint_connect "connect *:* cert=$PWD/mallory.pem key=$PWD/mallory.key ca=$PWD/other.pem" "$PORT" send:x recv:1
    assert_output_without '0 got "x"'
    run openssl verify -CAfile fleet.pem mallory.pem
    assert_status 2
}

@test "what is in them: version 3, random serial numbers, Ed25519, a year, ten for the CA, which signs no other CA" {
    "$TOOL" genca ca
    "$TOOL" sign ca a a.example 10.0.0.1 '[2001:db8::1]' uri:spiffe://td/a email:a@a.example '*.a.example'
    "$TOOL" sign ca b b.example
    run text_of a.pem
    assert_output_has 'Version: 3 (0x2)'
    assert_output_has 'Public Key Algorithm: ED25519'
    assert_output_has $'Basic Constraints: critical\n                CA:FALSE'
    assert_output_has $'Key Usage: critical\n                Digital Signature\n'
    assert_output_has 'TLS Web Server Authentication, TLS Web Client Authentication'
    assert_output_has "DNS:a.example, IP Address:10.0.0.1, IP Address:2001:DB8:0:0:0:0:0:1, URI:spiffe://td/a, \
email:a@a.example, DNS:*.a.example"
    assert_output_has 'X509v3 Authority Key Identifier'
    run text_of ca.pem
    assert_output_has $'Basic Constraints: critical\n                CA:TRUE, pathlen:0'
    assert_output_has $'Key Usage: critical\n                Certificate Sign, CRL Sign'
    local a b
    a=$(openssl x509 -in a.pem -noout -serial) b=$(openssl x509 -in b.pem -noout -serial)
    [ "$a" != "$b" ]
    assert_matches "$a" '^serial=[0-9A-F]{32}$'
    openssl x509 -in a.pem -noout -checkend $((364 * 86400))
    run openssl x509 -in a.pem -noout -checkend $((366 * 86400))
    assert_status 1
    openssl x509 -in ca.pem -noout -checkend $((3649 * 86400))
    assert_equal "$(mode_of ca.key) $(mode_of a.key) $(mode_of a.pem)" '600 600 644'
}

@test "validity: days, hours, a date; never longer than the authority's" {
    "$TOOL" genca --days 10 ca
    "$TOOL" sign --hours 2 ca a a.example
    openssl x509 -in a.pem -noout -checkend 7000
    run openssl x509 -in a.pem -noout -checkend 7300
    assert_status 1
    tool sign ca b b.example
    assert_status 0
    assert_contains "$stderr" "the certificate ends with the authority's"
    assert_equal "$(openssl x509 -in b.pem -noout -enddate)" "$(openssl x509 -in ca.pem -noout -enddate)"
    "$TOOL" gencert --until 2099-01-31T18:00:00Z c c.example
    assert_equal "$(openssl x509 -in c.pem -noout -enddate)" 'notAfter=Jan 31 18:00:00 2099 GMT'
    local bad
    for bad in '--days 0' '--days 1x' '--hours -1' '--days 99999999999999999999' '--until soon' '--until 2001-01-01' \
        '--days 1 --hours 1'; do
        # shellcheck disable=SC2086 # words
        tool gencert $bad d d.example
        assert_status 2
    done
    [ ! -e d.key ] && [ ! -e d.pem ]
}

@test "keys of other types, and a key that is there already" {
    local type
    for type in ed25519 p256 p384; do
        "$TOOL" genca --type $type "ca-$type"
        "$TOOL" sign --type $type "ca-$type" "node-$type" node.example
        openssl verify -CAfile "ca-$type.pem" "node-$type.pem"
    done
    assert_contains "$(text_of node-p256.pem)" 'ASN1 OID: prime256v1'
    assert_contains "$(text_of node-p384.pem)" 'Signature Algorithm: ecdsa-with-SHA384'
    "$TOOL" sign --force --key node-p256.key --days 3 ca-ed25519 node-p256 node.example
    openssl verify -CAfile ca-ed25519.pem node-p256.pem
    assert_equal "$(pin_of node-p256.pem)" "$(pin_of node-p256.key)"
    tool genkey --type rsa key
    assert_status 2
    [ ! -e key ]
}

@test "--key and --passphrase-file: genca, gencert and requests take a key that is there, and leave it as it is" {
    (umask 077 && echo 'open sesame' >pass)
    "$TOOL" genkey --type p384 --passphrase-file pass own
    cp -p own before
    "$TOOL" genca --key own --passphrase-file pass --name 'Of this test' ca
    [ ! -e ca.key ]
    "$TOOL" sign --ca-key own --ca-passphrase-file pass ca node node.example
    openssl verify -CAfile ca.pem node.pem
    assert_contains "$(text_of ca.pem)" 'Subject: CN = Of this test'
    "$TOOL" gencert --key node.key other other.example
    [ ! -e other.key ]
    assert_equal "$(pin_of other.pem)" "$(pin_of node.key)"
    "$TOOL" gencert --request --key node.key again again.example
    [ ! -e again.key ]
    openssl req -in again.csr -noout -verify
    cmp own before
    echo 'wrong' >pass
    tool genca --key own --passphrase-file pass no
    assert_status 1
    assert_contains "$stderr" 'the passphrase in pass does not open the key in own'
    [ ! -e no.pem ]
}

@test "a request: the node's key stays where it is, and what it asks for is signed, or other names" {
    "$TOOL" genca ca
    "$TOOL" gencert --request node node.example 10.0.0.1
    [ ! -e node.pem ]
    openssl req -in node.csr -noout -verify
    "$TOOL" sign --request node.csr ca node
    openssl verify -CAfile ca.pem node.pem
    assert_contains "$(text_of node.pem)" 'DNS:node.example, IP Address:10.0.0.1'
    assert_equal "$(pin_of node.pem)" "$(pin_of node.key)"
    "$TOOL" sign --force --request node.csr ca node other.example
    assert_contains "$(text_of node.pem)" $'DNS:other.example\n'
    # One of openssl, and one whose signature is not of its key.
    openssl req -new -newkey ed25519 -nodes -keyout o.key -subj /CN=o -addext subjectAltName=DNS:o.example \
        -out o.csr 2>/dev/null
    "$TOOL" sign --request o.csr ca o
    openssl verify -CAfile ca.pem o.pem
    openssl req -in o.csr -outform DER -out o.der
    printf '\377' | dd of=o.der bs=1 seek=$(($(stat -c %s o.der) - 5)) conv=notrunc status=none
    openssl req -in o.der -inform DER -out bad.csr
    tool sign --request bad.csr ca bad bad.example
    assert_status 1
    assert_contains "$stderr" 'bad.csr holds no good certificate request'
    [ ! -e bad.pem ]
    openssl req -new -newkey rsa:1024 -nodes -keyout w.key -subj /CN=w -out w.csr 2>/dev/null
    tool sign --request w.csr ca w w.example
    assert_status 1
    [ ! -e w.pem ]
}

authority_between() { # NAME DATE DATE
    issue "$1" '' ca cert_signing_key "activation_date = \"$2 00:00:00\"" "expiration_date = \"$3 00:00:00\""
}

@test "an authority that is none, has expired, or has another key signs nothing" {
    "$TOOL" genca ca
    "$TOOL" genca other
    "$TOOL" gencert node node.example
    tool sign --ca-key other.key ca a a.example
    assert_status 1
    assert_contains "$stderr" 'other.key is not the key of ca.pem'
    tool sign node a a.example
    assert_status 1
    assert_contains "$stderr" 'node.pem is no certificate of an authority'
    local dir=$PWD/pki
    mkdir pki
    authority_between old 2001-01-01 2002-01-01
    tool sign pki/old a a.example
    assert_status 1
    assert_contains "$stderr" 'pki/old.pem has expired: 2002-01-01 00:00:00 UTC'
    authority_between next 2090-01-01 2095-01-01
    tool sign pki/next a a.example
    assert_status 1
    assert_contains "$stderr" "is this machine's clock right?"
    chmod 644 ca.key
    tool sign ca a a.example
    assert_status 1
    assert_contains "$stderr" 'ca.key holds a secret, but its mode 0644 lets others use it: chmod 600 ca.key'
    [ ! -e a.key ] && [ ! -e a.pem ]
}

@test "encrypted keys: of the authority and of a node, opened by the library" {
    (umask 077 && echo 'open sesame' >pass && echo 'another one' >ca-pass)
    "$TOOL" genca --passphrase-file ca-pass ca
    assert_contains "$(cat ca.key)" 'BEGIN ENCRYPTED PRIVATE KEY'
    tool sign ca a 127.0.0.1
    assert_status 1
    "$TOOL" sign --ca-passphrase-file ca-pass --passphrase-file pass ca a 127.0.0.1
    openssl pkey -in a.key -passin file:pass -noout
    run openssl pkey -in a.key -passin file:ca-pass -noout
    assert_status 1
    local own="cert=$PWD/a.pem key=$PWD/a.key passphrase-file=$PWD/pass ca=$PWD/ca.pem"
    endpoint_listen server "accept *:* $own" --count 1 echo
    endpoint_connect "connect *:* $own" "$PORT" send:hello recv:5
    assert_output_has '0 got "hello"'
}

# ---- keys by themselves ----------------------------------------------------------------------------------------------

@test "two raw keys that pin each other, by what genkey prints" {
    local server client
    server=$("$TOOL" genkey server.key | sed -n 's/^ *\(pin=\)/\1/p')
    client=$("$TOOL" genkey client.key | sed -n 's/^ *\(pin=\)/\1/p')
    assert_equal "$server" "pin=$(pin_of server.key)"
    assert_equal "$(mode_of server.key)" 600
    endpoint_listen server "accept *:* key=$PWD/server.key $client" --count 1 echo
    endpoint_connect "connect *:* key=$PWD/client.key $server" "$PORT" send:hello recv:5
    assert_output_has '0 got "hello"'
}

@test "two certificates that pin each other, by what gencert prints" {
    local server client
    server=$("$TOOL" gencert server server.example | sed -n 's/^ *\(pin=\)/\1/p')
    client=$("$TOOL" gencert client client.example | sed -n 's/^ *\(pin=\)/\1/p')
    openssl x509 -in server.pem -noout -checkhost server.example
    endpoint_listen server "accept *:* cert=$PWD/server.pem key=$PWD/server.key $client" --count 1 echo
    endpoint_connect "connect *:* cert=$PWD/client.pem key=$PWD/client.key $server" "$PORT" send:hello recv:5
    assert_output_has '0 got "hello"'
}

@test "pre-shared keys: 256 bits, for their owner alone, read by psk=; one more for a rotation" {
    "$TOOL" genpsk --name one psk
    assert_matches "$(cat psk)" '^one:[0-9a-f]{64}$'
    assert_equal "$(mode_of psk)" 600
    cp -p psk old
    "$TOOL" genpsk --add --name two psk
    assert_equal "$(head -n 1 psk)" "$(cat old)"
    assert_matches "$(tail -n 1 psk)" '^two:[0-9a-f]{64}$'
    "$TOOL" genpsk --add --bytes 16 psk
    assert_matches "$(tail -n 1 psk)" "^$(date -u +%Y-%m-%d):[0-9a-f]{32}$"
    endpoint_listen server "accept *:* psk=$PWD/psk" --count 1 echo
    endpoint_connect "connect *:* psk=$PWD/psk psk-name=two" "$PORT" send:hello recv:5
    assert_output_has '0 got "hello"'
    tool genpsk --add --name one psk
    assert_status 1
    assert_contains "$stderr" 'the name one is there twice'
    assert_equal "$(wc -l <psk)" 3
    printf 'unended:%064d' 1 >unended
    chmod 600 unended
    "$TOOL" genpsk --add unended
    assert_equal "$(wc -l <unended)" 2
    local bad
    for bad in '--bytes 15' '--bytes 65' '--name a:b' '--name '; do
        tool genpsk "${bad% *}" "${bad#* }" bad
        assert_status 2
    done
    [ ! -e bad ]
}

# ---- whole or not at all ---------------------------------------------------------------------------------------------

writers() {
    writers_to disk
    cat <<'END'
genpsk --add disk/old
genpsk --force disk/old
genkey --force disk/old
END
}

prepare_writers() {
    "$TOOL" genca ca >/dev/null
    "$TOOL" gencert --request request node.example >/dev/null
    mkdir disk
    "$TOOL" genpsk --name old disk/old
}

@test "a full disk, and one that cannot be written: an error that says so, and nothing has changed" {
    local words state
    prepare_writers
    while read -r words; do
        for state in full read-only; do
            # shellcheck disable=SC2086 # words
            assert_disk_fault $state $words || return
        done
    done < <(writers)
}

@test "a limit on file sizes is an error like any other" {
    local words before
    prepare_writers
    before=$(sha256sum disk/*)
    while read -r words; do
        # shellcheck disable=SC2016,SC2086 # for the inner shell; words
        run bash -o pipefail -c '(ulimit -f 0 && exec "$@" 2>&1) | cat' bash "$TOOL" $words
        assert_status 1
        assert_output_has 'File too large'
        assert_equal "$(sha256sum disk/* && ls -A disk)" "$before"$'\nold' "$words"
    done < <(writers)
}

@test "nothing is overwritten without --force; with it, links stay, and so does the owner" {
    "$TOOL" genca ca
    touch there.pem
    local words
    for words in 'genkey there.pem' 'genca there' 'gencert there a.example' 'sign ca there a.example' \
        'genpsk there.pem'; do
        # shellcheck disable=SC2086 # words
        tool $words
        assert_status 1
        assert_contains "$stderr" 'there.pem is there already; --force replaces it' "$words"
        [ ! -s there.pem ] && [ ! -e there.key ] || return
    done
    ln -s /nowhere/key dangling
    tool genkey dangling
    assert_status 1
    mkdir real
    "$TOOL" genkey real/key
    ln -s real/key key
    chown nobody real/key
    cp -p real/key old
    "$TOOL" genkey --force key
    [ -L key ]
    run cmp real/key old
    assert_status 1
    assert_equal "$(stat -c %U:%a real/key)" nobody:600
    tool genkey --force real
    assert_status 1
    assert_contains "$stderr" 'real is there already, and is no regular file'
}

@test "in a folder for all, another user's file or link is not replaced: the key would be his, or anywhere" {
    mkdir shared
    chmod 1777 shared
    "$TOOL" genkey victim
    cp -p victim before
    touch shared/file
    chown nobody shared/file
    ln -s "$PWD/victim" shared/link
    chown -h nobody shared/link
    local path
    for path in shared/file shared/link; do
        tool genkey --force $path
        assert_status 1
        assert_contains "$stderr" "$path is another user's, in a folder that everybody may write to"
    done
    cmp victim before
    [ ! -s shared/file ]
}

# In the moments after the tool has found that nothing is there, and before it makes its own file.
stranger_comes() { # AFTER_LSTAT (the second look) or BEFORE_MKOSTEMP, COMMAND: what he does then
    cat >comes.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
static void come(const char *at)
{
    const char *command = getenv(at);
    if (command && system(command) != 0)
        abort();
    unsetenv(at);
}
int lstat(const char *path, struct stat *s)
{
    int (*next)(const char *, struct stat *) = (int (*)(const char *, struct stat *))dlsym(RTLD_NEXT, "lstat");
    static int absent;
    int r = next(path, s);
    if (r != 0 && ++absent == 2)
        come("AFTER_LSTAT");
    return r;
}
int mkostemp(char *path, int flags)
{
    int (*next)(char *, int) = (int (*)(char *, int))dlsym(RTLD_NEXT, "mkostemp");
    come("BEFORE_MKOSTEMP");
    return next(path, flags);
}
END
    gcc -shared -fPIC -o comes.so comes.c
    export "$1=$2"
}

@test "a stranger who is quicker, in a folder for all, is neither given the key nor says where it goes" {
    mkdir -m 1777 shared
    mkdir private
    touch private/target
    stranger_comes AFTER_LSTAT "ln -s '$PWD/private/target' shared/key && chown -h nobody shared/key"
    run env LD_PRELOAD="$PWD/comes.so" "$P2PTLS_BUILD/p2ptls-tool" genkey --force shared/key
    assert_status 1
    [ ! -s private/target ]
    [ -L shared/key ]
    rm -f shared/* private/*
    unset AFTER_LSTAT
    stranger_comes BEFORE_MKOSTEMP 'touch shared/key && chown nobody shared/key'
    run env LD_PRELOAD="$PWD/comes.so" "$P2PTLS_BUILD/p2ptls-tool" genkey --force shared/key
    assert_status 1
    [ ! -s shared/key ]
    assert_equal "$(ls -A shared)" key
}

@test "of a key and a certificate there are both or none" {
    "$TOOL" genca ca
    mkdir node.pem
    tool sign --force ca node node.example
    assert_status 1
    [ ! -e node.key ]
    assert_equal "$(find . -name '.p2ptls-*')" ''
}

@test "modes do not depend on the umask, and what is not secret obeys it" {
    (umask 0 && "$TOOL" genca open && "$TOOL" genpsk open.psk)
    (umask 077 && "$TOOL" genca closed)
    assert_equal "$(stat -c %a open.key open.psk open.pem closed.key closed.pem | xargs)" '600 600 644 600 600'
}

@test "what cannot be said on standard output is a failure" {
    # shellcheck disable=SC2016 # for the inner shell
    run --separate-stderr bash -c '"$0" genkey key >/dev/full' "$TOOL"
    assert_status 1
    assert_contains "$stderr" 'cannot write to standard output: No space left on device'
}
