/* Streams by fdopen over a connection, and what is left of stdio on a socket: buffering, orientation, flags, errors,
 * seeks. What a stream writes is read from the other end without stdio, and the other way round. */
#include "common.h"

#include <locale.h>
#include <stdio_ext.h>
#include <wchar.h>

static int end[2];

static void expect_bytes(const char *want)
{
    char got[4096] = "";
    size_t len = strlen(want), n = read_full(end[1], got, len);
    CHECK(n == len && memcmp(got, want, len) == 0, "got '%.*s', not '%s'", (int)n, got, want);
}

/* Nothing has left: a byte written past the stream is the next that arrives. */
static void expect_nothing(void)
{
    write_all(end[0], "|", 1);
    expect_bytes("|");
}

static FILE *open_stream(const char *mode)
{
    tcp_pair(end);
    FILE *f = fdopen(end[0], mode);
    CHECK(f, "fdopen %s: %s", mode, strerror(errno));
    CHECK(fileno(f) == end[0], "fileno is %d, not %d", fileno(f), end[0]);
    progress();
    return f;
}

static void close_stream(FILE *f)
{
    int fd = fileno(f);
    CHECK(fclose(f) == 0, "fclose: %s", strerror(errno));
    CHECK(fcntl(fd, F_GETFD) < 0 && errno == EBADF, "fclose left the descriptor open");
    expect_eof(end[1]);
    close(end[1]);
}

static void opening(void)
{
    FILE *f;
    tcp_pair(end);
    CHECK(!fdopen(end[0], "z") && errno == EINVAL, "mode z: %s", strerror(errno));
    CHECK(!fdopen(-1, "r") && errno == EBADF, "descriptor -1: %s", strerror(errno));
    CHECK(!fdopen(900, "r") && errno == EBADF, "a closed descriptor: %s", strerror(errno));
    errno = 99;
    CHECK((f = fdopen(end[0], "r+")) && errno == 99, "errno was touched: %d", errno);
    CHECK(fseek(f, 0, SEEK_CUR) < 0 && errno == ESPIPE, "fseek: %s", strerror(errno));
    CHECK(ftell(f) < 0 && errno == ESPIPE, "ftell: %s", strerror(errno));
    fpos_t at;
    CHECK(fgetpos(f, &at) < 0 && errno == ESPIPE, "fgetpos: %s", strerror(errno));
    CHECK(__freadable(f) && __fwritable(f), "of r+");
    close_stream(f);
    f = open_stream("r");
    CHECK(fputs("x", f) == EOF && errno == EBADF && ferror(f), "writing a stream for reading");
    close_stream(f);
    f = open_stream("w");
    CHECK(fgetc(f) == EOF && errno == EBADF && ferror(f), "reading a stream for writing");
    close_stream(f);
}

static void buffers(void)
{
    FILE *f = open_stream("w");
    char line[100];
    fputs("full\n", f); /* a socket is no terminal */
    CHECK(__fpending(f) == 5 && __fbufsize(f) >= 512 && !__flbf(f), "pending %zu of %zu", __fpending(f), __fbufsize(f));
    expect_nothing();
    CHECK(fflush(f) == 0, "fflush");
    expect_bytes("full\n");
    CHECK(setvbuf(f, line, _IOLBF, sizeof(line)) == 0 && __flbf(f), "setvbuf _IOLBF");
    fputs("half", f);
    expect_nothing();
    fputs(" line\nrest", f);
    expect_bytes("half line\n");
    CHECK(setvbuf(f, NULL, _IONBF, 0) == 0, "setvbuf _IONBF");
    expect_bytes("rest");
    fprintf(f, "%s %d", "unbuffered", 7);
    expect_bytes("unbuffered 7");
    CHECK(fputc_unlocked('a', f) == 'a' && fwrite_unlocked("bc", 1, 2, f) == 2 && fputs_unlocked("d", f) >= 0,
          "unlocked");
    expect_bytes("abcd");
    CHECK(setvbuf(f, NULL, _IOFBF, 100) == 0, "setvbuf _IOFBF");
    for (int i = 0; i < 30; i++)
        putw(0x2e2e2e2e, f);
    fflush(NULL);
    expect_bytes("................................................"
                 "........................................................................");
    fputs("left for fclose", f);
    int last = end[0];
    CHECK(fclose(f) == 0 && fcntl(last, F_GETFD) < 0, "fclose");
    expect_bytes("left for fclose");
    expect_eof(end[1]);
    close(end[1]);
}

