/*
 * instructions: executes in ring 0 what some KVMs' emulators lack, and checks each result against the manual. The same
 * image must pass where the processor does it all natively. An instruction that raises #UD is passed over if CPUID does
 * not offer it.
 */
#include "runtime/runtime.h"

#define NONE 0x100
#define BREAKPOINT 3
#define PROBE 0x50000000ul /* not mapped at first; the pages around it neither */
#define BEYOND_CANONICAL 0x8000000000000000ul

#define CF 0x001ul
#define PF 0x004ul
#define AF 0x010ul
#define ZF 0x040ul
#define SF 0x080ul
#define OF 0x800ul
#define ALL (CF | PF | AF | ZF | SF | OF)
#define AC 0x40000ul

static struct {
    u64 vector, error, address, rip;
} caught;
static u64 resume __attribute__((used));
static u64 absent;

static void catch(struct trap_frame *frame)
{
    if (!resume)
        trap_panic(frame);
    caught.vector = frame->vector;
    caught.error = frame->error;
    caught.address = read_cr2();
    caught.rip = frame->rip;
    frame->rip = resume;
    resume = 0;
}

/* Executes `code`; what it raises is in `caught`, and the code after the trap is left out. */
#define TRY(code, ...)                                                                                                 \
    do {                                                                                                               \
        caught.vector = NONE;                                                                                          \
        __asm__ volatile("lea 77f(%%rip), %%r11\n\tmov %%r11, resume(%%rip)\n\t" code "\n77:" __VA_ARGS__);            \
        resume = 0;                                                                                                    \
    } while (0)

/* After TRY: whether the instruction is there. Any other exception ends the run. */
static bool is_there(const char *what, bool offered)
{
    if (caught.vector == INVALID_OPCODE && !offered) {
        absent++;
        return false;
    }
    CHECK(caught.vector == NONE, "%s: vector %lu, error %lx, address %lx\n", what, caught.vector, caught.error,
          caught.address);
    return true;
}

static void expect_fault(const char *what, u64 vector, u64 error, u64 address)
{
    CHECK(caught.vector == vector && caught.error == error, "%s: vector %lu, error %lx, not %lu, %lx\n", what,
          caught.vector, caught.error, vector, error);
    CHECK(vector != PAGE_FAULT || caught.address == address, "%s: cr2 %lx, not %lx\n", what, caught.address, address);
}

/* ---- what CPUID offers ---- */

static struct {
    bool cx16, popcnt, sse42, xsave, monitor, bmi1, bmi2, adx, invpcid, clflushopt, clwb, rdtscp, smap;
} offered;

static void cpuid(u32 leaf, u32 *b, u32 *c, u32 *d)
{
    u32 a = leaf;
    *c = 0;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(*b), "+c"(*c), "=d"(*d));
}

static void ask_cpuid(void)
{
    u32 b, c, d;
    cpuid(1, &b, &c, &d);
    offered.monitor = c >> 3 & 1;
    offered.cx16 = c >> 13 & 1;
    offered.sse42 = c >> 20 & 1;
    offered.popcnt = c >> 23 & 1;
    offered.xsave = c >> 26 & 1;
    cpuid(7, &b, &c, &d);
    offered.bmi1 = b >> 3 & 1;
    offered.bmi2 = b >> 8 & 1;
    offered.invpcid = b >> 10 & 1;
    offered.adx = b >> 19 & 1;
    offered.smap = b >> 20 & 1;
    offered.clflushopt = b >> 23 & 1;
    offered.clwb = b >> 24 & 1;
    cpuid(0x80000001, &b, &c, &d);
    offered.rdtscp = d >> 27 & 1;
}

/* ---- traps ---- */

static volatile u64 taken[256], taken_rip;

static void take(struct trap_frame *frame)
{
    taken[frame->vector]++;
    taken_rip = frame->rip;
}

