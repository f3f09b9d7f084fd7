/* hello: the smallest guest there is: says on both consoles where it runs, marks the trace, and ends. */
#include "runtime/runtime.h"

int main(void)
{
    options_end();
    print("Hello from ring 0: vCPU %u of %u, %lu MiB of memory.\n", this_cpu()->number, boot->vcpus,
          boot->memory_bytes >> 20);
    debug_print("Hello on the debug console.\n");
    marker("hello", boot->vcpus);
    return 0;
}
