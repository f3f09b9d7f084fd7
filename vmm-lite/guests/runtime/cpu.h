/* cpu.h: what the runtime's own files share. */
#ifndef CPU_H
#define CPU_H

#include "runtime.h"

extern struct cpu cpus[MAX_CPUS];

void idt_fill(void);
void cpu_start(u32 number);
void memory_start(void);

_Static_assert(offsetof(struct cpu, trap_stack) == CPU_TRAP_STACK, "CPU_TRAP_STACK");
_Static_assert(offsetof(struct cpu, user_rsp) == CPU_USER_RSP, "CPU_USER_RSP");
_Static_assert(offsetof(struct cpu, resume_rsp) == CPU_RESUME_RSP, "CPU_RESUME_RSP");

#endif
