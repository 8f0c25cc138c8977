/* Will the library be in the program that an exec starts? A protected connection goes on there only then; in any other
 * it would go on in clear. Whoever cannot be judged counts as no. */
#define LOG_CATEGORY LOG_CATEGORY_PROGRAM

#include "exec_image.h"

#include "exec_elf.h"
#include "sources.h"

#include "state.h"

#include "sys.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>

enum { SCRIPT_DEPTH = 4, HEAD_BYTES = 512 };

/* What brought the policy into this program; the new one gets it back where its environment has none. */
enum setting { PRELOAD, POLICY, CONFIG, CONFIG_HOME, SETTINGS };

static const char *const names[SETTINGS] = {"LD_PRELOAD", "P2PTLS_POLICY", "P2PTLS_CONFIG", "XDG_CONFIG_HOME"};
static char *at_start[SETTINGS];

static char *copied(const char *text)
{
    return text ? strdup(text) : NULL;
}

void exec_image_remember(const char *user_folder)
{
    if (!policy)
        return;
    at_start[POLICY] = copied(secure_getenv(names[POLICY]));
    at_start[CONFIG] = copied(secure_getenv(names[CONFIG]));
    const char *end = strrchr(user_folder, '/');
    at_start[CONFIG_HOME] = end ? strndup(user_folder, (size_t)(end - user_folder)) : NULL;
}

static const char *value_in(char *const envp[], const char *name)
{
    size_t len = strlen(name);
    for (; envp && *envp; envp++)
        if (strncmp(*envp, name, len) == 0 && (*envp)[len] == '=')
            return *envp + len + 1;
    return NULL;
}

static const char *own_path(void)
{
    Dl_info self;
    return dladdr((void *)exec_image_remember, &self) ? self.dli_fname : NULL;
}

/* ld.so takes the last of several. */
static const char *preload_in(char *const envp[])
{
    const char *last = NULL, *next;
    for (; envp && *envp; envp++)
        if ((next = value_in((char *const[]){*envp, NULL}, "LD_PRELOAD")))
            last = next;
    return last;
}

/* A list that is separated by spaces or colons (ld.so(8)). */
static bool preloads_us(char *const envp[])
{
    const char *at = preload_in(envp), *own = own_path();
    while (at && own && *at) {
        size_t len = strcspn(at, " :");
        if (len == strlen(own) && strncmp(at, own, len) == 0)
            return true;
        at += len + (at[len] != 0);
    }
    return false;
}

static const char *variable_in(void *envp, const char *name)
{
    return value_in(envp, name);
}

/* A policy without a rule leaves the library inert. One with an error in it stops the program. */
static bool has_policy(char *const envp[])
{
    struct room {
        struct program program;
        char user_folder[PATH_MAX];
    } *room = calloc(1, sizeof *room);
    struct policy *p = NULL;
    struct policy_error error;
    if (!room)
        return false;
    struct sources_view view = {
        .get = variable_in, .ctx = (void *)envp, .program = &room->program, .user_folder = room->user_folder};
    enum result result = sources_load(&view, &p, &error);
    policy_free(p);
    free(room);
    return result == RESULT_CONFIG || p;
}

/* Will ld.so obey LD_PRELOAD, and find us? In a chroot, after chdir (a relative path), after a change of the user it
 * may not; where real and effective ids differ it does not (AT_SECURE, getauxval(3)). */
static bool loader_finds_us(void)
{
    const char *own = own_path();
    int fd = own && getuid() == geteuid() && getgid() == getegid() ? open(own, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return false;
    void *m = mmap(NULL, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0); /* not where files are noexec */
    if (m != MAP_FAILED)
        munmap(m, 1);
    close(fd);
    return m != MAP_FAILED;
}

bool exec_image_environment_keeps(char *const envp[])
{
    return preloads_us(envp) && has_policy(envp);
}

static char *setting(enum setting which, const char *value, const char *behind)
{
    char *text = NULL;
    return asprintf(&text, "%s=%s%s%s", names[which], value, behind ? ":" : "", behind ? behind : "") < 0 ? NULL : text;
}

/* Is that variable one that the copy has already? */
static bool is_set(char *const copy[], size_t count, const char *variable)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strcspn(copy[i], "=") + 1;
        if (strncmp(copy[i], variable, len) == 0)
            return true;
    }
    return false;
}

static size_t own_settings(char *const envp[], char **copy)
{
    const char *preload = preload_in(envp), *own = own_path();
    size_t n = 0;
    copy[n++] = preloads_us(envp) ? setting(PRELOAD, preload, NULL) : setting(PRELOAD, own, preload);
    if (has_policy(envp))
        return n;
    copy[n++] = setting(POLICY, at_start[POLICY] ? at_start[POLICY] : "", NULL);
    copy[n++] = setting(CONFIG, at_start[CONFIG] ? at_start[CONFIG] : "", NULL);
    if (at_start[CONFIG_HOME])
        copy[n++] = setting(CONFIG_HOME, at_start[CONFIG_HOME], NULL);
    return n;
}

