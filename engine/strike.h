/* strike.h - who was running when the process died.
 *
 * The file `strikes` in the store, mapped: a slot for each thread that runs
 * turns, and the suspects of earlier deaths. Before a turn its thread stores the
 * message's id and its actor's hash in its slot: two plain stores, no sync. The
 * page cache outlives the process; boot id and run number tell a death of the
 * process from one of the machine, and that none is counted twice. */
#ifndef ENGINE_STRIKE_H
#define ENGINE_STRIKE_H

#include <stdbool.h>
#include <stdint.h>

enum { HF_STRIKE_SLOTS = 2048, HF_SUSPECTS = 256 };

typedef struct hf_strike_slot {
    volatile uint64_t id, hash; /* 0: runs nothing */
} hf_strike_slot;

typedef struct hf_suspect {
    uint64_t id, hash;
    uint32_t deaths;   /* in a row at which it was running */
    uint32_t strikes;  /* of them, how often it ran alone */
    uint64_t until_ms; /* after a strike: not before (wall clock) */
} hf_suspect;

typedef struct hf_strike_file hf_strike_file;
typedef struct hf_strikes {
    hf_strike_file *file;      /* mapped */
    hf_suspect     *suspects;  /* inside it */
    uint32_t        count;
    bool            died;      /* the last run ended by a death of the process */
} hf_strikes;

/* Open or create; judge what the last run left: each id in a slot becomes a
 * suspect or one death older; suspects that were not running are acquitted; one
 * that ran alone gets a strike. A clean end, a power loss, a damaged or foreign
 * file accuse nobody. Errors: HF_EIO, HF_EFULL, HF_ENOMEM. */
int  hf_strikes_open(hf_strikes *strikes, const char *store);
void hf_strikes_close(hf_strikes *strikes, bool clean);

/* The slot of a thread that runs turns; NULL when all are taken. */
hf_strike_slot *hf_strikes_slot(hf_strikes *strikes);
void hf_strikes_slot_free(hf_strikes *strikes, hf_strike_slot *slot);
/* What it runs, 0: nothing. Its thread writes that meanwhile: old or new. Any thread. */
uint64_t hf_strike_slot_id(const hf_strike_slot *slot);

/* Ids that run now, as the slots say; returns how many (at most room). */
uint32_t hf_strikes_running(const hf_strikes *strikes, uint64_t *ids, uint32_t room);

/* Note that this suspect runs alone now, or (0) that nobody does any more. */
void hf_strikes_alone(hf_strikes *strikes, uint64_t id);

hf_suspect *hf_strikes_find(const hf_strikes *strikes, uint64_t id); /* NULL: no suspect */
void hf_strikes_acquit(hf_strikes *strikes, uint64_t id); /* it ended, one way or another */

#endif
