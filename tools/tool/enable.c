/* p2ptls enable: a drop-in for a systemd service (systemd.unit(5)) that puts the library under it. It is shown first.
 */
#include "enable.h"
#include "files.h"
#include "folders.h"
#include "options.h"
#include "policy_view.h"
#include "root_path.h"
#include "unit_files.h"

#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct plan {
    const char *root;      /* --root: in front of /etc/systemd; "" is this system */
    char unit[256];        /* NAME.service */
    const char *rules;     /* NULL: the policy is in files */
    char config[PATH_MAX]; /* -f, absolute; empty: none */
    bool yes, force, remove;
    char drop_in[PATH_MAX];                /* as the unit's system names it */
    char folder[PATH_MAX], path[PATH_MAX]; /* where it is from here */
};

/* systemd.unit(5): letters, digits, and ":-_.\@". */
static bool set_unit(struct plan *plan, const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@";
    const char *dot = strrchr(name, '.');
    const bool typed = dot && strcmp(dot, ".service") == 0;
    static const char *const others[] = {".socket", ".timer", ".target", ".mount", ".path", ".slice", ".scope", NULL};

    for (size_t i = 0; dot && others[i]; i++)
        if (strcmp(dot, others[i]) == 0) {
            (void)usage_error("'%s' runs no program: name the service that goes with it", name);
            return false;
        }
    if (!*name || *name == '.' || name[strspn(name, allowed)] ||
        snprintf(plan->unit, sizeof plan->unit, "%s%s", name, typed ? "" : ".service") >= (int)sizeof plan->unit) {
        (void)usage_error("'%s' is no name of a systemd unit", name);
        return false;
    }
    return true;
}

/* Another root's links lead nowhere but into it: its files may be anybody's, and this system's are not meant. */
static bool set_paths(struct plan *plan)
{
    char folder[PATH_MAX];
    struct stat st;

    if (snprintf(folder, sizeof folder, "/etc/systemd/system/%s.d", plan->unit) >= (int)sizeof folder ||
        snprintf(plan->drop_in, sizeof plan->drop_in, "%s/p2ptls.conf", folder) >= (int)sizeof plan->drop_in)
        (void)failed("the unit's name is too long");
    else if (!*plan->root)
        return snprintf(plan->folder, sizeof plan->folder, "%s", folder) > 0 &&
               snprintf(plan->path, sizeof plan->path, "%s", plan->drop_in) > 0;
    else if (!path_to_make(plan->root, folder, plan->folder) ||
             snprintf(plan->path, sizeof plan->path, "%s/p2ptls.conf", plan->folder) >= (int)sizeof plan->path)
        (void)failed("%s cannot be made in %s: a link on the way leads nowhere there, or it is too long", folder,
                     plan->root);
    else if (lstat(plan->path, &st) == 0 && S_ISLNK(st.st_mode))
        (void)failed("%s is a link: take it away", plan->path);
    else
        return true;
    return false;
}

/* ---- what the unit says --------------------------------------------------------------------------------------- */

