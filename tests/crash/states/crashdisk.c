/* crashdisk.c - keep what is sure and what is not, build what may be.
 *
 * Happy path: a write becomes a unit a block, a sync moves its units into what is
 * sure, a choice of the others is laid over a copy and written out. Out of memory
 * ends the process. One thread. */
#include "tests/crash/states/crashdisk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t chance_next(uint64_t *chance)
{
    uint64_t z = *chance += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void *must(void *memory)
{
    if (!memory) {
        fprintf(stderr, "states: out of memory\n");
        abort();
    }
    return memory;
}

void crashdisk_init(crashdisk *disk, const tape *of)
{
    memset(disk, 0, sizeof *disk);
    disk->node_count = of->inodes;
    disk->nodes = must(calloc(of->inodes, sizeof *disk->nodes));
    disk->nodes[0].is_dir = true;
    for (size_t i = 0; i < of->count; i++)
        if (of->events[i].what == TAPE_LINK)
            disk->nodes[of->events[i].inode].is_dir = of->events[i].is_dir;
    disk->changed = true;
}

void crashdisk_free(crashdisk *disk)
{
    for (uint32_t i = 0; i < disk->node_count; i++)
        free(disk->nodes[i].bytes);
    free(disk->nodes);
    free(disk->names);
    free(disk->units);
    memset(disk, 0, sizeof *disk);
}

/* ---- What is sure */

static void node_resize(crash_node *node, uint64_t size)
{
    if (size > node->room) {
        node->room = size * 2;
        node->bytes = must(realloc(node->bytes, node->room));
    }
    if (size > node->size)
        memset(node->bytes + node->size, 0, size - node->size);
    node->size = size;
}

/* Lay a unit over the bytes of its file, which may grow. */
static void node_apply(crash_node *node, const crash_unit *u, uint64_t *torn)
{
    if (u->what == UNIT_SIZE || (u->what == UNIT_GROW && node->size < u->off))
        node_resize(node, u->off);
    if (u->what != UNIT_BYTES)
        return;
    if (node->size < u->off + u->len)
        node_resize(node, u->off + u->len);
    uint64_t bits = torn ? chance_next(torn) : UINT64_MAX;
    for (uint64_t at = u->off, end = u->off + u->len; at < end;) {
        uint64_t stop = (at / SECTOR + 1) * SECTOR < end ? (at / SECTOR + 1) * SECTOR : end;
        if (bits >> (at / SECTOR % 8) & 1)
            memcpy(node->bytes + at, u->bytes + (at - u->off), stop - at);
        at = stop;
    }
}

typedef struct name_list {
    crash_name *names;
    size_t      count, room;
} name_list;

static void names_remove(name_list *list, uint32_t dir, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->names[i].dir == dir && strcmp(list->names[i].name, name) == 0) {
            list->names[i] = list->names[--list->count];
            return;
        }
}

static void names_put(name_list *list, uint32_t dir, const char *name, uint32_t inode)
{
    names_remove(list, dir, name);
    if (list->count == list->room) {
        list->room = list->room ? list->room * 2 : 16;
        list->names = must(realloc(list->names, list->room * sizeof *list->names));
    }
    crash_name *new = &list->names[list->count++];
    new->dir = dir;
    new->inode = inode;
    memcpy(new->name, name, TAPE_NAME);
}

static void names_apply(name_list *list, const tape_event *e)
{
    if (e->what != TAPE_LINK)
        names_remove(list, e->dir, e->name);
    if (e->what == TAPE_LINK)
        names_put(list, e->dir, e->name, e->inode);
    if (e->what == TAPE_RENAME)
        names_put(list, e->to_dir, e->to_name, e->inode);
}

/* ---- What may be */

static crash_unit *unit_add(crashdisk *disk, unit_what what, uint32_t inode)
{
    if (disk->unit_count == disk->unit_room) {
        disk->unit_room = disk->unit_room ? disk->unit_room * 2 : 64;
        disk->units = must(realloc(disk->units, disk->unit_room * sizeof *disk->units));
    }
    crash_unit *u = &disk->units[disk->unit_count++];
    *u = (crash_unit){ .what = (uint8_t)what, .inode = inode, .fresh = true };
    return u;
}

