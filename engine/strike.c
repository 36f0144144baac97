/* strike.c - the mapped file that outlives the process.
 *
 * Happy path: open or make `strikes`, see that all its blocks are there (a write
 * to a mapped hole on a full disk would kill us), map it, judge the last life
 * into the other half and make that half the valid one. From then on threads
 * store what they run in their slots; nothing is ever synced.
 *
 * Fails as opening a file does. A damaged file is begun anew. Opening and
 * closing: the engine's opener; slots, alone, find, acquit: any thread. */
#include "engine/strike_file.h"

#include "storage/assert.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct hf_strike_file {
    hf_strike_image *image;
    hf_strike_life  *life; /* the one that runs */
    _Atomic uint64_t taken[HF_STRIKE_SLOTS / 64]; /* slots of living threads */
};

static int file_error(const char *path, int number)
{
    bool full = number == ENOSPC || number == EDQUOT || number == EFBIG;
    return hf_error(full ? HF_EFULL : HF_EIO, "%s: %s", path, strerror(number));
}

/* An open file of the right size with all its blocks, or -1 and *err. */
static int open_whole(const char *path, struct stat *st, int *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        *err = file_error(path, errno);
        return -1;
    }
    int failed = fstat(fd, st) ? errno : 0;
    if (!failed && st->st_size > (off_t)sizeof(hf_strike_image))
        failed = ftruncate(fd, (off_t)sizeof(hf_strike_image)) ? errno : 0;
    if (!failed)
        do
            failed = posix_fallocate(fd, 0, (off_t)sizeof(hf_strike_image));
        while (failed == EINTR);
    if (!failed)
        return fd;
    *err = file_error(path, failed);
    (void)close(fd);
    return -1;
}

static int map_file(hf_strike_image **image, const char *path, uint64_t *inode)
{
    struct stat st;
    int err = HF_OK;
    int fd = open_whole(path, &st, &err);
    if (fd < 0)
        return err;
    void *mapped = mmap(NULL, sizeof **image, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        err = errno == ENOMEM ? hf_error(HF_ENOMEM, "%s cannot be mapped", path)
                              : file_error(path, errno);
    else
        *image = mapped;
    *inode = (uint64_t)st.st_ino;
    (void)close(fd);
    return err;
}

static void read_boot_id(char boot[HF_BOOT_ID])
{
    memset(boot, 0, HF_BOOT_ID);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return; /* nobody can be accused then */
    if (read(fd, boot, 36) != 36)
        memset(boot, 0, HF_BOOT_ID);
    (void)close(fd);
}

/* The other half becomes this life; one store makes it count. The death of a
 * process keeps the order of its stores: only the compiler must. */
static hf_strike_life *begin_life(hf_strike_image *image, uint64_t inode, bool *died)
{
    hf_strike_origin now = { .inode = inode, .pid = (uint64_t)getpid() };
    read_boot_id(now.boot);
    const hf_strike_life *last = hf_strike_last(image);
    uint64_t other = last ? 1 - image->valid : 0;
    *died = hf_strike_judge(last, &now, hf_clock_wall_ms(), &image->life[other]);
    atomic_signal_fence(memory_order_release);
    image->valid = other;
    atomic_signal_fence(memory_order_release);
    image->version = HF_STRIKE_VERSION;
    image->size = sizeof *image;
    image->magic = HF_STRIKE_MAGIC;
    return &image->life[other];
}

int hf_strikes_open(hf_strikes *strikes, const char *store)
{
    char path[PATH_MAX + 16];
    uint64_t inode = 0;
    *strikes = (hf_strikes){ 0 };
    (void)snprintf(path, sizeof path, "%s/strikes", store);
    struct hf_strike_file *file = hf_mem_zero(1, sizeof *file);
    if (!file)
        return hf_error(HF_ENOMEM, "%s", path);
    int err = map_file(&file->image, path, &inode);
    if (err) {
        hf_mem_free(file);
        return err;
    }
    file->life = begin_life(file->image, inode, &strikes->died);
    strikes->file = file;
    strikes->suspects = file->life->suspects;
    while (strikes->count < HF_SUSPECTS && strikes->suspects[strikes->count].id)
        strikes->count++;
    return HF_OK;
}

void hf_strikes_close(hf_strikes *strikes, bool clean)
{
    if (!strikes->file)
        return;
    if (clean)
        strikes->file->life->clean = 1;
    (void)munmap(strikes->file->image, sizeof *strikes->file->image);
    hf_mem_free(strikes->file);
    *strikes = (hf_strikes){ 0 };
}

/* Slots are written before every turn: threads that got theirs one after another must
 * not share a cache line. */
enum { APART = 8, GROUPS = HF_STRIKE_SLOTS / APART };

static uint32_t place_of(uint32_t number)
{
    return number % GROUPS * APART + number / GROUPS;
}

static uint32_t number_of(uint32_t place)
{
    return place % APART * GROUPS + place / APART;
}

hf_strike_slot *hf_strikes_slot(hf_strikes *strikes)
{
    struct hf_strike_file *file = strikes->file;
    for (uint32_t word = 0; word < HF_STRIKE_SLOTS / 64; word++) {
        uint64_t taken = atomic_load(&file->taken[word]);
        while (~taken) {
            uint32_t bit = (uint32_t)__builtin_ctzll(~taken);
            if (atomic_compare_exchange_weak(&file->taken[word], &taken,
                                             taken | UINT64_C(1) << bit))
                return &file->life->slots[place_of(word * 64 + bit)];
        }
    }
    return NULL;
}

void hf_strikes_slot_free(hf_strikes *strikes, hf_strike_slot *slot)
{
    if (!slot)
        return;
    uint32_t number = number_of((uint32_t)(slot - strikes->file->life->slots));
    HF_ASSERT(number < HF_STRIKE_SLOTS);
    slot->id = 0;
    slot->hash = 0;
    atomic_fetch_and(&strikes->file->taken[number / 64], ~(UINT64_C(1) << number % 64));
}

__attribute__((no_sanitize("thread")))
uint64_t hf_strike_slot_id(const hf_strike_slot *slot)
{
    return slot->id;
}

/* Others write their slots while we look: each number is whole, old or new, and
 * that is all that is asked. */
__attribute__((no_sanitize("thread")))
uint32_t hf_strikes_running(const hf_strikes *strikes, uint64_t *ids, uint32_t room)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < HF_STRIKE_SLOTS && count < room; i++) {
        uint64_t id = strikes->file->life->slots[i].id;
        if (id)
            ids[count++] = id;
    }
    return count;
}

void hf_strikes_alone(hf_strikes *strikes, uint64_t id)
{
    strikes->file->life->alone = id;
}

hf_suspect *hf_strikes_find(const hf_strikes *strikes, uint64_t id)
{
    for (uint32_t i = 0; i < strikes->count; i++)
        if (id && __atomic_load_n(&strikes->suspects[i].id, __ATOMIC_ACQUIRE) == id)
            return &strikes->suspects[i];
    return NULL;
}

void hf_strikes_acquit(hf_strikes *strikes, uint64_t id)
{
    hf_suspect *suspect = hf_strikes_find(strikes, id);
    if (suspect)
        __atomic_store_n(&suspect->id, 0, __ATOMIC_RELEASE);
}
