#!/usr/bin/env bats
# Sub-commands that write, where another user than root may not: an error that says so, and nothing half-written.

# shellcheck disable=SC2154 # stderr is set by run

load helpers
load launcher_helpers
load tool_helpers

A=sha256:1111111111111111111111111111111111111111111111111111111111111111

# Outside of bats's folder, which other users may not enter: a home with all that is needed, and the tool.
setup() {
    tool_setup
    unset XDG_STATE_HOME XDG_CONFIG_HOME
    DIR=$(mktemp -d)
    TOOL_BIN=$DIR/p2ptls-tool
    export HOME=$DIR/home
    cp "$P2PTLS_BUILD/p2ptls-tool" "$P2PTLS_BUILD/p2ptls-status" "$LIBRARY" "$DIR/"
    chmod -R a+rX "$DIR"
    mkdir "$HOME"
    chown nobody "$HOME"
    cd "$HOME" || return
    as_nobody "$TOOL_BIN" genca ca
    as_nobody "$TOOL_BIN" gencert --request request node.example
    as_nobody "$TOOL_BIN" genpsk old
    echo 'accept *:1' >policy
    mkdir -p units/etc/systemd/system
    printf '[Service]\nExecStart=/bin/true\n' >units/etc/systemd/system/served.service
}

teardown() {
    cd /
    rm -rf "$DIR"
    common_teardown
}

everything() {
    find "$HOME" -printf '%p %i %m %u %s %T@ %C@\n' | sort
}

# As another user, whose home it is.
assert_fails() { # EXPECTED-TEXT PROGRAM ARGUMENT...
    local before
    before=$(everything)
    run --separate-stderr as_nobody env P2PTLS_LIBRARY=/usr/lib/libp2ptls.so "${@:2}"
    assert_status 1 || fail "${*:3}" "$stderr" || return
    assert_contains "$stderr" "$1" || fail "${*:3}" || return
    # enable shows first what it would write.
    [ "$3" = enable ] || assert_equal "$output" '' "standard output of ${*:3}" || return
    assert_equal "$(everything)" "$before" "files after ${*:3}"
}

# All that write, in the folder and in the home.
writers() {
    cat <<END
genkey new
genkey --force old
genca new
gencert new node.example
gencert --request new node.example
sign ca new node.example
sign --request request.csr ca new
genpsk new
genpsk --name more --add old
genpsk --force old
id create
id --file ca.pem export new
id --file ca.key export --private new
trust add db:1 $A
trust -f here add db:1 $A
enable --root units --yes -f $HOME/policy served
END
}

@test "a home that may not be written to" {
    local words
    chmod 555 "$HOME"
    while read -r words; do
        # shellcheck disable=SC2086 # words
        assert_fails 'Permission denied' "$TOOL_BIN" $words || return
    done < <(writers)
    assert_fails 'Permission denied' "$DIR/p2ptls-status" --prometheus -o new.prom
}

@test "a state folder that may not be written to" {
    local words
    as_nobody "$TOOL_BIN" trust add db:1 "$A"
    chmod 555 "$HOME/.local/state/p2ptls"
    while read -r words; do
        # shellcheck disable=SC2086 # words
        assert_fails 'Permission denied' "$TOOL_BIN" $words || return
    done <<END
id create
trust add db:2 $A
trust rm db:1
END
}

@test "a home that is not there, and cannot be made" {
    local words
    export HOME=/nonexistent/home
    while read -r words; do
        # shellcheck disable=SC2086 # words
        run --separate-stderr as_nobody "$TOOL_BIN" $words
        assert_status 1 || fail "$words"
        assert_contains "$stderr" /nonexistent || return
        assert_equal "$output" ''
        [ ! -e /nonexistent ]
    done <<END
id create
id
id export new
trust add db:1 $A
trust rm db:1
END
}

@test "a folder that is not there" {
    local words
    while read -r words; do
        # shellcheck disable=SC2086 # words
        assert_fails 'No such file or directory' "$TOOL_BIN" $words || return
    done < <(
        writers_to absent
        echo genpsk --name more --add absent/psk
        echo id --file ca.pem export absent/id
    )
    assert_fails 'No such file or directory' "$DIR/p2ptls-status" --prometheus -o absent/new.prom
}
