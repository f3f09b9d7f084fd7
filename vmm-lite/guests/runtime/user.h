/* user.h: what code in ring 3 has; it can call nothing of the runtime. */
#ifndef USER_H
#define USER_H

#include "runtime.h"

static inline u64 syscall(u64 number, u64 first, u64 second)
{
    u64 result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(first), "S"(second) : "rcx", "r11", "memory");
    return result;
}

#endif
