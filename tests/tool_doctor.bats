#!/usr/bin/env bats
# doctor finds what is wrong, each fault planted by a test, and says what to do; and finds nothing where nothing is.
# shellcheck disable=SC2154 # stderr is set by run

load helpers
load tls_helpers
load launcher_helpers
load policy_helpers
load tool_helpers

# An installed tree of its own, outside of bats's folder, which other users may not enter.
setup() {
    tool_setup
    DIR=$(mktemp -d)
    chmod 755 "$DIR"
    cp "$LIBRARY" "${LIBRARY%.so}-core.so" "$DIR/"
    chmod 644 "$DIR"/*.so
    export P2PTLS_LIBRARY=$DIR/libp2ptls.so
}

teardown() {
    rm -rf "$DIR"
    [ -z "${ETC:-}" ] || remove_etc
    common_teardown
}

RULE='connect *:6379'

doctor() { # ARGUMENT...: with the tool that was built
    run --separate-stderr env P2PTLS_LIBRARY="$DIR/libp2ptls.so" P2PTLS_LAUNCHER="$TOOL" "$P2PTLS_BUILD/p2ptls-tool" \
        doctor "$@"
}

assert_healthy() { # ARGUMENT...
    doctor "$@"
    assert_status 0 || fail "$output" || return
    assert_output_without FAULT
    assert_equal "$stderr" ''
}

assert_fault() { # TEXT ARGUMENT...
    doctor "${@:2}"
    assert_status 1 || return
    assert_contains "$(grep '^FAULT' <<<"$output")" "$1" || return
    assert_contains "$stderr" 'found'
}

@test "a machine and a policy that are well: no fault, and nothing is made" {
    assert_healthy -r "$RULE"
    assert_output_has 'ok    kernel: Linux'
    assert_output_has 'ok    GnuTLS: 3.'
    assert_output_has "ok    library: $DIR/libp2ptls.so"
    assert_output_has "ok    identity: $XDG_STATE_HOME/p2ptls/identity.pem will be made at first need"
    assert_equal "$(find "$XDG_STATE_HOME" -mindepth 1)" ''
    "$TOOL" genca ca
    "$TOOL" sign ca node node.example
    "$TOOL" genpsk psk
    local own="cert=$PWD/node.pem key=$PWD/node.key ca=$PWD/ca.pem"
    assert_healthy -r "$RULE $own; accept 127.0.0.1:6379,*:1 $own; any *:3 psk=$PWD/psk" redis-server sh
    assert_output_has 'ok    program: redis-server can be protected'
    assert_output_has 'ok    policy: 3 rules in redis-server'
}

@test "through the launcher it is the same" {
    run --separate-stderr "$TOOL" doctor -r "$RULE" sleep
    assert_status 0
    assert_output_has 'ok    program: sleep can be protected'
}

# What each fault is found by, when it is the only one; `|` stands between patterns that one message has, the last of
# them the remedy.
assert_only_fault() { # PATTERNS ARGUMENT...
    local pattern found
    doctor "${@:2}"
    assert_status 1 || return
    found=$(grep '^FAULT' <<<"$output")
    assert_equal "$(wc -l <<<"$found")" 1 "faults in: $found" || return
    while read -rd '|' pattern; do
        assert_contains "$found" "$pattern" || return
    done <<<"$1|"
}

@test "ten faults, each planted alone, and each found by a message of its own with a remedy" {
    local fake own rule
    fake=$(echo /usr/lib/*/faketime/libfaketime.so.1)
    LD_PRELOAD=$fake FAKETIME='2020-01-01 00:00:00' "$P2PTLS_BUILD/p2ptls-tool" genca --days 36500 ca
    "$TOOL" sign ca node node.example
    own="cert=$PWD/node.pem key=$PWD/node.key ca=$PWD/ca.pem" rule="$RULE $own"
    static_program static
    dynamic_program dynamic
    cp dynamic foreign
    overwrite foreign 18 '\267' # EM_AARCH64
    assert_healthy -r "$rule" ./dynamic
    echo '1 wrong permissions'
    chmod 640 node.key
    assert_only_fault "identity:|node.key|mode 0640|chmod 600 $PWD/node.key" -r "$rule"
    chmod 600 node.key
    echo '2 an expired certificate'
    LD_PRELOAD=$fake FAKETIME='2020-01-01 00:00:00' "$P2PTLS_BUILD/p2ptls-tool" sign --days 1 ca old old.example
    assert_only_fault "identity:|old.pem expired on 2020-01-02|renew it" \
        -r "$RULE cert=$PWD/old.pem key=$PWD/old.key ca=$PWD/ca.pem"
    echo '3 the clock is off: see below for each direction and witness'
    hardware_clock $((EPOCHSECONDS + 400 * 86400))
    run --separate-stderr with_hardware_clock "$TOOL" doctor -r "$rule"
    assert_equal "$(grep -c '^FAULT' <<<"$output")" 1
    assert_matches "$output" 'FAULT clock: it says .* but the hardware.s clock .* set the one that is wrong'
    echo '4 a missing core'
    mv "$DIR/libp2ptls-core.so" "$DIR/away"
    assert_only_fault "library:|$DIR/libp2ptls-core.so|missing|install it" -r "$rule"
    mv "$DIR/away" "$DIR/libp2ptls-core.so"
    echo '5 a static program'
    assert_only_fault 'program: ./static|statically linked|use a dynamically linked build' -r "$rule" ./static
    echo '6 a policy that never matches'
    assert_only_fault 'policy:|never matches|from= is about the other side' -r "accept 203.0.113.9:80 $own"
    assert_only_fault 'policy:|no rule holds in ./dynamic|add it to a for=' -r "$rule for=x" ./dynamic
    echo '7 a rule in the shadow of another'
    assert_only_fault 'policy:|never decides|put it in front' -r "any *:1 $own; connect 10.0.0.0/8:1 $own"
    echo '8 few descriptors'
    (ulimit -n 64 && assert_only_fault 'limits: 64 descriptors|make it 256 or more (ulimit -n' -r "$rule")
    echo '9 a library that cannot be read'
    chmod 640 "$DIR/libp2ptls.so"
    assert_only_fault "library: $DIR/libp2ptls.so|read|chmod a+r" -r "$rule"
    chmod 644 "$DIR/libp2ptls.so"
    echo '10 another architecture, of the program or of the library'
    assert_only_fault 'program: ./foreign|another architecture|install' -r "$rule" ./foreign
    overwrite "$DIR/libp2ptls-core.so" 18 '\267'
    assert_only_fault "library: $DIR/libp2ptls-core.so|another architecture|install" -r "$rule"
}

