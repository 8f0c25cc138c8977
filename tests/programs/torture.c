/* One connection, both directions at once, random sizes and random kinds of calls, every byte checked: the stream must
 * be that of plain TCP. The edge-triggered modes stop after each short read or write until the next edge, so they hang
 * if a call was short for any other reason than an empty (or full) kernel. */
#include "torture_calls.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>

/* ---- one step of a direction: returns after one call; clears ready where an event loop would go and wait ---- */

static void step_in(struct half *h, int fd)
{
    h->kind = pick(h, opt.read_kinds, READ_KINDS);
    h->asked = rng_range(&h->rng, 1, opt.max);
    ssize_t got = read_once(fd, h, h->asked);
    progress();
    if (got < 0) {
        CHECK(opt.mode != BLOCKING && would_block(), "%s: %s after %llu bytes: %s", end.name, read_names[h->kind],
              (unsigned long long)h->at, strerror(errno));
        h->ready = false;
        return;
    }
    if (got == 0) {
        CHECK(h->at == opt.bytes, "%s: EOF after %llu of %zu bytes", end.name, (unsigned long long)h->at, opt.bytes);
        h->done = true;
        return;
    }
    stream_check(h->seed, h->at, h->buffer, (size_t)got);
    h->at += (size_t)got;
    CHECK(h->at <= opt.bytes, "%s: more bytes than were sent", end.name);
    /* As nginx does: short means empty, unless a FIN has been announced. A peek that was short was read in full. */
    if ((size_t)got < h->asked && !h->hup && h->kind != R_PEEK)
        h->ready = false;
}

static void step_out(struct half *h, int fd)
{
    size_t n = rng_range(&h->rng, 1, opt.max);
    if (n > opt.bytes - h->at)
        n = opt.bytes - h->at;
    h->kind = pick(h, opt.write_kinds, WRITE_KINDS);
    h->asked = n;
    stream_fill(h->seed, h->at, h->buffer, n);
    ssize_t sent = n > 0 ? write_once(fd, h, n) : 0;
    progress();
    if (sent < 0) {
        CHECK(opt.mode != BLOCKING && would_block(), "%s: %s after %llu bytes: %s", end.name, write_names[h->kind],
              (unsigned long long)h->at, strerror(errno));
        h->ready = false;
        return;
    }
    h->at += (size_t)sent;
    if (h->at == opt.bytes) {
        SYS(shutdown(fd, SHUT_WR));
        h->done = true;
    } else if ((size_t)sent < n) {
        CHECK(opt.mode != BLOCKING || h->kind == W_SENDFILE, "%s: blocking %s took %zd of %zu bytes", end.name,
              write_names[h->kind], sent, n);
        h->ready = false;
    }
}

/* ---- waiting ---- */

static void epoll_add(int set, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events};
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
}

static void wait_setup(struct end *e, bool in, bool out)
{
    uint32_t read_events = in ? EPOLLIN | EPOLLRDHUP : 0, write_events = out ? EPOLLOUT : 0;
    e->epoll[0] = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    e->epoll[1] = (int)SYS(epoll_create1(EPOLL_CLOEXEC));
    if (opt.mode == EPOLL_EDGE_SPLIT) {
        /* Two sets: an edge for writing does not bring the state of reading with it, and so hides nothing. */
        epoll_add(e->epoll[0], e->fd, read_events | EPOLLET);
        epoll_add(e->epoll[1], e->fd, write_events | EPOLLET);
    } else {
        epoll_add(e->epoll[0], e->fd, read_events | write_events | (opt.mode == EPOLL_EDGE ? EPOLLET : 0));
    }
}

static void note_events(struct end *e, uint32_t events)
{
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        e->in->hup = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        e->in->ready = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        e->out->ready = true;
}

static void wait_edge(struct end *e)
{
    struct pollfd sets[2] = {{.fd = e->epoll[0], .events = POLLIN}, {.fd = e->epoll[1], .events = POLLIN}};
    while (poll(sets, 2, -1) < 0)
        CHECK(errno == EINTR, "poll: %s", strerror(errno));
    for (int i = 0; i < 2; i++) {
        struct epoll_event event;
        if (sets[i].revents && SYS(wait_set(e->epoll[i], &event, 1, 0)) == 1)
            note_events(e, event.events);
    }
}

static void wait_epoll_level(struct end *e, bool in, bool out)
{
    struct epoll_event event = {.events = (in ? EPOLLIN : 0) | (out ? EPOLLOUT : 0)};
    SYS(epoll_ctl(e->epoll[0], EPOLL_CTL_MOD, e->fd, &event));
    int n;
    while ((n = wait_set(e->epoll[0], &event, 1, -1)) < 0)
        CHECK(errno == EINTR, "epoll_wait: %s", strerror(errno));
    note_events(e, event.events);
}