static void traps(void)
{
    u64 after, before_flags, flags;
    trap_handle(BREAKPOINT, take);
    trap_handle(0x42, take);
    trap_handle(0x80, take);
    __asm__ volatile("lea 1f(%%rip), %0; int3; 1:" : "=r"(after)::"memory");
    CHECK(taken[BREAKPOINT] == 1 && taken_rip == after, "int3: %lu, rip %lx, not %lx\n", taken[BREAKPOINT], taken_rip,
          after);
    for (u32 n = 1; n <= 3; n++) {
        __asm__ volatile("lea 1f(%%rip), %0; pushfq; pop %1; int $0x42; 1: pushfq; pop %2"
                         : "=&r"(after), "=&r"(before_flags), "=&r"(flags)::"memory");
        CHECK(taken[0x42] == n && taken_rip == after, "int 0x42: %lu, rip %lx\n", taken[0x42], taken_rip);
        CHECK(flags == before_flags, "int 0x42: flags %lx, before %lx\n", flags, before_flags);
    }
    /* With interrupts on too. */
    interrupts_on();
    __asm__ volatile("int $0x80" ::: "memory");
    interrupts_off();
    CHECK(taken[0x80] == 1, "int 0x80: %lu\n", taken[0x80]);
}

/* ---- computing ---- */

static u64 in_memory[2];

/* Executes `code` on %[a], %[b] and %[value] with all flags clear and all set. */
#define COMPUTE(there, code, A, B, START, wanted, wanted_flags, defined)                                               \
    for (u64 initial = 2; initial <= (2 | ALL); initial += ALL) {                                                      \
        u64 value = (START), flags;                                                                                    \
        in_memory[1] = (A);                                                                                            \
        TRY("push %[initial]\n\tpopfq\n\t" code "\n\tpushfq\n\tpop %[flags]",                                           \
            : [value] "+&r"(value), [flags] "=&r"(flags)                                                               \
            : [a] "r"((u64)(A)), [b] "r"((u64)(B)), [initial] "r"(initial), [m] "m"(in_memory[1]),                     \
              [base] "r"(in_memory), [one] "r"(1ul)                                                                    \
            : "rdx", "r11", "memory", "cc");                                                                           \
        if (!is_there(code, there))                                                                                    \
            break;                                                                                                     \
        u64 want = ((wanted_flags) & (defined)) | (initial & ALL & ~(defined));                                        \
        CHECK(value == (u64)(wanted), "%s of %lx, %lx: %lx, not %lx\n", code, (u64)(A), (u64)(B), value,                \
              (u64)(wanted));                                                                                          \
        CHECK((flags & CHECKED(defined)) == (want & CHECKED(defined)), "%s of %lx, %lx: flags %lx, not %lx\n", code,   \
              (u64)(A), (u64)(B), flags, want);                                                                        \
    }
/* An instruction that defines some flags leaves the others undefined; one that defines none leaves all as they were. */
#define CHECKED(defined) ((defined) ? (defined) : ALL)

