/* lend.c - facts that only the fold will read lie on disk, not in memory.
 *
 * Happy path: after a commit, records that all readers have passed and of which no
 * message waits are looked up in the table `log`, and the window reads them there, where
 * LMDB has mapped them; their memory is used for the next ones. What a backlog's turns
 * acknowledge would fill several windows otherwise.
 *
 * A record of a page or more has pages to itself, which nobody writes again before it is
 * deleted, and that is when the fold is through with it. Only where the store may grow, as
 * with the past. Nothing fails: what is not found stays in memory.
 * The log's owner's thread. */
#include "storage/writer.h"

#include "storage/row.h"

static hf_record *next_record(hf_log *log)
{
    hf_record *r;
    do {
        r = hf_window_told(&log->window);
    } while (r && r->size < hf_disk_page(log->disk)); /* it may share its page, and move */
    return r;
}

void hf_lend_told(hf_log *log)
{
    hf_txn *txn;
    hf_record *r = log->borrows && log->roomy ? next_record(log) : NULL;
    if (!r || hf_txn_read(log->disk, &txn))
        return;
    for (; r; r = next_record(log)) {
        hf_key key;
        hf_bytes value;
        hf_key_number(&key, r->base);
        if (!hf_txn_get(txn, HF_IN_LOG, hf_key_bytes(&key), &value) && value.len == r->size)
            hf_window_lend(&log->window, r, value.data);
    }
    hf_txn_abort(txn);
}
