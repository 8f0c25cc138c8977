#!/usr/bin/env bats
# git daemon: a process for each connection that starts the program for the service, with the connection as its
# standard input and output.
#
# program: git daemon
# runs: clone, fetch and push of a repository with 200 commits and a file of 10 MB

load helpers

setup() {
    common_setup
    require git || return
    export HOME=$BATS_TEST_TMPDIR GIT_CONFIG_NOSYSTEM=1
    git config --global user.name test
    git config --global user.email test@localhost
    git config --global init.defaultBranch main
    git config --global gc.auto 0
    git config --global maintenance.auto false
    BARE=$BATS_TEST_TMPDIR/served/project.git
    git init -q --bare "$BARE"
    git init -q "$BATS_TEST_TMPDIR/tree"
    WORK=(git -C "$BATS_TEST_TMPDIR/tree")
    # Not compressed, so that a plain wire would show it.
    git config --global core.compression 0
    PORT=$(free_port)
}

commit() { # TEXT
    printf '%s\n' "$1" >>"$BATS_TEST_TMPDIR/tree/file"
    "${WORK[@]}" add . && "${WORK[@]}" commit -q -m "$1"
}

start_daemon() { # plain|protected|traced
    ends "$1"
    start daemon "${SERVER[@]}" git daemon --listen=127.0.0.1 --port="$PORT" --reuseaddr --export-all \
        --base-path="$BATS_TEST_TMPDIR/served" --enable=receive-pack
    wait_for_port "$PORT" daemon
    URL=git://127.0.0.1:$PORT/project.git
}

push_and_clone() {
    "${CLIENT[@]}" "${WORK[@]}" push -q "$URL" main || return
    "${CLIENT[@]}" git clone -q "$URL" "$BATS_TEST_TMPDIR/clone" || return
    assert_same_file "$BATS_TEST_TMPDIR/tree/file" "$BATS_TEST_TMPDIR/clone/file"
}

marker_on_the_wire() { # plain|protected|traced
    commit "$MARKER"
    start_daemon "$1"
    on_the_wire "$1" "$PORT" push_and_clone
}

@test "push and clone (plain: the commit is on the wire)" { marker_on_the_wire plain; }
@test "push and clone (protected: it is not)" { marker_on_the_wire protected; }
@test "push and clone (traced: all calls are the library's)" { marker_on_the_wire traced; }

@test "push, clone and fetch of 200 commits and 10 MB, checked by git" {
    local number
    for number in {1..100}; do
        commit "$number"
    done
    random_file "$BATS_TEST_TMPDIR/tree/large" 10M
    commit large
    start_daemon protected
    push_and_clone
    for number in {101..200}; do
        commit "$number"
    done
    "${CLIENT[@]}" "${WORK[@]}" push -q "$URL" main
    "${CLIENT[@]}" git -C "$BATS_TEST_TMPDIR/clone" pull -q
    git -C "$BATS_TEST_TMPDIR/clone" fsck --full --strict
    assert_equal "$(git -C "$BATS_TEST_TMPDIR/clone" rev-parse HEAD)" "$("${WORK[@]}" rev-parse HEAD)"
    assert_equal "$(git -C "$BATS_TEST_TMPDIR/clone" rev-list --count HEAD)" 201
    assert_both_protected "$PORT"
}