static void computing(void)
{
    const u64 junk = 0x1122334455667788ul, odd = 0x80f00000000000f1ul;
    COMPUTE(offered.popcnt, "popcnt %[a], %[value]", odd, 0, junk, 10, 0, ALL);
    COMPUTE(offered.popcnt, "popcnt %k[a], %k[value]", odd, 0, junk, 5, 0, ALL);
    COMPUTE(offered.popcnt, "popcnt %w[a], %w[value]", odd, 0, junk, 0x1122334455660005ul, 0, ALL);
    COMPUTE(offered.popcnt, "popcnt %[a], %[value]", 0, 0, junk, 0, ZF, ALL);
    COMPUTE(offered.popcnt, "popcnt %[m], %[value]", ~0ul, 0, junk, 64, 0, ALL);
    COMPUTE(offered.popcnt, "popcntl (%[base], %[one], 8), %k[value]", 0xf000000ful, 0, junk, 8, 0, ALL);
    COMPUTE(offered.popcnt, "popcntq -8(%[base], %[one], 8), %[value]", 1, 0, junk, 0, ZF, ALL);

    COMPUTE(offered.sse42, "crc32b %b[a], %k[value]", 0x31, 0, junk << 32 | 0xfffffffful, 0x6f0a661c, 0, 0);
    COMPUTE(offered.sse42, "crc32q %[a], %[value]", 0x3837363534333231ul, 0, 0xfffffffful, 0x9f787f65, 0, 0);
    COMPUTE(offered.sse42, "crc32w %w[a], %k[value]", 0x3231, 0, 0xfffffffful, 0x8caa3b9f, 0, 0);
    COMPUTE(offered.sse42, "crc32l %[m], %k[value]", 0x34333231, 0, 0xfffffffful, 0x09c50b11, 0, 0);

    COMPUTE(offered.bmi1, "andn %[b], %[a], %[value]", 0xff, 0xf0f0, junk, 0xf000, 0, CF | ZF | SF | OF);
    COMPUTE(offered.bmi1, "andn %k[b], %k[a], %k[value]", 0, 0x80000000, junk, 0x80000000, SF, CF | ZF | SF | OF);
    COMPUTE(offered.bmi1, "bextr %[b], %[a], %[value]", junk, 0x0c08, 0, 0x677, 0, CF | ZF | OF);
    COMPUTE(offered.bmi1, "bextr %[b], %[m], %[value]", junk, 0xff40, 1, 0, ZF, CF | ZF | OF);
    COMPUTE(offered.bmi1, "bextr %k[b], %k[a], %k[value]", junk, 0xff1c, junk, 5, 0, CF | ZF | OF);
    COMPUTE(offered.bmi1, "blsi %[a], %[value]", 0x50, 0, junk, 0x10, CF, CF | ZF | SF | OF);
    COMPUTE(offered.bmi1, "blsi %[a], %[value]", 0, 0, junk, 0, ZF, CF | ZF | SF | OF);
    COMPUTE(offered.bmi1, "blsmsk %[a], %[value]", 0x50, 0, junk, 0x1f, 0, CF | ZF | SF | OF);
    COMPUTE(offered.bmi1, "blsmsk %k[a], %k[value]", 0, 0, junk, 0xffffffff, CF | SF, CF | ZF | SF | OF);
    COMPUTE(offered.bmi1, "blsr %[m], %[value]", 0x8000000000000001ul, 0, 0, 1ul << 63, SF, CF | ZF | SF | OF);
    COMPUTE(offered.bmi1, "blsr %[a], %[value]", 0, 0, junk, 0, CF | ZF, CF | ZF | SF | OF);

    COMPUTE(offered.bmi2, "bzhi %[b], %[a], %[value]", junk, 12, 0, 0x788, 0, CF | ZF | SF | OF);
    COMPUTE(offered.bmi2, "bzhi %[b], %[a], %[value]", junk, 64, 0, junk, CF, CF | ZF | SF | OF);
    COMPUTE(offered.bmi2, "bzhi %k[b], %k[a], %k[value]", ~0ul, 200, 0, 0xffffffff, CF | SF, CF | ZF | SF | OF);
    COMPUTE(offered.bmi2, "pdep %[b], %[a], %[value]", 0xabc, 0xf0f0f0, 0, 0xa0b0c0, 0, 0);
    COMPUTE(offered.bmi2, "pext %[b], %[a], %[value]", junk, 0xff000000ff00ul, 0, 0x3377, 0, 0);
    COMPUTE(offered.bmi2, "rorx $12, %[a], %[value]", junk, 0, 0, 0x7881122334455667ul, 0, 0);
    COMPUTE(offered.bmi2, "rorx $36, %k[m], %k[value]", junk, 0, junk, 0x85566778ul, 0, 0);
    COMPUTE(offered.bmi2, "sarx %[b], %[a], %[value]", odd, 68, 0, 0xf80f00000000000ful, 0, 0);
    COMPUTE(offered.bmi2, "sarx %k[b], %k[a], %k[value]", 0x80000000, 33, junk, 0xc0000000, 0, 0);
    COMPUTE(offered.bmi2, "shlx %[b], %[a], %[value]", junk, 8, 0, 0x2233445566778800ul, 0, 0);
    COMPUTE(offered.bmi2, "shlx %k[b], %k[a], %k[value]", junk, 8, junk, 0x66778800, 0, 0);
    COMPUTE(offered.bmi2, "shrx %[b], %[m], %[value]", odd, 60, 0, 8, 0, 0);
    /* Both halves of the product, added without touching flags. */
    COMPUTE(offered.bmi2, "mov %[b], %%rdx; mulx %[a], %%r11, %[value]; lea (%%r11, %[value]), %[value]", junk, odd, 0,
            0x39536d06a039d2ecul, 0, 0);
    COMPUTE(offered.adx, "adcx %[a], %[value]", ~0ul, 0, 1, initial & CF ? 1 : 0, CF, CF);
    COMPUTE(offered.adx, "adox %k[a], %k[value]", 5, 0, junk, initial & OF ? 0x5566778e : 0x5566778d, 0, OF);
}

/* ---- memory ---- */

static u8 block[32] __attribute__((aligned(16)));

