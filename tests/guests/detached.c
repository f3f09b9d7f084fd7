/*
 * detached: every vCPU calls work() over and over, which a debugger stops at. In the end there must be nothing left of
 * that on any of them: debug registers are as they were, and so is all code.
 */
#include "runtime/runtime.h"

#define ROUNDS 2000
#define INT3 0xcc

volatile u64 worked[MAX_CPUS];
static u64 done;

__attribute__((noinline)) void work(u32 cpu) { worked[cpu]++; }
__attribute__((noinline)) void other_work(u32 cpu) { __asm__ volatile("" ::"r"(cpu)); }

static void check_registers(const char *when)
{
    u64 dr0, dr1, dr2, dr3, dr6, dr7;
    __asm__ volatile("mov %%dr0, %0; mov %%dr1, %1; mov %%dr2, %2; mov %%dr3, %3"
                     : "=r"(dr0), "=r"(dr1), "=r"(dr2), "=r"(dr3));
    __asm__ volatile("mov %%dr6, %0; mov %%dr7, %1" : "=r"(dr6), "=r"(dr7));
    CHECK(!(dr0 | dr1 | dr2 | dr3), "%s: breakpoint registers %lx %lx %lx %lx\n", when, dr0, dr1, dr2, dr3);
    /* After a reset (SDM vol. 3, table 11-1). */
    CHECK(dr6 == 0xffff0ff0 && dr7 == 0x400, "%s: DR6 %lx, DR7 %lx\n", when, dr6, dr7);
}

static void take_part(void)
{
    u32 cpu = this_cpu()->number;
    check_registers("before");
    for (u32 round = 0; round < ROUNDS; round++) {
        work(cpu);
        other_work(cpu);
    }
    check_registers("after");
    __atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
}

int main(void)
{
    options_end();
    marker("ready", 0);
    smp_start(take_part);
    take_part();
    while (__atomic_load_n(&done, __ATOMIC_SEQ_CST) < boot->vcpus)
        pause();
    CHECK(*(const volatile u8 *)work != INT3 && *(const volatile u8 *)other_work != INT3, "a breakpoint is left\n");
    for (u32 cpu = 0; cpu < boot->vcpus; cpu++)
        CHECK(worked[cpu] == ROUNDS, "vCPU %u has worked %lu times\n", cpu, worked[cpu]);
    return 0;
}