# ---- each of them in all its forms -----------------------------------------------------------------

@test "fault: wrong permissions of a key, a file of keys, the state folder, the policy" {
    "$TOOL" gencert node node.example
    "$TOOL" genpsk psk
    chmod 640 node.key psk
    assert_fault "$PWD/node.key holds a secret, but its mode 0640 lets others use it: chmod 600 $PWD/node.key" \
        -r "$RULE cert=$PWD/node.pem key=$PWD/node.key ca=$PWD/node.pem"
    assert_fault "$PWD/psk holds a secret, but its mode 0640 lets others use it" -r "$RULE psk=$PWD/psk"
    "$TOOL" id create
    chmod 777 "$XDG_STATE_HOME/p2ptls"
    assert_fault "others can write to $XDG_STATE_HOME/p2ptls" -r "$RULE"
    echo "$RULE" >policy
    chmod 666 policy
    assert_fault 'policy: it cannot be used' -f "$PWD/policy"
    assert_contains "$stderr" 'can be changed by everyone (mode 0666)'
}

@test "fault: an expired certificate, an expired authority" {
    local dir=$PWD/pki
    make_certificates "$dir"
    assert_fault "$dir/expired.pem" -r "$RULE cert=$dir/expired.pem key=$dir/expired.key ca=$dir/ca.pem"
    issue old '' ca cert_signing_key 'activation_date = "2001-01-01 00:00:00"' \
        'expiration_date = "2002-01-01 00:00:00"'
    assert_fault "authority: $dir/old.pem expired on 2002-01-01 00:00:00 UTC" \
        -r "$RULE cert=$dir/server.pem key=$dir/server.key ca=$dir/ca.pem,$dir/old.pem"
}

@test "a certificate that is about to expire is noted" {
    local dir=$PWD/pki
    make_certificates "$dir"
    issue soon ca 'activation_date = "2020-01-01 00:00:00"' \
        "expiration_date = \"$(date -u -d '+5 days' '+%Y-%m-%d %H:%M:%S')\""
    assert_healthy -r "$RULE cert=$dir/soon.pem key=$dir/soon.key ca=$dir/ca.pem"
    assert_output_has 'the own certificate expires on'
}

