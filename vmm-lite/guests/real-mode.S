/*
 * real-mode: 16-bit code as a boot sector has it, without the runtime and without a protected mode: prints on both
 * consoles and ends. A flat image: loaded and entered at 0x7c00 (vmscope.h).
 */
#include "runtime/vmscope.h"

    .code16
    .text
    .global _start
_start:
    cld
    mov $message, %si
    mov $VMSCOPE_PORT_SERIAL, %dx
    call print
    mov $message, %si
    mov $VMSCOPE_PORT_DEBUG, %dx
    call print

    mov %sp, %ax                    /* every call has returned: the stack is where it began */
    sub $0x7c00, %ax
    out %ax, $VMSCOPE_PORT_EXIT
halt:
    hlt
    jmp halt

/* Writes the NUL-terminated text at DS:SI to port DX. */
print:
    lodsb
    test %al, %al
    jz printed
    out %al, %dx
    jmp print
printed:
    ret

message:
    .asciz "Hello from real mode: 16 bits, no paging, no protection.\n"

    .section .note.GNU-stack, "", @progbits
