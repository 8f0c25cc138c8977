#!/usr/bin/env bats
# enable refuses a unit whose programs the library cannot get into: they would run in clear. It reads the unit's files
# as systemd does.
# shellcheck disable=SC2154 # stderr is set by run
# shellcheck disable=SC1003 # a backslash ends lines of units

load helpers
load launcher_helpers
load tool_helpers

SYSTEM=root/etc/systemd/system
DROP_IN=$SYSTEM/served.service.d/p2ptls.conf

setup() {
    tool_setup
    mkdir -p $SYSTEM/served.service.d root/usr/local/bin root/usr/bin root/opt
    ln -s usr/bin root/bin
    cp /bin/true root/usr/bin/good
    static_program root/opt/static
}

unit() { # LINE...: the unit is these lines of [Service]
    printf '%s\n' '[Unit]' 'ExecStart=/opt/static' '[Service]' "$@" >$SYSTEM/served.service
}

enable() { # [OPTION]...
    tool enable --root root --yes -r 'accept *:1' "$@" served
}

assert_enabled() { # LINE...: and nothing is said
    unit "$@"
    enable
    assert_silent || fail "$*" || return
    assert_status 0
    rm "$DROP_IN"
}

# But that the tree that is tested may lie where units do not see it.
assert_silent() {
    assert_equal "$(grep -v 'units with ProtectHome=' <<<"$stderr" || :)" ''
}

# Says which setting it is, why, and writes nothing.
assert_not_enabled() { # SETTING LINE...
    unit "${@:2}"
    enable
    assert_status 1 || fail "${*:2}" || return
    assert_contains "$stderr" "p2ptls enable: $1= of served.service cannot be protected: root/opt/static: not started:\
 it is statically linked" || return
    assert_contains "$stderr" 'nothing was written: --force writes the drop-in all the same' || return
    assert_equal "$output" ''
    [ ! -e "$DROP_IN" ]
}

assert_noted() { # PROGRAM REASON LINE...
    unit "${@:3}"
    enable
    assert_status 0 || fail "${*:3}" "$stderr" || return
    assert_contains "$stderr" "ExecStart=$1 of served.service was not judged: $2" || return
    rm "$DROP_IN"
}

@test "a unit of a program that the library gets into is enabled, one of a static program is not" {
    assert_enabled 'ExecStart=/bin/good'
    assert_not_enabled ExecStart 'ExecStart=/opt/static --serve'
}

@test "with --force it is enabled, with a warning" {
    unit 'ExecStart=/opt/static'
    enable --force
    assert_status 0
    assert_contains "$stderr" 'warning: ExecStart= of served.service is not protected: root/opt/static: not started'
    [ -s "$DROP_IN" ]
}

@test "set-uid programs, those of another architecture, and scripts of static interpreters are refused" {
    cp root/usr/bin/good root/opt/setuid
    chmod u+s root/opt/setuid
    cp root/usr/bin/good root/opt/foreign
    overwrite root/opt/foreign 18 '\267' # EM_AARCH64
    printf '#!%s\n' "$PWD/root/opt/static" >root/opt/script
    chmod +x root/opt/script
    local program
    for program in setuid foreign script; do
        unit "ExecStart=/opt/$program"
        enable
        assert_status 1
        assert_contains "$stderr" "cannot be protected: root/opt/$program"
    done
}

@test "the other commands of a unit are judged too, each program once" {
    local setting
    for setting in ExecCondition ExecStartPre ExecStartPost ExecReload ExecStop ExecStopPost; do
        assert_not_enabled $setting 'ExecStart=/bin/good' "$setting=/opt/static"
    done
    unit 'ExecStartPre=/opt/static -t' 'ExecStart=/opt/static'
    enable
    assert_equal "$(grep -c 'cannot be protected' <<<"$stderr")" 1
}

@test "prefixes, quotes, escapes, lines that go on, and several commands in a line are read as by systemd" {
    local line
    for line in - @ : + ! '!!' -@ '|'; do
        assert_not_enabled ExecStart "ExecStart=${line}/opt/static static"
    done
    cp root/opt/static 'root/opt/sta tic'
    for line in '"/opt/sta tic" x' "-'/opt/sta tic'" '/opt/sta\x20tic' '/opt/sta\040tic' '/opt/"sta tic"' \
        '"@/opt/sta\stic" y'; do
        unit "ExecStart=$line"
        enable
        assert_status 1 || fail "$line"
        assert_contains "$stderr" 'root/opt/sta tic: not started'
    done
    assert_not_enabled ExecStart ' ExecStart = \' '# between' '  /opt/static \' ' x'
    assert_not_enabled ExecStart 'ExecStart=/bin/good one ; /opt/static two'
    assert_enabled 'ExecStart=/bin/good one \; /opt/static ";" /opt/static' '#ExecStart=/opt/static' \
        ';ExecStart=/opt/static' 'ExecStartOf=/opt/static' '[Install]' 'ExecStart=/opt/static'
}

