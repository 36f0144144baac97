/* where.h - a selection of messages: `status = dead and (type = order or age > 2h)`. */
#ifndef RECOVERY_WHERE_H
#define RECOVERY_WHERE_H

#include "engine/holdfast.h"

#include <stdbool.h>

typedef struct hf_where hf_where;

typedef enum hf_where_field {
    HF_BY_ID,
    HF_BY_TYPE,
    HF_BY_ACTOR,
    HF_BY_KIND,
    HF_BY_STATUS,
    HF_BY_ATTEMPTS,
    HF_BY_ERROR,
    HF_BY_FROM,
    HF_BY_DIED,
    HF_BY_DUE,
    HF_BY_SENT,
    HF_BY_AGE,
    HF_BY_URGENCY,
    HF_BY_STRIKES,
    HF_BY_BODY,
} hf_where_field;

/* Parse `text`; NULL selects everything. HF_EINVAL: *column (may be NULL) is the byte,
 * from 0, where it goes wrong, detail says why. HF_ENOMEM. *where is set only
 * with HF_OK. Free it with hf_where_free. Ages count from now. */
int  hf_where_parse(hf_where **where, const char *text, size_t *column);
void hf_where_free(hf_where *where); /* NULL is fine */

/* Does it select `msg`? died: when it died, 0 if it did not. where NULL: yes.
 * Any thread; changes nothing, allocates nothing. */
bool hf_where_match(const hf_where *where, const hf_message *msg, uint64_t died);

/* The same of a message that the process died of so often. Is that asked for at all? */
bool hf_where_match_struck(const hf_where *where, const hf_message *msg, uint64_t died,
                           uint32_t strikes);
bool hf_where_asks(const hf_where *where, hf_where_field field);

/* The same of what is known of a message in part: no comparison takes a field whose bit is
 * set in `unknown`. */
bool hf_where_match_known(const hf_where *where, const hf_message *msg, uint64_t died,
                          uint32_t unknown);

/* Does it fix `field` to one value, so that a scan may look there only? Sets
 * *text (as written, lent; may be NULL) and *number (id, attempts, hf_status;
 * may be NULL). Two terms that contradict each other: the first is told.
 * Times and bodies are never fixed: a time may stand for a whole second or day. */
bool hf_where_fixes(const hf_where *where, hf_where_field field, hf_bytes *text,
                    uint64_t *number);

/* Does it say nothing but a type, a status, or one of each? *status: HF_DONE if none. */
bool hf_where_plain(const hf_where *where, hf_status *status);

#endif
