/* typing: echoes what is typed. Bytes from the serial port go back there in brackets; letters and Enter from the
 * keyboard go to the text screen. Ctrl-D (4) on the serial port ends the run, F10 on the keyboard too. */
#include "runtime/runtime.h"

#define LINE_STATUS (VMSCOPE_PORT_SERIAL + 5)
#define KEYBOARD_DATA 0x60
#define KEYBOARD_STATUS 0x64
#define DATA_READY 1
#define F10 0x44
#define COLUMNS 80

static u8 in(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void out(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }

/* Scan code set 1, as far as it has letters. */
static char letter(u8 code)
{
    static const char rows[] = "qwertyuiop\0\0\0\0asdfghjkl\0\0\0\0\0zxcvbnm";
    u32 n = code - 0x10u;
    return n < sizeof(rows) ? rows[n] : 0;
}

static void set_crt(u8 number, u8 value)
{
    out(0x3d4, number);
    out(0x3d5, value);
}

static u32 at;

static void put(u16 cell)
{
    volatile u16 *text = (volatile u16 *)0xb8000;
    text[at++ % (COLUMNS * 25)] = cell;
    set_crt(0x0e, at >> 8);
    set_crt(0x0f, at & 0xff);
}

static void put_text(const char *text)
{
    while (*text)
        put(0x1f00 | *text++);
}

int main(void)
{
    print("type here\n");
    put_text("screen: ");
    for (;;) {
        if (in(LINE_STATUS) & DATA_READY) {
            u8 byte = in(VMSCOPE_PORT_SERIAL);
            if (byte == 4)
                return 0;
            print("[%x]", byte);
            if (byte == '\r')
                print("\n");
        }
        if (in(KEYBOARD_STATUS) & DATA_READY) {
            u8 code = in(KEYBOARD_DATA);
            if (code == F10)
                return 0;
            if (letter(code))
                put(0x4e00 | letter(code));
        }
        /* About a millisecond where ring 0 is emulated. */
        for (u32 n = 0; n < 500; n++)
            __asm__ volatile("pause");
    }
}
