#!/usr/bin/env bats
# What is wrong with files of keys, certificates, authorities, revocation lists and known peers: the program's connect
# is refused, and the log says what, where, and what to do about it. (Those that need no file system of root or second
# process: tests/unit/test_identity*.c, test_trust*.c.)

load helpers
load tls_helpers

setup_file() {
    export PKI=$BATS_FILE_TMPDIR/pki
    make_certificates "$PKI"
    local dir=$PKI
    issue future-ca "" ca cert_signing_key 'activation_date = "2090-01-01 00:00:00"' \
        'expiration_date = "2095-01-01 00:00:00"'
    issue old-ca "" ca cert_signing_key 'activation_date = "2001-01-01 00:00:00"' \
        'expiration_date = "2002-01-01 00:00:00"'
    printf '%s\n' 'crl_next_update = 30' 'crl_number = 1' >"$PKI/crl.template"
    certtool --generate-crl --load-ca-certificate "$PKI/ca.pem" --load-ca-privkey "$PKI/ca.key" \
        --template "$PKI/crl.template" --outfile "$PKI/list.crl" 2>"$PKI/log"
}

setup() {
    common_setup
    F=$BATS_TEST_TMPDIR/file
    OWN="cert=$PKI/client.pem key=$PKI/client.key"
    OURS="$OWN ca=$PKI/ca.pem"
}

# A program's connect under a rule, which nobody answers: it fails before anybody is asked.
assert_not_loaded() { # OPTIONS MESSAGE [COMMAND in front of the program]...
    P2PTLS_LOG=info P2PTLS_POLICY="connect *:* $1" run "${@:3}" "${P2P[@]}" "$PROGRAMS/endpoint" connect:1 send:hello
    assert_output_has ': error: '
    assert_output_has "$2"
    assert_output_has '0 connect EKEYREJECTED'
}

# ---- the own identity ------------------------------------------------------------------------------------------------

@test "files of keys and certificates that are not there, not files, or not for this user alone" {
    assert_not_loaded "cert=$F key=$PKI/client.key ca=$PKI/ca.pem" "cannot open $F: No such file or directory"
    assert_not_loaded "cert=$PKI/client.pem key=$PKI ca=$PKI/ca.pem" "$PKI is not a regular file"
    : >"$F"
    assert_not_loaded "cert=$F key=$PKI/client.key ca=$PKI/ca.pem" "$F is empty"
    head -c 3000000 /dev/zero >"$F"
    assert_not_loaded "cert=$F key=$PKI/client.key ca=$PKI/ca.pem" 'bytes: not a key or certificate file'
    cp "$PKI/client.key" "$F" && chmod 640 "$F"
    assert_not_loaded "cert=$PKI/client.pem key=$F ca=$PKI/ca.pem" \
        "$F holds a secret, but its mode 0640 lets others use it: chmod 600 $F"
    chmod 600 "$F" && chown nobody "$F"
    assert_not_loaded "cert=$PKI/client.pem key=$F ca=$PKI/ca.pem" \
        "$F belongs to user id $(id -u nobody), who could change it: it must belong to root or to user id 0"
    cp "$PKI/client.pem" "$F" && chown root "$F" && chmod 666 "$F"
    assert_not_loaded "cert=$F key=$PKI/client.key ca=$PKI/ca.pem" \
        "$F can be changed by everyone (mode 0666): chmod o-w $F"
}

