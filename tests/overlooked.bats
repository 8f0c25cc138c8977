#!/usr/bin/env bats
# Ways in which a number, or a call, could get out of the library's sight, each found by somebody who tried to get
# plaintext out. The other end is a plain echo server or client: whoever gets its bytes back has spoken in clear.

load helpers

setup() {
    common_setup
    export P2PTLS_LOG=info:$BATS_TEST_TMPDIR/library.log
}

listen_in_clear() {
    start echo "$PYTHON" "$ROOT/tests/programs/echo.py" threading
    wait_for_log echo 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of echo)")
}

@test "copies made while a socket was tried in clear are protected with it" {
    listen_in_clear
    local closed
    closed=$(free_port)
    run "$PROGRAMS/again" copies "$PORT" "$closed"
    assert_output $'wrote 7\nSECRET\n\nwrote 7\nSECRET'
    P2PTLS_POLICY="connect *:$PORT" run p2p "$PROGRAMS/again" copies "$PORT" "$closed"
    assert_status 0
    assert_output_without SECRET
    assert_at_least "$(grep -c 'Protocol error' <<<"$output")" 2
}

@test "numbers above a limit that was raised later are protected" {
    listen_in_clear
    if setpriv --dump | grep -q '^Capability bounding set:.*sys_resource'; then
        P2PTLS_POLICY="connect *:$PORT" run bash -c 'ulimit -n 64 && exec "$@"' bash \
            "${P2P[@]}" "$PROGRAMS/again" raised "$PORT"
    else # where root may not raise it, the library is told of one: getrlimit in front of libc's
        cat >"$BATS_TEST_TMPDIR/limit.c" <<'EOT'
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
int getrlimit(__rlimit_resource_t what, struct rlimit *limit)
{
    static int asked;
    long r = syscall(SYS_prlimit64, 0, what, 0, limit);
    if (what == RLIMIT_NOFILE && asked < 4 && ++asked)
        limit->rlim_max = 64;
    return (int)r;
}
int setrlimit(__rlimit_resource_t what, const struct rlimit *limit)
{
    return what == RLIMIT_NOFILE && limit ? 0 : -1;
}
EOT
        gcc -shared -fPIC -o "$BATS_TEST_TMPDIR/limit.so" "$BATS_TEST_TMPDIR/limit.c"
        P2PTLS_POLICY="connect *:$PORT" LD_PRELOAD=$BATS_TEST_TMPDIR/limit.so
        define_p2p
        unset LD_PRELOAD
        P2PTLS_POLICY="connect *:$PORT" run p2p "$PROGRAMS/again" raised "$PORT"
    fi
    assert_status 0
    assert_output_without SECRET
    assert_equal "${lines[-1]}" 'Protocol error'
}

@test "a bind by AF_UNSPEC is a bind to every address" {
    P2PTLS_POLICY='accept *:*' start again p2p "$PROGRAMS/again" listen
    wait_for_log again 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of again)")
    run "$PYTHON" "$ROOT/tests/programs/dial.py" "$PORT" dial=127.0.0.1
    finish again
    assert_contains "$(cat "$(log_of again)")" 'Protocol error'
    refute_contains "$(cat "$(log_of again)")" hello
}

@test "a plug-in that is opened with RTLD_DEEPBIND is covered" {
    listen_in_clear
    cat >"$BATS_TEST_TMPDIR/plug.c" <<'EOT'
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <errno.h>
int talk(int port)
{
    struct sockaddr_in to = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {0}};
    char got[20] = "";
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) || write(fd, "SECRET", 6) != 6 || read(fd, got, 6) != 6)
        printf("%s\n", strerror(errno));
    printf("%s\n", got);
    return close(fd);
}
EOT
    cat >"$BATS_TEST_TMPDIR/host.c" <<'EOT'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    void *plug = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    int (*talk)(int) = (int (*)(int))dlsym(plug, "talk");
    return talk(atoi(argv[argc - 1]));
}
EOT
    gcc -shared -fPIC -o "$BATS_TEST_TMPDIR/plug.so" "$BATS_TEST_TMPDIR/plug.c"
    gcc -o "$BATS_TEST_TMPDIR/host" "$BATS_TEST_TMPDIR/host.c"
    run "$BATS_TEST_TMPDIR/host" "$BATS_TEST_TMPDIR/plug.so" "$PORT"
    assert_output SECRET
    P2PTLS_POLICY='connect *:*' run p2p "$BATS_TEST_TMPDIR/host" "$BATS_TEST_TMPDIR/plug.so" "$PORT"
    assert_output 'Protocol error'
}

@test "PHP's extensions, which it opens in that way, are covered" {
    listen_in_clear
    # shellcheck disable=SC2016 # PHP's variables
    local script='$s = socket_create(AF_INET, SOCK_STREAM, 0); socket_connect($s, "127.0.0.1", (int)$argv[1]);
        socket_write($s, "SECRET"); echo @socket_read($s, 6), socket_strerror(socket_last_error($s));'
    run php -r "$script" -- "$PORT"
    assert_output_has SECRET
    P2PTLS_POLICY='connect *:*' run p2p php -r "$script" -- "$PORT"
    assert_output_without SECRET
    assert_output_has 'Protocol error'
}

@test "a program that had no descriptor left at its first connection can connect when it has" {
    cat >"$BATS_TEST_TMPDIR/scarce.py" <<'EOT'
import os, resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
listener = socket.create_server(("127.0.0.1", 0))
s = socket.socket()
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
try:
    s.connect(listener.getsockname())
    print("connected")
except OSError as e:
    print(os.strerror(e.errno))
for fd in taken:
    os.close(fd)
a = socket.create_connection(listener.getsockname())
b, _ = listener.accept()
a.sendall(b"hello")
print(b.recv(5))
EOT
    P2PTLS_POLICY='connect *:*; accept *:* plain' run p2p "$PYTHON" "$BATS_TEST_TMPDIR/scarce.py"
    assert_equal "${lines[0]}" 'Too many open files'
}
