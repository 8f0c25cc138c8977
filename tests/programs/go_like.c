/* go_like: what matters of a dynamically linked program that Go has built: its marks, and system calls of its own, by
 * which it writes a text to descriptors 0 and 1. NO_NOTE and NO_SECTION leave out a mark. */
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef NO_NOTE
__attribute__((section(".note.go.buildid"), used, aligned(4))) static const struct {
    unsigned name_len, description_len, type;
    char name[4], description[8];
} note = {4, 8, 4, "Go\0", "a/b/c/d"};
#endif

#ifndef NO_SECTION
__attribute__((section(".go.buildinfo"), used)) static char build_info[] = "\xff Go buildinf:";
#endif

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

int main(void)
{
    static const char text[] = "spilled-in-clear";
    write_past_libc(0, text, sizeof text - 1);
    write_past_libc(1, text, sizeof text - 1);
    return 0;
}