static uint64_t size_seen(const crashdisk *disk, uint32_t inode)
{
    uint64_t size = disk->nodes[inode].size;
    for (size_t i = 0; i < disk->unit_count; i++) {
        const crash_unit *u = &disk->units[i];
        if (u->inode != inode || u->what == UNIT_NAME)
            continue;
        if (u->what == UNIT_SIZE)
            size = u->off;
        else if (size < u->off + u->len)
            size = u->off + u->len;
    }
    return size;
}

/* The size of a file may arrive before its bytes do. */
static void grow(crashdisk *disk, uint32_t inode, uint64_t size)
{
    if (size <= size_seen(disk, inode))
        return;
    for (size_t i = 0; i < disk->unit_count; i++)
        if (disk->units[i].inode == inode && disk->units[i].what == UNIT_GROW) {
            disk->units[i].off = size;
            disk->units[i].fresh = true;
            return;
        }
    unit_add(disk, UNIT_GROW, inode)->off = size;
}

static void play_write(crashdisk *disk, const tape_event *e)
{
    grow(disk, e->inode, e->off + e->len);
    for (uint64_t at = e->off, end = e->off + e->len; at < end;) {
        uint64_t stop = (at / BLOCK + 1) * BLOCK < end ? (at / BLOCK + 1) * BLOCK : end;
        crash_unit *u = unit_add(disk, UNIT_BYTES, e->inode);
        u->off = at;
        u->len = (uint32_t)(stop - at);
        u->bytes = e->bytes + (at - e->off);
        at = stop;
    }
}

static bool is_synced(const crash_unit *u, const tape_event *e)
{
    if (u->what == UNIT_NAME)
        return e->what == TAPE_SYNC && e->is_dir
               && (u->event->dir == e->inode
                   || (u->event->what == TAPE_RENAME && u->event->to_dir == e->inode));
    if (u->inode != e->inode || e->is_dir)
        return false;
    if (e->what == TAPE_SYNC || u->what != UNIT_BYTES)
        return true;
    return u->off / BLOCK <= (e->off + e->len - 1) / BLOCK
           && (u->off + u->len - 1) / BLOCK >= e->off / BLOCK;
}

static void play_sync(crashdisk *disk, const tape_event *e)
{
    name_list names = { disk->names, disk->name_count, disk->name_room };
    size_t kept = 0;
    for (size_t i = 0; i < disk->unit_count; i++) {
        crash_unit *u = &disk->units[i];
        if (!is_synced(u, e)) {
            disk->units[kept++] = *u;
            continue;
        }
        disk->changed = true;
        if (u->what == UNIT_NAME)
            names_apply(&names, u->event);
        else
            node_apply(&disk->nodes[u->inode], u, NULL);
    }
    disk->unit_count = kept;
    disk->names = names.names;
    disk->name_count = names.count;
    disk->name_room = names.room;
}

void crashdisk_play(crashdisk *disk, const tape_event *e)
{
    switch ((tape_what)e->what) {
    case TAPE_LINK:
    case TAPE_UNLINK:
    case TAPE_RENAME:
        unit_add(disk, UNIT_NAME, e->inode)->event = e;
        break;
    case TAPE_WRITE:
        play_write(disk, e);
        break;
    case TAPE_SIZE:
        unit_add(disk, UNIT_SIZE, e->inode)->off = e->off;
        break;
    case TAPE_SYNC:
    case TAPE_SYNC_RANGE:
        play_sync(disk, e);
        break;
    case TAPE_BEGIN: /* more is allowed than before: what was tried need not be again */
        disk->begun = e->op;
        break;
    case TAPE_ACK:
        disk->acked = e->op;
        disk->changed = true;
        break;
    }
}