/* Compares 16 bytes at `at` with `old`, and stores `new`; gives the flags. */
static u64 exchange(void *at, u64 old[2], u64 new_low, u64 new_high)
{
    u64 flags = 0;
    TRY("lock cmpxchg16b (%[at])\n\tpushfq\n\tpop %[flags]",
        : "+a"(old[0]), "+d"(old[1]), [flags] "=&r"(flags)
        : "b"(new_low), "c"(new_high), [at] "r"(at)
        : "r11", "memory", "cc");
    return flags;
}

static void exchanging(void)
{
    u64 *words = (u64 *)block;
    u64 old[2] = {0, 0};
    u64 flags = exchange(block, old, 0x1111, 0x2222);
    if (!is_there("cmpxchg16b", offered.cx16))
        return;
    CHECK(flags & ZF && words[0] == 0x1111 && words[1] == 0x2222, "cmpxchg16b: %lx %lx\n", words[0], words[1]);
    old[0] = 0x1111; /* only half of it */
    flags = exchange(block, old, 3, 4);
    CHECK(!(flags & ZF) && words[0] == 0x1111, "cmpxchg16b stored %lx\n", words[0]);
    CHECK(old[0] == 0x1111 && old[1] == 0x2222, "cmpxchg16b loaded %lx %lx\n", old[0], old[1]);
    exchange(block + 8, old, 3, 4);
    expect_fault("cmpxchg16b off by 8", GENERAL_PROTECTION, 0, 0);
    exchange((void *)PROBE, old, 3, 4);
    expect_fault("cmpxchg16b at no page", PAGE_FAULT, FAULT_WRITE, PROBE);
    map(PROBE, frame_alloc(), 0);
    exchange((void *)PROBE, old, 3, 4);
    expect_fault("cmpxchg16b at a page to read", PAGE_FAULT, FAULT_PRESENT | FAULT_WRITE, PROBE);
    *page_entry(PROBE) |= PTE_WRITE;
    invlpg(PROBE);
    old[0] = old[1] = 0;
    CHECK(exchange((void *)PROBE, old, 3, 4) & ZF && *(u64 *)PROBE == 3, "cmpxchg16b after the fault\n");
    u64 entry = *page_entry(PROBE);
    CHECK(entry & PTE_ACCESSED && entry & PTE_DIRTY, "cmpxchg16b: page table entry %lx\n", entry);
}

static void reading(void)
{
    u64 value = 0, page = PROBE + 4 * PAGE_SIZE;
    TRY("popcnt (%[at]), %[value]", : [value] "+r"(value) : [at] "r"(BEYOND_CANONICAL) : "r11", "memory", "cc");
    if (caught.vector == INVALID_OPCODE)
        return;
    expect_fault("popcnt off the map", GENERAL_PROTECTION, 0, 0);
    map(page, frame_alloc(), PTE_WRITE);
    *(u64 *)(page + PAGE_SIZE - 8) = 0xff00000000000000ul;
    *page_entry(page) &= ~(PTE_ACCESSED | PTE_DIRTY);
    invlpg(page);
    TRY("popcnt -4(%[at]), %[value]", : [value] "+r"(value) : [at] "r"(page + PAGE_SIZE) : "r11", "memory", "cc");
    expect_fault("popcnt over the page's end", PAGE_FAULT, 0, page + PAGE_SIZE);
    map(page + PAGE_SIZE, frame_alloc(), PTE_WRITE);
    *(u64 *)(page + PAGE_SIZE) = 3;
    TRY("popcnt -4(%[at]), %[value]", : [value] "+r"(value) : [at] "r"(page + PAGE_SIZE) : "r11", "memory", "cc");
    CHECK(caught.vector == NONE && value == 10, "popcnt over two pages: %lu, vector %lu\n", value, caught.vector);
    u64 entry = *page_entry(page);
    CHECK(entry & PTE_ACCESSED && !(entry & PTE_DIRTY), "popcnt: page table entry %lx\n", entry);
}

/* ---- the processor ---- */

