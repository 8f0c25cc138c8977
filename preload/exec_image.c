/* Will the library be in the program that an exec starts? A protected connection goes on there only then; in any other
 * it would go on in clear. Whoever cannot be judged counts as no. */
#include "exec_image.h"

#include "state.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

enum { SCRIPT_DEPTH = 4, HEAD_BYTES = 512, PROGRAM_HEADERS = 64 };

static char *policy_at_start, *config_at_start;

void exec_image_init(void)
{
    const char *text = getenv("P2PTLS_POLICY"), *file = getenv("P2PTLS_CONFIG");
    policy_at_start = text ? strdup(text) : NULL;
    config_at_start = file ? strdup(file) : NULL;
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
    return dladdr((void *)exec_image_init, &self) ? self.dli_fname : NULL;
}

static bool preloads_us(char *const envp[])
{
    const char *preload = value_in(envp, "LD_PRELOAD"), *own = own_path();
    return preload && own && strstr(preload, own);
}

static bool has_policy(char *const envp[])
{
    const char *text = value_in(envp, "P2PTLS_POLICY"), *file = value_in(envp, "P2PTLS_CONFIG");
    return (text && *text) || (file && *file);
}

bool exec_image_environment_keeps(char *const envp[])
{
    return preloads_us(envp) && has_policy(envp);
}

static char *setting(const char *name, const char *value, const char *behind)
{
    char *text = NULL;
    return asprintf(&text, "%s=%s%s%s", name, value, behind ? ":" : "", behind ? behind : "") < 0 ? NULL : text;
}

/* Ours come first in the copy, each on the heap; what follows is the caller's. A later LD_PRELOAD is left out. */
enum { OWN_SETTINGS = 3 };

char **exec_image_environment(char *const envp[])
{
    size_t n = 0, at = 0;
    while (envp && envp[n])
        n++;
    char **copy = calloc(n + OWN_SETTINGS + 2, sizeof *copy);
    const char *preload = value_in(envp, "LD_PRELOAD"), *own = own_path();
    if (!copy || !own)
        return free(copy), NULL;
    copy[at++] = preloads_us(envp) ? setting("LD_PRELOAD", preload, NULL) : setting("LD_PRELOAD", own, preload);
    bool ours = !has_policy(envp);
    copy[at++] = setting("P2PTLS_POLICY", ours && policy_at_start ? policy_at_start : "", NULL);
    copy[at++] = setting("P2PTLS_CONFIG", ours && config_at_start ? config_at_start : "", NULL);
    for (size_t i = 0; i < n; i++) {
        bool replaced =
            strncmp(envp[i], "LD_PRELOAD=", 11) == 0 ||
            (ours && (strncmp(envp[i], "P2PTLS_POLICY=", 14) == 0 || strncmp(envp[i], "P2PTLS_CONFIG=", 14) == 0));
        if (!replaced)
            copy[at++] = envp[i];
    }
    if (copy[0] && copy[1] && copy[2])
        return copy;
    exec_image_environment_free(copy);
    return NULL;
}

void exec_image_environment_free(char **envp)
{
    for (int i = 0; envp && i < OWN_SETTINGS; i++)
        free(envp[i]);
    free(envp);
}

/* glibc's loader, which obeys LD_PRELOAD with our library. */
static bool loader_is_glibc(int fd, const ElfW(Ehdr) * head)
{
    for (unsigned i = 0; i < head->e_phnum && i < PROGRAM_HEADERS; i++) {
        ElfW(Phdr) part;
        char name[PATH_MAX] = "";
        if (pread(fd, &part, sizeof part, (off_t)(head->e_phoff + i * sizeof part)) != (ssize_t)sizeof part)
            return false;
        if (part.p_type != PT_INTERP)
            continue;
        return part.p_filesz < sizeof name &&
               pread(fd, name, part.p_filesz, (off_t)part.p_offset) == (ssize_t)part.p_filesz &&
               strstr(name, "ld-linux");
    }
    return false; /* static */
}

static bool elf_keeps(int fd, const ElfW(Ehdr) * head)
{
    struct stat s;
    char capability;
    if (fstat(fd, &s) != 0 || (s.st_mode & (S_ISUID | S_ISGID)))
        return false; /* ld.so ignores LD_PRELOAD there */
    if (fgetxattr(fd, "security.capability", &capability, 0) > 0)
        return false;
    Dl_info self;
    dladdr((void *)exec_image_init, &self);
    const ElfW(Ehdr) *ours = self.dli_fbase;
    if (head->e_ident[EI_CLASS] != ours->e_ident[EI_CLASS] || head->e_machine != ours->e_machine ||
        head->e_phentsize != sizeof(ElfW(Phdr)))
        return false;
    return loader_is_glibc(fd, head);
}

static bool file_keeps(const char *path, int depth);

static bool script_keeps(char *line, int depth)
{
    char *end = strchr(line, '\n');
    if (end)
        *end = 0;
    line += strspn(line, " \t");
    line[strcspn(line, " \t")] = 0;
    return depth < SCRIPT_DEPTH && file_keeps(line, depth + 1);
}

static bool file_keeps(const char *path, int depth)
{
    union {
        ElfW(Ehdr) elf;
        char text[HEAD_BYTES + 1];
    } head = {.text = ""};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    bool keeps = false;
    ssize_t n = pread(fd, head.text, HEAD_BYTES, 0);
    if (n >= 2 && head.text[0] == '#' && head.text[1] == '!')
        keeps = script_keeps(head.text + 2, depth);
    else if (n >= (ssize_t)sizeof head.elf && memcmp(head.elf.e_ident, ELFMAG, SELFMAG) == 0)
        keeps = elf_keeps(fd, &head.elf);
    close(fd);
    return keeps;
}

/* Where execvp(3) will find it. */
static bool search_keeps(const char *file)
{
    const char *path = getenv("PATH");
    char full[PATH_MAX];
    if (strchr(file, '/'))
        return file_keeps(file, 0);
    for (const char *at = path ? path : "/bin:/usr/bin"; *at;) {
        size_t len = strcspn(at, ":");
        int n = snprintf(full, sizeof full, "%.*s%s%s", (int)len, at, len ? "/" : "", file);
        if (n > 0 && n < (int)sizeof full && access(full, X_OK) == 0)
            return file_keeps(full, 0);
        at += len + (at[len] == ':');
    }
    return false;
}

static bool is_executable(const char *file)
{
    struct stat s;
    return access(file, X_OK) == 0 && stat(file, &s) == 0 && S_ISREG(s.st_mode);
}

enum exec_image exec_image_of(const char *file, bool search)
{
    int saved = errno;
    enum exec_image image = EXEC_IMAGE_UNCOVERABLE;
    if (file && (search ? search_keeps(file) : file_keeps(file, 0)))
        image = EXEC_IMAGE_COVERABLE;
    else if (file && !search && !is_executable(file))
        image = EXEC_IMAGE_IMPOSSIBLE;
    errno = saved;
    return image;
}
