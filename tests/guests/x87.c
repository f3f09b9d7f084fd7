/*
 * x87: executes x87 instructions on states made at random, in ring 0 and in ring 3. Some KVMs have an emulator without
 * them for ring 0, and then the monitor carries them out there, while ring 3 always runs on the processor: both must
 * leave the same.
 *
 *   rounds=N  times 64 states for each instruction (4)
 *   seed=N    of the states (1)
 */
#include "x87.h"

#define PROBE 0x50000000ul /* not mapped */
#define NONE 0x100
#define CR0_TS (1ul << 3)
#define CR4_OSFXSR (1ul << 9)

/* ---- comparing ---- */

static const char *const names[] = {
#define ENTRY(name, code) #name,
    INSTRUCTIONS(ENTRY)
#undef ENTRY
};

static u64 wrong;

static void show(const char *what, const struct test *test)
{
    const struct x87 *state = &test->state;
    const u64 *memory = (const u64 *)test->memory;
    print("  %s fcw %x fsw %x tags %x flags %lx rax %lx memory %lx %lx\n   ", what, (u32)state->control,
          (u32)state->status, (u32)state->in_use, test->rflags & 0x8d5, test->rax, memory[1], memory[0]);
    for (u32 n = 0; n < 4; n++)
        print(" %x:%lx", (u32)state->st[n].sign_exponent, state->st[n].significand);
    print("\n");
}

static void done(struct trap_frame *frame)
{
    if (frame->cs != USER_CS)
        trap_panic(frame);
    user_exit(frame->vector);
}

static void compare(enum instruction which)
{
    user_run((u64)user_main, which, MAKE);
    for (u32 n = 0; n < TESTS; n++)
        execute(which, &shared.here[n]);
    user_run((u64)user_main, which, COMPARE);
    for (u32 n = 0; n < TESTS; n++) {
        if (shared.differs[n] && wrong++ < 20) {
            print("%s:\n", names[which]);
            show("before", &shared.before[n]);
            show("ring 0", &shared.here[n]);
            show("ring 3", &shared.there[n]);
        }
    }
}

/* ---- exceptions ---- */

static struct {
    u64 vector, error, address, rip;
} caught;
static u64 resume __attribute__((used));

static void catch(struct trap_frame *frame)
{
    if (frame->cs == USER_CS)
        user_exit(frame->vector);
    if (!resume)
        trap_panic(frame);
    caught.vector = frame->vector;
    caught.error = frame->error;
    caught.address = read_cr2();
    caught.rip = frame->rip;
    frame->rip = resume;
    resume = 0;
}

/* Executes `code`; what its last instruction raises is in `caught`. */
#define TRY(code, ...)                                                                                                 \
    do {                                                                                                               \
        caught.vector = NONE;                                                                                          \
        __asm__ volatile("lea 77f(%%rip), %%r11\n\tmov %%r11, resume(%%rip)\n\t" code "\n77:" __VA_ARGS__);            \
        resume = 0;                                                                                                    \
    } while (0)

static void expect(const char *what, u64 vector, u64 error)
{
    CHECK(caught.vector == vector && caught.error == error, "%s: vector %lu, error %lx\n", what, caught.vector,
          caught.error);
}

static void exceptions(void)
{
    u16 control = ZERO_DIVIDE_UNMASKED, status;
    u64 cr0;
    struct x87 state;
    /* 1 / 0; FNSTSW does not look for pending exceptions, FWAIT does. */
    TRY(DIVIDE_BY_ZERO "fnstsw %0; fwait", : "=m"(status) : [control] "m"(control) : "r11", "memory");
    expect("fwait after a division by zero", FLOATING_POINT, 0);
    CHECK((status & 0x80ff) == 0x8084, "status %x after a division by zero\n", (u32)status);
    CHECK(user_run((u64)user_main, BY_FWAIT, PENDING) == FLOATING_POINT, "fwait in ring 3 does not raise it\n");
    /*
     * So do FLD1 and most others (SDM vol. 1, 8.7), but there are processors in software (QEMU's) on which FWAIT alone
     * looks. What ring 3 shows of this one is what ring 0 must do.
     */
    u64 native = user_run((u64)user_main, BY_FLD1, PENDING);
    bool looks = native == FLOATING_POINT;
    CHECK(looks || native == INVALID_OPCODE, "vector %lu after a division by zero in ring 3\n", native);
    counter("waits", looks);
    if (!looks)
        print("Left out: #MF by FLD1 with an exception pending, as FLD1 in ring 3 does not raise it either.\n");
    TRY(DIVIDE_BY_ZERO "fld1", ::[control] "m"(control) : "r11", "memory");
    expect("fld1 after a division by zero", looks ? FLOATING_POINT : NONE, looks ? 0 : caught.error);
    TRY("fnclex; fld1; fnstsw %0", : "=m"(status)::"r11", "memory");
    expect("fld1 after fnclex", NONE, caught.error);
    CHECK(!(status & 0x80ff), "status %x after fnclex\n", (u32)status);

    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0" ::"r"(cr0 | CR0_TS));
    TRY("fld1", ::: "r11", "memory");
    expect("fld1 with TS", 7, 0);
    __asm__ volatile("mov %0, %%cr0" ::"r"(cr0));

    u64 page = PROBE + 4 * PAGE_SIZE;
    map(page, frame_alloc(), 0);
    __asm__ volatile("fninit; fld1");
    TRY("fstps (%0)", ::"r"(page) : "r11", "memory");
    expect("fstps to a page to read", PAGE_FAULT, FAULT_PRESENT | FAULT_WRITE);
    TRY("fldt (%0)", ::"r"(page + PAGE_SIZE - 9) : "r11", "memory");
    expect("fldt over the page's end", PAGE_FAULT, 0);
    CHECK(caught.address == page + PAGE_SIZE, "cr2 %lx\n", caught.address);
    __asm__ volatile("fxsaveq %0" : "=m"(state));
    CHECK(state.status == 0x3800 && state.in_use == 0x80, "after the faults: status %x, tags %x\n", (u32)state.status,
          (u32)state.in_use);
}

int main(void)
{
    u64 rounds = option("rounds", 4, 0, 100000), cr0, cr4;
    u64 seed = option("seed", 1, 1, ~0ul);
    options_end();
    __asm__ volatile("mov %%cr0, %0; mov %%cr4, %1" : "=r"(cr0), "=r"(cr4));
    __asm__ volatile("mov %0, %%cr0; mov %1, %%cr4" ::"r"((cr0 & ~0xcul) | 0x22), "r"(cr4 | CR4_OSFXSR));
    address_space_start();
    shared.seed = seed;
    trap_handle(INVALID_OPCODE, done);
    for (u64 round = 0; round < rounds; round++)
        for (u32 which = 0; which < NR_INSTRUCTIONS; which++)
            compare((enum instruction)which);
    counter("compared", rounds * NR_INSTRUCTIONS * TESTS);
    CHECK(!wrong, "%lu of %lu differ\n", wrong, rounds * NR_INSTRUCTIONS * TESTS);
    const u8 vectors[] = {7, PAGE_FAULT, FLOATING_POINT};
    for (u32 n = 0; n < sizeof(vectors); n++)
        trap_handle(vectors[n], catch);
    exceptions();
    print("Ring 0 computes what ring 3 does.\n");
    return 0;
}
