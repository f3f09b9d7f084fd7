/* trap-forwarding.user.c: the process: provokes one trap after another, and checks what comes back. */
#include "runtime/user.h"
#include "trap-forwarding.h"

#define EXPECT(condition) ((condition) ? (void)0 : (void)syscall(SYS_EXIT, __LINE__, 0))

struct trapped {
    u64 vector, error, address;
};

/* Runs an instruction that traps and tells what the kernel says about it; the vector is ~0 if it did not trap. */
#define TRAPPED(instructions, ...)                                                                                    \
    ({                                                                                                                \
        struct trapped trapped;                                                                                       \
        __asm__ volatile("lea 1f(%%rip), %%rbx\n" instructions "\nmov $-1, %%rax\n1:"                                 \
                         : "=&a"(trapped.vector), "=&d"(trapped.error), "=&c"(trapped.address)                        \
                         : __VA_ARGS__                                                                                \
                         : "rbx", "memory", "cc");                                                                    \
        trapped;                                                                                                      \
    })

#define EXPECT_TRAP(seen, vector_, error_, address_)                                                                  \
    do {                                                                                                              \
        struct trapped got = seen;                                                                                    \
        EXPECT(got.vector == (vector_) && got.error == (error_) && got.address == (address_));                        \
    } while (0)

static void say(const char *text)
{
    u64 length = 0;
    while (text[length])
        length++;
    syscall(SYS_PRINT, (u64)text, length);
}

static void system_calls(u64 calls)
{
    for (u64 i = 0; i < calls; i++)
        EXPECT(syscall(SYS_ADD, i, 1000) == i + 1000);
}

/* A system call gives every register back but RAX, RCX and R11. */
static void registers_survive(void)
{
    register u64 r12 __asm__("r12") = 12, r13 __asm__("r13") = 13, r14 __asm__("r14") = 14, r8 __asm__("r8") = 8;
    register u64 r9 __asm__("r9") = 9, r10 __asm__("r10") = 10;
    u64 sum = SYS_ADD, rip, rflags, b = 3, d = 4;
    __asm__ volatile("syscall\n1: lea 1b(%%rip), %%r15\n sub %%rcx, %%r15\n mov %%r15, %%rcx\n"
                     : "+a"(sum), "=&c"(rip), "+b"(b), "+d"(d), "+r"(r8), "+r"(r9), "+r"(r10), "+r"(r12), "+r"(r13),
                       "+r"(r14)
                     : "D"(20), "S"(22)
                     : "r11", "r15", "memory");
    __asm__ volatile("pushf; pop %0" : "=r"(rflags));
    EXPECT(sum == 42 && b == 3 && d == 4 && r8 == 8 && r9 == 9 && r10 == 10 && r12 == 12 && r13 == 13 && r14 == 14);
    EXPECT(rip == 0);          /* RCX was the address after SYSCALL */
    EXPECT(rflags & (1 << 9)); /* interrupts are on again */
}

static void exceptions(void)
{
    EXPECT_TRAP(TRAPPED("mov $1, %%eax; xor %%edx, %%edx; xor %%ecx, %%ecx; div %%ecx"), DIVIDE_ERROR, 0, 0);
    EXPECT_TRAP(TRAPPED("hlt"), GENERAL_PROTECTION, 0, 0);
    EXPECT_TRAP(TRAPPED("mov %%cr3, %%rax"), GENERAL_PROTECTION, 0, 0);
    EXPECT_TRAP(TRAPPED("ud2"), INVALID_OPCODE, 0, 0);
}

static void page_faults(u64 round)
{
    /* Mended: the read finds what the kernel put there. */
    volatile u64 *unmapped = (u64 *)(UNMAPPED + round * PAGE_SIZE);
    EXPECT(*unmapped == (u64)unmapped);
    /* Refused. */
    EXPECT_TRAP(TRAPPED("movq $0, (%[page])", [page] "r"(READ_ONLY)), PAGE_FAULT,
                FAULT_PRESENT | FAULT_WRITE | FAULT_USER, READ_ONLY);
    EXPECT(*(volatile u64 *)READ_ONLY == READ_ONLY_CONTENT);
    EXPECT_TRAP(TRAPPED("jmp *%[page]", [page] "r"(NO_EXECUTE)), PAGE_FAULT, FAULT_PRESENT | FAULT_USER | FAULT_FETCH,
                NO_EXECUTE);
    EXPECT_TRAP(TRAPPED("mov (%[page]), %%rax", [page] "r"(SUPERVISOR)), PAGE_FAULT, FAULT_PRESENT | FAULT_USER,
                SUPERVISOR);
}

void user_main(u64 calls, u64 rounds)
{
    say("ring 3: system calls\n");
    system_calls(calls);
    registers_survive();
    say("ring 3: exceptions and page faults\n");
    for (u64 round = 0; round < rounds; round++) {
        exceptions();
        page_faults(round);
    }
    say("ring 3: everything came back as it should\n");
    syscall(SYS_EXIT, 0, 0);
}
