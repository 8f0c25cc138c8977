#!/usr/bin/env bats
# Where a policy comes from, which source comes first, and whom it is believed of. /etc is a copy in a mount namespace.

load helpers
load policy_helpers

setup() {
    common_setup
    make_etc
    mkdir -p "$XDG_CONFIG_HOME/p2ptls"
}

teardown() {
    remove_etc
    common_teardown
}

user_policy() { # NAME TEXT
    printf '%s\n' "$2" >"$XDG_CONFIG_HOME/p2ptls/$1.conf"
}

# Which rule decides over a connection to 127.0.0.1:9? "deny" is EACCES, "plain" the kernel's ECONNREFUSED.
decision() { # [COMMAND]...
    in_etc "$@" env P2PTLS_LOG=silent LD_PRELOAD="$LIBRARY" "$PYTHON" -c '
import socket
s = socket.socket()
try:
    s.connect(("127.0.0.1", 9))
except PermissionError:
    print("deny")
except ConnectionRefusedError:
    print("plain")'
}

assert_decision() { # EXPECTED [COMMAND]...
    run decision "${@:2}"
    assert_status 0
    assert_output "$1"
}

assert_not_started() { # PART...: of the message
    local message
    message=$(printf %s "$@")
    run decision
    assert_status 125
    assert_equal "$output" "p2ptls: $message; the program was not started"
}

# ---- precedence ------------------------------------------------------------------------------------------------------

@test "the five sources come in the documented order" {
    local config=$BATS_TEST_TMPDIR/config.conf
    system_policy z 'connect *:9 deny'
    assert_decision deny
    user_policy a 'connect *:9 plain'
    assert_decision plain
    echo 'connect *:9 deny' >"$config"
    export P2PTLS_CONFIG=$config
    assert_decision deny
    export P2PTLS_POLICY='connect *:9 plain'
    assert_decision plain
    system_policy z 'connect *:9 deny final'
    assert_decision deny
}

@test "files of a folder come in the order of their bytes, and hidden or other files do not count" {
    system_policy B 'connect *:9 plain'
    system_policy a 'connect *:9 deny'
    LC_ALL=C.UTF-8 assert_decision plain
    rm "$ETC/p2ptls/B.conf"
    assert_decision deny
    mv "$ETC/p2ptls/a.conf" "$ETC/p2ptls/.a.conf"
    echo 'connect *:9 deny' >"$ETC/p2ptls/a.conf~"
    assert_decision plain
}

@test "without XDG_CONFIG_HOME the user's files are in HOME" {
    mkdir -p "$BATS_TEST_TMPDIR/home/.config/p2ptls"
    echo 'connect *:9 deny' >"$BATS_TEST_TMPDIR/home/.config/p2ptls/x.conf"
    assert_decision deny env -u XDG_CONFIG_HOME HOME="$BATS_TEST_TMPDIR/home"
    assert_decision deny env XDG_CONFIG_HOME=relative HOME="$BATS_TEST_TMPDIR/home"
    assert_decision plain env HOME="$BATS_TEST_TMPDIR/home"
}

@test "without HOME, or with an empty or relative one, the user database says where the user's files are" {
    local home=$BATS_TEST_TMPDIR/home given
    mkdir -p "$home/.config/p2ptls"
    echo 'connect *:9 deny' >"$home/.config/p2ptls/x.conf"
    sed -i "s|^\\(root:.*:\\)[^:]*:\\([^:]*\\)$|\\1$home:\\2|" "$ETC/passwd"
    assert_decision deny env -u XDG_CONFIG_HOME -u HOME
    for given in '' relative; do
        assert_decision deny env -u XDG_CONFIG_HOME HOME="$given"
    done
    assert_decision plain env -u XDG_CONFIG_HOME HOME=/nowhere
    assert_decision plain env -u HOME # XDG_CONFIG_HOME
}

