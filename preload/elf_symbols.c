#include "elf_symbols.h"

#include <stddef.h>

/* Of the tables of versions: glibc's own bit for what only old programs are bound to. */
enum { VERSION_HIDDEN = 0x8000 };

static bool same_text(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* ld.so has added the base to these in place, on most architectures. */
static const void *pointer_of(const ElfW(Dyn) * entry, uintptr_t base)
{
    uintptr_t value = entry->d_un.d_ptr;
    return (const void *)(value < base ? base + value : value);
}

static void read_dynamic(const ElfW(Dyn) * entry, struct elf_object *o)
{
    for (; entry && entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_SYMTAB)
            o->symbols = pointer_of(entry, o->base);
        else if (entry->d_tag == DT_STRTAB)
            o->strings = pointer_of(entry, o->base);
        else if (entry->d_tag == DT_VERSYM)
            o->versions = pointer_of(entry, o->base);
        else if (entry->d_tag == DT_GNU_HASH)
            o->gnu_hash = pointer_of(entry, o->base);
    }
}

static bool has_tables(const struct elf_object *o)
{
    return o->symbols && o->strings && o->gnu_hash;
}

bool elf_object_at(const ElfW(Ehdr) * header, struct elf_object *out)
{
    const ElfW(Phdr) *p = (const void *)((const char *)header + header->e_phoff);
    const ElfW(Dyn) *dynamic = NULL;
    struct elf_object o = {.base = (uintptr_t)header};
    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (p[i].p_type == PT_DYNAMIC)
            dynamic = (const void *)(o.base + p[i].p_vaddr);
        else if (p[i].p_type == PT_LOAD && p[i].p_vaddr + p[i].p_memsz > o.size)
            o.size = p[i].p_vaddr + p[i].p_memsz;
    }
    read_dynamic(dynamic, &o);
    *out = o;
    return has_tables(&o);
}

bool elf_object_of(const struct link_map *m, struct elf_object *out)
{
    *out = (struct elf_object){.base = m->l_addr};
    read_dynamic(m->l_ld, out);
    return has_tables(out);
}

bool elf_is_named(const struct link_map *m, const char *file)
{
    const char *name = m->l_name;
    for (const char *c = name; c && *c; c++)
        if (*c == '/')
            name = c + 1;
    return name && same_text(name, file);
}

bool elf_object_named(const char *file, struct elf_object *out)
{
    for (const struct link_map *m = _r_debug.r_map; m; m = m->l_next)
        if (m->l_addr && elf_is_named(m, file))
            return elf_object_at((const ElfW(Ehdr) *)m->l_addr, out);
    return false;
}

uint32_t elf_hash(const char *name)
{
    uint32_t h = 5381;
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        h = h * 33 + *c;
    return h;
}

/* That of the default version; others are for programs that were linked long ago. */
static bool is_defined(const struct elf_object *o, uint32_t i, const char *name)
{
    const ElfW(Sym) *symbol = (const ElfW(Sym) *)o->symbols + i;
    const ElfW(Half) *versions = o->versions;
    return (symbol->st_shndx != SHN_UNDEF || symbol->st_value) && !(versions && (versions[i] & VERSION_HIDDEN)) &&
           same_text(o->strings + symbol->st_name, name);
}

static bool is_plain_function(const ElfW(Sym) * s)
{
    unsigned binding = ELF64_ST_BIND(s->st_info);
    return ELF64_ST_TYPE(s->st_info) == STT_FUNC && (binding == STB_GLOBAL || binding == STB_WEAK) && s->st_value &&
           s->st_shndx != SHN_UNDEF && s->st_shndx < SHN_LORESERVE && ELF64_ST_VISIBILITY(s->st_other) == STV_DEFAULT;
}

/* The tables behind DT_GNU_HASH: four numbers, a Bloom filter, buckets, chains. Two bits of the filter for each name
 * say at once of most libraries that they do not have it. */
enum elf_found elf_find_hashed(const struct elf_object *o, const char *name, uint32_t hash, void **out)
{
    enum { BITS = 8 * sizeof(ElfW(Addr)) };
    const uint32_t *head = o->gnu_hash;
    uint32_t buckets = head[0], first = head[1], filter_words = head[2], shift = head[3];
    const ElfW(Addr) *filter = (const ElfW(Addr) *)(head + 4);
    const uint32_t *bucket = (const uint32_t *)(filter + filter_words), *chain = bucket + buckets;
    ElfW(Addr) word = filter_words ? filter[(hash / BITS) & (filter_words - 1)] : 0;
    uint32_t i =
        buckets && (word >> (hash % BITS)) & (word >> ((hash >> shift) % BITS)) & 1 ? bucket[hash % buckets] : 0;
    if (i < first || i == 0)
        return ELF_ABSENT;
    for (;; i++) {
        if ((chain[i - first] | 1) == (hash | 1) && is_defined(o, i, name)) {
            const ElfW(Sym) *symbol = (const ElfW(Sym) *)o->symbols + i;
            if (!is_plain_function(symbol))
                return ELF_OTHER;
            *out = (void *)(o->base + symbol->st_value);
            return ELF_FUNCTION;
        }
        if (chain[i - first] & 1)
            return ELF_ABSENT;
    }
}

void *elf_function(const struct elf_object *o, const char *name)
{
    void *found;
    return elf_find_hashed(o, name, elf_hash(name), &found) == ELF_FUNCTION ? found : NULL;
}
