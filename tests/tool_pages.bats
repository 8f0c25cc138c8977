#!/usr/bin/env bats
# Manual pages: each option is in them, each example runs as it stands there. Completion in bash and zsh.

load helpers
load policy_helpers
load tool_helpers

MAN=$ROOT/tools/man

setup() {
    tool_setup
    make_etc
    mkdir bin
    ln -s "$TOOL" bin/p2ptls
    # Programs that are looked for, and hosts that are looked up, in examples.
    printf '10.0.0.7 redis.example\n10.0.0.8 db.example\n' >>"$ETC/hosts"
}

teardown() {
    remove_etc
    common_teardown
}

sub_commands() {
    "$TOOL" --help | sed -nE 's/^  ([a-z]+)  .*/\1/p'
}

page() { mandoc -T ascii "$MAN/$1" | col -b; }

# Each literal block and line of EXAMPLES, without prompts; each ends in a NUL byte.
examples() { # PAGE
    awk '
        /^\.Sh/ { inside = $2 == "EXAMPLES" }
        inside && sub(/^\.Dl /, "") { printf "%s\n%c", $0, 0; next }
        inside && /^\.Bd -literal/ { block = 1; next }
        /^\.Ed/ && block { block = 0; printf "%c", 0 }
        block && index($0, "$ ") == 1 { print substr($0, 3); next }
        block { print }' "$MAN/$1" | sed 's/\\e/\\/g'
}

# In a network and a mount namespace of its own, in an empty folder. A server in the background has a port before the
# next line runs.
run_example() { # TEXT
    mkdir "$BATS_TEST_TMPDIR/example" && cd "$BATS_TEST_TMPDIR/example" || return
    awk '{ print } / &$/ { print "await_listener" }' <<<"$1" >../script
    # shellcheck disable=SC2016 # for the inner shell
    PATH=$BATS_TEST_TMPDIR/bin:$PATH HOME=$BATS_TEST_TMPDIR/example in_etc unshare -n bash -e -c '
        ip link set lo up
        mount -t tmpfs none /var/lib
        mkdir -p /var/lib/prometheus/node-exporter
        await_listener() {
            local server=$! end=$((SECONDS + 60))
            until grep -q " 0A " /proc/net/tcp; do
                [ $SECONDS -lt $end ] && kill -0 $server || exit 99
                read -rt 0.02 <> <(:) || :
            done
        }
        trap "set +e; kill \$(jobs -p) 2>/dev/null; wait" EXIT
        . "$0"' "$BATS_TEST_TMPDIR/script" </dev/null
    local status=$?
    cd .. && rm -rf example
    return $status
}

@test "each example of a manual page runs as it stands there" {
    local page text count
    require redis-server redis-cli ip
    for page in "$MAN"/*.1; do
        count=0
        while IFS= read -rd '' text; do
            count=$((count + 1))
            run run_example "$text"
            assert_status 0 || fail "$page:" "$text" || return
        done < <(examples "${page##*/}")
        assert_at_least $count 1 "examples of $page" || return
    done
}

@test "each example of p2ptls.conf(5) is a policy" {
    local text count=0
    while IFS= read -rd '' text; do
        count=$((count + 1))
        printf '%s\n' "$text" >policy
        run "$TOOL" check -f "$PWD/policy"
        assert_status 0
    done < <(examples p2ptls.conf.5)
    assert_at_least $count 3
}

@test "p2ptls.conf(5) has every option that the language has" {
    local option text
    text=$(page p2ptls.conf.5)
    while read -r option; do
        case $option in
        client-* | server-*) continue ;;
        esac
        assert_contains "$text" "$option=" || return
    done < <(sed -nE 's/^ *\{"([a-z-]+)", [A-Z(].*policy_parse.*/\1/p' "$ROOT/src/policy_options.c")
    run grep -cE '^ *\{"([a-z-]+)", [A-Z(].*policy_parse' "$ROOT/src/policy_options.c"
    assert_at_least "$output" 30 'options found in the parser'
}

