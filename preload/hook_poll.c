/* Readiness stays with the kernel (law 4). Here handshakes are started, and what poll and select report is looked at
 * once more, since their readers trust it: handshake and control records make the kernel's socket readable, and a read
 * would then block, or say EAGAIN, which ncat -l takes for a broken connection. */
#include "stream.h"

#include "io.h"
#include "memory.h"
#include "sys.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

/* glibc declares the array of poll write-only, and so gcc thinks that the hooks pass it uninitialised. */
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

static int fail(int error)
{
    errno = error;
    return -1;
}

/* False readiness: only handshake or control records are there. */
static bool is_false(int fd)
{
    struct desc *d = table_find(fd);
    if (!d || desc_special(d))
        return false;
    return !stream_readable(d, fd);
}

/* False room: a write would say EAGAIN until the handshake is over. */
static bool is_false_room(int fd)
{
    struct desc *d = table_find(fd);
    return d && !desc_special(d) && !stream_writable(d, fd);
}

/* TOUCH_... (stream.h), 0 for what is not protected. A leftover matters to readers only. */
static unsigned touch(int fd, bool reads)
{
    struct desc *d = table_find(fd);
    if (!d)
        table_note_polled(fd);
    if (!d || desc_special(d))
        return 0;
    return stream_touch(d, fd) & (reads ? ~0U : ~(unsigned)TOUCH_LEFTOVER);
}

static unsigned touch_polled(const struct pollfd *fds, nfds_t n)
{
    unsigned touched = 0;
    if (n > INT_MAX || !memory_readable(fds, n * sizeof *fds))
        return 0; /* the kernel says so */
    for (nfds_t i = 0; i < n; i++)
        if (fds[i].fd >= 0)
            touched |= touch(fds[i].fd, fds[i].events & (POLLIN | POLLRDNORM));
    return touched;
}

static int count_ready(const struct pollfd *fds, nfds_t n)
{
    int ready = 0;
    for (nfds_t i = 0; i < n; i++)
        ready += fds[i].revents != 0;
    return ready;
}

/* Takes false answers back. True if there was one. */
static bool correct_polled(struct pollfd *fds, nfds_t n)
{
    const short reading = POLLIN | POLLRDNORM, writing = POLLOUT | POLLWRNORM;
    bool any = false;
    for (nfds_t i = 0; i < n; i++) {
        short lies = 0;
        if (!fds[i].revents || (fds[i].revents & (POLLERR | POLLHUP | POLLNVAL)))
            continue;
        if ((fds[i].revents & reading) && is_false(fds[i].fd))
            lies |= reading;
        if ((fds[i].revents & writing) && is_false_room(fds[i].fd))
            lies |= writing;
        any |= fds[i].revents & lies;
        fds[i].revents &= (short)~lies;
    }
    return any;
}

/* What is left of a timeout; NULL: none was given. */
static struct timespec *left_of(const struct timespec *given, const struct timespec *start, struct timespec *left)
{
    if (!given)
        return NULL;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns = ((int64_t)given->tv_sec - (now.tv_sec - start->tv_sec)) * 1000000000 + given->tv_nsec -
                 (now.tv_nsec - start->tv_nsec);
    if (ns < 0)
        ns = 0;
    *left = (struct timespec){ns / 1000000000, ns % 1000000000};
    return left;
}

static bool is_valid(const struct timespec *t)
{
    return !t || (memory_readable(t, sizeof *t) && t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1000000000);
}

static bool is_zero(const struct timespec *t)
{
    return t && t->tv_sec == 0 && t->tv_nsec == 0;
}

static bool has_leftover(int fd)
{
    return touch(fd, true) & TOUCH_LEFTOVER;
}

static void add_leftover(struct pollfd *fds, nfds_t n)
{
    for (nfds_t i = 0; i < n; i++)
        if (fds[i].fd >= 0 && has_leftover(fds[i].fd))
            fds[i].revents |= fds[i].events & (short)(POLLIN | POLLRDNORM);
}

