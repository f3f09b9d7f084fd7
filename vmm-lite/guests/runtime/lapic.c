/* lapic.c: the local APIC, as xAPIC (memory-mapped) or x2APIC (MSRs). */
#include "runtime.h"

#define XAPIC_BASE 0xfee00000ul
#define X2APIC_MSR 0x800
#define MSR_APIC_BASE 0x1b
#define APIC_BASE_X2APIC (1u << 10)

/* Register offsets (SDM vol. 3, table 11-1). */
#define EOI 0x0b0
#define SPURIOUS 0x0f0
#define ICR_LOW 0x300
#define ICR_HIGH 0x310

#define SPURIOUS_ENABLE (1u << 8)
#define SPURIOUS_VECTOR 0xff

static bool is_x2apic;
static u64 sent;

void lapic_choose(bool want_x2apic) { is_x2apic = want_x2apic && boot->flags & VMSCOPE_BOOT_X2APIC; }

static void write(u32 offset, u32 value)
{
    if (is_x2apic)
        write_msr(X2APIC_MSR + (offset >> 4), value);
    else
        *(volatile u32 *)(XAPIC_BASE + offset) = value;
}

void lapic_enable(void)
{
    if (is_x2apic)
        write_msr(MSR_APIC_BASE, read_msr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
    write(SPURIOUS, SPURIOUS_ENABLE | SPURIOUS_VECTOR);
}

/* A virtual local APIC has sent the interrupt when the write is done: no need to poll the delivery status. */
void ipi_send(u32 target, u32 icr_low)
{
    __atomic_add_fetch(&sent, 1, __ATOMIC_SEQ_CST);
    if (is_x2apic) {
        write_msr(X2APIC_MSR + (ICR_LOW >> 4), (u64)target << 32 | icr_low);
        return;
    }
    if (!(icr_low & ICR_ALL_BUT_SELF))
        write(ICR_HIGH, target << 24);
    write(ICR_LOW, icr_low);
}

void lapic_eoi(void) { write(EOI, 0); }

u64 ipis_sent(void) { return __atomic_load_n(&sent, __ATOMIC_SEQ_CST); }
