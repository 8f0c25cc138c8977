#!/usr/bin/env bats
# id, trust list and rm, version: what to tell others of this side, and whom this side knows.
# shellcheck disable=SC2154 # stderr is set by run

load helpers
load tls_helpers
load tool_helpers

setup() { tool_setup; }

A=sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
B=sha256:1111111111111111111111111111111111111111111111111111111111111111

# ---- the per-user identity -------------------------------------------------------------------------------------------

@test "id: there is none before it is made, and create makes the one that the library uses" {
    tool id
    assert_status 1
    assert_contains "$stderr" "there is no $XDG_STATE_HOME/p2ptls/identity.pem yet"
    [ ! -e "$XDG_STATE_HOME/p2ptls" ]
    "$TOOL" id create
    assert_equal "$(stat -c %a "$XDG_STATE_HOME/p2ptls" "$XDG_STATE_HOME/p2ptls/identity.pem" | xargs)" '700 600'
    local pin
    pin=$("$TOOL" id fingerprint)
    assert_matches "$pin" '^sha256:[A-Za-z0-9+/]{43}=$'
    assert_equal "$("$TOOL" id create | sed -n 's/^  pin=//p')" "$pin"
    tool id
    assert_output_has "$XDG_STATE_HOME/p2ptls/identity.pem: certificate of CN=p2ptls per-user identity (Ed25519)"
    assert_output_has "pin=$pin"
    # Another side that trusts that pin alone takes this one.
    "$TOOL" gencert server server.example
    endpoint_listen server "accept *:* cert=$PWD/server.pem key=$PWD/server.key pin=$pin" --count 1 echo
    endpoint_connect "connect *:* pin=$("$TOOL" id -i server.pem fingerprint)" "$PORT" send:hello recv:5
    assert_output_has '0 got "hello"'
}

@test "id fingerprint --words: each word is 16 bits of the fingerprint" {
    "$TOOL" gencert node node.example
    local words
    words=$("$TOOL" id -i node.pem fingerprint --words)
    assert_matches "$words" '^([bdfghjklmnprstvz][aiou][bdfghjklmnprstvz][aiou][bdfghjklmnprstvz]( |$)){16}$'
    run "$PYTHON" -c '
import base64, sys
bits = 0
for letter in sys.argv[1].replace(" ", ""):
    if letter in "aiou":
        bits = bits << 2 | "aiou".index(letter)
    else:
        bits = bits << 4 | "bdfghjklmnprstvz".index(letter)
print("sha256:" + base64.b64encode(bits.to_bytes(32, "big")).decode())' "$words"
    assert_output "$("$TOOL" id -i node.pem fingerprint)"
    # The example of the proposal, 127.0.0.1: lusab-babad.
    assert_contains "$(cc_words 7f000001)" 'lusab babad'
}

# The words of a digest that begins so, by the object that the tool is linked from.
cc_words() { # HEX
    printf '#include "fingerprint.h"
#include "tool.h"
enum status failed(const char *format, ...) { (void)format; return STATUS_NO; }
int main(void) { unsigned char d[PIN_BYTES] = {0x%s, 0x%s, 0x%s, 0x%s}; char out[FINGERPRINT_WORDS_TEXT];
fingerprint_words(d, out); return puts(out) < 0; }\n' "${1:0:2}" "${1:2:2}" "${1:4:2}" "${1:6:2}" >words.c
    # shellcheck disable=SC2046 # options
    gcc -D_GNU_SOURCE -I"$ROOT/src" -I"$ROOT/tools/tool" $(sanitizer_of_build) -o words words.c \
        "$P2PTLS_BUILD/tools/tool/fingerprint.o" -lqrencode && ./words
}

sanitizer_of_build() {
    if nm "$P2PTLS_BUILD/tools/tool/fingerprint.o" | grep -q ' U __asan_init'; then
        echo '-fsanitize=address,undefined'
    fi
}

