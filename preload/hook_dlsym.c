/* dlsym and dlvsym with a handle: ctypes in Python, Panama and JNA in Java, Fiddle in Ruby and plug-ins look functions
 * up in libc itself, past whatever stands in front of it. They get what any other caller of these names gets.
 *
 * With RTLD_NEXT and RTLD_DEFAULT libc looks who calls: these go to it by a jump (dlsym.S), and find what stands in
 * front by themselves. */
#include "elf_symbols.h"
#include "state.h"

#include <dlfcn.h>
#include <string.h>

/* A sanitizer calls dlsym before instrumented code can run. */
#if defined(__x86_64__) && !defined(P2PTLS_SANITIZED)

/* What dlsym.S jumps to; NULL until it is first needed, perhaps before any constructor has run. */
struct dl_real {
    void *(*dlsym)(void *, const char *);
    void *(*dlvsym)(void *, const char *, const char *);
    void *(*dlmopen)(Lmid_t, const char *, int);
    void *(*dlopen)(const char *, int);
};
__attribute__((visibility("hidden"))) struct dl_real dl_real;

void dl_resolve(void);
void *dlsym_by_handle(void *handle, const char *name);
void *dlvsym_by_handle(void *handle, const char *name, const char *version);
void *dlmopen_new(Lmid_t id, const char *name, int flags);
int dlopen_flags(int flags);

extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden"))); /* the linker's: this library */

static struct elf_object ours, libc_object;

static void *in_libc(const char *name)
{
    return elf_function(&libc_object, name);
}

/* Since glibc 2.34 they are in libc.so.6. A number of threads may do this at once, with the same result. */
void dl_resolve(void)
{
    struct elf_object self, libc_now;
    if (!elf_object_named("libc.so.6", &libc_now) || !elf_object_at(&__ehdr_start, &self))
        __builtin_trap(); /* no libc that this library was built for */
    libc_object = libc_now;
    ours = self;
    dl_real.dlopen = (__typeof__(dl_real.dlopen))in_libc("dlopen");
    dl_real.dlmopen = (__typeof__(dl_real.dlmopen))in_libc("dlmopen");
    dl_real.dlvsym = (__typeof__(dl_real.dlvsym))in_libc("dlvsym");
    dl_real.dlsym = (__typeof__(dl_real.dlsym))in_libc("dlsym");
}

/* liburing and libaio make system calls of their own. A function of another library may have one of their names. */
static bool is_of_io_library(const void *found)
{
    Dl_info info;
    if (dladdr(found, &info) == 0 || !info.dli_fname)
        return false;
    const char *slash = strrchr(info.dli_fname, '/'), *file = slash ? slash + 1 : info.dli_fname;
    return strncmp(file, "liburing", 8) == 0 || strncmp(file, "libaio", 6) == 0;
}

/* Before the constructor nobody knows yet whether there is a policy. */
static void *instead_of(void *found, const char *name)
{
    bool concerned = policy || !real_table.ready;
    bool in_libc_itself = concerned && elf_contains(&libc_object, found);
    if (!in_libc_itself && (!concerned || strncmp(name, "io_", 3) != 0))
        return found;
    void *mine = elf_function(&ours, name);
    return mine && (in_libc_itself || is_of_io_library(found)) ? mine : found;
}

void *dlsym_by_handle(void *handle, const char *name)
{
    if (!dl_real.dlsym)
        dl_resolve();
    void *found = dl_real.dlsym(handle, name);
    return found ? instead_of(found, name) : NULL;
}

void *dlvsym_by_handle(void *handle, const char *name, const char *version)
{
    if (!dl_real.dlvsym)
        dl_resolve();
    void *found = dl_real.dlvsym(handle, name, version);
    return found ? instead_of(found, name) : NULL;
}

/* RTLD_DEEPBIND has a library find its own dependencies' functions, libc's too, before those of LD_PRELOAD: PHP opens
 * its extensions so. */
int dlopen_flags(int flags)
{
    static _Atomic bool said;
    if (!policy)
        return flags;
    if (!atomic_exchange(&said, true))
        log_event(LOG_LEVEL_INFO, "RTLD_DEEPBIND is left out of dlopen while a policy is active: the library's calls "
                                  "would go past this one");
    return flags & ~RTLD_DEEPBIND;
}

/* A new namespace has a libc of its own, whose calls nobody would see. The reason is what dlerror(3) then says. */
void *dlmopen_new(Lmid_t id, const char *name, int flags)
{
    static _Atomic bool said;
    if (!dl_real.dlmopen)
        dl_resolve();
    if (!policy)
        return dl_real.dlmopen(id, name, flags);
    if (!atomic_exchange(&said, true))
        log_event(LOG_LEVEL_ERROR,
                  "dlmopen of %.200s in a new namespace refused: it would bring a second libc, whose sockets nobody "
                  "would protect",
                  name);
    return dlopen("/p2ptls/refuses/a/second/libc/in/a/new/namespace", RTLD_NOW);
}

#endif
