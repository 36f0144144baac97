/* nth_more.h - further calls of the file system that fail when it is their turn: those
 * that copies of a store make. Behind nth_call.h, for one test program, in its one .c file. */
#ifndef UNIT_NTH_MORE_H
#define UNIT_NTH_MORE_H

#include "tests/unit/nth_call.h"

#include <stdio.h>
#include <sys/file.h>

NTH_CALL(ssize_t, -1, NTH_FILE, read, (int fd, void *at, size_t size), (fd, at, size))
NTH_CALL(ssize_t, -1, NTH_FILE, write, (int fd, const void *at, size_t size), (fd, at, size))
NTH_CALL(off_t, -1, NTH_FILE, lseek, (int fd, off_t to, int from), (fd, to, from))
NTH_CALL(int, -1, NTH_FILE, flock, (int fd, int how), (fd, how))
NTH_CALL(int, -1, NTH_FILE, link, (const char *from, const char *to), (from, to))
NTH_CALL(int, -1, NTH_FILE, chmod, (const char *path, mode_t mode), (path, mode))
NTH_CALL(int, -1, NTH_FILE, lchown, (const char *path, uid_t user, gid_t group),
         (path, user, group))
NTH_CALL(int, -1, NTH_FILE, renameat2,
         (int from_at, const char *from, int to_at, const char *to, unsigned flags),
         (from_at, from, to_at, to, flags))

#endif
