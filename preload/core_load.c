/* Brings in libp2ptls-core.so, and with it GnuTLS, at the first socket that the policy selects: linking GnuTLS costs
 * every process 2 ms at its start, and a shell script runs a hundred processes. */
#include "state.h"

#include "dane.h"
#include "io.h"
#include "stack.h"
#include "sys.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

const struct core_api *core;
int core_load_error = EKEYREJECTED;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The core lies beside this library. */
static bool core_path(char *path, size_t room)
{
    Dl_info info;
    if (!dladdr((void *)core_load, &info) || !info.dli_fname)
        return false;
    const char *slash = strrchr(info.dli_fname, '/');
    size_t len = slash ? (size_t)(slash - info.dli_fname) + 1 : 0;
    int n = snprintf(path, room, "%.*slibp2ptls-core.so", (int)len, info.dli_fname);
    return n > 0 && (size_t)n < room;
}

#ifdef P2PTLS_NONCE_AUDIT
/* Debug builds append every spent nonce to a file that all processes of a test share (O_APPEND: whole entries). */
static void write_nonce(void *ctx, const uint8_t *entry)
{
    static _Atomic int file = -1;
    const char *name = secure_getenv("P2PTLS_NONCE_AUDIT_FILE");
    (void)ctx;
    if (atomic_load(&file) < 0 && name) {
        long fd = sys4(SYS_openat, (long)AT_FDCWD, name, (long)(O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC), 0600L);
        atomic_store(&file, fd < 0 ? -1 : hide_descriptor_number((int)fd));
        hidden_own(&file);
    }
    if (atomic_load(&file) >= 0)
        sys3(SYS_write, (long)atomic_load(&file), entry, 16L);
}
#else
#define write_nonce NULL
#endif

static void forget_number(int fd)
{
    if (table_word(fd) == WORD_OURS)
        table_set(fd, WORD_PLAIN);
}

static const struct core_api *open_core(void)
{
    char path[4096];
    struct core_host host = {
        .abi = CORE_ABI,
        .version = P2PTLS_VERSION,
        .io = io_transport_under(&forbidden),
        .log = logsink_write,
        .log_thresholds = logsink_levels,
        .hide = hide_descriptor_number,
        .forget = forget_number,
        .own = hidden_own,
        .status = init_wants_status(),
        .resolver = &dane_resolver,
        .nonce_audit = write_nonce,
    };
    if (!core_path(path, sizeof path)) {
        log_event(LOG_LEVEL_ERROR, "cannot tell where libp2ptls.so lies: selected sockets are refused");
        return NULL;
    }
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    core_open open_it = so ? (core_open)dlsym(so, "p2ptls_core_open") : NULL;
    const struct core_api *api = open_it ? open_it(&host) : NULL;
    const bool scarce = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
    core_load_error = !so && scarce ? errno : EKEYREJECTED;
    if (!api)
        log_event(LOG_LEVEL_ERROR, "cannot load the TLS core, selected sockets are refused: %s",
                  so && open_it ? "libp2ptls-core.so is of another version, as after an upgrade: restart the program"
                                : dlerror());
    return api;
}

static void open_it(void *unused)
{
    (void)unused;
    core = open_core(); /* what failed for want of descriptors or memory may go well the next time */
}

bool core_load(void)
{
    if (core)
        return true;
    if (thread.in_vfork_child)
        return false; /* its memory is its parent's */
    library_enter();
    pthread_mutex_lock(&lock);
    if (!core)
        stack_call(open_it, NULL);
    pthread_mutex_unlock(&lock);
    library_leave();
    return core != NULL;
}

struct wanted {
    const struct policy_rule *rule;
    struct identity *identity;
};

static void find_identity(void *arg)
{
    struct wanted *w = arg;
    const struct policy_rule *rule = w->rule;
    char why[IDENTITY_WHY_MAX] = "", place[RULE_TEXT];
    if (core->core_identity(rule, init_state_dir(), &w->identity, why) == RESULT_OK)
        return;
    w->identity = NULL;
    snprintf(place, sizeof place, "%.240s:%u", rule->source, rule->line);
    log_write(LOG_LEVEL_ERROR, LOG_CATEGORY_IDENTITY, &(struct log_field){"rule", place}, 1,
              "%s:%u: no identity for this rule, its sockets are refused: %s", rule->source, rule->line, why);
}

struct identity *core_identity_of(const struct policy_rule *rule)
{
    struct wanted wanted = {rule, NULL};
    if (!core_load())
        return NULL;
    library_enter();
    stack_call(find_identity, &wanted);
    library_leave();
    return wanted.identity;
}

void core_identity_done(struct identity *identity)
{
    if (!identity)
        return;
    library_enter();
    core->identity_unref(identity);
    library_leave();
}

void core_load_all(void)
{
    static _Atomic bool done; /* what could not be read is tried again when it is needed, not at each of these calls */
    if (atomic_exchange(&done, true))
        return;
    for (size_t i = 0; i < policy_count(policy); i++)
        if (policy_rule_at(policy, i)->action == POLICY_PROTECT && !policy_rule_at(policy, i)->observe)
            core_identity_done(core_identity_of(policy_rule_at(policy, i)));
}
