/*
 * debugging: a kernel that is debugged and debugs itself. It has breakpoints of its own, in a register and in code that
 * looks like code with a breakpoint of the debugger's; and it makes data of a page in which the debugger had one.
 */
#include "runtime/runtime.h"

#define DEBUG 1
#define BREAKPOINT 3
#define INT3 0xcc
#define RFLAGS_RF (1ul << 16)
#define CALLS 3
/* Where the code is that becomes data. */
#define CODE USER_START
/* Some 10 ms and more, whatever an exit costs. */
#define WRITES 10000

void first(void), second(void), third(void);
extern u8 third_end[];

/* Alike to the last byte, and nowhere at the same place of a page. */
#define ALIKE(name)                                                                                                    \
    ".global " name "\n" name ": endbr64; push %rbp; mov %rsp, %rbp; nop; nop; nop; nop; nop; nop; pop %rbp; ret\n"
__asm__(".text\n.balign 4096\n" ALIKE("first") ".skip 100, 0x90\n" ALIKE("second") ".skip 60, 0x90\n" ALIKE("third") "third_end:\n");

static u64 breakpoints, traps;

static void on_breakpoint(struct trap_frame *frame)
{
    CHECK(frame->rip == (u64)second + 1, "a breakpoint at %lx\n", frame->rip);
    breakpoints++;
    *(volatile u8 *)second = 0xf3;
    frame->rip--;
}

/* Goes on from a breakpoint register as the manual says (SDM vol. 3, 18.3.1.1). */
static void on_debug(struct trap_frame *frame)
{
    CHECK(frame->rip == (u64)third, "a trap at %lx\n", frame->rip);
    traps++;
    frame->rflags |= RFLAGS_RF;
}

static void code_becomes_data(void)
{
    u64 frame = frame_alloc();
    map(CODE, frame, PTE_PRESENT | PTE_WRITE);
    memcpy((void *)frame, third, third_end - (u8 *)third);
    first();
    ((void (*)(void))CODE)();
    *page_entry(CODE) = 0;
    invlpg(CODE);
    volatile u8 *data = (volatile u8 *)frame;
    for (u64 n = 0; n < WRITES; n++) {
        u8 value = n % 64;
        *data = value;
        out8(0x80, 0);
        CHECK(*data == value, "%x has become %x\n", value, *data);
    }
}

int main(void)
{
    options_end();
    trap_handle(BREAKPOINT, on_breakpoint);
    trap_handle(DEBUG, on_debug);
    address_space_start();
    code_becomes_data();

    for (u32 n = 0; n < CALLS; n++) {
        *(volatile u8 *)second = INT3;
        second();
    }
    CHECK(breakpoints == CALLS, "%lu breakpoints\n", breakpoints);

    __asm__ volatile("mov %0, %%dr0; mov %1, %%dr7" ::"r"((u64)third), "r"(1ul << 1));
    for (u32 n = 0; n < CALLS; n++)
        third();
    __asm__ volatile("mov %0, %%dr7" ::"r"(0ul));
    /* Some monitors keep the registers to themselves. */
    CHECK(traps == CALLS || !traps, "%lu traps\n", traps);
    counter("traps", traps);
    return 0;
}
