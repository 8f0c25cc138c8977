/* Bytes between sockets, files and pipes: sendfile, splice, tee, vmsplice, copy_file_range. */
#include "differential.h"

#include <sys/mman.h>
#include <sys/sendfile.h>

/* A file that holds what the other end expects next. */
static int file_of(const struct call *c, size_t len)
{
    int file = memfd_create("differential", MFD_CLOEXEC);
    SYS(file);
    stream_fill((uint64_t)(1 - c->number), c->end->sent, area, len);
    for (size_t done = 0; done < len;)
        done += (size_t)SYS(write(file, area + done, len - done));
    SYS(lseek(file, 0, SEEK_SET));
    return file;
}

enum { AT_POSITION = 0, AT_OFFSET, BEYOND_END, BAD_OFFSET, NEGATIVE_OFFSET, FROM_PIPE, FROM_SELF, FILE_VARIANTS };

static void run_sendfile(struct call *c)
{
    size_t len = c->step->len;
    int file = file_of(c, len), pipe_end[2], from = file;
    off_t offset = 0, *at = NULL;
    ssize_t n;
    SYS(pipe2(pipe_end, O_CLOEXEC | O_NONBLOCK));
    if (c->step->variant == AT_OFFSET)
        at = &offset;
    if (c->step->variant == NEGATIVE_OFFSET) {
        offset = -1;
        at = &offset;
    }
    if (c->step->variant == BEYOND_END)
        len += 5000;
    if (c->step->variant == BAD_OFFSET)
        at = bad_pointer();
    if (c->step->variant == FROM_PIPE)
        from = pipe_end[0];
    if (c->step->variant == FROM_SELF)
        from = c->fd;
    n = RUN_BLOCKING(c, sendfile(c->fd, from, at, len));
    if (n > 0)
        c->end->sent += (uint64_t)n;
    note(c, "offset", offset);
    note(c, "position", lseek(file, 0, SEEK_CUR));
    SYS(close(file));
    SYS(close(pipe_end[0]));
    SYS(close(pipe_end[1]));
}

/* What came into a pipe is compared with the stream. */
static long long take_piped(struct call *c, int fd, size_t n)
{
    for (size_t got = 0; got < n;)
        got += (size_t)SYS(read(fd, area + got, n - got));
    long long at = stream_differs((uint64_t)c->number, c->end->received, area, n);
    c->end->received += n;
    return at;
}

static ssize_t move_to_pipe(struct call *c, int pipe, size_t len)
{
    off64_t offset = 0;
    bool splices = strcmp(operation_at(c->step->op)->name, "splice_in") == 0;
    return splices ? splice(c->fd, c->step->variant == 1 ? &offset : NULL, pipe, c->step->variant == 2 ? &offset : NULL,
                            len, c->step->flags)
                   : sendfile(pipe, c->fd, NULL, len);
}

/* How much one call moves depends on the segments, each of which takes one of the pipe's places: all calls are counted
 * together. Linux takes a pipe as the target of sendfile, and then any file as its source. */
static void run_to_pipe(struct call *c)
{
    int pipe_end[2], there = 1;
    size_t total = 0;
    long long wrong = -1;
    SYS(pipe2(pipe_end, O_CLOEXEC));
    guard_arm();
    errno = NO_ERRNO;
    ssize_t n = move_to_pipe(c, pipe_end[1], c->step->len);
    int error = errno;
    guard_disarm();
    while (n > 0 && wrong < 0) {
        wrong = take_piped(c, pipe_end[0], (size_t)n);
        total += (size_t)n;
        if (total >= c->step->len || ioctl(c->fd, FIONREAD, &there) != 0 || there <= 0)
            break;
        n = move_to_pipe(c, pipe_end[1], c->step->len - total);
    }
    errno = error;
    note_result(c, "result", total ? (long long)total : n);
    note(c, "differs from the stream at", wrong);
    SYS(close(pipe_end[0]));
    SYS(close(pipe_end[1]));
}

