/* interrupts.c: what a guest can do with local APICs, IOAPIC and timers. */
#include "hostile.h"

#define ICR_NMI (4u << 8)
#define ICR_SELF (1u << 18)
#define ICR_ALL (2u << 18)
#define VECTOR 0x60

#define LVT_TIMER 0x320
#define LVT_PERIODIC (1u << 17)
#define TIMER_INITIAL 0x380
#define TIMER_DIVIDE 0x3e0

static void apic_write(u32 offset, u32 value) { *(volatile u32 *)(0xfee00000ul + offset) = value; }

/* ICR_ALL_BUT_SELF has both bits of a shorthand, so that ipi_send() leaves the destination alone for all of them. */
static void send_to(u32 shorthand, u32 low) { ipi_send(0, shorthand | ICR_ASSERT | low); }

void do_self_ipi(void)
{
    interrupts_on();
    for (;;)
        send_to(ICR_SELF, ICR_FIXED | VECTOR);
}

/* Interrupts that nobody ever takes. */
void do_unanswered_ipi(void)
{
    interrupts_off();
    for (;;)
        send_to(ICR_ALL, ICR_FIXED | (random() & 0xff));
}

void do_ipi_storm(void)
{
    interrupts_on();
    for (;;) {
        send_to(ICR_ALL, ICR_FIXED | (32 + random() % 224));
        if (random() % 64 == 0)
            __asm__ volatile("hlt");
    }
}

void do_nmi_storm(void)
{
    for (;;)
        send_to(random() % 16 ? ICR_ALL_BUT_SELF : ICR_ALL, ICR_NMI);
}

/* INIT and start-up IPIs to the others, while they start or run; they send some too while they can. */
void do_init_storm(void)
{
    while (this_cpu()->number)
        send_to(ICR_ALL_BUT_SELF, ICR_NMI);
    for (;;) {
        send_to(ICR_ALL_BUT_SELF, ICR_INIT);
        for (u32 n = random() % 16; n; n--)
            send_to(ICR_ALL_BUT_SELF, ICR_STARTUP | (random() & 1 ? TRAMPOLINE >> 12 : random() & 0xff));
    }
}

/* The 8259s at vector 0x70, all lines open, automatic EOI. */
void pics_start(void)
{
    static const u16 pics[] = {0x20, 0xa0};
    for (u32 n = 0; n < 2; n++) {
        out8(pics[n], 0x11);
        out8(pics[n] + 1, 0x70 + 8 * n);
        out8(pics[n] + 1, n ? 2 : 4);
        out8(pics[n] + 1, 3);
        out8(pics[n] + 1, 0);
    }
}

/* The fastest timers that can be asked for, all at once. */
static void start_timers(void)
{
    apic_write(TIMER_DIVIDE, 0xb);
    apic_write(LVT_TIMER, LVT_PERIODIC | VECTOR);
    apic_write(TIMER_INITIAL, 1);
    /* The 8254's channel 0 at its shortest. */
    if (this_cpu()->number == 0) {
        pics_start();
        out8(0x43, 0x14);
        out8(0x40, 1);
    }
}

void do_timers(void)
{
    start_timers();
    interrupts_on();
    for (u64 n = 0;; n++) {
        if (n % 100 == 0)
            __asm__ volatile("hlt");
        /* Deadlines long past, where there is a timer for that. */
        if (n % 1000 == 0) {
            apic_write(LVT_TIMER, 2 << 17 | VECTOR);
            TRY("wrmsr", ::"a"(1), "d"(0), "c"(0x6e0));
            start_timers();
        }
    }
}

void do_timers_unheard(void)
{
    interrupts_off();
    start_timers();
    __asm__ volatile("1: jmp 1b");
}

/* Every register of the local APICs and of the IOAPIC, the interrupt command register too. */
void do_apics(void)
{
    for (u64 n = 0;; n++) {
        u64 offset = random() % 2 ? 0x300 + 0x10 * (random() % 16) : random() & 0xff0;
        /* Vectors above those of exceptions, which this guest takes for such. */
        u32 value = odd_number() | 0x20;
        /* No INIT to itself, from which nobody would wake it. */
        if (offset == 0x300)
            value = (value & ~0x700u) | (random() & 1 ? ICR_NMI : 0);
        apic_write(offset, value);
        *(volatile u32 *)0xfec00000ul = n % 64;
        *(volatile u32 *)0xfec00010ul = odd_number() | 0x20;
        (void)*(volatile u32 *)0xfec00010ul;
        out8(0x43, 0x34);
        out8(0x40, 1);
        out8(0x40, 0);
        if (random() % 16 == 0)
            interrupts_on();
        out8(VMSCOPE_PORT_POST, 0);
        interrupts_off();
    }
}

void do_halt(void)
{
    interrupts_off();
    for (;;)
        __asm__ volatile("hlt");
}

/* The others start in the middle of garbage. */
void do_start_up(void)
{
    for (u64 page = 0x8; page < 0x9f; page++)
        copy_page(page << 12, (u64)soup + (page << 12) % SOUP_BYTES);
    for (;;) {
        send_to(ICR_ALL_BUT_SELF, ICR_INIT);
        send_to(ICR_ALL_BUT_SELF, ICR_STARTUP | (0x8 + random() % 0x97));
        for (u32 n = 0; n < 10000; n++)
            pause();
    }
}

/*
 * Not hostile: instructions of several exits each, with values that the guest knows. Whoever pauses and steps in between
 * must lose none of them.
 */
void do_read_modify_write(void)
{
    volatile u32 *count = (u32 *)(0xfee00000ul + TIMER_INITIAL);
    apic_write(LVT_TIMER, 1 << 16 | VECTOR);
    *count = 0;
    u32 *copy = (u32 *)spoil + this_cpu()->number;
    for (u32 n = 0;;) {
        n += 2;
        __asm__ volatile("addl $2, %0" : "+m"(*count));
        CHECK(*count == n, "%u, not %u", *count, n);
        u64 to = (u64)copy, from = (u64)count, times = 1;
        __asm__ volatile("rep movsl" : "+S"(from), "+D"(to), "+c"(times)::"memory");
        CHECK(*copy == n, "moved %u, not %u", *copy, n);
        from = (u64)count, to = (u64)count, times = 1;
        __asm__ volatile("rep movsl" : "+S"(from), "+D"(to), "+c"(times)::"memory");
        CHECK(*count == n, "%u, not %u", *count, n);
    }
}
