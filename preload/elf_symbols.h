/* Finds a function in one loaded object by its own tables, without ld.so: for dlsym itself, which cannot be looked up
 * by dlsym while a hook stands in front of it, and for what this library puts in front of libc and calls itself. Calls
 * nothing: it may run before any constructor, and from a sanitizer's own start. */
#ifndef P2PTLS_ELF_SYMBOLS_H
#define P2PTLS_ELF_SYMBOLS_H

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>

struct elf_object {
    uintptr_t base, size; /* where its first segment begins, and how far its last one reaches */
    const void *symbols, *versions, *gnu_hash;
    const char *strings;
};

/* header: where the object was mapped. False if it has no tables with DT_GNU_HASH. */
bool elf_object_at(const ElfW(Ehdr) * header, struct elf_object *out);
/* The one with this file name, such as "libc.so.6", in the first namespace. */
bool elf_object_named(const char *file, struct elf_object *out);
/* The one that ld.so has this entry for; without its size. */
bool elf_object_of(const struct link_map *m, struct elf_object *out);
bool elf_is_named(const struct link_map *m, const char *file);
/* Its default version of that function; NULL if it defines none. */
void *elf_function(const struct elf_object *object, const char *name);

enum elf_found {
    ELF_ABSENT = 0,
    ELF_FUNCTION, /* *out is its address */
    ELF_OTHER /* there is something that only dlsym can tell the meaning of: a function that chooses (STT_GNU_IFUNC),
               * a variable, or what is not visible */
};
/* As elf_function; hash: elf_hash(name). */
enum elf_found elf_find_hashed(const struct elf_object *object, const char *name, uint32_t hash, void **out);
uint32_t elf_hash(const char *name);

static inline bool elf_contains(const struct elf_object *object, const void *address)
{
    return (uintptr_t)address - object->base < object->size;
}

#endif
