/*
 * virtio: drives a virtio console and block device through their registers (virtio 1.2, section 4.2.2), as a small
 * kernel would. With a disk of at least 4 sectors it copies sector 1 to sector 2, each byte plus one.
 *
 *   disk=yes | no      whether there must be a disk, or must not
 *   input=no | yes     waits for a line and prints it
 */
#include "runtime/runtime.h"

#define FIRST 0xd0000000ul
#define WINDOW 0x1000ul
#define SLOTS 2
#define SECTOR 512
#define QUEUE_SIZE 8

/* Registers. */
#define MAGIC 0x000
#define VERSION 0x004
#define DEVICE_ID 0x008
#define DEVICE_FEATURES 0x010
#define DEVICE_FEATURES_SEL 0x014
#define DRIVER_FEATURES 0x020
#define DRIVER_FEATURES_SEL 0x024
#define QUEUE_SEL 0x030
#define QUEUE_NUM_MAX 0x034
#define QUEUE_NUM 0x038
#define QUEUE_READY 0x044
#define QUEUE_NOTIFY 0x050
#define INTERRUPT_STATUS 0x060
#define INTERRUPT_ACK 0x064
#define STATUS 0x070
#define QUEUE_DESC 0x080
#define QUEUE_DRIVER 0x090
#define QUEUE_DEVICE 0x0a0
#define CONFIG 0x100

/* Status. */
#define ACKNOWLEDGE 1
#define DRIVER 2
#define DRIVER_OK 4
#define FEATURES_OK 8

#define ID_BLOCK 2
#define ID_CONSOLE 3
#define BLK_F_FLUSH (1u << 9)
#define F_VERSION_1 1u /* bit 32 */

#define DESC_NEXT 1
#define DESC_WRITE 2

#define IOAPIC 0xfec00000ul
#define IOAPIC_LEVEL (1u << 15)
#define VECTOR 0x50

struct descriptor {
    u64 address;
    u32 length;
    u16 flags, next;
};

struct queue {
    struct descriptor descriptors[QUEUE_SIZE];
    struct {
        u16 flags, index, ring[QUEUE_SIZE], used_event;
    } available;
    struct {
        u16 flags, index;
        struct {
            u32 head, length;
        } ring[QUEUE_SIZE];
        u16 available_event;
    } used __attribute__((aligned(4)));
} __attribute__((aligned(16)));

struct device {
    u64 registers;
    u32 line;
    struct queue queues[2];
    volatile u32 interrupts;
};

static struct device devices[SLOTS];
static const u8 lines[SLOTS] = {10, 11};

static u32 get(const struct device *device, u32 offset) { return *(volatile u32 *)(device->registers + offset); }
static void set(const struct device *device, u32 offset, u32 value)
{
    *(volatile u32 *)(device->registers + offset) = value;
}

/* One handler for all: whoever has a reason is served, as Linux' does. */
static void interrupted(struct trap_frame *frame)
{
    (void)frame;
    for (u32 slot = 0; slot < SLOTS; slot++) {
        struct device *device = &devices[slot];
        u32 reason = device->registers ? get(device, INTERRUPT_STATUS) : 0;
        if (reason) {
            set(device, INTERRUPT_ACK, reason);
            device->interrupts++;
        }
    }
    lapic_eoi();
}

static void ioapic_write(u32 index, u32 value)
{
    *(volatile u32 *)IOAPIC = index;
    *(volatile u32 *)(IOAPIC + 0x10) = value;
}

static void set_address(const struct device *device, u32 offset, const volatile void *area)
{
    set(device, offset, (u64)area);
    set(device, offset + 4, (u64)area >> 32);
}

