/* For LD_PRELOAD, in the library's place: looks libc's functions up as the library does at its start, and by dlsym, and
 * says how many there are, how many it found at another address, and for how many it asked dlsym itself. */
#include <dlfcn.h>

static unsigned asked;

static void *dlsym_counted(void *handle, const char *name)
{
    asked++;
    return dlsym(handle, name);
}
#define dlsym dlsym_counted

#include "../../../preload/elf_symbols.c"

#include "../../../preload/real.c"

#undef dlsym

__attribute__((constructor)) static void compare(void)
{
    void *const *found = (void *const *)&real_table;
    const char *name = names;
    unsigned differ = 0;
    real_resolve();
    for (unsigned i = 0; i < COUNT; i++, name += strlen(name) + 1)
        if (found[i] != dlsym(RTLD_NEXT, name)) {
            differ++;
            fprintf(stderr, "%s: %p, and by dlsym %p\n", name, found[i], dlsym(RTLD_NEXT, name));
        }
    fprintf(stderr, "lookups: %u functions, %u differ, %u by dlsym\n", (unsigned)COUNT, differ, asked);
}
