/* stdin, stdout and stderr on a connection, there and back, by dup2, by the lowest free number and by freopen. Each
 * case in a process of its own; the other end is read without stdio.
 *
 *   stdio_standard            all cases
 *   stdio_standard popen      a stream that the library cannot help
 *   stdio_standard marker     prints the argument MARKER by stdout on a connection to a listener on port PORT: for
 *                             a recorded wire:  stdio_standard marker PORT MARKER */
#include "common.h"

#include <err.h>
#include <execinfo.h>
#include <locale.h>
#include <netdb.h>
#include <syslog.h>
#include <wchar.h>

static int end[2];
static FILE *cached; /* stdout's value, kept from before */

static void expect_from(int fd, const char *want)
{
    char got[4096] = "";
    size_t len = strlen(want), n = read_full(fd, got, len);
    CHECK(n == len && memcmp(got, want, len) == 0, "got '%.*s', not '%s'", (int)n, got, want);
    progress();
}

/* Puts a copy of fd on a standard number, and leaves no other. */
static void put_on(int fd, int number)
{
    SYS(dup2(fd, number));
    SYS(close(fd));
}

static void there_and_back(void)
{
    int before[2], after[2];
    SYS(pipe(before));
    SYS(pipe(after));
    tcp_pair(end);
    put_on(before[1], 1);
    printf("to the pipe\n");
    fflush(stdout);
    printf("buffered, "); /* goes where 1 is when it is flushed */
    put_on(end[0], 1);
    printf("on the connection");
    fputs(" by the old value", cached);
    puts(";");
    CHECK(fileno(stdout) == 1 && stdout == cached, "stdout is another one");
    CHECK(fflush(stdout) == 0, "fflush: %s", strerror(errno));
    expect_from(before[0], "to the pipe\n");
    expect_eof(before[0]);
    expect_from(end[1], "buffered, on the connection by the old value;\n");
    printf("buffered again, ");
    put_on(after[1], 1); /* the last number of the connection */
    expect_eof(end[1]);
    printf("and plain");
    CHECK(fclose(stdout) == 0, "fclose: %s", strerror(errno));
    expect_from(after[0], "buffered again, and plain");
    expect_eof(after[0]);
}

static void input(void)
{
    int from[2];
    char line[100];
    SYS(pipe(from));
    write_all(from[1], "first\nread ahead\n", 17);
    put_on(from[0], 0);
    CHECK(fgets(line, sizeof(line), stdin) && strcmp(line, "first\n") == 0, "got %s", line);
    tcp_pair(end);
    put_on(end[0], 0);
    CHECK(fgets(line, sizeof(line), stdin) && strcmp(line, "read ahead\n") == 0, "got %s", line);
    write_all(end[1], "12 by the connection\n", 21);
    int number;
    CHECK(scanf("%d %99s", &number, line) == 2 && number == 12 && strcmp(line, "by") == 0, "scanf");
    CHECK(getchar() == ' ' && fgets(line, sizeof(line), stdin) && strcmp(line, "the connection\n") == 0, "got %s",
          line);
    SYS(shutdown(end[1], SHUT_WR));
    CHECK(getchar() == EOF && feof(stdin) && !ferror(stdin), "the end");
    CHECK(freopen("/dev/zero", "r", stdin) == stdin && fileno(stdin) == 0 && getchar() == 0, "freopen");
    expect_eof(end[1]);
}

/* All of these write to stderr, and perror leaves it without orientation. */
static void messages(void)
{
    tcp_pair(end);
    put_on(end[0], 2);
    errno = ENOENT;
    perror("perror");
    CHECK(fwide(stderr, 0) == 0, "perror gave stderr an orientation");
    perror(NULL);
    fprintf(stderr, "fprintf %d\n", 1);
    errno = EPERM;
    perror("perror again");
    psignal(SIGTERM, "psignal");
    warn("warn");
    warnx("warnx");
    h_errno = HOST_NOT_FOUND;
    herror("herror");
    SYS(dprintf(2, "dprintf\n"));
    openlog("stdio", LOG_PERROR, LOG_DAEMON);
    errno = EPERM;
    syslog(LOG_INFO, "syslog %d: %m", 5);
    setlogmask(LOG_UPTO(LOG_ERR));
    syslog(LOG_INFO, "masked");
    void *here = messages;
    backtrace_symbols_fd(&here, 1, 2);
    SYS(close(2));
    expect_from(end[1], "perror: No such file or directory\nNo such file or directory\nfprintf 1\n"
                        "perror again: Operation not permitted\npsignal: Terminated\n"
                        "stdio_standard: warn: Operation not permitted\nstdio_standard: warnx\n"
                        "herror: Unknown host\ndprintf\n"
                        "stdio: syslog 5: Operation not permitted\n");
    char line[400] = "";
    size_t n = read_full(end[1], line, sizeof(line) - 1);
    CHECK(strstr(line, "stdio_standard(+0x") && line[n - 1] == '\n', "backtrace_symbols_fd wrote '%s'", line);
    expect_eof(end[1]);
}

