#!/usr/bin/env bats
# Recipes of docs/RECIPES.md, run as they stand there, between hosts that are namespaces. Those that need systemd are in
# recipes_booted.bats.

load helpers
load network_helpers
load policy_helpers
load real_helpers
load recipe_helpers

setup_file() { recipes_prepare; }
teardown_file() { recipes_remove; }

setup() { recipe_setup; }
teardown() { recipe_teardown; }

# A redis that is reached by name, from another host; the value is not on the wire.
assert_value_travels() { # FROM-HOST TO-HOST
    assert_equal "$(on "$1" p2ptls run -- redis-cli -h "$2" SET key "$MARKER")" OK || return
    assert_equal "$(on "$1" p2ptls run -- redis-cli -h "$2" GET key)" "$MARKER"
}

reads_with() { # HOST POLICY: the value that redis on alpha has
    on "$1" p2ptls run ${2:+-r "$2"} -- redis-cli -h alpha GET key | grep -qx "$MARKER"
}

# What a host without an identity of the fleet gets.
assert_refused() { # HOST POLICY TO-HOST
    run on "$1" timeout 60 p2ptls run -r "$2" -- redis-cli -h "$3" GET key
    assert_output_without "$MARKER"
    run on "$1" timeout 60 redis-cli -h "$3" GET key
    assert_output_without "$MARKER"
}

@test "two hosts with pins" {
    recipe 'Two hosts with pins' alpha beta gamma
    steps 5
    wait_for_listener alpha 6379
    step
    assert_equal "$SAID" PONG
    assert_value_travels beta alpha
    assert_refused gamma 'connect *:6379 auth=insecure-none' alpha
    step
    assert_matches "$SAID" 'redis-server'
    recipe_ends
    assert_wire_without "$MARKER"
}

@test "a private CA for ten" {
    recipe 'A private CA for ten' "${FLEET_NAMES[@]}"
    steps 3
    wait_for_listener alpha 6379
    step
    assert_matches "$SAID" $'\nPONG$'
    assert_value_travels beta alpha
    assert_refused gamma 'connect *:6379 auth=insecure-none' alpha
    # The right authority under the wrong name.
    on gamma sed -i 's/ alpha$/ other/' /etc/hosts
    run on gamma p2ptls run -- redis-cli -h other GET key
    assert_output_has 'does not carry the name other'
    assert_output_without "$MARKER"
    recipe_ends
    assert_wire_without "$MARKER"
}

# Who was given the file at each step can connect; who kept the first key alone can no more after the last one.
@test "a pre-shared key for a cluster, and its replacement" {
    recipe 'A pre-shared key for a cluster' alpha beta gamma
    steps 2
    wait_for_listener alpha 6379
    step
    assert_equal "$SAID" PONG
    assert_value_travels gamma alpha
    on gamma cp /etc/p2ptls/psk /root/psk.old
    step
    assert_value_travels beta alpha
    step
    # A running server looks at the file once a second.
    wait_until 'reads_with beta ""'
    step
    assert_value_travels beta alpha
    wait_until '! reads_with gamma "connect *:6379 psk=/root/psk.old"'
    assert_refused gamma 'connect *:6379 auth=insecure-none' alpha
    recipe_ends
    assert_wire_without "$MARKER"
}

@test "redis with replicas" {
    recipe 'redis with replicas' alpha beta gamma
    steps 2
    wait_for_listener alpha 6379
    steps 2
    assert_value_travels beta alpha
    step
    assert_matches "$SAID" $'^OK\n2\n'
    assert_matches "$SAID" 'redis'
    assert_equal "$(on gamma redis-cli GET greeting)" hello
    recipe_ends
    assert_wire_without "$MARKER"
    assert_wire_without greeting
}

@test "memcached" {
    recipe 'memcached' alpha beta
    step
    wait_for_listener alpha 11211
    step
    assert_equal "$(tr -d '\r' <<<"$SAID")" $'STORED\nVALUE greeting 0 5\nhello\nEND'
    run on beta timeout 60 ncat --recv-only alpha 11211
    assert_output_without hello
    recipe_ends
    assert_wire_without greeting
}

@test "an nginx upstream" {
    recipe 'An nginx upstream' alpha beta gamma
    step
    wait_for_listener beta 8080
    step
    wait_for_listener alpha 80
    step
    assert_equal "$SAID" hello
    recipe_ends
    assert_wire_has hello # from nginx to who asked
    assert_wire_between_without hello 'host 10.0.0.2'
}