void exec_image_environment_free(char **envp)
{
    for (size_t i = 0; envp && envp[i]; i++)
        free(envp[i]);
    free(envp);
}

char **exec_image_environment(char *const envp[])
{
    size_t room = 0;
    while (envp && envp[room])
        room++;
    char **copy = own_path() ? calloc(room + SETTINGS + 1, sizeof *copy) : NULL;
    if (!copy)
        return NULL;
    const size_t own = own_settings(envp, copy);
    size_t n = own;
    bool whole = true;
    for (size_t i = 0; i < own; i++)
        whole = whole && copy[i];
    for (size_t i = 0; whole && i < room; i++)
        if (!is_set(copy, own, envp[i]))
            whole = (copy[n++] = strdup(envp[i]));
    /* Its files may be out of reach by now: then the program would have no policy, and no protection. */
    if (whole && has_policy(copy))
        return copy;
    for (size_t i = 0; i < n; i++)
        free(copy[i]);
    free(copy);
    return NULL;
}

static enum exec_image judge_file(const char *path, int depth);

static enum exec_image judge_script(char *line, int depth)
{
    char *end = strchr(line, '\n');
    if (end)
        *end = 0;
    line += strspn(line, " \t");
    line[strcspn(line, " \t")] = 0;
    return depth < SCRIPT_DEPTH ? judge_file(line, depth + 1) : EXEC_IMAGE_UNCOVERABLE;
}

static enum exec_image judge_file(const char *path, int depth)
{
    union {
        ElfW(Ehdr) elf;
        char text[HEAD_BYTES + 1];
    } head = {.text = ""};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return EXEC_IMAGE_UNCOVERABLE;
    enum exec_image image = EXEC_IMAGE_UNCOVERABLE;
    ssize_t n = pread(fd, head.text, HEAD_BYTES, 0);
    if (n >= 2 && head.text[0] == '#' && head.text[1] == '!')
        image = judge_script(head.text + 2, depth);
    else if (n >= (ssize_t)sizeof head.elf && memcmp(head.elf.e_ident, ELFMAG, SELFMAG) == 0)
        image = exec_elf_judge(fd, &head.elf);
    close(fd);
    return image;
}

/* Where execvp(3) will find it. */
static enum exec_image judge_search(const char *file)
{
    const char *path = getenv("PATH");
    char full[PATH_MAX];
    if (strchr(file, '/'))
        return judge_file(file, 0);
    for (const char *at = path ? path : "/bin:/usr/bin"; *at;) {
        size_t len = strcspn(at, ":");
        int n = snprintf(full, sizeof full, "%.*s%s%s", (int)len, at, len ? "/" : "", file);
        if (n > 0 && n < (int)sizeof full && access(full, X_OK) == 0)
            return judge_file(full, 0);
        at += len + (at[len] == ':');
    }
    return EXEC_IMAGE_UNCOVERABLE;
}

/* Neither a program nor #!: ENOEXEC, after which shells read the file themselves. */
static bool has_mark(const char *file)
{
    char head[SELFMAG] = "";
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return true; /* it cannot be judged */
    bool read_it = pread(fd, head, sizeof head, 0) >= 0;
    close(fd);
    return !read_it || memcmp(head, "#!", 2) == 0 || memcmp(head, ELFMAG, SELFMAG) == 0;
}

static bool is_executable(const char *file)
{
    struct stat s;
    return access(file, X_OK) == 0 && stat(file, &s) == 0 && S_ISREG(s.st_mode) && has_mark(file);
}

enum exec_image exec_image_of(const char *file, bool search)
{
    int saved = errno;
    enum exec_image image = EXEC_IMAGE_UNCOVERABLE;
    if (file && loader_finds_us())
        image = search ? judge_search(file) : judge_file(file, 0);
    if (image != EXEC_IMAGE_COVERABLE && file && !search && !is_executable(file))
        image = EXEC_IMAGE_IMPOSSIBLE;
    errno = saved;
    return image;
}

void exec_image_tell_of_loss(const char *what, const char *file, bool search, char *const envp[])
{
    int saved = errno;
    if (file && preloads_us(envp) && !loader_finds_us() && (search || is_executable(file)))
        log_event(LOG_LEVEL_ERROR,
                  "%s of %s: it runs without protection, since ld.so will not load %s there: %s (user %u, group %u)",
                  what, file, own_path(),
                  getuid() == geteuid() && getgid() == getegid()
                      ? "it cannot be opened by that user, or in that root directory"
                      : "real and effective ids differ",
                  (unsigned)geteuid(), (unsigned)getegid());
    errno = saved;
}