@test "an empty assignment forgets the commands before it; drop-ins are read in the order of their names" {
    assert_enabled 'ExecStart=/opt/static' 'ExecStart=' 'ExecStart=/bin/good'
    assert_not_enabled ExecStart 'ExecStart=/bin/good' 'ExecStartPre=' 'ExecStart=/opt/static'
    mkdir -p root/run/systemd/system/served.service.d root/usr/lib/systemd/system/service.d
    printf '[Service]\nExecStart=\nExecStart=/bin/good\n' >$SYSTEM/served.service.d/b.conf
    assert_enabled 'ExecStart=/opt/static'
    # Later by its name, though in a folder that comes later, or earlier by its name.
    printf '[Service]\nExecStart=\nExecStart=/opt/static\n' >root/usr/lib/systemd/system/service.d/c.conf
    assert_not_enabled ExecStart 'ExecStart=/bin/good'
    mv root/usr/lib/systemd/system/service.d/{c,a}.conf
    assert_enabled 'ExecStart=/bin/good'
    # The same name in a folder that goes before.
    cp root/usr/lib/systemd/system/service.d/a.conf root/run/systemd/system/served.service.d/b.conf
    assert_enabled 'ExecStart=/bin/good'
    ln -sf /dev/null $SYSTEM/served.service.d/b.conf
    assert_not_enabled ExecStart 'ExecStart=/bin/good'
}

@test "a unit further up hides those below; templates, aliases and links are followed in the root" {
    mkdir -p root/usr/lib/systemd/system
    assert_enabled 'ExecStart=/bin/good'
    unit 'ExecStart=/opt/static'
    mv $SYSTEM/served.service root/usr/lib/systemd/system/
    printf '[Service]\nExecStart=/bin/good\n' >$SYSTEM/served.service
    enable
    assert_status 0
    rm "$DROP_IN" $SYSTEM/served.service
    mv root/usr/lib/systemd/system/{served,other}.service
    ln -s /usr/lib/systemd/system/other.service $SYSTEM/served.service
    enable
    assert_status 1
    # As Debian's alternatives.
    mkdir -p root/etc/alternatives $SYSTEM/other.service.d
    ln -s /etc/alternatives/served root/usr/bin/served
    ln -s /opt/static root/etc/alternatives/served
    printf '[Service]\nExecStart=\nExecStart=/usr/bin/served\n' >$SYSTEM/other.service.d/a.conf
    enable
    assert_status 1
    ln -sf ../../bin/good root/etc/alternatives/served
    enable
    assert_status 0
    cp root/usr/lib/systemd/system/other.service $SYSTEM/many@.service
    tool enable --root root --yes -r 'accept *:1' many@a
    assert_status 1
}

@test "a name is looked up where systemd looks" {
    assert_enabled 'ExecStart=good'
    cp root/opt/static root/usr/local/bin/good
    unit 'ExecStart=good'
    enable
    assert_status 1
    assert_contains "$stderr" 'root/usr/local/bin/good: not started'
    assert_noted good 'the unit has an ExecSearchPath=' 'ExecStart=good' 'ExecSearchPath=/opt'
}

@test "what cannot be judged is told of, and the unit is enabled" {
    assert_noted /opt/%i 'it has a specifier (%)' 'ExecStart=/opt/%i'
    assert_noted /opt/missing 'it is not there' 'ExecStart=/opt/missing'
    assert_noted opt/static 'it is neither an absolute path nor a name' 'ExecStart=opt/static'
    cp root/opt/static root/opt/50%
    unit 'ExecStart=/opt/50%%'
    enable
    assert_status 1
    unit 'ExecStart=/opt/static' 'RootDirectory=/srv'
    enable
    assert_status 0
    assert_contains "$stderr" 'the programs of served.service were not judged: it has another root'
}

@test "a drop-in that is replaced is not judged: the programs in it are its own" {
    assert_enabled 'ExecStart=/bin/good'
    enable
    enable --force
    assert_silent
}
