/*
 * interrupts: takes an interrupt of every kind that a PC's controllers make, in user space or in KVM: the timer's by
 * the 8259s and by the IOAPIC, a local timer's, a level-triggered keyboard line's. Then all vCPUs but the first halt.
 * With "sleep=1" the first does too, until somebody types "q" on the serial console.
 */
#include "runtime/runtime.h"

#define TICKS 5

enum { PIC_TIMER = 0x20, IOAPIC_TIMER = 0x50, KEYBOARD = 0x51, SERIAL = 0x54, LOCAL_TIMER = 0x60 };

/* Local APIC registers (SDM vol. 3, table 12-1). */
enum { LVT_TIMER = 0x320, LVT_LINT0 = 0x350, INITIAL_COUNT = 0x380, DIVIDE = 0x3e0 };
#define LVT_MASKED (1u << 16)
#define LVT_EXTINT (7u << 8)

/* IOAPIC redirection entries (82093AA, 3.2.4). */
#define LEVEL (1u << 15)
#define MASKED (1u << 16)

static u64 pic_ticks, ioapic_ticks, local_ticks, keyboard_interrupts, bytes, spurious, serial_interrupts, asleep;
static u8 last_byte;
static volatile bool quit;

static u8 in8(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void apic(u32 offset, u32 value) { *(volatile u32 *)(0xfee00000ul + offset) = value; }

static void redirect(u32 pin, u32 low)
{
    volatile u32 *select = (u32 *)0xfec00000ul, *window = (u32 *)0xfec00010ul;
    *select = 0x11 + 2 * pin;
    *window = 0; /* to APIC 0 */
    *select = 0x10 + 2 * pin;
    *window = low;
}

/* The last tick masks the line: a slow host must not be kept busy by the next ones. */
static void on_pic_timer(struct trap_frame *frame)
{
    (void)frame;
    if (++pic_ticks == TICKS)
        out8(0x21, 0xff);
    out8(0x20, 0x20);
}

static void on_ioapic_timer(struct trap_frame *frame)
{
    (void)frame;
    if (++ioapic_ticks == TICKS)
        redirect(2, MASKED);
    lapic_eoi();
}

static void on_local_timer(struct trap_frame *frame)
{
    (void)frame;
    local_ticks++;
    lapic_eoi();
}

/*
 * Takes the byte the second time only: the line is still asserted at the first EOI. Some KVMs deliver a level once more
 * after it has gone.
 */
static void on_keyboard(struct trap_frame *frame)
{
    (void)frame;
    if (!(in8(0x64) & 1)) {
        spurious++;
    } else if (++keyboard_interrupts % 2 == 0) {
        last_byte = in8(0x60);
        bytes++;
    }
    lapic_eoi();
}

void on_serial(struct trap_frame *frame)
{
    (void)frame;
    serial_interrupts++;
    while (in8(0x3fd) & 1)
        quit |= in8(0x3f8) == 'q';
    lapic_eoi();
}

/* Sleeps until an interrupt. Tests know the instruction by its name. */
void halt(void);
__asm__(".globl halt, halt_instruction\nhalt: sti\nhalt_instruction: hlt\n cli\n ret\n");

static void sleep_until(volatile u64 *count, u64 wanted)
{
    while (*count < wanted)
        halt();
}

static void timer_by_the_pics(void)
{
    static const u8 setup[][2] = {{0x20, 0x11}, {0x21, PIC_TIMER}, {0x21, 4}, {0x21, 1}, {0xa0, 0x11},
                                  {0xa1, 0x28}, {0xa1, 2},         {0xa1, 1}, {0x21, 0xfe}, {0xa1, 0xff}};
    for (u32 n = 0; n < sizeof(setup) / sizeof(setup[0]); n++)
        out8(setup[n][0], setup[n][1]);
    apic(LVT_LINT0, LVT_EXTINT);
    out8(0x43, 0x34); /* channel 0, both bytes, rate generator */
    out8(0x40, 0xa9); /* 0x4a9: a millisecond */
    out8(0x40, 0x04);
    sleep_until(&pic_ticks, TICKS);
    apic(LVT_LINT0, LVT_MASKED);
}

static void timer_by_the_ioapic(void)
{
    redirect(2, IOAPIC_TIMER);
    sleep_until(&ioapic_ticks, TICKS);
    out8(0x43, 0x30); /* one shot, and no count: silence */
}

static void timers_of_the_local_apic(void)
{
    apic(DIVIDE, 0xb);
    apic(LVT_TIMER, LOCAL_TIMER);
    for (u32 n = 1; n <= TICKS; n++) {
        apic(INITIAL_COUNT, 100000);
        sleep_until(&local_ticks, n);
    }
    apic(LVT_TIMER, LVT_MASKED);
}

static void level_triggered_line(void)
{
    redirect(1, LEVEL | KEYBOARD);
    for (u32 n = 1; n <= TICKS; n++) {
        out8(0x64, 0xd2); /* loops a byte back as if it had been typed */
        out8(0x60, n);
        sleep_until(&bytes, n);
        CHECK(last_byte == n, "read %u, not %u", last_byte, n);
    }
    redirect(1, MASKED);
    CHECK(keyboard_interrupts == 2 * TICKS, "%lu interrupts of the keyboard", keyboard_interrupts);
}

static void sleep_for_ever(void)
{
    __atomic_add_fetch(&asleep, 1, __ATOMIC_SEQ_CST);
    for (;;)
        halt();
}

int main(void)
{
    bool sleeps = option("sleep", 0, 0, 1);
    options_end();
    lapic_choose(false);
    lapic_enable();
    trap_handle(PIC_TIMER, on_pic_timer);
    trap_handle(IOAPIC_TIMER, on_ioapic_timer);
    trap_handle(LOCAL_TIMER, on_local_timer);
    trap_handle(KEYBOARD, on_keyboard);
    trap_handle(SERIAL, on_serial);
    marker("ready", 0); /* an exit: handlers are found at exits, and KVM may play all that follows */

    timer_by_the_pics();
    timer_by_the_ioapic();
    timers_of_the_local_apic();
    level_triggered_line();
    counter("pic_ticks", pic_ticks);
    counter("ioapic_ticks", ioapic_ticks);
    counter("local_ticks", local_ticks);
    counter("keyboard_interrupts", keyboard_interrupts);
    counter("spurious", spurious);

    smp_start(sleep_for_ever);
    while (__atomic_load_n(&asleep, __ATOMIC_SEQ_CST) < boot->vcpus - 1)
        pause();
    if (sleeps) {
        redirect(4, SERIAL);
        out8(0x3f9, 1); /* interrupts for what is received */
        marker("asleep", 0);
        while (!quit)
            halt();
        CHECK(serial_interrupts > 0, "nothing was received");
    }
    return 0;
}
