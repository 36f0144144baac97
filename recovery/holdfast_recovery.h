/* holdfast_recovery.h - look into a store, and change it from outside.
 *
 * Looking works on a live store (the engine is asked through its control
 * socket), on the store of a dead or hung engine and on a backup (read
 * directly, tables and window in one snapshot). Changing goes through the
 * engine that has the store or, if none has it, under the store's lock.
 *
 *   Questions  Questions, changes and their answers are msgpack maps, the same
 *              whichever way they were answered. docs/control.md names every
 *              question, its arguments and the fields of its rows.
 *   Memory     What you pass in is copied before the call returns. What a
 *              callback is handed is lent until that callback returns.
 *   Threads    An hf_store is used by one thread at a time; two of them may be
 *              open on one store. Callbacks run on the calling thread, inside
 *              the call; one that uses its own hf_store gets HF_EDEADLOCK.
 */
#ifndef HOLDFAST_RECOVERY_H
#define HOLDFAST_RECOVERY_H

#include "holdfast.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hf_store hf_store;

/* Open the store in directory `path` for looking and changing; creates nothing
 * and takes no lock. While an engine has the store but does not answer yet (it
 * replays), wait up to wait_ms; after that looking goes on without it.
 * hf_change waits as long for the lock or for the engine. Errors: HF_ENOTFOUND
 * (no store there), HF_EVERSION, HF_ECORRUPT, HF_EIO, HF_EINVAL, HF_ENOMEM. */
HF_API int  hf_store_open(hf_store **store, const char *path, uint32_t wait_ms);
HF_API void hf_store_close(hf_store *store); /* NULL is fine */

/* Look: ask `question` ("stats", "top", "ls", "actor", "message", "messages") with
 * `arguments` (a msgpack map; data NULL: none) and tell each row of the answer.
 * each returns HF_OK to go on; anything else ends the answer and is returned.
 * Errors besides: HF_EINVAL (no such question, bad argument or where; detail
 * says which), HF_ENOTFOUND (no such message), HF_ETIMEDOUT (the engine did not
 * answer), HF_ECLOSED (it went away in the middle: ask again), HF_ECORRUPT,
 * HF_EIO, HF_ENOMEM. Changes nothing on disk. */
typedef int (*hf_row_fn)(void *user, hf_bytes row);
HF_API int hf_query(hf_store *store, const char *question, hf_bytes arguments,
                    hf_row_fn each, void *user);

/* Change: `change` is "send", "requeue", "purge", "cancel", "undo", "edit",
 * "pause" or "resume". One batch, on disk when the call returns HF_OK; then `done` (may be NULL) is
 * told one row: what was changed. What `done` returns is returned. Errors besides those of
 * hf_query: HF_EBUSY (neither lock nor answer within wait_ms; detail names the
 * pid), HF_EFULL, HF_ETOOBIG, HF_ENOTYPE and the other refusals of hf_mail.
 * HF_EUNKNOWN: the engine went away before it answered, the change may or may
 * not be on disk. */
HF_API int hf_change(hf_store *store, const char *change, hf_bytes arguments,
                     hf_row_fn done, void *user);

/* Is `where` a selection hf_find and the questions take? If not, HF_EINVAL,
 * *column (may be NULL) is the byte, from 0, where it goes wrong, and detail
 * says why. A where is comparisons (= != < <= > >= ~ in) joined by `and`, `or`,
 * `not` and brackets; fields: id type actor kind status attempts error from died
 * due sent age urgency strikes body.PATH (docs/control.md); a value with spaces or ")",
 * or one that is "and" or "or", stands in "" or ''. */
HF_API int hf_where_check(const char *where, size_t *column);

/* Tell each message that `where` selects ("status = dead and type = order";
 * NULL: all), oldest first. each returns HF_OK to go on; anything else ends
 * the walk and is returned. Errors as hf_query. */
