#!/usr/bin/env bats
# CPython's own tests of its sockets, event loops, subprocesses and clients: on protected connections they pass and fail
# as on plain TCP, but for the differences that are listed with their reasons.

load ../helpers

# bats file_tags=unsanitized

as_plain() { # MODULE [OPTIONS of python3 -m test]...
    "$PYTHON" -c 'import test.test_socket' || fail "libpython3.11-testsuite is not installed: run tools/check --long"
    run "$PYTHON" "$BATS_TEST_DIRNAME/cpython.py" "$LIBRARY" "$BATS_TEST_DIRNAME/cpython-differences.list" "$@"
    echo "$output"
    assert_status 0
}

@test "CPython's test_socket" { as_plain test_socket -i '*VSOCK*'; } # that waits for a hypervisor
@test "CPython's test_select" { as_plain test_select; }
@test "CPython's test_selectors" { as_plain test_selectors; }
# test_ssl opens connections that its server accepts later than a handshake may take.
@test "CPython's test_asyncio" { as_plain test_asyncio -i 'test.test_asyncio.test_ssl.*'; }
@test "CPython's test_subprocess" { as_plain test_subprocess; }
@test "CPython's test_socketserver" { as_plain test_socketserver -u network; }
@test "CPython's test_asyncore" { as_plain test_asyncore; }
@test "CPython's test_asynchat" { as_plain test_asynchat; }
@test "CPython's test_ftplib" { as_plain test_ftplib; }
@test "CPython's test_smtplib" { as_plain test_smtplib; }
@test "CPython's test_poplib" { as_plain test_poplib; }
@test "CPython's test_imaplib" { as_plain test_imaplib; }
@test "CPython's test_httpservers" { as_plain test_httpservers; }
@test "CPython's test_urllib2_localnet" { as_plain test_urllib2_localnet; }

connections_of_multiprocessing() { # HOW processes are started
    as_plain "test_multiprocessing_$1" -m '*Connection*' -m '*Listener*' -m '*RemoteManager*' -m '*ManagerRestart*' \
        -m '*TestWait*' -m '*Poll*'
}

@test "CPython's multiprocessing, connections: fork" { connections_of_multiprocessing fork; }
@test "CPython's multiprocessing, connections: spawn" { connections_of_multiprocessing spawn; }
@test "CPython's multiprocessing, connections: forkserver" { connections_of_multiprocessing forkserver; }