# Draws what the terminal shows as a picture: light where there is a block.
qr_read() { # halves|ascii: standard input is the terminal's text
    "$PYTHON" -c '
import sys
rows = []
for line in sys.stdin.read().splitlines():
    if sys.argv[1] == "halves":
        rows.append([c in "\u2588\u2580" for c in line])
        rows.append([c in "\u2588\u2584" for c in line])
    else:
        rows.append([c == "#" for c in line[::2]])
scale = 6
print("P2", len(rows[0]) * scale, len(rows) * scale, 255)
for row in rows:
    for _ in range(scale):
        print(" ".join("255" if light else "0" for light in row for _ in range(scale)))' "$1" >code.pgm
    zbarimg -q --raw code.pgm
}

@test "id fingerprint --qr: a reader of QR codes reads the pin, in a UTF-8 locale and in another" {
    require zbarimg
    "$TOOL" gencert node node.example
    local pin
    local -a qr=("$TOOL" id -i node.pem fingerprint --qr)
    pin=$("$TOOL" id -i node.pem fingerprint)
    assert_equal "$(LC_ALL=C.UTF-8 "${qr[@]}" | PYTHONIOENCODING=utf-8 qr_read halves)" "$pin"
    assert_equal "$(LC_ALL=C "${qr[@]}" | qr_read ascii)" "$pin"
    assert_at_most "$(LC_ALL=C.UTF-8 "${qr[@]}" | wc -l)" 24 'lines of a terminal'
}

@test "id --file: certificates and keys have one fingerprint; a secret that others can read is refused" {
    "$TOOL" gencert node node.example
    openssl pkey -in node.key -pubout -out node.pub
    local pin
    pin=$("$TOOL" id -i node.pem fingerprint)
    assert_equal "$("$TOOL" id -i node.key fingerprint)" "$pin"
    assert_equal "$("$TOOL" id -i node.pub fingerprint)" "$pin"
    chmod 644 node.key
    tool id -i node.key
    assert_status 1
    assert_contains "$stderr" 'chmod 600 node.key'
    echo rubbish >rubbish
    tool id -i rubbish
    assert_status 1
    tool id -i missing
    assert_status 1
    assert_contains "$stderr" missing
}

@test "id export: the certificate to show around; --private: all of it, to a file for its owner alone" {
    "$TOOL" id create
    "$TOOL" id export >out.pem
    openssl x509 -in out.pem -noout
    refute_contains "$(cat out.pem)" 'PRIVATE KEY'
    "$TOOL" id export copy.pem
    cmp out.pem copy.pem
    tool id export copy.pem
    assert_status 1
    "$TOOL" id export --private whole.pem
    assert_equal "$(stat -c %a whole.pem)" 600
    # On another machine it is the same identity.
    mkdir -m 700 "$BATS_TEST_TMPDIR/elsewhere" "$BATS_TEST_TMPDIR/elsewhere/p2ptls"
    cp -p whole.pem "$BATS_TEST_TMPDIR/elsewhere/p2ptls/identity.pem"
    endpoint_listen server 'accept *:*' --count 1 echo
    XDG_STATE_HOME=$BATS_TEST_TMPDIR/elsewhere endpoint_connect 'connect *:*' "$PORT" send:hello recv:5
    assert_output_has '0 got "hello"'
}

# ---- trust -----------------------------------------------------------------------------------------------------------

@test "trust list shows who is known, by one spelling, and tells of lines that the library would not take" {
    "$TOOL" trust list
    printf '# mine\n\nDB.example.:5432 %s since then\naccept %s\n' $A $B >peers
    tool trust list -f peers
    assert_status 0
    assert_matches "${lines[0]}" "^db\.example:5432 +$A since then$"
    assert_matches "${lines[1]}" '^accept +sha256:ERERERERERERERERERERERERERERERERERERERERERE=$'
    assert_equal "${#lines[@]}" 2
    echo 'host:1 sha256:short' >>peers
    tool trust list -f peers
    assert_status 1
    assert_contains "$stderr" 'peers:5: expected HOST:PORT or accept, and sha256:FINGERPRINT'
}

