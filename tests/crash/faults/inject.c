/* inject.c - functions of the C library, on their way there.
 *
 * Happy path: a call is counted under its kind and caller, and the real one is made.
 * The one that is to fail, or all from there on, get the error instead, without
 * anything having been done; FAULT_SHORT does the first half of a transfer. A function
 * whose name LMDB or libuv call differently (open64) is here under both.
 *
 * Allocations: the C library's own names for malloc & co are used behind ours, so that
 * nothing is looked up before it can be allocated. Any thread. */
#include "tests/crash/faults/inject.h"

#include "storage/memory.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#define SEEN __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)

injection *inject;

const char *const fault_names[FAULT_KIND_COUNT] = {
#define FAULT_NAME(id, text) [FAULT_##id] = text,
    FAULT_KINDS(FAULT_NAME)
#undef FAULT_NAME
};

static _Thread_local int quiet; /* what the harness itself does */

bool inject_can(fault_kind kind)
{
#ifdef SANITIZED
    return kind != FAULT_MALLOC && kind != FAULT_THREAD && kind != FAULT_LOCKS
        && kind != FAULT_MMAP;
#else
    return kind < FAULT_KIND_COUNT;
#endif
}

/* ---- Who calls */

static struct {
    uintptr_t from, to;
} range[MODULES];

static int note_range(struct dl_phdr_info *info, size_t size, void *user)
{
    int module = strstr(info->dlpi_name, "liblmdb") ? BY_LMDB
        : strstr(info->dlpi_name, "libuv") ? BY_UV
        : info->dlpi_name[0] == 0 && !range[BY_US].to ? BY_US : BY_OTHERS;
    (void)size, (void)user;
    for (int i = 0; module != BY_OTHERS && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
            continue;
        range[module].from = info->dlpi_addr + p->p_vaddr;
        range[module].to = range[module].from + p->p_memsz;
    }
    return 0;
}

void inject_begin(void)
{
    void *frames[4];
    (void)dl_iterate_phdr(note_range, NULL);
    (void)backtrace(frames, 4); /* it allocates the first time */
}

static int module_of(const void *caller)
{
    for (int i = 0; i < BY_OTHERS; i++)
        if ((uintptr_t)caller >= range[i].from && (uintptr_t)caller < range[i].to)
            return i;
    return BY_OTHERS;
}

void inject_note_death(void)
{
    quiet++;
    atomic_store(&inject->died_count, backtrace(inject->died, FAULT_FRAMES));
    quiet--;
}

int inject_died_in(void)
{
    int count = atomic_load(&inject->died_count), ours = 0;
    for (int i = 0; i < count; i++) {
        int module = module_of(inject->died[i]);
        if (module == BY_US && ours++ < 2)
            continue; /* the handler's own */
        if (module != BY_OTHERS)
            return module;
    }
    return BY_OTHERS;
}

/* ---- Does this call fail? 0, an errno, or FAULT_SHORT. */

static int fails_as(int kind, const void *caller)
{
    int module = module_of(caller), saved = errno;
    atomic_fetch_add_explicit(&inject->met[kind][module], 1, memory_order_relaxed);
    if (kind != inject->kind || !(inject->modules & 1u << module))
        return 0;
    uint32_t n = atomic_fetch_add(&inject->eligible, 1) + 1;
    if (n != inject->nth && !(inject->for_good && n > inject->nth))
        return 0;
    bool first = atomic_fetch_add(&inject->hits, 1) == 0;
    if (first) {
        quiet++;
        inject->where_module = module;
        atomic_store(&inject->where_count, backtrace(inject->where, FAULT_FRAMES));
        quiet--;
    }
    errno = saved;
    return inject->error == FAULT_LATE && !first ? EIO : inject->error;
}

static inline int fails(int kind, const void *caller)
{
    if (!inject || quiet || !atomic_load_explicit(&inject->armed, memory_order_relaxed))
        return 0;
    return fails_as(kind, caller);
}

static int ours_fails(void *user, size_t size)
{
    (void)user, (void)size;
    return fails(FAULT_OURS, (const void *)range[BY_US].from) != 0;
}

void inject_arm(void)
{
    hf_mem_hook(ours_fails, NULL);
    atomic_store(&inject->armed, true);
}

void inject_disarm(void)
{
    atomic_store(&inject->armed, false);
}

