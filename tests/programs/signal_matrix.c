/* signal_matrix [CALL | --verdict]: a signal arrives while a call blocks. One line for each call that can block, with
 * and without SA_RESTART and timeouts, before anything has moved and after a part has, on an open connection and on one
 * whose other end has not been accepted yet: what came of it, before and after the other end lets the call go on. The
 * lines of a plain and of a protected pair are compared. --verdict: connect waits for something else than TCP (the
 * policy's connect=wait). */
#include "signal_calls.h"

static __thread volatile sig_atomic_t *handled;

static void on_signal(int number)
{
    (void)number;
    *handled = *handled + 1;
}

/* ---- what each needs ---- */

static bool verdict; /* --verdict */

/* Bytes go on to the other end's buffer, and a delayed acknowledgement makes room that a blocked writer is not told of:
 * until nothing is taken for longer than one is delayed (40 ms). */
static void fill(int fd)
{
    static const uint8_t zeros[65536];
    for (bool taken = true; taken; poll(NULL, 0, 70)) {
        taken = false;
        while (send(fd, zeros, sizeof(zeros), MSG_DONTWAIT) > 0 || send(fd, zeros, 1, MSG_DONTWAIT) > 0)
            taken = true;
        CHECK(errno == EAGAIN, "filling: %s", strerror(errno));
    }
}

static void make_pair(struct cell *c)
{
    char byte = 'x';
    struct sockaddr_in a = loopback(c->port);
    c->fd = tcp_socket();
    set_option(c->fd, SOL_SOCKET, SO_SNDBUF, BUFFER);
    SYS(connect(c->fd, (struct sockaddr *)&a, sizeof(a)));
    if (c->phase == UNACCEPTED)
        return;
    c->peer = tcp_accept(c->listener);
    write_all(c->fd, &byte, 1);
    CHECK(read_full(c->peer, &byte, 1) == 1, "the other end closed");
    write_all(c->peer, &byte, 1);
    CHECK(read_full(c->fd, &byte, 1) == 1, "the other end closed");
}

static void prepare_reader(struct cell *c)
{
    SYS(pipe2(c->other, O_CLOEXEC));
    if (c->call->make == call_fgets)
        CHECK(c->stream = fdopen(c->fd, "r"), "fdopen");
    if (c->partial) {
        set_option(c->peer, IPPROTO_TCP, TCP_NODELAY, 1);
        write_all(c->peer, "0123456789", PART);
        await_bytes(c->fd, PART);
    }
}

static void prepare_writer(struct cell *c)
{
    if (c->call->make == call_sendfile) {
        SYS(c->other[0] = memfd_create("file", MFD_CLOEXEC));
        SYS(ftruncate(c->other[0], LARGE));
    } else {
        SYS(pipe2(c->other, O_CLOEXEC));
        write_all(c->other[1], c->buffer, 60000);
    }
    if (!c->partial)
        fill(c->fd);
    if (c->call->make == call_fflush)
        CHECK(c->stream = fdopen(c->fd, "w"), "fdopen");
}

static void prepare_waiter(struct cell *c)
{
    struct epoll_event e = {.events = EPOLLIN};
    SYS(c->other[0] = epoll_create1(EPOLL_CLOEXEC));
    SYS(epoll_ctl(c->other[0], EPOLL_CTL_ADD, c->fd, &e));
}

/* A listener that takes no more: its SYN is not answered. */
static void prepare_connector(struct cell *c)
{
    int backlog[2];
    c->fd = tcp_socket();
    if (!verdict)
        for (int i = 0; i < 2; i++) {
            struct sockaddr_in a = loopback(c->port);
            backlog[i] = (int)SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            SYS(syscall(SYS_connect, backlog[i], &a, sizeof(a)));
        }
}

/* Without tcp_listen's line on stdout, which is compared. */
static int quiet_listen(int backlog, uint16_t *port)
{
    struct sockaddr_in a = loopback(0);
    int fd = tcp_socket();
    set_option(fd, SOL_SOCKET, SO_RCVBUF, BUFFER);
    SYS(bind(fd, (struct sockaddr *)&a, sizeof(a)));
    SYS(listen(fd, backlog));
    *port = local_port(fd);
    return fd;
}

