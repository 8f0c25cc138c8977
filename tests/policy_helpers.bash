# shellcheck shell=bash
# shellcheck disable=SC2154 # BATS_TEST_TMPDIR
# A copy of /etc that a test may change, seen by what runs in a mount namespace of its own; other users may enter it.

make_etc() {
    ETC=$(mktemp -d)
    chmod 755 "$ETC"
    cp -a /etc/. "$ETC/"
    rm -rf "$ETC/p2ptls" "$ETC/ld.so.preload"
    mkdir -m 755 "$ETC/p2ptls" "$ETC/p2ptls.d"
}

remove_etc() {
    rm -rf "$ETC"
}

in_etc() { # COMMAND...: sees $ETC as /etc
    # shellcheck disable=SC2016 # for the inner shell
    unshare -m --propagation private sh -c 'mount --bind "$0" /etc && exec "$@"' "$ETC" "$@"
}

system_policy() { # NAME TEXT
    printf '%s\n' "$2" >"$ETC/p2ptls/$1.conf"
}
