#!/usr/bin/env bats
# The launcher's options, environment, and exit status: what the program that it starts gets to see.
#
# A stand-in library is enough, and shows that the launcher does not need a working one to decide.

load helpers
load launcher_helpers

setup_file() { launcher_setup_file; }
teardown_file() { launcher_teardown_file; }

@test "help goes to standard output, and names every option" {
    local option
    for option in --help -h help; do
        run --separate-stderr "$LAUNCHER" $option
        assert_status 0
        # shellcheck disable=SC2154 # set by run
        assert_equal "$stderr" ''
        assert_output_has '-r RULE'
        assert_output_has '-f FILE'
        assert_output_has 'P2PTLS_POLICY'
    done
    run "$LAUNCHER" run --help
    assert_status 0
    assert_output_has 'Usage: p2ptls run'
}

@test "version is the Makefile's" {
    run "$LAUNCHER" version
    assert_status 0
    assert_output "p2ptls $(sed -n 's/^VERSION *:= *//p' "$ROOT/Makefile")"
}

@test "usage errors exit 2, say on standard error how it is used, and start nothing" {
    local -a cases=('' 'frobnicate' '--frobnicate' '--help now' 'help run' 'judge' 'run' 'run --' 'run -r' 'run -f'
        'run -x' 'run -vx' 'run --unknown' 'run --policy a echo started' 'run -r a' 'run -r a --' 'run -r  --'
        'run -r a -- --started' 'run -r a -f a -f b echo started' 'run -f /no/such/file -x')
    local case
    for case in "${cases[@]}"; do
        # shellcheck disable=SC2086 # split into words
        run --separate-stderr "$LAUNCHER" $case
        assert_status 2 || fail "p2ptls $case"
        assert_equal "$output" '' "standard output of 'p2ptls $case'"
        assert_contains "$stderr" 'Usage: p2ptls run'
    done
}

@test "without a policy nothing would be protected, and nothing is started" {
    run "$LAUNCHER" run -- echo started
    assert_status 125
    assert_output_has 'nothing would be protected'
    assert_output_without started
    P2PTLS_POLICY=$' \n' run "$LAUNCHER" run -- echo started
    assert_status 125
    run "$LAUNCHER" run -r ' ' -- echo started
    assert_status 2
    assert_output_without started
}

@test "an inherited policy or policy file is enough" {
    P2PTLS_POLICY='connect *:1' run "$LAUNCHER" run echo started
    assert_status 0
    assert_output started
    echo 'connect *:1' >"$BATS_TEST_TMPDIR/policy"
    P2PTLS_CONFIG=$BATS_TEST_TMPDIR/policy run "$LAUNCHER" run echo started
    assert_status 0
}

@test "a policy without a rule, whatever its source, would protect nothing: nothing is started" {
    export P2PTLS_LIBRARY=$LIBRARY
    cd "$BATS_TEST_TMPDIR"
    echo '# connect *:1' >comment
    mkdir -p relative/p2ptls home/.config/p2ptls
    echo 'connect *:1' >relative/p2ptls/a.conf
    local -a cases=("-r 'set role=client'" '-f comment' '-r "# connect *:1"')
    local case
    for case in "${cases[@]}"; do
        eval "run '$LAUNCHER' run $case -- echo started"
        assert_status 125
        assert_output_has 'nothing would be protected'
        assert_output_without started$'\n'
    done
    # XDG Base Directory Specification: a relative path is ignored.
    XDG_CONFIG_HOME=relative HOME=$PWD/home run "$LAUNCHER" run -- echo started
    assert_status 125
    assert_output_has 'nothing would be protected'
    XDG_CONFIG_HOME=$PWD/relative HOME=$PWD/home run "$LAUNCHER" run -- echo started
    assert_status 0
    assert_output started
    # Without HOME, the library asks the user database: so does the launcher.
    local home
    home=$(getent passwd "$(id -u)" | cut -d: -f6)
    [ ! -e "$home/.config/p2ptls" ] || fail "$home/.config/p2ptls is there: this test cannot tell" || return
    run env -u HOME -u XDG_CONFIG_HOME "$LAUNCHER" run -- echo started
    assert_status 125
    mkdir -p home/.config/p2ptls
    echo 'connect *:1' >home/.config/p2ptls/a.conf
    # shellcheck disable=SC2016 # for the inner shell
    run unshare -m --propagation private sh -c 'mount --bind "$0" "$1" &&
        exec env -u HOME -u XDG_CONFIG_HOME "$2" run -- echo started' "$PWD/home" "$home" "$LAUNCHER"
    assert_status 0
    assert_output started
}