@test "fault: the clock is off" {
    local fake
    fake=$(echo /usr/lib/*/faketime/libfaketime.so.1)
    "$TOOL" gencert node node.example
    export LD_PRELOAD=$fake FAKETIME='2019-06-01 12:00:00' NO_FAKE_STAT=1 TZ=UTC
    assert_fault "clock: it says 2019-06-01 12:00:00 UTC, but the library $DIR/libp2ptls.so is of 20" -r "$RULE"
    touch -d 2018-01-01 "$DIR"/*.so
    assert_fault 'clock: it says 2019-06-01 12:00:00 UTC, but' \
        -r "$RULE cert=$PWD/node.pem key=$PWD/node.key ca=$PWD/node.pem"
    assert_contains "$(grep '^FAULT' <<<"$output")" "$PWD/node.pem"
}

# A stand-in for the machine's, in a mount namespace.
hardware_clock() { # SECONDS
    mkdir -p class/rtc/rtc0
    echo "$1" >class/rtc/rtc0/since_epoch
}

with_hardware_clock() { # COMMAND...
    # shellcheck disable=SC2016 # for the inner shell
    unshare -m --propagation private bash -c 'mount --bind class /sys/class && exec "$@"' bash "$@"
}

@test "fault: the clock differs from the hardware's by more than a day; one whose battery is empty says nothing" {
    local seconds
    for seconds in $((EPOCHSECONDS + 90000)) $((EPOCHSECONDS + 400 * 86400)); do
        hardware_clock "$seconds"
        run with_hardware_clock "$TOOL" doctor -r "$RULE"
        assert_status 1
        assert_output_has "but the hardware's clock (rtc0) says $(date -u -d "@$seconds" '+%Y-%m-%d %H:%M:%S') UTC"
    done
    for seconds in 0 1000000000 "$EPOCHSECONDS" $((EPOCHSECONDS - 50000)) $((EPOCHSECONDS + 50000)) '' none; do
        hardware_clock "$seconds"
        run with_hardware_clock "$TOOL" doctor -r "$RULE"
        assert_status 0 || fail "hardware clock: $seconds" || return
    done
}

@test "fault: a clock that is ahead: nothing of the policy is valid any more, or the hardware's clock is behind it" {
    local fake rule
    fake=$(echo /usr/lib/*/faketime/libfaketime.so.1)
    "$TOOL" genca ca
    "$TOOL" sign ca node node.example
    rule="$RULE cert=$PWD/node.pem key=$PWD/node.key ca=$PWD/ca.pem"
    hardware_clock "$EPOCHSECONDS"
    export FAKETIME='2050-06-01 12:00:00' NO_FAKE_STAT=1 TZ=UTC
    LD_PRELOAD=$fake doctor -r "$rule"
    assert_status 1
    assert_output_has 'clock: it says 2050-06-01 12:00:00 UTC, but each certificate that the policy names has expired'
    assert_output_has 'is the clock ahead? Set it'
    run with_hardware_clock env LD_PRELOAD="$fake" "$P2PTLS_BUILD/p2ptls-tool" doctor -r "$rule"
    assert_status 1
    assert_output_has "FAULT clock: it says 2050-06-01 12:00:00 UTC, but the hardware's clock (rtc0) says 20"
    # One of them is good still: nothing is said of the clock.
    export FAKETIME='2030-06-01 12:00:00'
    LD_PRELOAD=$fake doctor -r "$rule"
    assert_output_has "a certificate in $PWD/node.pem expired on"
    assert_output_without 'is the clock ahead'
}

@test "fault: the core is missing, or is no library" {
    rm "$DIR/libp2ptls-core.so"
    assert_fault "library: $DIR/libp2ptls-core.so: it is missing: install it" -r "$RULE"
    echo rubbish >"$DIR/libp2ptls-core.so"
    assert_fault "library: $DIR/libp2ptls-core.so is no ELF file" -r "$RULE"
    shared_library "$DIR/libp2ptls-core.so"
    assert_fault "library: $DIR/libp2ptls-core.so is of another version" -r "$RULE"
    rm "$DIR/libp2ptls.so"
    assert_fault "library: $DIR/libp2ptls.so: it is missing" -r "$RULE"
}

@test "fault: a static program, a set-uid one, one of another architecture, one that is not there" {
    static_program static
    assert_fault 'program: ./static: not started: it is statically linked' -r "$RULE" ./static
    dynamic_program setuid
    chmod u+s setuid
    assert_fault 'program: ./setuid: not started: it is set-uid or set-gid' -r "$RULE" ./setuid
    dynamic_program foreign
    overwrite foreign 18 '\267' # EM_AARCH64
    assert_fault 'program: ./foreign: not started: it is for another architecture' -r "$RULE" ./foreign
    script script '#!./static\n'
    assert_fault 'program: ./script (run by ./static): not started: it is statically linked' -r "$RULE" ./script
    local name
    for name in ./missing missing-from-path /etc /etc/passwd; do
        assert_fault "program: $name: " -r "$RULE" "$name" || return
        assert_output_has 'ok    policy: 1 rule' || fail "$name" || return
        assert_equal "$stderr" 'p2ptls doctor: 1 fault found' || return
    done
}