static void prepare(struct cell *c)
{
    struct linger l = {1, TIMEOUT_S};
    c->fd = c->peer = c->other[0] = c->other[1] = -1;
    c->buffer = calloc(1, LARGE);
    c->listener = quiet_listen(c->call->kind == CONNECTS ? 1 : 4, &c->port);
    if (c->call->kind != ACCEPTS && c->call->kind != CONNECTS)
        make_pair(c);
    switch (c->call->kind) {
    case READS:
        prepare_reader(c);
        break;
    case WRITES:
        prepare_writer(c);
        break;
    case WAITS:
        prepare_waiter(c);
        break;
    case CONNECTS:
        prepare_connector(c);
        break;
    case CLOSES:
        fill(c->fd);
        SYS(setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
        break;
    case ACCEPTS:
        break;
    }
    struct timeval t = {TIMEOUT_S, 0};
    if (c->timeout) {
        int on = c->call->kind == ACCEPTS ? c->listener : c->fd;
        SYS(setsockopt(on, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
        SYS(setsockopt(on, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)));
    }
}

/* ---- a cell ---- */

static void *make_call(void *arg)
{
    struct cell *c = arg;
    handled = &c->handled;
    c->tid = gettid();
    do /* what would not be taken at once may be taken by a call that waits */
        c->result = c->call->make(c);
    while (c->call->kind == WRITES && !c->partial && c->result >= 0 && !c->signalled);
    c->error = errno;
    c->returned = true;
    return NULL;
}

/* How often the thread has gone to sleep; -1: it does not sleep now. */
static long sleeps(int tid)
{
    char path[64], text[4000] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    const char *count = n > 0 ? strstr(text, "\nvoluntary_ctxt_switches:") : NULL;
    return count && strstr(text, "\nState:\tS") ? atol(count + strlen("\nvoluntary_ctxt_switches:")) : -1;
}

/* Several looks in a row at the same sleep: on its way into the call a thread may also sleep for a moment. A handler
 * that does not come has more time. */
static void await_blocked(struct cell *c, int handlers)
{
    int looks = 0;
    long last = -1;
    for (int all = 0; looks < LOOKS && all < 50 && !c->returned; poll(NULL, 0, 2)) {
        long now = c->tid ? sleeps(c->tid) : -1;
        bool same = now >= 0 && (now == last || c->call->kind == CLOSES); /* close looks now and then */
        last = now;
        looks = same && c->handled >= handlers ? looks + 1 : 0;
        all = same ? all + 1 : 0;
    }
}

static void take_all(struct cell *c, int from)
{
    uint8_t waste[65536];
    while (!c->returned) {
        struct pollfd p = {.fd = from, .events = POLLIN};
        if (poll(&p, 1, 5) > 0 && recv(from, waste, sizeof(waste), MSG_DONTWAIT) == 0)
            break;
    }
}

static void accept_all(struct cell *c)
{
    set_nonblocking(c->listener);
    for (int n = 0; !c->returned || n < (verdict ? 1 : 3);) {
        struct pollfd p = {.fd = c->listener, .events = POLLIN};
        int fd = poll(&p, 1, 5) > 0 ? accept(c->listener, NULL, NULL) : -1;
        n += fd >= 0;
    }
}

static void let_go(struct cell *c)
{
    if (c->phase == UNACCEPTED)
        c->peer = tcp_accept(c->listener);
    switch (c->call->kind) {
    case READS:
    case WAITS:
        write_all(c->peer, "the rest of what is read here\n", WHOLE);
        break;
    case WRITES:
    case CLOSES:
        take_all(c, c->peer);
        break;
    case ACCEPTS:
        c->fd = tcp_connect(c->port);
        break;
    case CONNECTS:
        accept_all(c);
        break;
    }
}

static void tell_result(const struct cell *c, char *text, size_t room)
{
    if (!c->returned)
        snprintf(text, room, "goes on");
    else if (c->result < 0)
        snprintf(text, room, "%s", strerrorname_np(c->error));
    else if (c->result > 10 * PART * 100)
        snprintf(text, room, "%s", c->result == LARGE ? "all" : "a part");
    else
        snprintf(text, room, "%ld", c->result);
}

static const char *tell_left(const struct cell *c)
{
    if (c->call->make == call_ppoll || !c->left.tv_sec)
        return "";
    return c->left.tv_sec == TIMEOUT_S ? ", timeout as it was" : ", timeout shows what is left";
}

/* An interrupted connect goes on by itself (connect(2), EINTR). */
static void tell_connection(struct cell *c, char *text, size_t room)
{
    int error = -1;
    socklen_t len = sizeof(error);
    struct pollfd p = {.fd = c->fd, .events = POLLOUT};
    SYS(poll(&p, 1, -1));
    SYS(getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len));
    int again = call_connect(c) < 0 ? errno : 0;
    snprintf(text, room, ", error %d, again %s", error, again ? strerrorname_np(again) : "0");
}

static void close_all(struct cell *c)
{
    int all[] = {c->peer, c->listener, c->other[0], c->other[1], c->stream || c->call->kind == CLOSES ? -1 : c->fd};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i] >= 0)
            close(all[i]);
    if (c->stream)
        fclose(c->stream);
}

