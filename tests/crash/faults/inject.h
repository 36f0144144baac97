/* inject.h - one call of the system, or one allocation, that is made to fail.
 *
 * inject.c defines the functions of the C library that the library, LMDB and libuv
 * call, so that all three find them here first. What is to fail stands in memory shared
 * with the driver, as does what was met and where the fault fell. */
#ifndef FAULTS_INJECT_H
#define FAULTS_INJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAULT_KINDS(X)                                                                     \
    X(OPEN, "open") X(WRITE, "write") X(PWRITE, "pwrite") X(WRITEV, "writev")                    \
    X(READ, "read") X(PREAD, "pread") X(FDATASYNC, "fdatasync") X(FSYNC, "fsync")                \
    X(FTRUNCATE, "ftruncate") X(FALLOCATE, "fallocate") X(MMAP, "mmap") X(RENAME, "rename")      \
    X(UNLINK, "unlink") X(MKDIR, "mkdir") X(LINK, "link") X(FCNTL, "fcntl") X(STAT, "stat")      \
    X(OPENDIR, "opendir") X(SOCKET, "socket") X(BIND, "bind") X(LISTEN, "listen")                \
    X(ACCEPT, "accept") X(CONNECT, "connect") X(SEND, "send") X(RECV, "recv") X(POLL, "poll")    \
    X(PIPE, "pipe") X(EVENTFD, "eventfd") X(EPOLL, "epoll_create") X(EPOLL_CTL, "epoll_ctl")     \
    X(THREAD, "pthread_create") X(LOCKS, "mutex_init") X(OURS, "hf_mem") X(MALLOC, "malloc")

typedef enum fault_kind {
#define FAULT_ENUM(id, text) FAULT_##id,
    FAULT_KINDS(FAULT_ENUM)
#undef FAULT_ENUM
    FAULT_KIND_COUNT
} fault_kind;

/* Who called. */
typedef enum fault_module { BY_US, BY_LMDB, BY_UV, BY_OTHERS, MODULES } fault_module;

/* Instead of an errno. LATE: done, and EIO all the same; if it is for good, those after
 * the first are not done. */
enum { FAULT_SHORT = -1 /* half of it is done */, FAULT_LATE = -2, FAULT_FRAMES = 24 };

typedef struct injection {
    atomic_bool armed;
    int         kind, error;  /* kind FAULT_KIND_COUNT: count only */
    unsigned    modules;      /* bits of who is hit */
    uint32_t    nth;          /* from 1 */
    bool        for_good;
    atomic_uint eligible;     /* calls of that kind by those modules */
    atomic_uint hits;
    atomic_uint met[FAULT_KIND_COUNT][MODULES];
    /* of the first hit, and of a signal that killed */
    void       *where[FAULT_FRAMES], *died[FAULT_FRAMES];
    atomic_int  where_count, died_count;
    int         where_module;
    /* blocks taken while armed or after it, and not given back */
    uint32_t    kept;
    void       *keeper;       /* who took the first of them */
} injection;

extern bool inject_pretends; /* a mutant: what fallocate does is not done, and said to be */

extern injection *inject; /* shared; NULL: nothing is injected */

extern const char *const fault_names[FAULT_KIND_COUNT];
/* Can calls of this kind fail in this build? A sanitizer has its own malloc. */
bool inject_can(fault_kind kind);

void inject_begin(void);  /* once a process: where the libraries lie */
void inject_arm(void);
void inject_disarm(void);
/* From here on blocks are counted: those taken by us, LMDB and libuv. */
void inject_watch_blocks(void);
void inject_count_blocks(void); /* into `kept`, and no further */
void inject_note_death(void);   /* in a signal handler */
int  inject_died_in(void);      /* module of the innermost frame that is not the C library's */

#endif
