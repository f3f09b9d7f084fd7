/*
 * due: an interrupt is due whenever this code is looked at: at "due_shadow", by an IPI of the vCPU to itself that STI is
 * about to let in, and at "turn_first" as soon as a timer has run out. Each handler must be entered as often as its
 * interrupt was sent.
 */
#include "runtime/runtime.h"

#define ROUNDS 30

enum { TIMER = 0x60, IPI = 0x61 };

/* Local APIC registers (SDM vol. 3, table 12-1). */
enum { LVT_TIMER = 0x320, INITIAL_COUNT = 0x380, DIVIDE = 0x3e0 };

volatile u64 round_of_ipis, round_of_timers, ipis, ticks;

static void apic(u32 offset, u32 value) { *(volatile u32 *)(0xfee00000ul + offset) = value; }

static void on_timer(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    lapic_eoi();
}

static void on_ipi(struct trap_frame *frame)
{
    (void)frame;
    ipis++;
    lapic_eoi();
}

/* The interrupt comes between the second and the third. */
void due(void);
__asm__(".text\n.globl due, due_shadow, due_first, due_second, due_third\n"
        "due: sti\n"
        "due_shadow: nop\n"
        "due_first: nop\n"
        "due_second: lea 1(%rax), %rax\n"
        "due_third: cli\n"
        "ret\n");

/* Interrupts are on all the while. */
void turn(void);
__asm__(".globl turn, turn_first, turn_second, turn_third\n"
        "turn: nop\n"
        "turn_first: lea 1(%rax), %rax\n"
        "turn_second: nop\n"
        "turn_third: ret\n");

int main(void)
{
    options_end();
    lapic_choose(false);
    lapic_enable();
    trap_handle(TIMER, on_timer);
    trap_handle(IPI, on_ipi);
    marker("ready", 0); /* an exit: handlers are found at exits */
    for (round_of_ipis = 0; round_of_ipis < ROUNDS; round_of_ipis++) {
        ipi_send(0, ICR_FIXED | ICR_ASSERT | IPI);
        due();
        /* Some KVMs look for interrupts every now and then. */
        interrupts_on();
        while (ipis == round_of_ipis)
            pause();
        interrupts_off();
        CHECK(ipis == round_of_ipis + 1, "%lu IPIs in round %lu\n", ipis, round_of_ipis);
    }
    apic(DIVIDE, 0xb);
    apic(LVT_TIMER, TIMER);
    interrupts_on();
    for (round_of_timers = 0; round_of_timers < ROUNDS; round_of_timers++) {
        apic(INITIAL_COUNT, 1000000); /* a millisecond */
        while (ticks == round_of_timers)
            turn();
    }
    interrupts_off();
    CHECK(ticks == ROUNDS && ipis == ROUNDS, "%lu ticks, %lu IPIs\n", ticks, ipis);
    return 0;
}
