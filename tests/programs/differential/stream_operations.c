/* stdio on a connection: streams on a copy of its number, in all ways of buffering, and what writes without a stream.
 */
#include "differential.h"

enum { FULLY = 0, BY_LINE, NOT_AT_ALL, AS_IT_IS, BUFFERINGS };

static FILE *stream_on(struct call *c, const char *mode)
{
    static const int modes[] = {_IOFBF, _IOLBF, _IONBF};
    int copy = c->fd < 0 ? -1 : fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
    errno = NO_ERRNO;
    FILE *f = fdopen(copy, mode);
    note(c, "opened", f != NULL);
    note(c, "errno", f ? 0 : errno);
    if (!f)
        return NULL;
    note(c, "fileno is right", fileno(f) == copy);
    if (c->step->variant % BUFFERINGS != AS_IT_IS)
        note(c, "setvbuf", setvbuf(f, NULL, modes[c->step->variant % BUFFERINGS], 4096));
    return f;
}

static void close_stream(struct call *c, FILE *f)
{
    int number = fileno(f);
    RUN_BLOCKING(c, fclose(f));
    note(c, "number is closed", fcntl(number, F_GETFD) < 0);
}

/* By fwrite, putc, fputs and fprintf in turn. */
static void run_stream_write(struct call *c)
{
    size_t len = c->step->len, at = 0;
    uint64_t from = c->end->sent;
    FILE *f = stream_on(c, "w");
    if (!f)
        return;
    stream_fill((uint64_t)(1 - c->number), from, area, len);
    for (unsigned turn = 0; at < len && !ferror(f); turn++) {
        size_t n = len - at < 700 ? len - at : 700;
        if (turn % 3 == 0) {
            n = fwrite(area + at, 1, n, f);
        } else if (turn % 3 == 1) {
            n = 1;
            putc(area[at], f);
        } else {
            n = n < 3 ? 1 : 3;
            fprintf(f, n == 3 ? "%c%c%c" : "%c", area[at], area[at + 1], area[at + 2]);
        }
        at += n;
    }
    errno = NO_ERRNO;
    int flushed = fflush(f);
    note_result(c, "result", flushed);
    note(c, "ferror", ferror(f) != 0);
    note(c, "feof", feof(f) != 0);
    if (flushed == 0 && !ferror(f))
        c->end->sent += len;
    close_stream(c, f);
}

/* As much as is there, so that no stream takes more than it gives. */
static void run_stream_read(struct call *c)
{
    int there = 0;
    ioctl(c->fd, FIONREAD, &there);
    FILE *f = stream_on(c, c->step->variant >= BUFFERINGS ? "r+" : "r");
    if (!f)
        return;
    size_t at = 0, want = there < 30000 ? (size_t)there : 0;
    for (unsigned turn = 0; at < want; turn++) {
        size_t n = want - at < 900 ? want - at : 900;
        if (turn % 3 == 1) {
            int byte = getc(f);
            area[at] = (uint8_t)byte;
            n = byte != EOF;
        } else if (turn % 3 == 2) {
            int byte = getc(f);
            n = byte != EOF && ungetc(byte, f) != EOF ? fread(area + at, 1, 1, f) : 0;
        } else {
            n = fread(area + at, 1, n, f);
        }
        if (!n)
            break;
        at += n;
    }
    note(c, "bytes", (long long)at);
    note(c, "differs at", stream_differs((uint64_t)c->number, c->end->received, area, at));
    c->end->received += at;
    if (!there) { /* an end, an error, or nothing until a signal comes */
        guard_arm();
        errno = NO_ERRNO;
        int byte = getc(f), error = errno;
        guard_disarm();
        note(c, "getc", byte);
        note(c, "errno of getc", error);
    }
    note(c, "feof", feof(f) != 0);
    note(c, "ferror", ferror(f) != 0);
    close_stream(c, f);
}

/* One for each direction, over one number: as programs do it, since a stream has one buffer. */
static void run_two_streams(struct call *c)
{
    static const int modes[] = {_IOFBF, _IOLBF, _IONBF};
    int copy = c->fd < 0 ? -1 : fcntl(c->fd, F_DUPFD_CLOEXEC, 0), there = 0;
    if (copy < 0)
        return;
    FILE *r = fdopen(copy, "r"), *w = fdopen(copy, "w");
    note(c, "opened", r && w);
    note(c, "filenos are right", fileno(r) == copy && fileno(w) == copy);
    for (int i = 0; i < 2 && c->step->variant != AS_IT_IS; i++)
        setvbuf(i ? r : w, NULL, modes[c->step->variant], 4096);
    size_t len = c->step->len;
    stream_fill((uint64_t)(1 - c->number), c->end->sent, area, len);
    errno = NO_ERRNO;
    bool written = fwrite(area, 1, len, w) == len && fflush(w) == 0;
    note(c, "written", written);
    note(c, "errno", errno);
    c->end->sent += written ? len : 0;
    ioctl(copy, FIONREAD, &there);
    size_t want = there > 0 && there < 30000 ? (size_t)there : 0, got = fread(area, 1, want, r);
    note(c, "bytes", (long long)got);
    note(c, "differs at", stream_differs((uint64_t)c->number, c->end->received, area, got));
    c->end->received += got;
    note(c, "ferror", ferror(r) != 0);
    RUN(c, fclose(w));
    RUN(c, fclose(r)); /* the number is closed already */
}