@test "certificates and keys that do not fit together, or that nobody would accept" {
    echo rubbish >"$F"
    assert_not_loaded "cert=$F key=$PKI/client.key ca=$PKI/ca.pem" "$F holds no readable PEM certificate"
    assert_not_loaded "cert=$PKI/client.pem key=$PKI/server.key ca=$PKI/ca.pem" \
        "the key in $PKI/server.key does not belong to the first certificate in $PKI/client.pem"
    cat "$PKI/ca.pem" "$PKI/client.pem" >"$F"
    assert_not_loaded "cert=$F key=$PKI/client.key ca=$PKI/ca.pem" 'out of order: the own one first'
    assert_not_loaded "cert=$PKI/expired.pem key=$PKI/expired.key ca=$PKI/ca.pem" \
        "a certificate in $PKI/expired.pem expired on 2002-01-01 00:00:00 UTC: renew it"
    assert_not_loaded "cert=$PKI/future-ca.pem key=$PKI/future-ca.key ca=$PKI/ca.pem" \
        "a certificate in $PKI/future-ca.pem is not valid before 2090-01-01 00:00:00 UTC: check this machine's clock"
    assert_not_loaded "$OURS ocsp-staple=$PKI/ca.pem" "$PKI/ca.pem is no OCSP answer in DER"
    printf '\x30\x03\x0a\x01\x06' >"$F" # RFC 6960 section 4.2.1: unauthorized
    assert_not_loaded "$OURS ocsp-staple=$F" "$F holds an OCSP responder's error, not an answer: ask for it again"
}

@test "keys in tokens that no token has, or by an address that is none" {
    assert_not_loaded "key=\"pkcs11:token=none;object=none\" ca=$PKI/ca.pem" \
        'compare with: p11tool --list-all --login, and look whether its module is installed'
    assert_not_loaded "key=\"pkcs11:object=%zz\" ca=$PKI/ca.pem" 'is no PKCS#11 URI (RFC 7512)'
}

@test "pre-shared keys: a line that is none, a weak key, a name twice, a name that is not there" {
    (umask 077 && echo 'no colon' >"$F")
    assert_not_loaded "psk=$F" "$F, line 1: expected NAME:HEX"
    echo 'short:0011' >"$F"
    assert_not_loaded "psk=$F" "$F, line 1: the key must be 16 to 64 bytes in hexadecimal, as from: openssl"
    printf '# ours\na:%064d\na:%064d\n' 1 2 >"$F"
    assert_not_loaded "psk=$F" "$F, line 3: the name a is there twice"
    printf 'a b:%064d\n' 1 >"$F"
    assert_not_loaded "psk=$F" "$F, line 1: the name must be 1 to "
    printf 'a:%064d\n' 1 >"$F"
    assert_not_loaded "psk=$F psk-name=b" 'holds no key named b'
}

@test "the per-user identity: nowhere to keep it, a folder of somebody else, one that others can write to" {
    printf 'passwd: files\n' >"$F"
    # shellcheck disable=SC2016 # for the inner shell
    local nowhere=(env -u HOME -u XDG_STATE_HOME unshare -m sh -c
        'mount --bind /dev/null /etc/passwd && mount --bind "$0" /etc/nsswitch.conf && exec "$@"' "$F")
    assert_not_loaded '' 'no identity: set cert=, key= and ca=, or psk=, or HOME or XDG_STATE_HOME' "${nowhere[@]}"
    assert_not_loaded "$OWN known-peers=on" 'known-peers=on needs HOME or XDG_STATE_HOME, or give a path' \
        "${nowhere[@]}"
    install -d -m 700 -o nobody "$XDG_STATE_HOME/p2ptls"
    assert_not_loaded '' "$XDG_STATE_HOME/p2ptls belongs to user id $(id -u nobody), not to user id 0: chown it"
    chown root "$XDG_STATE_HOME/p2ptls" && chmod 770 "$XDG_STATE_HOME/p2ptls"
    assert_not_loaded '' "others can write to $XDG_STATE_HOME/p2ptls (mode 0770): chmod 700 $XDG_STATE_HOME/p2ptls"
    assert_not_loaded '' 'cannot make the directory /proc/nowhere/p2ptls for the per-user identity' \
        env XDG_STATE_HOME=/proc/nowhere
}

# ---- whom it trusts --------------------------------------------------------------------------------------------------

