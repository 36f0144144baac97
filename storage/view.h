/* view.h - one committed moment of a store: tables with the window laid over.
 *
 * For whoever is not the engine: another process, a tool, a test, a query. It
 * works beside a living engine and without one, from one snapshot, and says
 * exactly what a fold of everything would leave in the tables. */
#ifndef STORAGE_VIEW_H
#define STORAGE_VIEW_H

#include "storage/overlay.h"

typedef struct hf_view_of hf_view_of;

/* Take the snapshot. Keep it short: it pins pages. HF_ECORRUPT, HF_EVERSION,
 * HF_ENOMEM, what hf_txn_read gives. One thread. */
int  hf_view_open(hf_view_of **view, hf_disk *disk);
void hf_view_close(hf_view_of *view);

/* The same moment for another thread, as long as `of` is open. HF_EAGAIN: a commit came
 * between; HF_ENOMEM, what hf_txn_read gives. */
int  hf_view_twin(hf_view_of **twin, const hf_view_of *of, hf_disk *disk);

/* As hf_overlay_walk. */
typedef hf_overlay_fn hf_view_fn;
int hf_view_walk(hf_view_of *view, hf_table table, hf_bytes from, hf_view_fn each, void *user);
/* The same, and rows are passed over as hf_overlay.skip says. */
typedef bool (*hf_view_skip)(void *user, hf_bytes key, hf_bytes value);
int hf_view_walk_past(hf_view_of *view, hf_table table, hf_bytes from, hf_view_fn each,
                      hf_view_skip skip, void *user);

/* One row: HF_OK or HF_ENOTFOUND. The payload lives until the next call. */
int hf_view_get(hf_view_of *view, hf_table table, hf_bytes key, hf_bytes *payload);

/* The waiting messages of an actor, in the order they will be handled, with a
 * place above `after`. */
typedef int (*hf_entry_fn)(void *user, const hf_entry *message);
int hf_view_inbox(hf_view_of *view, const char *actor, uint64_t after, hf_entry_fn each,
                  void *user);

/* Its state, and the position of its SAVE; HF_ENOTFOUND when it has none. hf_view_form:
 * the version of its form, too. */
int hf_view_state(hf_view_of *view, const char *actor, hf_bytes *image, uint64_t *position);
int hf_view_form(hf_view_of *view, const char *actor, hf_bytes *image, uint64_t *position,
                 uint32_t *version);

/* All entries of the window, oldest first: what `tail` and `verify` look at. */
int hf_view_log(hf_view_of *view, hf_entry_fn each, void *user);

/* What it is made of, for who reads an index himself: the snapshot, and the log's facts. */
hf_txn             *hf_view_txn(const hf_view_of *view);
const hf_survivors *hf_view_facts(const hf_view_of *view);

/* Engine time, as the newest record has it: Unix ms but for what somebody set the wall
 * clock by. */
uint64_t hf_view_time(const hf_view_of *view);

uint64_t hf_view_seed(const hf_view_of *view);
uint64_t hf_view_next(const hf_view_of *view); /* the next position, as far as disk knows */

#endif