static void reading(void)
{
    FILE *f = open_stream("r");
    char text[100], *line = NULL;
    size_t room = 0;
    int word;
    write_all(end[1], "first line\nsecond 42 x\nthird\0x\nrest of it", 41);
    CHECK(fgets(text, sizeof(text), f) && strcmp(text, "first line\n") == 0, "fgets gave %s", text);
    CHECK(fscanf(f, "%99s %d", text, &word) == 2 && word == 42 && strcmp(text, "second") == 0, "fscanf");
    CHECK(getc(f) == ' ' && getc_unlocked(f) == 'x' && ungetc('y', f) == 'y' && fgetc(f) == 'y', "ungetc");
    CHECK(getline(&line, &room, f) == 1 && *line == '\n', "getline");
    CHECK(getdelim(&line, &room, '\n', f) == 8 && memcmp(line, "third\0x\n", 8) == 0, "getdelim");
    CHECK(fread(text, 1, 10, f) == 10 && memcmp(text, "rest of it", 10) == 0, "fread");
    SYS(shutdown(end[1], SHUT_WR));
    CHECK(fread(text, 1, 10, f) == 0 && feof(f) && !ferror(f), "the end");
    clearerr(f);
    CHECK(fgetc(f) == EOF && feof(f), "the end again");
    free(line);
    fclose(f);
    close(end[1]);
}

/* Reading and writing by one stream: a socket has no position, so it needs no seek in between. */
static void update(const char *mode)
{
    FILE *f = open_stream(mode);
    char text[100];
    for (int i = 0; i < 5; i++) {
        fprintf(f, "question %d\n", i);
        fflush(f);
        snprintf(text, sizeof(text), "question %d\n", i);
        expect_bytes(text);
        write_all(end[1], "answer\nmore\n", 12);
        CHECK(fgets(text, sizeof(text), f) && strcmp(text, "answer\n") == 0, "%s: got %s", mode, text);
        CHECK(fgets(text, sizeof(text), f) && strcmp(text, "more\n") == 0, "%s: got %s", mode, text);
    }
    close_stream(f);
}

static void two_streams(void)
{
    tcp_pair(end);
    int copy = (int)SYS(dup(end[0]));
    FILE *in = fdopen(end[0], "r"), *out = fdopen(copy, "w");
    char text[100];
    fprintf(out, "request\n");
    fflush(out);
    expect_bytes("request\n");
    write_all(end[1], "reply\n", 6);
    CHECK(fgets(text, sizeof(text), in) && strcmp(text, "reply\n") == 0, "got %s", text);
    fputs("last", out);
    CHECK(fclose(in) == 0, "fclose of the first");
    CHECK(fileno(out) == copy && fclose(out) == 0, "fclose of the second");
    expect_bytes("last");
    expect_eof(end[1]);
    close(end[1]);
}

static void wide(void)
{
    FILE *f = open_stream("r+");
    wchar_t text[100];
    CHECK(fwide(f, 0) == 0 && fwide(f, 1) > 0, "fwide");
    CHECK(fwprintf(f, L"%ls %d \u00e4\u20ac", L"wide", 3) == 9, "fwprintf");
    CHECK(fputws(L" and more", f) >= 0 && fputwc(L'\n', f) == L'\n', "fputws");
    CHECK(fputs("narrow", f) == EOF, "a narrow string on a wide stream");
    CHECK(fflush(f) == 0, "fflush");
    expect_bytes("wide 3 \303\244\342\202\254 and more\n");
    write_all(end[1], "gr\303\274\303\237e\nrest\n", 13);
    CHECK(fgetws(text, 100, f) && wcscmp(text, L"gr\u00fc\u00dfe\n") == 0, "fgetws");
    CHECK(fgetwc(f) == L'r' && ungetwc(L'R', f) == L'R' && fwscanf(f, L"%99ls", text) == 1, "fwscanf");
    CHECK(wcscmp(text, L"Rest") == 0, "got %ls", text);
    fputws(L"left", f);
    int last = end[0];
    CHECK(fclose(f) == 0 && fcntl(last, F_GETFD) < 0, "fclose");
    expect_bytes("left");
    close(end[1]);
}

static void interrupted(int signal_number)
{
    (void)signal_number;
}