@test "the launcher's help names each sub-command that the tool has" {
    local name count=0
    while read -r name; do
        count=$((count + 1))
        grep -qx "$name" <<<"$(sub_commands)" || fail "$name is not in the help" || return
    done < <(sed -nE 's/^const struct command command_([a-z]+) = .*/\1/p' "$ROOT"/tools/tool/*.c)
    assert_at_least $count 12
}

@test "each sub-command has a page with all of its options, and p2ptls(1) names it" {
    local command option text
    for command in $(sub_commands); do
        [ -e "$MAN/p2ptls-$command.1" ] || fail "no page of $command" || return
        text=$(page "p2ptls-$command.1")
        # A long option that the tool knows is one that it does not call unknown.
        for option in $("$TOOL" "$command" --help | grep -oE -- '(--[a-z-]+|\[-[a-z]\b)' | tr -d '[' | sort -u); do
            [ "$option" = --help ] || assert_contains "$text" "$option" || fail "$command" || return
        done
        assert_contains "$(page p2ptls.1)" "p2ptls-$command(1)" || return
    done
}

# ---- completion ------------------------------------------------------------------------------------------------------

bash_completes() { # WORD...: the last one is being typed
    # shellcheck disable=SC2016 # for the inner shell
    bash --norc -c '
        . "$0"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _p2ptls
        printf "%s\n" "${COMPREPLY[@]}"' "$ROOT/tools/completion/p2ptls.bash" "$@"
}

@test "bash completes sub-commands, options, actions, values and files" {
    run bash_completes p2ptls gen
    assert_output $'genca\ngencert\ngenkey\ngenpsk'
    run bash_completes p2ptls trust r
    assert_output rm
    run bash_completes p2ptls genkey --type p
    assert_output $'p256\np384'
    touch some.key
    run bash_completes p2ptls sign --ca-key so
    assert_output some.key
    run bash_completes p2ptls gencert -r so
    assert_output some.key
    run bash_completes p2ptls run -- redis-ser
    assert_output_has redis-server
    run bash_completes p2ptls genpsk --name ''
    assert_output ''
}

@test "bash knows each sub-command and each option" {
    local command option
    run bash_completes p2ptls ''
    local words=$output
    for command in $(sub_commands); do
        [[ $'\n'$words$'\n' == *$'\n'"$command"$'\n'* ]] || fail "bash does not know $command" || return
        run bash_completes p2ptls "$command" -
        for option in $("$TOOL" "$command" --help | grep -oE -- '--[a-z-]+' | sort -u); do
            assert_output_has "$option" || fail "$command" || return
        done
    done
}

# Types into an interactive zsh, and prints what the terminal shows.
zsh_shows() { # TEXT ENDS-WITH
    zsh -f -c '
        zmodload zsh/zpty zsh/zselect
        zpty shell zsh -f -i
        zpty -w shell "fpath=($1 \$fpath); autoload -U compinit; compinit -u -D; PS1=ready\>"
        zpty -w shell "zstyle \":completion:*\" menu no"
        zpty -w -n shell "$2"$'"'\\t'"'
        deadline=$((SECONDS + 60)) shown=
        while [[ $shown != *"$3"* ]] && ((SECONDS < deadline)); do
            zpty -r -t shell part && shown+=${part//$'"'\a'"'/}
            zselect -t 2 # hundredths of a second
        done
        zpty -d shell
        print -r -- $shown' zsh "$ROOT/tools/completion" "$1" "$2" |
        sed 's/\x1b\[[0-9;?]*[A-Za-z]//g; s/.\x08//g'
}

@test "zsh completes sub-commands, options and values" {
    require zsh
    run zsh_shows 'p2ptls genp' genpsk
    assert_output_has 'p2ptls genpsk'
    run zsh_shows 'p2ptls genca --passp' passphrase-file
    assert_output_has 'genca --passphrase-file'
    run zsh_shows 'p2ptls genkey --type ed' ed25519
    assert_output_has '--type ed25519'
    run zsh_shows 'p2ptls trust li' list
    assert_output_has 'trust list'
}
