/*
 * tlb-shootdown: all vCPUs share an address space and read one page of it, so that each has its translation in the
 * TLB. In every round one of them, in turn, takes the page away and gives it another frame: it clears the entry,
 * invalidates its own TLB, interrupts the others, waits until each has invalidated its TLB and acknowledged, and only
 * then uses the old frame for something else. Who reads in between takes a page fault, who sleeps is woken.
 *
 * Each frame holds its generation; an old one is overwritten with POISON. A vCPU that reads POISON, or a generation
 * from before its own last acknowledgement, has read through a stale entry: the run fails.
 *
 *   rounds=N  pages taken away (50)
 *   busy=N    vCPUs that go on reading until they are interrupted; the others halt after a read (1)
 *   apic=x2apic | xapic   how the interrupts are sent: by MSR, if the monitor offers that, or by MMIO
 */
#include "runtime/runtime.h"

#define PAGE USER_START
#define SHOOTDOWN_VECTOR 0x40
#define POISON ~0ul

static const char *const apics[] = {"x2apic", "xapic", NULL};

static u64 rounds;    /* to do */
static u64 busy;      /* vCPUs that do not halt */
static u64 round;     /* under way; also the generation that is mapped when it begins */
static u64 *entry;    /* maps PAGE */
static u64 frames[2]; /* take turns under PAGE */

/* Of each vCPU, in a cache line of its own. */
static struct {
    u64 seen;         /* the latest generation that it has read */
    u64 acknowledged; /* the first generation that it may still read: it has let go of all before */
} cpu_state[MAX_CPUS] __attribute__((aligned(64)));

static u64 shootdowns, ipis_taken, faults, reads, halts, cpus_done;

static void count(u64 *counter) { __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST); }
static u64 load(const u64 *value) { return __atomic_load_n(value, __ATOMIC_SEQ_CST); }
static void store(u64 *value, u64 to) { __atomic_store_n(value, to, __ATOMIC_SEQ_CST); }

static void on_shootdown(struct trap_frame *frame)
{
    (void)frame;
    count(&ipis_taken);
    invlpg(PAGE);
    store(&cpu_state[this_cpu()->number].acknowledged, load(&round) + 1);
    lapic_eoi();
}

/* Reading found the page unmapped: waits until it is back, and the read is tried again. */
static void on_page_fault(struct trap_frame *frame)
{
    if (read_cr2() != PAGE || frame->error & FAULT_PRESENT)
        trap_panic(frame);
    count(&faults);
    interrupts_on(); /* who took the page away waits for this vCPU's acknowledgement */
    while (!(load(entry) & PTE_PRESENT))
        pause();
    interrupts_off();
}

/* Reads the page through the TLB and checks what it finds. */
static void read_page(u32 me)
{
    u64 oldest = load(&cpu_state[me].acknowledged); /* before the read: an interrupt may come in between */
    u64 found = load((u64 *)PAGE);
    CHECK(found != POISON, "read a frame that was taken away: stale TLB entry");
    CHECK(found >= oldest, "read generation %lu after acknowledging the end of %lu", found, oldest - 1);
    CHECK(found <= load(&round) + 1, "read generation %lu in round %lu", found, load(&round));
    store(&cpu_state[me].seen, found);
    count(&reads);
}

/* Has every vCPU interrupted: by one write for all, or by one for each. */
static void interrupt_others(u64 now, u32 me)
{
    if (boot->vcpus == 1)
        return;
    if (now % 2 == 0) {
        ipi_send(0, ICR_ALL_BUT_SELF | ICR_ASSERT | ICR_FIXED | SHOOTDOWN_VECTOR);
        return;
    }
    for (u32 target = 0; target < boot->vcpus; target++)
        if (target != me)
            ipi_send(target, ICR_ASSERT | ICR_FIXED | SHOOTDOWN_VECTOR);
}

static void shoot_down(u64 now, u32 me)
{
    /* Without its translation in the others' TLBs there would be nothing to see. */
    for (u32 other = 0; other < boot->vcpus; other++)
        while (other != me && load(&cpu_state[other].seen) != now)
            pause();

    store(entry, 0);
    invlpg(PAGE);
    store(&cpu_state[me].acknowledged, now + 1);
    interrupt_others(now, me);
    for (u32 other = 0; other < boot->vcpus; other++)
        while (load(&cpu_state[other].acknowledged) != now + 1)
            pause();

    u64 old = frames[now % 2], new = frames[(now + 1) % 2];
    store((u64 *)old, POISON);
    store((u64 *)new, now + 1);
    store(entry, new | PTE_PRESENT | PTE_NX);
    read_page(me);
    count(&shootdowns);
    store(&round, now + 1);
}

/* In every round others halt, and in every fourth also those that are busy: the interrupt has to wake them. */
static bool halts_in(u64 now, u32 me)
{
    u64 turn = (me + boot->vcpus - now % boot->vcpus) % boot->vcpus; /* 0: takes the page away now; 1: next time */
    return turn > busy || (turn > 0 && (now + me) % 4 == 3);
}

/* Sleeps until this round's interrupt has come. */
static void halt_until_acknowledged(u64 now, u32 me)
{
    interrupts_off();
    while (load(&cpu_state[me].acknowledged) <= now) {
        count(&halts);
        interrupts_on_and_halt();
        interrupts_off();
    }
    interrupts_on();
}

static void take_part(void)
{
    u32 me = this_cpu()->number;
    interrupts_on();
    for (u64 now; (now = load(&round)) < rounds;) {
        if (now % boot->vcpus == me)
            shoot_down(now, me);
        else
            read_page(me);
        if (halts_in(now, me) && load(&cpu_state[me].seen) == now)
            halt_until_acknowledged(now, me);
    }
    interrupts_off();
    count(&cpus_done);
}

int main(void)
{
    rounds = option("rounds", 50, 1, 1000000);
    busy = option("busy", 1, 0, MAX_CPUS);
    lapic_choose(option_choice("apic", apics) == 0);
    options_end();
    print("tlb-shootdown: %lu rounds, %u vCPUs\n", rounds, boot->vcpus);

    address_space_start();
    frames[0] = frame_alloc();
    frames[1] = frame_alloc();
    map(PAGE, frames[0], PTE_NX);
    entry = page_entry(PAGE);
    trap_handle(PAGE_FAULT, on_page_fault);
    trap_handle(SHOOTDOWN_VECTOR, on_shootdown);
    smp_start(take_part);
    take_part();
    while (load(&cpus_done) < boot->vcpus)
        pause();

    u64 others = boot->vcpus - 1;
    u64 even = (rounds + 1) / 2, odd = rounds / 2;
    u64 ipis = 3 * others + (others ? even : 0) + odd * others; /* INIT, SIPI, SIPI; shorthand; one by one */
    CHECK(ipis_sent() == ipis, "%lu IPIs sent, not %lu", ipis_sent(), ipis);
    CHECK(ipis_taken == rounds * others, "%lu IPIs taken, not %lu", ipis_taken, rounds * others);
    CHECK(shootdowns == rounds, "%lu shootdowns, not %lu", shootdowns, rounds);
    counter("rounds", rounds);
    counter("shootdowns", shootdowns);
    counter("ipis", ipis_sent());
    counter("ipis_taken", ipis_taken);
    counter("faults", faults);
    counter("reads", reads);
    counter("halts", halts);
    print("tlb-shootdown: %lu shootdowns, %lu IPIs sent, %lu taken, no stale read\n", shootdowns, ipis_sent(), ipis_taken);
    return 0;
}