@test "PostgreSQL with a standby" {
    recipe 'PostgreSQL with a standby' alpha beta
    steps 4
    wait_until 'standby_has_the_table'
    run on beta runuser -l postgres -c 'PGCONNECT_TIMEOUT=60 psql -h alpha -c "SELECT 1"'
    [ "$status" -ne 0 ] || fail "psql without the library got in: $output"
    recipe_ends
    assert_wire_without greeting
}

standby_has_the_table() {
    on beta runuser -l postgres -c 'p2ptls run -- psql -h beta -At -c "TABLE greeting"' | grep -qx 1
}

@test "moving a running fleet over without a gap" {
    recipe 'Moving a running fleet over without a gap' alpha beta
    step
    wait_for_listener alpha 6379
    steps 2
    wait_for_listener alpha 6379
    step
    assert_equal "$SAID" hello
    step
    assert_contains "$SAID" '10.0.0.2'
    step
    wait_for_listener alpha 6379
    step
    assert_equal "$SAID" $'hello\nhello'
    step
    wait_for_listener alpha 6379
    step
    assert_equal "$SAID" hello
    assert_value_travels beta alpha
    run on beta timeout 60 redis-cli -h alpha GET key
    assert_output_without "$MARKER"
    recipe_ends
    assert_wire_has greeting # before
    assert_wire_without "$MARKER"
}

@test "a second line of defence: nftables" {
    recipe 'A second line of defence: nftables' alpha beta
    steps 2
    wait_for_listener alpha 6379
    step
    assert_equal "$SAID" 'no answer'
    assert_matches "$(on alpha nft list chain inet p2ptls tls)" 'packets [1-9]'
    step
    wait_for_listener alpha 6379
    step
    assert_equal "$SAID" PONG
    recipe_ends
    assert_wire_between_without PONG 'src host 10.0.0.1'
}

# The new key of alpha alone is taken, once the server has looked at its files.
@test "certificates rotated by files" {
    recipe 'Certificates rotated by files' alpha beta
    local old new
    step
    wait_for_listener alpha 6379
    old=$(on alpha p2ptls id --file /etc/tls/tls.crt fingerprint)
    step
    assert_equal "$SAID" PONG
    assert_value_travels beta alpha
    step
    new=$(on alpha p2ptls id --file /etc/tls/tls.crt fingerprint)
    [ "$old" != "$new" ] || fail 'no new key'
    local rule='connect *:6379 cert=/etc/tls/beta.pem key=/etc/tls/beta.key'
    wait_until "reads_with beta '$rule pin=$new'"
    run reads_with beta "$rule pin=$old"
    assert_status 1
    steps 2
    assert_equal "$SAID" PONG
    recipe_ends
}

# The image that the recipe begins with: redis and what it loads, from this machine, as no registry is asked.
make_image_of_redis() {
    local file
    mkdir -p "$FLEET/image/etc" "$FLEET/image/tmp" "$FLEET/image/usr/bin" || return
    cp /usr/bin/redis-server "$FLEET/image/usr/bin/" && echo 'root:x:0:0::/root:/bin/sh' >"$FLEET/image/etc/passwd"
    ldd /usr/bin/redis-server "$LIBRARY" "${LIBRARY%.so}-core.so" |
        sed -nE 's/.*[[:blank:]](\/[^ ]+) \(.*/\1/p' | sort -u |
        while read -r file; do
            [ -e "$FLEET/image$file" ] || install -D "$file" "$FLEET/image$file" || return
        done
    mkdir -p "$ETC/containers" || return
    printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers"\ngraphroot = "/var/lib/containers"\n' \
        >"$ETC/containers/storage.conf"
    # Hosts have no cgroups, and a root who may not raise limits sets none.
    printf '[containers]\ncgroups = "disabled"\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n' \
        >"$ETC/containers/containers.conf"
    printf 'FROM scratch\nCOPY . /\nENV PATH=/usr/bin\n' >"$FLEET/Containerfile"
}

@test "a container image" {
    require buildah podman
    make_image_of_redis
    recipe 'A container image' alpha beta
    on alpha mount -t tmpfs none /sys/fs/cgroup # crun looks for its type
    on alpha buildah build --isolation chroot --tag localhost/redis -f "$FLEET/Containerfile" "$FLEET/image"
    steps 2
    wait_for_listener alpha 6379
    step
    step
    assert_equal "$SAID" $'PONG\nPONG'
    run on beta timeout 60 redis-cli -h alpha ping
    assert_output_without PONG
    recipe_ends
    assert_wire_between_without PONG 'src host 10.0.0.1'
}
