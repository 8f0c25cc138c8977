/* What dlsym(RTLD_NEXT) would give, read from the tables of the objects that it would look into: those behind this
 * library in the order of look-ups, which is that of ld.so's list, up to libc. A fifth of the instructions, for each
 * start of each program. Whatever is out of the ordinary is left to dlsym. */
#include "real.h"

#include "elf_symbols.h"

#include <stddef.h>
#include <string.h>

struct real real_table;

/* One after the other, each with its zero: a table of pointers would be relocated at each start. */
static const char names[] =
#define X(name) #name "\0"
    REAL_CALLS(X);
#undef X

enum {
#define X(name) +1
    COUNT = 0 REAL_CALLS(X)
#undef X
};
_Static_assert(offsetof(struct real, ready) == COUNT * sizeof(void *), "functions first");

struct wanted {
    uint32_t hash;
    bool done; /* found, or to be asked of dlsym */
};

static void look_into(const struct elf_object *o, struct wanted wanted[COUNT], void **found)
{
    const char *name = names;
    for (unsigned i = 0; i < COUNT; i++, name += strlen(name) + 1)
        if (!wanted[i].done)
            wanted[i].done = elf_find_hashed(o, name, wanted[i].hash, &found[i]) != ELF_ABSENT;
}

/* An auditing library may give other answers than the tables: then there is a second namespace (link.h, r_version). */
static void look_behind_us(void **found)
{
    struct wanted wanted[COUNT];
    const struct link_map *m = _r_debug.r_version == 1 ? _r_debug.r_map : NULL;
    const char *name = names;
    for (unsigned i = 0; i < COUNT; i++, name += strlen(name) + 1)
        wanted[i] = (struct wanted){elf_hash(name), false};
    while (m && m->l_ld != _DYNAMIC)
        m = m->l_next;
    for (bool last = false; m && !last && (m = m->l_next);) {
        struct elf_object o;
        if (!elf_object_of(m, &o)) /* no such tables: dlsym for all that has not been found */
            return;
        last = elf_is_named(m, "libc.so.6"); /* behind it are libraries that the program itself opens */
        look_into(&o, wanted, found);
    }
}

void real_resolve(void)
{
    void *found[COUNT] = {NULL};
    const char *name = names;
    look_behind_us(found);
    for (unsigned i = 0; i < COUNT; i++, name += strlen(name) + 1)
        if (!found[i])
            found[i] = dlsym(RTLD_NEXT, name);
    memcpy(&real_table, found, sizeof found);
    real_table.ready = true;
}
