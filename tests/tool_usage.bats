#!/usr/bin/env bats
# Command lines that make no sense, for every sub-command: how it is used on standard error, status 2, nothing written.

# shellcheck disable=SC2154 # stderr is set by run

load helpers
load tool_helpers

setup() {
    tool_setup
    mkdir empty
    cd empty || return
}

# Standard output stays empty, and so do the folder and the state folder.
assert_usage() { # ARGUMENT...
    tool "$@"
    assert_status 2 || fail "p2ptls $*" "$stderr" || return
    assert_equal "$output" '' "standard output of p2ptls $*" || return
    assert_contains "$stderr" "Usage: p2ptls $1" || return
    assert_equal "$(find . "$XDG_STATE_HOME" -mindepth 1)" '' "files of p2ptls $*"
}

# Each line: a sub-command with what is wrong, missing or too much.
cases() {
    cat <<'END'
genkey
genkey a b
genkey --type
genkey --type rsa a
genkey --typ a b c
genkey -x a
genca
genca a b
genca --days
genca --days x a
genca --unknown a
gencert
gencert a
gencert a not_a!name
gencert a 10.0.0.256
gencert a *.*.example
gencert a [1.2.3.4]
gencert a ip:a.example
gencert a email:nobody
gencert a uri:nothing
gencert --request --days 3 a a.example
gencert --days 3 --until 2099-01-01 a a.example
sign
sign ca
sign ca a
sign --request r.csr ca
sign --request r.csr --key k ca a
sign ca a not_a!name
sign --ca-key
genpsk
genpsk a b
genpsk --add --force a
genpsk --bytes 8 a
genpsk --bytes -1 a
genpsk --name a:b a
check connect
check connect 127.0.0.1:1 more
check dial 127.0.0.1:1
check connect 127.0.0.1
check connect 127.0.0.1:0
check connect 127.0.0.1:65536
check connect ::1:443
check connect [127.0.0.1]:443
check accept db.example:1
check --from nobody accept 127.0.0.1:1
check --rule
check -f
show all
show --what
show -r
id frob
id show more
id create more
id --file x create
id export a b
id export --private
id --words show
id --force show
id fingerprint --words --qr
id --file
trust
trust frob
trust list more
trust add
trust add db:1
trust add db:1 sha256:00
trust add db sha256:1111111111111111111111111111111111111111111111111111111111111111
trust add -f
trust rm
trust rm accept
trust rm db:1 sha256:0
trust rm db:1 sha256:1111111111111111111111111111111111111111111111111111111111111111 more
doctor --pid
doctor --pid self
doctor --pid 0
doctor --rule
doctor -r
enable
enable a b
enable a/b
enable a.socket
enable .a
enable --root
enable -r
enable --remove -r any a
version --feature=x
version --features now
END
}

@test "every sub-command says how it is used, and does nothing" {
    local words
    while read -r words; do
        set -f
        # shellcheck disable=SC2086 # words
        assert_usage $words || return
        set +f
    done < <(cases)
}

@test "--help goes to standard output" {
    local command
    while read -r command; do
        tool "$command" --help
        assert_status 0
        assert_contains "$output" "Usage: p2ptls $command"
        assert_equal "$stderr" ''
    done < <(cases | cut -d ' ' -f 1 | sort -u)
}