/* A socket gets the lowest free number: a stream is there already. */
static void lowest_number(void)
{
    uint16_t port;
    int listener = tcp_listen(1, &port);
    SYS(close(0));
    SYS(close(1));
    CHECK(tcp_connect(port) == 0, "the socket is not 0");
    CHECK(tcp_accept(listener) == 1, "the socket is not 1");
    char line[100];
    printf("from 1 to 0\n");
    fflush(stdout);
    CHECK(fgets(line, sizeof(line), stdin) && strcmp(line, "from 1 to 0\n") == 0, "got %s", line);
    CHECK(fclose(stdout) == 0 && fgets(line, sizeof(line), stdin) == NULL && feof(stdin), "the end");
    CHECK(fclose(stdin) == 0, "fclose of stdin");
}

static void reopened(void)
{
    int from[2];
    char name[40];
    SYS(pipe(from));
    tcp_pair(end);
    put_on(end[0], 1);
    printf("buffered");
    snprintf(name, sizeof(name), "/proc/self/fd/%d", from[1]);
    CHECK(freopen(name, "w", stdout) == stdout && fileno(stdout) == 1, "freopen: %s", strerror(errno));
    SYS(close(from[1]));
    expect_from(end[1], "buffered");
    expect_eof(end[1]);
    printf("into the file");
    fclose(stdout);
    expect_from(from[0], "into the file");
    expect_eof(from[0]);
}

/* A stream that has been wide before, and one that becomes wide on the connection. */
static void wide(void)
{
    int from[2];
    SYS(pipe(from));
    put_on(from[1], 1);
    wprintf(L"wide\n");
    fflush(stdout);
    expect_from(from[0], "wide\n");
    tcp_pair(end);
    SYS(dup2(end[0], 1));
    put_on(end[0], 2);
    wprintf(L"%ls \u20ac\n", L"wide on the connection");
    CHECK(fflush(stdout) == 0, "fflush");
    fwprintf(stderr, L"wide \u00e4");
    expect_from(end[1], "wide on the connection \342\202\254\nwide \303\244");
}

/* One connection on all three, as a superserver gives it; what is buffered leaves at exit. */
static void at_exit(void)
{
    tcp_pair(end);
    pid_t pid = fork_child();
    if (pid == 0) {
        SYS(close(end[1]));
        SYS(dup2(end[0], 0));
        SYS(dup2(end[0], 1));
        put_on(end[0], 2);
        char line[100];
        while (fgets(line, sizeof(line), stdin))
            printf("echo %s", line);
        fprintf(stderr, "[end]");
        exit(0);
    }
    SYS(close(end[0]));
    write_all(end[1], "one\ntwo\n", 8);
    SYS(shutdown(end[1], SHUT_WR));
    expect_from(end[1], "[end]echo one\necho two\n");
    expect_eof(end[1]);
    reap(pid, "echo");
}

static void marker(uint16_t port, const char *text)
{
    int fd = tcp_connect(port);
    printf("%s, buffered before", text);
    SYS(dup2(fd, 2));
    put_on(fd, 1);
    printf(" and %s after\n", text);
    perror(text);
    exit(fflush(stdout) == 0 && dprintf(1, "%s by dprintf\n", text) > 0 ? 0 : 1);
}

/* A connection on the number of a stream by popen, whose functions are not those of other streams. */
static void over_popen(void)
{
    FILE *f = popen("cat", "w");
    CHECK(f, "popen");
    fflush(stdout);
    tcp_pair(end);
    put_on(end[0], fileno(f));
    fputs("by a stream of popen", f);
    printf("%s\n", fflush(f) == 0 ? "written" : strerrorname_np(errno));
    exit(0);
}

static void run(void (*body)(void), const char *name)
{
    pid_t pid = fork_child();
    if (pid == 0) {
        body();
        exit(0);
    }
    reap(pid, name);
}

int main(int argc, char **argv)
{
    if (argc == 4)
        marker((uint16_t)atoi(argv[2]), argv[3]);
    if (argc == 2)
        over_popen();
    watchdog_start();
    cached = stdout;
    CHECK(setlocale(LC_ALL, "C.UTF-8"), "setlocale");
    run(there_and_back, "there_and_back");
    run(input, "input");
    run(messages, "messages");
    run(lowest_number, "lowest_number");
    run(reopened, "reopened");
    run(wide, "wide");
    run(at_exit, "at_exit");
    return 0;
}