static void wait_select(struct end *e, bool in, bool out)
{
    fd_set readable, writable;
    do {
        FD_ZERO(&readable);
        FD_ZERO(&writable);
        if (in)
            FD_SET(e->fd, &readable);
        if (out)
            FD_SET(e->fd, &writable);
    } while (select(e->fd + 1, &readable, &writable, NULL, NULL) < 0 && errno == EINTR);
    e->in->ready = FD_ISSET(e->fd, &readable);
    e->out->ready = FD_ISSET(e->fd, &writable);
}

static void wait_poll(struct end *e, bool in, bool out)
{
    struct pollfd p = {.fd = e->fd, .events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0))};
    while (poll(&p, 1, -1) < 0)
        CHECK(errno == EINTR, "poll: %s", strerror(errno));
    e->in->ready = p.revents & (POLLIN | POLLHUP | POLLERR);
    e->out->ready = p.revents & (POLLOUT | POLLHUP | POLLERR);
}

static void wait_events(struct end *e, bool in, bool out)
{
    switch (opt.mode) {
    case EPOLL_EDGE:
    case EPOLL_EDGE_SPLIT:
        if (!(in && e->in->ready) && !(out && e->out->ready))
            wait_edge(e);
        return;
    case EPOLL_LEVEL:
        wait_epoll_level(e, in, out);
        return;
    case SELECT:
        wait_select(e, in, out);
        return;
    case NONBLOCKING_POLL:
    case POLL_DONTWAIT:
        wait_poll(e, in, out);
        return;
    case BLOCKING:
    case MODE_COUNT:
        break;
    }
    die("a blocking end does not wait for events");
}

/* ---- ends ---- */

/* Runs the chosen directions of e to their ends: of a blocking socket one, of the others one or both. */
static void run(struct end *e, bool in, bool out)
{
    if (opt.mode != BLOCKING)
        wait_setup(e, in, out);
    while ((in && !e->in->done) || (out && !e->out->done)) {
        bool want_in = in && !e->in->done, want_out = out && !e->out->done;
        if (opt.mode != BLOCKING)
            wait_events(e, want_in, want_out);
        if (want_in && (e->in->ready || opt.mode == BLOCKING))
            step_in(e->in, e->fd);
        if (want_out && (e->out->ready || opt.mode == BLOCKING))
            step_out(e->out, e->fd);
    }
}

static void *run_out(void *argument)
{
    struct half unused = {.done = true};
    struct end writer = *(struct end *)argument; /* waits by itself, and touches nothing of the reading half */
    writer.in = &unused;
    run(&writer, false, true);
    return NULL;
}

static void run_both(struct end *e)
{
    if (opt.forked_halves) {
        pid_t pid = fork_child();
        if (pid == 0) {
            run(e, true, false);
            _exit(0);
        }
        run(e, false, true);
        reap(pid, "the reading half");
    } else if (opt.threads) {
        pthread_t writer = thread_start(run_out, e);
        struct half unused = {.done = true};
        struct end reader = *e;
        reader.out = &unused;
        run(&reader, true, false);
        pthread_join(writer, NULL);
    } else {
        run(e, true, true);
    }
    expect_eof(e->fd);
}

static void half_init(struct half *h, uint64_t stream, uint64_t salt)
{
    *h = (struct half){.seed = stream, .rng = {.s = stream * 7919 + salt}, .buffer = malloc(opt.max)};
    CHECK(h->buffer, "no memory");
}

static void end_init(const char *name, int fd, uint64_t in, uint64_t out)
{
    end = (struct end){.name = name, .fd = fd, .file = -1, .in = &end_in, .out = &end_out};
    half_init(end.in, in, 1);
    half_init(end.out, out, 2);
    watchdog_state = state_text;
    if (opt.write_kinds >> W_SENDFILE & 1) {
        uint8_t *all;
        end.file = (int)SYS(memfd_create("torture", MFD_CLOEXEC));
        SYS(ftruncate(end.file, (off_t)opt.bytes + 1));
        all = mmap(NULL, opt.bytes + 1, PROT_READ | PROT_WRITE, MAP_SHARED, end.file, 0);
        CHECK(all != MAP_FAILED, "mmap: %s", strerror(errno));
        stream_fill(out, 0, all, opt.bytes);
        SYS(munmap(all, opt.bytes + 1));
    }
}

static void end_run(void)
{
    if (opt.fork) {
        pid_t pid = fork_child();
        if (pid > 0) {
            SYS(close(end.fd));
            reap(pid, "the forked end");
            return;
        }
    }
    if (opt.mode != BLOCKING && opt.mode != POLL_DONTWAIT)
        set_nonblocking(end.fd);
    run_both(&end);
    SYS(close(end.fd));
    if (opt.fork)
        _exit(0);
}

