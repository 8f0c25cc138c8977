/* Writes one byte to a socket by write(), then, told `inline`, one by a system call of its own, which no library can
 * see. For the test of the check that finds such calls. */
#include "common.h"

#include <sys/syscall.h>

static long write_past_libc(int fd, const void *bytes, size_t length)
{
#if defined(__x86_64__)
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"((long)SYS_write), "D"((long)fd), "S"(bytes), "d"(length)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long number __asm__("x8") = SYS_write, result __asm__("x0") = fd, third __asm__("x2") = (long)length;
    register const void *second __asm__("x1") = bytes;
    __asm__ volatile("svc 0" : "+r"(result) : "r"(number), "r"(second), "r"(third) : "memory");
    return result;
#endif
}

int main(int argc, char **argv)
{
    int end[2];
    char byte = 0;
    tcp_pair(end);
    CHECK(SYS(write(end[0], "a", 1)) == 1 && SYS(read(end[1], &byte, 1)) == 1 && byte == 'a', "the first byte is lost");
    if (argc > 1 && strcmp(argv[1], "inline") == 0)
        CHECK(write_past_libc(end[0], "b", 1) == 1, "the kernel did not take the second byte");
    return 0;
}
