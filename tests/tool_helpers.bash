# shellcheck shell=bash
# shellcheck disable=SC2154 # output and stderr are set by run
# For the suites of the sub-commands: the launcher as it stands in the tree, with the build that is tested, and disks
# that are full or cannot be written.

TOOL=$ROOT/tools/p2ptls

tool_setup() {
    common_setup
    export P2PTLS_LIBRARY=$LIBRARY
    cd "$BATS_TEST_TMPDIR" || return
}

tool() { # SUB-COMMAND [ARGUMENT]...: output and status as of `run`
    run --separate-stderr "$TOOL" "$@"
}

# Runs a command on a disk of its own, mounted on ./disk, in a mount namespace; STATE is full or read-only. What else
# stands in ./disk before is copied there.
on_disk() { # full|read-only COMMAND...
    mkdir -p disk
    # shellcheck disable=SC2016 # for the inner shell
    unshare -m --propagation private bash -c '
        cp -a disk before && mount -t tmpfs -o size=64k none disk && cp -a before/. disk || exit 99
        case $1 in
        full) cat /dev/zero >disk/.fill 2>/dev/null ;;
        read-only) mount -o remount,ro disk || exit 99 ;;
        esac
        "${@:2}"
        status=$?
        rm -f disk/.fill
        diff -r disk before >&2 || status=98
        exit $status' bash "$@"
    local status=$?
    rm -rf before
    return $status
}

# The command says why it failed, and nothing has changed on the disk.
assert_disk_fault() { # full|read-only COMMAND...
    run --separate-stderr on_disk "$1" "$TOOL" "${@:2}"
    assert_status 1 || fail "$1: ${*:2}" "$stderr" || return
    case $1 in
    full) assert_contains "$stderr" 'No space left on device' || return ;;
    read-only) assert_contains "$stderr" 'Read-only file system' || return ;;
    esac
    assert_equal "$output" '' 'standard output'
}

# What each sub-command that writes makes in a folder; ./ca and ./request.csr are there.
writers_to() { # FOLDER
    cat <<END
genkey $1/key
genca $1/ca
gencert $1/node node.example
gencert --request $1/node node.example
sign ca $1/node node.example
sign --request request.csr ca $1/node
genpsk $1/psk
END
}
