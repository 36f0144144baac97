/* child.c - do something in a child process and hand its rows on.
 *
 * Happy path: fork; the child works and writes each row, its length before it, into a
 * pipe, and at last how it ended; the parent tells the rows. A child that is ended by a
 * signal (LMDB on a damaged file) is told as such, with all rows it told before. */
#include "tools/child.h"

#include "tools/buffer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROW_MAX = 64 << 20 };
#define LAST_FRAME UINT32_MAX

typedef struct child_last {
    int32_t err;
    char    detail[512];
} child_last;

static bool write_all(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len) {
        ssize_t put = write(fd, at, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        at += put;
        len -= (size_t)put;
    }
    return true;
}

/* 1: read, 0: it ended before, -1: failed. */
static int read_all(int fd, void *data, size_t len)
{
    char *at = data;
    while (len) {
        ssize_t got = read(fd, at, len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got ? -1 : 0;
        at += got;
        len -= (size_t)got;
    }
    return 1;
}

static int send_row(void *user, hf_bytes row)
{
    int fd = *(int *)user;
    uint32_t len = (uint32_t)row.len;
    if (row.len > ROW_MAX)
        return HF_ETOOBIG;
    return write_all(fd, &len, sizeof len) && write_all(fd, row.data, row.len) ? HF_OK : HF_EIO;
}

_Noreturn static void be_child(cli_child_work work, void *user, int fd)
{
    child_last last = { 0 };
    uint32_t mark = LAST_FRAME;
    last.err = work(user, send_row, &fd);
    (void)snprintf(last.detail, sizeof last.detail, "%s", hf_detail());
    bool told = write_all(fd, &mark, sizeof mark) && write_all(fd, &last, sizeof last);
    _exit(told ? 0 : 1);
}

/* Rows until the last frame; *over: it came. */
static int receive(int fd, hf_row_fn each, void *to, cli_child_end *end, bool *over)
{
    char *row = NULL;
    size_t room = 0;
    int err = HF_OK;
    *over = false;
    while (!err) {
        uint32_t len;
        child_last last;
        if (read_all(fd, &len, sizeof len) != 1)
            break;
        if (len == LAST_FRAME) {
            *over = read_all(fd, &last, sizeof last) == 1;
            if (*over) {
                end->err = last.err;
                memcpy(end->detail, last.detail, sizeof end->detail);
                end->detail[sizeof end->detail - 1] = '\0';
            }
            break;
        }
        if (len > ROW_MAX)
            break;
        if (len > room) {
            free(row);
            row = malloc(room = len);
        }
        if (!row)
            err = HF_ENOMEM;
        else if (read_all(fd, row, len) != 1)
            break;
        else
            err = each(to, hf_view(row, len));
    }
    free(row);
    return err;
}

static int not_begun(cli_child_end *end)
{
    (void)snprintf(end->detail, sizeof end->detail, "cannot begin a child: %s", strerror(errno));
    return HF_OK;
}

int cli_child_run(cli_child_work work, void *user, hf_row_fn each, void *to, cli_child_end *end)
{
    int pipes[2], status = 0;
    bool over;
    *end = (cli_child_end){ .err = HF_EIO };
    (void)fflush(NULL);
    if (pipe(pipes))
        return not_begun(end);
    pid_t pid = fork();
    if (pid < 0) {
        (void)not_begun(end);
        (void)close(pipes[0]);
        (void)close(pipes[1]);
        return HF_OK;
    }
    if (pid == 0) {
        (void)close(pipes[0]);
        be_child(work, user, pipes[1]);
    }
    (void)close(pipes[1]);
    int err = receive(pipes[0], each, to, end, &over);
    (void)close(pipes[0]);
    if (err)
        (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!over && WIFSIGNALED(status))
        end->signal = WTERMSIG(status);
    return err;
}
