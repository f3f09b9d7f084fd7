/*
 * flags: saves RFLAGS in every way that there is, in ring 0 and in ring 3, and loads them. The trap flag is in them when
 * the guest has set it itself, and traps; a debugger that steps with it must not show.
 */
#include "flags.h"
#include "runtime/runtime.h"

#define ROUNDS 4
#define DEBUG 1
#define BREAKPOINT 3
#define SOFTWARE 0x41

void kernel_flags(void), stepped(void);
void user_main(u64 first, u64 second);

struct kept kernel_kept __attribute__((used));
static u64 traps, leaks;

FLAGS("kernel", NAMED("kernel_int3", "int3") NAMED("kernel_int", "int $0x41") NAMED("kernel_sti", "sti") NAMED("kernel_after_sti", "nop") "cli\n");

/* From here on tests step. */
__attribute__((noinline)) void stepped(void) { __asm__ volatile("nop"); }

static void on_debug(struct trap_frame *frame)
{
    (void)frame;
    traps++;
}

static void look(struct trap_frame *frame)
{
    if (frame->rflags & TRAP_FLAG && !leaks++)
        print("the trap flag is in the frame of vector %lu at %lx\n", frame->vector, frame->rip);
}

static void on_invalid_opcode(struct trap_frame *frame)
{
    look(frame);
    frame->rip += 2;
}

/* Ring 3 tells what it found. */
static void on_syscall(struct trap_frame *frame)
{
    const struct kept *kept = (const struct kept *)frame->rdi;
    look(frame);
    if (frame->rax)
        user_exit((u64)kept);
}

static void check(const char *ring, const struct kept *kept)
{
    CHECK(!(kept->pushf & TRAP_FLAG), "%s: PUSHFQ saved %lx\n", ring, kept->pushf);
    CHECK(!(kept->pushfw & TRAP_FLAG), "%s: PUSHFW saved %lx\n", ring, kept->pushfw);
    CHECK(kept->own_pushf & TRAP_FLAG, "%s: PUSHFQ saved %lx under its own trap flag\n", ring, kept->own_pushf);
    CHECK(!leaks, "%s: %lu times the trap flag leaked\n", ring, leaks);
}

int main(void)
{
    options_end();
    trap_handle(DEBUG, on_debug);
    trap_handle(BREAKPOINT, look);
    trap_handle(INVALID_OPCODE, on_invalid_opcode);
    trap_handle(SOFTWARE, look);
    syscall_handle(on_syscall);
    address_space_start();
    marker("ready", 0); /* an exit: handlers are found at exits */
    u64 expected[2] = {0, 0};
    for (u32 round = 0; round < ROUNDS; round++) {
        if (round == 1)
            stepped();
        for (u32 ring = 0; ring < 2; ring++) {
            static const char *const names[] = {"ring 0", "ring 3"};
            struct kept *kept = &kernel_kept;
            traps = 0;
            if (ring)
                kept = (struct kept *)user_run((u64)user_main, 0, 0);
            else
                kernel_flags();
            check(names[ring], kept);
            /* What the trap flag does without a debugger is what it must do with one. */
            if (!round)
                expected[ring] = traps;
            CHECK(traps == expected[ring], "%s: %lu traps, not %lu\n", names[ring], traps, expected[ring]);
        }
    }
    counter("kernel traps", expected[0]);
    counter("user traps", expected[1]);
    return 0;
}
