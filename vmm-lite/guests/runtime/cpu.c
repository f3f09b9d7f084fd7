/* cpu.c: descriptor tables, trap dispatch. */
#include "cpu.h"

#define TRAP_STACK_SIZE 16384

#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102

struct gate {
    u16 offset_low, selector;
    u8 ist, type;
    u16 offset_middle;
    u32 offset_high, reserved;
};

struct table_pointer {
    u16 limit;
    const void *base;
} __attribute__((packed));

extern const char trap_stubs[256][16];
extern void syscall_entry(void);

struct cpu cpus[MAX_CPUS];
static u8 trap_stacks[MAX_CPUS][TRAP_STACK_SIZE] __attribute__((aligned(16)));
static struct gate idt[256] __attribute__((aligned(16)));
static trap_handler handlers[256];
static trap_handler syscall_handler;

/* Fills in the IDT that all vCPUs share: an interrupt gate (interrupts off) for each stub. */
void idt_fill(void)
{
    for (u32 vector = 0; vector < 256; vector++) {
        u64 stub = (u64)trap_stubs[vector];
        idt[vector] = (struct gate){
            .offset_low = stub,
            .selector = KERNEL_CS,
            .type = 0x8e,
            .offset_middle = stub >> 16,
            .offset_high = stub >> 32,
        };
    }
}

/* Gives the vCPU that this runs on its number, GS, GDT, TSS and the IDT. */
void cpu_start(u32 number)
{
    struct cpu *cpu = &cpus[number];
    u64 tss = (u64)&cpu->tss;
    cpu->self = cpu;
    cpu->number = number;
    cpu->trap_stack = (u64)trap_stacks[number] + TRAP_STACK_SIZE;
    cpu->tss.rsp[0] = cpu->trap_stack;
    cpu->tss.io_map = sizeof(struct tss); /* none: ring 3 gets no ports */
    cpu->gdt[1] = 0x00af9b000000ffff;     /* KERNEL_CS */
    cpu->gdt[2] = 0x00cf93000000ffff;     /* KERNEL_DS */
    cpu->gdt[3] = 0;                      /* SYSRET's 32-bit code: not offered */
    cpu->gdt[4] = 0x00cff3000000ffff;     /* USER_DS */
    cpu->gdt[5] = 0x00affb000000ffff;     /* USER_CS */
    cpu->gdt[6] = (sizeof(struct tss) - 1) | (tss & 0xffffff) << 16 | 0x89ul << 40 | (tss >> 24 & 0xff) << 56;
    cpu->gdt[7] = tss >> 32;

    struct table_pointer gdt_pointer = {sizeof(cpu->gdt) - 1, cpu->gdt};
    struct table_pointer idt_pointer = {sizeof(idt) - 1, idt};
    __asm__ volatile("lgdt %0" ::"m"(gdt_pointer));
    __asm__ volatile("push %0; lea 1f(%%rip), %%rax; push %%rax; lretq; 1:" ::"i"(KERNEL_CS) : "rax", "memory");
    __asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss; mov %1, %%fs; mov %1, %%gs" ::"r"(KERNEL_DS), "r"(0));
    __asm__ volatile("ltr %w0" ::"r"(TSS_SELECTOR));
    write_msr(MSR_GS_BASE, (u64)cpu);
    write_msr(MSR_KERNEL_GS_BASE, 0);
    __asm__ volatile("lidt %0" ::"m"(idt_pointer));
}

void trap_handle(u8 vector, trap_handler handler) { handlers[vector] = handler; }

void syscall_handle(trap_handler handler)
{
    syscall_handler = handler;
    write_msr(MSR_STAR, (u64)(0x18 | 3) << 48 | (u64)KERNEL_CS << 32); /* SYSRET: SS = +8, CS = +16 */
    write_msr(MSR_LSTAR, (u64)syscall_entry);
    write_msr(MSR_SFMASK, 0x44700); /* AC, DF, IF, TF and NT are off in the kernel */
    write_msr(MSR_EFER, read_msr(MSR_EFER) | 1); /* SCE */
}

void trap_dispatch(struct trap_frame *frame)
{
    trap_handler handler = handlers[frame->vector];
    if (!handler)
        trap_panic(frame);
    handler(frame);
}

void syscall_dispatch(struct trap_frame *frame) { syscall_handler(frame); }

void trap_panic(const struct trap_frame *frame)
{
    print("vCPU %u: unexpected trap: vector %lu, error %lx, rip %lx, cs %lx, rsp %lx, cr2 %lx\n", this_cpu()->number,
          frame->vector, frame->error, frame->rip, frame->cs, frame->rsp, read_cr2());
    finish(frame->vector < 32 ? 0x60 + frame->vector : 0x5f);
}
