#!/usr/bin/env bats
# README's way from nothing to two hosts, as it stands there, on two bare systems of Debian 12 that debootstrap makes.

load ../helpers
load ../network_helpers
load ../policy_helpers
load ../real_helpers
load ../recipe_helpers
load ../booted_helpers

# bats file_tags=unsanitized

# Where the hosts find what the world has for them: the packages of Debian, by the mirror that this machine uses, and
# the repository of README's `git clone`.
WORLD_ADDRESS=10.0.0.254

# Sets MIRROR, its HOST and its PORT, from the sources of apt on this machine.
find_mirror() {
    # shellcheck disable=SC2016 # apt's own variables
    MIRROR=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        sed -n 's/ Debian bookworm main$//p' | head -n 1)
    [[ $MIRROR =~ ^(https?)://([^/:]+)(:([0-9]+))?/ ]] ||
        fail "apt on this machine has no mirror of bookworm that is reached by HTTP: '$MIRROR'" || return
    MIRROR_HOST=${BASH_REMATCH[2]}
    MIRROR_PORT=${BASH_REMATCH[4]:-$([ "${BASH_REMATCH[1]}" = http ] && echo 80 || echo 443)}
}

setup() {
    common_setup
    HOSTS=()
    require debootstrap systemd-nspawn socat ip git tcpdump || return
    FLEET=$(mktemp -d) && chmod 755 "$FLEET" || return
    find_mirror || return
    git clone -q --bare "$ROOT" "$FLEET/p2ptls.git" || return
    debootstrap --variant=minbase bookworm "$FLEET/alpha" "$MIRROR" >"$(log_of debootstrap)" 2>&1
    cp -a "$FLEET/alpha" "$FLEET/beta"
    make_acquainted
}

teardown() {
    local status=0
    fleet_down
    common_teardown || status=$?
    booted_tidy
    network_down
    rm -rf "$FLEET"
    return $status
}

# What README takes for granted: hosts know the names of others, and root of alpha reaches beta by ssh. On beta that is
# openssh-server, and the only thing that is put on top of what debootstrap made.
make_acquainted() {
    local host
    for host in alpha beta; do
        printf '%s\n' '127.0.0.1 localhost' '10.0.0.1 alpha' '10.0.0.2 beta' "$WORLD_ADDRESS $MIRROR_HOST" \
            >"$FLEET/$host/etc/hosts" || return
        mkdir -m 700 "$FLEET/$host/root/.ssh" || return
    done
    ssh-keygen -q -t ed25519 -N '' -f "$FLEET/alpha/root/.ssh/id_ed25519" || return
    cp "$FLEET/alpha/root/.ssh/id_ed25519.pub" "$FLEET/beta/root/.ssh/authorized_keys" || return
    printf 'StrictHostKeyChecking accept-new\nLogLevel error\n' >"$FLEET/alpha/root/.ssh/config"
    printf '[url "file:///srv/p2ptls.git"]\n\tinsteadOf = https://git.example/p2ptls\n[safe]\n\tdirectory = *\n' \
        >"$FLEET/alpha/etc/gitconfig"
    mv "$FLEET/p2ptls.git" "$FLEET/alpha/srv/"
}

# Instead of a host that boots: there is no systemd on a bare system.
host_begins() { # HOST
    start "host_$1" "${NSPAWN[@]}" -D "$FLEET/$1" --machine="$NETWORK-$1" --hostname="$1" \
        --network-namespace-path="/run/netns/$NETWORK-$1" --as-pid2 sh -c 'echo ready; exec sleep infinity'
    wait_for_log "host_$1" ready
}

# The mirror has an address on the switch, and one process on each side of the border takes bytes over it.
world_begins() {
    ip -n "$NETWORK-switch" addr add "$WORLD_ADDRESS/24" dev bridge || return
    on_host switch
    start mirror socat -d -d "UNIX-LISTEN:$FLEET/mirror,fork" "TCP:$MIRROR_HOST:$MIRROR_PORT"
    wait_for_log mirror 'listening on' || return
    start border "${ON[@]}" socat -d -d "TCP-LISTEN:$MIRROR_PORT,fork,reuseaddr" "UNIX-CONNECT:$FLEET/mirror"
    wait_for_log border 'listening on'
}

# Commands of all blocks: each is a line of its own.
count_commands() {
    local lines
    lines=$(grep -hv '^#' "$BLOCKS"/*)
    refute_contains "$lines" '&&' || return
    refute_contains "$lines" ';' || return
    refute_contains "$lines" \\ || return
    wc -l <<<"$lines"
}

@test "README leads from two bare systems to a protected redis in under 15 commands" {
    local commands begin
    RECIPES=$ROOT/README.md
    RECORDED='tcp portrange 7000-7001 or udp port 9'
    recipe 'From nothing to two hosts' alpha beta
    world_begins
    on beta sh -c 'apt-get -q update && apt-get -q -y install openssh-server && mkdir -p /run/sshd && /usr/sbin/sshd' \
        >"$(log_of ssh_of_beta)" 2>&1
    commands=$(count_commands)
    assert_contains "$(<"$RECIPES")" 'Twelve commands'
    assert_equal "$commands" 12 'commands in README'

    begin=$SECONDS
    step
    wait_for_listener alpha 7000
    step
    assert_matches "$SAID" $'\nOK$'
    echo "# $commands commands took $((SECONDS - begin)) s" >&3

    assert_contains "$ERRORS" 'connected to 10.0.0.1:7000 as '
    # Without the key, and without the library.
    run on beta timeout 60 redis-cli -h alpha -p 7000 get greeting
    assert_output_without hello
    run on beta timeout 60 p2ptls run -r 'connect *:7000 auth=insecure-none' -- redis-cli -h alpha -p 7000 get greeting
    assert_output_without hello
    local rule='connect *:7000 psk=/root/psk'
    assert_equal "$(on beta p2ptls run -r "$rule" -- redis-cli -h alpha -p 7000 get greeting)" hello
    # The same without the library is there to read.
    on alpha redis-server --port 7001 --protected-mode no --save '' --daemonize yes >/dev/null
    wait_for_listener alpha 7001
    assert_equal "$(on beta redis-cli -h alpha -p 7001 set parting "$MARKER")" OK
    recipe_ends
    assert_wire_has "$MARKER"
    assert_wire_between_without hello 'port 7000'
}
