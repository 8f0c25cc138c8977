/* A program that lowers its privileges while, or before, it has connections. Run as root; goes on as user nobody.
 *
 * privileges CASE DIRECTORY (an empty one)
 *   unshare, setns, raw, libc, no_new_privs, capset, bounding: the call is made while a handshake is under way; it
 *            succeeds, it holds for all threads of the process, and the connection works afterwards
 *   server   fork twice, chroot to DIRECTORY, change user, drop all capabilities; then accept
 *   client   the same without a chroot, and without any socket made before; then connect */
#include "common.h"

#include <dirent.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

int capset(cap_user_header_t header, cap_user_data_t data);

static uid_t user;
static gid_t group;

/* The value of a field in the status file of each thread must be this. */
static void check_threads(const char *field, unsigned long want, int base)
{
    struct dirent *entry;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks, "/proc/self/task: %s", strerror(errno));
    while ((entry = readdir(tasks))) {
        char name[300], line[300];
        bool found = false;
        snprintf(name, sizeof(name), "/proc/self/task/%s/status", entry->d_name);
        FILE *status = entry->d_name[0] == '.' ? NULL : fopen(name, "re");
        while (status && fgets(line, sizeof(line), status)) {
            if (strncmp(line, field, strlen(field)) != 0)
                continue;
            found = true;
            CHECK(strtoul(line + strlen(field), NULL, base) == want, "thread %s: %s", entry->d_name, line);
        }
        if (status) {
            fclose(status);
            CHECK(found, "%s has no line %s", name, field);
        }
    }
    closedir(tasks);
}

static void drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}, {0}};
    SYS(capset(&header, none));
}

static void change_user(void)
{
    SYS(setgroups(0, NULL));
    SYS(setgid(group));
    SYS(setuid(user));
}

/* ---- with a handshake under way ---- */

static void call_unshare(void)
{
    SYS(unshare(CLONE_NEWUSER));
}

static void call_setns(void)
{
    int fd = (int)SYS(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    SYS(setns(fd, CLONE_NEWNET));
    SYS(close(fd));
}

static void call_raw(void)
{
    SYS(syscall(SYS_setresuid, user, user, user));
    check_threads("Uid:", user, 10);
}

static void call_libc(void)
{
    SYS(setuid(user));
    check_threads("Uid:", user, 10);
}

static void call_no_new_privs(void)
{
    SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    check_threads("NoNewPrivs:", 1, 10);
}

static void call_capset(void)
{
    drop_capabilities();
    check_threads("CapEff:", 0, 16);
}

static void call_bounding(void)
{
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
        SYS(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0));
    check_threads("CapBnd:", 0, 16);
}

static void exchange(int end[2])
{
    char text[6] = "";
    write_all(end[0], "hello", 5);
    CHECK(read_full(end[1], text, 5) == 5 && strcmp(text, "hello") == 0, "the other end has got: %s", text);
    write_all(end[1], "there", 5);
    CHECK(read_full(end[0], text, 5) == 5 && strcmp(text, "there") == 0, "the other end has got: %s", text);
}

/* Nobody answers before the connection is accepted, which is after the call. */
static void during(void (*call)(void))
{
    uint16_t port;
    int end[2], listener = tcp_listen(1, &port);
    end[0] = tcp_connect(port);
    call();
    end[1] = tcp_accept(listener);
    exchange(end);
}

/* ---- daemons ---- */

/* The second child goes on; its parents are gone. */
static void become_daemon(const char *directory)
{
    if (fork_child() != 0)
        _exit(0);
    SYS(setsid());
    if (fork_child() != 0)
        _exit(0);
    if (directory) {
        SYS(chroot(directory));
        SYS(chdir("/"));
    }
    change_user();
    drop_capabilities();
    SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static void server(const char *directory)
{
    uint16_t port;
    int listener = tcp_listen(1, &port), end;
    pid_t pid = fork_child();
    if (pid == 0) {
        become_daemon(directory);
        end = tcp_accept(listener);
        stream_recv(end, 1, 0, MIB);
        stream_send(end, 2, 0, MIB);
        exit(0);
    }
    reap(pid, "the daemon's first parent");
    SYS(close(listener));
    end = tcp_connect(port);
    stream_send(end, 1, 0, MIB);
    stream_recv(end, 2, 0, MIB);
    expect_eof(end);
}

static void client(void)
{
    int number[2], end;
    uint16_t port;
    SYS(pipe(number));
    pid_t pid = fork_child();
    if (pid == 0) {
        become_daemon(NULL);
        CHECK(read(number[0], &port, sizeof(port)) == sizeof(port), "no port came");
        end = tcp_connect(port);
        stream_send(end, 1, 0, MIB);
        stream_recv(end, 2, 0, MIB);
        expect_eof(end);
        exit(0);
    }
    reap(pid, "the daemon's first parent");
    int listener = tcp_listen(1, &port);
    SYS(write(number[1], &port, sizeof(port)));
    end = tcp_accept(listener);
    stream_recv(end, 1, 0, MIB);
    stream_send(end, 2, 0, MIB);
    SYS(shutdown(end, SHUT_WR));
    expect_eof(end);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*call)(void);
    } calls[] = {
        {"unshare", call_unshare},           {"setns", call_setns},   {"raw", call_raw},           {"libc", call_libc},
        {"no_new_privs", call_no_new_privs}, {"capset", call_capset}, {"bounding", call_bounding},
    };
    CHECK(argc == 3, "usage: privileges CASE DIRECTORY");
    struct passwd *nobody = getpwnam("nobody");
    CHECK(nobody, "there is no user nobody");
    user = nobody->pw_uid;
    group = nobody->pw_gid;
    watchdog_start();
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        if (strcmp(argv[1], calls[i].name) == 0) {
            during(calls[i].call);
            return 0;
        }
    }
    if (strcmp(argv[1], "server") == 0)
        server(argv[2]);
    else if (strcmp(argv[1], "client") == 0)
        client();
    else
        die("no case %s", argv[1]);
    return 0;
}
