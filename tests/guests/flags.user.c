/* flags.user.c: the same in ring 3, and SYSCALL, which saves RFLAGS in R11. */
#include "flags.h"
#include "runtime/user.h"

void user_flags(void);

struct kept user_kept __attribute__((used));

/* A system call that does nothing. */
FLAGS("user", "xor %eax, %eax\n" NAMED("user_syscall", "syscall"));

void user_main(u64 first, u64 second)
{
    (void)first;
    (void)second;
    user_flags();
    syscall(1, (u64)&user_kept, 0);
}