static void run_splice_out(struct call *c)
{
    int pipe_end[2];
    off64_t offset = 0;
    static const int on = 1;
    size_t len = c->step->len < 60000 ? c->step->len : 60000;
    SYS(pipe2(pipe_end, O_CLOEXEC | O_NONBLOCK));
    stream_fill((uint64_t)(1 - c->number), c->end->sent, area, len);
    if (len)
        SYS(write(pipe_end[1], area, len));
    ssize_t n = RUN_BLOCKING(c, splice(pipe_end[0], c->step->variant == 2 ? &offset : NULL, c->fd,
                                       c->step->variant == 1 ? &offset : NULL, len, c->step->flags));
    if (n > 0)
        c->end->sent += (uint64_t)n;
    int left = -1;
    ioctl(pipe_end[0], FIONREAD, &left);
    note(c, "left in the pipe", left);
    if (c->step->flags & SPLICE_F_MORE) /* what is held back for more would come 200 ms later */
        RUN(c, setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
    SYS(close(pipe_end[0]));
    SYS(close(pipe_end[1]));
}

static void run_odd_splice(struct call *c)
{
    int pipe_end[2], file = file_of(c, 100);
    struct iovec iov = {area, 10};
    SYS(pipe2(pipe_end, O_CLOEXEC | O_NONBLOCK));
    RUN(c, splice(c->fd, NULL, c->fd, NULL, 10, 0));
    RUN(c, splice(c->fd, NULL, file, NULL, 10, 0));
    RUN(c, splice(file, NULL, c->fd, NULL, 10, 0));
    RUN(c, splice(c->fd, NULL, pipe_end[1], NULL, 10, 0x80));
    RUN(c, tee(c->fd, pipe_end[1], 10, 0));
    RUN(c, tee(pipe_end[0], c->fd, 10, 0));
    RUN(c, vmsplice(c->fd, &iov, 1, 0));
    RUN(c, copy_file_range(file, NULL, c->fd, NULL, 10, 0));
    RUN(c, copy_file_range(c->fd, NULL, file, NULL, 10, 0));
    RUN(c, sendfile(file, c->fd, NULL, 10));
    SYS(close(pipe_end[0]));
    SYS(close(pipe_end[1]));
    SYS(close(file));
}

/* Nothing to move, flags that do not exist, bad pointers, and both ends the same. */
static void run_odd_copies(struct call *c)
{
    int pipe_end[2], file = file_of(c, 100);
    struct iovec iov = {area, 10};
    off64_t from = 0, to = 0;
    SYS(pipe2(pipe_end, O_CLOEXEC | O_NONBLOCK));
    RUN(c, splice(c->fd, NULL, pipe_end[1], NULL, 0, 0));
    RUN(c, splice(pipe_end[0], NULL, c->fd, NULL, 0, 0));
    RUN(c, splice(pipe_end[0], NULL, c->fd, NULL, 10, 0x80));
    RUN(c, splice(c->fd, bad_pointer(), pipe_end[1], NULL, 10, 0));
    RUN(c, tee(c->fd, c->fd, 10, 0));
    RUN(c, tee(c->fd, pipe_end[1], 0, 0));
    RUN(c, tee(c->fd, pipe_end[1], 10, 0x80));
    RUN(c, vmsplice(c->fd, NULL, 0, 0));
    RUN(c, vmsplice(c->fd, bad_pointer(), 1, 0));
    RUN(c, vmsplice(c->fd, &iov, 1, SPLICE_F_GIFT));
    RUN(c, vmsplice(c->fd, &iov, 1, 0x80));
    RUN(c, copy_file_range(c->fd, NULL, c->fd, NULL, 10, 0));
    RUN(c, copy_file_range(file, NULL, c->fd, NULL, 0, 0));
    RUN(c, copy_file_range(file, NULL, c->fd, NULL, 10, 1));
    RUN(c, copy_file_range(file, &from, c->fd, &to, 10, 0));
    RUN(c, copy_file_range(c->fd, bad_pointer(), file, NULL, 10, 0));
    RUN(c, sendfile(c->fd, file, NULL, 0));
    RUN(c, sendfile(c->fd, c->side->level, NULL, 10));
    note(c, "position", lseek(file, 0, SEEK_CUR));
    SYS(close(pipe_end[0]));
    SYS(close(pipe_end[1]));
    SYS(close(file));
}

static const unsigned no_flags[] = {0, LAST};
static const unsigned splice_flags[] = {SPLICE_F_NONBLOCK, 0, SPLICE_F_MOVE, SPLICE_F_NONBLOCK | SPLICE_F_MORE, LAST};
static const unsigned lengths[] = {0, 1, 100, 1000, 16384, 16385, 40000, LAST};
static const unsigned no_lengths[] = {0, LAST};

const struct operation file_operations[] = {
    {"sendfile", run_sendfile, FILE_VARIANTS, CHILD, no_flags, lengths, 5},
    {"splice_in", run_to_pipe, 3, CHILD, splice_flags, lengths, 4},
    {"splice_out", run_splice_out, 3, CHILD, splice_flags, lengths, 4},
    {"sendfile_in", run_to_pipe, 1, CHILD, no_flags, lengths, 1},
    {"odd_splice", run_odd_splice, 1, CHILD, no_flags, no_lengths, 1},
    {"odd_copies", run_odd_copies, 1, CHILD, no_flags, no_lengths, 1},
    {NULL},
};