static void counter_and_control(void)
{
    const u32 aux_msr = 0xc0000103;
    u32 low, high, aux;
    u64 before = 0;
    for (u32 round = 0; round < 3; round++) {
        if (offered.rdtscp)
            write_msr(aux_msr, 0x1230 + round);
        TRY("rdtscp", : "=a"(low), "=d"(high), "=c"(aux)::"r11", "memory");
        if (!is_there("rdtscp", offered.rdtscp))
            break;
        u64 now = (u64)high << 32 | low;
        CHECK(now > before && (!offered.rdtscp || aux == 0x1230 + round), "rdtscp: %lx after %lx, %x\n", now, before, aux);
        before = now;
    }
    u64 flags;
    TRY("stac; pushfq; pop %0; clac", : "=r"(flags)::"r11", "memory", "cc");
    if (is_there("stac", offered.smap)) {
        CHECK(flags & AC, "stac: flags %lx\n", flags);
        __asm__ volatile("clac; pushfq; pop %0" : "=r"(flags)::"memory", "cc");
        CHECK(!(flags & AC), "clac: flags %lx\n", flags);
    }
    u64 cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    TRY("xgetbv", : "=a"(low), "=d"(high) : "c"(0) : "r11", "memory");
    expect_fault("xgetbv without OSXSAVE", INVALID_OPCODE, 0, 0);
    if (offered.xsave) {
        __asm__ volatile("mov %0, %%cr4" ::"r"(cr4 | 1 << 18));
        TRY("xgetbv", : "=a"(low), "=d"(high) : "c"(0) : "r11", "memory");
        CHECK(caught.vector == NONE && low & 1 && !high, "xgetbv: vector %lu, %x %x\n", caught.vector, high, low);
        TRY("xgetbv", : "=a"(low), "=d"(high) : "c"(77) : "r11", "memory");
        expect_fault("xgetbv of register 77", GENERAL_PROTECTION, 0, 0);
        __asm__ volatile("mov %0, %%cr4" ::"r"(cr4));
    }
}

static void invalidating(void)
{
    struct {
        u64 pcid, address;
    } which = {0, PROBE + 8 * PAGE_SIZE};
    volatile u64 *at = (u64 *)which.address;
    u64 frames[2] = {frame_alloc(), frame_alloc()};
    *(u64 *)frames[1] = 1;
    for (u64 kind = 0; kind < 4; kind++) {
        map(which.address, frames[0], PTE_WRITE);
        invlpg(which.address);
        CHECK(*at == 0, "the first page has %lx\n", *at);
        map(which.address, frames[1], PTE_WRITE);
        TRY("invpcid %0, %1", ::"m"(which), "r"(kind) : "r11", "memory");
        if (!is_there("invpcid", offered.invpcid))
            return;
        CHECK(*at == 1, "invpcid of kind %lu left a translation\n", kind);
    }
    TRY("invpcid %0, %1", ::"m"(which), "r"(4ul) : "r11", "memory");
    expect_fault("invpcid of kind 4", GENERAL_PROTECTION, 0, 0);
    which.pcid = 4096;
    TRY("invpcid %0, %1", ::"m"(which), "r"(0ul) : "r11", "memory");
    expect_fault("invpcid of a PCID too large", GENERAL_PROTECTION, 0, 0);
}

static void caches_and_waiting(void)
{
    TRY("clflushopt %0", ::"m"(block) : "r11", "memory");
    is_there("clflushopt", offered.clflushopt);
    TRY("clwb %0", ::"m"(block) : "r11", "memory");
    is_there("clwb", offered.clwb);
    /* MWAIT alone does not wait, and no hypervisor lets it. */
    TRY("monitor", ::"a"(block), "c"(0), "d"(0) : "r11", "memory");
    is_there("monitor", offered.monitor);
    TRY("mwait", ::"a"(0), "c"(0) : "r11", "memory");
    is_there("mwait", offered.monitor);
}

static u64 examine_with(u32 selector, u64 *rights, u64 *limit)
{
    u64 flags_lar, flags_lsl, flags_verr, flags_verw;
    *rights = *limit = 0x7777777777777777ul;
    __asm__ volatile("lar %[s], %k[rights]; pushfq; pop %[lar]; lsl %[s], %k[limit]; pushfq; pop %[lsl];"
                     "verr %w[s]; pushfq; pop %[verr]; verw %w[s]; pushfq; pop %[verw]"
                     : [rights] "+&r"(*rights), [limit] "+&r"(*limit), [lar] "=&r"(flags_lar), [lsl] "=&r"(flags_lsl),
                       [verr] "=&r"(flags_verr), [verw] "=&r"(flags_verw)
                     : [s] "r"(selector)
                     : "memory", "cc");
    return !!(flags_lar & ZF) << 3 | !!(flags_lsl & ZF) << 2 | !!(flags_verr & ZF) << 1 | !!(flags_verw & ZF);
}

