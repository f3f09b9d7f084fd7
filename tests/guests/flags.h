/*
 * flags.h: instructions that save RFLAGS where the guest sees them, or load them, for either ring. Each has a name by
 * which tests step over it.
 */
#ifndef FLAGS_H
#define FLAGS_H

#define TRAP_FLAG (1ul << 8)

/* What was found. */
struct kept {
    unsigned long pushf, pushfw, own_pushf;
};

/* The tests' names: `name` is the instruction's address, `name_end` that of the next. */
#define NAMED(name, instruction) ".globl " name ", " name "_end\n" name ": " instruction "\n" name "_end:\n"

/* A function `ring`_flags(), which fills in `ring`_kept; `more` is for that ring only. */
#define FLAGS(ring, more)                                                                                              \
    __asm__(".text\n.globl " ring "_flags, " ring "_flags_end\n" ring "_flags:\n"                                       \
            NAMED(ring "_pushf", "pushfq") "pop %rax; mov %rax, " ring "_kept+0\n"                                      \
            NAMED(ring "_pushfw", "pushfw") "xor %eax, %eax; pop %ax; mov %rax, " ring "_kept+8\n"                      \
            NAMED(ring "_ud2", "ud2")                                                                                   \
            "mov %ss, %eax\n" NAMED(ring "_mov_ss", "mov %eax, %ss") NAMED(ring "_after_mov_ss", "nop") more            \
            /* The trap flag is this code's own from here ... */                                                        \
            "pushfq; orl $0x100, (%rsp)\n" NAMED(ring "_popf_on", "popfq")                                              \
            NAMED(ring "_own_nop", "nop") NAMED(ring "_own_pushf", "pushfq")                                            \
            "pop %rax; mov %rax, " ring "_kept+16; pushfq; andl $~0x100, (%rsp)\n"                                      \
            /* ... to here: a trap each. */                                                                             \
            NAMED(ring "_popf_off", "popfq") "nop\n"                                                                    \
            "mov %ss, %eax; mov %rsp, %rdx; push %rax; push %rdx; pushfq; orl $0x100, (%rsp)\n"                         \
            "mov %cs, %eax; push %rax; push $" ring "_iret_end\n" NAMED(ring "_iret", "iretq")                          \
            NAMED(ring "_own_nop_2", "nop") "pushfq; andl $~0x100, (%rsp)\n" NAMED(ring "_popf_off_2", "popfq")         \
            ring "_flags_end: ret\n")

#endif