void crashdisk_settle(crashdisk *disk)
{
    disk->changed = false;
    for (size_t i = 0; i < disk->unit_count; i++)
        disk->units[i].fresh = false;
}

/* ---- Building */

/* An earlier write to a block comes along with a later one. */
static void close_choice(const crashdisk *disk, uint8_t *choice)
{
    for (size_t i = disk->unit_count; i-- > 1;) {
        const crash_unit *u = &disk->units[i];
        if (choice[i] == UNIT_LOST || u->what != UNIT_BYTES)
            continue;
        for (size_t j = 0; j < i; j++) {
            const crash_unit *v = &disk->units[j];
            if (v->what == UNIT_BYTES && v->inode == u->inode && v->off / BLOCK == u->off / BLOCK)
                choice[j] = UNIT_THERE;
        }
    }
}

typedef struct builder {
    const crashdisk *disk;
    const uint8_t   *choice;
    uint64_t        *chance;
    name_list        names;
    crash_node       scratch;
} builder;

static bool build_file(builder *b, uint32_t inode, const char *path)
{
    const crash_node *sure = &b->disk->nodes[inode];
    crash_node *s = &b->scratch;
    s->size = 0;
    node_resize(s, sure->size);
    if (sure->size)
        memcpy(s->bytes, sure->bytes, sure->size);
    for (size_t i = 0; i < b->disk->unit_count; i++) {
        const crash_unit *u = &b->disk->units[i];
        if (b->choice[i] != UNIT_LOST && u->what != UNIT_NAME && u->inode == inode)
            node_apply(s, u, b->choice[i] == UNIT_TORN ? b->chance : NULL);
    }
    /* Over what the state before left there: its memory need not be found anew. */
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool whole = s->size == 0 || pwrite(fd, s->bytes, s->size, 0) == (ssize_t)s->size;
    whole = ftruncate(fd, (off_t)s->size) == 0 && whole;
    return close(fd) == 0 && whole;
}

static bool build_dir(builder *b, uint32_t dir, const char *path)
{
    char below[PATH_MAX];
    for (size_t i = 0; i < b->names.count; i++) {
        const crash_name *n = &b->names.names[i];
        if (n->dir != dir)
            continue;
        if (snprintf(below, sizeof below, "%s/%s", path, n->name) >= (int)sizeof below)
            return false;
        bool done = b->disk->nodes[n->inode].is_dir ? (mkdir(below, 0700) == 0 || errno == EEXIST)
                                                          && build_dir(b, n->inode, below)
                                                    : build_file(b, n->inode, below);
        if (!done)
            return false;
    }
    return true;
}

bool crashdisk_build(const crashdisk *disk, uint8_t *choice, uint64_t *chance, const char *path)
{
    static builder b; /* its memory is used again */
    close_choice(disk, choice);
    b.disk = disk;
    b.choice = choice;
    b.chance = chance;
    b.names.count = 0;
    for (size_t i = 0; i < disk->name_count; i++)
        names_put(&b.names, disk->names[i].dir, disk->names[i].name, disk->names[i].inode);
    for (size_t i = 0; i < disk->unit_count; i++)
        if (choice[i] != UNIT_LOST && disk->units[i].what == UNIT_NAME)
            names_apply(&b.names, disk->units[i].event);
    return build_dir(&b, 0, path);
}

void crashdisk_print(const crashdisk *disk, const uint8_t *choice)
{
    static const char *const fates[] = { "lost ", "there", "torn " };
    static const char *const names[] = { "link", "unlink", "rename" };
    for (size_t i = 0; i < disk->unit_count; i++) {
        const crash_unit *u = &disk->units[i];
        printf("    %s  file %u  ", fates[choice[i]], u->inode);
        if (u->what == UNIT_BYTES)
            printf("%u bytes at %llu\n", u->len, (unsigned long long)u->off);
        else if (u->what == UNIT_NAME)
            printf("%s %s %s\n", names[u->event->what], u->event->name, u->event->to_name);
        else
            printf("size %llu\n", (unsigned long long)u->off);
    }
}