@test "a policy whose rules are all for other programs is warned of: the program may start these" {
    export P2PTLS_LIBRARY=$LIBRARY
    run "$LAUNCHER" run -r 'connect *:1 for=other' -- echo started
    assert_status 0
    assert_output_has 'p2ptls: warning: echo: every rule is for other programs (for=): what this one connects itself'
    assert_equal "${lines[1]}" started
    ln -s "$(type -P echo)" "$BATS_TEST_TMPDIR/other"
    run "$LAUNCHER" run -r 'connect *:1 for=other' -- "$BATS_TEST_TMPDIR/other" started
    assert_output started
    run "$LAUNCHER" run -r 'connect *:1 for=echo' -- env echo started
    assert_output started
    printf '#!/usr/bin/env sh\necho started\n' >"$BATS_TEST_TMPDIR/script"
    chmod +x "$BATS_TEST_TMPDIR/script"
    run "$LAUNCHER" run -r 'connect *:1 for=sh' -- "$BATS_TEST_TMPDIR/script"
    assert_output started
}

@test "the rules of -r come in their order, before an inherited policy" {
    run "$LAUNCHER" run -r 'connect *:1' -r 'accept *:2 role=server' -- printenv P2PTLS_POLICY
    assert_output $'connect *:1\naccept *:2 role=server'
    P2PTLS_POLICY='any *:3' run "$LAUNCHER" run -r'connect *:1 # a comment' -- printenv P2PTLS_POLICY
    assert_output $'connect *:1 # a comment\nany *:3'
}

@test "-f makes the file's path absolute, and replaces an inherited one" {
    cd "$BATS_TEST_TMPDIR"
    echo 'connect *:1' >'the policy'
    P2PTLS_CONFIG=/etc/other run "$LAUNCHER" run -f 'the policy' -- printenv P2PTLS_CONFIG
    assert_status 0
    assert_output "$BATS_TEST_TMPDIR/the policy"
}

@test "-f with a missing, unreadable or second file is refused" {
    run "$LAUNCHER" run -f "$BATS_TEST_TMPDIR/missing" -- echo started
    assert_status 125
    assert_output_has "$BATS_TEST_TMPDIR/missing: no such policy file"
    run "$LAUNCHER" run -f /dev/null -- echo started
    assert_status 125
    run "$LAUNCHER" run -f "$LAUNCHER" -f "$LAUNCHER" -- echo started
    assert_status 2
    assert_output_has 'twice'
    echo 'connect *:1' >"$DIR/secret-policy"
    chmod 600 "$DIR/secret-policy"
    run as_nobody "$LAUNCHER" run -f "$DIR/secret-policy" -- echo started
    assert_status 125
    assert_output_has 'cannot be read by user nobody'
}

@test "-v raises the log level to info, leaves the target, and does not lower debug" {
    run launched_log ''
    assert_output ''
    run launched_log '' -v
    assert_output info
    run launched_log error:syslog -v
    assert_output info:syslog
    run launched_log warn:/var/log/a:b -v
    assert_output info:/var/log/a:b
    run launched_log debug:stderr -v
    assert_output debug:stderr
    run launched_log warn
    assert_output warn
}

@test "the library is loaded into the program, before what LD_PRELOAD names already" {
    local other=$DIR/libother.so
    LD_PRELOAD=$other run launch sh -c 'printenv LD_PRELOAD; grep -c "libp2ptls.so$" /proc/$$/maps'
    assert_status 0
    assert_equal "${lines[0]}" "$LIB:$other"
    assert_at_least "${lines[1]}" 1 "mappings of the library"
}

@test "LD_PRELOAD keeps its order, blanks count as colons, and our library is there once" {
    LD_PRELOAD="$DIR/libother.so $LIB:$DIR/libthird.so" run launch printenv LD_PRELOAD
    assert_output "$LIB:$DIR/libother.so:$DIR/libthird.so"
    run launch "$LAUNCHER" run -- printenv LD_PRELOAD
    assert_output "$LIB"
}

@test "another copy of our library in LD_PRELOAD is replaced: two would encrypt twice" {
    mkdir "$BATS_TEST_TMPDIR/copy"
    cp "$LIB" "$BATS_TEST_TMPDIR/copy/libp2ptls.so"
    LD_PRELOAD=$BATS_TEST_TMPDIR/copy/libp2ptls.so run launch printenv LD_PRELOAD
    assert_output "$LIB"
}

@test "the exit status is the program's" {
    local code
    for code in 0 1 2 63 64 124 125 126 127 128 129 137 254 255; do
        run "-$code" launch sh -c "exit $code"
        assert_status $code
    done
}