@test "an identity may be defined in any source, once" {
    system_policy z 'connect *:9 deny; connect *:1 id=web'
    assert_not_started \
        '/etc/p2ptls/z.conf:1:31: expected the name of an identity statement, found "web"; there is none: ' \
        'add identity NAME cert=... key=...'
    user_policy a 'identity web psk=/nowhere'
    assert_decision deny
    P2PTLS_POLICY='identity web psk=/other' assert_not_started \
        "$XDG_CONFIG_HOME/p2ptls/a.conf:1:10: expected another name, found web again: it is defined in P2PTLS_POLICY:1"
}

@test "for= limits a rule to programs, by the name of their file or its path" {
    local program
    program=$(realpath "$PYTHON")
    system_policy a "connect *:9 deny for=${program##*/}"
    assert_decision deny
    system_policy a "connect *:9 deny for=other,$program"
    assert_decision deny
    system_policy a 'connect *:9 deny for=python,/bin/other'
    assert_decision plain
    system_policy a "set for=other; connect *:9 deny"
    assert_decision plain
}

@test "for= knows the link by which a program was started, and no name that leads to another file" {
    local program
    program=$(realpath "$PYTHON")
    PYTHON=$BATS_TEST_TMPDIR/redis-server
    ln -s "$program" "$PYTHON"
    mkdir "$BATS_TEST_TMPDIR/other"
    ln -s "$program" "$BATS_TEST_TMPDIR/other/redis-server"
    ln -s "$program" "$BATS_TEST_TMPDIR/redis-cli"
    local -A decisions=([redis-server]=deny ["$PYTHON"]=deny ["${program##*/}"]=deny ["$program"]=deny
        ["$BATS_TEST_TMPDIR/other/redis-server"]=deny ["$BATS_TEST_TMPDIR/redis-cli"]=plain [redis-cli]=plain
        ["/bin/redis-server-of-another-kind"]=plain)
    local name
    for name in "${!decisions[@]}"; do
        system_policy a "connect *:9 deny for=$name"
        assert_decision "${decisions[$name]}" || fail "for=$name" || return
    done
    # argv[0] is any text.
    system_policy a 'connect *:9 deny for=redis-cli'
    # shellcheck disable=SC2016 # for the inner shell
    assert_decision plain bash -c 'exec -a redis-cli env "$@"' -
}

@test "for= knows the interpreter of a script by the link in its first line" {
    local script=$BATS_TEST_TMPDIR/script
    ln -s "$(realpath "$PYTHON")" "$BATS_TEST_TMPDIR/snake"
    cat >"$script" <<END
#!$BATS_TEST_TMPDIR/snake
import sys
exec(sys.argv[2])
END
    chmod +x "$script"
    PYTHON=$script
    system_policy a 'connect *:9 deny for=snake'
    assert_decision deny
    system_policy a 'connect *:9 deny for=script'
    assert_decision plain
}

# ---- include ---------------------------------------------------------------------------------------------------------

@test "an included file inherits what is set, and what it sets ends with it" {
    system_policy a 'set for=other; include ../p2ptls.d/*.conf; connect *:9 deny'
    echo 'connect *:9 plain; set for=python3.11' >"$ETC/p2ptls.d/x.conf"
    assert_decision plain # for other programs, both
    system_policy a 'include ../p2ptls.d/*.conf; connect *:9 deny'
    assert_decision plain
    echo 'set for=other' >"$ETC/p2ptls.d/x.conf"
    assert_decision deny
}

@test "errors in included files name these; a missing file and a circle are errors where they are included" {
    system_policy a 'include /etc/p2ptls.d/x.conf'
    assert_not_started \
        '/etc/p2ptls/a.conf:1:9: expected a file that may be read, found that /etc/p2ptls.d/x.conf cannot be ' \
        'opened: No such file or directory'
    printf '\n  conect *:9\n' >"$ETC/p2ptls.d/x.conf"
    assert_not_started \
        '/etc/p2ptls.d/x.conf:2:3: expected connect, accept, any, set, identity or include, found "conect"; ' \
        'did you mean connect?'
    echo 'include "x.conf"' >"$ETC/p2ptls.d/x.conf"
    assert_not_started \
        '/etc/p2ptls.d/x.conf:1:9: expected at most 8 files that include one another, found more: does ' \
        '/etc/p2ptls.d/x.conf include itself?'
    system_policy a 'include /nowhere/*.conf'
    assert_not_started \
        '/etc/p2ptls/a.conf:1:9: expected a folder that may be read, found that a folder of /nowhere/*.conf ' \
        'cannot be read: No such file or directory'
}

