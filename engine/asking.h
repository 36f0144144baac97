/* asking.h - the table of open asks from inside: ask.c and follow.c. */
#ifndef ENGINE_ASKING_H
#define ENGINE_ASKING_H

#include "engine/ask.h"

enum { HF_ASKS_CHUNK = 1024 };

/* The newest note, until its callback is made. */
typedef struct hf_asking_note {
    size_t  len;
    uint8_t bytes[HF_NOTE_MAX];
} hf_asking_note;

typedef struct hf_asking {
    hf_callback     answered, noted;
    struct hf_asks *asks;
    uint64_t        number;     /* 0: it is over, or the slot is free */
    uint64_t        due_ns;
    uint32_t        slot, heap; /* heap: index + 1; 0: not in it */
    uint32_t        next_free;
    int             err;
    bool            begun;      /* its letter was taken: now it may end by itself */
    bool            note_queued, told;
    hf_answer_fn    answer;
    void          (*progress)(void *user, hf_bytes note);
    void           *user;
    hf_response    *reply;
    hf_asking_note *note;       /* NULL: nobody wants to know */
    char           *word;       /* of a letter with .dedupe: address 00 word */
    uint64_t        follows;    /* it was sent before, as this message */
    struct hf_asking  *follower, **follower_link; /* all that were */
} hf_asking;

struct hf_asks {
    hf_engine      *engine;
    pthread_mutex_t lock;
    hf_asking      *chunks[HF_ASKS_MAX / HF_ASKS_CHUNK];
    uint32_t        slots, free;   /* made so far; first that is free */
    _Atomic uint64_t open;
    uint64_t        count;         /* upper part of the next number */
    int             stopped;       /* HF_OK, or what whoever asks is told */
    hf_asking     **heap;          /* by due_ns; has room for all slots */
    uint32_t        heap_count, heap_room;
    uint64_t        armed_ns;      /* when the clock will ask what is due */
    hf_asking      *followers;     /* wait for what came of the first letter of their word */
    _Atomic uint32_t follower_count;
    bool            look;          /* for some of them that may be known now */
    void          (*wake)(void *user);
    void           *waker;
};

/* Under the lock: the open ask of this number, or NULL. */
hf_asking *hf_asks_find(const struct hf_asks *asks, uint64_t number);
/* Under the lock: the loop is to call hf_asks_expire. */
static inline void hf_asks_wake(struct hf_asks *asks)
{
    if (asks->wake)
        asks->wake(asks->waker);
}

/* follow.c: letters that were sent before. hf_asks_unfollow under the lock, hf_asks_look
 * on the loop's thread. */
void hf_asks_follow(struct hf_asks *asks, uint64_t number, uint64_t first);
void hf_asks_unfollow(struct hf_asks *asks, hf_asking *asking);
void hf_asks_look(struct hf_asks *asks);

#endif
