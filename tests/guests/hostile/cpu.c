/* cpu.c: what a guest can do to its own vCPUs: descriptor tables, page tables, debug state, code. */
#include "hostile.h"

struct table_pointer {
    u16 limit;
    u64 base;
} __attribute__((packed));

/* Where what ring 3 runs is mapped. */
#define USER_CODE (USER_START + 0x100000)

static void exit_often(void) { out8(VMSCOPE_PORT_POST, 0); }

/* Nothing, with interrupts off. */
void do_spin(void)
{
    interrupts_off();
    __asm__ volatile("1: jmp 1b");
}

/* IDTs anywhere and of any length, with gates to anywhere. Every second one is good, or the guest would not last. */
void do_idt(void)
{
    struct table_pointer good;
    __asm__ volatile("sidt %0" : "=m"(good));
    for (;;) {
        struct table_pointer bad = {.limit = odd_number(), .base = odd_number()};
        if (random() & 1) {
            bad = (struct table_pointer){.limit = random(), .base = (u64)spoil};
            for (u32 n = 0; n < 4096; n += 8)
                *(u64 *)(spoil + n) = odd_number();
            /* Gates that are there, to handlers anywhere. */
            for (u32 n = 0; n < 4096; n += 16)
                *(u64 *)(spoil + n) = 0x8e0000080000 | (random() & 0xffff00000000ffff);
        }
        TRY("lidt %0", ::"m"(bad));
        exit_often();
        TRY("lidt %0", ::"m"(good));
        exit_often();
        __asm__ volatile("int3");
    }
}

/* GDTs likewise, and selectors from them. */
void do_gdt(void)
{
    struct table_pointer good;
    __asm__ volatile("sgdt %0" : "=m"(good));
    for (;;) {
        for (u32 n = 0; n < 256; n += 8)
            *(u64 *)(spoil + n) = odd_number();
        /* The two that a handler needs stay. */
        *(u64 *)(spoil + KERNEL_CS) = 0x00af9b000000ffff;
        *(u64 *)(spoil + KERNEL_DS) = 0x00cf93000000ffff;
        struct table_pointer bad = {.limit = odd_number() | 0x1f, .base = (u64)spoil};
        __asm__ volatile("lgdt %0" ::"m"(bad));
        exit_often();
        TRY("mov %w0, %%ds", ::"r"(odd_number()));
        TRY("mov %w0, %%es", ::"r"(odd_number()));
        TRY("mov %w0, %%fs", ::"r"(odd_number()));
        TRY("ltr %w0", ::"r"(odd_number() & 0xf8));
        TRY("lldt %w0", ::"r"(odd_number()));
        exit_often();
        __asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"(KERNEL_DS));
        __asm__ volatile("lgdt %0" ::"m"(good));
        if (random() % 4096 == 0) {
            struct table_pointer nowhere = {.limit = random(), .base = random()};
            TRY("lgdt %0", ::"m"(nowhere));
            exit_often();
            TRY("mov %w0, %%ds", ::"r"(KERNEL_DS));
            __asm__ volatile("lgdt %0" ::"m"(good));
        }
    }
}

/* A CR3 that maps nothing. */
void do_cr3(void)
{
    for (u32 n = 0; n < 200; n++) {
        exit_often();
        TRY("mov %0, %%cr3", ::"r"(read_cr3() | (random() & 0xfff)));
    }
    TRY("mov %0, %%cr3", ::"r"(odd_number() & 0x000ffffffffff000));
    exit_often();
    for (;;)
        TRY("mov %0, %%cr3", ::"r"(odd_number()));
}

/* Tables that lead to themselves and to anywhere, under a top level that still finds the guest. */
void do_page_tables(void)
{
    u64 pml4 = frame_alloc();
    *(u64 *)pml4 = *(u64 *)(read_cr3() & PTE_FRAME);
    write_cr3(pml4);
    for (;;) {
        for (u64 n = 1; n < 512; n++)
            *(u64 *)(pml4 + 8 * n) = n % 3 ? odd_number() : pml4 | PTE_PRESENT | PTE_WRITE | PTE_USER;
        write_cr3(pml4);
        exit_often();
        for (u32 n = 0; n < 16; n++) {
            u64 at = (u64)((long)(random() << 16) >> 16), value;
            TRY("mov (%1), %0", : "=r"(value) : "r"(at));
            /* Writes through the loop land in the table itself. */
            TRY("mov %0, (%1)", ::"r"(odd_number()), "r"(at | 0x8000000000) : "memory");
            *(volatile u64 *)pml4 = *(u64 *)pml4;
        }
    }
}

/* A trap after every instruction, those of the handler's way out too. */
void do_trap_flag(void)
{
    for (;;) {
        __asm__ volatile("pushf; orl $0x100, (%%rsp); popf" ::: "cc", "memory");
        for (u32 n = 0; n < 16; n++)
            exit_often();
    }
}