/* Sockets have no position. */
static void run_stream_seek(struct call *c)
{
    fpos_t at;
    FILE *f = stream_on(c, "r+");
    if (!f)
        return;
    RUN(c, fseek(f, 0, SEEK_SET));
    RUN(c, fseek(f, 10, SEEK_CUR));
    RUN(c, fseek(f, 0, 99));
    RUN(c, fseeko(f, 0, SEEK_END));
    RUN(c, ftell(f));
    RUN(c, fgetpos(f, &at));
    errno = NO_ERRNO;
    rewind(f);
    note(c, "errno of rewind", errno);
    note(c, "ferror", ferror(f) != 0);
    RUN(c, ftello(f));
    close_stream(c, f);
}

static void run_stream_modes(struct call *c)
{
    static const char *const modes[] = {"x", "", "r", "a", "w+", "rb", "wbe", "r,ccs=UTF-8"};
    for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        int copy = c->fd < 0 ? -1 : dup(c->fd);
        errno = NO_ERRNO;
        FILE *f = fdopen(copy, modes[i]);
        note(c, "opened", f != NULL);
        note(c, "errno", f ? 0 : errno);
        note(c, "F_GETFD", fcntl(copy, F_GETFD));
        if (f)
            close_stream(c, f);
        else if (copy >= 0)
            close(copy);
    }
    FILE *f = stream_on(c, c->step->variant ? "w" : "r");
    if (!f)
        return;
    if (c->step->variant) /* not for this stream */
        RUN(c, getc(f));
    else
        RUN(c, putc('x', f));
    note(c, "ferror", ferror(f) != 0);
    close_stream(c, f);
}

/* The number goes to a file, and the connection stays with the others. */
static void run_freopen(struct call *c)
{
    FILE *f = stream_on(c, "w");
    if (!f)
        return;
    stream_fill((uint64_t)(1 - c->number), c->end->sent, area, 3);
    bool taken = fwrite(area, 1, 3, f) == 3;
    static const char *const files[] = {"/dev/null", "/nothing/here", NULL /* the same, in another mode */};
    FILE *again = freopen(files[c->step->variant], "w", f);
    note(c, "opened again", again != NULL);
    bool takes = (end_is_open(c->peer) || c->side->unanswered) && !(c->peer->shut_rd && c->peer->shut_wr);
    if (taken && !c->end->shut_wr && !c->end->dissolved && !c->peer->dissolved && takes)
        c->end->sent += 3; /* it was flushed */
    if (!again)
        return;
    note(c, "fputs", fputs("lost", again) >= 0);
    RUN(c, fclose(again));
}

__attribute__((format(printf, 2, 3))) static int by_list(int fd, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vdprintf(fd, format, args);
    va_end(args);
    return n;
}

static void run_dprintf(struct call *c)
{
    static const char three[] = "%c%c%c";
    int n;
    stream_fill((uint64_t)(1 - c->number), c->end->sent, area, 3);
    if (c->step->variant)
        n = RUN_BLOCKING(c, by_list(c->fd, three, area[0], area[1], area[2]));
    else
        n = RUN_BLOCKING(c, dprintf(c->fd, three, area[0], area[1], area[2]));
    if (n > 0)
        c->end->sent += (uint64_t)n;
}

static const unsigned no_flags[] = {0, LAST};
static const unsigned no_lengths[] = {0, LAST};
static const unsigned lengths[] = {0, 1, 100, 5000, 20000, LAST};

const struct operation stream_operations[] = {
    {"stream_write", run_stream_write, BUFFERINGS, CHILD, no_flags, lengths, 3},
    {"stream_read", run_stream_read, 2 * BUFFERINGS, CHILD, no_flags, no_lengths, 3},
    {"stream_seek", run_stream_seek, 1, CHILD, no_flags, no_lengths, 1},
    {"stream_modes", run_stream_modes, 2, CHILD, no_flags, no_lengths, 1},
    {"freopen", run_freopen, 3, CHILD, no_flags, no_lengths, 1},
    {"two_streams", run_two_streams, BUFFERINGS, CHILD, no_flags, lengths, 2},
    {"dprintf", run_dprintf, 2, CHILD, no_flags, no_lengths, 2},
    {NULL},
};
