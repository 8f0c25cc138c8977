/* The library's two files: there, readable by all who are to be protected, whole, and for this machine. */
#include "doctor.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What this program is for, and so what runs here. */
#if defined(__x86_64__)
enum { OWN_MACHINE = EM_X86_64 };
#elif defined(__aarch64__)
enum { OWN_MACHINE = EM_AARCH64 };
#else
#error "an architecture that the library is not written for"
#endif

/* ld.so passes over a library of another kind with a warning, and the program runs in clear. */
static bool examine_elf(const char *path, int fd)
{
    ElfW(Ehdr) head;

    if (pread(fd, &head, sizeof head, 0) != (ssize_t)sizeof head || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
        found(FINDING_FAULT, "library", "%s is no ELF file: install it again", path);
    else if (head.e_machine != OWN_MACHINE || head.e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32))
        found(FINDING_FAULT, "library", "%s is for another architecture (ELF machine %u): install that of this one",
              path, (unsigned)head.e_machine);
    else
        return true;
    return false;
}

static bool is_others(const struct stat *s)
{
    return s->st_uid != 0 && s->st_uid != geteuid();
}

/* A daemon that lowers its privileges, and what it starts then, must still be able to open it. */
static void examine_reach(const char *path)
{
    char *real = realpath(path, NULL);
    struct stat s;

    if (!real)
        return;
    for (char *slash = strchr(real + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (stat(real, &s) == 0 && !(s.st_mode & S_IXOTH))
            found(FINDING_NOTE, "library", "%s lets not everybody in: programs of other users would run in clear",
                  real);
        /* In a folder with the sticky bit, nobody moves what is another's. */
        if (stat(real, &s) == 0 && (is_others(&s) || (s.st_mode & (S_IWOTH | S_ISVTX)) == S_IWOTH))
            found(FINDING_FAULT, "library",
                  "%s can be changed by others than root and this user, who could put another library there: "
                  "install it where they cannot",
                  real);
        *slash = '/';
    }
    if (stat(real, &s) == 0 && !(s.st_mode & S_IROTH))
        found(FINDING_FAULT, "library",
              "%s cannot be read by everybody: programs of other users would run in clear; "
              "chmod a+r %s",
              path, path);
    if (stat(real, &s) == 0 && (s.st_mode & S_IWOTH || is_others(&s)))
        found(FINDING_FAULT, "library", "%s can be changed by others than root and this user", path);
    free(real);
}

static bool examine_file(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        found(FINDING_FAULT, "library", "%s: %s", path,
              errno == ENOENT ? "it is missing: install it, or no connection can be protected" : strerror(errno));
        return false;
    }
    const bool good = examine_elf(path, fd);
    close(fd);
    if (good)
        examine_reach(path);
    return good;
}

/* With all that it needs, as at the first protected connection. */
static void examine_core(const char *path)
{
    void *core = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (!core)
        found(FINDING_FAULT, "library", "it cannot be loaded: %s", dlerror());
    else if (!dlsym(core, "p2ptls_core_open"))
        found(FINDING_FAULT, "library", "%s is of another version: install both files again", path);
    else
        found(FINDING_OK, "library", "%s", library_path());
}

void doctor_library(void)
{
    const char *library = library_path(), *slash = library ? strrchr(library, '/') : NULL;
    char core[PATH_MAX];

    if (!slash) {
        found(FINDING_FAULT, "library", "libp2ptls.so is not found: run 'make install', or set P2PTLS_LIBRARY");
        return;
    }
    snprintf(core, sizeof core, "%.*s/libp2ptls-core.so", (int)(slash - library), library);
    const bool good = examine_file(library);
    if (examine_file(core) && good)
        examine_core(core);
}
