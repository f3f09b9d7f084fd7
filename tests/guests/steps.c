/*
 * steps: instructions that leave the guest, to the monitor or to KVM, each with a name by which tests step over it. What
 * a step is made of must not reach the guest: no debug exception, and every instruction does what it does without.
 */
#include "runtime/runtime.h"

#define ROUNDS 3
#define DEBUG 1
#define TRAP_FLAG (1ul << 8)

/* The tests' names: `name` is the instruction's address, `name_end` that of the next. */
#define NAMED(name, instruction) ".globl " name ", " name "_end\n" name ": " instruction "\n" name "_end:\n"

static struct {
    u32 from_port, from_memory, apic_id, apic_base;
    u8 bytes[4];
    u32 words[4];
} found __attribute__((used));
static const u8 output[4] __attribute__((used)) = "\x11\x22\x33\x44";
static u64 debug_exceptions;

void exiting(void);
__asm__(".text\n"
        ".globl exiting, exiting_end\n"
        "exiting: push %rbx\n"
        /* The serial port's scratch register keeps what is written to it. */
        "mov $0x3ff, %edx; mov $0x5a, %eax\n" NAMED("step_out", "outb %al, %dx") "xor %eax, %eax\n"
        NAMED("step_in", "inb %dx, %al") "mov %eax, found+0\n"
        "mov $found+16, %edi\n" NAMED("step_ins", "insb")
        "mov $output, %esi\n" NAMED("step_outs", "outsb")
        "mov $3, %ecx\n" NAMED("step_rep_ins", "rep insb")
        "mov $3, %ecx\n" NAMED("step_rep_outs", "rep outsb")
        /* There is nothing at this address: reads give ones. */
        "mov $0xe0000000, %ebx\n" NAMED("step_mmio_write", "mov %eax, (%rbx)")
        NAMED("step_mmio_read", "mov (%rbx), %eax") "mov %eax, found+4\n"
        NAMED("step_mmio_modify", "orl $1, (%rbx)")
        "mov %ebx, %esi; mov $found+20, %edi; mov $4, %ecx\n" NAMED("step_mmio_string", "rep movsl")
        /* Interrupt controllers and MSRs may be the monitor's or KVM's. */
        "mov $0x21, %edx\n" NAMED("step_pic_in", "inb %dx, %al") NAMED("step_pic_out", "outb %al, %dx")
        "mov $0xfec00000, %ebx; xor %eax, %eax\n" NAMED("step_ioapic_write", "mov %eax, (%rbx)")
        NAMED("step_ioapic_read", "mov 0x10(%rbx), %eax")
        "mov $0xfee00000, %ebx\n" NAMED("step_apic_read", "mov 0x20(%rbx), %eax") "mov %eax, found+8\n"
        "xor %eax, %eax\n" NAMED("step_apic_write", "mov %eax, 0x80(%rbx)")
        "mov $5, %eax\n" NAMED("step_cr8", "mov %rax, %cr8") "xor %eax, %eax\n"
        NAMED("step_cr8_back", "mov %rax, %cr8")
        "mov $0xc0000082, %ecx\n" NAMED("step_rdmsr", "rdmsr") NAMED("step_wrmsr", "wrmsr")
        "mov $0x1b, %ecx\n" NAMED("step_apic_rdmsr", "rdmsr") "mov %eax, found+12\n" NAMED("step_apic_wrmsr", "wrmsr")
        "xor %eax, %eax; xor %ecx, %ecx\n" NAMED("step_cpuid", "cpuid")
        /* No interrupt can come in between, and none is to: the handler is missing. */
        "sti\n" NAMED("step_cli", "cli")
        "exiting_end: pop %rbx; ret\n");

static void on_debug(struct trap_frame *frame)
{
    if (!debug_exceptions++)
        print("a debug exception at %lx\n", frame->rip);
    frame->rflags &= ~TRAP_FLAG;
}

int main(void)
{
    options_end();
    lapic_choose(false);
    lapic_enable();
    trap_handle(DEBUG, on_debug);
    marker("ready", 0); /* an exit: handlers are found at exits */
    for (u32 round = 0; round < ROUNDS; round++) {
        memset(&found, 0, sizeof(found));
        exiting();
        CHECK(found.from_port == 0x5a, "IN read %x", found.from_port);
        CHECK(found.bytes[0] == 0x5a, "INS read %x", found.bytes[0]);
        for (u32 n = 1; n < 4; n++)
            CHECK(found.bytes[n] == output[0], "byte %u of REP INS is %x", n, found.bytes[n]);
        CHECK(found.from_memory == ~0u, "MMIO read %x", found.from_memory);
        for (u32 n = 0; n < 4; n++)
            CHECK(found.words[n] == ~0u, "word %u of REP MOVS is %x", n, found.words[n]);
        CHECK(found.apic_id == 0, "the APIC's id is %x", found.apic_id);
        CHECK((found.apic_base & 0xfffff900) == 0xfee00900, "IA32_APIC_BASE is %x", found.apic_base);
    }
    CHECK(!debug_exceptions, "%lu debug exceptions", debug_exceptions);
    return 0;
}
