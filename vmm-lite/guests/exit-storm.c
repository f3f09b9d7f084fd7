/*
 * exit-storm: nothing but VM exits, in a fixed rotation: a port write, an MMIO write, an MMIO read. For measuring what
 * an exit costs, and what recording it costs. A write carries the number of turns still to come, so that a trace shows
 * at once if one is missing.
 *
 *   count=N   accesses (100000)
 *   mix=all | port | mmio-write | mmio-read
 */
#include "runtime/runtime.h"

#define UNBACKED 0xe0000000ul

#define PORT_WRITE "outb %%al, %[port]\n"
#define MMIO_WRITE "movl %%eax, (%[mmio])\n"
#define MMIO_READ "andl (%[mmio]), %[read]\n"

/* Repeats `accesses` with `left` counting down to 0 in EAX; two instructions a turn are all it takes. */
#define REPEAT(accesses)                                                                                              \
    __asm__ volatile("1:\n" accesses "decl %%eax\n jnz 1b\n"                                                          \
                     : "+a"(left), [read] "+r"(read)                                                                  \
                     : [port] "i"(VMSCOPE_PORT_POST), [mmio] "r"(UNBACKED)                                            \
                     : "memory", "cc")

enum mix { ALL, PORT, WRITE, READ };
static const char *const mixes[] = {"all", "port", "mmio-write", "mmio-read", NULL};

int main(void)
{
    u64 count = option("count", 100000, 3, 4000000000);
    enum mix mix = option_choice("mix", mixes);
    options_end();
    print("exit-storm: %lu accesses, %s\n", count, mixes[mix]);

    u32 left = mix == ALL ? count / 3 : count; /* turns */
    u32 read = ~0u;                            /* AND of everything read */
    u64 turns = left, port_writes = 0, mmio_writes = 0, mmio_reads = 0;
    marker("storm begins", count);
    switch (mix) {
    case ALL:
        REPEAT(PORT_WRITE MMIO_WRITE MMIO_READ);
        port_writes = mmio_writes = mmio_reads = turns;
        break;
    case PORT:
        REPEAT(PORT_WRITE);
        port_writes = turns;
        break;
    case WRITE:
        REPEAT(MMIO_WRITE);
        mmio_writes = turns;
        break;
    case READ:
        REPEAT(MMIO_READ);
        mmio_reads = turns;
        break;
    }
    /* What the rotation leaves over. */
    for (u64 rest = count - port_writes - mmio_writes - mmio_reads; rest; rest--) {
        out8(VMSCOPE_PORT_POST, rest);
        port_writes++;
    }
    marker("storm ends", count);

    CHECK(read == ~0u, "unbacked memory reads as ones, not %x", read);
    counter("port_writes", port_writes);
    counter("mmio_writes", mmio_writes);
    counter("mmio_reads", mmio_reads);
    print("exit-storm: %lu port writes, %lu MMIO writes, %lu MMIO reads\n", port_writes, mmio_writes, mmio_reads);
    return 0;
}
