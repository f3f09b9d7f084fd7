/*
 * demand-paging: a process in ring 3 has memory that is not there until it touches it. The kernel answers its page
 * faults: with a zeroed frame at the first touch, with a copy when it writes to a page that two mappings share, with a
 * 2 MiB page that is later split into 512 small ones, one of them read-only and one missing. It clears accessed and
 * dirty bits and looks which the processor sets again. In the end the process adds up all that it finds in its memory
 * (demand-paging.user.c); the kernel knows what the sum has to be.
 *
 *   pages=N   (64)
 */
#include "runtime/runtime.h"
#include "demand-paging.h"

#define USER_PAGE (PTE_USER | PTE_NX)
#define PTE_COPY_ON_WRITE (1ul << 9) /* the processor leaves bits 9 to 11 to software */
#define MAX_PAGES 1024

static u64 pages;
static u8 sharers[MAX_PAGES]; /* how many mappings each page's first frame has: in HEAP, in COPY */
static u64 split_frame;       /* where the page went that is missing from LARGE */
static u64 faults, first_touches, copies, repairs, syscalls;

static void flush_tlb(void) { write_cr3(read_cr3()); }

static bool inside(u64 address, u64 region, u64 bytes) { return address >= region && address < region + bytes; }

/* ---- page faults ---- */

static void first_touch(u64 address)
{
    first_touches++;
    if (inside(address, LARGE, LARGE_PAGE_SIZE))
        *large_page_entry(address) = frame_alloc_large() | USER_PAGE | PTE_WRITE | PTE_LARGE | PTE_PRESENT;
    else
        map(address, frame_alloc(), USER_PAGE | PTE_WRITE);
}

/* The last mapping of a frame gets the frame itself, any other a copy. */
static void copy_on_write(u64 address, u64 *entry)
{
    u8 *mappings = &sharers[(address / PAGE_SIZE) % MAX_PAGES];
    u64 frame = *entry & PTE_FRAME;
    if (*mappings > 1) {
        u64 copy = frame_alloc();
        copy_page(copy, frame);
        frame = copy;
        *mappings -= 1;
        copies++;
    }
    *entry = frame | USER_PAGE | PTE_WRITE | PTE_PRESENT;
    invlpg(address);
}

static void repair_split(u64 address, u64 *entry)
{
    repairs++;
    if (!(*entry & PTE_PRESENT))
        *entry = split_frame | USER_PAGE | PTE_WRITE | PTE_PRESENT;
    else
        *entry |= PTE_WRITE;
    invlpg(address);
}

static void on_page_fault(struct trap_frame *frame)
{
    u64 address = read_cr2();
    bool is_heap = inside(address, HEAP, pages * PAGE_SIZE);
    bool is_copy = inside(address, COPY, pages * PAGE_SIZE);
    bool is_large = inside(address, LARGE, LARGE_PAGE_SIZE);
    if (!(frame->error & FAULT_USER) || !(is_heap || is_copy || is_large))
        trap_panic(frame);
    faults++;
    if (is_large && !*large_page_entry(address)) {
        first_touch(address);
        return;
    }
    u64 *entry = page_entry(address);
    u64 expected = *entry & PTE_PRESENT ? FAULT_PRESENT | FAULT_WRITE : 0;
    CHECK((frame->error & (FAULT_PRESENT | (expected & FAULT_WRITE))) == expected, "error code %lx for an entry of %lx",
          frame->error, *entry);
    if (is_large)
        repair_split(address, entry);
    else if (*entry & PTE_COPY_ON_WRITE)
        copy_on_write(address, entry);
    else if (is_heap && !*entry)
        first_touch(address);
    else
        trap_panic(frame);
}

/* ---- system calls ---- */

static void forget_accesses(void)
{
    for (u64 page = 0; page < pages; page++) {
        u64 *entry = page_entry(HEAP + page * PAGE_SIZE);
        CHECK(*entry & PTE_ACCESSED && *entry & PTE_DIRTY, "page %lu was written, its entry is %lx", page, *entry);
        *entry &= ~(PTE_ACCESSED | PTE_DIRTY);
    }
    flush_tlb(); /* what is in the TLB sets no bits */
}

