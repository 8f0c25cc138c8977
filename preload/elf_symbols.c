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
    for (; entry->d_tag != DT_NULL; entry++) {
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
    if (dynamic)
        read_dynamic(dynamic, &o);
    *out = o;
    return o.symbols && o.strings && o.gnu_hash;
}

bool elf_object_named(const char *file, struct elf_object *out)
{
    for (const struct link_map *m = _r_debug.r_map; m; m = m->l_next) {
        const char *name = m->l_name;
        for (const char *c = name; c && *c; c++)
            if (*c == '/')
                name = c + 1;
        if (m->l_addr && name && same_text(name, file))
            return elf_object_at((const ElfW(Ehdr) *)m->l_addr, out);
    }
    return false;
}

static uint32_t hash_of(const char *name)
{
    uint32_t h = 5381;
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        h = h * 33 + *c;
    return h;
}

static bool is_wanted(const struct elf_object *o, uint32_t i, const char *name)
{
    const ElfW(Sym) *symbol = (const ElfW(Sym) *)o->symbols + i;
    const ElfW(Half) *versions = o->versions;
    return symbol->st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol->st_info) == STT_FUNC &&
           !(versions && (versions[i] & VERSION_HIDDEN)) && same_text(o->strings + symbol->st_name, name);
}

/* The tables behind DT_GNU_HASH: four numbers, a Bloom filter (left out here: it only saves time), buckets, chains. */
void *elf_function(const struct elf_object *o, const char *name)
{
    const uint32_t *head = o->gnu_hash, hash = hash_of(name);
    uint32_t buckets = head[0], first = head[1], filter_words = head[2];
    const uint32_t *bucket = (const uint32_t *)((const ElfW(Addr) *)(head + 4) + filter_words);
    const uint32_t *chain = bucket + buckets;
    uint32_t i = buckets ? bucket[hash % buckets] : 0;
    if (i < first)
        return NULL;
    for (;; i++) {
        if ((chain[i - first] | 1) == (hash | 1) && is_wanted(o, i, name))
            return (void *)(o->base + ((const ElfW(Sym) *)o->symbols)[i].st_value);
        if (chain[i - first] & 1)
            return NULL;
    }
}
