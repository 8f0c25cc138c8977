# shellcheck shell=bash
# shellcheck disable=SC2154 # BATS_TEST_TMPDIR; MARKER and others are set by other helpers
# Recipes of docs/RECIPES.md as they stand there. A recipe is a section; each of its blocks of shell says in its first
# line on which host it runs (`# on alpha`). A host is a network, mount, process and name space with p2ptls installed,
# with an /etc, /root, /var, /run and /srv of its own and an sshd, so that `ssh` and `scp` between hosts are the real
# ones. What goes between hosts is recorded. Load after helpers, network_helpers, policy_helpers and real_helpers. Needs
# root.

RECIPES=$ROOT/docs/RECIPES.md
RECORDED='ip and not port 22' # what of the traffic between the hosts, as tcpdump's filter
FLEET_NAMES=(alpha beta gamma delta epsilon zeta eta theta iota kappa) # 10.0.0.1 to 10.0.0.10
declare -gA HOST_ADDRESS=()
for ((i = 0; i < 10; i++)); do
    HOST_ADDRESS[${FLEET_NAMES[i]}]=10.0.0.$((i + 1))
done

# ---- what lasts for a file of tests ----------------------------------------------------------------------------------

recipes_prepare() {
    local host
    require ip sshd ssh ssh-keygen tcpdump || return
    make_etc || return
    FLEET=$(mktemp -d) && chmod 755 "$FLEET" || return
    make -s -C "$ROOT" BUILD="$P2PTLS_BUILD" DESTDIR="$FLEET/stage" install >/dev/null || return
    printf 'hosts: files\npasswd: files\ngroup: files\nshadow: files\n' >"$ETC/nsswitch.conf"
    printf '127.0.0.1 localhost\n' >"$ETC/hosts"
    for host in "${FLEET_NAMES[@]}"; do
        printf '%s %s\n' "${HOST_ADDRESS[$host]}" "$host" >>"$ETC/hosts"
    done
    sed -i 's/^root:[^:]*:/root:*:/' "$ETC/shadow"
    mkdir -p "$FLEET/ssh" "$ETC/ssh" || return
    ssh-keygen -q -t ed25519 -N '' -f "$FLEET/ssh/id_ed25519" && cp "$FLEET/ssh/id_ed25519" "$ETC/ssh/host_key" ||
        return
    cp "$FLEET/ssh/id_ed25519.pub" "$FLEET/ssh/authorized_keys"
    printf '%s\n' 'HostKey /etc/ssh/host_key' 'UsePAM no' 'PermitRootLogin prohibit-password' 'PidFile none' \
        'Subsystem sftp internal-sftp' >"$ETC/ssh/sshd_config"
    printf 'StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel error\n' >"$ETC/ssh/ssh_config"
    rm -rf "$ETC/ssh/sshd_config.d" "$ETC/ssh/ssh_config.d"
    export FLEET ETC
}

recipes_remove() {
    rm -rf "$FLEET"
    remove_etc
}

recipe_setup() {
    common_setup
    HOSTS=()
}

recipe_teardown() { # [COMMAND]: what else goes with the hosts
    fleet_down
    common_teardown || return
    "${@:-:}"
    network_down
}

# ---- hosts -----------------------------------------------------------------------------------------------------------

