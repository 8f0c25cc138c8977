/* Each thread has a short stack of notes: waits, and above them the handlers of the program that interrupted them. A
 * thread that is in a wait does nothing, except in a handler. So a call of this thread that finds a wait on top of its
 * notes knows that the wait was left for good. One that finds a handler on top asks whether it is called from that
 * handler still: handlers are left by longjmp and its relatives, which tell where the stack goes (target_of), and by
 * exceptions, where the address of the handler's frame has to do.
 *
 * Notes have tokens: whoever comes back from a wait that was taken for left finds his token gone, and owes nothing. */
#include "waits.h"

#include "bare.h"
#include "io.h"
#include "stack.h"
#include "state.h"
#include "sys.h"

#include <pthread.h>
#include <setjmp.h>

enum { NOTES = 32 };

enum note_kind { NOTE_WAIT = 1, NOTE_BARE, NOTE_MEMORY, NOTE_HANDLER };

struct note {
    enum note_kind kind;
    unsigned token;
    bool covered; /* there was no room for the handler above it: it may be alive */
    /* NOTE_WAIT */
    struct desc *d;
    bool turn;
    bool reads;          /* conn_read_begin */
    int64_t sent_before; /* bytes that the kernel had taken when the turn began, -1: it does not tell */
    int fd;              /* NOTE_BARE */
    void *memory;        /* NOTE_MEMORY */
    /* NOTE_MEMORY, NOTE_HANDLER */
    uintptr_t frame;
    bool on_altstack; /* sigaltstack(2) */
};

static __thread struct note notes[NOTES] __attribute__((tls_model("initial-exec")));
static __thread unsigned next_token __attribute__((tls_model("initial-exec")));
static pthread_key_t at_thread_end;

static unsigned push(struct note n)
{
    if (thread.waits == NOTES)
        return 0;
    if (thread.waits == 0)
        pthread_setspecific(at_thread_end, &at_thread_end);
    n.token = ++next_token ? next_token : ++next_token;
    notes[thread.waits] = n;
    atomic_signal_fence(memory_order_seq_cst);
    thread.waits++;
    return n.token;
}

static struct note *find(unsigned token)
{
    for (unsigned i = thread.waits; token && i-- > 0;)
        if (notes[i].token == token)
            return &notes[i];
    return NULL;
}

/* How many of the bytes that were sent since the turn began the kernel has: 0 or 1; -1: nobody knows. Nobody else
 * sends while the turn lasts. */
static int bytes_since(const struct note *n)
{
    int fd = desc_any_number(n->d);
    if (n->sent_before < 0 || fd < 0 || !desc_enter(n->d, fd))
        return -1;
    int64_t sent = io_sent_total(fd);
    desc_leave(n->d);
    int64_t since = sent < 0 ? -1 : sent - n->sent_before;
    return since == 0 || since == 1 ? (int)since : -1;
}

/* Signals are deferred. The note is gone already. */
static void give_back(const struct note *n)
{
    switch (n->kind) {
    case NOTE_WAIT:
        if (n->turn)
            core->conn_turn_end(n->d->conn, bytes_since(n));
        if (n->reads)
            core->conn_read_end(n->d->conn);
        desc_release(n->d);
        return;
    case NOTE_BARE:
        bare_count(n->fd, -1);
        return;
    case NOTE_MEMORY:
        free(n->memory);
        return;
    case NOTE_HANDLER:
        return;
    }
}

static void pop(void)
{
    struct note n = notes[thread.waits - 1];
    thread.waits--;
    give_back(&n);
}

/* Ends the note, and whatever is above it: that was left. */
static void pop_down_to(unsigned token)
{
    library_enter(); /* no slot moves meanwhile */
    for (bool last = !find(token); !last; pop())
        last = notes[thread.waits - 1].token == token;
    library_leave();
}

unsigned wait_begin(struct desc *d)
{
    desc_hold(d);
    return push((struct note){.kind = NOTE_WAIT, .d = d});
}

void wait_end(struct desc *d, unsigned token)
{
    if (token)
        pop_down_to(token);
    else
        desc_release(d);
}

