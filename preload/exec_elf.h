/* What an ELF file says of itself: can the library be in that program, and does it see the program's calls? */
#ifndef P2PTLS_EXEC_ELF_H
#define P2PTLS_EXEC_ELF_H

#include "exec_image.h"

#include <link.h>

/* fd: the file. head: how it begins; is looked at, not believed. */
enum exec_image exec_elf_judge(int fd, const ElfW(Ehdr) * head);

/* Is it this very program that makes its system calls itself? By what of it is in memory. */
bool exec_elf_self_past_libc(void);

#endif
