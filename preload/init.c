/* What happens before main: the environment is read, the policy parsed. Without a policy the library is inert. */
#include "exec_image.h"
#include "memory.h"
#include "state.h"

#include "sys.h"
#include "waits.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { EXIT_BROKEN_POLICY = 125, CONFIG_MAX = 1 << 20 };

struct policy *policy;
static char state_dir[4096];

/* The only place where the library ends its program: it could not protect it. */
static void stop(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void stop(const char *format, ...)
{
    char text[1200];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sys3(SYS_write, 2L, text, (long)(n < (int)sizeof text ? n : (int)sizeof text - 1));
    sys1(SYS_exit_group, (long)EXIT_BROKEN_POLICY);
    __builtin_unreachable();
}

static void parse(const char *source, const char *text, size_t len)
{
    struct policy_error error;
    enum result result = policy_parse(&policy, source, text, len, &error);
    if (result == RESULT_OK)
        return;
    if (result == RESULT_NOMEM)
        stop("p2ptls: %s: out of memory; the program was not started\n", source);
    stop("p2ptls: %s:%u:%u: %s; the program was not started\n", source, error.line, error.column, error.message);
}

static void parse_file(const char *name)
{
    char *text = malloc(CONFIG_MAX);
    size_t len = 0;
    if (!text)
        stop("p2ptls: P2PTLS_CONFIG=%s: out of memory; the program was not started\n", name);
    long fd = sys4(SYS_openat, (long)AT_FDCWD, name, (long)(O_RDONLY | O_CLOEXEC | O_NOCTTY), 0L);
    if (fd < 0)
        stop("p2ptls: P2PTLS_CONFIG=%s: %s; the program was not started\n", name, strerror((int)-fd));
    for (;;) {
        long n = sys3(SYS_read, fd, text + len, (long)(CONFIG_MAX - len));
        if (n < 0)
            stop("p2ptls: P2PTLS_CONFIG=%s: %s; the program was not started\n", name, strerror((int)-n));
        len += (size_t)n;
        if (n == 0)
            break;
        if (len == CONFIG_MAX)
            stop("p2ptls: P2PTLS_CONFIG=%s: larger than 1 MiB; the program was not started\n", name);
    }
    sys1(SYS_close, fd);
    parse(name, text, len);
    free(text);
}

void init_read_environment(void)
{
    const char *text = getenv("P2PTLS_POLICY"), *file = getenv("P2PTLS_CONFIG");
    if (text && *text)
        parse("P2PTLS_POLICY", text, strlen(text));
    if (file && *file)
        parse_file(file);
    if (policy && policy_count(policy) == 0) {
        policy_free(policy);
        policy = NULL;
    }
}

/* XDG Base Directory Specification: a relative XDG_STATE_HOME is to be ignored. Resolved at the start, since daemons
 * change HOME, user and root directory later. */
static void find_state_dir(void)
{
    const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = 0;
    if (base && base[0] == '/')
        n = snprintf(state_dir, sizeof state_dir, "%s/p2ptls", base);
    else if (home && home[0] == '/')
        n = snprintf(state_dir, sizeof state_dir, "%s/.local/state/p2ptls", home);
    if (n < 0 || n >= (int)sizeof state_dir)
        state_dir[0] = 0;
}

const char *init_state_dir(void)
{
    if (!state_dir[0]) { /* a service without HOME: the user database knows */
        char space[2048];
        struct passwd entry, *found = NULL;
        if (getpwuid_r(geteuid(), &entry, space, sizeof space, &found) == 0 && found && found->pw_dir[0] == '/')
            snprintf(state_dir, sizeof state_dir, "%.1900s/.local/state/p2ptls", found->pw_dir);
    }
    return state_dir[0] ? state_dir : NULL;
}

static bool wants_early_load(void)
{
    const char *load = getenv("P2PTLS_LOAD");
    return load && strcmp(load, "early") == 0;
}

/* exit(3) runs its functions backwards. One that belongs to no library is not run when a library's destructors are; one
 * registered before main comes after those of all libraries (_dl_fini), so whatever the program writes at its end has
 * been written; and before stdio is flushed, which is too late for connections. */
static void at_end(void *arg)
{
    (void)arg;
    streams_flush();
    helper_finish_all();
}

int __cxa_atexit(void (*fn)(void *arg), void *arg, void *library);

__attribute__((constructor)) static void init(void)
{
    int saved = errno;
    real_resolve();
    init_read_environment();
    if (policy) {
        if (!table_init())
            stop("p2ptls: no memory for the descriptor table; the program was not started\n");
        logsink_open(getenv("P2PTLS_LOG"));
        log_set_sink(logsink_write, logsink_level);
        find_state_dir();
        memory_init();
        fork_init();
        waits_init();
        if (__cxa_atexit(at_end, NULL, NULL) != 0)
            stop("p2ptls: no memory; the program was not started\n");
        exec_image_init();
        classify_inherited();
        if (wants_early_load())
            core_load_all();
    }
    errno = saved;
}
