/*
 * instructions-16: the same in real mode, where a linear address is a segment's base and an offset. Loaded and entered
 * at 0x7c00. Ends with status 0, or the number of the check that failed.
 */
#define EXIT 0xf4

    .code16
    .text
    .global _start
_start:
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7c00, %sp
    movw $handler, 3 * 4
    mov %cs, 3 * 4 + 2
    movw $handler, 0x42 * 4
    mov %cs, 0x42 * 4 + 2

    mov $1, %bp
    xor %cx, %cx
    int3
after:
    cmp $1, %cx
    jne fail
    cmp $after, %dx
    jne fail

    mov $2, %bp
    int $0x42
    cmp $2, %cx
    jne fail

    /* ES has a base, and the offset a base and an index: 0x9000 * 16 + 0x10 + 2. */
    mov $3, %bp
    mov $0x9000, %ax
    mov %ax, %es
    movw $0x8421, %es:0x12
    mov $0x10, %bx
    mov $2, %si
    mov $0xffff, %ax
    popcnt %es:(%bx, %si), %ax
    cmp $4, %ax
    jne fail

    /* Code whose own segment has a base. */
    mov $4, %bp
    ljmp $0x7c0, $there - _start
there:
    int3
    cmp $3, %cx
    jne fail
    cmp $there + 1 - _start, %dx
    jne fail
    mov $0xf00f, %dx
    popcnt %dx, %ax
    cmp $8, %ax
    jne fail

    xor %ax, %ax
    out %ax, $EXIT
fail:
    mov %bp, %ax
    out %ax, $EXIT
    hlt

/* Counts in CX and leaves in DX where it came from. */
handler:
    inc %cx
    push %bp
    mov %sp, %bp
    mov 2(%bp), %dx
    pop %bp
    iret

    .section .note.GNU-stack, "", @progbits
