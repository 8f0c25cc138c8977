/* A program that looks libc's functions up by name, as foreign function interfaces do, and uses them on a connection:
 * what it gets is what everybody else gets. */
#include "common.h"

#include <dlfcn.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>

#define VERSION "GLIBC_2.2.5" /* the first of x86-64 */

static void *libc_handle;

static void check_same(const char *name, const void *linked)
{
    void *found = dlsym(libc_handle, name), *versioned = dlvsym(libc_handle, name, VERSION);
    CHECK(found == linked, "dlsym of %s: %p, linked %p", name, found, linked);
    CHECK(versioned == linked, "dlvsym of %s: %p, linked %p", name, versioned, linked);
    CHECK(dlsym(RTLD_DEFAULT, name) == linked, "RTLD_DEFAULT: %s", name);
    CHECK(dlsym(RTLD_NEXT, name) == linked, "RTLD_NEXT: %s", name);
}

#define SAME(name) check_same(#name, (const void *)name)

static void check_errors(void)
{
    CHECK(!dlsym(libc_handle, "no_such_function_anywhere"), "a function that is nowhere");
    const char *why = dlerror();
    CHECK(why && strstr(why, "undefined symbol: no_such_function_anywhere"), "dlerror: %s", why);
    CHECK(!dlvsym(libc_handle, "send", "NO_SUCH_VERSION"), "a version that is nowhere");
    CHECK(dlerror() != NULL, "no dlerror");
    CHECK(!dlerror(), "dlerror says it twice");
}

static void check_round(int end[2])
{
    ssize_t (*its_send)(int, const void *, size_t, int) = (__typeof__(&send))dlsym(libc_handle, "send");
    ssize_t (*its_write)(int, const void *, size_t) = (__typeof__(&write))dlvsym(libc_handle, "write", VERSION);
    ssize_t (*its_recv)(int, void *, size_t, int) = (__typeof__(&recv))dlsym(libc_handle, "recv");
    char text[16] = "";
    CHECK(its_send(end[0], "hello", 5, 0) == 5 && its_write(end[0], ", you", 5) == 5, "sending");
    CHECK(read_full(end[1], text, 10) == 10 && !strcmp(text, "hello, you"), "read \"%s\"", text);
    write_all(end[1], "yes", 3);
    CHECK(its_recv(end[0], text, 3, MSG_WAITALL) == 3 && !memcmp(text, "yes", 3), "received \"%.3s\"", text);
    int (*its_close)(int) = (__typeof__(&close))dlsym(libc_handle, "close");
    SYS(its_close(end[0]));
    CHECK(read_full(end[1], text, 1) == 0, "the end");
}

int main(void)
{
    int end[2];
    libc_handle = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    CHECK(libc_handle, "dlopen: %s", dlerror());
    watchdog_start();
    SAME(read);
    SAME(write);
    SAME(send);
    SAME(sendmsg);
    SAME(recvfrom);
    SAME(connect);
    SAME(close);
    SAME(fork);
    SAME(getpid);
    SAME(sendfile);
    check_errors();
    tcp_pair(end);
    check_round(end);
    return 0;
}
