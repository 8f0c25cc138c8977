#!/usr/bin/env bats
# enable writes a drop-in that systemd itself finds good, shows it first, and touches nothing else.
# shellcheck disable=SC2154 # stderr is set by run

load helpers
load tool_helpers

DROP_IN=root/etc/systemd/system/served.service.d/p2ptls.conf

setup() {
    tool_setup
    mkdir -p root/etc/systemd/system root/bin
    cp /bin/true root/bin/
    printf '[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\n' >root/etc/systemd/system/served.service
    printf '[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\n' >root/etc/systemd/system/many@.service
}

# What systemd says of the unit with its drop-in: warnings for assignments that it does not understand.
verify() { # UNIT
    SYSTEMD_LOG_LEVEL=info SYSTEMD_UNIT_PATH=$PWD/root/etc/systemd/system systemd-analyze verify --man=no \
        --recursive-errors=no "$PWD/root/etc/systemd/system/$1" 2>&1
}

# The assignment in a drop-in as systemd.syntax(7) says it is read.
value_of() { # FILE VARIABLE
    "$PYTHON" - "$@" <<'END'
import re, sys
for line in open(sys.argv[1]):
    found = re.fullmatch(r'Environment="' + sys.argv[2] + r'=((?:[^"\\]|\\.)*)"\n', line)
    if found:
        print(re.sub(r'\\(.)', r'\1', found.group(1)).replace('%%', '%'))
END
}

@test "the drop-in is shown, and written with --yes; systemd finds nothing to say about it" {
    require systemd-analyze
    tool enable --root root --yes -r 'accept *:6379' -r 'connect *:7000 known-peers=on' served
    assert_status 0
    refute_contains "$stderr" 'there is no unit'
    assert_equal "$output" "# $DROP_IN"$'\n'"$(cat "$DROP_IN")"
    assert_equal "$(value_of "$DROP_IN" LD_PRELOAD)" "$LIBRARY"
    assert_equal "$(value_of "$DROP_IN" P2PTLS_POLICY)" 'accept *:6379; connect *:7000 known-peers=on'
    assert_equal "$(stat -c %a "$DROP_IN")" 644
    run verify served.service
    assert_status 0
    assert_output ''
    # The same check sees what is wrong.
    echo 'Environment="half' >>"$DROP_IN"
    run verify served.service
    assert_output_has "$DROP_IN"
}

@test "without --yes and without a terminal nothing is written; on a terminal it is asked" {
    tool enable --root root -r 'accept *:6379' served </dev/null
    assert_status 1
    assert_output_has 'Environment="P2PTLS_POLICY=accept *:6379"'
    assert_contains "$stderr" 'nothing was written: --yes writes it'
    local command="'$TOOL' enable --root root -r 'accept *:6379' served"
    run script -qec "$command" /dev/null < <(printf 'n\n')
    assert_output_has "Write $DROP_IN? [y/N]"
    [ ! -e "${DROP_IN%/*}" ]
    run script -qec "$command" /dev/null < <(printf 'y\n')
    [ -s "$DROP_IN" ]
}

@test "quotes, backslashes and percent signs arrive as they are" {
    local policy='connect *:1 psk="/a b%n\\c\"d" psk-name=50%'
    tool enable --root root --yes -r "$policy" served
    assert_status 0
    assert_equal "$(value_of "$DROP_IN" P2PTLS_POLICY)" "$policy"
    run verify served.service
    assert_output ''
}

@test "what systemd would leave out of the unit, which would run in clear then, is refused" {
    local rule path name=$'a\xe9b'
    for rule in "accept *:1 psk=/$name psk-name=x" "accept *:1 # $name" $'accept *:1 # \x01' \
        $'accept *:1 psk=/\xef\xbf\xbe psk-name=x'; do
        tool enable --root root --yes -r "$rule" served
        assert_status 1
        assert_contains "$stderr" "a unit's policy is printable UTF-8"
    done
    for path in "$name" $'new\nline' $'return\r' $'bell\a'; do
        echo 'accept *:1' >"$path"
        tool enable --root root --yes -f "$path" served
        assert_status 1
        assert_contains "$stderr" 'a unit cannot name a path that is not printable UTF-8: rename it'
    done
    [ ! -e "${DROP_IN%/*}" ]
    # What it takes stays what it was.
    tool enable --root root --yes -r $'accept\t*:1 psk=/caf\u00e9 psk-name=x\r\nconnect *:2' served
    assert_status 0
    assert_equal "$(value_of "$DROP_IN" P2PTLS_POLICY)" $'accept\t*:1 psk=/caf\u00e9 psk-name=x; connect *:2'
    run verify served.service
    assert_output ''
}