/* ProtectHome= and PrivateTmp= hide these: ld.so would then run the program in clear. */
static void warn_of_hidden_library(const char *library)
{
    static const char *const hidden[] = {"/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/", NULL};

    for (size_t i = 0; library && hidden[i]; i++)
        if (strncmp(library, hidden[i], strlen(hidden[i])) == 0)
            note("units with ProtectHome= or PrivateTmp= do not see %s, and would run in clear: install it", library);
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

static bool confirmed(const struct plan *plan)
{
    char answer[8] = "";

    if (plan->yes)
        return true;
    if (!isatty(STDIN_FILENO)) {
        (void)failed("nothing was written: --yes writes it");
        return false;
    }
    fprintf(stderr, "%s %s? [y/N] ", plan->remove ? "Remove" : "Write", plan->path);
    if (fgets(answer, sizeof answer, stdin) && (*answer == 'y' || *answer == 'Y'))
        return true;
    (void)failed("nothing was written");
    return false;
}

static bool make_folder(const char *folder)
{
    const mode_t before = umask(022);
    char path[PATH_MAX];
    bool good = true;

    snprintf(path, sizeof path, "%s", folder);
    for (char *slash = path; good && (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        good = mkdir(path, 0755) == 0 || errno == EEXIST;
        *slash = '/';
    }
    good = good && (mkdir(path, 0755) == 0 || errno == EEXIST);
    umask(before);
    if (!good)
        (void)failed("cannot make the folder %s: %s", folder, strerror(errno));
    return good;
}

static void say_next(const struct plan *plan)
{
    if (!*plan->root)
        printf("\n# then:\nsystemctl daemon-reload\nsystemctl restart %s\n", plan->unit);
}

/* A folder that was made for nothing does not stay. */
static bool write_drop_in(const struct plan *plan, const char *text)
{
    const bool there = access(plan->folder, F_OK) == 0;

    if (!make_folder(plan->folder))
        return false;
    if (file_write(plan->path, text, strlen(text), MODE_PUBLIC, plan->force))
        return true;
    if (!there)
        rmdir(plan->folder);
    return false;
}

static enum status enable(const struct plan *plan)
{
    char tool[PATH_MAX] = "";
    const ssize_t len = readlink("/proc/self/exe", tool, sizeof tool - 1);
    const struct drop_in what = {.preload = library_path(),
                                 .rules = plan->rules,
                                 .config = *plan->config ? plan->config : NULL,
                                 .tool = tool,
                                 .opens_folders = unit_sets(plan->root, plan->unit, "NoExecPaths")};
    const struct unit unit = {plan->root, plan->unit, plan->drop_in};

    if (len <= 0)
        return failed("cannot tell where p2ptls-tool lies: %s", strerror(errno));
    char *text = drop_in_text(&what);
    if (!text)
        return last_status();
    if (!unit_is_there(plan->root, plan->unit))
        note("there is no unit %s (yet)", plan->unit);
    if (!programs_may_be_enabled(&unit, plan->force)) {
        free(text);
        return last_status();
    }
    warn_of_hidden_library(what.preload);
    printf("# %s\n", plan->path);
    fputs(text, stdout);
    fflush(stdout);
    const bool done = file_may_be_made(plan->path, plan->force) && confirmed(plan) && write_drop_in(plan, text);
    free(text);
    if (done)
        say_next(plan);
    return done ? STATUS_OK : last_status();
}

static enum status take_away(const struct plan *plan)
{
    if (access(plan->path, F_OK) != 0)
        return failed("%s: %s", plan->path, strerror(errno));
    if (!confirmed(plan))
        return last_status();
    if (unlink(plan->path) != 0)
        return failed("cannot remove %s: %s", plan->path, strerror(errno));
    rmdir(plan->folder); /* if nothing else is in it */
    say_next(plan);
    return STATUS_OK;
}

/* ---- in the unit ---------------------------------------------------------------------------------------------- */

static int is_library(struct dl_phdr_info *object, size_t size, void *ctx)
{
    static const char name[] = "/libp2ptls.so";
    const size_t len = object->dlpi_name ? strlen(object->dlpi_name) : 0;

    (void)size;
    (void)ctx;
    return len >= sizeof name - 1 && strcmp(object->dlpi_name + len - (sizeof name - 1), name) == 0;
}

/* The service's connection may be its standard error, too: nothing of this is for the peer. */
static void keep_off_connection(void)
{
    int domain = AF_UNIX; /* the journal's */
    socklen_t len = sizeof domain;

    if (getsockopt(STDERR_FILENO, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain != AF_UNIX)
        (void)!freopen("/dev/null", "w", stderr);
}

/* --loaded, the drop-in's ExecStartPre=: is the library in this very process, which has the environment, the user and
 * the sandbox of the service, and is a rule? What keeps them out here keeps them out of the service; of the library
 * ld.so would only warn, and without a rule it protects nothing. */
static enum status is_loaded(void)
{
    static struct policy_view view;
    struct policy_request request = {0};
    const char *preload = getenv("LD_PRELOAD");

    keep_off_connection();
    if (!dl_iterate_phdr(is_library, NULL))
        return failed("the library does not get into this service, which would run in clear: its sandbox (ExecPaths=, "
                      "InaccessiblePaths=, ...) or its environment keeps out LD_PRELOAD=%s",
                      preload ? preload : "");
    enum status status = policy_view_load(&view, &request);
    if (status == STATUS_OK && !view.policy)
        status = failed("no rule reaches this service, which would run in clear: its sandbox (TemporaryFileSystem=, "
                        "InaccessiblePaths=, ...) hides /etc/p2ptls, or its environment has no P2PTLS_POLICY any more");
    policy_view_free(&view);
    policy_request_free(&request);
    return status;
}

/* ---- the command line ----------------------------------------------------------------------------------------- */

/* What the unit would stumble over. */
static enum status check_policy(struct policy_request *request)
{
    static struct policy_view view;
    const enum status status = policy_view_load(&view, request);

    if (status == STATUS_OK && !view.policy)
        (void)failed(
            "no policy, nothing would be protected: add -r 'connect *:6379', -f FILE, or a file to /etc/p2ptls");
    const bool good = status == STATUS_OK && view.policy;
    policy_view_free(&view);
    return status == STATUS_OK && !good ? STATUS_NO : status;
}

static enum status act(struct plan *plan, struct policy_request *request)
{
    char here[PATH_MAX] = "";

    if (plan->remove)
        return request->rules || request->config ? usage_error("--remove takes no policy") : take_away(plan);
    if (request->config && request->config[0] != '/' && !getcwd(here, sizeof here))
        return failed("cannot tell the current folder: %s", strerror(errno));
    if (request->config && snprintf(plan->config, sizeof plan->config, "%s%s%s", here, *here ? "/" : "",
                                    request->config) >= (int)sizeof plan->config)
        return failed("the path of the policy is too long");
    char *rules = request->rules ? strdup(request->rules) : NULL;
    plan->rules = rules;
    /* The caller's own environment and folders are not the unit's. */
    unsetenv("P2PTLS_POLICY");
    unsetenv("P2PTLS_CONFIG");
    setenv("XDG_CONFIG_HOME", "/dev/null", 1);
    enum status status = check_policy(request);
    if (status == STATUS_OK)
        status = enable(plan);
    free(rules);
    return status;
}

static enum status run(int argc, char **argv)
{
    static const struct option names[] = {{"policy", required_argument, NULL, 'r'},
                                          {"config", required_argument, NULL, 'f'},
                                          {"root", required_argument, NULL, 'R'},
                                          {"yes", no_argument, NULL, 'y'},
                                          {"force", no_argument, NULL, 'F'},
                                          {"remove", no_argument, NULL, 'x'},
                                          {"loaded", no_argument, NULL, 'l'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct policy_request request = {0};
    static struct plan plan = {.root = ""};
    enum status status = STATUS_OK;
    bool good = true, loaded = false;
    int letter;

    while (good && (letter = next_option(argc, argv, ":r:f:yh", names, &status)) >= 0)
        switch (letter) {
        case 'R':
            plan.root = strcmp(optarg, "/") == 0 ? "" : optarg;
            break;
        case 'y':
            plan.yes = true;
            break;
        case 'F':
            plan.force = true;
            break;
        case 'x':
            plan.remove = true;
            break;
        case 'l':
            loaded = true;
            break;
        case 'r':
            good = policy_request_rule(&request, optarg);
            break;
        default:
            good = policy_request_config(&request, optarg);
        }
    if (good && letter == OPTION_END && loaded)
        status = check_arguments(argc, argv, 0, 0) ? is_loaded() : last_status();
    else if (good && letter == OPTION_END)
        status = check_arguments(argc, argv, 1, 1) && set_unit(&plan, argv[optind]) && set_paths(&plan)
                     ? act(&plan, &request)
                     : last_status();
    else if (!good)
        status = last_status();
    policy_request_free(&request);
    return status;
}

const struct command command_enable = {
    "enable", run,
    "Usage: p2ptls enable [-r|--policy RULE]... [-f|--config FILE] [--root DIR] [--yes] [--force] UNIT\n"
    "       p2ptls enable --remove [--root DIR] [--yes] UNIT\n"
    "       p2ptls enable --loaded\n"};
