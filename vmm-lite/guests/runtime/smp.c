/* smp.c: starts the other vCPUs. */
#include "cpu.h"

#define STACK_SIZE 16384

/* The trampoline in start.S, and the values that it wants filled in. */
extern const u8 trampoline[], trampoline_end[], trampoline_cr3[], trampoline_stack[], trampoline_cpu[];

static u8 stacks[MAX_CPUS][STACK_SIZE] __attribute__((aligned(16)));
static void (*cpu_entry)(void);

static void fill_in(const u8 *value_in_trampoline, u64 value)
{
    *(u64 *)(TRAMPOLINE + (value_in_trampoline - trampoline)) = value;
}

/* The trampoline comes here, in 64-bit mode and on its own stack. */
_Noreturn void smp_cpu_start(struct cpu *cpu)
{
    cpu_start(cpu - cpus);
    lapic_enable();
    __atomic_store_n(&cpu->online, 1, __ATOMIC_SEQ_CST);
    cpu_entry();
    for (;;)
        __asm__ volatile("cli; hlt");
}

void smp_start(void (*entry)(void))
{
    cpu_entry = entry;
    lapic_enable();
    memcpy((void *)TRAMPOLINE, trampoline, trampoline_end - trampoline);
    fill_in(trampoline_cr3, read_cr3());
    for (u32 number = 1; number < boot->vcpus; number++) {
        struct cpu *cpu = &cpus[number];
        fill_in(trampoline_stack, (u64)stacks[number] + STACK_SIZE);
        fill_in(trampoline_cpu, (u64)cpu);
        /* SDM vol. 3, 9.4.4; a virtual processor needs none of the delays. */
        ipi_send(number, ICR_INIT | ICR_ASSERT);
        ipi_send(number, ICR_STARTUP | ICR_ASSERT | TRAMPOLINE >> 12);
        ipi_send(number, ICR_STARTUP | ICR_ASSERT | TRAMPOLINE >> 12);
        while (!__atomic_load_n(&cpu->online, __ATOMIC_SEQ_CST))
            pause();
    }
}
