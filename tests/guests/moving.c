/*
 * moving: a kernel that moves, as memtest86+ does: it copies its handler elsewhere, with whatever a debugger has put
 * into it, and goes on with the copy. Each copy must do what the first one did.
 */
#include "runtime/runtime.h"

#define VECTOR 0x42
#define MOVES 16
#define BREAKPOINT 3

struct gate {
    u16 low, selector, flags, middle;
    u32 high, reserved;
} __attribute__((packed));

struct table {
    u16 limit;
    u64 base;
} __attribute__((packed));

static volatile u64 calls __attribute__((used));
static u64 breakpoints;
extern u8 handler[], handler_end[];

/* Runs anywhere: its only address is absolute. In one page. */
__asm__(".text\n.balign 64\n"
        "handler: cld; push $0; add $8, %rsp; incq calls; iretq\n"
        "nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop\n"
        "handler_end:\n");

static void on_breakpoint(struct trap_frame *frame)
{
    (void)frame;
    breakpoints++;
}

static void load(struct gate *gates, u64 address)
{
    struct gate *gate = &gates[VECTOR];
    gate->low = (u16)address;
    gate->middle = (u16)(address >> 16);
    gate->high = (u32)(address >> 32);
    struct table table = {256 * sizeof(struct gate) - 1, (u64)gates};
    __asm__ volatile("lidt %0" ::"m"(table) : "memory");
}

int main(void)
{
    struct table table;
    u64 here = (u64)handler, called = 0;
    options_end();
    trap_handle(BREAKPOINT, on_breakpoint);
    __asm__ volatile("sidt %0" : "=m"(table));
    for (u32 n = 0; n < MOVES; n++) {
        struct gate *gates = (struct gate *)frame_alloc();
        memcpy(gates, (const void *)table.base, 256 * sizeof(struct gate));
        load(gates, here);
        /* With and without an exit before the first call. */
        if (n & 1)
            out8(0x80, 0);
        for (u32 call = 0; call < 3; call++) {
            __asm__ volatile("int %0" ::"i"(VECTOR) : "memory");
            called++;
            out8(0x80, 0);
            CHECK(calls == called, "move %u: %lu calls, not %lu\n", n, calls, called);
        }
        /* Whole pages move. */
        u64 there = frame_alloc() + here % PAGE_SIZE;
        memcpy((void *)there, (const void *)here, handler_end - handler);
        here = there;
    }
    CHECK(!breakpoints, "%lu breakpoints\n", breakpoints);
    __asm__ volatile("int3; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop; nop");
    CHECK(breakpoints == 1, "%lu breakpoints, not its own\n", breakpoints);
    counter("calls", calls);
    return 0;
}
