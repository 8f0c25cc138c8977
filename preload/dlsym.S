/* dlsym(3), dlvsym, dlopen and dlmopen for x86-64: libc's own tell by their return address who calls, which decides for
 * RTLD_NEXT, RTLD_DEFAULT and relative names. So those are jumped to with the stack as it came. */
#if defined(__x86_64__) && !defined(P2PTLS_SANITIZED)
    .text

/* Jumps to libc's NAME, at OFFSET of dl_real. */
.macro libc_own offset
    movq dl_real+\offset(%rip), %rax
    testq %rax, %rax
    jne 9f
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    pushq %rsi
    .cfi_adjust_cfa_offset 8
    pushq %rdx
    .cfi_adjust_cfa_offset 8
    call dl_resolve
    popq %rdx
    .cfi_adjust_cfa_offset -8
    popq %rsi
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
    movq dl_real+\offset(%rip), %rax
9:  jmp *%rax
.endm

/* RTLD_DEFAULT is 0, RTLD_NEXT is -1: dlfcn.h */
.macro by_handle name, offset, with
    .globl \name
    .type \name, @function
\name:
    .cfi_startproc
    leaq 1(%rdi), %rax
    cmpq $1, %rax
    ja \with
    libc_own \offset
    .cfi_endproc
    .size \name, .-\name
.endm

    by_handle dlsym, 0, dlsym_by_handle
    by_handle dlvsym, 8, dlvsym_by_handle

/* What is left of flags (in REGISTER) where RTLD_DEEPBIND, 8, is among them. */
.macro without_deepbind register
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    pushq %rsi
    .cfi_adjust_cfa_offset 8
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    movl \register, %edi
    call dlopen_flags
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %rsi
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
    movl %eax, \register
.endm

    .globl dlmopen
    .type dlmopen, @function
dlmopen:
    .cfi_startproc
    cmpq $-1, %rdi /* LM_ID_NEWLM */
    je dlmopen_new
    testl $8, %edx
    je 1f
    without_deepbind %edx
1:  libc_own 16
    .cfi_endproc
    .size dlmopen, .-dlmopen

    .globl dlopen
    .type dlopen, @function
dlopen:
    .cfi_startproc
    testl $8, %esi
    je 1f
    without_deepbind %esi
1:  libc_own 24
    .cfi_endproc
    .size dlopen, .-dlopen
#endif
    .section .note.GNU-stack,"",%progbits