static struct note *newest_wait(const struct desc *d)
{
    struct note *n = thread.waits ? &notes[thread.waits - 1] : NULL;
    return n && n->kind == NOTE_WAIT && n->d == d ? n : NULL;
}

unsigned wait_read_begin(const struct desc *d)
{
    struct note *n = newest_wait(d);
    if (!n)
        return 0;
    library_enter();
    n->reads = core->conn_read_begin(d->conn);
    library_leave();
    return n->reads ? n->token : 0;
}

void wait_read_end(struct desc *d, unsigned token)
{
    library_enter();
    struct note *n = find(token);
    if (n && n->reads)
        core->conn_read_end(d->conn);
    if (n)
        n->reads = false;
    library_leave();
}

unsigned wait_turn_begin(const struct desc *d, int fd)
{
    struct note *n = newest_wait(d);
    if (!n)
        return 0;
    n->sent_before = io_sent_total(fd);
    n->turn = true;
    return n->token;
}

void wait_turn_end(struct desc *d, unsigned token, bool sent)
{
    thread.owes = true;
    library_enter();
    thread.owes = false;
    struct note *n = find(token);
    if (!token || (n && n->turn))
        core->conn_turn_end(d->conn, sent);
    if (n)
        n->turn = false;
    library_leave();
}

unsigned wait_bare_begin(int fd)
{
    return push((struct note){.kind = NOTE_BARE, .fd = fd});
}

void wait_bare_end(int fd, unsigned token)
{
    if (token)
        pop_down_to(token);
    else
        bare_count(fd, -1);
}

void *wait_malloc(size_t len, const void *frame, unsigned *token)
{
    thread_enter();
    void *memory = malloc(len);
    *token = memory ? push((struct note){.kind = NOTE_MEMORY,
                                         .memory = memory,
                                         .frame = (uintptr_t)frame,
                                         .on_altstack = stack_is_alternate((uintptr_t)frame)})
                    : 0;
    thread_leave();
    return memory;
}

void wait_free(void *memory, unsigned token)
{
    if (token)
        pop_down_to(token);
    else
        free(memory);
}

unsigned waits_cover(const void *frame)
{
    unsigned token = push((struct note){
        .kind = NOTE_HANDLER, .frame = (uintptr_t)frame, .on_altstack = stack_is_alternate((uintptr_t)frame)});
    if (!token)
        notes[thread.waits - 1].covered = true;
    return token;
}

void waits_uncover(unsigned token)
{
    pop_down_to(token);
}

/* Is this thread, with its stack pointer there, still in the handler, or the call that needs the memory? */
static bool inside(const struct note *n, uintptr_t stack_pointer)
{
    return stack_pointer < n->frame && n->on_altstack == stack_is_alternate(stack_pointer);
}

/* Gives back everything from the top on down to a handler that still runs. */
static void settle(uintptr_t stack_pointer)
{
    if (thread.depth)
        return;
    thread_enter();
    while (thread.waits) {
        const struct note *top = &notes[thread.waits - 1];
        bool left = top->kind == NOTE_WAIT || top->kind == NOTE_BARE;
        if (top->covered || (!left && inside(top, stack_pointer)))
            break;
        pop();
    }
    thread_leave();
}

void waits_settle(void)
{
    settle((uintptr_t)__builtin_frame_address(0));
}

void waits_jump(uintptr_t stack_pointer)
{
    settle(stack_pointer);
}

static void thread_ends(void *unused)
{
    (void)unused;
    if (thread.async_cancel) /* it may have come between the first two steps of thread_enter, where nothing is held */
        thread.depth = 0;
    thread_enter();
    while (thread.waits)
        pop();
    thread_leave();
}

void waits_init(void)
{
    pthread_key_create(&at_thread_end, thread_ends);
}

/* The holds of the parent's waits were not inherited (fork.c), and its turns are its own. */
void waits_forked(void)
{
    for (unsigned i = 0; i < thread.waits; i++) {
        if (notes[i].kind == NOTE_WAIT)
            desc_hold(notes[i].d);
        if (notes[i].kind == NOTE_BARE)
            bare_count(notes[i].fd, 1);
        notes[i].turn = notes[i].reads = false;
    }
}