@test "final stays /etc/p2ptls's own word, in what it includes too" {
    P2PTLS_POLICY='connect *:9 deny final' assert_not_started \
        'P2PTLS_POLICY:1:18: expected final in the files of /etc/p2ptls only, found it elsewhere'
    echo 'connect *:9 deny final' >"$ETC/p2ptls.d/x.conf"
    system_policy a 'include /etc/p2ptls.d/x.conf'
    P2PTLS_POLICY='connect *:9 plain' assert_decision deny
    chown nobody "$ETC/p2ptls.d/x.conf"
    assert_not_started \
        '/etc/p2ptls/a.conf:1:9: expected a file that may be read, found that /etc/p2ptls.d/x.conf belongs ' \
        "to user id $(id -u nobody): chown root /etc/p2ptls.d/x.conf"
}

# ---- whom a file is believed of --------------------------------------------------------------------------------------

@test "files of /etc/p2ptls that others could have written stop the program" {
    local nobody group
    nobody=$(id -u nobody)
    group=$(getent group nogroup | cut -d: -f3)
    system_policy a 'connect *:9 deny'
    chown nobody "$ETC/p2ptls/a.conf"
    assert_not_started \
        "/etc/p2ptls/a.conf: belongs to user id $nobody: chown root /etc/p2ptls/a.conf"
    chown root "$ETC/p2ptls/a.conf"
    chmod 646 "$ETC/p2ptls/a.conf"
    assert_not_started \
        '/etc/p2ptls/a.conf: can be changed by everyone (mode 0646): chmod o-w ' \
        '/etc/p2ptls/a.conf'
    chmod 664 "$ETC/p2ptls/a.conf"
    assert_decision deny # of group root
    chgrp nogroup "$ETC/p2ptls/a.conf"
    assert_not_started \
        "/etc/p2ptls/a.conf: can be changed by group id $group (mode 0664): " \
        'chmod g-w /etc/p2ptls/a.conf'
    chmod 644 "$ETC/p2ptls/a.conf"
    assert_decision deny
    chmod 777 "$ETC/p2ptls"
    assert_not_started '/etc/p2ptls: can be changed by everyone (mode 0777): chmod o-w /etc/p2ptls'
    chmod 755 "$ETC/p2ptls"
    chown nobody "$ETC/p2ptls"
    assert_not_started "/etc/p2ptls: belongs to user id $nobody: chown root /etc/p2ptls"
}

@test "files of the user that another could have written stop the program, root's and the own do not" {
    local file=$XDG_CONFIG_HOME/p2ptls/a.conf nobody
    nobody=$(id -u nobody)
    user_policy a 'connect *:9 deny'
    assert_decision deny
    chown nobody "$file"
    assert_not_started \
        "$file: belongs to user id $nobody, who could change it: it must belong to root or to user id 0"
    P2PTLS_CONFIG=$file assert_not_started \
        "P2PTLS_CONFIG: $file belongs to user id $nobody, who could change it: it must belong to root or to " \
        'user id 0'
    chown root "$file"
    chmod 606 "$file"
    assert_not_started "$file: can be changed by everyone (mode 0606): chmod o-w $file"
}

@test "a folder or file that cannot be read stops the program" {
    mkdir "$ETC/p2ptls/a.conf"
    assert_not_started '/etc/p2ptls/a.conf: is a folder'
    rmdir "$ETC/p2ptls/a.conf"
    mkfifo "$ETC/p2ptls/a.conf"
    assert_not_started '/etc/p2ptls/a.conf: is not a regular file'
}

