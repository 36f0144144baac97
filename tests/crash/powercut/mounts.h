/* mounts.h - a place of our own to mount in, loop devices, programs. One thread.
 *
 * Everything lies in a mount namespace of this process on a tmpfs, and loop devices
 * clear themselves with the last mount: so all of it goes when the process ends, in
 * whatever way. */
#ifndef POWERCUT_MOUNTS_H
#define POWERCUT_MOUNTS_H

#define MOUNTS "/mnt" /* the tmpfs, seen by us alone */

/* NULL, or why root cannot do it on this machine. */
const char *mounts_enter(void);

/* Attach the file to a loop device and mount the ext4 on it; 0 or -1, errno. */
int mounts_add(const char *file, const char *directory);

/* Unmount; the loop device goes, too. -1: it is still busy after ten seconds. */
int mounts_remove(const char *directory);

int mounts_copy(const char *from, const char *to); /* a file, holes stay holes */

/* Run a program of e2fsprogs to its end, silently; its status, -1 if it has none. */
int mounts_run(char *const words[]);

#endif
