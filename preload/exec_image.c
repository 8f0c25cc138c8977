/* Will the library be in the program that an exec starts? A protected connection goes on there only then; in any other
 * it would go on in clear. Whoever cannot be judged counts as no. */
#include "exec_image.h"

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

/* A policy without a rule in it leaves the library inert. One with an error in it stops the program. */
static bool has_rule(const char *text, size_t len)
{
    struct policy *p = NULL;
    struct policy_error error;
    enum result result = policy_parse(&p, "environment", text, len, &error);
    bool has = result != RESULT_OK || policy_count(p) > 0;
    if (result == RESULT_OK)
        policy_free(p);
    return has;
}

static bool file_has_rule(const char *name)
{
    enum { FILE_MAX = 1 << 20 };
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    char *text = fd < 0 ? NULL : malloc(FILE_MAX);
    size_t len = 0;
    ssize_t n = -1;
    while (text && len < FILE_MAX && (n = sys3(SYS_read, (long)fd, text + len, (long)(FILE_MAX - len))) > 0)
        len += (size_t)n;
    bool has = n == 0 && has_rule(text, len);
    free(text);
    if (fd >= 0)
        close(fd);
    return has;
}

static bool has_policy(char *const envp[])
{
    const char *text = value_in(envp, "P2PTLS_POLICY"), *file = value_in(envp, "P2PTLS_CONFIG");
    return (text && has_rule(text, strlen(text))) || (file && *file && file_has_rule(file));
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

static char *setting(const char *name, const char *value, const char *behind)
{
    char *text = NULL;
    return asprintf(&text, "%s=%s%s%s", name, value, behind ? ":" : "", behind ? behind : "") < 0 ? NULL : text;
}

/* Ours come first in the copy, each on the heap and the only one of its name; what follows is the caller's. */
enum { OWN_SETTINGS = 3 };

char **exec_image_environment(char *const envp[])
{
    size_t n = 0, at = 0;
    while (envp && envp[n])
        n++;
    char **copy = calloc(n + OWN_SETTINGS + 2, sizeof *copy);
    const char *preload = preload_in(envp), *own = own_path();
    if (!copy || !own)
        return free(copy), NULL;
    copy[at++] = preloads_us(envp) ? setting("LD_PRELOAD", preload, NULL) : setting("LD_PRELOAD", own, preload);
    bool ours = !has_policy(envp);
    const char *text = ours ? policy_at_start : value_in(envp, "P2PTLS_POLICY");
    const char *file = ours ? config_at_start : value_in(envp, "P2PTLS_CONFIG");
    copy[at++] = setting("P2PTLS_POLICY", text ? text : "", NULL);
    copy[at++] = setting("P2PTLS_CONFIG", file ? file : "", NULL);
    for (size_t i = 0; i < n; i++)
        if (strncmp(envp[i], "LD_PRELOAD=", 11) != 0 && strncmp(envp[i], "P2PTLS_POLICY=", 14) != 0 &&
            strncmp(envp[i], "P2PTLS_CONFIG=", 14) != 0)
            copy[at++] = envp[i];
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
    if (file && loader_finds_us() && (search ? search_keeps(file) : file_keeps(file, 0)))
        image = EXEC_IMAGE_COVERABLE;
    else if (file && !search && !is_executable(file))
        image = EXEC_IMAGE_IMPOSSIBLE;
    errno = saved;
    return image;
}