static void buffers(int fd)
{
    if (opt.sndbuf)
        set_option(fd, SOL_SOCKET, SO_SNDBUF, opt.sndbuf);
    if (opt.rcvbuf)
        set_option(fd, SOL_SOCKET, SO_RCVBUF, opt.rcvbuf);
}

/* With --early the first bytes leave before the other side has so much as accepted. */
static void client(uint16_t port, int ready)
{
    struct sockaddr_in to = loopback(port);
    int fd = tcp_socket();
    buffers(fd);
    end_init("client", fd, opt.seed * 2 + 1, opt.seed * 2);
    SYS(connect(fd, (struct sockaddr *)&to, sizeof(to)));
    if (opt.early) {
        end.out->at = opt.bytes < KIB ? opt.bytes : KIB;
        stream_send(fd, end.out->seed, 0, end.out->at);
        signal_peer(ready);
    }
    end_run();
}

static void server(int listener, int ready)
{
    if (opt.early)
        await_peer(ready);
    end_init("server", tcp_accept(listener), opt.seed * 2, opt.seed * 2 + 1);
    end_run();
}

/* ---- options ---- */

static unsigned name_set(const char *list, const char *const *names, unsigned count, const char *const *others,
                         unsigned other_count)
{
    unsigned set = 0;
    char *copy = strdup(list), *rest = copy, *name;
    while ((name = strsep(&rest, ",")) != NULL) {
        bool known = false;
        for (unsigned i = 0; i < count; i++)
            if (strcmp(name, names[i]) == 0) {
                set |= 1u << i;
                known = true;
            }
        for (unsigned i = 0; i < other_count; i++)
            known |= strcmp(name, others[i]) == 0;
        CHECK(known, "unknown call: %s", name);
    }
    free(copy);
    return set ? set : (1u << count) - 1;
}

static void option_value(const char *name, const char *value)
{
    CHECK(value, "%s needs a value", name);
    if (strcmp(name, "--seed") == 0)
        opt.seed = strtoull(value, NULL, 10);
    else if (strcmp(name, "--bytes") == 0)
        opt.bytes = strtoull(value, NULL, 10);
    else if (strcmp(name, "--max") == 0)
        opt.max = strtoull(value, NULL, 10);
    else if (strcmp(name, "--sndbuf") == 0)
        opt.sndbuf = atoi(value);
    else if (strcmp(name, "--rcvbuf") == 0)
        opt.rcvbuf = atoi(value);
    else if (strcmp(name, "--calls") == 0) {
        opt.read_kinds = name_set(value, read_names, READ_KINDS, write_names, WRITE_KINDS);
        opt.write_kinds = name_set(value, write_names, WRITE_KINDS, read_names, READ_KINDS);
    } else if (strcmp(name, "--mode") == 0) {
        for (opt.mode = 0; opt.mode < MODE_COUNT && strcmp(value, mode_names[opt.mode]) != 0; opt.mode++)
            ;
        CHECK(opt.mode < MODE_COUNT, "unknown mode: %s", value);
    } else
        die("unknown option: %s", name);
}

static bool option_flag(const char *name)
{
    bool *flag = strcmp(name, "--fork") == 0            ? &opt.fork
                 : strcmp(name, "--early") == 0         ? &opt.early
                 : strcmp(name, "--threads") == 0       ? &opt.threads
                 : strcmp(name, "--forked-halves") == 0 ? &opt.forked_halves
                                                        : NULL;
    if (flag)
        *flag = true;
    return flag != NULL;
}

static void options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!option_flag(argv[i])) {
            option_value(argv[i], argv[i + 1]);
            i++;
        }
    if (opt.mode == BLOCKING && !opt.forked_halves)
        opt.threads = true;
    if (opt.mode == POLL_DONTWAIT) { /* only the calls that take flags */
        opt.read_kinds &= 1u << R_RECV | 1u << R_RECVMSG | 1u << R_RECVFROM | 1u << R_PEEK | 1u << R_DONTWAIT;
        opt.write_kinds &= 1u << W_SEND | 1u << W_SENDMSG | 1u << W_SENDTO | 1u << W_MORE;
    }
    CHECK(opt.read_kinds && opt.write_kinds && opt.max > 0, "nothing to do");
}

int main(int argc, char **argv)
{
    uint16_t port;
    int ready[2];
    options(argc, argv);
    watchdog_start();
    SYS(pipe2(ready, O_CLOEXEC));
    int listener = tcp_socket();
    struct sockaddr_in any = loopback(0);
    buffers(listener);
    SYS(bind(listener, (struct sockaddr *)&any, sizeof(any)));
    SYS(listen(listener, 1));
    port = local_port(listener);
    printf("port %u\n", port);
    pid_t pid = fork_child();
    if (pid == 0) {
        SYS(close(listener));
        client(port, ready[1]);
        return 0;
    }
    server(listener, ready[0]);
    reap(pid, "the client");
    return 0;
}