/* From reset to DRIVER_OK (section 3.1.1). */
static void start(struct device *device, u32 features, u32 queues)
{
    set(device, STATUS, 0);
    CHECK(get(device, STATUS) == 0, "the device is not reset");
    set(device, STATUS, ACKNOWLEDGE);
    set(device, STATUS, ACKNOWLEDGE | DRIVER);
    const u32 wanted[2] = {features, F_VERSION_1};
    for (u32 half = 0; half < 2; half++) {
        set(device, DEVICE_FEATURES_SEL, half);
        CHECK((get(device, DEVICE_FEATURES) & wanted[half]) == wanted[half], "no feature %x", wanted[half]);
        set(device, DRIVER_FEATURES_SEL, half);
        set(device, DRIVER_FEATURES, wanted[half]);
    }
    set(device, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    CHECK(get(device, STATUS) & FEATURES_OK, "the features are refused");
    for (u32 number = 0; number < queues; number++) {
        struct queue *queue = &device->queues[number];
        set(device, QUEUE_SEL, number);
        CHECK(get(device, QUEUE_READY) == 0 && get(device, QUEUE_NUM_MAX) >= QUEUE_SIZE, "queue %u", number);
        set(device, QUEUE_NUM, QUEUE_SIZE);
        set_address(device, QUEUE_DESC, queue->descriptors);
        set_address(device, QUEUE_DRIVER, &queue->available);
        set_address(device, QUEUE_DEVICE, &queue->used);
        set(device, QUEUE_READY, 1);
        CHECK(get(device, QUEUE_READY) == 1, "queue %u is not ready", number);
    }
    set(device, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    ioapic_write(0x11 + 2 * device->line, 0);
    ioapic_write(0x10 + 2 * device->line, IOAPIC_LEVEL | VECTOR);
}

static void offer(struct queue *queue, u16 head)
{
    queue->available.ring[queue->available.index % QUEUE_SIZE] = head;
    __atomic_store_n(&queue->available.index, queue->available.index + 1, __ATOMIC_RELEASE);
}

/*
 * Sleeps until the device has used all that was made available and has interrupted for it; the length of the last.
 * Interrupts are on only while the vCPU sleeps: hosts that emulate the kernel may miss a shorter window.
 */
static u32 wait(struct device *device, struct queue *queue)
{
    static u32 seen[SLOTS];
    u32 *interrupts = &seen[device - devices];
    while (device->interrupts == *interrupts ||
           __atomic_load_n(&queue->used.index, __ATOMIC_ACQUIRE) != queue->available.index) {
        interrupts_on_and_halt();
        interrupts_off();
    }
    *interrupts = device->interrupts;
    return queue->used.ring[(u16)(queue->used.index - 1) % QUEUE_SIZE].length;
}

static void say(struct device *console, const char *text)
{
    struct queue *queue = &console->queues[1];
    u32 length = 0;
    while (text[length])
        length++;
    queue->descriptors[0] = (struct descriptor){.address = (u64)text, .length = length};
    offer(queue, 0);
    set(console, QUEUE_NOTIFY, 1);
    wait(console, queue);
}

static u8 data[SECTOR] __attribute__((aligned(16)));

static u8 request(struct device *disk, u32 type, u64 sector, u16 data_flags)
{
    static struct {
        u32 type, reserved;
        u64 sector;
    } header;
    static volatile u8 status;
    struct queue *queue = &disk->queues[0];
    header.type = type;
    header.sector = sector;
    status = 0xee;
    queue->descriptors[0] =
        (struct descriptor){.address = (u64)&header, .length = sizeof(header), .flags = DESC_NEXT, .next = 1};
    if (type == 4) /* a flush has no data */
        queue->descriptors[0].next = 2;
    queue->descriptors[1] =
        (struct descriptor){.address = (u64)data, .length = SECTOR, .flags = DESC_NEXT | data_flags, .next = 2};
    queue->descriptors[2] = (struct descriptor){.address = (u64)&status, .length = 1, .flags = DESC_WRITE};
    offer(queue, 0);
    set(disk, QUEUE_NOTIFY, 0);
    wait(disk, queue);
    return status;
}

static void use_disk(struct device *disk)
{
    start(disk, BLK_F_FLUSH, 1);
    u64 sectors = *(volatile u64 *)(disk->registers + CONFIG);
    counter("sectors", sectors);
    CHECK(request(disk, 0, 1, DESC_WRITE) == 0, "cannot read");
    for (u32 n = 0; n < SECTOR; n++)
        data[n]++;
    CHECK(request(disk, 1, 2, 0) == 0, "cannot write");
    CHECK(request(disk, 4, 0, 0) == 0, "cannot flush");
    CHECK(request(disk, 0, sectors, DESC_WRITE) == 1, "there is something behind the end");
    CHECK(disk->interrupts == 4, "%u interrupts for 4 requests", disk->interrupts);
}

/* Prints the line that it gets. */
static void echo(struct device *console)
{
    static char line[65];
    struct queue *queue = &console->queues[0];
    u32 length = 0;
    while (!length || line[length - 1] != '\n') {
        CHECK(length < 64, "a longer line than that");
        queue->descriptors[0] =
            (struct descriptor){.address = (u64)&line[length], .length = 64 - length, .flags = DESC_WRITE};
        offer(queue, 0);
        set(console, QUEUE_NOTIFY, 0);
        length += wait(console, queue);
    }
    say(console, line);
}

int main(void)
{
    static const char *const words[] = {"no", "yes", NULL};
    bool want_disk = option_choice("disk", words);
    bool input = option_choice("input", words);
    options_end();
    lapic_enable();
    trap_handle(VECTOR, interrupted);

    struct device *console = NULL, *disk = NULL;
    for (u32 slot = 0; slot < SLOTS; slot++) {
        struct device *device = &devices[slot];
        u64 registers = FIRST + slot * WINDOW;
        if (*(volatile u32 *)(registers + MAGIC) == ~0u)
            continue;
        device->registers = registers;
        device->line = lines[slot];
        CHECK(get(device, MAGIC) == 0x74726976 && get(device, VERSION) == 2, "slot %u is no virtio device", slot);
        u32 id = get(device, DEVICE_ID);
        CHECK(id == ID_BLOCK || id == ID_CONSOLE, "device %u", id);
        *(id == ID_BLOCK ? &disk : &console) = device;
    }
    CHECK(console, "no console");
    CHECK(!disk == !want_disk, "a disk: %u", disk != NULL);

    start(console, 0, 2);
    say(console, "hello from virtio\n");
    CHECK(console->interrupts == 1, "%u interrupts for 1 line", console->interrupts);
    if (disk)
        use_disk(disk);
    if (input)
        echo(console);
    return 0;
}
