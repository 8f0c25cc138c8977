/* p2ptls status: the live connections of all processes that the user may look into. */
#include "output.h"

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "Usage: p2ptls status [-s COLUMN[,COLUMN]...] [-w [-i SECONDS] | --json | --prometheus] [-o FILE]\n"
    "                     [COLUMN=PATTERN | COLUMN!=PATTERN]...\n";

static const char help[] = "\n"
                           "Shows the protected connections of this user's processes (of all users' for root).\n"
                           "\n"
                           "  -s, --sort COLUMNS   sorts by them; '-' in front of one: the largest first\n"
                           "  -w, --watch          fills the screen, and refreshes it\n"
                           "  -i, --interval S     every S seconds (1; from 0.1 to 3600)\n"
                           "  -j, --json           prints JSON\n"
                           "      --prometheus     prints numbers for a node exporter's text folder\n"
                           "  -o, --output FILE    writes into FILE, which is replaced at once or not at all\n"
                           "\n"
                           "Columns: program, pid, user, direction (in, out), peer, identity, role (client, server),\n"
                           "cipher, protocol, state (handshake, open, closing, failed), age, received, sent,\n"
                           "resumed (yes, no). Patterns are those of a shell: peer='10.*:5432', role=server.\n"
                           "\n"
                           "Exit status: 0; 1 if it failed; 2 if it was called wrongly.\n";

enum form { FORM_TABLE = 0, FORM_JSON, FORM_PROMETHEUS };

struct options {
    enum form form;
    bool watch;
    bool interval_given;
    int interval_ms;
    const char *output;
    struct sort_order order;
    struct filter *filters;
    size_t filter_count;
};

static void wrong(const char *what, const char *which) __attribute__((noreturn));
static void wrong(const char *what, const char *which)
{
    fprintf(stderr, "p2ptls status: %s%s\n%s", what, which, usage);
    exit(EXIT_USAGE);
}

static int failed(const char *file)
{
    fprintf(stderr, "p2ptls status: %s: %s\n", file, strerror(errno));
    return EXIT_FAILED;
}

static int parse_interval(const char *text)
{
    char *end;
    const double seconds = strtod(text, &end);
    if (end == text || *end || !(seconds >= 0.1 && seconds <= 3600))
        wrong("--interval: expected seconds from 0.1 to 3600, found ", text);
    return (int)(seconds * 1000);
}

static void set_form(struct options *o, enum form form)
{
    if (o->form != FORM_TABLE && o->form != form)
        wrong("--json and --prometheus exclude each other", "");
    o->form = form;
}

static void check(const struct options *o)
{
    if (o->watch && (o->form != FORM_TABLE || o->output))
        wrong("--watch goes with neither --json, --prometheus nor --output", "");
    if (o->interval_given && !o->watch)
        wrong("--interval is for --watch", "");
    if (o->watch && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
        wrong("--watch needs a terminal", "");
}

static void parse_filters(struct options *o, int count, char **texts)
{
    o->filters = calloc((size_t)count + 1, sizeof *o->filters);
    if (!o->filters)
        exit(EXIT_FAILED);
    for (int i = 0; i < count; i++)
        if (!filter_parse(texts[i], &o->filters[o->filter_count++]))
            wrong("expected COLUMN=PATTERN, found ", texts[i]);
}

static void parse(struct options *o, int argc, char **argv)
{
    enum { OPTION_PROMETHEUS = 256 };
    static const struct option names[] = {
        {"sort", required_argument, NULL, 's'},     {"watch", no_argument, NULL, 'w'},
        {"interval", required_argument, NULL, 'i'}, {"json", no_argument, NULL, 'j'},
        {"output", required_argument, NULL, 'o'},   {"prometheus", no_argument, NULL, OPTION_PROMETHEUS},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };
    int option, before = 1;
    for (; (option = getopt_long(argc, argv, ":s:wi:jo:h", names, NULL)) != -1; before = optind) {
        switch (option) {
        case 's':
            if (!sort_parse(optarg, &o->order))
                wrong("--sort: expected up to four columns, found ", optarg);
            break;
        case 'w':
            o->watch = true;
            break;
        case 'i':
            o->interval_ms = parse_interval(optarg);
            o->interval_given = true;
            break;
        case 'j':
            set_form(o, FORM_JSON);
            break;
        case OPTION_PROMETHEUS:
            set_form(o, FORM_PROMETHEUS);
            break;
        case 'o':
            if (!*optarg) /* of a shell's variable that is not set */
                wrong("--output needs the name of a file", "");
            o->output = optarg;
            break;
        case 'h':
            printf("%s%s", usage, help);
            exit(fflush(stdout) == 0 ? 0 : failed("standard output"));
        case ':':
            wrong("an argument is missing behind ", argv[optind - 1]);
        default: /* a word of several letters is not done with when its bad one is met */
            wrong("unknown option ", argv[optind > before ? optind - 1 : optind]);
        }
    }
    parse_filters(o, argc - optind, argv + optind);
    check(o);
}

static bool look(const struct options *o, const struct sort_order *order, struct live_list *list)
{
    if (!live_collect("/proc", list))
        return false;
    filter_list(o->filters, o->filter_count, list);
    sort_list(order, list);
    return true;
}

static bool look_again(const struct watch_view *view, struct live_list *list)
{
    return look(view->arg, &view->order, list);
}

static size_t terminal_width(FILE *f)
{
    struct winsize size;
    if (!isatty(fileno(f)))
        return 0;
    return ioctl(fileno(f), TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

static bool write_to(FILE *to, const struct options *o, const struct live_list *list)
{
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    switch (o->form) {
    case FORM_JSON:
        return output_json(to, list);
    case FORM_PROMETHEUS:
        return output_prometheus(to, list);
    default:
        return output_table(to, list, terminal_width(to),
                            isatty(fileno(to)) && !(no_colour && *no_colour) && term && strcmp(term, "dumb") != 0);
    }
}

/* A reader, a node exporter at its time, sees the old file or the new one. The name of the file in the making does not
 * end in .prom. */
static int replace_file(const struct options *o, const struct live_list *list)
{
    const mode_t mask = umask(0);
    struct stat there;
    char *draft;
    umask(mask);
    if (lstat(o->output, &there) == 0 && !S_ISREG(there.st_mode)) {
        fprintf(stderr, "p2ptls status: %s: not a file that could be replaced\n", o->output);
        return EXIT_FAILED;
    }
    if (asprintf(&draft, "%s.XXXXXX", o->output) < 0)
        return EXIT_FAILED;
    const int fd = mkstemp(draft);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    bool done = f && write_to(f, o, list) && fchmod(fd, 0666 & ~mask) == 0 && fsync(fd) == 0;
    if (f && fclose(f) != 0)
        done = false;
    done = done && rename(draft, o->output) == 0;
    const int status = done ? 0 : failed(o->output);
    if (!done && fd >= 0)
        unlink(draft);
    free(draft);
    return status;
}

int main(int argc, char **argv)
{
    struct options o = {.interval_ms = 1000};
    struct live_list list = {0};
    setlocale(LC_CTYPE, "");
    (void)sort_parse("program,pid,-age", &o.order);
    parse(&o, argc, argv);
    if (o.watch) {
        struct watch_view view = {look_again, &o, o.order, o.interval_ms};
        return watch_run(&view);
    }
    if (!look(&o, &o.order, &list))
        return failed("/proc");
    int status = 0;
    if (o.output)
        status = replace_file(&o, &list);
    else if (!write_to(stdout, &o, &list))
        status = failed("standard output");
    live_free(&list);
    free(o.filters);
    return status;
}
