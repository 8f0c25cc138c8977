/* What happens before main: the environment is read, the policy parsed. Without a policy the library is inert. */
#include "exec_elf.h"
#include "exec_image.h"
#include "large.h"
#include "memory.h"
#include "paths.h"
#include "sources.h"
#include "state.h"

#include "sys.h"
#include "waits.h"

#include <errno.h>
#include <link.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

enum { EXIT_BROKEN_POLICY = 125 };

struct policy *policy;
static char *state_dir; /* owned */

/* The only place where the library ends its program: it could not protect it. */
static void stop(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn, noinline));
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

static const char *believed_variable(void *ctx, const char *name)
{
    (void)ctx;
    return secure_getenv(name); /* the caller of a set-uid program decides nothing in it */
}

/* The launcher asks what a policy would be in a program that it has not started: nobody else can tell. */
static void answer(const struct policy *p) __attribute__((noreturn, noinline));
static void answer(const struct policy *p)
{
    char text[80];
    int n = snprintf(text, sizeof text, "p2ptls: rules %zu, for other programs %zu\n", p ? policy_count(p) : 0,
                     policy_count_for_others(p));
    sys3(SYS_write, 1L, text, (long)n);
    sys1(SYS_exit_group, 0L);
    __builtin_unreachable();
}

/* A service without HOME: the user database knows. */
static SLOW bool home_of_user(char out[PATH_MAX])
{
    char space[2048];
    struct passwd entry, *found = NULL;
    if (getpwuid_r(geteuid(), &entry, space, sizeof space, &found) != 0 || !found || found->pw_dir[0] != '/')
        return false;
    return snprintf(out, PATH_MAX, "%s", found->pw_dir) < PATH_MAX;
}

void init_read_environment(void)
{
    static struct program program LARGE;
    char user_folder[PATH_MAX];
    const char *asked = secure_getenv("P2PTLS_CHECK");
    struct sources_view view = {.get = believed_variable,
                                .find_home = home_of_user,
                                .program = &program,
                                .secure = getauxval(AT_SECURE),
                                .user_folder = user_folder};
    if (asked)
        program.asked = asked;
    struct policy_error error = {0};
    enum result result = sources_load(&view, &policy, &error);
    if (result == RESULT_NOMEM)
        stop("p2ptls: policy: out of memory; the program was not started\n");
    if (result != RESULT_OK && !error.line)
        stop("p2ptls: %s: %s; the program was not started\n", error.source, error.message);
    if (result != RESULT_OK)
        stop("p2ptls: %s:%u:%u: %s; the program was not started\n", error.source, error.line, error.column,
             error.message);
    if (asked)
        answer(policy);
    exec_image_remember(user_folder);
}

/* XDG Base Directory Specification: a relative XDG_STATE_HOME is to be ignored. Resolved at the start, since daemons
 * change HOME, user and root directory later. */
static void find_state_dir(void)
{
    const char *base = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
    char path[PATH_MAX];
    path[0] = 0;
    if (base && base[0] == '/')
        (void)path_join(path, sizeof path, base, "/p2ptls");
    else if (home && home[0] == '/')
        (void)path_join(path, sizeof path, home, "/.local/state/p2ptls");
    if (path[0] && !(state_dir = strdup(path)))
        stop("p2ptls: no memory; the program was not started\n");
}

const char *init_state_dir(void)
{
    static char of_user[PATH_MAX] LARGE;
    char home[PATH_MAX];
    if (state_dir)
        return state_dir;
    if (!of_user[0] && home_of_user(home))
        (void)path_join(of_user, sizeof of_user, home, "/.local/state/p2ptls");
    return of_user[0] ? of_user : NULL;
}

/* LD_PRELOAD may name one copy, /etc/ld.so.preload another. What one encrypts the other would encrypt again: no peer
 * can read that, and only this tells why. The copy that is second in the order of look-ups says so. */
static const char *copy_before(const struct link_map *self)
{
    for (const struct link_map *m = _r_debug.r_map; m != self; m = m->l_next) {
        const char *slash = m->l_name ? strrchr(m->l_name, '/') : NULL;
        if (slash && strcmp(slash, strrchr(self->l_name, '/')) == 0)
            return m->l_name;
    }
    return NULL;
}

static void tell_of_second_copy(void)
{
    const struct link_map *self = _r_debug.r_map;
    while (self && self->l_ld != _DYNAMIC)
        self = self->l_next;
    const char *other = self && strchr(self->l_name, '/') ? copy_before(self) : NULL;
    if (other)
        log_event(LOG_LEVEL_ERROR,
                  "the library is loaded twice, as %s and %s: each encrypts what the other has encrypted, and "
                  "connections fail; take one of them out of LD_PRELOAD or /etc/ld.so.preload",
                  other, self->l_name);
}

static bool wants_status = true;

/* Read at the start: programs change their environment later. */
static void read_status_setting(void)
{
    const char *setting = secure_getenv("P2PTLS_STATUS");
    if (!setting || !*setting || strcmp(setting, "on") == 0)
        return;
    wants_status = false;
    if (strcmp(setting, "off") != 0)
        log_event(LOG_LEVEL_WARN,
                  "P2PTLS_STATUS: expected on or off, found %s: p2ptls status does not show this program", setting);
}

bool init_wants_status(void)
{
    return wants_status;
}

static bool wants_early_load(void)
{
    const char *load = secure_getenv("P2PTLS_LOAD");
    if (!load || !*load)
        return false;
    if (strcmp(load, "early") == 0)
        return true;
    log_event(LOG_LEVEL_WARN, "P2PTLS_LOAD: expected early, found %s: the core is loaded when it is needed", load);
    return false;
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

/* p2ptls-tool has this symbol. */
extern const char p2ptls_own_program __attribute__((weak, visibility("default")));

/* A unit's drop-in asks whether the library gets there. The standard input of whoever answers may be the connection of
 * the service, which is not his to protect, or to end; where the library is, he says nothing, and cannot say it in
 * clear. */
static bool is_question_of_unit(int argc, char **argv)
{
    return &p2ptls_own_program && argc == 3 && strcmp(argv[1], "enable") == 0 && strcmp(argv[2], "--loaded") == 0;
}

__attribute__((constructor)) static void init(int argc, char **argv)
{
    int saved = errno;
    real_resolve();
    if (!is_question_of_unit(argc, argv))
        init_read_environment();
    if (policy) {
        if (!table_init())
            stop("p2ptls: no memory for the descriptor table; the program was not started\n");
        logsink_open(secure_getenv("P2PTLS_LOG"));
        if (exec_elf_self_past_libc())
            log_event(LOG_LEVEL_ERROR, "this program was built by Go: it makes its system calls past libc, and nothing "
                                       "protects its connections");
        tell_of_second_copy();
        read_status_setting();
        find_state_dir();
        memory_init();
        fork_init();
        waits_init();
        exit_init();
        if (__cxa_atexit(at_end, NULL, NULL) != 0)
            stop("p2ptls: no memory; the program was not started\n");
        classify_inherited();
        if (wants_early_load())
            core_load_all();
    }
    errno = saved;
}
