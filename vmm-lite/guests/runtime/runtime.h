/* runtime.h: the little kernel under the built-in guests. A guest defines main(); the run ends with what it returns. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include "vmscope.h"

/* Selectors, in the order that SYSCALL and SYSRET want (SDM vol. 3, 5.8.8). */
#define KERNEL_CS 0x08
#define KERNEL_DS 0x10
#define USER_DS 0x23 /* index 4, RPL 3 */
#define USER_CS 0x2b /* index 5, RPL 3 */
#define TSS_SELECTOR 0x30

/* Where ring 3's stack ends, and what is the guest's to map. */
#define USER_END 0x80000000

/* Offsets into struct cpu for assembly. */
#define CPU_TRAP_STACK 8
#define CPU_USER_RSP 16
#define CPU_RESUME_RSP 24

/* Where the other vCPUs start: SIPI vector 0x08 means guest-physical 0x8000. */
#define TRAMPOLINE 0x8000

#ifndef __ASSEMBLER__
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define MAX_CPUS 16
#define PAGE_SIZE 4096ul
#define LARGE_PAGE_SIZE (2ul << 20)

int main(void);

/* The monitor's boot info. */
extern const struct vmscope_boot *boot;

/* ---- console.c: output, counters, the end of the run ---- */

/* Formats to the serial console: %s %c %u %lu %x %lx %%. Meant for one vCPU at a time. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Writes to the debug console (port 0xe9). */
void debug_print(const char *text);
/* Reports a count that the guest keeps about itself. */
void counter(const char *name, u64 value);
/* Puts a mark into the trace. */
void marker(const char *name, u64 value);
/* Ends the run. */
_Noreturn void finish(u32 status);
/* Says what went wrong and ends the run with status 1. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define CHECK(condition, ...) ((condition) ? (void)0 : fail(__VA_ARGS__))

/* The compiler may call these too. */
void *memset(void *to, int value, size_t length);
void *memcpy(void *to, const void *from, size_t length);

/* ---- command_line.c: key=value words ---- */

/* The number after "key=", or `fallback`. What is not a number between `low` and `high` ends the run. */
u64 option(const char *key, u64 fallback, u64 low, u64 high);
/* The index in `choices` (NULL-terminated) of the word after "key=", or 0. Another word ends the run. */
u32 option_choice(const char *key, const char *const *choices);
/* Ends the run if the command line has a word that nobody asked for. */
void options_end(void);

/* ---- cpu.c: descriptor tables, traps ---- */

struct trap_frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    u64 vector, error; /* pushed by the stub; error is 0 for vectors without an error code */
    u64 rip, cs, rflags, rsp, ss;
};

enum { DIVIDE_ERROR = 0, INVALID_OPCODE = 6, GENERAL_PROTECTION = 13, PAGE_FAULT = 14 };

/* Page-fault error code (SDM vol. 3, 4.7). */
#define FAULT_PRESENT (1u << 0)
#define FAULT_WRITE (1u << 1)
#define FAULT_USER (1u << 2)
#define FAULT_FETCH (1u << 4)

struct tss {
    u32 reserved0;
    u64 rsp[3];
    u64 reserved1, ist[7], reserved2;
    u16 reserved3, io_map;
} __attribute__((packed));

/* What each vCPU has of its own. GS points to it in the kernel. */
struct cpu {
    struct cpu *self;
    u64 trap_stack; /* end of the stack for traps and system calls from ring 3; also in the TSS */
    u64 user_rsp;   /* ring 3's RSP while the system call entry changes stacks */
    u64 resume_rsp; /* where user_run() waits for user_exit() */
    u32 number;     /* vCPU number, and APIC id */
    u32 online;
    struct tss tss;
    u64 gdt[8];
};

/* The vCPU that this runs on. */
static inline struct cpu *this_cpu(void)
{
    struct cpu *cpu;
    __asm__ volatile("mov %%gs:0, %0" : "=r"(cpu));
    return cpu;
}

typedef void (*trap_handler)(struct trap_frame *frame);

