/* libc's stdio reads, writes and closes behind the hooks. A stream over a number that is of interest to us is adopted:
 * it stays the object that it is, with its buffers, its mode and its lock, and only the three system calls underneath
 * are made by the hooks from then on. They look at the number each time, so an adopted stream is right whatever the
 * number becomes later.
 *
 * How: the last word of a FILE points to its table of functions. Ours is a copy of libc's with three entries replaced.
 * libc takes a table of another library only after _IO_init has been called, which was for programs of old; that ends
 * a check of FILE objects against forgery in this process (SECURITY.md), and so is done at the first adoption. The
 * alternative, fopencookie, can give neither wide streams nor freopen, and cannot help those who have kept the value of
 * stdout (C++'s cout among them). If libc's insides are not as expected, the stream is cut off instead: EBADF. */
#include "state.h"

#include "sys.h"

#include <stdio.h>
#include <sys/mman.h>

/* struct _IO_jump_t of glibc's libioP.h, since 2.1: 21 words, of which these are ours to know. */
enum { JUMP_READ = 14, JUMP_WRITE = 15, JUMP_CLOSE = 17, JUMPS = 21 };
enum { FLAG_ERROR = 0x20, FLAG_PUTTING = 0x800 }; /* _IO_ERR_SEEN, _IO_CURRENTLY_PUTTING */
enum { WIDE_WORDS = 29, TABLES_BYTES = 4096 };    /* the size of struct _IO_wide_data in words */

typedef void *jump_table[JUMPS];

extern FILE *_IO_list_all; /* all open streams, chained by _chain */
extern void _IO_list_lock(void);
extern void _IO_list_unlock(void);
extern void _IO_list_resetlock(void);
extern jump_table _IO_file_jumps, _IO_wfile_jumps;
extern ssize_t _IO_file_read(FILE *f, void *buffer, ssize_t len);
extern ssize_t _IO_file_write(FILE *f, const void *data, ssize_t len);
extern int _IO_file_close(FILE *f);
extern void _IO_init(FILE *f, int flags);

/* Ours, for streams of bytes and of wide characters, in a page of their own that is read-only once it is filled. Made
 * and looked at under libc's lock of the list of streams. */
static struct tables {
    jump_table narrow, wide;
} * tables;

static ssize_t read_stream(FILE *f, void *buffer, ssize_t len)
{
    thread.in_stream++;
    ssize_t n = read(f->_fileno, buffer, (size_t)len);
    thread.in_stream--;
    return n;
}

/* As libc's own: all of it, or an error. */
static ssize_t write_stream(FILE *f, const void *data, ssize_t len)
{
    ssize_t done = 0;
    while (done < len) {
        thread.in_stream++;
        ssize_t n = write(f->_fileno, (const char *)data + done, (size_t)(len - done));
        thread.in_stream--;
        if (n < 0) {
            f->_flags |= FLAG_ERROR;
            break;
        }
        done += n;
    }
    if (f->_offset >= 0)
        f->_offset += done;
    return done;
}

static int close_stream(FILE *f)
{
    thread.in_stream++;
    int r = close(f->_fileno);
    thread.in_stream--;
    return r;
}

static bool is_as_expected(const jump_table t)
{
    return t[JUMP_READ] == (void *)_IO_file_read && t[JUMP_WRITE] == (void *)_IO_file_write &&
           t[JUMP_CLOSE] == (void *)_IO_file_close;
}

static void copy_table(jump_table to, const jump_table from)
{
    for (int i = 0; i < JUMPS; i++)
        to[i] = from[i];
    to[JUMP_READ] = (void *)read_stream;
    to[JUMP_WRITE] = (void *)write_stream;
    to[JUMP_CLOSE] = (void *)close_stream;
}

static bool tables_make(void)
{
    static FILE scratch;
    if (tables)
        return true;
    if (!is_as_expected(_IO_file_jumps) || !is_as_expected(_IO_wfile_jumps))
        return false;
    struct tables *t = mmap(NULL, TABLES_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (t == MAP_FAILED)
        return false;
    copy_table(t->narrow, _IO_file_jumps);
    copy_table(t->wide, _IO_wfile_jumps);
    mprotect(t, TABLES_BYTES, PROT_READ);
    _IO_init(&scratch, 0);
    tables = t;
    return true;
}

/* struct _IO_FILE_plus of libioP.h. */
static void **jumps_of(FILE *f)
{
    return (void **)(f + 1);
}

/* The table that the stream gets when it turns out to be a wide one is named in its wide data. NULL: not found. */
static void **wide_jumps_of(FILE *f)
{
    void **words = (void **)f->_wide_data;
    for (int i = 0; words && words != (void **)-1L && i < WIDE_WORDS; i++)
        if (words[i] == _IO_wfile_jumps || words[i] == tables->wide)
            return &words[i];
    return NULL;
}

static bool is_adopted(FILE *f)
{
    return tables && (*jumps_of(f) == tables->narrow || *jumps_of(f) == tables->wide);
}

static bool adopt(FILE *f)
{
    if (!tables_make())
        return false;
    void **jumps = jumps_of(f), **wide_jumps = wide_jumps_of(f);
    if (is_adopted(f))
        return true;
    if (!wide_jumps || (*jumps != _IO_file_jumps && *jumps != _IO_wfile_jumps))
        return false;
    *wide_jumps = tables->wide;
    *jumps = *jumps == _IO_file_jumps ? tables->narrow : tables->wide;
    return true;
}

/* No handler of the program runs meanwhile: one that leaves by siglongjmp would leave the lock taken, and one that
 * forks would wait for a fork that waits for this thread. */
void streams_adopt(int fd)
{
    thread_enter();
    _IO_list_lock();
    for (FILE *f = _IO_list_all; f; f = f->_chain) {
        if (f->_fileno != fd || adopt(f))
            continue;
        f->_fileno = -1;
        log_event(LOG_LEVEL_ERROR,
                  "a stream of popen, or of a libc that is unknown here, uses protected descriptor "
                  "%d: the stream fails",
                  fd);
    }
    _IO_list_unlock();
    thread_leave();
}

/* libc's fork takes this lock behind our handlers, with the gate closed, and fflush(NULL) holds it while it writes and
 * so waits at the gate. So it is taken before the gate is closed (gate.c); it counts. In the child libc may have reset
 * it. */
void streams_fork_prepare(void)
{
    _IO_list_lock();
}

void streams_hold(bool hold)
{
    if (hold)
        _IO_list_lock();
    else
        _IO_list_unlock();
}

void streams_fork_parent(void)
{
    _IO_list_unlock();
}

void streams_fork_child(void)
{
    _IO_list_resetlock();
}

/* As libc does at exit, without the streams' locks: a thread may wait in one of them for ever. */
void streams_flush(void)
{
    _IO_list_lock();
    for (FILE *f = _IO_list_all; f; f = f->_chain)
        if (is_adopted(f) && (f->_flags & FLAG_PUTTING))
            fflush_unlocked(f);
    _IO_list_unlock();
}
