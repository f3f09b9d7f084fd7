/* trap-forwarding.h: what its two rings agree on. */
#ifndef TRAP_FORWARDING_H
#define TRAP_FORWARDING_H

enum { SYS_ADD, SYS_PRINT, SYS_EXIT };

/* Pages that the process touches: the kernel provides what UNMAPPED lacks, and refuses the others. */
#define UNMAPPED 0x50000000ul /* a page a round; holds its address once it is there */
#define READ_ONLY 0x60000000ul
#define NO_EXECUTE 0x60001000ul
#define SUPERVISOR 0x100000ul /* the kernel's own code */
#define READ_ONLY_CONTENT 0x6f79616d746f6e75ul

/*
 * The process expects a trap: RBX says where to go on. What the kernel does not mend it skips, with RAX = vector,
 * RDX = error code, RCX = CR2 (0 if no page fault).
 */

/* Runs in ring 3; ends with SYS_EXIT and the line of the check that failed, or 0. */
void user_main(u64 calls, u64 rounds);

#endif
