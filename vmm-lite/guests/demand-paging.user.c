/* demand-paging.user.c: the process: uses memory as if all of it were there, and adds up what it finds in the end. */
#include "runtime/user.h"
#include "demand-paging.h"

static volatile u64 *word(u64 region, u64 page, u64 index) { return (u64 *)(region + page * PAGE_SIZE) + index; }

/* Every other page is read first: memory that was never written is zero. What is not adds to the sum. */
static u64 fill_heap(u64 pages)
{
    u64 garbage = 0;
    for (u64 page = 0; page < pages; page++) {
        if (page % 2)
            garbage += *word(HEAP, page, page % WORDS);
        for (u64 i = 0; i < WORDS; i++)
            *word(HEAP, page, i) = HEAP_WORD(page, i);
    }
    return garbage;
}

static void touch_some(u64 pages)
{
    for (u64 page = 0; page < pages; page++) {
        if (READ_PAGE(page))
            (void)*word(HEAP, page, 0);
        if (WRITTEN_PAGE(page))
            *word(HEAP, page, 0) = HEAP_WORD(page, 0);
    }
}

static void write_shared(u64 pages)
{
    for (u64 page = 0; page < pages; page++)
        if (WRITTEN_IN_COPY(page))
            *word(COPY, page, 0) += 1;
    for (u64 page = 0; page < pages; page++)
        if (WRITTEN_IN_HEAP(page))
            *word(HEAP, page, 0) += 1;
}

static void use_large(void)
{
    for (u64 page = 0; page < SMALL_PAGES; page++)
        *word(LARGE, page, 0) = LARGE_WORD(page);
    syscall(SYS_SPLIT, 0, 0);
    *word(LARGE, SPLIT_READ_ONLY, 0) += 1;
    *word(LARGE, SPLIT_MISSING, 0) += 1;
}

void user_main(u64 pages, u64 unused)
{
    (void)unused;
    u64 sum = fill_heap(pages);

    syscall(SYS_FORGET, 0, 0);
    touch_some(pages);
    syscall(SYS_COMPARE, 0, 0);

    syscall(SYS_SHARE, 0, 0);
    write_shared(pages);
    use_large();

    for (u64 page = 0; page < pages; page++)
        for (u64 i = 0; i < WORDS; i++)
            sum += *word(HEAP, page, i) + 3 * *word(COPY, page, i);
    for (u64 page = 0; page < SMALL_PAGES; page++)
        sum += *word(LARGE, page, 0);
    syscall(SYS_EXIT, sum, 0);
}