@test "a program that it names, and may start, is noted if it could not be protected: of a script, and of a binary" {
    static_program "$DIR/static"
    dynamic_program "$DIR/dynamic"
    script starter "#!/bin/sh\n$DIR/dynamic\nexec \"$DIR/static\" x\n"
    assert_healthy -r "$RULE" ./starter
    assert_output_has "note  program: ./starter names a program that it may start without protection: $DIR/static: not \
started: it is statically linked"
    assert_output_without "$DIR/dynamic"
    printf '#include <unistd.h>\nint main(void) { return execl("%s/static", "x", (char *)0); }\n' "$DIR" |
        gcc -x c -o binary -
    assert_healthy -r "$RULE" ./binary
    assert_output_has "note  program: ./binary names a program that it may start without protection: $DIR/static"
}

@test "without a home: a fault where the per-user identity is needed, and none where it is not" {
    local -a homeless=(env -u HOME -u XDG_STATE_HOME setpriv --reuid 54321 --regid 54321 --clear-groups --)
    run "${homeless[@]}" "$P2PTLS_BUILD/p2ptls-tool" doctor -r "$RULE"
    assert_status 1
    assert_output_has 'FAULT identity: there is no place for the per-user identity: set HOME'
    run "${homeless[@]}" "$P2PTLS_BUILD/p2ptls-tool" doctor -r "$RULE deny"
    assert_status 0
    run "${homeless[@]}" "$P2PTLS_BUILD/p2ptls-tool" check -r "$RULE"
    assert_status 0
}

@test "fault: a policy that never matches: no rule, none for this program, an address that is not here" {
    assert_fault 'policy: there is no rule: nothing is protected'
    assert_fault 'policy: no rule holds in sleep: the only one is for other programs; add it to a for=' \
        -r "$RULE for=x" sleep
    assert_fault 'policy: P2PTLS_POLICY:1:1 never matches: accept compares the local address' \
        -r 'accept 203.0.113.9:80,[2001:db8::9]:80'
    assert_fault 'policy: P2PTLS_POLICY:1:1 never matches in /nowhere/program' -r "$RULE for=/nowhere/program"
    assert_healthy -r 'accept 127.0.0.1:80,203.0.113.9:80; accept 203.0.113.0/24:81; accept 127.5.5.5:8'
}

@test "fault: a policy of the administrator that other users cannot read" {
    make_etc
    system_policy fleet "$RULE"
    run in_etc "$TOOL" doctor
    assert_status 0
    chmod 640 "$ETC/p2ptls/fleet.conf"
    run in_etc "$TOOL" doctor
    assert_status 1
    assert_output_has 'FAULT policy: /etc/p2ptls/fleet.conf cannot be read by everybody: programs of other users are'
    chmod 644 "$ETC/p2ptls/fleet.conf"
    chmod 700 "$ETC/p2ptls"
    run in_etc "$TOOL" doctor
    assert_output_has 'FAULT policy: /etc/p2ptls cannot be read by everybody'
}

@test "fault: a rule in the shadow of another" {
    assert_fault 'policy: P2PTLS_POLICY:1:10 never decides: P2PTLS_POLICY:1:1 in front of it matches all' \
        -r 'any *:1; connect 10.0.0.0/8:1'
    assert_healthy -r 'connect 10.0.0.0/8:1; any *:1'
}

@test "fault: a policy that does not parse" {
    assert_fault 'policy: it cannot be used' -r 'conect *:1'
    assert_contains "$stderr" 'P2PTLS_POLICY:1:1: expected'
}

@test "fault: few descriptors, small files" {
    # shellcheck disable=SC2016 # for the inner shell
    run bash -c 'ulimit -n 64 && exec "$0" doctor -r "connect *:1"' "$TOOL"
    assert_status 1
    assert_output_has 'FAULT limits: 64 descriptors (RLIMIT_NOFILE)'
    # shellcheck disable=SC2016 # for the inner shell
    run bash -c '(ulimit -f 16 && exec "$0" doctor -r "connect *:1" 2>&1) | cat' "$TOOL"
    assert_output_has 'FAULT limits: files of 16384 bytes (RLIMIT_FSIZE)'
}