static int poll_kernel(struct pollfd *fds, nfds_t n, const struct timespec *t, const sigset_t *mask)
{
    if (!forbidden.ppoll)
        return real()->ppoll(fds, n, t, mask);
    return real()->poll(fds, n, t ? (int)(t->tv_sec * 1000 + (t->tv_nsec + 999999) / 1000000) : -1);
}

static int poll_protected(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask,
                          unsigned touched)
{
    struct timespec start, room, slice, *left = NULL;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (unsigned round = 1;; round++) {
        left = left_of(timeout, &start, &room);
        int r = poll_kernel(fds, n, stream_wait_slice(left, touched, &slice), mask);
        if (r < 0)
            return r;
        if (touched & TOUCH_LEFTOVER)
            add_leftover(fds, n);
        bool corrected = r > 0 && correct_polled(fds, n);
        r = count_ready(fds, n);
        if (r || is_zero(left) || !(corrected || (touched & TOUCH_BUSY)))
            return r;
        stream_pause(corrected ? round : 0);
        touched = touch_polled(fds, n);
    }
}

HOOK int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    unsigned touched = table_size ? touch_polled(fds, n) : 0;
    if (!touched)
        return real()->poll(fds, n, timeout_ms);
    struct timespec t = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    return poll_protected(fds, n, timeout_ms < 0 ? NULL : &t, NULL, touched);
}
HOOK_ALIAS(poll, __poll);

HOOK int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
    unsigned touched = table_size && is_valid(timeout) ? touch_polled(fds, n) : 0;
    return touched ? poll_protected(fds, n, timeout, mask, touched) : real()->ppoll(fds, n, timeout, mask);
}

void __chk_fail(void) __attribute__((noreturn));
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout_ms, size_t room);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t room);

HOOK int __poll_chk(struct pollfd *fds, nfds_t n, int timeout_ms, size_t room)
{
    if (room / sizeof *fds < n)
        __chk_fail();
    return poll(fds, n, timeout_ms);
}

HOOK int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t room)
{
    if (room / sizeof *fds < n)
        __chk_fail();
    return ppoll(fds, n, timeout, mask);
}

/* An fd_set may be larger than FD_SETSIZE when the program allocates it so; only n numbers are looked at. */
static size_t set_bytes(int n)
{
    return ((size_t)n + 63) / 64 * 8;
}

static bool in_set(const fd_set *set, int fd)
{
    const unsigned long *words = (const void *)set;
    return set && (words[fd / 64] >> (fd % 64) & 1);
}

static void out_of_set(fd_set *set, int fd)
{
    unsigned long *words = (void *)set;
    words[fd / 64] &= ~(1UL << (fd % 64));
}

static void into_set(fd_set *set, int fd)
{
    unsigned long *words = (void *)set;
    words[fd / 64] |= 1UL << (fd % 64);
}

static bool is_bad_set(const fd_set *set, int n)
{
    return set && !memory_readable(set, set_bytes(n));
}

static unsigned touch_selected(int n, const fd_set *readers, const fd_set *writers, const fd_set *others)
{
    unsigned touched = 0;
    if (table_size && n > 0 && (is_bad_set(readers, n) || is_bad_set(writers, n) || is_bad_set(others, n)))
        return 0; /* the kernel says so */
    for (int fd = 0; table_size && fd < n; fd++)
        if (table_word(fd) != WORD_PLAIN && (in_set(readers, fd) || in_set(writers, fd)))
            touched |= touch(fd, in_set(readers, fd));
    return touched;
}

/* To look whether readiness is false may take an error away that the next call of the program has to say. */
static bool has_ended(int fd)
{
    struct pollfd p = {.fd = fd};
    return io_poll(&p, 1, 0) != 0; /* POLLERR and POLLHUP need not be asked for */
}

