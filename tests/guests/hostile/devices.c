/* devices.c: what a guest can do to ports, memory that is not there, MSRs and the monitor's devices. */
#include "hostile.h"

/* A write may end the run there, as it should; these are left to `devices`. */
static bool may_end_the_run(u16 port)
{
    return port - 0x5du <= 0x64 - 0x5d || port - 0x8fu <= 0x92 - 0x8f || port - 0xf1u <= 0xf4 - 0xf1 ||
           port - 0x5fdu <= 0x60c - 0x5fd || port - 0xcf6u <= 0xcf9 - 0xcf6;
}

/* Every port, in an order that comes to all parts early, in every width. */
void do_ports(void)
{
    for (u32 n = 0;; n++) {
        u16 port = n * 40503;
        u32 value = odd_number();
        __asm__ volatile("inb %w1, %b0" : "+a"(value) : "d"(port));
        __asm__ volatile("inw %w1, %w0" : "+a"(value) : "d"(port));
        __asm__ volatile("inl %w1, %0" : "+a"(value) : "d"(port));
        if (may_end_the_run(port))
            continue;
        value = odd_number();
        __asm__ volatile("outb %b0, %w1" ::"a"(value), "d"(port));
        __asm__ volatile("outw %w0, %w1" ::"a"(value), "d"(port));
        __asm__ volatile("outl %0, %w1" ::"a"(value), "d"(port));
    }
}

/* Strings of I/O without an end, in both directions. */
void do_strings(void)
{
    for (;;) {
        u16 port = random() & 1 ? random() : random() & 0x3ff;
        u64 count = random() & 1 ? random() & 0xffff : odd_number();
        u64 at = (u64)spoil;
        if (count > SPOIL_BYTES / 4 && random() & 1)
            at = boot->memory_bytes - PAGE_SIZE; /* and on into what is not there */
        else if (count > SPOIL_BYTES / 4)
            count &= SPOIL_BYTES / 4 - 1;
        if (random() & 1 && !may_end_the_run(port)) {
            switch (random() % 3) {
            case 0: TRY("rep outsb", : "+S"(at), "+c"(count) : "d"(port) : "memory"); break;
            case 1: TRY("rep outsw", : "+S"(at), "+c"(count) : "d"(port) : "memory"); break;
            case 2: TRY("rep outsl", : "+S"(at), "+c"(count) : "d"(port) : "memory"); break;
            }
        } else {
            switch (random() % 3) {
            case 0: TRY("rep insb", : "+D"(at), "+c"(count) : "d"(port) : "memory"); break;
            case 1: TRY("rep insw", : "+D"(at), "+c"(count) : "d"(port) : "memory"); break;
            case 2: TRY("rep insl", : "+D"(at), "+c"(count) : "d"(port) : "memory"); break;
            }
        }
    }
}

static void touch(u64 at, bool write)
{
    u64 value = odd_number();
    TRY("movb (%1), %b0", : "+q"(value) : "r"(at));
    TRY("movw (%1), %w0", : "+r"(value) : "r"(at));
    TRY("movl (%1), %k0", : "+r"(value) : "r"(at));
    TRY("movq (%1), %0", : "+r"(value) : "r"(at));
    if (!write)
        return;
    value = odd_number();
    TRY("movb %b0, (%1)", ::"q"(value), "r"(at) : "memory");
    TRY("movw %w0, (%1)", ::"r"(value), "r"(at) : "memory");
    TRY("movl %k0, (%1)", ::"r"(value), "r"(at) : "memory");
    TRY("movq %0, (%1)", ::"r"(value), "r"(at) : "memory");
    TRY("lock xaddl %k0, (%1)", : "+r"(value) : "r"(at) : "memory");
    u64 to = (u64)spoil, from = at, count = 64;
    TRY("rep movsb", : "+S"(from), "+D"(to), "+c"(count)::"memory");
    from = at, to = at + 8, count = 3;
    TRY("rep movsq", : "+S"(from), "+D"(to), "+c"(count)::"memory");
}

/* Memory that is not memory: holes, devices, addresses at the end of what the CPU has. */
void do_mmio(void)
{
    u64 holes[] = {0xa0000, 0xc0000, 0xe0000, boot->memory_bytes, 0xc0000000, 0xd0000000, 0xd0000200,
                   0xfec00000, 0xfed00000, 0xfee00000, 0xfffff000};
    for (u64 n = 0;; n++) {
        u64 hole = holes[random() % (sizeof(holes) / sizeof(*holes))];
        u64 at = hole + (random() & 0xfff);
        /* An ICR write may stop the vCPU for good: that is `apics`. */
        touch(at, hole != 0xfee00000 || at - 0xfee002c0 > 0x60);
        if (n % 8)
            continue;
        /* Far up, through a page table of its own. */
        u64 *entry = large_page_entry(0xc0000000);
        u64 before = *entry;
        *entry = (random() & 0x000fffffffe00000) | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
        invlpg(0xc0000000);
        touch(0xc0000000 + (random() & 0x1fffff), true);
        *entry = before;
        invlpg(0xc0000000);
    }
}

