#!/usr/bin/env bats
# Set-uid programs, with the library in /etc/ld.so.preload: what their callers may tell them. /etc is a copy in a mount
# namespace, where the library and a set-uid program stand that a user runs whom nobody else is.

load helpers
load policy_helpers

setup() {
    common_setup
    make_etc
    install -m 755 "$LIBRARY" "$P2PTLS_BUILD/libp2ptls-core.so" "$ETC/p2ptls.d/"
    install -m 4755 "$PROGRAMS/whose_policy" "$ETC/p2ptls.d/set-uid"
    install -m 755 "$PROGRAMS/whose_policy" "$ETC/p2ptls.d/usual"
    echo /etc/p2ptls.d/libp2ptls.so >"$ETC/ld.so.preload"
    unset XDG_CONFIG_HOME
    export P2PTLS_LOG=silent
    HOME=$ETC/p2ptls.d/home
    export HOME
    mkdir -m 755 "$HOME" "$HOME/log"
    chown 54321 "$HOME" "$HOME/log"
}

teardown() {
    remove_etc
    common_teardown
}

# As a user of no other file, who can be told apart from root.
as_user() { # COMMAND...
    in_etc setpriv --reuid 54321 --regid 54321 --clear-groups -- "$@"
}

@test "a set-uid program does not believe P2PTLS_POLICY, P2PTLS_CONFIG and the user's files, a usual one does" {
    local config=$ETC/p2ptls.d/config.conf
    echo 'connect *:9 deny' >"$config"
    mkdir -p "$HOME/.config/p2ptls"
    run as_user env P2PTLS_POLICY='connect *:9 deny' /etc/p2ptls.d/usual
    assert_output 'deny secure=0 root=0'
    run as_user env P2PTLS_POLICY='connect *:9 deny' /etc/p2ptls.d/set-uid
    assert_output 'plain secure=1 root=1'
    run as_user env P2PTLS_CONFIG=/etc/p2ptls.d/config.conf /etc/p2ptls.d/usual
    assert_output 'deny secure=0 root=0'
    run as_user env P2PTLS_CONFIG=/etc/p2ptls.d/config.conf /etc/p2ptls.d/set-uid
    assert_output 'plain secure=1 root=1'
    cp "$config" "$HOME/.config/p2ptls/x.conf"
    run as_user env HOME=/etc/p2ptls.d/home /etc/p2ptls.d/usual
    assert_output 'deny secure=0 root=0'
    run as_user env HOME=/etc/p2ptls.d/home /etc/p2ptls.d/set-uid
    assert_output 'plain secure=1 root=1'
    run as_user env XDG_CONFIG_HOME=/etc/p2ptls.d/home/.config /etc/p2ptls.d/set-uid
    assert_output 'plain secure=1 root=1'
}

@test "a broken policy of the caller does not stop a set-uid program, a broken one of /etc/p2ptls does" {
    run as_user env P2PTLS_POLICY='conect *:9' /etc/p2ptls.d/set-uid
    assert_output 'plain secure=1 root=1'
    printf '\nconect *:9' >"$ETC/p2ptls/a.conf"
    run as_user /etc/p2ptls.d/set-uid
    assert_status 125
    assert_contains "$output" 'p2ptls: /etc/p2ptls/a.conf:2:1: expected connect'
}

@test "what /etc/p2ptls says holds in set-uid programs, final or not" {
    system_policy a 'connect *:9 deny for=set-uid'
    run as_user env P2PTLS_POLICY='connect *:9 plain' /etc/p2ptls.d/set-uid
    assert_contains "$output" 'deny secure=1 root=1' # after the line of the log that its caller could not silence
    run as_user /etc/p2ptls.d/usual
    assert_output 'plain secure=0 root=0'
    system_policy a 'connect *:9 deny final'
    run as_user env P2PTLS_POLICY='connect *:9 plain' /etc/p2ptls.d/usual
    assert_output 'deny secure=0 root=0'
}

@test "a set-uid program has the name of its file, whatever link its caller made" {
    system_policy a 'connect *:9 plain for=chosen; connect *:9 deny'
    as_user ln -s /etc/p2ptls.d/usual /etc/p2ptls.d/home/chosen
    run as_user /etc/p2ptls.d/home/chosen
    assert_output 'plain secure=0 root=0'
    as_user ln -sf /etc/p2ptls.d/set-uid /etc/p2ptls.d/home/chosen
    run as_user /etc/p2ptls.d/home/chosen
    assert_contains "$output" 'deny secure=1 root=1'
}

@test "a set-uid program writes no log where its caller says" {
    system_policy a 'connect *:9 deny'
    run as_user env P2PTLS_LOG=debug:/etc/p2ptls.d/home/log/usual /etc/p2ptls.d/usual
    assert_contains "$output" 'deny secure=0'
    [ -s "$HOME/log/usual" ] || fail "the usual program has no log"
    run as_user env P2PTLS_LOG=debug:/etc/p2ptls.d/home/log/set-uid /etc/p2ptls.d/set-uid
    assert_contains "$output" 'deny secure=1'
    [ ! -e "$HOME/log/set-uid" ] || fail "root wrote where the caller said"
}

@test "a program with file capabilities believes its caller as little" {
    install -m 755 "$PROGRAMS/whose_policy" "$ETC/p2ptls.d/capable"
    "$PYTHON" -c 'import os, struct, sys
os.setxattr(sys.argv[1], "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))' \
        "$ETC/p2ptls.d/capable"
    run as_user env P2PTLS_POLICY='connect *:9 deny' /etc/p2ptls.d/capable
    assert_output 'plain secure=1 root=0'
}
