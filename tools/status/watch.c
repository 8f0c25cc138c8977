/* The full-screen view. ncurses draws, and puts the terminal back; signals are let in only while it waits, so that none
 * comes between the look at a flag and the wait. */
#include "layout.h"
#include "output.h"

#include <curses.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { TITLE_ROWS = 2 };

static volatile sig_atomic_t ended_by;
static volatile sig_atomic_t resized;

static void note_end(int sig)
{
    ended_by = sig;
}

static void note_resize(int sig)
{
    (void)sig;
    resized = 1;
}

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};

static void take_signals(sigset_t *while_waiting)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        sigaction(ends[i], &(struct sigaction){.sa_handler = note_end}, NULL);
        sigaddset(&blocked, ends[i]);
    }
    sigaction(SIGWINCH, &(struct sigaction){.sa_handler = note_resize}, NULL);
    sigaddset(&blocked, SIGWINCH);
    sigprocmask(SIG_BLOCK, &blocked, while_waiting);
}

struct screen {
    size_t top; /* the first row that is shown */
    bool colours;
};

static size_t rows_of_list(void)
{
    return LINES > TITLE_ROWS ? (size_t)(LINES - TITLE_ROWS) : 0;
}

/* How much there is, in which order, and what keys do, as far as that fits. */
static void draw_title(const struct watch_view *view, const struct live_list *list)
{
    static const char *const hints[] = {"  (q quits, s r sort, arrows scroll)", "  (q quits, s r sort)", "  (q quits)",
                                        ""};
    const struct sort_key *key = &view->order.keys[0];
    char summary[256], line[320];
    size_t hint = 0;
    output_summary(list, summary);
    snprintf(line, sizeof line, "%s, by %s%s", summary, key->descending ? "-" : "", column_name(key->column));
    while (*hints[hint] && strlen(line) + strlen(hints[hint]) > (size_t)COLS)
        hint++;
    mvaddnstr(0, 0, line, COLS);
    addstr(hints[hint]);
}

static void draw(struct screen *s, const struct watch_view *view, const struct live_list *list)
{
    struct layout layout;
    char line[LAYOUT_LINE];
    const size_t rows = rows_of_list();
    if (s->top + rows > list->count)
        s->top = list->count > rows ? list->count - rows : 0;
    erase();
    draw_title(view, list);
    layout_make(&layout, list, (size_t)COLS);
    layout_line(&layout, NULL, line);
    attron(A_REVERSE);
    mvhline(1, 0, ' ', COLS);
    mvaddstr(1, 0, line);
    attroff(A_REVERSE);
    for (size_t i = 0; i < rows && s->top + i < list->count; i++) {
        const struct live *l = &list->items[s->top + i];
        const bool bad = l->state == STATUS_FAILED || (l->suite && !l->proven);
        layout_line(&layout, l, line);
        if (bad)
            attron(s->colours ? COLOR_PAIR(1) : A_BOLD);
        mvaddstr((int)(TITLE_ROWS + i), 0, line);
        if (bad)
            attroff(s->colours ? COLOR_PAIR(1) : A_BOLD);
    }
    refresh();
}

/* False: q. */
static bool obey(int key, struct screen *s, struct watch_view *view, size_t count)
{
    const size_t page = rows_of_list() ? rows_of_list() : 1;
    struct sort_key *first = &view->order.keys[0];
    switch (key) {
    case 'q':
    case 'Q':
        return false;
    case 's':
        first->column = (enum column)((first->column + 1) % COLUMNS_COUNT);
        break;
    case 'r':
        first->descending = !first->descending;
        break;
    case KEY_DOWN:
        s->top++;
        break;
    case KEY_UP:
        s->top -= s->top > 0;
        break;
    case KEY_NPAGE:
    case ' ':
        s->top += page;
        break;
    case KEY_PPAGE:
        s->top -= s->top < page ? s->top : page;
        break;
    case KEY_HOME:
        s->top = 0;
        break;
    case KEY_END:
        s->top = count;
        break;
    default:
        break;
    }
    return true;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool handle_keys(struct screen *s, struct watch_view *view, struct live_list *list)
{
    int key;
    while ((key = getch()) != ERR) {
        if (!obey(key, s, view, list->count))
            return false;
        sort_list(&view->order, list);
    }
    return true;
}

static void take_size(void)
{
    struct winsize size;
    resized = 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col)
        resizeterm(size.ws_row, size.ws_col);
    clear();
}

/* Draws and waits, until it is time to look anew. False: it is to end. */
static bool show(struct screen *s, struct watch_view *view, struct live_list *list, const sigset_t *while_waiting)
{
    const int64_t until = now_ms() + view->interval_ms;
    for (int64_t left = view->interval_ms; left > 0; left = until - now_ms()) {
        struct pollfd input = {STDIN_FILENO, POLLIN, 0};
        const struct timespec t = {left / 1000, left % 1000 * 1000000};
        draw(s, view, list);
        const int r = ppoll(&input, 1, &t, while_waiting);
        if (ended_by || (r < 0 && errno != EINTR))
            return false;
        if (resized)
            take_size();
        if (r > 0 && (input.revents & (POLLHUP | POLLERR) || !handle_keys(s, view, list)))
            return false;
    }
    return true;
}

static void prepare(struct screen *s)
{
    cbreak();
    noecho();
    curs_set(0);
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    const char *no_colour = getenv("NO_COLOR");
    s->colours = has_colors() && !(no_colour && *no_colour);
    if (s->colours) {
        start_color();
        use_default_colors();
        init_pair(1, COLOR_RED, -1);
    }
}

int watch_run(struct watch_view *view)
{
    struct screen screen = {0};
    sigset_t while_waiting;
    take_signals(&while_waiting);
    SCREEN *terminal = newterm(NULL, stdout, stdin);
    if (!terminal) {
        fputs("p2ptls status: --watch: the terminal is not known (TERM)\n", stderr);
        return 1;
    }
    prepare(&screen);
    int error = 0;
    bool go_on = true;
    while (go_on) {
        struct live_list list = {0};
        go_on = view->look(view, &list);
        error = go_on ? 0 : errno;
        if (go_on)
            go_on = show(&screen, view, &list, &while_waiting);
        live_free(&list);
    }
    endwin();
    delscreen(terminal);
    if (error)
        fprintf(stderr, "p2ptls status: /proc: %s\n", strerror(error));
    if (ended_by) { /* so that whoever waits for this process sees which signal it was */
        signal(ended_by, SIG_DFL);
        sigprocmask(SIG_SETMASK, &while_waiting, NULL);
        raise(ended_by);
    }
    return error ? 1 : 0;
}