static void errors(void)
{
    FILE *f = open_stream("r+");
    char big[4096];
    set_nonblocking(end[0]);
    CHECK(fgetc(f) == EOF && errno == EAGAIN && ferror(f) && !feof(f), "EAGAIN: %s", strerror(errno));
    clearerr(f);
    write_all(end[1], "x", 1);
    SYS(poll(&(struct pollfd){.fd = end[0], .events = POLLIN}, 1, -1));
    CHECK(fgetc(f) == 'x', "after EAGAIN: %s", strerror(errno));
    memset(big, '.', sizeof(big));
    while (fwrite(big, 1, sizeof(big), f) == sizeof(big))
        progress();
    CHECK(errno == EAGAIN && ferror(f), "a full socket: %s", strerror(errno));
    fclose(f);
    close(end[1]);

    struct sigaction act = {.sa_handler = interrupted};
    struct itimerval soon = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};
    f = open_stream("r");
    SYS(sigaction(SIGALRM, &act, NULL));
    SYS(setitimer(ITIMER_REAL, &soon, NULL));
    CHECK(fgetc(f) == EOF && errno == EINTR && ferror(f), "EINTR: %s", strerror(errno));
    SYS(setitimer(ITIMER_REAL, &never, NULL));
    close_stream(f);

    f = open_stream("w");
    SYS(shutdown(end[0], SHUT_WR));
    signal(SIGPIPE, SIG_IGN);
    fputs("x", f);
    CHECK(fflush(f) == EOF && errno == EPIPE && ferror(f), "EPIPE: %s", strerror(errno));
    fclose(f);
    close(end[1]);

    f = open_stream("w"); /* the descriptor is closed below the stream */
    SYS(close(end[0]));
    fputs("x", f);
    CHECK(fclose(f) == EOF && errno == EBADF, "fclose of a closed descriptor: %s", strerror(errno));
    close(end[1]);
}

static void by_descriptor(void)
{
    char *text = NULL;
    size_t len = 100000;
    tcp_pair(end);
    CHECK(dprintf(end[0], "%s %d\n", "by dprintf", 9) == 13, "dprintf");
    expect_bytes("by dprintf 9\n");
    CHECK(dprintf(end[0], "%s", "") == 0, "an empty dprintf");
    CHECK((text = malloc(len)) != NULL, "malloc");
    memset(text, 'l', len);
    CHECK(dprintf(end[0], "%.*s", (int)len, text) == (int)len, "a long dprintf");
    CHECK(read_full(end[1], text, len) == len, "a long dprintf arrived in part");
    free(text);
    SYS(close(end[0]));
    CHECK(dprintf(end[0], "x") < 0 && errno == EBADF, "dprintf on a closed descriptor: %s", strerror(errno));
    expect_eof(end[1]);
    close(end[1]);
}

/* A stream over a socket that is connected later. */
static void before_connect(void)
{
    uint16_t port;
    int listener = tcp_listen(1, &port);
    struct sockaddr_in a = loopback(port);
    end[0] = tcp_socket();
    FILE *f = fdopen(end[0], "r+");
    CHECK(f, "fdopen");
    SYS(connect(end[0], (struct sockaddr *)&a, sizeof(a)));
    end[1] = tcp_accept(listener);
    SYS(close(listener));
    fputs("connected later\n", f);
    fflush(f);
    expect_bytes("connected later\n");
    close_stream(f);
}

/* The child has a copy of what its parent has buffered, as of every stream. */
static void forked(void)
{
    FILE *f = open_stream("w");
    fputs("twice ", f);
    pid_t pid = fork_child();
    if (pid == 0) {
        fputs("child ", f);
        exit(0);
    }
    expect_bytes("twice child ");
    reap(pid, "child");
    fputs("and parent", f);
    fflush(f);
    expect_bytes("twice and parent");
    close_stream(f);
}

static void reopened(void)
{
    FILE *f = open_stream("w"), *null;
    fputs("before", f);
    int fd = fileno(f);
    CHECK(freopen("/dev/null", "r+", f) == f && fileno(f) == fd, "freopen");
    expect_bytes("before");
    expect_eof(end[1]);
    CHECK(fputs("into the void", f) >= 0 && fclose(f) == 0, "the new file");
    close(end[1]);
    f = open_stream("w");
    CHECK(freopen("/no/such/file", "w", f) == NULL && errno == ENOENT, "freopen: %s", strerror(errno));
    CHECK(fcntl(end[0], F_GETFD) < 0, "the descriptor is still open");
    expect_eof(end[1]);
    close(end[1]);
    f = open_stream("w");
    CHECK(freopen(NULL, "r", f) == NULL && errno == ENXIO, "freopen of a socket: %s", strerror(errno));
    expect_eof(end[1]);
    close(end[1]);
    CHECK((null = fopen("/dev/null", "r")) && fclose(null) == 0, "fopen");
}

int main(void)
{
    watchdog_start();
    CHECK(setlocale(LC_ALL, "C.UTF-8"), "setlocale");
    opening();
    buffers();
    reading();
    update("r+");
    update("w+");
    update("a+");
    two_streams();
    wide();
    errors();
    by_descriptor();
    before_connect();
    forked();
    reopened();
    return 0;
}
