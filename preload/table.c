#include "table.h"

#include "io.h"
#include "state.h"
#include "sys.h"
#include "waits.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { TABLE_MAX = 1 << 20 };

_Atomic(uintptr_t) *table;
unsigned table_size;
_Atomic unsigned table_high;
__thread struct thread_state thread;

struct desc special_descs[SPECIAL_DESCS];
struct desc library_desc;
_Atomic uint32_t table_gate;
_Atomic int64_t table_gate_until_ms = INT64_MAX;
_Atomic unsigned table_moves;

/* Backwards: the kernel puts a mapping right below the one before it, and a first page there is cheap, since it needs
 * no new page table. Not of a size that huge pages divide: the kernel would align it to one (Linux 6.7), and, where it
 * is told to use them always, the first word would take 2 MiB. */
static bool map_table(unsigned size)
{
    enum { BESIDE = 4096 };
    const size_t bytes = size * sizeof *table + BESIDE;
    char *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED)
        return false;
    table = (void *)(m + bytes - sizeof *table);
    table_size = size;
    return true;
}

/* Also for numbers above the hard limit: the administrator's programs may raise it. Unused pages cost none. */
bool table_init(void)
{
    struct rlimit limit;
    return map_table(TABLE_MAX) || /* or there is a small RLIMIT_AS */
           (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max && limit.rlim_max < TABLE_MAX &&
            map_table((unsigned)limit.rlim_max));
}

uintptr_t table_word(int fd)
{
    return (unsigned)fd < table_size ? atomic_load(table_at(fd)) : WORD_PLAIN;
}

struct desc *table_find_slow(int fd, uintptr_t word)
{
    waits_look();
    while (word == WORD_UNKNOWN || word == WORD_MOVING) {
        if (thread.in_vfork_child)
            return &special_descs[SPECIAL_IN_VFORK];
        if (word == WORD_UNKNOWN)
            classify_unknown(fd);
        else
            sched_yield();
        word = atomic_load(table_at(fd));
    }
    if (word >= WORD_FIRST_POINTER)
        return thread.in_vfork_child ? &special_descs[SPECIAL_IN_VFORK] : (struct desc *)word;
    if (word == WORD_OURS)
        return thread.in_vfork_child ? NULL : &special_descs[SPECIAL_OURS];
    return word == WORD_REFUSED ? &special_descs[SPECIAL_REFUSED] : NULL;
}

struct desc *table_find_data_slow(int fd)
{
    uintptr_t word = atomic_load(table_at(fd));
    if (word_is_unconnected(word))
        table_look(fd, word);
    return table_find_slow(fd, atomic_load(table_at(fd)));
}

static SLOW void defer_cancellation(void)
{
    if (thread.depth == 1)
        real()->pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
}

static inline void enter(void)
{
    if (__builtin_expect(forbidden.defer, 0) && thread.depth == 0)
        signals_hold();
    thread.depth++;
    atomic_signal_fence(memory_order_seq_cst);
    if (__builtin_expect(thread.async_cancel, 0))
        defer_cancellation();
}

static SLOW void leave_deferring(void)
{
    if (thread.signals_held)
        signals_release();
    if (thread.async_cancel) /* a cancellation that came meanwhile happens here */
        real()->pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
}

static inline void leave(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    if (--thread.depth == 0 && __builtin_expect(thread.signals_held | thread.async_cancel, 0))
        leave_deferring();
}

void thread_enter(void)
{
    enter();
}

void thread_leave(void)
{
    leave();
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value, long timeout_ns)
{
    struct timespec t = {0, timeout_ns};
    sys4(SYS_futex, word, FUTEX_WAIT_PRIVATE, (long)value, &t);
}

static SLOW void wake_waiting(struct desc *d)
{
    sys3(SYS_futex, &d->pins, FUTEX_WAKE_PRIVATE, 1 << 30);
}

static inline void unpin(struct desc *d)
{
    if (atomic_fetch_sub(&d->pins, 1) == 1 && __builtin_expect(atomic_load(&d->waited), 0))
        wake_waiting(d);
}

