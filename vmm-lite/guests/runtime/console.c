/* console.c: output, counters, the end of the run. */
#include "runtime.h"

static void put(char c) { out8(VMSCOPE_PORT_SERIAL, c); }

static void put_number(u64 value, u32 base)
{
    char digits[20];
    u32 length = 0;
    do {
        digits[length++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    while (length)
        put(digits[--length]);
}

static void print_arguments(const char *format, va_list arguments)
{
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        bool is_long = *++format == 'l';
        if (is_long)
            format++;
        switch (*format) {
        case 's':
            for (const char *text = va_arg(arguments, const char *); *text; text++)
                put(*text);
            break;
        case 'c':
            put(va_arg(arguments, int));
            break;
        case 'u':
            put_number(is_long ? va_arg(arguments, u64) : va_arg(arguments, u32), 10);
            break;
        case 'x':
            put('0');
            put('x');
            put_number(is_long ? va_arg(arguments, u64) : va_arg(arguments, u32), 16);
            break;
        default:
            put(*format);
        }
    }
}

void print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_arguments(format, arguments);
    va_end(arguments);
}

void debug_print(const char *text)
{
    while (*text)
        out8(VMSCOPE_PORT_DEBUG, *text++);
}

static void call(enum vmscope_call_kind kind, const char *name, u64 value)
{
    struct vmscope_call call = {.magic = VMSCOPE_MAGIC, .kind = kind, .value = value};
    while (name[call.name_length] && call.name_length < sizeof(call.name)) {
        call.name[call.name_length] = name[call.name_length];
        call.name_length++;
    }
    out32(VMSCOPE_PORT_CALL, (u64)&call); /* the stack is mapped one to one */
}

void counter(const char *name, u64 value) { call(VMSCOPE_CALL_COUNTER, name, value); }
void marker(const char *name, u64 value) { call(VMSCOPE_CALL_MARKER, name, value); }

void finish(u32 status)
{
    out32(VMSCOPE_PORT_EXIT, status);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print("FAILED on vCPU %u: ", this_cpu()->number);
    print_arguments(format, arguments);
    print("\n");
    va_end(arguments);
    finish(1);
}

void *memset(void *to, int value, size_t length)
{
    void *start = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(length) : "a"(value) : "memory");
    return start;
}

void *memcpy(void *to, const void *from, size_t length)
{
    void *start = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length)::"memory");
    return start;
}
