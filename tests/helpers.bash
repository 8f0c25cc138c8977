# shellcheck shell=bash
# Helpers of every bats suite: assertions that show both sides, programs under the library, background processes,
# recorded wires. A suite begins with `load helpers`, and calls common_setup and common_teardown if it has its own.
#
# `run` and `||` switch errexit off in what they call, so steps of a helper that may fail end in `|| return`. Where that
# was forgotten, the test fails at its end: an assertion that failed outside of `run` and subshells is never forgiven.
# bats's own `skip` is not used: what a test needs is there (`require`), or the test fails.

bats_require_minimum_version 1.5.0

ROOT=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
P2PTLS_BUILD=$(cd "$ROOT" && realpath -m "${P2PTLS_BUILD:-build}")
PROGRAMS=$P2PTLS_BUILD/tests/programs
LIBRARY=$P2PTLS_BUILD/libp2ptls.so
PYTHON=/usr/bin/python3
DEADLINE=60 # seconds; a bound for hangs, never reached when things work, however slow the machine
export P2PTLS_BUILD PROGRAMS LIBRARY PYTHON

setup() { common_setup; }
teardown() { common_teardown; }

# Each test has its own identity, and nothing of the caller's configuration.
common_setup() {
    local name
    for name in "${!P2PTLS_@}"; do
        [ "$name" = P2PTLS_BUILD ] || unset "$name"
    done
    unset SSLKEYLOGFILE
    export LC_ALL=C
    export XDG_STATE_HOME=$BATS_TEST_TMPDIR/state
    mkdir -m 700 "$XDG_STATE_HOME"
    export XDG_CONFIG_HOME=$BATS_TEST_TMPDIR/config
    STARTED=()
    FORGOTTEN=
    define_p2p
}

common_teardown() {
    local forgotten=${FORGOTTEN:-}
    stop_all
    [ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs
    [ -z "$forgotten" ] || [ -z "${BATS_TEST_COMPLETED:-}" ] ||
        fail 'the test went on after an assertion that had failed:' "$forgotten"
}

# ---- assertions ------------------------------------------------------------------------------------------------------

fail() { # MESSAGE
    printf '%s\n' "$@" >&2
    FORGOTTEN+=$*$'\n'
    return 1
}

assert_equal() { # ACTUAL EXPECTED [WHAT]
    [ "$1" = "$2" ] || fail "${3:-value} differs" "  expected: $2" "  actual:   $1"
}

assert_contains() { # TEXT PART
    [[ $1 == *"$2"* ]] || fail "part is missing" "  expected to contain: $2" "  actual: $1"
}

refute_contains() { # TEXT PART
    [[ $1 != *"$2"* ]] || fail "part should not be there" "  expected to be without: $2" "  actual: $1"
}

assert_matches() { # TEXT EXTENDED-REGEX
    [[ $1 =~ $2 ]] || fail "text does not match" "  expected to match: $2" "  actual: $1"
}

assert_at_least() { # ACTUAL MINIMUM [WHAT]
    [ "$1" -ge "$2" ] || fail "${3:-number} is too small" "  expected at least: $2" "  actual: $1"
}

assert_at_most() { # ACTUAL MAXIMUM [WHAT]
    [ "$1" -le "$2" ] || fail "${3:-number} is too large" "  expected at most: $2" "  actual: $1"
}

# After bats's `run`:
assert_status() { # EXPECTED
    # shellcheck disable=SC2154 # status and output are set by run
    [ "$status" -eq "$1" ] || fail "exit status differs" "  expected: $1" "  actual:   $status" "  output: $output"
}

assert_output() { # EXPECTED, the whole of it
    assert_equal "$output" "$1" "output"
}

assert_output_has() { # PART
    assert_contains "$output" "$1"
}

assert_output_without() { # PART
    refute_contains "$output" "$1"
}

assert_same_file() { # FILE FILE
    cmp "$1" "$2" || fail "files differ" "  $(sha256sum "$1")" "  $(sha256sum "$2")"
}

require() { # COMMAND...: a missing tool fails the test; tools/check installs them all
    local command
    for command; do
        [ -n "$(type -P "$command")" ] || [ -x "/usr/sbin/$command" ] ||
            fail "$command is not installed: run tools/check" || return
    done
}

# ---- waiting ---------------------------------------------------------------------------------------------------------

# The only sleep in the tests: between two looks at a condition.
wait_until() { # CONDITION (evaluated) [SECONDS]
    local end=$((SECONDS + ${2:-$DEADLINE}))
    until eval "$1"; do
        [ $SECONDS -lt $end ] || fail "gave up waiting" "  until: $1" || return
        sleep 0.02
    done
}

# Looks into the kernel's tables: a connection made to find out would be one that the test did not ask for.
port_is_open() { # PORT
    local hex
    printf -v hex '%04X' "$1"
    grep -Eq "^ *[0-9]+: [0-9A-F]+:$hex [0-9A-F]+:0000 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

wait_for_port() { # PORT [NAME of the started process, which must not end meanwhile]
    wait_until "port_is_open $1 || ! is_running '${2:-}'"
    port_is_open "$1" || fail "$2 ended before it listened on port $1"
}

wait_for_log() { # NAME TEXT: until a started program has written a text
    wait_until "grep -aqF -- $(printf %q "$2") $(printf %q "$(log_of "$1")") || ! is_running '$1'"
    grep -aqF -- "$2" "$(log_of "$1")" || fail "$1 ended without writing: $2" "$(tail -n 20 "$(log_of "$1")")"
}

# A port that was free a moment ago, for programs that cannot bind port 0 and say what they got. The kernel goes round
# its range, so another process is unlikely to get the same one before the caller binds it.
free_port() {
    "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# ---- programs under the library --------------------------------------------------------------------------------------

# P2P is the prefix of a command that runs under the library. A sanitizer's runtime must be the first of all libraries.
define_p2p() {
    local preload=$LIBRARY
    if nm -D "$LIBRARY" 2>/dev/null | grep -q ' U __asan_init'; then
        preload=$(gcc -print-file-name=libasan.so):$preload
        # Leaks of the programs are not ours; the unit tests look for ours.
        export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0:abort_on_error=1}
    elif nm -D "$LIBRARY" 2>/dev/null | grep -q ' U __tsan_init'; then
        preload=$(gcc -print-file-name=libtsan.so):$preload
        export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}
    fi
    P2P=(env "LD_PRELOAD=$preload${LD_PRELOAD:+:$LD_PRELOAD}")
}

p2p() { # COMMAND...
    "${P2P[@]}" "$@"
}

policy() { # STATEMENT...
    local IFS=$'\n'
    export P2PTLS_POLICY="$*"
}

# ---- background processes --------------------------------------------------------------------------------------------

log_of() { # NAME
    printf '%s\n' "$BATS_TEST_TMPDIR/$1.log"
}

# start NAME [p2p] COMMAND...: output goes to log_of NAME. Each gets a session of its own, so that what it forks can be
# stopped with it, by process group. Descriptor 3 is bats's; a process that kept it would make bats wait.
start() {
    local name=$1
    shift
    [ "$1" != p2p ] || set -- "${P2P[@]}" "${@:2}"
    : >"$(log_of "$name")" # at once, or what an earlier program of this name wrote could be taken for its
    setsid "$@" >"$(log_of "$name")" 2>&1 </dev/null 3>&- &
    printf -v "PID_$name" '%s' $!
    STARTED+=("$name")
}

pid_of() { # NAME
    local variable=PID_$1
    printf '%s\n' "${!variable}"
}

is_running() { # NAME; no name: nothing to watch, so yes
    [ -z "$1" ] || kill -0 "$(pid_of "$1")" 2>/dev/null
}

# Waits for a started program to end by itself; its exit status is the result.
finish() { # NAME
    local pid
    pid=$(pid_of "$1")
    wait_until "! kill -0 $pid 2>/dev/null" || return
    wait "$pid"
}

stop() { # NAME [SIGNAL]
    kill "-${2:-TERM}" "$(pid_of "$1")" 2>/dev/null || :
    finish "$1" || :
}

# Zombies do not count: their parent may be a process that never waits.
group_is_gone() { # PID of its leader
    # shellcheck disable=SC2009 # pgrep counts zombies
    ! ps -eo pgid=,stat= | grep -Eq "^ *$1 +[^Z]"
}

stop_all() {
    local name pid
    for name in "${STARTED[@]}"; do
        pid=$(pid_of "$name")
        kill -TERM -- "-$pid" 2>/dev/null || continue
        (wait_until "group_is_gone $pid" 5) 2>/dev/null || kill -KILL -- "-$pid" 2>/dev/null || :
        wait "$pid" 2>/dev/null || :
    done
    STARTED=()
}

show_logs() {
    local log
    for log in "$BATS_TEST_TMPDIR"/*.log; do
        [ -s "$log" ] || continue
        printf -- '---- %s (last lines)\n' "${log##*/}"
        tail -n 20 "$log"
    done
}

