/*
 * modes: 16-bit code in real mode, 32-bit code in protected mode, 64-bit code, one after another. In each it writes the
 * number of bits to port 0x80, and then what is at the beginning of FS and, where that is another, of GS. Loaded and
 * entered at 0x7c00.
 */
#define EXIT 0xf4
#define POST 0x80
#define TABLES 0x1000

    .code16
    .text
    .global _start
_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov %ax, %fs
    mov %ax, %gs
    mov $0x7c00, %sp
    mov $16, %eax
    out %al, $POST
    mov %fs:0, %eax
    out %eax, $POST

    lgdtl gdt_pointer
    mov %cr0, %eax
    or $1, %eax                     /* PE */
    mov %eax, %cr0
    ljmpl $0x18, $protected

    .code32
protected:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    mov $32, %eax
    out %al, $POST
    mov %fs:0, %eax
    out %eax, $POST

    /* The first 2 MiB, one to one. */
    movl $(TABLES + 0x1003), TABLES
    movl $(TABLES + 0x2003), TABLES + 0x1000
    movl $0x83, TABLES + 0x2000
    mov $(1 << 5), %eax             /* PAE */
    mov %eax, %cr4
    mov $TABLES, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx           /* EFER */
    mov $(1 << 8), %eax             /* LME */
    xor %edx, %edx
    wrmsr
    mov %cr0, %eax
    or $0x80000000, %eax            /* PG */
    mov %eax, %cr0
    ljmpl $0x08, $long

    .code64
long:
    mov $64, %eax
    out %al, $POST
    mov %fs:0, %eax
    out %eax, $POST
    mov %gs:0, %eax
    out %eax, $POST
    xor %eax, %eax
    out %ax, $EXIT
halt:
    hlt
    jmp halt

    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff        /* 0x08: 64-bit code */
    .quad 0x00cf93000000ffff        /* 0x10: data */
    .quad 0x00cf9b000000ffff        /* 0x18: 32-bit code */
    .quad 0x00cf93020000ffff        /* 0x20: data at 0x20000 */
gdt_pointer:
    .word . - gdt - 1
    .long gdt

    .section .note.GNU-stack, "", @progbits