/* Every MSR that there could be: read, written as it is, written with garbage. */
void do_msrs(void)
{
    static const u32 ranges[] = {0, 0x800, 0x40000000, 0x40000080, 0x4b564d00, 0xc0000080, 0xc0000000, 0xc0010000,
                                 0xc0010100, 0xc0011000};
    for (u32 n = 0;; n++) {
        u32 index = ranges[random() % (sizeof(ranges) / sizeof(*ranges))] + random() % (n % 2 ? 0x20 : 0x800);
        u64 value = odd_number();
        u32 low = value, high = value >> 32;
        TRY("rdmsr", : "+a"(low), "+d"(high) : "c"(index));
        /* GS is how this very guest finds what belongs to a vCPU. */
        if (index - 0xc0000101 <= 1)
            continue;
        TRY("wrmsr", ::"a"(low), "d"(high), "c"(index) : "memory");
        TRY("wrmsr", ::"a"((u32)value), "d"((u32)(value >> 32)), "c"(index) : "memory");
        TRY("wrmsr", ::"a"(low), "d"(high), "c"(index) : "memory");
    }
}

extern u8 image_end[];

/* All memory behind the image, over and over. */
void do_memory(void)
{
    for (;;) {
        u64 to = (u64)image_end, count = (boot->memory_bytes - to) / 8;
        __asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(random()) : "memory");
        out8(VMSCOPE_PORT_POST, 0);
    }
}

/* All memory, its own code, stack and page tables too. */
void do_suicide(void)
{
    for (;;) {
        u64 at = random() % boot->memory_bytes & ~7ul;
        if (this_cpu()->number == 0)
            at = at % 0x9000;
        *(volatile u64 *)at = random();
        invlpg(at);
    }
}

/* Output without an end: a byte at a time and in strings, with what terminals take for commands. */
void do_console(void)
{
    static char text[4096];
    for (u32 n = 0; n < sizeof(text); n++)
        text[n] = n % 5 ? (char)random() : "\x1b\x9b\n\x07"[random() % 4];
    for (;;) {
        const char *at = text;
        u64 count = sizeof(text);
        u16 port = random() & 1 ? VMSCOPE_PORT_SERIAL : VMSCOPE_PORT_DEBUG;
        __asm__ volatile("rep outsb" : "+S"(at), "+c"(count) : "d"(port) : "memory");
        for (u32 n = 0; n < 64; n++)
            out8(n & 1 ? VMSCOPE_PORT_SERIAL : VMSCOPE_PORT_DEBUG, text[n]);
    }
}

/* Counters and markers, each of another name; and calls that are none. */
void do_calls(void)
{
    for (;;) {
        struct vmscope_call *call = (struct vmscope_call *)(spoil + (random() & 0xff8));
        *call = (struct vmscope_call){.magic = VMSCOPE_MAGIC, .kind = 1 + random() % 2, .value = odd_number()};
        call->name_length = odd_number();
        for (u32 n = 0; n < sizeof(call->name); n += 8)
            *(u64 *)(call->name + n) = random();
        out32(VMSCOPE_PORT_CALL, (u64)call);
        out32(VMSCOPE_PORT_CALL, odd_number());
        out8(VMSCOPE_PORT_CALL, 1);
    }
}

/* The devices that there are, register after register. Commands that end the run are left out. */
void do_devices(void)
{
    static const u16 ports[] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x60, 0x64, 0x70,
                                0x71, 0x3c0, 0x3d4, 0x3d5, 0x3da, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3ff,
                                0x510, 0x511, 0x600, 0x602, 0x608, 0xcf8, 0xcfc, 0xcfe};
    pics_start();
    for (;;) {
        u16 port = ports[random() % (sizeof(ports) / sizeof(*ports))];
        u16 value = odd_number();
        /* The 8259s' vectors stay above those of exceptions, which this guest takes for such. */
        if ((port & 0xff7e) == 0x20)
            value |= 0x2020;
        switch (random() % 4) {
        case 0: out16(port, port == 0x60 || port == 0x64 ? 0xae20 : value); break;
        case 1: in8(port); break;
        default:
            /* 0xfe and its like pulse the reset line, and 0xd1 makes the next data byte do so. */
            if (port != 0x64 || ((u8)value < 0xf0 && (u8)value != 0xd1))
                out8(port, (u8)value);
        }
        if (random() % 64 == 0)
            interrupts_on();
        if (random() % 64 == 0)
            interrupts_off();
    }
}
