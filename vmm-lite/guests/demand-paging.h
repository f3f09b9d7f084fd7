/* demand-paging.h: what its two rings agree on. */
#ifndef DEMAND_PAGING_H
#define DEMAND_PAGING_H

#define HEAP 0x50000000ul  /* `pages` pages, there from the first touch */
#define COPY 0x58000000ul  /* the same pages once more, after SYS_SHARE: copied when either side writes */
#define LARGE 0x60000000ul /* one 2 MiB page, there from the first touch */

/* The page of LARGE, after SYS_SPLIT, that is read-only, and the one that is missing. */
#define SPLIT_READ_ONLY 7
#define SPLIT_MISSING 9

enum {
    SYS_FORGET, /* clears the accessed and dirty bits of the heap */
    SYS_COMPARE, /* ends the run unless they are what READ_PAGE and WRITTEN_PAGE say */
    SYS_SHARE,
    SYS_SPLIT, /* makes 512 small pages of the large one */
    SYS_EXIT,  /* with the sum of everything read in the end; see checksum() in demand-paging.c */
};

/* Between SYS_FORGET and SYS_COMPARE the process touches these pages of the heap. */
#define READ_PAGE(page) ((page) % 4 == 1)
#define WRITTEN_PAGE(page) ((page) % 4 == 2)

/* Which pages the process writes once they are shared: in COPY first, then in HEAP. Adds 1 to the first word. */
#define WRITTEN_IN_COPY(page) ((page) % 2 == 0)
#define WRITTEN_IN_HEAP(page) ((page) % 4 == 0)

/* What the process puts into a word of the heap, and into the first word of a small page of LARGE. */
#define HEAP_WORD(page, word) (((page) + 1) * 1000003 + (word))
#define LARGE_WORD(page) ((page) * 7 + 5)

#define WORDS (PAGE_SIZE / 8)
#define SMALL_PAGES (LARGE_PAGE_SIZE / PAGE_SIZE)

/* Runs in ring 3; ends with SYS_EXIT. */
void user_main(u64 pages, u64 unused);

#endif
