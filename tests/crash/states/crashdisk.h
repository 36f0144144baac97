/* crashdisk.h - what a disk may hold when the machine stops.
 *
 * Events of a tape are played into it one by one. It keeps what is surely on disk,
 * and the units that may be: blocks of 4 KiB that were written and not synced,
 * sizes, names whose directory was not synced. Any choice of them, whole or torn at
 * 512 bytes, may have arrived; a block that was written twice arrives as it was at
 * one of these moments, so a later write brings the earlier ones along. */
#ifndef STATES_CRASHDISK_H
#define STATES_CRASHDISK_H

#include "tests/crash/states/recorder.h"

enum { BLOCK = 4096, SECTOR = 512 };

typedef struct crash_node {
    bool     is_dir;
    uint8_t *bytes;
    uint64_t size, room;
} crash_node;

typedef struct crash_name {
    uint32_t dir, inode;
    char     name[TAPE_NAME];
} crash_name;

typedef enum unit_what { UNIT_BYTES, UNIT_GROW, UNIT_SIZE, UNIT_NAME } unit_what;

typedef struct crash_unit {
    uint8_t           what;
    bool              fresh; /* came since the last point whose states were built */
    uint32_t          inode, len;
    uint64_t          off; /* GROW, SIZE: the size */
    const uint8_t    *bytes;
    const tape_event *event; /* NAME */
} crash_unit;

typedef struct crashdisk {
    crash_node *nodes;
    uint32_t    node_count;
    crash_name *names;
    size_t      name_count, name_room;
    crash_unit *units;
    size_t      unit_count, unit_room;
    uint64_t    acked, begun;
    bool        changed; /* since the last point: what is sure, or what must be there */
} crashdisk;

void crashdisk_init(crashdisk *disk, const tape *of);
void crashdisk_free(crashdisk *disk);
void crashdisk_play(crashdisk *disk, const tape_event *event);
void crashdisk_settle(crashdisk *disk); /* a point is done: nothing is fresh */

/* What becomes of a unit. */
enum { UNIT_LOST, UNIT_THERE, UNIT_TORN };

/* Build the choice under `path`, a directory that holds no other names than are wanted
 * now; files are overwritten. Returns false if one cannot be written. `chance` decides which
 * sectors of torn blocks arrive. */
bool crashdisk_build(const crashdisk *disk, uint8_t *choice, uint64_t *chance, const char *path);

/* One line a unit, for people. */
void crashdisk_print(const crashdisk *disk, const uint8_t *choice);

uint64_t chance_next(uint64_t *chance); /* splitmix64 */

#endif