@test "trust rm takes out a host, or one key that may connect, and leaves the rest as it is" {
    printf '# mine\ndb.example:5432 %s\n[2001:db8::a]:1 %s x\naccept %s alice\naccept %s bob' $A $A $A $B >peers
    tool trust rm -f peers DB.example.:5432
    assert_status 0
    assert_equal "$stderr" "p2ptls: removes: db.example:5432 $A"
    tool trust rm -f peers '[2001:DB8:0::A]:1' $A
    assert_status 0
    tool trust rm -f peers accept $B
    assert_status 0
    assert_equal "$(cat peers)" $'# mine\naccept '"$A alice"
    cp -p peers before
    tool trust rm -f peers accept $B
    assert_status 1
    assert_contains "$stderr" 'peers has no such line for accept'
    tool trust rm -f peers db.example:5432
    assert_status 1
    tool trust rm -f peers other:1
    assert_status 1
    cmp peers before
    tool trust rm -f missing other:1
    assert_status 1
    [ ! -e missing ] && [ ! -e missing.lock ]
}

@test "a file of known peers that others may read stays so" {
    printf 'db:1 %s\n' $A >peers
    chgrp nogroup peers
    chmod 640 peers
    (umask 077 && "$TOOL" trust add -f peers other:1 $B)
    assert_equal "$(stat -c %G:%a peers)" nogroup:640
    "$TOOL" trust rm -f peers db:1
    assert_equal "$(stat -c %G:%a peers)" nogroup:640
}

@test "many additions at once: none is lost" {
    local i
    for i in {1..20}; do
        "$TOOL" trust add -f peers "host$i:1" $A &
    done
    wait
    assert_equal "$("$TOOL" trust list -f peers | wc -l)" 20
}

# ---- faults ----------------------------------------------------------------------------------------------------------

@test "a full disk, and one that cannot be written: nothing has changed" {
    mkdir -p disk/p2ptls
    "$TOOL" gencert node node.example
    printf 'db:1 %s\nstays:1 %s\n' $A $A >disk/p2ptls/known_peers
    : >disk/p2ptls/known_peers.lock
    chmod 600 disk/p2ptls/*
    chmod 700 disk/p2ptls
    cp -a disk/p2ptls/known_peers disk/peers
    cp -a disk/p2ptls/known_peers.lock disk/peers.lock
    export XDG_STATE_HOME=$PWD/disk
    local state words
    for state in full read-only; do
        while read -r words; do
            # shellcheck disable=SC2086 # words
            assert_disk_fault $state $words || return
        done <<END
id create
id -i node.pem export disk/copy.pem
id -i node.key export --private disk/copy.pem
trust add db:1 $B
trust add other:1 $B
trust rm db:1
trust rm -f disk/peers db:1
END
    done
}

@test "no home at all: an error that says what to set, and nothing is written" {
    local -a homeless=(env -u HOME -u XDG_STATE_HOME setpriv --reuid 54321 --regid 54321 --clear-groups --)
    local words
    while read -r words; do
        # shellcheck disable=SC2086 # words
        run "${homeless[@]}" "$P2PTLS_BUILD/p2ptls-tool" $words
        assert_status 1
        assert_output_has 'user id 54321 has no home: set HOME or XDG_STATE_HOME to an absolute path' || return
    done <<END
id
id create
id fingerprint
trust list
trust add db:1 $A
trust rm db:1
END
}

# ---- version ---------------------------------------------------------------------------------------------------------

@test "version --features tells of the build and of this machine's GnuTLS and kernel" {
    tool version --features
    assert_status 0
    assert_equal "${lines[0]}" "$("$TOOL" version)"
    assert_output_has "kernel: $(uname -srm)"
    assert_matches "$output" $'\nGnuTLS: 3\\.[0-9.]+, built with 3\\.[0-9.]+\n'
    assert_output_has "library: $LIBRARY"
    assert_output_has 'ciphers: aes-128-gcm aes-256-gcm chacha20-poly1305'
    tool version --help
    assert_output 'Usage: p2ptls version [--features]'
}
