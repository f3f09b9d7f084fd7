/* memory.c: frames and page tables. */
#include "cpu.h"

#define ENTRIES 512
#define USER_STACK_PAGES 2
#define PD_SHIFT 21
#define PDPT_SHIFT 30
#define PML4_SHIFT 39

/* From guest.ld: the end of the image, and the ring-3 part: where it runs, where it was loaded, how it is protected. */
extern u8 image_end[];
extern u8 user_text[], user_rodata[], user_data[], user_end[], user_load[];

static u64 next_frame, memory_end;
static u64 free_frames; /* a list, linked through the frames' first words */

void memory_start(void)
{
    next_frame = (u64)image_end;
    memory_end = boot->memory_bytes < USER_START ? boot->memory_bytes : USER_START;
}

static u64 zeroed(u64 frame, u64 bytes)
{
    u64 *at = (u64 *)frame;
    u64 words = bytes / sizeof(u64);
    __asm__ volatile("rep stosq" : "+D"(at), "+c"(words) : "a"(0ul) : "memory");
    return frame;
}

u64 frame_alloc(void)
{
    u64 frame = free_frames;
    if (frame) {
        free_frames = *(u64 *)frame;
    } else {
        frame = next_frame;
        next_frame += PAGE_SIZE;
        CHECK(next_frame <= memory_end, "out of memory");
    }
    return zeroed(frame, PAGE_SIZE);
}

u64 frame_alloc_large(void)
{
    u64 frame = (next_frame + LARGE_PAGE_SIZE - 1) & -LARGE_PAGE_SIZE;
    CHECK(frame + LARGE_PAGE_SIZE <= memory_end, "out of memory");
    for (; next_frame < frame; next_frame += PAGE_SIZE)
        frame_free(next_frame);
    next_frame += LARGE_PAGE_SIZE;
    return frame; /* never used before, so still zero */
}

void frame_free(u64 frame)
{
    *(u64 *)frame = free_frames;
    free_frames = frame;
}

static u64 *table_under(u64 *table, u64 address, u32 shift)
{
    u64 *entry = &table[address >> shift & (ENTRIES - 1)];
    if (!(*entry & PTE_PRESENT))
        *entry = frame_alloc() | PTE_PRESENT | PTE_WRITE | PTE_USER;
    return (u64 *)(*entry & PTE_FRAME);
}

u64 *large_page_entry(u64 address)
{
    u64 *pml4 = (u64 *)(read_cr3() & PTE_FRAME);
    u64 *directory = table_under(table_under(pml4, address, PML4_SHIFT), address, PDPT_SHIFT);
    return &directory[address >> PD_SHIFT & (ENTRIES - 1)];
}

u64 *page_entry(u64 address)
{
    u64 *large = large_page_entry(address);
    if (*large & PTE_LARGE)
        return large;
    u64 *table = table_under(large - (address >> PD_SHIFT & (ENTRIES - 1)), address, PD_SHIFT);
    return &table[address / PAGE_SIZE & (ENTRIES - 1)];
}

void map(u64 address, u64 frame, u64 flags) { *page_entry(address) = frame | flags | PTE_PRESENT; }

void copy_page(u64 to, u64 from)
{
    u64 words = PAGE_SIZE / sizeof(u64);
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words)::"memory");
}

/* Maps the part of the image that runs at `from` up to `to`, with the same distance to where it was loaded. */
static void map_image(const u8 *from, const u8 *to, u64 flags)
{
    for (u64 page = (u64)from; page < (u64)to; page += PAGE_SIZE)
        map(page, page - (u64)user_text + (u64)user_load, flags | PTE_USER);
}

void address_space_start(void)
{
    u64 *boot_pml4 = (u64 *)(read_cr3() & PTE_FRAME);
    u64 *boot_pdpt = (u64 *)(boot_pml4[0] & PTE_FRAME);
    u64 *pml4 = (u64 *)frame_alloc();
    u64 *pdpt = (u64 *)frame_alloc();
    /* The monitor's one-to-one tables stay below: supervisor only, except for what goes between. */
    for (u32 gigabyte = 0; gigabyte < 4; gigabyte++)
        pdpt[gigabyte] = boot_pdpt[gigabyte];
    pdpt[USER_START >> PDPT_SHIFT] = 0;
    pml4[0] = (u64)pdpt | PTE_PRESENT | PTE_WRITE | PTE_USER;
    write_cr3((u64)pml4);
    map_image(user_text, user_rodata, 0);
    map_image(user_rodata, user_data, PTE_NX);
    map_image(user_data, user_end, PTE_NX | PTE_WRITE);
    for (u64 page = 1; page <= USER_STACK_PAGES; page++)
        map(USER_END - page * PAGE_SIZE, frame_alloc(), PTE_USER | PTE_NX | PTE_WRITE);
}
