/* What an ELF file says of itself. Programs that Go has built make their system calls themselves, dynamically linked or
 * not: the library would be in them, and would see nothing. Go's linker marks them by a note, and by a section with the
 * versions they were built from; both stay when a file is stripped. */
#include "exec_elf.h"

#include "state.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/xattr.h>

enum { PROGRAM_HEADERS = 64, NOTES_MAX = 4096, NAMES_MAX_BYTES = 65536 };

/* cmd/link of Go. Section names are compared with the byte that ends them. */
static const char go_note[] = "Go\0", go_sections[][20] = {".note.go.buildid", ".go.buildinfo"};
enum { GO_NOTE_TYPE = 4 };

static bool read_at(int fd, void *to, size_t len, off_t at)
{
    return at >= 0 && pread(fd, to, len, at) == (ssize_t)len;
}

static size_t padded(size_t len)
{
    return (len + 3) & ~(size_t)3;
}

/* elf(5), "Notes". In segments that are aligned to 8 the padding is another, and Go's is not in these. */
static bool has_go_note(const char *at, size_t left)
{
    ElfW(Nhdr) note;
    while (left >= sizeof note) {
        memcpy(&note, at, sizeof note);
        size_t name = padded(note.n_namesz), len = sizeof note + name + padded(note.n_descsz);
        if (note.n_namesz > left || note.n_descsz > left || len > left)
            return false;
        if (note.n_type == GO_NOTE_TYPE && note.n_namesz == sizeof go_note &&
            memcmp(at + sizeof note, go_note, sizeof go_note) == 0)
            return true;
        at += len;
        left -= len;
    }
    return false;
}

static bool segment_is_gos(int fd, const ElfW(Phdr) * part)
{
    char notes[NOTES_MAX];
    size_t len = part->p_filesz < sizeof notes ? (size_t)part->p_filesz : sizeof notes;
    return part->p_type == PT_NOTE && read_at(fd, notes, len, (off_t)part->p_offset) && has_go_note(notes, len);
}

/* Their table of names is enough: nobody else has such. */
static bool sections_are_gos(int fd, const ElfW(Ehdr) * head)
{
    ElfW(Shdr) names;
    bool found = false;
    if (!head->e_shoff || head->e_shentsize != sizeof names || head->e_shstrndx >= head->e_shnum ||
        !read_at(fd, &names, sizeof names, (off_t)(head->e_shoff + head->e_shstrndx * sizeof names)))
        return false;
    size_t len = names.sh_size < NAMES_MAX_BYTES ? (size_t)names.sh_size : NAMES_MAX_BYTES;
    char *text = malloc(len + 1);
    if (text && read_at(fd, text, len, (off_t)names.sh_offset))
        for (size_t i = 0; i < sizeof go_sections / sizeof go_sections[0]; i++)
            found = found || memmem(text, len, go_sections[i], strlen(go_sections[i]) + 1);
    free(text);
    return found;
}

/* glibc's loader, which obeys LD_PRELOAD with our library. */
static bool is_glibcs(int fd, const ElfW(Phdr) * part)
{
    char name[PATH_MAX] = "";
    return part->p_filesz < sizeof name && read_at(fd, name, (size_t)part->p_filesz, (off_t)part->p_offset) &&
           strstr(name, "ld-linux");
}

static enum exec_image judge_segments(int fd, const ElfW(Ehdr) * head)
{
    enum exec_image image = EXEC_IMAGE_UNCOVERABLE; /* static, until a loader is found */
    for (unsigned i = 0; i < head->e_phnum && i < PROGRAM_HEADERS; i++) {
        ElfW(Phdr) part;
        if (!read_at(fd, &part, sizeof part, (off_t)(head->e_phoff + i * sizeof part)))
            return EXEC_IMAGE_UNCOVERABLE;
        if (segment_is_gos(fd, &part))
            return EXEC_IMAGE_PAST_LIBC;
        if (part.p_type == PT_INTERP && is_glibcs(fd, &part))
            image = EXEC_IMAGE_COVERABLE;
    }
    return sections_are_gos(fd, head) ? EXEC_IMAGE_PAST_LIBC : image;
}

enum exec_image exec_elf_judge(int fd, const ElfW(Ehdr) * head)
{
    struct stat s;
    char capability;
    if (fstat(fd, &s) != 0 || (s.st_mode & (S_ISUID | S_ISGID)))
        return EXEC_IMAGE_UNCOVERABLE; /* ld.so ignores LD_PRELOAD there */
    if (fgetxattr(fd, "security.capability", &capability, 0) > 0)
        return EXEC_IMAGE_UNCOVERABLE;
    Dl_info self;
    dladdr((void *)exec_elf_judge, &self);
    const ElfW(Ehdr) *ours = self.dli_fbase;
    if (head->e_ident[EI_CLASS] != ours->e_ident[EI_CLASS] || head->e_machine != ours->e_machine ||
        head->e_phentsize != sizeof(ElfW(Phdr)))
        return EXEC_IMAGE_UNCOVERABLE;
    return judge_segments(fd, head);
}

bool exec_elf_self_past_libc(void)
{
    const ElfW(Phdr) *parts = (const void *)getauxval(AT_PHDR);
    size_t count = parts ? getauxval(AT_PHNUM) : 0;
    uintptr_t base = 0;
    for (size_t i = 0; i < count; i++)
        if (parts[i].p_type == PT_PHDR)
            base = (uintptr_t)parts - parts[i].p_vaddr;
    for (size_t i = 0; i < count; i++)
        if (parts[i].p_type == PT_NOTE && has_go_note((const char *)(base + parts[i].p_vaddr), parts[i].p_memsz))
            return true;
    return false;
}