# The bound /usr/local is what `make install` made, so no other program from there is seen.
# shellcheck disable=SC2016 # for the inner shell
HOST_SCRIPT='
mount -t tmpfs -o mode=755 none "$2" && mkdir -m 700 "$2/root" "$2/root/.ssh" && mkdir "$2/var" "$2/run" "$2/srv" &&
    cp -a "$1" "$2/etc" && cp "$3"/ssh/* "$2/root/.ssh/" && mkdir -p "$2/run/sshd" "$2/var/lib" "$2/var/log" &&
    mkdir -m 1777 "$2/var/tmp" && ln -s /run "$2/var/run" || exit
for folder in etc root var run srv; do
    mount --bind "$2/$folder" /$folder || exit
done
mount --bind "$3/stage/usr/local" /usr/local && hostname "$4" && /usr/sbin/sshd && echo ready && exec sleep 1000'

# Starts host_NAME, whose one child is the first process of the host. Suites with hosts of another kind have their own.
host_begins() { # HOST
    mkdir -p "$FLEET/$1"
    start "host_$1" ip netns exec "$NETWORK-$1" unshare -m -u -p -f --mount-proc --kill-child \
        --propagation private sh -c "$HOST_SCRIPT" sh "$ETC" "$FLEET/$1" "$FLEET" "$1"
    wait_for_log "host_$1" ready
}

fleet_up() { # HOST...
    local host
    network_up switch "$@" || return
    ip -n "$NETWORK-switch" link add name bridge type bridge && ip -n "$NETWORK-switch" link set bridge up || return
    for host; do
        ip -n "$NETWORK-switch" link add name "$host" type veth peer name eth0 netns "$NETWORK-$host" &&
            ip -n "$NETWORK-switch" link set "$host" master bridge up &&
            ip -n "$NETWORK-$host" addr add "${HOST_ADDRESS[$host]}/24" dev eth0 &&
            ip -n "$NETWORK-$host" link set eth0 up || return
        host_begins "$host" || return
    done
    CAPTURE=$BATS_TEST_TMPDIR/wire.pcap
    on_host switch
    start tcpdump "${ON[@]}" tcpdump -i bridge -Z root -U -B 65536 -s 0 -w "$CAPTURE" "$RECORDED"
    wait_for_log tcpdump 'listening on bridge'
}

# With the first process of its name space all others of a host end; it takes no SIGTERM.
fleet_down() {
    local host
    for host in "${HOSTS[@]:1}"; do # the first one is the switch
        pkill -KILL -P "$(pid_of "host_$host")" || :
    done
}

# Sets IN, the prefix of a command that root runs on a host.
in_host() { # HOST
    local init
    init=$(pgrep -P "$(pid_of "host_$1")") || fail "host $1 is gone" || return
    IN=(nsenter -t "$init" -m -u -n -p env -i -C /root HOME=/root LC_ALL=C
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
}

on() { # HOST COMMAND...
    in_host "$1" && "${IN[@]}" "${@:2}" </dev/null 3>&-
}

listens() { # HOST PORT
    local hex
    printf -v hex '%04X' "$2"
    on "$1" grep -Eqsh "^ *[0-9]+: [0-9A-F]+:$hex [0-9A-F]+:0000 0A" /proc/net/tcp /proc/net/tcp6
}

wait_for_listener() { # HOST PORT
    wait_until "listens $1 $2"
}

# ---- recipes ---------------------------------------------------------------------------------------------------------

# Takes a section apart: its blocks of shell become files with a number.
recipe() { # TITLE HOST...
    BLOCKS=$BATS_TEST_TMPDIR/blocks
    STEP=0
    mkdir -p "$BLOCKS" || return
    awk -v title="## $1" -v folder="$BLOCKS" '
        /^## / { inside = $0 == title; next }
        inside && /^```sh$/ { file = folder "/" ++count; block = 1; next }
        block && /^```$/ { block = 0; close(file); next }
        block { print >file }' "$RECIPES"
    [ -e "$BLOCKS/1" ] || fail "$RECIPES has no recipe: $1" || return
    fleet_up "${@:2}"
}

# Runs the next block. SAID is what it printed, without what it said on standard error.
step() {
    local host status=0
    STEP=$((STEP + 1))
    [ -e "$BLOCKS/$STEP" ] || fail "the recipe has no block $STEP" || return
    host=$(sed -n '1s/^# on \([a-z]*\)$/\1/p' "$BLOCKS/$STEP")
    in_host "$host" || return
    "${IN[@]}" bash -e -u -o pipefail -c "$(<"$BLOCKS/$STEP")" </dev/null >"$BATS_TEST_TMPDIR/step.out" \
        2>"$BATS_TEST_TMPDIR/step.log" 3>&- || status=$?
    SAID=$(<"$BATS_TEST_TMPDIR/step.out")
    ERRORS=$(<"$BATS_TEST_TMPDIR/step.log")
    assert_equal "$status" 0 "status of block $STEP" || fail "$(<"$BLOCKS/$STEP")" "$SAID" "$ERRORS"
}

steps() { # COUNT
    local i
    for ((i = 0; i < $1; i++)); do
        step || return
    done
}

# Every block was run, and the recording is complete.
recipe_ends() {
    local marker="end-of-capture-$BASHPID-$RANDOM"
    assert_equal "$STEP" "$(find "$BLOCKS" -type f | wc -l)" 'blocks that were run' || return
    # shellcheck disable=SC2016 # for the inner shell
    on alpha bash -c 'printf %s "$1" >/dev/udp/10.0.0.2/9' bash "$marker"
    wait_until "grep -aqF '$marker' '$CAPTURE'" || return
    stop tcpdump INT
}

# Of what went over the switch, the part that a filter of tcpdump takes.
assert_wire_between_without() { # TEXT FILTER
    tcpdump -r "$CAPTURE" -w "$CAPTURE.part" "$2" 2>/dev/null || fail "no such part: $2" || return
    CAPTURE=$CAPTURE.part assert_wire_without "$1"
}
