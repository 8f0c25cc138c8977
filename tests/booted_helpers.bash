# shellcheck shell=bash
# shellcheck disable=SC2154 # NETWORK, FLEET, ETC and HOSTS are set by other helpers
# Hosts where systemd is the first process, over this machine's own files: what they write goes into an overlay in
# memory, as does the copy of /etc. Only what a test starts runs on them, beside the journal. Load after recipe_helpers.

# systemd-nspawn's ways that all hosts of the tests share: nothing of it depends on, or tells, a systemd outside.
NSPAWN=(systemd-nspawn -q --register=no --keep-unit --resolv-conf=off --timezone=off --link-journal=no --console=pipe)

# shellcheck disable=SC2016 # for the inner shell
BOOT_SCRIPT='
mount -t tmpfs -o mode=755 none "$2" && mkdir "$2/upper" "$2/work" "$2/system" &&
    mount -t overlay overlay -o "lowerdir=/,upperdir=$2/upper,workdir=$2/work" "$2/system" && cd "$2/system" &&
    rm -rf etc root && cp -a "$1" etc && mkdir -m 700 root root/.ssh && cp "$3"/ssh/* root/.ssh/ &&
    mount --bind "$3/stage/usr/local" usr/local || exit
shift 3
exec "$@" -D . --boot systemd.unit=basic.target'

host_begins() { # HOST
    mkdir -p "$FLEET/$1"
    start "host_$1" unshare -m --propagation private sh -c "$BOOT_SCRIPT" sh "$ETC" "$FLEET/$1" "$FLEET" \
        "${NSPAWN[@]}" --machine="$NETWORK-$1" --hostname="$1" "--network-namespace-path=/run/netns/$NETWORK-$1"
    wait_until "host_has_booted $1 2>/dev/null || ! is_running host_$1" || return
    on "$1" sh -c 'mkdir -p /run/sshd && exec /usr/sbin/sshd'
}

# systemd-nspawn has other children, or none, before the one that stays.
host_has_booted() { # HOST
    local init
    init=$(pgrep -P "$(pid_of "host_$1")") && nsenter -t "$init" -m -u -n -p systemctl -q is-active basic.target
}

# systemd-nspawn leaves an empty folder for each host where /run is no tmpfs.
booted_tidy() {
    local host
    for host in "${HOSTS[@]}"; do
        rmdir "/run/systemd/nspawn/propagate/$NETWORK-$host" 2>/dev/null || :
    done
}
