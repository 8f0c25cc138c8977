# shellcheck shell=bash
# shellcheck disable=SC2154,SC2153 # NETWORK, ON, ETC and MARKER are set by other helpers
# Three hosts on one switch, each with a user, a policy in /etc/p2ptls and a home of its own; what goes over the switch
# is recorded. alice and bob want to talk; mallory has no business there. Load after helpers, network_helpers,
# policy_helpers, tls_helpers and real_helpers. Needs root.

HOST_NAMES=(alice bob mallory)
declare -gA USER_OF=([alice]=anna [bob]=bert [mallory]=mo)
declare -gA ADDRESS_OF=([alice]=10.9.0.1 [bob]=10.9.0.2 [mallory]=10.9.0.3)
PORT=7000 # each host has ports of its own
RUN=(p2ptls run --)

# ---- what lasts for a file of tests ----------------------------------------------------------------------------------

# Other users may enter WORLD, which bats's own folders do not allow. The launcher finds the library beside it.
world_make() {
    make_etc || return
    WORLD=$(mktemp -d) && chmod 755 "$WORLD" && mkdir -p "$WORLD/bin" "$WORLD/lib/p2ptls" || return
    install -m 755 "$ROOT/tools/p2ptls" "$ROOT/tools/p2ptls-check" "$WORLD/bin/" &&
        install -m 755 "$LIBRARY" "${LIBRARY%.so}-core.so" "${LIBRARY%/*}/p2ptls-tool" "$WORLD/lib/p2ptls/" || return
    printf 'hosts: files\npasswd: files\ngroup: files\n' >"$ETC/nsswitch.conf"
    printf '127.0.0.1 localhost\n' >"$ETC/hosts"
    local host id=54321
    for host in "${HOST_NAMES[@]}"; do
        printf '%s:x:%s:%s::%s:/bin/sh\n' "${USER_OF[$host]}" $id $id "$WORLD/$host/home" >>"$ETC/passwd"
        printf '%s:x:%s:\n' "${USER_OF[$host]}" $id >>"$ETC/group"
        printf '%s %s.test\n' "${ADDRESS_OF[$host]}" "$host" >>"$ETC/hosts"
        id=$((id + 1))
    done
    export WORLD ETC
}

world_remove() {
    rm -rf "$WORLD"
    remove_etc
}

# ---- what each test has of its own -----------------------------------------------------------------------------------

hosts_up() {
    local host id
    network_up switch "${HOST_NAMES[@]}" || return
    ip -n "$NETWORK-switch" link add name bridge type bridge && ip -n "$NETWORK-switch" link set bridge up || return
    for host in "${HOST_NAMES[@]}"; do
        ip -n "$NETWORK-switch" link add name "$host" type veth peer name eth netns "$NETWORK-$host" &&
            ip -n "$NETWORK-switch" link set "$host" master bridge up &&
            ip -n "$NETWORK-$host" addr add "${ADDRESS_OF[$host]}/24" dev eth &&
            ip -n "$NETWORK-$host" link set eth up || return
        id=$(user_id "$host")
        rm -rf "${WORLD:?}/$host"
        mkdir -p "$WORLD/$host/policy" && install -d -m 700 -o "$id" -g "$id" "$WORLD/$host/home" || return
        printf '%s from %s\n' "$MARKER" "$host" >"$WORLD/$host/words"
    done
}

user_id() { # HOST
    sed -n "s/^${USER_OF[$1]}:x:\([0-9]*\):.*/\1/p" "$ETC/passwd"
}

# Sets AT, the prefix of a command that the user of a host runs there.
at() { # HOST
    on_host "$1"
    # shellcheck disable=SC2016 # for the inner shell
    AT=("${ON[@]}" unshare -m --propagation private sh -c
        'mount --bind "$1" /etc && mount --bind "$2" /etc/p2ptls && shift 2 && exec "$@"' sh "$ETC" "$WORLD/$1/policy"
        setpriv "--reuid=${USER_OF[$1]}" "--regid=${USER_OF[$1]}" --init-groups --reset-env
        env -C "$WORLD/$1/home" "PATH=$WORLD/bin:/usr/bin:/bin" LC_ALL=C
        "P2PTLS_LOG=info:$WORLD/$1/home/p2ptls.log")
}

# The policy of a host, for what it dials and what it accepts, written by its administrator.
rules() { # HOST OPTIONS
    printf 'any 10.9.0.0/24:* %s\n' "$2" >"$WORLD/$1/policy/fleet.conf"
}

# A file that the user of a host owns, and nobody else may read.
give() { # FILE HOST NAME: sets GIVEN
    GIVEN=$WORLD/$2/home/$3
    install -m 600 -o "$(user_id "$2")" "$1" "$GIVEN"
}

library_log_of() { # HOST
    cat "$WORLD/$1/home/p2ptls.log" 2>/dev/null || :
}

