/* vfork(2) for x86-64. The child returns first, in its parent's stack frame, and overwrites the return address: so it is kept in
 * a register that the kernel saves. Around the call, the thread's flag says whose memory this is. */
#if defined(__x86_64__)
    .text
    .globl vfork
    .globl __vfork
    .type vfork, @function
    .type __vfork, @function
vfork:
__vfork:
    .cfi_startproc
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call vfork_must_fork
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    testb %al, %al
    jne vfork_by_fork
    /* Set before the call: parent and child share the flag, and the parent sleeps while the child runs. */
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call vfork_enter
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rdi
    movl $58, %eax /* SYS_vfork */
    syscall
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    testl %eax, %eax
    je 1f
    /* The parent, or a failure. */
    pushq %rax
    .cfi_adjust_cfa_offset 8
    call vfork_leave
    popq %rax
    .cfi_adjust_cfa_offset -8
    cmpl $-4095, %eax
    jae 2f
1:  ret
2:  negl %eax
    subq $24, %rsp
    .cfi_adjust_cfa_offset 24
    movl %eax, 12(%rsp)
    call __errno_location@PLT
    movl 12(%rsp), %ecx
    movl %ecx, (%rax)
    addq $24, %rsp
    .cfi_adjust_cfa_offset -24
    movl $-1, %eax
    ret
    .cfi_endproc
    .size vfork, .-vfork
#endif
    .section .note.GNU-stack,"",%progbits