/* False: there was room by now (a delayed acknowledgement, a probe of the window), and the call did not have to wait.
 */
static bool run(struct cell *c, char *line, size_t room)
{
    char before[50], after[50], more[50] = "";
    prepare(c);
    c->thread = thread_start(make_call, c);
    await_blocked(c, 0);
    CHECK(!c->returned, "%s has not blocked: %ld", c->call->name, c->result);
    c->signalled = true;
    CHECK(pthread_kill(c->thread, c->restart ? SIGUSR1 : SIGALRM) == 0, "pthread_kill");
    await_blocked(c, 1);
    tell_result(c, before, sizeof(before));
    bool blocked = c->call->kind != WRITES || c->partial || strcmp(before, "goes on") == 0 || c->result < 0;
    let_go(c);
    CHECK(pthread_join(c->thread, NULL) == 0, "pthread_join");
    tell_result(c, after, sizeof(after));
    if (c->call->kind == CONNECTS)
        tell_connection(c, more, sizeof(more));
    snprintf(line, room, "%s%s%s%s%s: %s, %s, handlers %d%s%s", c->call->name, c->restart ? ", SA_RESTART" : "",
             c->timeout ? ", timeout" : "", c->partial ? ", in part" : "",
             c->phase == UNACCEPTED ? ", not accepted" : "", before, after, c->handled, tell_left(c), more);
    close_all(c);
    free(c->buffer);
    progress();
    return blocked;
}

/* ---- the table ---- */

static struct cell cells[1000];
static char lines[1000][200];
static int cell_count;
static atomic_int next_cell;

static void *work(void *unused)
{
    (void)unused;
    for (int i; (i = atomic_fetch_add(&next_cell, 1)) < cell_count;) {
        struct cell c = cells[i];
        for (int tries = 0; !run(&c, lines[i], sizeof(lines[i])) && tries < 20; tries++)
            c = cells[i];
    }
    return NULL;
}

static void add_cells(const struct call *call)
{
    bool pair = call->kind == READS || call->kind == WRITES || call->kind == WAITS;
    for (unsigned i = 0; i < 16; i++) {
        struct cell c = {
            .call = call, .restart = i & 1, .timeout = i & 2, .partial = i & 4, .phase = i & 8 ? UNACCEPTED : OPEN};
        if ((c.partial && !call->some) || (c.phase == UNACCEPTED && (!pair || (c.partial && call->kind == READS))) ||
            (c.timeout && call->kind == WAITS))
            continue;
        cells[cell_count++] = c;
    }
}

static void handle(int number, int flags)
{
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = flags};
    SYS(sigaction(number, &act, NULL));
}

int main(int argc, char **argv)
{
    pthread_t workers[AT_ONCE];
    sigset_t watchdog;
    verdict = argc > 1 && strcmp(argv[1], "--verdict") == 0;
    const char *only = argc > 1 && !verdict ? argv[1] : verdict ? "connect" : NULL;
    watchdog_start();
    signal(SIGPIPE, SIG_IGN);
    handle(SIGUSR1, SA_RESTART);
    handle(SIGALRM, 0);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        if (!only || strcmp(only, calls[i].name) == 0)
            add_cells(&calls[i]);
    sigemptyset(&watchdog);
    sigaddset(&watchdog, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &watchdog, NULL);
    for (int i = 0; i < AT_ONCE; i++)
        workers[i] = thread_start(work, NULL);
    pthread_sigmask(SIG_UNBLOCK, &watchdog, NULL);
    for (int i = 0; i < AT_ONCE; i++)
        CHECK(pthread_join(workers[i], NULL) == 0, "pthread_join");
    for (int i = 0; i < cell_count; i++)
        puts(lines[i]);
    return 0;
}
