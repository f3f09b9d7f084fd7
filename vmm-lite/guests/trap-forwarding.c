/*
 * trap-forwarding: a process in ring 3 makes system calls, divides by zero, executes privileged and undefined
 * instructions, and touches pages that are missing, read-only, not executable or the kernel's. The processor hands each
 * to the guest's kernel, without the hypervisor: this is that kernel. It mends the missing page, skips the rest and
 * tells the process what it saw; the process (trap-forwarding.user.c) checks that.
 *
 *   calls=N   additions by system call (100)
 *   rounds=N  how often the process goes through all traps (5)
 */
#include "runtime/runtime.h"
#include "trap-forwarding.h"

#define USER_PAGE (PTE_USER | PTE_NX)

static u64 syscalls, divide_errors, invalid_opcodes, general_protections, faults;

static void print_for_user(u64 text, u64 length)
{
    CHECK(text >= USER_START && text < USER_END && length <= USER_END - text, "SYS_PRINT of %lx", text);
    for (u64 i = 0; i < length; i++)
        print("%c", ((const char *)text)[i]);
}

static void on_syscall(struct trap_frame *frame)
{
    syscalls++;
    switch (frame->rax) {
    case SYS_ADD:
        frame->rax = frame->rdi + frame->rsi;
        break;
    case SYS_PRINT:
        print_for_user(frame->rdi, frame->rsi);
        break;
    case SYS_EXIT:
        user_exit(frame->rdi);
    default:
        fail("system call %lu", frame->rax);
    }
}

/* Lets the process go on where it wants to, and tells it what happened. */
static void skip(struct trap_frame *frame, u64 address)
{
    if (frame->cs != USER_CS)
        trap_panic(frame);
    frame->rax = frame->vector;
    frame->rdx = frame->error;
    frame->rcx = address;
    frame->rip = frame->rbx;
}

static void on_divide_error(struct trap_frame *frame)
{
    divide_errors++;
    skip(frame, 0);
}

static void on_invalid_opcode(struct trap_frame *frame)
{
    invalid_opcodes++;
    skip(frame, 0);
}

static void on_general_protection(struct trap_frame *frame)
{
    general_protections++;
    skip(frame, 0);
}

static void on_page_fault(struct trap_frame *frame)
{
    u64 address = read_cr2();
    faults++;
    if (frame->error & FAULT_PRESENT) {
        skip(frame, address);
        return;
    }
    if (frame->cs != USER_CS || address < UNMAPPED || address >= READ_ONLY)
        trap_panic(frame);
    u64 page = frame_alloc();
    *(u64 *)page = address;
    map(address, page, USER_PAGE);
}

static void map_pages(void)
{
    u64 read_only = frame_alloc(), no_execute = frame_alloc();
    *(u64 *)read_only = READ_ONLY_CONTENT;
    *(u8 *)no_execute = 0xc3; /* RET: it would run if it could */
    map(READ_ONLY, read_only, USER_PAGE);
    map(NO_EXECUTE, no_execute, USER_PAGE | PTE_WRITE);
}

int main(void)
{
    u64 calls = option("calls", 100, 0, 1000000);
    u64 rounds = option("rounds", 5, 0, 1000);
    options_end();

    trap_handle(DIVIDE_ERROR, on_divide_error);
    trap_handle(INVALID_OPCODE, on_invalid_opcode);
    trap_handle(GENERAL_PROTECTION, on_general_protection);
    trap_handle(PAGE_FAULT, on_page_fault);
    syscall_handle(on_syscall);
    print("trap-forwarding: %lu system calls, %lu rounds of traps\n", calls, rounds);

    address_space_start();
    map_pages();
    u64 failed_line = user_run((u64)user_main, calls, rounds);

    CHECK(!failed_line, "the check in trap-forwarding.user.c:%lu", failed_line);
    CHECK(syscalls == calls + 5, "%lu system calls, not %lu", syscalls, calls + 5); /* and 3 prints, registers, exit */
    CHECK(divide_errors == rounds, "%lu divide errors", divide_errors);
    CHECK(invalid_opcodes == rounds, "%lu invalid opcodes", invalid_opcodes);
    CHECK(general_protections == 2 * rounds, "%lu general protections", general_protections);
    CHECK(faults == 4 * rounds, "%lu page faults", faults);
    counter("syscalls", syscalls);
    counter("divide_errors", divide_errors);
    counter("invalid_opcodes", invalid_opcodes);
    counter("general_protections", general_protections);
    counter("faults", faults);
    counter("rounds", rounds);
    print("trap-forwarding: %lu system calls, %lu divide errors, %lu invalid opcodes, %lu general protections, %lu page "
          "faults\n",
          syscalls, divide_errors, invalid_opcodes, general_protections, faults);
    return 0;
}