/* Calls `handler` for every trap or interrupt of a vector. Without one a trap ends the run. */
void trap_handle(u8 vector, trap_handler handler);
/* Lets ring 3 use SYSCALL: `handler` finds the registers in the frame, and answers in frame->rax. */
void syscall_handle(trap_handler handler);
/* Prints a trap that nobody expected and ends the run with status 0x60 + vector. */
_Noreturn void trap_panic(const struct trap_frame *frame);
/* Runs `entry(first, second)` in ring 3 until something calls user_exit(), and returns what that was given. */
u64 user_run(u64 entry, u64 first, u64 second);
_Noreturn void user_exit(u64 value);

/* ---- lapic.c, smp.c: interprocessor interrupts, the other vCPUs ---- */

/* Interrupt command register (SDM vol. 3, 11.6.1). */
#define ICR_FIXED (0u << 8)
#define ICR_INIT (5u << 8)
#define ICR_STARTUP (6u << 8)
#define ICR_ASSERT (1u << 14)
#define ICR_ALL_BUT_SELF (3u << 18)

/* For all vCPUs, before smp_start(): x2APIC mode if the monitor offers it, or xAPIC, which there always is. */
void lapic_choose(bool want_x2apic);
/* Switches this vCPU's local APIC on. */
void lapic_enable(void);
/* Writes the ICR; `target` is an APIC id, ignored with a shorthand. */
void ipi_send(u32 target, u32 icr_low);
/* Acknowledges the interrupt in service. */
void lapic_eoi(void);
/* How often the ICR was written, by any vCPU. */
u64 ipis_sent(void);
/* Starts vCPUs 1 to boot->vcpus - 1, one after another; each runs `entry` with interrupts off. */
void smp_start(void (*entry)(void));

/* ---- memory.c: frames and page tables; for the boot vCPU only ---- */

#define PTE_PRESENT (1ul << 0)
#define PTE_WRITE (1ul << 1)
#define PTE_USER (1ul << 2)
#define PTE_ACCESSED (1ul << 5)
#define PTE_DIRTY (1ul << 6)
#define PTE_LARGE (1ul << 7)
#define PTE_NX (1ul << 63)
#define PTE_FRAME 0x000ffffffffff000ul

/* Virtual addresses from here to USER_END are the guest's to map; the rest of the first 4 GiB is one to one. */
#define USER_START 0x40000000ul

/* A zeroed frame's address, physical and virtual. */
u64 frame_alloc(void);
/* Zeroed, 2 MiB, aligned to as much. */
u64 frame_alloc_large(void);
void frame_free(u64 frame);
/* Makes page tables in which USER_START to USER_END is free, puts ring 3's code, data and stack there, loads CR3. */
void address_space_start(void);
/* The lowest existing entry that maps `address`: of a 2 MiB page, or in a page table made where none is. */
u64 *page_entry(u64 address);
/* The entry of a 2 MiB page: of the page directory. */
u64 *large_page_entry(u64 address);
/* Maps one 4 KiB page. */
void map(u64 address, u64 frame, u64 flags);
void copy_page(u64 to, u64 from);

/* ---- instructions ---- */

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port) : "memory"); }
static inline void interrupts_on(void) { __asm__ volatile("sti" ::: "memory"); }
static inline void interrupts_off(void) { __asm__ volatile("cli" ::: "memory"); }
static inline void pause(void) { __asm__ volatile("pause" ::: "memory"); }
/* Turns interrupts on and sleeps until one comes; none slips in between (STI's shadow). */
static inline void interrupts_on_and_halt(void) { __asm__ volatile("sti; hlt" ::: "memory"); }
static inline void invlpg(u64 address) { __asm__ volatile("invlpg (%0)" ::"r"(address) : "memory"); }
static inline u64 read_cr2(void)
{
    u64 value;
    __asm__ volatile("mov %%cr2, %0" : "=r"(value));
    return value;
}
static inline u64 read_cr3(void)
{
    u64 value;
    __asm__ volatile("mov %%cr3, %0" : "=r"(value));
    return value;
}
static inline void write_cr3(u64 value) { __asm__ volatile("mov %0, %%cr3" ::"r"(value) : "memory"); }
static inline u64 read_msr(u32 index)
{
    u32 low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return (u64)high << 32 | low;
}
static inline void write_msr(u32 index, u64 value)
{
    __asm__ volatile("wrmsr" ::"c"(index), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

#endif
#endif
