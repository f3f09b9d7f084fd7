/*
 * x87.user.c: makes states at random, executes an instruction on each in ring 3, where the processor itself does it on
 * every host, and compares.
 */
#include "x87.h"

struct shared shared = {.seed = 1};

/* ---- states ---- */

static u64 any(void)
{
    shared.seed ^= shared.seed << 13;
    shared.seed ^= shared.seed >> 7;
    shared.seed ^= shared.seed << 17;
    return shared.seed * 0x2545f4914f6cdd1dul;
}

static u64 below(u64 limit) { return (any() >> 11) % limit; }

/* Few bits set, few clear, or anything: results are exact or halfway more often than by chance. */
static u64 digits(void)
{
    switch (below(5)) {
    case 0:
        return 0;
    case 1:
        return ~0ul << below(64);
    case 2:
        return 1ul << below(64) | 1ul << below(64);
    case 3:
        return ~0ul >> below(64);
    default:
        return any();
    }
}

static void make_extended(u64 *significand, u16 *sign_exponent)
{
    const u64 integer_bit = 1ul << 63;
    u16 sign = any() & 0x8000;
    *significand = digits() | integer_bit;
    switch (below(16)) {
    case 0:
        *significand = 0;
        *sign_exponent = sign;
        break;
    case 1: /* denormal, or nearly */
        *significand = digits();
        *sign_exponent = sign;
        break;
    case 2: /* NaN, infinity */
        *sign_exponent = sign | 0x7fff;
        break;
    case 3:
        *significand = integer_bit;
        *sign_exponent = sign | 0x7fff;
        break;
    case 4: /* anything, unsupported encodings too */
        *significand = any();
        *sign_exponent = (u16)any();
        break;
    case 5: /* at the ends of double precision */
        *sign_exponent = sign | (u16)(0x3fff + (below(2) ? 1020 : -1080) + below(64));
        break;
    case 6: /* and of single */
        *sign_exponent = sign | (u16)(0x3fff + (below(2) ? 120 : -152) + below(30));
        break;
    case 7:
        *sign_exponent = sign | (u16)(below(2) ? 1 + below(70) : 0x7ffe - below(70));
        break;
    default:
        *sign_exponent = sign | (u16)(0x3fff - 3 + below(70));
    }
}

static void make_memory(u8 *memory)
{
    u64 words[2] = {any(), any()};
    u16 exponent;
    switch (below(6)) {
    case 0: /* single */
        words[0] = (digits() & 0x7fffff) | (any() & 1) << 31;
        words[0] |= (below(3) ? 127 - 30 + below(60) : below(2) ? 255 : 0) << 23;
        break;
    case 1: /* double */
        words[0] = (digits() & 0xfffffffffffff) | (any() & 1) << 63;
        words[0] |= (below(3) ? 1023 - 60 + below(120) : below(2) ? 2047 : 0) << 52;
        break;
    case 2:
        make_extended(&words[0], &exponent);
        words[1] = exponent;
        break;
    case 3:
        words[0] = below(100) - 50;
        break;
    case 4:
        words[0] = digits();
        break;
    }
    ((u64 *)memory)[0] = words[0];
    ((u64 *)memory)[1] = words[1];
}

static void make(struct test *test)
{
    struct x87 *state = &test->state;
    for (u32 n = 0; n < sizeof(*test) / sizeof(u64); n++)
        ((u64 *)test)[n] = 0;
    u64 top = below(8);
    /* Invalid operations and denormal operands stay masked: without, processors differ in what they leave. */
    state->control = 0x43 | (below(4) ? 0x3f : any() & 0x3f) | (u16)(below(4) << 10);
    state->control |= (u16[]){0, 2, 3, 3}[below(4)] << 8;
    state->status = (u16)(top << 11) | (any() & 0x4700);
    state->mxcsr = 0x1f80;
    /* All registers in use; all but the one that is pushed next; any. */
    state->in_use = below(4) == 0 ? (u8)any() : below(4) == 0 ? 0xff : (u8)~(1u << ((top + 7) % 8));
    for (u32 n = 0; n < 8; n++) {
        make_extended(&state->st[n].significand, &state->st[n].sign_exponent);
        if (n && below(4) == 0)
            state->st[n].sign_exponent = (state->st[0].sign_exponent & 0x7fff) | (any() & 0x8000);
        if (n && below(8) == 0)
            state->st[n].significand = state->st[0].significand;
    }
    make_memory(test->memory);
    test->rflags = 2 | (any() & 0x8d5);
    test->rax = any();
}

/* ---- comparing ---- */

static bool same(enum instruction which, const struct test *a, const struct test *b)
{
    /*
     * Condition codes are defined after a comparison into them, and C1 after most others, but not after FCMOVcc, control
     * instructions and FCOMI: Intel's manual has it cleared by the latter, and AMD's processors leave it alone.
     */
    u16 undefined = 0x4500;
    if (which >= NR_fcom_m32 && which <= NR_fxam)
        undefined = 0;
    if ((which >= NR_fcomi && which <= NR_fucomip) || (which >= NR_fcmovb && which <= NR_fcmovnu) || which >= NR_ffree)
        undefined = 0x4700;
    bool equal = a->state.control == b->state.control && !((a->state.status ^ b->state.status) & ~undefined) &&
                 a->state.in_use == b->state.in_use && a->rax == b->rax && !((a->rflags ^ b->rflags) & 0x8d5);
    for (u32 n = 0; n < 8; n++)
        equal &= a->state.st[n].significand == b->state.st[n].significand &&
                 a->state.st[n].sign_exponent == b->state.st[n].sign_exponent;
    for (u32 n = 0; n < sizeof(a->memory); n++)
        equal &= a->memory[n] == b->memory[n];
    return equal;
}

static void copy(struct test *to, const struct test *from)
{
    for (u32 n = 0; n < sizeof(*to) / sizeof(u64); n++)
        ((u64 *)to)[n] = ((const u64 *)from)[n];
}

static void look_with_one_pending(u64 by)
{
    u16 control = ZERO_DIVIDE_UNMASKED;
    if (by == BY_FWAIT)
        __asm__ volatile(DIVIDE_BY_ZERO "fwait" ::[control] "m"(control));
    else
        __asm__ volatile(DIVIDE_BY_ZERO "fld1" ::[control] "m"(control));
}

void user_main(u64 which, u64 step)
{
    if (step == PENDING)
        look_with_one_pending(which);
    for (u32 n = 0; step != PENDING && n < TESTS; n++) {
        if (step == MAKE) {
            make(&shared.before[n]);
            copy(&shared.here[n], &shared.before[n]);
            copy(&shared.there[n], &shared.before[n]);
            execute((enum instruction)which, &shared.there[n]);
        } else {
            shared.differs[n] = !same((enum instruction)which, &shared.here[n], &shared.there[n]);
        }
    }
    __asm__ volatile("ud2"); /* done */
    __builtin_unreachable();
}