static void selectors(void)
{
    const struct {
        u32 selector;
        u64 good; /* LAR, LSL, VERR, VERW */
        u64 rights, limit;
    } cases[] = {
        {KERNEL_CS, 0xe, 0xa09b00, 0xffffffff}, {KERNEL_DS, 0xf, 0xc09300, 0xffffffff},
        {USER_DS, 0xf, 0xc0f300, 0xffffffff},   {USER_CS, 0xe, 0xa0fb00, 0xffffffff},
        {KERNEL_DS | 3, 0, 0, 0},               {TSS_SELECTOR, 0xc, 0x008b00, sizeof(struct tss) - 1},
        {0, 0, 0, 0},                           {0x18, 0, 0, 0},
        {0x4000, 0, 0, 0},                      {0x0c, 0, 0, 0},
    };
    for (u32 n = 0; n < sizeof(cases) / sizeof(*cases); n++) {
        u64 rights, limit, good = examine_with(cases[n].selector, &rights, &limit);
        CHECK(good == cases[n].good, "selector %x: good for %lx\n", cases[n].selector, good);
        if (good)
            CHECK((rights & ~0xf0000ul) == cases[n].rights && limit == cases[n].limit, "selector %x: %lx %lx\n",
                  cases[n].selector, rights, limit);
    }
}

static void floating_point(void)
{
    u16 control = 0x027f;
    u32 mxcsr = 0x5f80, stored = 0;
    u64 cr0, cr4;
    __asm__ volatile("mov %%cr0, %0; mov %%cr4, %1" : "=r"(cr0), "=r"(cr4));
    __asm__ volatile("fninit; fldcw %0" ::"m"(control));
    control = 0;
    __asm__ volatile("fwait; fnstcw %0" : "+m"(control));
    CHECK(control == 0x027f, "fldcw: %x\n", (u32)control);
    __asm__ volatile("mov %0, %%cr0" ::"r"(cr0 | 8)); /* TS */
    TRY("fwait", ::: "r11", "memory");
    expect_fault("fwait with TS", 7, 0, 0);
    __asm__ volatile("mov %0, %%cr0" ::"r"(cr0));
    __asm__ volatile("emms" ::: "memory");
    TRY("ldmxcsr %0", ::"m"(mxcsr) : "r11", "memory");
    expect_fault("ldmxcsr without OSFXSR", INVALID_OPCODE, 0, 0);
    __asm__ volatile("mov %0, %%cr4" ::"r"(cr4 | 1 << 9));
    __asm__ volatile("ldmxcsr %1; stmxcsr %0" : "=m"(stored) : "m"(mxcsr));
    CHECK(stored == mxcsr, "ldmxcsr: %x\n", stored);
    __asm__ volatile("mov %0, %%cr4" ::"r"(cr4));
}

/* ---- several vCPUs ---- */

#define ROUNDS 100
static volatile u32 done;
static u8 shared[16] __attribute__((aligned(16)));

/* Adds 1 to both halves of `shared`: torn halves, or one update over another, show in the end. */
static void add_together(void)
{
    u64 low = 0, high = 0;
    for (u32 round = 0; round < ROUNDS; round++) {
        u8 equal;
        do {
            u64 new_low = low + 1, new_high = high + 1;
            __asm__ volatile("lock cmpxchg16b %[at]; sete %[equal]"
                             : "+a"(low), "+d"(high), [equal] "=q"(equal), [at] "+m"(shared)
                             : "b"(new_low), "c"(new_high)
                             : "memory", "cc");
        } while (!equal);
    }
    __atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
}

int main(void)
{
    options_end();
    address_space_start();
    const u8 vectors[] = {INVALID_OPCODE, 7, GENERAL_PROTECTION, PAGE_FAULT, 16};
    for (u32 n = 0; n < sizeof(vectors); n++)
        trap_handle(vectors[n], catch);
    ask_cpuid();
    traps();
    computing();
    exchanging();
    reading();
    counter_and_control();
    invalidating();
    caches_and_waiting();
    selectors();
    floating_point();
    counter("absent", absent);
    if (boot->vcpus > 1) {
        smp_start(add_together);
        add_together();
        while (done < boot->vcpus)
            pause();
        u64 *halves = (u64 *)shared, wanted = ROUNDS * boot->vcpus;
        CHECK(halves[0] == wanted && halves[1] == wanted, "together: %lu, %lu, not %lu\n", halves[0], halves[1],
              wanted);
    }
    print("Every instruction did what the manual says; %lu are not there.\n", absent);
    return 0;
}