# ---- the wire --------------------------------------------------------------------------------------------------------

# Records what goes over loopback to and from a port; tcpdump needs root. The large buffer is for bulk transfers. Not in
# tcpdump's immediate mode: there each packet, however small, takes a slot for the largest (64 KiB on loopback), and a
# thousand packets that tcpdump had no time for yet fill the buffer.
capture_start() { # PORT
    require tcpdump || return
    CAPTURE=$BATS_TEST_TMPDIR/wire.pcap
    CAPTURE_PORT=$1
    start tcpdump tcpdump -i lo -Z root -U -B 65536 -s 0 -w "$CAPTURE" "port $1"
    wait_for_log tcpdump 'listening on lo'
}

# A datagram sent last shows, by arriving in the file, that all before it has arrived: within a second, the time after
# which the kernel hands over what does not fill a block of the buffer.
capture_stop() {
    local marker="end-of-capture-$BASHPID-$RANDOM"
    printf '%s' "$marker" >"/dev/udp/127.0.0.1/$CAPTURE_PORT"
    wait_until "grep -aqF '$marker' '$CAPTURE'" || return
    stop tcpdump INT
    grep -q '^0 packets dropped by kernel' "$(log_of tcpdump)" ||
        fail "the capture is not complete" "$(cat "$(log_of tcpdump)")"
}

assert_wire_has() { # TEXT
    grep -aqF -- "$1" "$CAPTURE" ||
        fail "the wire does not hold the text" "  expected: $1" "  in: $(stat -c '%s bytes' "$CAPTURE")"
}

# Only after something has been recorded: an empty file holds no plaintext either.
assert_wire_without() { # TEXT
    assert_at_least "$(stat -c %s "$CAPTURE")" 200 "size of the capture" || return
    ! grep -aqF -- "$1" "$CAPTURE" || fail "the wire holds the text" "  should not be there: $1"
}