@test "authorities: not there, not certificates, out of date all of them, none in the system" {
    local folder=$BATS_TEST_TMPDIR/folder
    assert_not_loaded "$OWN ca=$F" "cannot open $F: No such file or directory"
    assert_not_loaded "$OWN ca=$PKI/ca.key" "$PKI/ca.key holds no readable PEM certificate"
    assert_not_loaded "$OWN ca=$PKI/old-ca.pem" "the CA in $PKI/old-ca.pem expired on 2002-01-01 00:00:00 UTC: renew it"
    assert_not_loaded "$OWN ca=$PKI/future-ca.pem" \
        "the CA in $PKI/future-ca.pem is not valid before 2090-01-01 00:00:00 UTC: check this machine's clock"
    mkdir "$folder"
    assert_not_loaded "$OWN ca=$folder" "the folder $folder holds no file that ends in .pem"
    chown nobody "$folder"
    assert_not_loaded "$OWN ca=$folder" \
        "the folder $folder belongs to user id $(id -u nobody): it must belong to root or to user id 0"
    chown root "$folder" && chmod 777 "$folder"
    assert_not_loaded "$OWN ca=$folder" "everyone can add files to the folder $folder: chmod o-w it"
    # shellcheck disable=SC2016 # for the inner shell
    assert_not_loaded "$OWN ca=system" 'ca=system: this system has no trusted CAs: install ca-certificates' \
        unshare -m sh -c 'mount -t tmpfs none /etc/ssl && exec "$@"' sh
}

@test "folders with too many files, and too many revocation lists in one" {
    local folder=$BATS_TEST_TMPDIR/folder lists
    mkdir "$folder"
    (cd "$folder" && seq -f %g.pem 4097 | xargs touch)
    assert_not_loaded "$OWN ca=$folder" "$folder holds more than 4096 files: join them"
    mapfile -t lists < <(yes "$PKI/list.crl" | head -n 1025)
    cat "${lists[@]}" >"$F"
    assert_not_loaded "$OURS crl=$F" "$F: more than 1024 revocation lists in all"
    assert_not_loaded "$OURS crl=$PKI/ca.pem" "$PKI/ca.pem holds no readable certificate revocation list"
}

@test "known peers: a line that is none is named, and so is a path that cannot be looked at" {
    printf '# mine\n\nhost:1 sha256:short\n' >"$F"
    assert_not_loaded "$OWN known-peers=$F" \
        "$F:3: expected HOST:PORT or accept, and sha256:FINGERPRINT: mend or remove that line"
    assert_not_loaded "$OWN known-peers=$F/below" "cannot examine $F/below: Not a directory"
    chmod 666 "$F"
    assert_not_loaded "$OWN known-peers=$F" "$F can be changed by everyone (mode 0666): chmod o-w $F"
}

@test "root with the HOME of somebody else makes and writes nothing there" {
    local home=$BATS_TEST_TMPDIR/home known=$BATS_TEST_TMPDIR/home/known fingerprint
    local root_in=(env -u XDG_STATE_HOME HOME="$home")
    install -d -o nobody "$home"
    assert_not_loaded '' "root makes no $home/.local/state/p2ptls where another user is at home: set HOME" \
        "${root_in[@]}"
    assert_equal "$(find "$home" -mindepth 1)" ''
    fingerprint=sha256:$(printf '%064d' 1)
    run "${root_in[@]}" "$ROOT/tools/p2ptls" trust add db:1 "$fingerprint"
    assert_status 1
    assert_output_has "the folder of $home/.local/state/p2ptls/known_peers is another user's: run this as that user"
    assert_equal "$(find "$home" -mindepth 1)" ''

    endpoint_listen server "accept *:* $OWN auth=insecure-none" --count 2 echo
    local rule="connect *:* $OWN known-peers="
    P2PTLS_LOG=info P2PTLS_POLICY=${rule}on run "${root_in[@]}" "${P2P[@]}" "$PROGRAMS/endpoint" "connect:$PORT" send:x
    assert_output_has "cannot be recorded: root writes no $home/.local/state/p2ptls/known_peers where another user"
    endpoint_connect "$rule$known" "$PORT" send:x
    assert_output_has "cannot be recorded: root writes no $known where another user is at home"
    assert_equal "$(find "$home" -mindepth 1)" ''
}
