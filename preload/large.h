/* What a program touches at its start should lie in few pages: each costs a fault. Arrays of pages that are empty until
 * there are connections stand behind everything else. */
#ifndef P2PTLS_LARGE_H
#define P2PTLS_LARGE_H

/* Of zeros, in no file: GCC makes it so by the name, and the linker puts it behind .bss. */
#define LARGE __attribute__((section(".sbss.large")))

#endif
