#!/usr/bin/env bats
# make install: the installed tree finds its parts, wherever it is moved to.

load helpers
load tool_helpers

setup() { tool_setup; }

install_to() { # DESTDIR [VARIABLE=VALUE]...
    make -s -C "$ROOT" BUILD="$P2PTLS_BUILD" DESTDIR="$1" "${@:2}" install
}

@test "an installed tree has all sub-commands, manual pages and completion, and works where it is moved to" {
    install_to "$PWD/stage"
    mv stage/usr/local moved
    local bin=$PWD/moved/bin/p2ptls page
    unset P2PTLS_LIBRARY
    run "$bin" version --features
    assert_status 0
    assert_output_has "library: $PWD/moved/lib/p2ptls/libp2ptls.so"
    run "$bin" check -r 'connect *:1 deny' connect 127.0.0.1:1
    assert_status 0
    run "$bin" doctor -r 'connect *:1' sleep
    assert_output_has 'ok    program: sleep can be protected'
    run "$bin" run -r 'connect *:1' -- echo started
    assert_output started
    run "$bin" status --json
    assert_status 0
    for page in "$ROOT"/tools/man/*.1; do
        [ -s "moved/share/man/man1/${page##*/}" ] || fail "$page is not installed" || return
    done
    [ -s moved/share/man/man5/p2ptls.conf.5 ]
    [ -s moved/share/bash-completion/completions/p2ptls ]
    [ -s moved/share/zsh/site-functions/_p2ptls ]
}

@test "folders of another choice are found, too" {
    install_to "$PWD/stage" PREFIX=/opt/p LIBDIR=/opt/lib/x86/p2ptls LIBEXECDIR=/opt/p/lib/helpers
    unset P2PTLS_LIBRARY
    run stage/opt/p/bin/p2ptls version --features
    assert_status 0
    assert_output_has "library: $PWD/stage/opt/lib/x86/p2ptls/libp2ptls.so"
}
