/*
 * vmscope.h: what a guest can rely on when vmscope boots it. Needs nothing but this header; see ../README.md.
 *
 * ELF64 images are loaded at each segment's p_paddr and entered at e_entry on vCPU 0:
 *   - 64-bit mode, CPL 0, interrupts off, RDI = guest-physical address of struct vmscope_boot;
 *   - RSP = 0x8000, the end of a one-page stack;
 *   - four-level paging; the first 4 GiB are mapped one to one with 2 MiB pages, writable, supervisor only;
 *   - CR0 = PG|WP|NE|ET|MP|PE, CR4 = PAE, EFER = LME|LMA|NXE (SCE and CR4.OSFXSR are the guest's to set);
 *   - a GDT with 64-bit ring-0 code at 0x08 and data at 0x10; TR and LDTR are null, the IDT is empty.
 * Below 1 MiB the monitor uses 0x500 (GDT), 0x600 (boot info), 0x1000 to 0x6fff (page tables) and 0x7000 to 0x7fff
 * (stack) until the guest has its own; 0x8000 to 0x9efff is free. Memory is [0, memory_bytes), what lies beyond is
 * unbacked: an access exits to the monitor, a read gives all ones.
 *
 * The other vCPUs wait for INIT and SIPI, as on hardware. Local APICs are at 0xfee00000 and vCPU n has APIC id n.
 *
 * Flat images are loaded at 0x7c00 and entered there in 16-bit real mode: CS = DS = ES = SS = 0, SP = 0x7c00,
 * interrupts off, AX = BX = CX = DX = 0.
 */
#ifndef VMSCOPE_H
#define VMSCOPE_H

/* Ports. */
#define VMSCOPE_PORT_SERIAL 0x3f8 /* 16550; takes a byte at any time */
#define VMSCOPE_PORT_DEBUG 0xe9   /* debug console: one byte out */
#define VMSCOPE_PORT_EXIT 0xf4    /* the value written ends the run and is its exit status; 0 is success */
#define VMSCOPE_PORT_POST 0x80    /* exits, does nothing */
#define VMSCOPE_PORT_CALL 0x5650  /* 32 bits out: guest-physical address of a struct vmscope_call */

#define VMSCOPE_MAGIC 0x43534d56 /* the bytes "VMSC" */
#define VMSCOPE_VERSION 1

#ifndef __ASSEMBLER__
#include <stdint.h>

#define VMSCOPE_BOOT_X2APIC (1u << 0) /* flags: x2APIC mode may be switched on */

/* The boot info. */
struct vmscope_boot {
    uint32_t magic;   /* VMSCOPE_MAGIC */
    uint32_t version; /* VMSCOPE_VERSION */
    uint32_t vcpus;   /* 1 to 16 */
    uint32_t flags;   /* VMSCOPE_BOOT_... */
    uint64_t memory_bytes;
    uint64_t tsc_khz; /* 0: unknown */
    uint32_t command_line_length;
    uint32_t reserved;
    char command_line[512]; /* key=value words, NUL-terminated */
};

enum vmscope_call_kind {
    VMSCOPE_CALL_COUNTER = 1, /* a count that the guest keeps about itself; the latest value of a name counts */
    VMSCOPE_CALL_MARKER = 2,  /* a mark in the trace */
};

/* What VMSCOPE_PORT_CALL takes. */
struct vmscope_call {
    uint32_t magic; /* VMSCOPE_MAGIC */
    uint16_t kind;  /* enum vmscope_call_kind */
    uint16_t name_length;
    uint64_t value;
    char name[48]; /* need not end in NUL */
};

_Static_assert(sizeof(struct vmscope_boot) == 40 + 512, "boot info layout");
_Static_assert(sizeof(struct vmscope_call) == 64, "call layout");

#endif
#endif
