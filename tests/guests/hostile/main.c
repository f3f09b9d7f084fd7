/*
 * hostile: does one thing that no kernel should, for ever, on every vCPU that it has. Whatever becomes of the guest,
 * the monitor must not mind.
 *
 *   action=NAME  what to do: one of `actions`
 *   seed=N       for what is random (1)
 *
 * Faults inside a TRY are passed over; any other ends the run.
 */
#include "hostile.h"

/* Made by TRY: where a fault between two addresses goes on. The linker names the ends of the section. */
extern const struct {
    u64 from, to;
} __start_fixups[], __stop_fixups[];

/* Filled in by the test before the guest's first instruction. */
u8 soup[SOUP_BYTES] __attribute__((aligned(4096)));
/* Memory that may be spoilt. */
u8 spoil[SPOIL_BYTES] __attribute__((aligned(4096)));

static u64 random_state[MAX_CPUS][8];
static u64 seed;

/* xorshift64 (Marsaglia 2003), one for each vCPU. */
u64 random(void)
{
    u64 *state = random_state[this_cpu()->number];
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Numbers that are often at some limit. */
u64 odd_number(void)
{
    u64 value = random();
    switch (value >> 60) {
    case 0: return 0;
    case 1: return ~0ul;
    case 2: return value & 0xff;
    case 3: return value & 0xffff;
    case 4: return 1ul << (value & 63);
    case 5: return (1ul << (value & 63)) - 1;
    case 6: return 0xfee00000 + (value & 0xfff);
    case 7: return value & 0xffffffff;
    case 8: return (u64)spoil + (value & (SPOIL_BYTES - 1));
    case 9: return 0xffff800000000000 + (value & 0xffffff);
    default: return value;
    }
}

void pass_over(struct trap_frame *frame)
{
    /* Traps leave RIP behind the instruction already. */
    if (frame->vector == 1 || frame->vector == 3 || frame->vector == 4)
        return;
    for (typeof(&*__start_fixups) fixup = __start_fixups; fixup < __stop_fixups; fixup++)
        if (frame->rip - fixup->from < fixup->to - fixup->from) {
            frame->rip = fixup->to;
            return;
        }
    trap_panic(frame);
}

void acknowledge(struct trap_frame *frame)
{
    (void)frame;
    lapic_eoi();
}

static void nothing(struct trap_frame *frame) { (void)frame; }

/* Exceptions are passed over, everything else is acknowledged. */
void handle_all(void)
{
    for (u32 vector = 0; vector < 32; vector++)
        trap_handle(vector, vector == 2 ? nothing : pass_over);
    for (u32 vector = 32; vector < 256; vector++)
        trap_handle(vector, acknowledge);
    /* As kernels have it, ring 3 may breakpoint: on some hosts a debugger's do so too. */
    struct {
        u16 limit;
        u8 *base;
    } __attribute__((packed)) idt;
    __asm__ volatile("sidt %0" : "=m"(idt));
    idt.base[3 * 16 + 5] |= 3 << 5;
}

static const char *const names[] = {
    "ports", "strings", "mmio", "msrs", "memory", "suicide", "spin", "self-ipi", "unanswered-ipi", "ipi-storm",
    "nmi-storm", "init-storm", "console", "calls", "idt", "gdt", "cr3", "page-tables", "trap-flag", "debug-registers",
    "breakpoints", "system-call-entry", "patches", "timers", "timers-unheard", "devices", "apics", "halt", "start-up",
    "user-spin", "user-soup", "soup", "read-modify-write", NULL,
};

static void (*const actions[])(void) = {
    do_ports, do_strings, do_mmio, do_msrs, do_memory, do_suicide, do_spin, do_self_ipi, do_unanswered_ipi,
    do_ipi_storm, do_nmi_storm, do_init_storm, do_console, do_calls, do_idt, do_gdt, do_cr3, do_page_tables,
    do_trap_flag, do_debug_registers, do_breakpoints, do_system_call_entry, do_patches, do_timers, do_timers_unheard,
    do_devices, do_apics, do_halt, do_start_up, do_user_spin, do_user_soup, do_soup,
    do_read_modify_write,
};

_Static_assert(sizeof(names) / sizeof(*names) == sizeof(actions) / sizeof(*actions) + 1, "a name for each action");

static void (*action)(void);
static u32 all_there;

static void run(void)
{
    while (!__atomic_load_n(&all_there, __ATOMIC_SEQ_CST))
        pause();
    random_state[this_cpu()->number][0] = (seed + this_cpu()->number) * 0x9e3779b97f4a7c15;
    action();
    fail("an action has ended");
}

int main(void)
{
    action = actions[option_choice("action", names)];
    seed = option("seed", 1, 1, 1ul << 32);
    lapic_choose(false);
    options_end();
    handle_all();
    lapic_enable();
    /* Some start others as no kernel would, and need them asleep. */
    if (action != do_start_up)
        smp_start(run);
    debug_print("go\n");
    __atomic_store_n(&all_there, 1, __ATOMIC_SEQ_CST);
    run();
    return 1;
}
