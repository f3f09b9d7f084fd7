/* traps.S: the ways into the kernel and out of it. */
#include "runtime.h"

    .cfi_sections .debug_frame
    .text

/*
 * A stub for each vector, 16 bytes apart: makes every stack frame look alike and says which vector it was. The
 * processor has pushed SS, RSP, RFLAGS, CS, RIP and, for some exceptions, an error code (SDM vol. 3, 6.15).
 */
    .global trap_stubs
    .balign 16
    .type trap_stubs, @function
trap_stubs:
    .cfi_startproc
    .cfi_signal_frame
    .set vector, 0
    .rept 256
    .balign 16
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
    .cfi_def_cfa %rsp, 16
    push $vector
    .else
    .cfi_def_cfa %rsp, 8
    push $0
    .cfi_def_cfa_offset 16
    push $vector
    .endif
    .cfi_def_cfa_offset 24
    jmp trap_common
    .set vector, vector + 1
    .endr
    .cfi_endproc
    .size trap_stubs, . - trap_stubs

    .macro push_registers
    push %rax
    push %rbx
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %rbp
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    .endm

    .macro pop_registers
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rbp
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rbx
    pop %rax
    .endm

    .type trap_common, @function
trap_common:
    .cfi_startproc simple
    .cfi_signal_frame
    .cfi_def_cfa %rsp, 56           /* above SS; RIP, CS, RFLAGS, RSP, SS lie below it */
    .cfi_offset %rip, -40
    .cfi_offset %rsp, -16
    testb $3, 24(%rsp)              /* CS: from ring 3? */
    jz 1f
    swapgs
1:  push_registers
    .cfi_adjust_cfa_offset 120
    .cfi_offset %rbx, -72
    .cfi_offset %rbp, -112
    .cfi_offset %r12, -152
    .cfi_offset %r13, -160
    .cfi_offset %r14, -168
    .cfi_offset %r15, -176
    cld
    mov %rsp, %rdi
    call trap_dispatch
    pop_registers
    .cfi_adjust_cfa_offset -120
    testb $3, 24(%rsp)
    jz 2f
    swapgs
2:  add $16, %rsp                   /* vector and error code */
    iretq
    .cfi_endproc
    .size trap_common, . - trap_common

/* LSTAR: RCX has ring 3's RIP, R11 its RFLAGS, and RSP is still ring 3's. Builds the frame that a trap would have. */
    .global syscall_entry
    .balign 16
    .type syscall_entry, @function
syscall_entry:
    .cfi_startproc simple
    .cfi_signal_frame
    .cfi_def_cfa %rsp, 0
    .cfi_register %rip, %rcx
    swapgs
    mov %rsp, %gs:CPU_USER_RSP
    mov %gs:CPU_TRAP_STACK, %rsp
    push $USER_DS
    push %gs:CPU_USER_RSP
    push %r11
    push $USER_CS
    push %rcx
    push $0                         /* no error code, */
    push $0                         /* and no vector */
    push_registers
    .cfi_def_cfa %rsp, 176
    .cfi_offset %rip, -40
    .cfi_offset %rsp, -16
    mov %rsp, %rdi
    call syscall_dispatch
    pop_registers
    mov 16(%rsp), %rcx
    mov 32(%rsp), %r11
    mov 40(%rsp), %rsp
    swapgs
    sysretq
    .cfi_endproc
    .size syscall_entry, . - syscall_entry

/* u64 user_run(u64 entry, u64 first, u64 second) */
    .global user_run
    .type user_run, @function
user_run:
    .cfi_startproc
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    .cfi_adjust_cfa_offset 48
    mov %rsp, %gs:CPU_RESUME_RSP
    push $USER_DS
    mov $(USER_END - 8), %eax       /* as if called: 8 bytes off a multiple of 16 */
    push %rax
    push $0x202                     /* IF */
    push $USER_CS
    push %rdi
    mov %rsi, %rdi
    mov %rdx, %rsi
    xor %ebp, %ebp
    swapgs
    iretq
    .cfi_endproc
    .size user_run, . - user_run

/* void user_exit(u64 value): returns from user_run(), and forgets the stack that it was called on. */
    .global user_exit
    .type user_exit, @function
user_exit:
    .cfi_startproc
    mov %rdi, %rax
    mov %gs:CPU_RESUME_RSP, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .cfi_endproc
    .size user_exit, . - user_exit

    .section .note.GNU-stack, "", @progbits
