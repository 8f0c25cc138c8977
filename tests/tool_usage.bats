#!/usr/bin/env bats
# Command lines that make no sense, for every sub-command: how it is used on standard error, status 2, nothing written.

# shellcheck disable=SC2154 # stderr is set by run

load helpers
load tool_helpers

# Whatever a sub-command could overwrite or add to is there: in the folder, the home, the state and the configuration.
setup() {
    tool_setup
    export HOME=$BATS_TEST_TMPDIR/home
    mkdir -p here home "$XDG_CONFIG_HOME/p2ptls"
    "$TOOL" id create >/dev/null
    "$TOOL" trust add db:1 sha256:2222222222222222222222222222222222222222222222222222222222222222
    echo 'connect *:1' >"$XDG_CONFIG_HOME/p2ptls/a.conf"
    cd here || return
    "$TOOL" genca ca >/dev/null
    "$TOOL" genpsk psk >/dev/null
}

# Each file and folder with all that a write would change.
everything() {
    find "$HOME" "$XDG_STATE_HOME" "$XDG_CONFIG_HOME" . -printf '%p %i %m %u %s %T@ %C@ %l\n' | sort
}

assert_usage() { # ARGUMENT...
    local before
    before=$(everything)
    tool "$@"
    assert_status 2 || fail "p2ptls $*" "$stderr" || return
    assert_equal "$output" '' "standard output of p2ptls $*" || return
    assert_contains "$stderr" "Usage: p2ptls $1" || return
    assert_equal "$(everything)" "$before" "files of p2ptls $*"
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
version now
version --features now
run
run --
run -r
run -f
run -x true
run -r any -f a -f b true
run --verbose true
status frob
status frob=1
status =x
status --sort
status --sort frob
status --sort program,pid,user,peer,age
status --interval
status --interval x --watch
status --interval 5
status --interval 0.01 --watch
status --output
status --json --prometheus
status --watch --json
status --watch --output file
status --watch
END
}

# As it comes from a shell's variable that is not set, written as @; and what a file cannot be called.
empty_cases() {
    cat <<'END'
genkey @
genkey new/
genkey --type @ a
genkey --passphrase-file @ a
genca @
genca new/
genca .
genca ..
genca new/.pem
genca --name @ a
genca --key @ a
gencert @ a.example
gencert --request new/ a.example
gencert a @
sign @ a a.example
sign new/ a a.example
sign ca @ a.example
sign ca a @
sign --ca-key @ ca a a.example
sign --request @ ca a
genpsk @
genpsk new/
genpsk --add @
check @ 127.0.0.1:1
check connect @
check -f @ connect 127.0.0.1:1
show @
show -f @
id @
id --file @
id export @
id export new/
id export --private @
trust @
trust -f @ list
trust add @ sha256:1111111111111111111111111111111111111111111111111111111111111111
trust rm @
doctor @
doctor true @
doctor --pid @
doctor -f @
enable @
enable --root @ --yes -r any*:1 served
version @
run -r @ true
run -f @ true
status @
status --sort @
status --interval @ --watch
status --output @
status --prometheus -o @
END
}

sub_commands() {
    cases | cut -d ' ' -f 1 | sort -u
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

# `--root "$ROOT"` without a ROOT would be this system, `genca "$NAME"` a hidden file.
@test "an argument that is empty, or names no file, is wrong" {
    local words
    while read -ra words; do
        assert_usage "${words[@]/#@/}" || return
    done < <(empty_cases)
}

# Of all, as they say themselves, so that no new one is forgotten.
@test "an option that there is not, and each option that takes a value without one, is wrong" {
    local command option count=0
    while read -r command; do
        assert_usage "$command" --no-such-option || return
        assert_usage "$command" -Zh || return
        assert_contains "$stderr" ' -Z' || return
        while read -r option; do
            count=$((count + 1))
            assert_usage "$command" "$option" || return
        done < <("$TOOL" "$command" --help | grep -oE -- '--[a-z-]+ [A-Za-z]' | cut -d ' ' -f 1 | sort -u)
    done < <(sub_commands)
    assert_equal "$(sub_commands)" "$("$TOOL" --help | sed -nE 's/^  ([a-z]+) +[a-z].*/\1/p' | sort)" || return
    assert_at_least $count 30
}

@test "--help goes to standard output" {
    local command
    while read -r command; do
        tool "$command" --help
        assert_status 0
        assert_contains "$output" "Usage: p2ptls $command"
        assert_equal "$stderr" ''
        # shellcheck disable=SC2016 # for the inner shell
        run bash -c '"$0" "$1" --help >/dev/full' "$TOOL" "$command"
        assert_at_least "$status" 1 "status of $command --help on a full disk" || return
    done < <(sub_commands)
}