@test "links of another root lead nowhere but into it" {
    local system=root/etc/systemd/system
    mkdir -p outside/system "root$PWD/inside"
    echo mine >outside/file
    mv $system "root$PWD/inside/system"
    ln -s "$PWD/inside/system" $system
    tool enable --root root --yes -r 'accept *:1' served
    assert_status 0
    assert_equal "$output" "# root$PWD/inside/system/served.service.d/p2ptls.conf"$'\n'"$(
        cat "root$PWD/inside/system/served.service.d/p2ptls.conf")"
    [ ! -e inside ]
    tool enable --root root --remove --yes served
    assert_status 0
    [ ! -e "root$PWD/inside/system/served.service.d" ]
    # One that leads to what is there on this system only, and a drop-in that is one.
    ln -sfn "$PWD/outside/system" $system
    tool enable --root root --yes -r 'accept *:1' served
    assert_status 1
    assert_contains "$stderr" 'a link on the way leads nowhere there'
    assert_equal "$(ls outside/system)" ''
    rm $system
    mkdir -p ${DROP_IN%/*}
    ln -s "$PWD/outside/file" $DROP_IN
    tool enable --root root --yes --force -r 'accept *:1' served
    assert_status 1
    assert_contains "$stderr" "$DROP_IN is a link: take it away"
    assert_equal "$(cat outside/file)" mine
}

@test "instances of a template, -f, and a unit that is not there yet" {
    echo 'accept *:1' >policy
    tool enable --root root --yes -f policy many@a.service
    assert_status 0
    refute_contains "$stderr" 'there is no unit'
    assert_equal "$(value_of root/etc/systemd/system/many@a.service.d/p2ptls.conf P2PTLS_CONFIG)" "$PWD/policy"
    tool enable --root root --yes -r 'accept *:1' later
    assert_status 0
    assert_contains "$stderr" 'there is no unit later.service (yet)'
}

@test "an existing drop-in stays without --force; --remove takes it away, and its folder if that is empty" {
    "$TOOL" enable --root root --yes -r 'accept *:1' served
    tool enable --root root --yes -r 'accept *:2' served
    assert_status 1
    assert_contains "$stderr" 'is there already; --force replaces it'
    "$TOOL" enable --root root --yes --force -r 'accept *:2' served
    assert_equal "$(value_of "$DROP_IN" P2PTLS_POLICY)" 'accept *:2'
    tool enable --root root --remove --yes served
    assert_status 0
    [ ! -e "${DROP_IN%/*}" ]
    tool enable --root root --remove --yes served
    assert_status 1
}

@test "a policy that does not parse, none at all, or one that is no single line: nothing is written" {
    tool enable --root root --yes -r 'acept *:1' served
    assert_status 3
    tool enable --root root --yes served
    assert_status 1
    assert_contains "$stderr" 'no policy, nothing would be protected'
    # The caller's own is not the unit's.
    P2PTLS_POLICY='accept *:1' tool enable --root root --yes served
    assert_status 1
    tool enable --root root --yes -r 'accept *:1 # one' -r 'accept *:2' served
    assert_status 1
    assert_contains "$stderr" 'put statements with comments into a file'
    [ ! -e "${DROP_IN%/*}" ]
}

paths_opened() { # UNIT: shows its drop-in, and prints the setting
    tool enable --root root -r 'accept *:1' "$1" </dev/null
    grep '^ExecPaths=' <<<"$output" || :
}

@test "what a unit lets nobody execute is opened for the library and for who asks; other units get no such setting" {
    local folders system=root/etc/systemd/system
    folders="ExecPaths=\"${LIBRARY%/*}\" \"$P2PTLS_BUILD\""
    assert_equal "$(paths_opened served)" ''
    printf '[Service]\nExecStart=/bin/true\n  NoExecPaths = /\n' >$system/strict.service
    assert_equal "$(paths_opened strict)" "$folders"
    tool enable --root root --yes -r 'accept *:1' strict
    run verify strict.service
    assert_output ''
    # In a drop-in, for all services, for all instances, in another folder; an empty one says nothing.
    mkdir -p $system/served.service.d $system/many@.service.d root/run/systemd/system/service.d
    printf '[Service]\nNoExecPaths=\n#NoExecPaths=/\nNoExecPathsOf=/\n' >$system/served.service.d/a.conf
    assert_equal "$(paths_opened served)" ''
    printf '[Service]\nNoExecPaths=/\n' >$system/served.service.d/b.conf
    assert_equal "$(paths_opened served)" "$folders"
    assert_equal "$(paths_opened many@a)" ''
    cp $system/served.service.d/b.conf $system/many@.service.d/
    assert_equal "$(paths_opened many@a)" "$folders"
    assert_equal "$(paths_opened later)" ''
    cp $system/served.service.d/b.conf root/run/systemd/system/service.d/
    assert_equal "$(paths_opened later)" "$folders"
}

@test "a setting counts where systemd finds it: behind an alias, for a prefix; one that is taken back does not" {
    local folders system=root/etc/systemd/system
    folders="ExecPaths=\"${LIBRARY%/*}\" \"$P2PTLS_BUILD\""
    mkdir -p root/usr/lib/systemd/system $system/pre-.service.d $system/served.service.d
    printf '[Service]\nExecStart=/bin/true\nNoExecPaths=/\n' >root/usr/lib/systemd/system/real.service
    # As systemctl makes them; on this system the file may be another one, or none.
    ln -s /usr/lib/systemd/system/real.service $system/alias.service
    assert_equal "$(paths_opened alias)" "$folders"
    tool enable --root root -r 'accept *:1' alias </dev/null
    refute_contains "$stderr" 'there is no unit'
    printf '[Service]\nNoExecPaths=\\\n  /\n' >$system/pre-.service.d/a.conf
    assert_equal "$(paths_opened pre-fix)" "$folders"
    printf '[Service]\nExecStart=/bin/true\nNoExecPaths=/\n[Install]\nNoExecPaths=/\n' >$system/served.service
    printf '[Service]\nNoExecPaths=\n' >$system/served.service.d/z.conf
    assert_equal "$(paths_opened served)" ''
}

# What the drop-in's command says with that environment.
asked() { # [VARIABLE=VALUE]...
    run --separate-stderr env XDG_CONFIG_HOME=/dev/null "$@" "$P2PTLS_BUILD/p2ptls-tool" enable --loaded
}

@test "the unit asks before it starts whether the library is loaded, and whether a rule is there" {
    tool enable --root root -r 'accept *:1' served </dev/null
    assert_contains "$output" "ExecStartPre=\"$P2PTLS_BUILD/p2ptls-tool\" enable --loaded"
    asked LD_PRELOAD="$LIBRARY" P2PTLS_POLICY='accept *:1 for=/bin/true'
    assert_status 0
    assert_equal "$output$stderr" ''
    asked LD_PRELOAD=/nowhere/libp2ptls.so P2PTLS_POLICY='accept *:1'
    assert_status 1
    assert_contains "$stderr" 'the library does not get into this service, which would run in clear'
    asked LD_PRELOAD="$LIBRARY"
    assert_status 1
    assert_contains "$stderr" 'no rule reaches this service, which would run in clear'
    # Its standard input may be the service's connection: a bad policy is told of, and does not end it as programs.
    asked LD_PRELOAD="$LIBRARY" P2PTLS_POLICY=nonsense
    assert_status 3
    assert_contains "$stderr" 'p2ptls enable: P2PTLS_POLICY:1:1:'
    tool enable --loaded served
    assert_status 2
}

@test "what the unit's question finds does not go to the peer of a service whose standard error is its connection" {
    "$PYTHON" - "$P2PTLS_BUILD/p2ptls-tool" "$LIBRARY" <<'END'
import os, socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 0))
for env in ({}, {"LD_PRELOAD": sys.argv[2]}):
    peer = socket.create_connection(listener.getsockname())
    service = listener.accept()[0]
    done = subprocess.run([sys.argv[1], "enable", "--loaded"], env={"XDG_CONFIG_HOME": "/dev/null", **env},
                          stdin=service, stdout=service, stderr=service)
    assert done.returncode == 1, done
    service.close()
    assert peer.recv(1000) == b""
END
}

@test "a library where units may not see it is told of" {
    run --separate-stderr env P2PTLS_LIBRARY=/root/p2ptls/libp2ptls.so "$P2PTLS_BUILD/p2ptls-tool" enable --root root \
        --yes -r 'accept *:1' later
    assert_status 0
    assert_contains "$stderr" 'units with ProtectHome= or PrivateTmp= do not see /root/p2ptls/libp2ptls.so'
    run --separate-stderr env P2PTLS_LIBRARY=/usr/lib/p2ptls/libp2ptls.so "$P2PTLS_BUILD/p2ptls-tool" enable \
        --root root --yes --force -r 'accept *:1' later
    refute_contains "$stderr" 'ProtectHome='
}

@test "a full disk, and one that cannot be written: nothing has changed, no folder either" {
    mkdir -p disk/etc/systemd/system
    cp root/etc/systemd/system/served.service disk/etc/systemd/system/
    local state
    for state in full read-only; do
        run --separate-stderr on_disk $state "$TOOL" enable --root disk --yes -r 'accept *:1' served
        assert_status 1
    done
    assert_contains "$stderr" 'Read-only file system'
}
