#!/usr/bin/env bats
# OpenSSH as Debian ships it, sshd and ssh under the library; root. sshd executes itself again for each connection, and
# the process that speaks before authentication is in a chroot, of another user, and in a seccomp filter that kills.
#
# program: OpenSSH
# runs: sshd with its seccomp filter, and ssh: commands, sftp and scp of 20 MB, ten sessions at once, ControlMaster, PAM

load helpers
load real_helpers
load traced_helpers

SSHD=/usr/sbin/sshd

# The marker of the filter in what sshd says: without it the tests would show nothing.
assert_sandboxed() {
    assert_contains "$(cat "$(log_of sshd)")" 'attaching seccomp filter program' || return
    refute_contains "$(cat "$(log_of sshd)")" 'on prctl(PR_SET_SECCOMP)'
}

make_keys() {
    ssh-keygen -q -t ed25519 -N '' -f "$BATS_TEST_TMPDIR/host_key"
    ssh-keygen -q -t ed25519 -N '' -f "$BATS_TEST_TMPDIR/key"
    cp "$BATS_TEST_TMPDIR/key.pub" "$BATS_TEST_TMPDIR/authorized"
    mkdir -p /run/sshd # where Debian's sshd goes by chroot; systemd makes it for the service
}

start_sshd() { # PORT [sshd's OPTIONS]...
    require sshd ssh ssh-keygen
    [ -f "$BATS_TEST_TMPDIR/key" ] || make_keys
    cat >"$BATS_TEST_TMPDIR/sshd_config" <<END
Port $1
ListenAddress 127.0.0.1
HostKey $BATS_TEST_TMPDIR/host_key
AuthorizedKeysFile $BATS_TEST_TMPDIR/authorized
PidFile none
StrictModes no
PermitRootLogin yes
LogLevel DEBUG3
MaxStartups 100
Subsystem sftp /usr/lib/openssh/sftp-server
END
    start sshd "${SERVER[@]}" "$SSHD" -D -e -f "$BATS_TEST_TMPDIR/sshd_config" "${@:2}"
    wait_for_log sshd 'Server listening'
}

# Options of ssh, scp and sftp.
client_options() { # PORT
    printf '%s\n' -F none -i "$BATS_TEST_TMPDIR/key" -o "Port=$1" -o BatchMode=yes -o StrictHostKeyChecking=no \
        -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR
}

client() { # PROGRAM PORT ARGUMENTS...
    local options
    mapfile -t options < <(client_options "$2")
    "${CLIENT[@]}" "$1" "${options[@]}" "${@:3}"
}

both_ends_of_sshd() { # plain|protected PORT: only the port of sshd is in the policy
    both_ends "$1"
    [ "$1" = plain ] || policy "any 127.0.0.1:$2"
}

say_marker() { # PORT
    # Looked for on the wire: ssh's own encryption hides it, the banner of both sides it does not.
    assert_equal "$(client ssh "$1" 127.0.0.1 "echo $MARKER")" "$MARKER"
}

@test "ssh runs a command (plain: the banner is on the wire)" {
    local port
    port=$(free_port)
    both_ends_of_sshd plain "$port"
    start_sshd "$port"
    capture_start "$port"
    say_marker "$port"
    capture_stop
    assert_wire_has SSH-2.0-OpenSSH
    assert_sandboxed
}

@test "ssh runs a command (protected: it is not, and sshd's filter is in force)" {
    local port
    port=$(free_port)
    both_ends_of_sshd protected "$port"
    start_sshd "$port"
    capture_start "$port"
    say_marker "$port"
    capture_stop
    assert_wire_without SSH-2.0-OpenSSH
    assert_sandboxed
    assert_matches "$(library_log server)" 'accepted from 127\.0\.0\.1:[0-9]+ as (client|server), TLS_'
    assert_matches "$(library_log client)" "connected to 127\.0\.0\.1:$port as (client|server), TLS_"
}

# Debian's sshd goes by chroot to /run/sshd: this one has a /run/sshd of its own.
@test "ssh runs a command (traced: all calls are the library's)" {
    local port
    port=$(free_port)
    ends traced
    policy "any 127.0.0.1:$port"
    make_keys
    visible_in_chroot "$BATS_TEST_TMPDIR/run" "$SSHD"
    # shellcheck disable=SC2016 # for the shell that has the mount
    SERVER=(unshare --mount sh -c 'mount --bind "$0" /run/sshd && exec "$@"' "$BATS_TEST_TMPDIR/run" "${SERVER[@]}")
    start_sshd "$port"
    say_marker "$port"
    assert_sandboxed
    assert_mediated
}

