// A Linux program whose threads take pages away from each other: shootdown THREADS ROUNDS
//
// Each round every thread writes to each page of a region, and the first thread then gives the region back with
// madvise(MADV_DONTNEED): the kernel must interrupt the CPU of every other thread, for its TLB may still have the
// pages. What the program counts on its way stands in its last line, which the test compares with the trace:
//
//   shootdown: threads=4 rounds=50 region=0x7f0000000000 bytes=32768 madvise=50 faults=712 TLB=150 CAL=151
//
// faults are getrusage's; TLB and CAL are the lines of /proc/interrupts, shootdowns and function calls that CPUs were
// interrupted for, summed over all CPUs. All three are what the rounds added, and madvise counts their calls. The test
// finds the program's functions by their symbols, so those are not inlined.

#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 8
#define MAX_THREADS 64
// Rounds over a region of their own before anything is counted: the code and the stacks are in memory then.
#define WARM_UP 2

static unsigned threads, rounds;
static volatile char *region;
// How often all threads have met, and how many have come to the next meeting.
static atomic_uint meetings, arrived;

__attribute__((noreturn)) static void fail(const char *what)
{
    perror(what);
    exit(1);
}

// Waits for all threads, on the CPU: a thread that sleeps leaves its CPU to the idle task, which Linux does not
// interrupt for a shootdown.
static void meet(void)
{
    unsigned meeting = atomic_load(&meetings);

    if (atomic_fetch_add(&arrived, 1) + 1 == threads) {
        atomic_store(&arrived, 0);
        atomic_fetch_add(&meetings, 1);
        return;
    }
    while (atomic_load(&meetings) == meeting)
        __builtin_ia32_pause();
}

// Page faults come from here. It writes without reading first, or the kernel would map its page of zeros, replace that
// at the write, and make a shootdown of it.
__attribute__((noinline)) static void touch_pages(void)
{
    for (unsigned page = 0; page < PAGES; page++)
        region[page * PAGE] = 1;
}

// Shootdowns come from here. A system call of its own, so that RIP is here in the trace.
__attribute__((noinline)) static void drop_pages(void)
{
    long result;

    asm volatile("syscall"
                 : "=a"(result)
                 : "0"((long)SYS_madvise), "D"(region), "S"((long)PAGES * PAGE), "d"((long)MADV_DONTNEED)
                 : "rcx", "r11", "memory");
    if (result != 0) {
        fprintf(stderr, "shootdown: madvise: error %ld\n", -result);
        exit(1);
    }
}

static void pin(unsigned number)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(number % (cpus > 0 ? cpus : 1), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        fail("sched_setaffinity");
}

static void map_region(void)
{
    region = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (region == MAP_FAILED)
        fail("mmap");
}

static void *take_part(void *number)
{
    pin((unsigned)(size_t)number);
    for (unsigned round = 0; round < WARM_UP + rounds; round++) {
        meet();
        touch_pages();
        meet();
    }
    // Nobody leaves before the first thread has read the counters.
    meet();
    return NULL;
}

static void run_rounds(unsigned count)
{
    for (unsigned round = 0; round < count; round++) {
        meet();
        touch_pages();
        meet();
        drop_pages();
    }
}

struct counters {
    unsigned long faults, tlb, cal;
};

// The sum over all CPUs of a line of /proc/interrupts, which begins with its name and a colon.
static unsigned long sum_line(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    unsigned long sum = 0;
    char *end;

    if (!at)
        return 0;
    for (at += strlen(name);; at = end) {
        unsigned long count = strtoul(at, &end, 10);

        if (end == at)
            return sum;
        sum += count;
    }
}

__attribute__((noinline)) static struct counters read_counters(void)
{
    static char text[1 << 16];
    size_t length = 0;
    ssize_t got;
    struct rusage usage;
    int file = open("/proc/interrupts", O_RDONLY);

    if (file < 0)
        fail("/proc/interrupts");
    while ((got = read(file, text + length, sizeof text - 1 - length)) > 0)
        length += got;
    close(file);
    text[length] = 0;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        fail("getrusage");
    return (struct counters){
        .faults = usage.ru_minflt + usage.ru_majflt,
        .tlb = sum_line(text, "TLB:"),
        .cal = sum_line(text, "CAL:"),
    };
}

int main(int argc, char **argv)
{
    pthread_t others[MAX_THREADS];

    threads = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    if (threads < 1 || threads > MAX_THREADS || rounds < 1 || rounds > 1000000) {
        fprintf(stderr, "usage: shootdown THREADS ROUNDS\n");
        return 2;
    }
    pin(0);
    map_region();
    for (size_t number = 1; number < threads; number++)
        if (pthread_create(&others[number], NULL, take_part, (void *)number) != 0)
            fail("pthread_create");
    read_counters();
    run_rounds(WARM_UP);

    // The others wait at their next meeting and do not look at the region before it.
    map_region();
    struct counters before = read_counters();
    run_rounds(rounds);
    struct counters after = read_counters();

    meet();
    for (unsigned number = 1; number < threads; number++)
        pthread_join(others[number], NULL);
    printf("shootdown: threads=%u rounds=%u region=%p bytes=%u madvise=%u faults=%lu TLB=%lu CAL=%lu\n", threads, rounds,
           (void *)region, PAGES * PAGE, rounds, after.faults - before.faults, after.tlb - before.tlb,
           after.cal - before.cal);
    return 0;
}