HF_API int hf_find(hf_store *store, const char *where, hf_message_fn each, void *user);

/* Dead: back to the inbox at its old place, with fresh tries. Delayed or
 * waiting for a retry: due now. Otherwise HF_ENOTFOUND (no such message) or
 * HF_EINVAL (it waits, is held, paused or runs). Other errors as hf_change. */
HF_API int hf_requeue(hf_store *store, uint64_t id);

/* Check a store: every page, every checksum, every row against its key, and what must
 * hold between rows. A living engine is not disturbed, nothing is changed. Each finding
 * is a row (docs/control.md: finding, table, page, id, key, detail); the last row counts
 * what was looked at. HF_OK: nothing was found. HF_ECORRUPT: something was, and was told.
 * Others: HF_ENOTFOUND, HF_EVERSION, HF_EIO, HF_ENOMEM, what `each` returned. A damaged
 * file can end the process (SIGBUS, abort): do this in a child. */
HF_API int hf_verify(const char *path, hf_row_fn each, void *user);

/* Copies of a store. `each` (may be NULL) is told how far it is (`bytes`, `of`: about so
 * many) and at last, with `done`, what was copied (docs/control.md, "Copies"); anything
 * but HF_OK from it ends the call and is returned; before that last row it leaves nothing
 * behind. HF_EUNKNOWN: all was done, but for want of memory it can't be told. */

/* One moment of the store, whether an engine has it or not, into `file`, compressed, with
 * a checksum; "-": standard output. A file is synced and read back before it has its name;
 * one that was there before, a backup too, is replaced then. HF_ECORRUPT: a row is damaged,
 * hf_verify says which. Others: HF_ENOTFOUND, HF_EBUSY (another backup writes there), HF_EFULL,
 * HF_EIO, HF_EINVAL (a file that is no backup is there), HF_EVERSION, HF_ENOMEM. */
HF_API int hf_backup(const char *path, const char *file, hf_row_fn each, void *user);

/* A backup ("-": standard input) into a new store at `to`, where nothing or an empty
 * directory is. Messages of the backup keep their ids and keys; what the new store sends
 * gets ids and keys that no store before it gave. HF_ECORRUPT: the backup is damaged or
 * cut short; HF_EVERSION: it is of a newer library. Then, and when anything else fails,
 * nothing is at `to`. Others: HF_ENOTFOUND, HF_EINVAL, HF_EFULL, HF_EIO, HF_ENOMEM. */
HF_API int hf_restore(const char *file, const char *to, hf_row_fn each, void *user);

/* Write a store anew without its free pages, and put it in its place in one step; no engine
 * may have it (HF_EBUSY). `to`, if not NULL: there, and the old one stays as it is; both
 * are the same store then. HF_ECORRUPT: a row is damaged. HF_EINVAL: this file system
 * can't exchange two directories, or another file, or a link, is in that of the store.
 * Others: HF_ENOTFOUND, HF_EFULL, HF_EIO, HF_EVERSION, HF_ENOMEM. */
HF_API int hf_compact(const char *path, const char *to, hf_row_fn each, void *user);

/* All that is sound of a damaged store into a new one at `to`, where nothing or an empty
 * directory is; the old one is only read, never through LMDB, and no engine may have it
 * (HF_EBUSY). `each` (may be NULL) is also told findings, as hf_verify tells them, and who
 * is paused for what he lost; the last row says how much is missing (docs/control.md).
 * HF_OK: there is a new store, of its own as after hf_restore. Messages that may have been
 * handled are dead letters there, "possibly delivered". HF_ECORRUPT: nothing could be
 * salvaged. Others: HF_ENOTFOUND, HF_EVERSION, HF_EINVAL, HF_EFULL, HF_EIO, HF_ENOMEM. */
HF_API int hf_salvage(const char *path, const char *to, hf_row_fn each, void *user);

#ifdef __cplusplus
}
#endif
#endif
