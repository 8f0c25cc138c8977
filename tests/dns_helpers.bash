# shellcheck shell=bash
# A resolver that validates DNSSEC, on loopback of a network namespace of the test, and zones of ours behind it:
#
#   dane.test      signed, and trusted; the A record of each name is 127.0.0.1
#   broken.test    the same, signed with other digests in it: to the resolver its records are forged
#   unsigned.test  not signed
#
# Needs root. Load after helpers and network_helpers.

turn_digits() { # FROM TO FILE: in the digests of TLSA records
    sed -i -E "/[[:space:]]TLSA[[:space:]]+3 1 1 / { h; s/.* //; y/$1/$2/; x; s/[^ ]+\$//; G; s/\n// }" "$3"
}

# Makes the zones: once for a suite. Records are lines of dane.test, "NAME TLSA 3 1 1 ...".
make_zones() { # DIR RECORD...
    require ldns-keygen ldns-signzone unbound || return
    local dir=$1 zone
    shift
    mkdir -p "$dir" || return
    for zone in dane broken unsigned; do
        {
            printf "\$ORIGIN %s.test.\n\$TTL 60\n" "$zone"
            printf '@ SOA ns.%s.test. admin.%s.test. 1 3600 600 86400 60\n@ NS ns\n' "$zone" "$zone"
            printf '* A 127.0.0.1\nns A 127.0.0.1\n'
            printf '%s\n' "$@"
        } >"$dir/$zone.zone"
    done
    turn_digits 0123456789abcdef 123456789abcdef0 "$dir/broken.zone" || return
    for zone in dane broken; do
        (cd "$dir" && key=$(ldns-keygen -a ECDSAP256SHA256 -k "$zone.test") &&
            ldns-signzone -n -f "$zone.signed" "$zone.zone" "$key" && mv "$key.key" "$zone.anchor") >"$dir/log" 2>&1 ||
            fail "$(cat "$dir/log")" || return
    done
    turn_digits 123456789abcdef0 0123456789abcdef "$dir/broken.signed" || return
    cat >"$dir/unbound.conf" <<CONF
server:
    directory: "$dir"
    username: ""
    chroot: ""
    pidfile: ""
    use-syslog: no
    verbosity: 1
    val-log-level: 2
    do-daemonize: no
    interface: 127.0.0.1
    interface: 10.9.9.9
    access-control: 0.0.0.0/0 allow
    do-not-query-localhost: no
    harden-below-nxdomain: no
    local-zone: "test." nodefault
    trust-anchor-file: "$dir/dane.anchor"
    trust-anchor-file: "$dir/broken.anchor"
    module-config: "validator iterator"
auth-zone:
    name: dane.test
    zonefile: "$dir/dane.signed"
    for-downstream: no
auth-zone:
    name: broken.test
    zonefile: "$dir/broken.signed"
    for-downstream: no
auth-zone:
    name: unsigned.test
    zonefile: "$dir/unsigned.zone"
    for-downstream: no
CONF
}

# Starts the resolver in a namespace; IN_NET is then the prefix of a command that runs there and asks it.
resolver_up() { # ZONES-DIR
    network_up host || return
    on_host host
    "${ON[@]}" ip addr add 10.9.9.9/32 dev lo || return
    start resolver "${ON[@]}" unbound -d -c "$1/unbound.conf" || return
    wait_for_log resolver 'start of service' || return
    printf 'hosts: dns\n' >"$BATS_TEST_TMPDIR/nsswitch.conf"
    resolved_by 'nameserver 127.0.0.1'
    # shellcheck disable=SC2016 # for the inner shell
    IN_NET=("${ON[@]}" unshare -m sh -c 'mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/nsswitch.conf &&
        shift 2 && exec "$@"' sh "$BATS_TEST_TMPDIR/resolv.conf" "$BATS_TEST_TMPDIR/nsswitch.conf")
}

resolved_by() { # LINE...: what programs find in /etc/resolv.conf
    printf '%s\n' "$@" >"$BATS_TEST_TMPDIR/resolv.conf"
}
