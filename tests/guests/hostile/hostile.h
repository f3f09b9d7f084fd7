/* hostile.h: what the files of the hostile guest share. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "runtime/runtime.h"

#define SOUP_BYTES 65536
#define SPOIL_BYTES 65536

extern u8 soup[SOUP_BYTES], spoil[SPOIL_BYTES];

u64 random(void);
u64 odd_number(void);
void handle_all(void);
void pass_over(struct trap_frame *frame);
void acknowledge(struct trap_frame *frame);

/* Executes `code`; after a fault the rest of it is left out. */
#define TRY(code, ...)                                                                                                 \
    __asm__ volatile("66:\n\t" code "\n77:\n\t.pushsection fixups, \"a\"\n\t.quad 66b, 77b\n\t.popsection" __VA_ARGS__)

static inline void out16(u16 port, u16 value) { __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port)); }
static inline u8 in8(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

void pics_start(void);

void do_ports(void);
void do_strings(void);
void do_mmio(void);
void do_msrs(void);
void do_memory(void);
void do_suicide(void);
void do_spin(void);
void do_self_ipi(void);
void do_unanswered_ipi(void);
void do_ipi_storm(void);
void do_nmi_storm(void);
void do_init_storm(void);
void do_console(void);
void do_calls(void);
void do_idt(void);
void do_gdt(void);
void do_cr3(void);
void do_page_tables(void);
void do_trap_flag(void);
void do_debug_registers(void);
void do_breakpoints(void);
void do_system_call_entry(void);
void do_patches(void);
void do_timers(void);
void do_timers_unheard(void);
void do_devices(void);
void do_apics(void);
void do_halt(void);
void do_start_up(void);
void do_user_spin(void);
void do_user_soup(void);
void do_soup(void);
void do_read_modify_write(void);

#endif