/* Who writes for a stream may have libc's lock of the list of streams, which a fork and the end of stdio wait for. */
static bool passes(uint32_t gate)
{
    return thread.in_stream || (gate == GATE_ENDING && (thread.ends || thread.owes)) ||
           (gate == GATE_DRAINING && io_now_ms() >= atomic_load(&table_gate_until_ms));
}

/* Pinned, and the gate is not open. */
static SLOW void pass_gate(struct desc *d)
{
    uint32_t gate;
    while ((gate = atomic_load(&table_gate)) != GATE_OPEN && (gate == GATE_CLOSED || !passes(gate))) {
        unpin(d);
        leave();
        futex_wait(&table_gate, gate, 1000000);
        enter();
        atomic_fetch_add(&d->pins, 1);
    }
}

/* A thread that is inside already must not wait for the fork that waits for it. */
static inline void pin(struct desc *d)
{
    enter();
    atomic_fetch_add(&d->pins, 1);
    if (__builtin_expect(atomic_load(&table_gate) != GATE_OPEN, 0) && thread.depth == 1)
        pass_gate(d);
}

void library_enter(void)
{
    pin(&library_desc);
}

void library_leave(void)
{
    desc_leave(&library_desc);
}

/* Pinned, and fd is not d's, unless it is the number that we kept. */
static SLOW bool is_kept(struct desc *d, int fd)
{
    if (atomic_load(&d->number) == fd && atomic_load(&d->orphan))
        return true;
    desc_leave(d);
    return false;
}

bool desc_enter(struct desc *d, int fd)
{
    pin(d);
    return __builtin_expect(atomic_load(table_at(fd)) == (uintptr_t)d, 1) || is_kept(d, fd);
}

void desc_leave(struct desc *d)
{
    unpin(d);
    leave();
}

void desc_pin_new(struct desc *d)
{
    thread_enter();
    atomic_fetch_add(&d->pins, 1);
}

void desc_wait_unpinned(struct desc *d)
{
    uint32_t pins;
    if (!atomic_load(&d->pins))
        return;
    atomic_fetch_add(&d->waited, 1);
    while ((pins = atomic_load(&d->pins)) != 0)
        futex_wait(&d->pins, pins, 1000000);
    atomic_fetch_sub(&d->waited, 1);
}

static void raise_high(int fd)
{
    unsigned high = atomic_load(&table_high);
    while ((unsigned)fd >= high && !atomic_compare_exchange_weak(&table_high, &high, (unsigned)fd + 1))
        ;
}

uintptr_t table_set(int fd, uintptr_t word)
{
    if ((unsigned)fd >= table_size)
        return WORD_PLAIN;
    raise_high(fd);
    if (word >= WORD_FIRST_POINTER)
        atomic_store(&((struct desc *)word)->number, fd);
    return atomic_exchange(table_at(fd), word);
}

/* Not behind a gate that is closed. */
static void moving_begin(void)
{
    library_enter();
    thread_enter();
    atomic_fetch_add(&table_moves, 1);
    library_leave();
}

void table_moved(void)
{
    atomic_fetch_sub(&table_moves, 1);
    thread_leave();
}

bool table_try_move(int fd, uintptr_t word)
{
    moving_begin();
    if (atomic_compare_exchange_strong(table_at(fd), &word, WORD_MOVING))
        return true;
    table_moved();
    return false;
}

uintptr_t table_begin_move(int fd)
{
    if ((unsigned)fd >= table_size)
        return WORD_PLAIN;
    uintptr_t word;
    waits_look();
    raise_high(fd);
    moving_begin();
    while ((word = atomic_exchange(table_at(fd), WORD_MOVING)) == WORD_MOVING)
        sched_yield();
    if (word >= WORD_FIRST_POINTER)
        desc_wait_unpinned((struct desc *)word);
    return word;
}

void table_end_move(int fd, uintptr_t word)
{
    uintptr_t moving = WORD_MOVING;
    if ((unsigned)fd >= table_size)
        return;
    if (word >= WORD_FIRST_POINTER)
        atomic_store(&((struct desc *)word)->number, fd);
    atomic_compare_exchange_strong(table_at(fd), &moving, word);
    table_moved();
}

void table_wait_out(struct desc *d)
{
    desc_wait_unpinned(&library_desc);
    if (d)
        desc_wait_unpinned(d);
}
