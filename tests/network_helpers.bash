# shellcheck shell=bash
# Hosts that are network namespaces of the test, joined by virtual cables. Needs root. Load after helpers; call
# network_down in teardown.

network_up() { # HOST...
    require ip nft || return
    NETWORK=p2p$$
    HOSTS=("$@")
    local host
    for host; do
        ip netns add "$NETWORK-$host" && ip -n "$NETWORK-$host" link set lo up || return
    done
}

network_down() {
    local host
    for host in "${HOSTS[@]}"; do
        ip netns del "$NETWORK-$host" || :
    done
    HOSTS=()
}

cable() { # HOST INTERFACE ADDRESS/PREFIX HOST INTERFACE ADDRESS/PREFIX
    ip -n "$NETWORK-$1" link add name "$2" type veth peer name "$5" netns "$NETWORK-$4" || return
    ip -n "$NETWORK-$1" addr add "$3" dev "$2" && ip -n "$NETWORK-$1" link set "$2" up || return
    ip -n "$NETWORK-$4" addr add "$6" dev "$5" && ip -n "$NETWORK-$4" link set "$5" up
}

route() { # HOST VIA
    ip -n "$NETWORK-$1" route add default via "$2"
}

# The prefix of a command that runs on a host.
# shellcheck disable=SC2034 # used by suites
on_host() { # HOST
    ON=(ip netns exec "$NETWORK-$1")
}

# A home router: inside may open connections to outside, under the router's address and the same port where that is
# free; what nobody inside has asked for is dropped without an answer.
home_router() { # HOST INSIDE-INTERFACE OUTSIDE-INTERFACE
    on_host "$1"
    "${ON[@]}" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward' || return
    "${ON[@]}" nft -f - <<RULES
table ip nat {
    chain out {
        type nat hook postrouting priority srcnat;
        oifname "$3" masquerade;
    }
}
table ip filter {
    chain through {
        type filter hook forward priority filter; policy drop;
        iifname "$2" accept;
        ct state established,related accept;
    }
    chain to_router {
        type filter hook input priority filter; policy drop;
        iifname "$2" accept;
        ct state established,related accept;
    }
}
RULES
}