/* Breakpoint registers of its own, on its own code and on what it writes, and random ones. */
void do_debug_registers(void)
{
    for (;;) {
        TRY("mov %0, %%dr0", ::"r"((u64)exit_often));
        TRY("mov %0, %%dr1", ::"r"((u64)spoil));
        TRY("mov %0, %%dr2", ::"r"(odd_number()));
        TRY("mov %0, %%dr3", ::"r"((u64)pass_over));
        TRY("mov %0, %%dr6", ::"r"(odd_number() & 0xffffffff));
        /* An execution breakpoint hits again for ever where the handler does not set RF. Only now and then, then. */
        u64 dr7 = random() % 8 ? 0x000d0004 | (random() & 0x33) << 2 : odd_number();
        TRY("mov %0, %%dr7", ::"r"(dr7));
        *(volatile u64 *)spoil = dr7;
        exit_often();
        TRY("mov %0, %%dr7", ::"r"(0x400ul));
    }
}

/* Breakpoint and interrupt instructions of its own. */
void do_breakpoints(void)
{
    for (;;) {
        __asm__ volatile("int3; int3; int3");
        TRY("int $0x80");
        TRY("int $3");
        TRY("int $1");
        TRY("ud2");
        __asm__ volatile(".byte 0xcd, 0x03");
    }
}

/* Entries for SYSCALL at every address, canonical or not, and selectors for it of all kinds. */
void do_system_call_entry(void)
{
    TRY("wrmsr", ::"a"(0xd01), "d"(0), "c"(0xc0000080)); /* SCE, LME, LMA, NXE */
    for (;;) {
        u64 value = random() % 4 ? odd_number() : (u64)spoil + (random() & 0xfff);
        u32 index = 0xc0000081 + random() % 4;
        TRY("wrmsr", ::"a"((u32)value), "d"((u32)(value >> 32)), "c"(index));
        exit_often();
        *(u64 *)(spoil + (random() & 0xff8)) = random();
    }
}

/* Handlers that are rewritten while they run, from all vCPUs. */
void do_patches(void)
{
    extern u8 trap_stubs[256][16];
    u64 words[256][2];
    memcpy(words, trap_stubs, sizeof(words));
    for (;;) {
        u32 vector = 0x40 + random() % 8;
        volatile u64 *code = (u64 *)trap_stubs[vector];
        /* A breakpoint, an invalid instruction, a jump to itself and half of what was there, for a moment. */
        static const u64 patches[] = {0xcc, 0x0b0f, 0xfeeb, 0x90};
        if (this_cpu()->number == 0) {
            for (u32 n = 0; n < 8; n++) {
                code[0] = patches[random() % 4] | (words[vector][0] & ~0xfffful);
                exit_often();
            }
            code[0] = words[vector][0];
            code[1] = words[vector][1];
        }
        ipi_send(this_cpu()->number, ICR_ASSERT | ICR_FIXED | (0x48 + random() % 8));
        interrupts_on();
        exit_often();
        interrupts_off();
    }
}

/* Random code in ring 3; what it raises starts it anew somewhere else. */
static void start_anew(struct trap_frame *frame)
{
    if (frame->vector >= 32)
        lapic_eoi();
    else if ((frame->cs & 3) == 0 && frame->rip - (u64)soup >= SOUP_BYTES)
        return pass_over(frame);
    u64 *registers = (u64 *)frame;
    for (u32 n = 0; n < 15; n++)
        registers[n] = odd_number();
    bool user = (frame->cs & 3) != 0;
    frame->rip = (user ? USER_CODE : (u64)soup) + random() % SOUP_BYTES;
    frame->rflags = 2 | (random() & 0x244ed5);
    if (user)
        frame->rflags = (frame->rflags & ~0x3000ul) | 0x200;
}

static void soup_handlers(void)
{
    for (u32 vector = 0; vector < 256; vector++)
        trap_handle(vector, start_anew);
}

static void map_for_user(u64 from, u64 bytes)
{
    static u32 mapped;
    if (__atomic_exchange_n(&mapped, 1, __ATOMIC_SEQ_CST) == 0) {
        address_space_start();
        for (u64 at = 0; at < bytes; at += PAGE_SIZE)
            map(USER_CODE + at, from + at, PTE_USER | PTE_WRITE);
    }
}

void do_user_spin(void)
{
    spoil[0] = 0xeb;
    spoil[1] = 0xfe;
    map_for_user((u64)spoil, PAGE_SIZE);
    user_run(USER_CODE, 0, 0);
}

void do_user_soup(void)
{
    map_for_user((u64)soup, SOUP_BYTES);
    soup_handlers();
    user_run(USER_CODE, 0, 0);
}

/* Random code in ring 0. It will not last: the run of a seed ends soon, and the next begins. */
void do_soup(void)
{
    soup_handlers();
    __asm__ volatile("jmp *%0" ::"r"((u64)soup));
}
