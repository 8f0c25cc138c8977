/* longjmp in its forms: a handler of the program leaves a blocked call by it, and what that call owes must be given
 * back at once, not when this thread comes by again (waits.c). */
#include "waits.h"

#include <setjmp.h>

/* Where the stack pointer will be. libc keeps it in the buffer, mangled with a secret of the process
 * (sysdeps/unix/sysv/linux/x86_64/pointer_guard.h). Elsewhere waits_settle, at the next call, has to do. */
static void look_at(const struct __jmp_buf_tag *env)
{
#if defined(__x86_64__) && defined(__LP64__)
    enum { JB_RSP = 6 };
    uintptr_t sp = (uintptr_t)env->__jmpbuf[JB_RSP];
    if (!thread.waits)
        return;
    __asm__("ror $17, %0\n\txor %%fs:0x30, %0" : "+r"(sp));
    waits_jump(sp);
#else
    (void)env;
#endif
}

HOOK void longjmp(struct __jmp_buf_tag env[1], int value)
{
    look_at(env);
    real()->longjmp(env, value);
    __builtin_unreachable();
}

HOOK void _longjmp(struct __jmp_buf_tag env[1], int value)
{
    look_at(env);
    real()->_longjmp(env, value);
    __builtin_unreachable();
}

HOOK void siglongjmp(struct __jmp_buf_tag env[1], int value)
{
    look_at(env);
    real()->siglongjmp(env, value);
    __builtin_unreachable();
}

void __longjmp_chk(struct __jmp_buf_tag env[1], int value) __attribute__((noreturn));
HOOK void __longjmp_chk(struct __jmp_buf_tag env[1], int value)
{
    static void (*next)(struct __jmp_buf_tag *, int);
    look_at(env);
    if (!next)
        next = (__typeof__(next))dlsym(RTLD_NEXT, "__longjmp_chk");
    next(env, value);
    __builtin_unreachable();
}
