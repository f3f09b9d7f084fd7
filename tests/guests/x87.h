/* x87.h: x87 instructions, each on a state of its own: compiled for ring 0 and for ring 3. */
#ifndef X87_H
#define X87_H

#include "runtime/runtime.h"

/* As FXSAVE has it (SDM vol. 1, table 10-2). */
struct x87 {
    u16 control, status;
    u8 in_use, reserved0;
    u16 opcode;
    u64 instruction, operand;
    u32 mxcsr, mxcsr_mask;
    struct {
        u64 significand;
        u16 sign_exponent, reserved[3];
    } st[8];
    u8 sse[512 - 160];
} __attribute__((aligned(16)));

struct test {
    struct x87 state;
    u8 memory[16] __attribute__((aligned(16)));
    u64 rflags, rax;
};

/* %rdi is the address of `memory`. */
#define INSTRUCTIONS(X)                                                                                                \
    X(fld_m32, "flds (%%rdi)") X(fld_m64, "fldl (%%rdi)") X(fld_m80, "fldt (%%rdi)") X(fld_st, "fld %%st(3)")          \
    X(fild_m16, "filds (%%rdi)") X(fild_m32, "fildl (%%rdi)") X(fild_m64, "fildll (%%rdi)")                            \
    X(fst_m32, "fsts (%%rdi)") X(fst_m64, "fstl (%%rdi)") X(fst_st, "fst %%st(2)")                                     \
    X(fstp_m32, "fstps (%%rdi)") X(fstp_m64, "fstpl (%%rdi)") X(fstp_m80, "fstpt (%%rdi)") X(fstp_st, "fstp %%st(1)")  \
    X(fist_m16, "fists (%%rdi)") X(fist_m32, "fistl (%%rdi)") X(fistp_m16, "fistps (%%rdi)")                           \
    X(fistp_m32, "fistpl (%%rdi)") X(fistp_m64, "fistpll (%%rdi)")                                                     \
    X(fisttp_m16, "fisttps (%%rdi)") X(fisttp_m32, "fisttpl (%%rdi)") X(fisttp_m64, "fisttpll (%%rdi)")                \
    X(fldz, "fldz") X(fld1, "fld1") X(fldpi, "fldpi") X(fldl2t, "fldl2t") X(fldl2e, "fldl2e") X(fldlg2, "fldlg2")      \
    X(fldln2, "fldln2")                                                                                                \
    X(fadd_m32, "fadds (%%rdi)") X(fadd_m64, "faddl (%%rdi)") X(fiadd_m16, "fiadds (%%rdi)")                           \
    X(fiadd_m32, "fiaddl (%%rdi)") X(fsub_m32, "fsubs (%%rdi)") X(fsubr_m64, "fsubrl (%%rdi)")                         \
    X(fisub_m32, "fisubl (%%rdi)") X(fisubr_m16, "fisubrs (%%rdi)") X(fmul_m32, "fmuls (%%rdi)")                       \
    X(fmul_m64, "fmull (%%rdi)") X(fimul_m32, "fimull (%%rdi)") X(fdiv_m32, "fdivs (%%rdi)")                           \
    X(fdiv_m64, "fdivl (%%rdi)") X(fdivr_m32, "fdivrs (%%rdi)") X(fidiv_m16, "fidivs (%%rdi)")                         \
    X(fidivr_m32, "fidivrl (%%rdi)")                                                                                   \
    X(fadd, ".byte 0xd8, 0xc1") X(fadd_to, ".byte 0xdc, 0xc1") X(faddp, ".byte 0xde, 0xc1")                            \
    X(fsub, ".byte 0xd8, 0xe1") X(fsub_to, ".byte 0xdc, 0xe9") X(fsubp, ".byte 0xde, 0xe9")                            \
    X(fsubr, ".byte 0xd8, 0xe9") X(fsubr_to, ".byte 0xdc, 0xe1") X(fsubrp, ".byte 0xde, 0xe1")                         \
    X(fmul, ".byte 0xd8, 0xc9") X(fmul_self, ".byte 0xd8, 0xc8") X(fmul_to, ".byte 0xdc, 0xc9")                        \
    X(fmulp, ".byte 0xde, 0xc9") X(fdiv, ".byte 0xd8, 0xf1") X(fdiv_to, ".byte 0xdc, 0xf9")                            \
    X(fdivp, ".byte 0xde, 0xf9") X(fdivr, ".byte 0xd8, 0xf9") X(fdivr_to, ".byte 0xdc, 0xf1")                          \
    X(fdivrp, ".byte 0xde, 0xf1")                                                                                      \
    X(fchs, "fchs") X(fabs, "fabs") X(fsqrt, "fsqrt") X(frndint, "frndint") X(fxch, "fxch %%st(2)")                    \
    X(fcom_m32, "fcoms (%%rdi)") X(fcomp_m64, "fcompl (%%rdi)") X(ficom_m16, "ficoms (%%rdi)")                         \
    X(ficomp_m32, "ficompl (%%rdi)") X(fcom, "fcom %%st(1)") X(fcomp, "fcomp %%st(1)") X(fcompp, "fcompp")             \
    X(fucom, "fucom %%st(1)") X(fucomp, "fucomp %%st(1)") X(fucompp, "fucompp") X(fcomi, "fcomi %%st(1), %%st")        \
    X(fcomip, "fcomip %%st(1), %%st") X(fucomi, "fucomi %%st(1), %%st") X(fucomip, "fucomip %%st(1), %%st")            \
    X(ftst, "ftst") X(fxam, "fxam")                                                                                    \
    X(fcmovb, "fcmovb %%st(1), %%st") X(fcmove, "fcmove %%st(1), %%st") X(fcmovbe, "fcmovbe %%st(1), %%st")            \
    X(fcmovu, "fcmovu %%st(1), %%st") X(fcmovnb, "fcmovnb %%st(1), %%st") X(fcmovne, "fcmovne %%st(1), %%st")          \
    X(fcmovnbe, "fcmovnbe %%st(1), %%st") X(fcmovnu, "fcmovnu %%st(1), %%st")                                          \
    X(fincstp, "fincstp") X(fdecstp, "fdecstp") X(ffree, "ffree %%st(1)") X(fnop, "fnop") X(fnclex, "fnclex")          \
    X(fninit, "fninit") X(fnstsw, "fnstsw %%ax") X(fnstsw_m16, "fnstsw (%%rdi)") X(fnstcw, "fnstcw (%%rdi)")           \
    X(fldcw, "fldcw (%%rdi)") X(emms, "emms")                                                                          \
    X(fadd_fwait, ".byte 0xd8, 0xc1; fnclex; fwait")

