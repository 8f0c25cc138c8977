#!/usr/bin/env bats
# Recipes of docs/RECIPES.md for systemd, run as they stand there, on hosts where systemd is the first process; and that
# a unit which the library or the policy does not get into does not start.

load helpers
load network_helpers
load policy_helpers
load real_helpers
load recipe_helpers
load booted_helpers

setup_file() {
    require systemd-nspawn || return
    recipes_prepare
}
teardown_file() { recipes_remove; }

setup() { recipe_setup; }
teardown() { recipe_teardown booted_tidy; }

main_process_of() { # HOST UNIT
    on "$1" systemctl show -P MainPID "$2"
}

@test "a systemd service" {
    recipe 'A systemd service' alpha beta
    step
    wait_for_listener alpha 6379
    run on alpha p2ptls doctor --pid "$(main_process_of alpha redis-server)"
    assert_output_has 'has the library'
    step
    assert_equal "$SAID" PONG
    run on beta timeout 60 redis-cli -h alpha ping
    assert_output_without PONG
    step
    assert_contains "$SAID" '10.0.0.2'
    recipe_ends
    assert_wire_between_without PONG 'src host 10.0.0.1'
}

@test "a socket-activated service" {
    recipe 'A socket-activated service' alpha beta
    step
    wait_for_listener alpha 7000
    step
    assert_equal "$SAID" HELLO
    # shellcheck disable=SC2016 # for the inner shell
    run on beta sh -c 'echo hello | timeout 60 socat -t 60 - TCP:alpha:7000'
    assert_output_without HELLO
    recipe_ends
    assert_wire_without HELLO
}

# What hides the library from a unit, keeps ld.so from mapping it, or hides the policy.
sandboxes() {
    cat <<END
NoExecPaths=/|ExecPaths=/usr/bin /usr/lib /lib /lib64
InaccessiblePaths=/usr/local/lib/p2ptls|
TemporaryFileSystem=/usr/local|
UnsetEnvironment=P2PTLS_POLICY|
END
}

@test "a unit that the library or the policy does not get into does not start" {
    local first second
    fleet_up alpha
    on alpha sh -c 'printf "[Service]\nExecStart=/usr/bin/socat TCP-LISTEN:7000,fork SYSTEM:echo\n" \
        >/etc/systemd/system/talk.service'
    on alpha p2ptls enable --yes -r 'accept *:7000' talk
    on alpha systemctl daemon-reload
    on alpha systemctl start talk
    wait_for_listener alpha 7000
    while IFS='|' read -r first second; do
        on alpha systemctl stop talk
        # After the drop-in of enable, as an administrator's or a later version's of the unit may come.
        on alpha sh -c 'printf "[Service]\n%s\n" "$@" >/etc/systemd/system/talk.service.d/sandbox.conf' \
            sh "$first" "$second"
        on alpha systemctl daemon-reload
        run on alpha systemctl start talk
        [ "$status" -ne 0 ] || fail "it starts with $first" "$(on alpha systemctl status talk)" || return
        ! listens alpha 7000 || fail "it listens with $first" || return
    done < <(sandboxes)
    # Without the question it runs in clear, and doctor knows.
    on alpha systemctl stop talk
    on alpha sh -c 'printf "[Service]\nNoExecPaths=/\nExecPaths=/usr/bin /usr/lib /lib /lib64\nExecStartPre=\n" \
        >/etc/systemd/system/talk.service.d/sandbox.conf'
    on alpha systemctl daemon-reload
    on alpha systemctl start talk
    wait_for_listener alpha 7000
    run on alpha p2ptls doctor --pid "$(main_process_of alpha talk)"
    assert_output_has 'runs without the library'
    # enable sees what keeps it out if it stands in the unit's own files, and opens it.
    on alpha sh -c 'printf "[Service]\nNoExecPaths=/\nExecPaths=/usr/bin /usr/lib /lib /lib64\n" \
        >/etc/systemd/system/talk.service.d/sandbox.conf'
    on alpha p2ptls enable --yes --force -r 'accept *:7000' talk
    on alpha systemctl daemon-reload
    on alpha systemctl restart talk
    wait_for_listener alpha 7000
    run on alpha p2ptls doctor --pid "$(main_process_of alpha talk)"
    assert_output_has 'has the library'
}
