/* start.c: from the entry point to main(). */
#include "cpu.h"

const struct vmscope_boot *boot;

_Noreturn void runtime_start(const struct vmscope_boot *info)
{
    boot = info;
    idt_fill();
    cpu_start(0);
    CHECK(info->magic == VMSCOPE_MAGIC, "no boot info at %lx\n", (u64)info);
    CHECK(info->version == VMSCOPE_VERSION, "boot info version %u\n", info->version);
    CHECK(info->vcpus >= 1 && info->vcpus <= MAX_CPUS, "%u vCPUs, made for 1 to %u\n", info->vcpus, MAX_CPUS);
    memory_start();
    /* The two 8259s: every line masked. Also the first exits after LIDT: there a monitor notices the IDT. */
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
    finish(main());
}
