/* points.c - which calls fail how, and what is known to end badly in a library of others.
 *
 * A table; any thread. */
#include "tests/crash/faults/points.h"

#include <errno.h>

#define US    (1u << BY_US)
#define LMDB  (1u << BY_LMDB)
#define UV    (1u << BY_UV)
#define FILES (US | LMDB)
#define ALL   (US | LMDB | UV)

enum { BOTH = 0, ONCE = 1, UNSEEN = 3 /* once, and nobody may notice */ };

const fault_plan fault_plans[] = {
    { FAULT_OPEN, EIO, FILES, BOTH, "EIO" },
    { FAULT_OPEN, EMFILE, ALL, BOTH, "EMFILE" },
    { FAULT_OPEN, ENOSPC, FILES, BOTH, "ENOSPC" },
    { FAULT_WRITE, EINTR, ALL, UNSEEN, "EINTR" },
    { FAULT_READ, EINTR, UV, UNSEEN, "EINTR" },
    { FAULT_READ, EIO, US, BOTH, "EIO" },
    { FAULT_READ, FAULT_SHORT, US, BOTH, "short" },
    { FAULT_PWRITE, EIO, FILES, BOTH, "EIO" },
    { FAULT_PWRITE, ENOSPC, FILES, BOTH, "ENOSPC" },
    { FAULT_PWRITE, EDQUOT, FILES, BOTH, "EDQUOT" },
    { FAULT_PWRITE, EINTR, LMDB, UNSEEN, "EINTR" },
    { FAULT_PWRITE, FAULT_SHORT, FILES, BOTH, "short" },
    { FAULT_PWRITE, FAULT_LATE, FILES, BOTH, "late" },
    { FAULT_WRITEV, EIO, LMDB, BOTH, "EIO" },
    { FAULT_WRITEV, ENOSPC, LMDB, BOTH, "ENOSPC" },
    { FAULT_WRITEV, EINTR, LMDB, UNSEEN, "EINTR" },
    { FAULT_WRITEV, FAULT_SHORT, LMDB, BOTH, "short" },
    { FAULT_PREAD, EIO, FILES, BOTH, "EIO" },
    { FAULT_PREAD, FAULT_SHORT, FILES, BOTH, "short" },
    { FAULT_FDATASYNC, EIO, FILES, BOTH, "EIO" },
    { FAULT_FDATASYNC, ENOSPC, FILES, BOTH, "ENOSPC" },
    { FAULT_FDATASYNC, FAULT_LATE, FILES, BOTH, "late" },
    { FAULT_FSYNC, EIO, FILES, BOTH, "EIO" },
    { FAULT_FSYNC, FAULT_LATE, FILES, BOTH, "late" },
    { FAULT_FTRUNCATE, EIO, FILES, BOTH, "EIO" },
    { FAULT_FTRUNCATE, ENOSPC, FILES, BOTH, "ENOSPC" },
    { FAULT_FALLOCATE, ENOSPC, FILES, BOTH, "ENOSPC" },
    { FAULT_FALLOCATE, EOPNOTSUPP, FILES, BOTH, "EOPNOTSUPP" },
    { FAULT_FALLOCATE, EIO, FILES, BOTH, "EIO" },
    { FAULT_FALLOCATE, EDQUOT, FILES, BOTH, "EDQUOT" },
    { FAULT_FALLOCATE, EINTR, FILES, UNSEEN, "EINTR" },
    { FAULT_MMAP, ENOMEM, FILES, BOTH, "ENOMEM" },
    { FAULT_RENAME, EIO, FILES, BOTH, "EIO" },
    { FAULT_RENAME, ENOSPC, FILES, BOTH, "ENOSPC" },
    { FAULT_RENAME, FAULT_LATE, FILES, BOTH, "late" },
    { FAULT_UNLINK, EIO, FILES, BOTH, "EIO" },
    { FAULT_MKDIR, EIO, FILES, BOTH, "EIO" },
    { FAULT_MKDIR, ENOSPC, FILES, BOTH, "ENOSPC" },
    { FAULT_LINK, EIO, FILES, BOTH, "EIO" },
    { FAULT_FCNTL, EIO, FILES, BOTH, "EIO" },
    { FAULT_FCNTL, ENOLCK, FILES, BOTH, "ENOLCK" },
    { FAULT_FCNTL, EINTR, FILES, UNSEEN, "EINTR" },
    { FAULT_STAT, EIO, FILES, BOTH, "EIO" },
    { FAULT_OPENDIR, EMFILE, FILES, BOTH, "EMFILE" },
    { FAULT_SOCKET, EMFILE, ALL, BOTH, "EMFILE" },
    { FAULT_BIND, ENOSPC, ALL, BOTH, "ENOSPC" },
    { FAULT_BIND, EIO, ALL, BOTH, "EIO" },
    { FAULT_LISTEN, EADDRINUSE, ALL, BOTH, "EADDRINUSE" },
    { FAULT_ACCEPT, EMFILE, US, BOTH, "EMFILE" },
    { FAULT_ACCEPT, EINTR, US, UNSEEN, "EINTR" },
    { FAULT_ACCEPT, ECONNABORTED, US, UNSEEN, "ECONNABORTED" },
    { FAULT_CONNECT, EAGAIN, US, ONCE, "EAGAIN" },
    { FAULT_CONNECT, ECONNREFUSED, US, BOTH, "ECONNREFUSED" },
    { FAULT_CONNECT, EINTR, US, UNSEEN, "EINTR" },
    { FAULT_SEND, EPIPE, US, BOTH, "EPIPE" },
    { FAULT_SEND, EINTR, US, UNSEEN, "EINTR" },
    { FAULT_SEND, FAULT_SHORT, US, UNSEEN, "short" },
    { FAULT_RECV, ECONNRESET, US, BOTH, "ECONNRESET" },
    { FAULT_RECV, EINTR, US, UNSEEN, "EINTR" },
    { FAULT_RECV, FAULT_SHORT, US, UNSEEN, "short" },
    { FAULT_POLL, EINTR, US | UV, UNSEEN, "EINTR" },
    { FAULT_PIPE, EMFILE, US, BOTH, "EMFILE" },
    { FAULT_PIPE, EMFILE, UV, BOTH, "EMFILE" },
    { FAULT_EVENTFD, EMFILE, ALL, BOTH, "EMFILE" },
    { FAULT_EPOLL, EMFILE, ALL, BOTH, "EMFILE" },
    { FAULT_EPOLL_CTL, ENOMEM, ALL, BOTH, "ENOMEM" },
    { FAULT_EPOLL_CTL, ENOSPC, ALL, BOTH, "ENOSPC" },
    { FAULT_THREAD, EAGAIN, ALL, BOTH, "EAGAIN" },
    { FAULT_LOCKS, ENOMEM, ALL, BOTH, "ENOMEM" },
    { FAULT_OURS, ENOMEM, US, BOTH, "ENOMEM" },
    { FAULT_MALLOC, ENOMEM, ALL, BOTH, "ENOMEM" },
};
const uint32_t fault_plan_count = sizeof fault_plans / sizeof *fault_plans;

bool fault_plan_once(const fault_plan *plan)
{
    return plan->how & ONCE;
}

bool fault_plan_unseen(const fault_plan *plan)
{
    return plan->how == UNSEEN;
}

const char *fault_known_death(const fault_plan *plan, int module)
{
    if (module != BY_UV)
        return NULL;
    switch (plan->kind) {
    case FAULT_PIPE: return "libuv aborts if its pipe for signals, one a process, cannot be made";
    case FAULT_EPOLL_CTL: return "libuv aborts if the kernel takes no descriptor into epoll";
    case FAULT_MALLOC: return "libuv aborts if its table of descriptors cannot grow";
    default: return NULL;
    }
}

/* uv_loop_init makes epoll first; if what comes then fails, it forgets to close it. */
bool fault_known_leak(int kind)
{
    return kind == FAULT_PIPE || kind == FAULT_EVENTFD || kind == FAULT_LOCKS;
}
