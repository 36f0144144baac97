/* control_client.h - ask the engine that has a store, through its socket. */
#ifndef RECOVERY_CONTROL_CLIENT_H
#define RECOVERY_CONTROL_CLIENT_H

#include "recovery/holdfast_recovery.h"

#include <stdbool.h>

enum { HF_CONTROL_SILENCE_MS = 5000 };

/* Is the store locked: does an engine, or a tool that changes it, have it open?
 * *pid: of it, 0 when unknown. */
bool hf_control_locked(const char *path, uint64_t *pid);

/* The socket's address, short enough however deep the store lies; `directory` is
 * an open descriptor of it, which must stay open while the address is used. */
struct sockaddr_un;
void hf_control_address(struct sockaddr_un *address, int directory);

/* A connection; HF_ENOTFOUND: nobody listens there. */
int hf_control_connect(int *fd, const char *path);

typedef struct hf_control_call {
    const char *verb;       /* "ask" or "change" */
    const char *name;
    hf_bytes    arguments;
    uint32_t    silence_ms; /* longer without a word: it is hung */
    hf_row_fn   each;
    void       *user;
    /* how far it came */
    bool        sent;       /* the request, whole */
    uint64_t    rows;       /* that were told */
    bool        ended;      /* the engine's own answer; false: the way failed */
} hf_control_call;

/* Ask and tell each row; closes fd. What the engine or `each` answered, or
 * HF_ETIMEDOUT, HF_ECLOSED, HF_EIO, HF_ENOMEM with `ended` false. */
int hf_control_ask(int fd, hf_control_call *call);

#endif