static int correct_selected(int n, fd_set *ready, bool (*is_false_there)(int fd))
{
    int taken = 0;
    for (int fd = 0; ready && fd < n; fd++) {
        if (!in_set(ready, fd) || table_word(fd) == WORD_PLAIN || has_ended(fd) || !is_false_there(fd))
            continue;
        out_of_set(ready, fd);
        taken++;
    }
    return taken;
}

struct kept_sets {
    uint8_t *copies;
    fd_set *sets[3];
    size_t bytes;
};

static bool keep_sets(struct kept_sets *k, int n, fd_set *r, fd_set *w, fd_set *e)
{
    *k = (struct kept_sets){.sets = {r, w, e}, .bytes = set_bytes(n)};
    k->copies = malloc(3 * k->bytes + 1);
    for (int i = 0; k->copies && i < 3; i++)
        if (k->sets[i])
            memcpy(k->copies + (size_t)i * k->bytes, k->sets[i], k->bytes);
    return k->copies;
}

static void restore_sets(const struct kept_sets *k)
{
    for (int i = 0; i < 3; i++)
        if (k->sets[i])
            memcpy(k->sets[i], k->copies + (size_t)i * k->bytes, k->bytes);
}

/* The readers that the program asked for are in kept. */
static int add_selected(int n, fd_set *readers, const fd_set *kept)
{
    int added = 0;
    for (int fd = 0; fd < n; fd++) {
        if (!in_set(kept, fd) || in_set(readers, fd) || table_word(fd) == WORD_PLAIN || !has_leftover(fd))
            continue;
        into_set(readers, fd);
        added++;
    }
    return added;
}

static int select_protected(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *timeout,
                            const sigset_t *mask, struct timespec *left_after, unsigned touched)
{
    struct timespec start, room, slice, *left;
    struct kept_sets kept;
    if (!keep_sets(&kept, n, r, w, e))
        return fail(ENOMEM);
    clock_gettime(CLOCK_MONOTONIC, &start);
    int ready;
    for (unsigned round = 1;; round++) {
        left = left_of(timeout, &start, &room);
        ready = real()->pselect(n, r, w, e, stream_wait_slice(left, touched, &slice), mask);
        if (ready < 0)
            break;
        if (touched & TOUCH_LEFTOVER)
            ready += add_selected(n, r, (const fd_set *)kept.copies);
        int taken = ready > 0 ? correct_selected(n, r, is_false) + correct_selected(n, w, is_false_room) : 0;
        ready -= taken;
        if (ready || is_zero(left) || !(taken || (touched & TOUCH_BUSY)))
            break;
        restore_sets(&kept);
        stream_pause(taken ? round : 0);
        touched = touch_selected(n, r, w, e);
    }
    int saved = errno;
    free(kept.copies);
    if (left_after && timeout)
        left_of(timeout, &start, left_after);
    errno = saved;
    return ready;
}

HOOK int select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout)
{
    unsigned touched = touch_selected(n, r, w, e);
    if (!touched)
        return real()->select(n, r, w, e, timeout);
    struct timespec t = {0, 0}, left = {0, 0};
    if (timeout) {
        if (timeout->tv_sec < 0 || timeout->tv_usec < 0)
            return fail(EINVAL);
        t = (struct timespec){timeout->tv_sec + timeout->tv_usec / 1000000, timeout->tv_usec % 1000000 * 1000};
    }
    int ready = select_protected(n, r, w, e, timeout ? &t : NULL, NULL, &left, touched);
    if (timeout) /* Linux shows what is left: select(2) */
        *timeout = (struct timeval){left.tv_sec, left.tv_nsec / 1000};
    return ready;
}
HOOK_ALIAS(select, __select);

HOOK int pselect(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *timeout, const sigset_t *mask)
{
    unsigned touched = is_valid(timeout) ? touch_selected(n, r, w, e) : 0;
    if (!touched)
        return real()->pselect(n, r, w, e, timeout, mask);
    return select_protected(n, r, w, e, timeout, mask, NULL, touched);
}
