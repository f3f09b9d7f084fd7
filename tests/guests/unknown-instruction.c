/* unknown-instruction: arithmetic in SSE registers in ring 0, which emulators of ring 0 lack. */
#include "runtime/runtime.h"

static __attribute__((noinline)) void add_vectors(void) { __asm__ volatile("addps %%xmm1, %%xmm0" ::: "memory"); }

int main(void)
{
    u64 cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" ::"r"(cr4 | 1 << 9)); /* OSFXSR */
    add_vectors();
    return 0;
}