enum instruction {
#define ENTRY(name, code) NR_##name,
    INSTRUCTIONS(ENTRY)
#undef ENTRY
    NR_INSTRUCTIONS
};

static inline void execute(enum instruction which, struct test *test)
{
    switch (which) {
#define ENTRY(name, code)                                                                                              \
    case NR_##name:                                                                                                    \
        __asm__ volatile("fxrstorq %[state]\n\tpush %[rflags]\n\tpopfq\n\t" code                                       \
                         "\n\tpushfq\n\tpop %[rflags]\n\tfxsaveq %[state]"                                             \
                         : [state] "+m"(test->state), [rflags] "+r"(test->rflags), "+a"(test->rax)                     \
                         : "D"(test->memory)                                                                           \
                         : "memory", "cc");                                                                            \
        break;
        INSTRUCTIONS(ENTRY)
#undef ENTRY
    default:
        break;
    }
}

/* What both rings see. */
#define TESTS 64
struct shared {
    struct test before[TESTS], here[TESTS] /* in ring 0 */, there[TESTS] /* in ring 3 */;
    bool differs[TESTS];
    u64 seed;
};
extern struct shared shared;

#define FLOATING_POINT 16

/* Leaves an exception pending under a control word that does not mask divisions by zero. */
#define ZERO_DIVIDE_UNMASKED 0x037b
#define DIVIDE_BY_ZERO "fninit; fldcw %[control]; fld1; fldz; .byte 0xde, 0xf9; "

/*
 * In ring 3, where everything is faster: makes states and executes the instruction there, and compares; or executes one
 * with an exception pending. Ends with #UD, unless that raises something.
 */
enum { MAKE, COMPARE, PENDING };
enum { BY_FWAIT, BY_FLD1 };
void user_main(u64 which, u64 step);

#endif