/* ---- Files */

#define REAL(name) ((__typeof__(&name))(uintptr_t)found(&real_##name, #name))

static void *found(void **slot, const char *name)
{
    void *real = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    if (!real) {
        quiet++;
        real = dlsym(RTLD_NEXT, name);
        quiet--;
        __atomic_store_n(slot, real, __ATOMIC_RELEASE);
    }
    return real;
}

/* A function that fails with -1 and errno. */
#define FAILING(type, failure, kind, name, params, args)                                         \
    static void *real_##name;                                                                    \
    SEEN type name params                                                                        \
    {                                                                                            \
        int error = fails(FAULT_##kind, CALLER);                                                 \
        if (error) {                                                                             \
            if (error == FAULT_LATE)                                                             \
                (void)REAL(name) args;                                                           \
            errno = error > 0 ? error : EIO;                                                     \
            return failure;                                                                      \
        }                                                                                        \
        return REAL(name) args;                                                                  \
    }

/* One that transfers: `half` are the arguments for half of it. */
#define MOVING(kind, name, params, args, half)                                                   \
    static void *real_##name;                                                                    \
    SEEN ssize_t name params                                                                     \
    {                                                                                            \
        int error = fails(FAULT_##kind, CALLER);                                                 \
        if (error == FAULT_SHORT)                                                                \
            return REAL(name) half;                                                              \
        if (error == FAULT_LATE)                                                                 \
            (void)!REAL(name) args;                                                              \
        if (error) {                                                                             \
            errno = error > 0 ? error : EIO;                                                     \
            return -1;                                                                           \
        }                                                                                        \
        return REAL(name) args;                                                                  \
    }

MOVING(WRITE, write, (int fd, const void *at, size_t n), (fd, at, n), (fd, at, (n + 1) / 2))
MOVING(READ, read, (int fd, void *at, size_t n), (fd, at, n), (fd, at, (n + 1) / 2))
MOVING(PWRITE, pwrite, (int fd, const void *at, size_t n, off_t o), (fd, at, n, o),
       (fd, at, (n + 1) / 2, o))
MOVING(PREAD, pread, (int fd, void *at, size_t n, off_t o), (fd, at, n, o),
       (fd, at, (n + 1) / 2, o))
MOVING(WRITEV, writev, (int fd, const struct iovec *v, int n), (fd, v, n), (fd, v, (n + 1) / 2))
/* A peer that has gone stays away. */
static int hang_up(int fd, int error)
{
    if (error == EPIPE || error == ECONNRESET)
        (void)shutdown(fd, SHUT_RDWR);
    return error;
}

#define TALKING(kind, name, type)                                                                \
    static void *real_##name;                                                                    \
    SEEN ssize_t name(int fd, type at, size_t n, int flags)                                      \
    {                                                                                            \
        int error = hang_up(fd, fails(FAULT_##kind, CALLER));                                    \
        if (error == FAULT_SHORT)                                                                \
            n = (n + 1) / 2;                                                                     \
        else if (error) {                                                                        \
            errno = error;                                                                       \
            return -1;                                                                           \
        }                                                                                        \
        return REAL(name)(fd, at, n, flags);                                                     \
    }

TALKING(SEND, send, const void *)
TALKING(RECV, recv, void *)

FAILING(int, -1, FDATASYNC, fdatasync, (int fd), (fd))
FAILING(int, -1, FSYNC, fsync, (int fd), (fd))
FAILING(int, -1, FTRUNCATE, ftruncate, (int fd, off_t size), (fd, size))
FAILING(int, -1, RENAME, rename, (const char *from, const char *to), (from, to))
FAILING(int, -1, UNLINK, unlink, (const char *path), (path))
FAILING(int, -1, UNLINK, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
FAILING(int, -1, UNLINK, rmdir, (const char *path), (path))
FAILING(int, -1, MKDIR, mkdir, (const char *path, mode_t mode), (path, mode))
FAILING(int, -1, LINK, link, (const char *from, const char *to), (from, to))
FAILING(int, -1, STAT, stat, (const char *path, struct stat *st), (path, st))
FAILING(int, -1, STAT, lstat, (const char *path, struct stat *st), (path, st))
FAILING(int, -1, STAT, fstat, (int fd, struct stat *st), (fd, st))
FAILING(int, -1, STAT, statfs, (const char *path, struct statfs *st), (path, st))
FAILING(int, -1, STAT, fstatfs, (int fd, struct statfs *st), (fd, st))
FAILING(int, -1, STAT, fstatvfs, (int fd, struct statvfs *st), (fd, st))
FAILING(DIR *, NULL, OPENDIR, opendir, (const char *path), (path))
FAILING(void *, MAP_FAILED, MMAP, mmap, (void *a, size_t n, int p, int f, int fd, off_t o),
        (a, n, p, f, fd, o))

bool inject_pretends;

static void *real_fallocate;
SEEN int fallocate(int fd, int mode, off_t at, off_t size)
{
    int error = fails(FAULT_FALLOCATE, CALLER);
    if (error) {
        errno = error;
        return -1;
    }
    return inject_pretends ? 0 : REAL(fallocate)(fd, mode, at, size);
}

/* It returns its error. */
static void *real_posix_fallocate;
SEEN int posix_fallocate(int fd, off_t at, off_t size)
{
    int error = fails(FAULT_FALLOCATE, CALLER);
    return error ? error : REAL(posix_fallocate)(fd, at, size);
}

#define OPENING(name)                                                                            \
    static void *real_##name;                                                                    \
    SEEN int name(const char *path, int flags, ...)                                              \
    {                                                                                            \
        va_list list;                                                                            \
        int     error = fails(FAULT_OPEN, CALLER);                                               \
        va_start(list, flags);                                                                   \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;                  \
        va_end(list);                                                                            \
        if (error) {                                                                             \
            errno = error;                                                                       \
            return -1;                                                                           \
        }                                                                                        \
        return REAL(name)(path, flags, mode);                                                    \
    }

OPENING(open)
OPENING(open64)

/* Locks, descriptor flags. */
#define CONTROLLING(name)                                                                        \
    static void *real_##name;                                                                    \
    SEEN int name(int fd, int command, ...)                                                      \
    {                                                                                            \
        va_list list;                                                                            \
        int     error = fails(FAULT_FCNTL, CALLER);                                              \
        va_start(list, command);                                                                 \
        void *argument = va_arg(list, void *);                                                   \
        va_end(list);                                                                            \
        if (error) {                                                                             \
            errno = error;                                                                       \
            return -1;                                                                           \
        }                                                                                        \
        return REAL(name)(fd, command, argument);                                                \
    }

CONTROLLING(fcntl)
CONTROLLING(fcntl64)

/* ---- Sockets, events, threads */

FAILING(int, -1, SOCKET, socket, (int domain, int type, int protocol), (domain, type, protocol))
FAILING(int, -1, BIND, bind, (int fd, __CONST_SOCKADDR_ARG a, socklen_t n), (fd, a, n))
FAILING(int, -1, LISTEN, listen, (int fd, int backlog), (fd, backlog))
FAILING(int, -1, ACCEPT, accept4, (int fd, __SOCKADDR_ARG a, socklen_t *n, int f), (fd, a, n, f))
FAILING(int, -1, CONNECT, connect, (int fd, __CONST_SOCKADDR_ARG a, socklen_t n), (fd, a, n))
FAILING(int, -1, POLL, poll, (struct pollfd *fds, nfds_t n, int ms), (fds, n, ms))
FAILING(int, -1, POLL, epoll_pwait,
        (int fd, struct epoll_event *e, int n, int ms, const sigset_t *s), (fd, e, n, ms, s))
FAILING(int, -1, POLL, epoll_wait, (int fd, struct epoll_event *e, int n, int ms), (fd, e, n, ms))
FAILING(int, -1, PIPE, pipe2, (int ends[2], int flags), (ends, flags))
FAILING(int, -1, EVENTFD, eventfd, (unsigned start, int flags), (start, flags))
FAILING(int, -1, EPOLL, epoll_create1, (int flags), (flags))
FAILING(int, -1, EPOLL_CTL, epoll_ctl, (int fd, int op, int of, struct epoll_event *e),
        (fd, op, of, e))

/* These return their error. Under a sanitizer they are its own. */
#ifndef SANITIZED
#define RETURNING(kind, name, params, args)                                                      \
    static void *real_##name;                                                                    \
    SEEN int name params                                                                         \
    {                                                                                            \
        int error = fails(FAULT_##kind, CALLER);                                                 \
        return error ? error : REAL(name) args;                                                  \
    }

RETURNING(THREAD, pthread_create,
          (pthread_t * t, const pthread_attr_t *a, void *(*run)(void *), void *user),
          (t, a, run, user))
RETURNING(LOCKS, pthread_mutex_init, (pthread_mutex_t * m, const pthread_mutexattr_t *a), (m, a))
RETURNING(LOCKS, pthread_cond_init, (pthread_cond_t * c, const pthread_condattr_t *a), (c, a))
#endif

/* ---- Allocations, and who keeps them */

#ifndef SANITIZED
enum { BLOCKS = 1 << 17 };

static struct {
    void *block, *keeper;
} blocks[BLOCKS];
static atomic_bool watching;
static atomic_flag blocks_lock = ATOMIC_FLAG_INIT;

static size_t slot_of(const void *block)
{
    return (uintptr_t)block / 16 * 0x9e3779b97f4a7c15u >> 20 & (BLOCKS - 1);
}

static void blocks_enter(void)
{
    while (atomic_flag_test_and_set_explicit(&blocks_lock, memory_order_acquire))
        ;
}

static void blocks_leave(void)
{
    atomic_flag_clear_explicit(&blocks_lock, memory_order_release);
}

static void *taken(void *block, void *caller)
{
    if (!block || !atomic_load_explicit(&watching, memory_order_relaxed) || quiet
        || module_of(caller) == BY_OTHERS)
        return block;
    blocks_enter();
    size_t at = slot_of(block);
    while (blocks[at].block && blocks[at].block != block)
        at = (at + 1) & (BLOCKS - 1);
    blocks[at].block = block;
    blocks[at].keeper = caller;
    blocks_leave();
    return block;
}

/* Slots stay taken by a block that is gone until it comes again: `keeper` is NULL. */
static void given(const void *block)
{
    if (!block || !atomic_load_explicit(&watching, memory_order_relaxed))
        return;
    blocks_enter();
    for (size_t at = slot_of(block); blocks[at].block; at = (at + 1) & (BLOCKS - 1))
        if (blocks[at].block == block) {
            blocks[at].keeper = NULL;
            break;
        }
    blocks_leave();
}

void inject_watch_blocks(void)
{
    atomic_store(&watching, true);
}

void inject_count_blocks(void)
{
    atomic_store(&watching, false);
    inject->kept = 0;
    for (size_t i = 0; i < BLOCKS; i++)
        if (blocks[i].keeper && inject->kept++ == 0)
            inject->keeper = blocks[i].keeper;
}

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t align, size_t size);
extern void  __libc_free(void *block);

static bool no_memory(void *caller)
{
    if (!fails(FAULT_MALLOC, caller))
        return false;
    errno = ENOMEM;
    return true;
}

SEEN void *malloc(size_t size)
{
    return no_memory(CALLER) ? NULL : taken(__libc_malloc(size), CALLER);
}

SEEN void *calloc(size_t count, size_t size)
{
    return no_memory(CALLER) ? NULL : taken(__libc_calloc(count, size), CALLER);
}

SEEN void *realloc(void *block, size_t size)
{
    if (size && no_memory(CALLER))
        return NULL;
    given(block);
    void *now = __libc_realloc(block, size);
    return !now && size ? (taken(block, CALLER), NULL) : taken(now, CALLER);
}

SEEN int posix_memalign(void **block, size_t align, size_t size)
{
    if (no_memory(CALLER))
        return ENOMEM;
    void *made = __libc_memalign(align, size);
    if (!made)
        return ENOMEM;
    *block = taken(made, CALLER);
    return 0;
}

SEEN void *aligned_alloc(size_t align, size_t size)
{
    return no_memory(CALLER) ? NULL : taken(__libc_memalign(align, size), CALLER);
}

static void *real_strdup;
SEEN char *strdup(const char *text)
{
    return no_memory(CALLER) ? NULL : taken(REAL(strdup)(text), CALLER);
}

SEEN void free(void *block)
{
    given(block);
    __libc_free(block);
}
#else
void inject_watch_blocks(void)
{
}

void inject_count_blocks(void)
{
    inject->kept = 0; /* its own leak check says more */
}
#endif