# ---- conversations ---------------------------------------------------------------------------------------------------

# One host dials another, under a name. socat on both ends says its words at once and writes down what it hears.
converse() { # DIALLER ACCEPTOR [NAME, by default the acceptor's]
    local host
    for host in "$1" "$2"; do
        rm -f "$WORLD/$host/home/p2ptls.log" "$WORLD/$host/home/heard"
    done
    at "$2"
    start acceptor "${AT[@]}" "${RUN[@]}" socat -d -d -t 60 "TCP-LISTEN:$PORT,reuseaddr" \
        "OPEN:$WORLD/$2/words!!OPEN:heard,creat,trunc"
    wait_for_log acceptor 'listening on' || return
    at "$1"
    start dialler "${AT[@]}" "${RUN[@]}" socat -d -d -t 60 "TCP:${3:-$2.test}:$PORT" \
        "OPEN:$WORLD/$1/words!!OPEN:heard,creat,trunc"
    finish dialler || : # socat says by its status how its connection ended
    finish acceptor || :
}

heard_by() { # HOST
    cat "$WORLD/$1/home/heard" 2>/dev/null || :
}

assert_each_heard_the_other() { # HOST HOST
    assert_equal "$(heard_by "$1")" "$MARKER from $2" "what $1 heard" || return
    assert_equal "$(heard_by "$2")" "$MARKER from $1" "what $2 heard"
}

# Not a byte came to either program.
assert_nobody_heard_a_byte() { # HOST HOST
    assert_equal "$(heard_by "$1")" '' "what $1 heard" || return
    assert_equal "$(heard_by "$2")" '' "what $2 heard"
}

# The same step for each pair of roles that dialler and acceptor can have; what fails says with which.
in_each_role() { # FUNCTION [ARGS]...: is given the dialler's role options and the acceptor's as its last arguments
    local of_dialler of_acceptor
    while IFS='|' read -r of_dialler of_acceptor; do
        "$@" "$of_dialler" "$of_acceptor" </dev/null ||
            fail "dialler with $of_dialler, acceptor with $of_acceptor" || return
    done <<END
role=client|role=server
role=server|role=client
role=peer prefer=client|role=peer prefer=server
role=peer prefer=server|role=peer prefer=client
END
}

# Which TLS role the logs say that the two ends had: they must be opposite, and those that the options fix.
assert_roles() { # DIALLER ACCEPTOR OPTIONS-OF-DIALLER
    local dialled accepted
    dialled=$(library_log_of "$1" | sed -n 's/.* connected to .* as \(client\|server\), TLS_.*/\1/p')
    accepted=$(library_log_of "$2" | sed -n 's/.* accepted from .* as \(client\|server\), TLS_.*/\1/p')
    assert_matches "$dialled/$accepted" '^(client/server|server/client)$' || return
    case $3 in
    *=client*) assert_equal "$dialled" client "TLS role of $1" ;;
    *=server*) assert_equal "$dialled" server "TLS role of $1" ;;
    esac
}

# ---- an attacker's moves ---------------------------------------------------------------------------------------------

# mallory answers under the address of another host, whose cable is cut.
take_address_of() { # HOST
    ip -n "$NETWORK-switch" link set "$1" down
    ip -n "$NETWORK-mallory" addr add "${ADDRESS_OF[$1]}/24" dev eth
    forget_neighbours
}

give_address_back() { # HOST
    ip -n "$NETWORK-mallory" addr del "${ADDRESS_OF[$1]}/24" dev eth
    ip -n "$NETWORK-switch" link set "$1" up
    forget_neighbours
}

forget_neighbours() {
    local host
    for host in "${HOST_NAMES[@]}"; do
        ip -n "$NETWORK-$host" neigh flush all 2>/dev/null
    done
}

# ---- the wire between them -------------------------------------------------------------------------------------------

switch_capture_start() {
    require tcpdump || return
    CAPTURE=$BATS_TEST_TMPDIR/wire.pcap
    on_host switch
    start tcpdump "${ON[@]}" tcpdump -i bridge -Z root -U -B 65536 -s 0 -w "$CAPTURE" ip
    wait_for_log tcpdump 'listening on bridge'
}

# A datagram sent last shows, by arriving in the file, that all before it has arrived.
switch_capture_stop() {
    local marker="end-of-capture-$BASHPID-$RANDOM"
    on_host alice
    # shellcheck disable=SC2016 # for the inner shell
    "${ON[@]}" bash -c 'printf %s "$1" >"/dev/udp/$2/9"' bash "$marker" "${ADDRESS_OF[bob]}"
    wait_until "grep -aqF '$marker' '$CAPTURE'" || return
    stop tcpdump INT
    grep -q '^0 packets dropped by kernel' "$(log_of tcpdump)" ||
        fail "the capture is not complete" "$(cat "$(log_of tcpdump)")"
}