static void compare_accesses(void)
{
    for (u64 page = 0; page < pages; page++) {
        u64 expected = READ_PAGE(page) ? PTE_ACCESSED : WRITTEN_PAGE(page) ? PTE_ACCESSED | PTE_DIRTY : 0;
        u64 entry = *page_entry(HEAP + page * PAGE_SIZE);
        CHECK((entry & (PTE_ACCESSED | PTE_DIRTY)) == expected, "page %lu: entry %lx, not %lx", page, entry, expected);
    }
}

static void share_heap(void)
{
    for (u64 page = 0; page < pages; page++) {
        u64 *entry = page_entry(HEAP + page * PAGE_SIZE);
        *entry = (*entry & ~PTE_WRITE) | PTE_COPY_ON_WRITE;
        *page_entry(COPY + page * PAGE_SIZE) = *entry;
        sharers[page] = 2;
    }
    flush_tlb();
}

static void split_large(void)
{
    u64 *large = large_page_entry(LARGE);
    CHECK(*large & PTE_ACCESSED && *large & PTE_DIRTY, "the large page was written, its entry is %lx", *large);
    u64 frame = *large & PTE_FRAME;
    u64 *table = (u64 *)frame_alloc();
    for (u64 page = 0; page < SMALL_PAGES; page++)
        table[page] = (frame + page * PAGE_SIZE) | USER_PAGE | PTE_WRITE | PTE_PRESENT;
    table[SPLIT_READ_ONLY] &= ~PTE_WRITE;
    table[SPLIT_MISSING] = 0;
    split_frame = frame_alloc();
    copy_page(split_frame, frame + SPLIT_MISSING * PAGE_SIZE);
    *(u64 *)(frame + SPLIT_MISSING * PAGE_SIZE) = 0; /* nobody may find it there any more */
    *large = (u64)table | PTE_USER | PTE_WRITE | PTE_PRESENT;
    flush_tlb();
}

static void on_syscall(struct trap_frame *frame)
{
    syscalls++;
    switch (frame->rax) {
    case SYS_FORGET:
        forget_accesses();
        break;
    case SYS_COMPARE:
        compare_accesses();
        break;
    case SYS_SHARE:
        share_heap();
        break;
    case SYS_SPLIT:
        split_large();
        break;
    case SYS_EXIT:
        user_exit(frame->rdi);
    default:
        fail("system call %lu", frame->rax);
    }
}

/* ---- what has to come out ---- */

/* What the process must find, from the formulas in demand-paging.h alone: HEAP once, COPY three times, LARGE once. */
static u64 checksum(u64 copied, u64 written_in_heap)
{
    u64 heap = WORDS * 1000003 * (pages * (pages + 1) / 2) + pages * (WORDS * (WORDS - 1) / 2);
    u64 large = 7 * (SMALL_PAGES * (SMALL_PAGES - 1) / 2) + 5 * SMALL_PAGES;
    return heap + written_in_heap + 3 * (heap + copied) + large + 2;
}

int main(void)
{
    pages = option("pages", 64, 1, MAX_PAGES);
    options_end();
    trap_handle(PAGE_FAULT, on_page_fault);
    syscall_handle(on_syscall);
    print("demand-paging: %lu pages on demand, then shared; a 2 MiB page, then split\n", pages);

    address_space_start();
    u64 sum = user_run((u64)user_main, pages, 0);

    u64 copied = (pages + 1) / 2, written_in_heap = (pages + 3) / 4;
    u64 expected_faults = pages + 1 + copied + written_in_heap + 2;
    CHECK(sum == checksum(copied, written_in_heap), "the process found %lx", sum);
    CHECK(first_touches == pages + 1, "%lu first touches", first_touches);
    CHECK(copies == copied, "%lu copies", copies);
    CHECK(repairs == 2, "%lu faults on the split page", repairs);
    CHECK(faults == expected_faults, "%lu page faults, not %lu", faults, expected_faults);
    counter("faults", faults);
    counter("first_touches", first_touches);
    counter("copies", copies);
    counter("syscalls", syscalls);
    print("demand-paging: %lu page faults, %lu copies, checksum %lx is right\n", faults, copies, sum);
    return 0;
}