@test "20 MB go through sftp and scp and come back the same" {
    local port file=$BATS_TEST_TMPDIR/file
    port=$(free_port)
    both_ends_of_sshd protected "$port"
    start_sshd "$port"
    random_file "$file" 20M
    client scp "$port" -q "$file" "127.0.0.1:$file.scp"
    assert_same_file "$file" "$file.scp"
    client scp "$port" -q "127.0.0.1:$file.scp" "$file.back"
    assert_same_file "$file" "$file.back"
    printf 'put %s %s\nget %s %s\n' "$file" "$file.sftp" "$file.sftp" "$file.got" >"$BATS_TEST_TMPDIR/batch"
    client sftp "$port" -q -b "$BATS_TEST_TMPDIR/batch" 127.0.0.1
    assert_same_file "$file" "$file.sftp"
    assert_same_file "$file" "$file.got"
    assert_sandboxed
}

@test "bytes through standard input and output of a command, both ways at once" {
    local port file=$BATS_TEST_TMPDIR/file
    port=$(free_port)
    both_ends_of_sshd protected "$port"
    start_sshd "$port"
    random_file "$file" 5M
    client ssh "$port" 127.0.0.1 cat <"$file" >"$file.back"
    assert_same_file "$file" "$file.back"
    run client ssh "$port" 127.0.0.1 'exit 7'
    assert_status 7
}

@test "ten sessions at the same time" {
    local port i pids=()
    port=$(free_port)
    both_ends_of_sshd protected "$port"
    start_sshd "$port"
    for i in {1..10}; do
        client ssh "$port" 127.0.0.1 "echo session $i" >"$BATS_TEST_TMPDIR/out.$i" 3>&- &
        pids+=($!)
    done
    for i in "${pids[@]}"; do
        wait "$i"
    done
    for i in {1..10}; do
        assert_equal "$(cat "$BATS_TEST_TMPDIR/out.$i")" "session $i"
    done
    assert_sandboxed
}

@test "several sessions through one connection of a control master" {
    local port socket=$BATS_TEST_TMPDIR/control
    port=$(free_port)
    both_ends_of_sshd protected "$port"
    start_sshd "$port"
    client ssh "$port" -M -S "$socket" -f -N 127.0.0.1 >/dev/null 2>&1 3>&-
    wait_until "[ -S '$socket' ]"
    assert_equal "$(client ssh "$port" -S "$socket" 127.0.0.1 echo one)" one
    assert_equal "$(client ssh "$port" -S "$socket" 127.0.0.1 echo two)" two
    run client ssh "$port" -S "$socket" -O exit 127.0.0.1
    assert_status 0
    assert_equal "$(library_log client | grep -c 'connected to')" 1
}

@test "sshd with PAM, and sshd that does not execute itself again" {
    local port option
    for option in UsePAM=yes LoginGraceTime=60; do
        port=$(free_port)
        both_ends_of_sshd protected "$port"
        start_sshd "$port" -o "$option"
        assert_equal "$(client ssh "$port" 127.0.0.1 echo "$option")" "$option"
        stop sshd
        assert_sandboxed
    done
    port=$(free_port)
    both_ends_of_sshd protected "$port"
    start_sshd "$port" -r
    assert_equal "$(client ssh "$port" 127.0.0.1 echo without)" without
    assert_sandboxed
}

@test "a wrong key is refused as ever, and the server goes on" {
    local port
    port=$(free_port)
    both_ends_of_sshd protected "$port"
    start_sshd "$port"
    ssh-keygen -q -t ed25519 -N '' -f "$BATS_TEST_TMPDIR/other"
    cp "$BATS_TEST_TMPDIR/key" "$BATS_TEST_TMPDIR/kept"
    cp "$BATS_TEST_TMPDIR/other" "$BATS_TEST_TMPDIR/key"
    cp "$BATS_TEST_TMPDIR/other.pub" "$BATS_TEST_TMPDIR/key.pub"
    run client ssh "$port" 127.0.0.1 true
    assert_status 255
    assert_output_has 'Permission denied'
    cp "$BATS_TEST_TMPDIR/kept" "$BATS_TEST_TMPDIR/key"
    rm "$BATS_TEST_TMPDIR/key.pub"
    assert_equal "$(client ssh "$port" 127.0.0.1 echo still)" still
}

@test "a client without the library, and a server without it, exchange no banner" {
    local port
    port=$(free_port)
    both_ends_of_sshd protected "$port"
    start_sshd "$port"
    CLIENT=(env)
    run client ssh "$port" 127.0.0.1 true
    assert_status 255
    assert_output_without "Permission denied"
    refute_contains "$(cat "$(log_of sshd)")" 'Remote protocol version'
}