@test "the administrator's files stop the program of a user who cannot read them" {
    chmod 755 "$BATS_TEST_TMPDIR"
    system_policy a 'connect *:9 deny'
    chmod 600 "$ETC/p2ptls/a.conf"
    run decision setpriv --reuid nobody --regid nogroup --clear-groups --
    assert_output_has 'p2ptls: /etc/p2ptls/a.conf: cannot be opened: Permission denied; the'
    chmod 700 "$ETC/p2ptls"
    run decision setpriv --reuid nobody --regid nogroup --clear-groups --
    assert_output_has 'p2ptls: /etc/p2ptls: cannot be read: Permission denied; the program was not started'
}

@test "limits: a file of more than 1 MiB, a path of more than 4096 bytes, more than 1000 files" {
    local long i
    head -c 1048577 /dev/zero | tr '\0' '\n' >"$ETC/p2ptls/a.conf"
    assert_not_started '/etc/p2ptls/a.conf: is larger than 1 MiB'
    printf -v long '%04090d' 0
    system_policy a "include $long"
    assert_not_started '/etc/p2ptls/a.conf:1:9: expected a path of at most 4096 bytes, found more'
    system_policy a 'include ../p2ptls.d/*.conf; connect *:9 deny'
    for i in {1..1000}; do : >"$ETC/p2ptls.d/$i.conf"; done
    assert_not_started '/etc/p2ptls/a.conf:1:9: expected at most 1000 files, found more'
    rm "$ETC/p2ptls.d/1000.conf"
    assert_decision deny
}

@test "a policy that can be read once only stops the program: those that it starts would have none" {
    local pipe=$BATS_TEST_TMPDIR/pipe
    mkfifo "$pipe"
    exec 8<>"$pipe"
    echo 'connect *:9 deny' >&8
    P2PTLS_CONFIG=$pipe assert_not_started \
        "P2PTLS_CONFIG: $pipe is not a regular file: what can be read once would be no policy for the programs that " \
        'this one starts'
    exec 8>&-
    P2PTLS_CONFIG=/dev/zero run decision
    assert_status 125
    assert_output_has '/dev/zero is not a regular file'
    P2PTLS_CONFIG=/dev/null P2PTLS_POLICY='connect *:9 deny' assert_decision deny
}

@test "a user's folder that this user may not enter is not this user's, and does not count" {
    chmod 700 "$XDG_CONFIG_HOME"
    user_policy a 'connect *:9 deny'
    assert_decision deny
    chmod 755 "$BATS_TEST_TMPDIR"
    assert_decision plain setpriv --reuid nobody --regid nogroup --clear-groups --
}

@test "a user's own folder that cannot be read stops the program: its rules would not count" {
    local home=$ETC/home barred
    local -a as_nobody=(env XDG_CONFIG_HOME=/etc/home setpriv --reuid nobody --regid nogroup --clear-groups --)
    mkdir -p "$home/p2ptls"
    echo 'connect *:9 deny' >"$home/p2ptls/a.conf"
    chown -R nobody "$home"
    assert_decision deny "${as_nobody[@]}"
    for barred in "$home/p2ptls" "$home"; do
        chmod 000 "$barred"
        run decision "${as_nobody[@]}"
        assert_status 125
        assert_output_has 'p2ptls: /etc/home/p2ptls: cannot be read: Permission denied; the program was not started'
        chmod 700 "$barred"
    done
    # As a command of root's leaves it in a user's home.
    chown root "$home/p2ptls"
    chmod 700 "$home/p2ptls"
    run decision "${as_nobody[@]}"
    assert_status 125
    # Another user's home, which this one may not enter.
    chown root "$home"
    chmod 700 "$home"
    assert_decision plain "${as_nobody[@]}"
}

@test "in a user namespace without root, root's files are still root's" {
    system_policy a 'connect *:9 deny'
    assert_decision deny setpriv --reuid 54321 --regid 54321 --clear-groups unshare -U -c
}
