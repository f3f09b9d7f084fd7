/* start.S: where vCPU 0 enters, and where the others do after a SIPI. */
#include "runtime.h"

    .cfi_sections .debug_frame
    .text
    .global _start
    .type _start, @function
_start:
    .cfi_startproc
    .cfi_undefined %rip             /* nobody called this: backtraces end here */
    lea boot_stack_end(%rip), %rsp
    xor %ebp, %ebp
    call runtime_start              /* RDI is still the boot info */
    ud2
    .cfi_endproc
    .size _start, . - _start

    .bss
    .balign 16
    .skip 16384
boot_stack_end:

/*
 * Copied to TRAMPOLINE by smp.c, which fills in the three values at the end. A vCPU arrives in real mode with
 * CS = TRAMPOLINE >> 4 and goes on to protected mode and 64-bit mode (SDM vol. 3, 10.8.5).
 */
#define AT(symbol) (TRAMPOLINE + (symbol) - trampoline)

    .section .rodata
    .global trampoline, trampoline_end, trampoline_cr3, trampoline_stack, trampoline_cpu
    .balign 16
    .code16
trampoline:
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl AT(trampoline_gdt_pointer)
    mov %cr0, %eax
    or $1, %eax                     /* PE */
    mov %eax, %cr0
    ljmpl $0x18, $AT(trampoline_32)

    .code32
trampoline_32:
    mov $KERNEL_DS, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $(1 << 5), %eax             /* PAE */
    mov %eax, %cr4
    mov AT(trampoline_cr3), %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx           /* EFER */
    mov $(1 << 8 | 1 << 11), %eax   /* LME, NXE */
    xor %edx, %edx
    wrmsr
    mov $0x80010033, %eax           /* PG, WP, NE, ET, MP, PE */
    mov %eax, %cr0
    ljmpl $KERNEL_CS, $AT(trampoline_64)

    .code64
trampoline_64:
    mov AT(trampoline_stack), %rsp
    mov AT(trampoline_cpu), %rdi
    xor %ebp, %ebp
    mov $smp_cpu_start, %rax
    call *%rax
    ud2

    .balign 8
trampoline_gdt:
    .quad 0
    .quad 0x00af9b000000ffff        /* 0x08: 64-bit code */
    .quad 0x00cf93000000ffff        /* 0x10: data */
    .quad 0x00cf9b000000ffff        /* 0x18: 32-bit code */
trampoline_gdt_pointer:
    .word . - trampoline_gdt - 1
    .long AT(trampoline_gdt)
    .balign 8
trampoline_cr3:
    .quad 0
trampoline_stack:
    .quad 0
trampoline_cpu:
    .quad 0
trampoline_end:

    .section .note.GNU-stack, "", @progbits
