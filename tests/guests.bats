#!/usr/bin/env bats
# What programs bring along: allocators of their own, plug-ins that are unloaded while their connections live, TLS of
# their own inside, descriptors with very high numbers.

load helpers
load tls_helpers

listen_protected() {
    P2PTLS_POLICY='accept *:*' start echo p2p "$PYTHON" "$ROOT/tests/programs/echo.py" threading
    wait_for_log echo 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of echo)")
}

preloaded() { # NAME of a library of the system
    local file
    file=$(ldconfig -p | awk -v name="$1" '$1 == name { print $NF; exit }')
    [ -n "$file" ] || fail "$1 is not installed: run tools/check" || return
    printf '%s\n' "$file"
}

@test "an allocator of the program's own: jemalloc and tcmalloc, on either side of the library" {
    listen_protected
    local name allocator order
    for name in libjemalloc.so.2 libtcmalloc_minimal.so.4; do
        allocator=$(preloaded $name)
        for order in "$allocator:$LIBRARY" "$LIBRARY:$allocator"; do
            P2PTLS_POLICY='connect *:*' P2PTLS_LOG=silent LD_PRELOAD=$order run "$PYTHON" \
                "$ROOT/tests/programs/echo.py" clients "$PORT" 20 100000
            assert_output '20 of 20'
        done
    done
}

@test "a plug-in that is unloaded leaves its connection, and one that is loaded again makes another" {
    listen_protected
    cat >"$BATS_TEST_TMPDIR/plug.c" <<'EOT'
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>
int dial(int port)
{
    struct sockaddr_in to = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {0}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&to, sizeof to) == 0 && write(fd, "first", 5) == 5 ? fd : -1;
}
EOT
    cat >"$BATS_TEST_TMPDIR/host.c" <<'EOT'
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    char got[11] = "";
    for (int i = 0; i < 2; i++) {
        void *plug = dlopen(argv[1], RTLD_NOW);
        int fd = ((int (*)(int))dlsym(plug, "dial"))(atoi(argv[argc - 1]));
        if (dlclose(plug) || dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD))
            puts("it is still there");
        if (write(fd, "after", 5) != 5 || recv(fd, got, 10, MSG_WAITALL) != 10)
            perror("after dlclose");
        puts(got);
        close(fd);
    }
}
EOT
    gcc -shared -fPIC -o "$BATS_TEST_TMPDIR/plug.so" "$BATS_TEST_TMPDIR/plug.c"
    gcc -o "$BATS_TEST_TMPDIR/host" "$BATS_TEST_TMPDIR/host.c"
    P2PTLS_POLICY='connect *:*' run p2p "$BATS_TEST_TMPDIR/host" "$BATS_TEST_TMPDIR/plug.so" "$PORT"
    assert_output $'firstafter\nfirstafter'
}

@test "programs with TLS of their own, by OpenSSL and by GnuTLS, talk it inside of ours" {
    local dir=$BATS_TEST_TMPDIR/pki
    make_certificates "$dir"
    P2PTLS_POLICY='any 127.0.0.1:*' start_fed server "${P2P[@]}" stdbuf -oL openssl s_server -tls1_3 \
        -accept 127.0.0.1:0 -rev -cert "$dir/server.pem" -key "$dir/server.key"
    wait_for_log server ACCEPT
    port_is_told server '^ACCEPT 127\.0\.0\.1:([0-9]+)$'
    P2PTLS_POLICY='any 127.0.0.1:*' start_fed client "${P2P[@]}" gnutls-cli --x509cafile "$dir/ca.pem" \
        --verify-hostname server.test -p "$PORT" 127.0.0.1
    wait_for_log client 'Simple Client Mode'
    feed client inside
    wait_for_log client edisni
    stop client
    P2PTLS_POLICY='any 127.0.0.1:*' P2PTLS_LOG=info:$BATS_TEST_TMPDIR/library run p2p timeout 60 openssl s_client \
        -connect "127.0.0.1:$PORT" -CAfile "$dir/ca.pem" -verify_return_error -quiet < <(echo inside)
    assert_contains "$output" edisni
    assert_contains "$(cat "$BATS_TEST_TMPDIR/library")" 'connected to 127.0.0.1'
}

@test "a connection on the highest number that the limit allows" {
    listen_protected
    local most
    most=$(ulimit -Hn)
    [ "$most" != unlimited ] && [ "$most" -lt 1048576 ] || most=1048576 # beyond that they are refused: SECURITY.md
    # shellcheck disable=SC2016 # for the inner shell
    P2PTLS_POLICY='connect *:*' run bash -c 'ulimit -n "$0" && exec "$@"' "$most" "${P2P[@]}" "$PYTHON" -c '
import fcntl, os, resource, socket, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
high = fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, most - 1)
s.close()
os.write(high, b"hello")
print(os.read(high, 5), high == most - 1)
os.dup2(high, most - 2)
os.close(high)
os.write(most - 2, b"again")
print(os.read(most - 2, 5))' "$PORT"
    assert_output $'b\'hello\' True\nb\'again\''
}
