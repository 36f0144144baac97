/* strike_file.h - the file `strikes` as it lies on disk, and what it tells.
 *
 * Two lives of an engine, of which one is valid: the next life is written whole
 * into the other half before one store makes that the valid one. So a process
 * that dies in the middle of judging leaves what was there before, and no death
 * counts twice. Little is believed: a life has a checksum, each suspect too, and
 * whatever is not as it should be accuses nobody. */
#ifndef ENGINE_STRIKE_FILE_H
#define ENGINE_STRIKE_FILE_H

#include "engine/strike.h"

enum { HF_STRIKE_VERSION = 1, HF_BOOT_ID = 40 };
#define HF_STRIKE_MAGIC UINT64_C(0x656b697274736668) /* "hfstrike" */

/* Which machine run and which file: a copy of it accuses nobody. */
typedef struct hf_strike_origin {
    char     boot[HF_BOOT_ID]; /* /proc/sys/kernel/random/boot_id; "" when unknown */
    uint64_t inode;
    uint64_t pid;
} hf_strike_origin;

typedef struct hf_strike_life {
    hf_strike_origin  origin;
    uint64_t          run;   /* counts the lives of this file */
    uint64_t          check; /* of the above */
    volatile uint64_t clean; /* 1: it ended by hf_strikes_close */
    volatile uint64_t alone; /* id of the suspect that runs alone, 0: none */
    hf_strike_slot    slots[HF_STRIKE_SLOTS];
    hf_suspect        suspects[HF_SUSPECTS];
    uint64_t          checks[HF_SUSPECTS];
} hf_strike_life;

typedef struct hf_strike_image {
    uint64_t          magic;
    uint32_t          version;
    uint32_t          size;  /* of all this */
    volatile uint64_t valid; /* 0 or 1: the life that counts */
    hf_strike_life    life[2];
} hf_strike_image;

/* The life that counts; NULL: none can be believed. */
const hf_strike_life *hf_strike_last(const hf_strike_image *image);

/* How long a message waits that killed so often, alone; it did at least once. */
uint64_t hf_strike_pause_ms(uint32_t strikes);

/* Make `next`, the life that begins now, out of the last one (may be NULL).
 * Returns whether that one ended by a death of the process. Pure. */
bool hf_strike_judge(const hf_strike_life *last, const hf_strike_origin *now, uint64_t now_ms,
                     hf_strike_life *next);

#endif
