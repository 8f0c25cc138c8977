/* The table of live connections (status.h): who gets which record, and the memory under them. */
#include "status.h"

#include "sys.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif

/* Mapped in segments, and each only when it is needed: a program with mlockall(MCL_FUTURE) gets all of a mapping as
 * real memory at once. */
enum { SEGMENT_RECORDS = 128, SEGMENTS = STATUS_RECORDS / SEGMENT_RECORDS };
static const size_t segment_size = SEGMENT_RECORDS * sizeof(struct status_record);
static const off_t file_size = STATUS_HEADER + (off_t)STATUS_RECORDS * (off_t)sizeof(struct status_record);

struct segment {
    struct status_record *records; /* NULL: not mapped */
    uint64_t used[SEGMENT_RECORDS / 64];
    unsigned count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct status_host host;
static _Atomic int file = -1;
static struct status_header *header;
static struct segment segments[SEGMENTS];
static unsigned mapped; /* segments, from the first on */
static unsigned first;  /* none before it has a free record */
static bool broken;     /* it could not be made: not tried again at each connection */
static bool frozen;     /* a sandbox */

void status_init(const struct status_host *h)
{
    host = *h;
}

static void *map(off_t offset, size_t size)
{
    void *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, atomic_load(&file), offset);
    if (m == MAP_FAILED)
        return NULL;
    madvise(m, size, MADV_DONTDUMP);
    return m;
}

/* A process under RLIMIT_FSIZE would be killed by ftruncate. Others of the same user may look, and none need write. */
static int new_file(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur < (rlim_t)file_size)
        return -1;
    long fd = sys2(SYS_memfd_create, STATUS_NAME, (long)(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));
    if (fd < 0) /* before Linux 6.3 */
        fd = sys2(SYS_memfd_create, STATUS_NAME, (long)(MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (fd < 0)
        return -1;
    sys2(SYS_fchmod, fd, 0400L);
    if (sys2(SYS_ftruncate, fd, (long)file_size) == 0 &&
        sys3(SYS_fcntl, fd, F_ADD_SEALS, (long)(F_SEAL_SHRINK | F_SEAL_GROW)) == 0)
        return host.hide ? host.hide((int)fd) : (int)fd;
    sys1(SYS_close, fd);
    return -1;
}

static void close_file(void)
{
    const int fd = atomic_exchange(&file, -1);
    if (fd < 0)
        return;
    sys1(SYS_close, (long)fd);
    if (host.forget)
        host.forget(fd);
}

/* lock held. */
static bool make_file(void)
{
    if (header)
        return true;
    if (broken || frozen || !host.wanted)
        return false;
    broken = true;
    atomic_store(&file, new_file());
    if (atomic_load(&file) < 0)
        return false;
    if (!(header = map(0, STATUS_HEADER))) {
        close_file();
        return false;
    }
    if (host.own)
        host.own(&file);
    header->layout = STATUS_LAYOUT;
    header->record_size = sizeof(struct status_record);
    memcpy(header->version, P2PTLS_VERSION, sizeof P2PTLS_VERSION);
    memcpy(header->magic, "p2pstat", sizeof header->magic);
    broken = false;
    return true;
}
_Static_assert(sizeof P2PTLS_VERSION <= sizeof((struct status_header *)0)->version, "the version has room");

/* lock held. One more segment. */
static bool grow(void)
{
    if (mapped == SEGMENTS || frozen)
        return false;
    struct segment *s = &segments[mapped];
    s->records = map(STATUS_HEADER + (off_t)mapped * (off_t)segment_size, segment_size);
    if (!s->records)
        return false;
    mapped++;
    return true;
}

/* lock held. */
static struct status_record *find_free(void)
{
    while (first < mapped && segments[first].count == SEGMENT_RECORDS)
        first++;
    if (first == mapped && !grow())
        return NULL;
    struct segment *s = &segments[first];
    unsigned i = 0;
    while (s->used[i / 64] == UINT64_MAX)
        i += 64;
    i += (unsigned)__builtin_ctzll(~s->used[i / 64]);
    s->used[i / 64] |= UINT64_C(1) << i % 64;
    s->count++;
    const uint32_t index = first * SEGMENT_RECORDS + i;
    if (atomic_load_explicit(&header->used, memory_order_relaxed) <= index)
        atomic_store_explicit(&header->used, index + 1, memory_order_release);
    return &s->records[i];
}

struct status_record *status_take(void)
{
    struct status_record *r = NULL;
    pthread_mutex_lock(&lock);
    if (make_file() && !(r = find_free()))
        atomic_fetch_add(&header->missing, 1);
    pthread_mutex_unlock(&lock);
    if (!r)
        return NULL;
    status_begin(r);
    memset((char *)r + sizeof r->generation, 0, sizeof *r - sizeof r->generation);
    atomic_store(&r->state, STATUS_HANDSHAKE);
    return r;
}

static struct segment *segment_of(const struct status_record *r)
{
    unsigned i = 0;
    while (r < segments[i].records || r >= segments[i].records + SEGMENT_RECORDS)
        i++;
    return &segments[i];
}

void status_give(struct status_record *r)
{
    if (!r)
        return;
    atomic_store(&r->state, 0);
    pthread_mutex_lock(&lock);
    struct segment *s = segment_of(r);
    const unsigned i = (unsigned)(r - s->records), at = (unsigned)(s - segments);
    s->used[i / 64] &= ~(UINT64_C(1) << i % 64);
    s->count--;
    if (at < first)
        first = at;
    /* A server that once had many connections does not keep the memory of their records. */
    if (!s->count && at && !frozen)
        madvise(s->records, segment_size, MADV_REMOVE);
    pthread_mutex_unlock(&lock);
}

void status_begin(struct status_record *r)
{
    atomic_fetch_add(&r->generation, 1);
}

void status_end(struct status_record *r)
{
    atomic_fetch_add(&r->generation, 1);
}

void status_prepare(void)
{
    pthread_mutex_lock(&lock);
    if (make_file() && !mapped)
        grow();
    pthread_mutex_unlock(&lock);
}

void status_sandbox(bool inside)
{
    frozen = inside;
}

void status_forked(void)
{
    pthread_mutex_init(&lock, NULL);
    close_file();
    for (unsigned i = 0; i < mapped; i++)
        munmap(segments[i].records, segment_size);
    if (header)
        munmap(header, STATUS_HEADER);
    memset(segments, 0, mapped * sizeof segments[0]);
    header = NULL;
    mapped = first = 0;
    broken = false;
}