@test "the program takes the launcher's process, so signals reach it, and a death by signal shows" {
    start program "$LAUNCHER" run -r 'connect *:1' -- sleep 1000
    # shellcheck disable=SC2016 # evaluated while waiting
    wait_until '[ "$(cat /proc/$(pid_of program)/comm)" = sleep ]'
    kill -TERM "$(pid_of program)"
    local got=0
    finish program || got=$?
    assert_equal $got 143
}

@test "arguments arrive as they are: blanks, newlines, empty ones, patterns, options" {
    # shellcheck disable=SC2016 # for the inner shell
    run launch sh -c 'for a; do printf "<%s>" "$a"; done' sh 'a b' '' $'c\nd' '*' '$HOME' -r -- '\n'
    assert_status 0
    assert_output $'<a b><><c\nd><*><$HOME><-r><--><\\n>'
}

@test "options after the command are the command's, with and without --" {
    run "$LAUNCHER" run -r 'connect *:1' echo -r x --help
    assert_output '-r x --help'
    run "$LAUNCHER" run -vr 'connect *:1' -- echo -v
    assert_output '-v'
}

@test "the program's name is the one that was typed" {
    # shellcheck disable=SC2016
    run launch sh -c 'tr "\0" "\n" </proc/$$/cmdline | head -n 1'
    assert_output sh
}

@test "standard input and other descriptors arrive" {
    echo 'from stdin' >"$BATS_TEST_TMPDIR/in"
    echo 'from seven' >"$BATS_TEST_TMPDIR/seven"
    run launch sh -c 'cat; cat <&7' <"$BATS_TEST_TMPDIR/in" 7<"$BATS_TEST_TMPDIR/seven"
    assert_output $'from stdin\nfrom seven'
}

@test "the rest of the environment and the folder are the caller's" {
    cd "$BATS_TEST_TMPDIR"
    local -a environment=("PATH=$PATH" "PWD=$PWD" rule=1 file=2 library=3 path=4 LC_ALL=C.UTF-8 EMPTY= LINES=$'a\nb')
    run env -i "${environment[@]}" "$LAUNCHER" run -r 'connect *:1' -- env -u LD_PRELOAD -u P2PTLS_POLICY
    assert_status 0
    assert_equal "$(sort <<<"$output")" "$(printf '%s\n' "${environment[@]}" | sort)" environment
    run launch pwd
    assert_output "$BATS_TEST_TMPDIR"
}

@test "a command that is not found exits 127" {
    run -127 launch surely-no-such-command
    assert_status 127
    assert_output_has 'surely-no-such-command: not found'
    run -127 launch ./missing
    assert_status 127
    run -127 launch "$BATS_TEST_TMPDIR/missing"
    assert_status 127
}

@test "a command that cannot be executed exits 126" {
    cd "$BATS_TEST_TMPDIR"
    cp /bin/true not-executable
    chmod 644 not-executable
    run launch ./not-executable
    assert_status 126
    assert_output_has 'permission denied'
    run launch /tmp
    assert_status 126
    PATH=$BATS_TEST_TMPDIR:$PATH run launch not-executable
    assert_status 126
}

@test "PATH is searched as execvp does: files that cannot be executed, and folders, are passed over" {
    mkdir -p "$BATS_TEST_TMPDIR/first/folder" "$BATS_TEST_TMPDIR/second"
    cd "$BATS_TEST_TMPDIR"
    echo x >first/tool
    mkdir first/other
    printf '#!/bin/sh\necho second\n' | tee second/tool >second/other
    chmod +x second/tool second/other
    PATH=$PWD/first:$PWD/second:$PATH run launch tool
    assert_output second
    PATH=$PWD/first:$PWD/second:$PATH run launch other
    assert_output second
    cd second
    PATH=:$PATH run launch tool
    assert_output second
}

@test "a command's path may have blanks" {
    mkdir "$BATS_TEST_TMPDIR/a b"
    cp /bin/echo "$BATS_TEST_TMPDIR/a b/ec ho"
    run launch "$BATS_TEST_TMPDIR/a b/ec ho" works
    assert_status 0
    assert_output works
}

@test "a PATH without the system's folders does not blind the checks" {
    cp /bin/true "$BATS_TEST_TMPDIR/tool"
    PATH=$BATS_TEST_TMPDIR run launch tool
    assert_status 0
    static_program "$BATS_TEST_TMPDIR/static"
    local path=$PATH
    PATH=$BATS_TEST_TMPDIR run launch static
    PATH=$path
    assert_status 125
    assert_output_has 'statically linked'
}

@test "with the library that was built, a broken policy stops the program, and a good one does not" {
    export P2PTLS_LIBRARY=$LIBRARY
    run "$LAUNCHER" run -r 'nonsense' -- echo started
    assert_status 125
    assert_output_has 'P2PTLS_POLICY:1:1'
    assert_output_without started$'\n'
    run launch echo started
    assert_status 0
    assert_output started
}