# mlock(2), memfd_secret(2), io_uring_setup(2)
@test "a small RLIMIT_MEMLOCK is no fault, and told of as such: nothing locks memory, in either end of a connection" {
    # shellcheck disable=SC2016 # for the inner shell
    run bash -c 'ulimit -l 0 && exec "$0" doctor -r "connect *:1"' "$TOOL"
    assert_status 0
    assert_output_has 'ok    limits: 0 bytes of locked memory (RLIMIT_MEMLOCK) are enough: nothing of'
    run bash -c "ulimit -l unlimited && exec $TOOL doctor -r 'connect *:1'"
    assert_output_without MEMLOCK
    # shellcheck disable=SC2016 # for the inner shell
    P2PTLS_POLICY='any *:* ' run bash -c 'ulimit -l 0 && exec strace -f -qq -o calls -e \
        trace=mlock,mlock2,mlockall,memfd_secret,io_uring_setup,connect "$@"' bash "${P2P[@]}" "$PYTHON" -c '
import socket
listener = socket.create_server(("127.0.0.1", 0))
one = socket.create_connection(listener.getsockname())
other = listener.accept()[0]
one.setblocking(False)
other.sendall(b"hello")
one.setblocking(True)
print(one.recv(5))'
    assert_status 0
    assert_output "b'hello'"
    assert_contains "$(cat calls)" 'connect('
    refute_contains "$(cat calls)" lock
    refute_contains "$(cat calls)" secret
    refute_contains "$(cat calls)" uring
}

@test "fault: a library that cannot be read, by this user or by others, or that others can change" {
    chmod 600 "$DIR/libp2ptls-core.so"
    assert_fault "library: $DIR/libp2ptls-core.so cannot be read by everybody" -r "$RULE"
    run as_nobody env -u XDG_STATE_HOME "$P2PTLS_BUILD/p2ptls-tool" doctor -r "$RULE"
    assert_status 1
    assert_output_has "FAULT library: $DIR/libp2ptls-core.so: Permission denied"
    chmod 646 "$DIR/libp2ptls-core.so"
    assert_fault "library: $DIR/libp2ptls-core.so can be changed by others" -r "$RULE"
    chmod 644 "$DIR/libp2ptls-core.so"
    echo 'whoever may write to a folder on the way can put another in its place'
    chmod 757 "$DIR"
    assert_fault "library: $DIR can be changed by others than root and this user, who could put" -r "$RULE"
    chmod 755 "$DIR"
    chown nobody "$DIR"
    assert_fault "library: $DIR can be changed by others" -r "$RULE"
    chown root "$DIR"
    chmod 1757 "$DIR" # as /tmp is: everybody may put files there, and move none but their own
    assert_healthy -r "$RULE"
    chmod 700 "$DIR"
    assert_healthy -r "$RULE"
    assert_output_has "note  library: $DIR lets not everybody in"
}

@test "fault: a library for another architecture" {
    overwrite "$DIR/libp2ptls.so" 18 '\267'
    assert_fault "library: $DIR/libp2ptls.so is for another architecture (ELF machine 183)" -r "$RULE"
}

@test "fault: the per-user identity can be made nowhere" {
    chmod 755 "$DIR"
    run as_nobody env XDG_STATE_HOME=/etc "$P2PTLS_BUILD/p2ptls-tool" doctor -r "$RULE"
    assert_status 1
    assert_output_has 'FAULT identity: the per-user identity cannot be made in /etc/p2ptls'
}

# ---- programs that run -----------------------------------------------------------------------------------------------

@test "doctor --pid: a program and all that it has started, with the library or without" {
    # shellcheck disable=SC2016 # for the inner shell
    P2PTLS_POLICY=$RULE start parent env LD_PRELOAD="$DIR/libp2ptls.so" sh -c '
        sleep 1000 & env -u LD_PRELOAD sleep 1000 & echo started; wait'
    wait_for_log parent started
    local pid clear
    pid=$(pid_of parent)
    wait_until "[ \$(pgrep -c -P $pid sleep) -eq 2 ]"
    doctor -r "$RULE" --pid "$pid"
    assert_status 1
    assert_output_has "ok    process: $pid (sh) has the library"
    clear=$(grep '^FAULT' <<<"$output")
    assert_matches "$clear" '^FAULT process: [0-9]+ \(sleep\) runs without the library: its sockets are in clear$'
    local child
    for child in $(pgrep -P "$pid" sleep); do kill "$child"; done
    finish parent || :
    assert_fault "there is no process $pid" -r "$RULE" --pid "$pid"
}
