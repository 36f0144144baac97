/* content.h - all that a store holds, a line of text a row.
 *
 * The model and the store are rendered by the same functions, and compared by a sum
 * over the lines that does not depend on their order. */
#ifndef STATES_CONTENT_H
#define STATES_CONTENT_H

#include "storage/view.h"

typedef struct content_line {
    size_t   at; /* of the text, if there is any */
    uint64_t hash;
    uint64_t id; /* of the message that the row belongs to, 0: none */
    hf_table table;
} content_line;

typedef struct content {
    content_line *lines;
    size_t        count, room;
    char         *text;
    size_t        len, text_room;
    uint64_t      sum;
    bool          quiet; /* sums only, no text: much faster */
} content;

void  content_clear(content *c); /* empty again, memory kept */
void  content_free(content *c);
char *content_sorted(const content *c); /* all lines in one text; the caller's */

uint64_t content_hash(const void *bytes, size_t len); /* stands for a body */

/* A row each; its line is added. Of the message: to, id, name, err, … */
void content_message(content *c, hf_table table, const hf_entry *message, uint64_t body);
void content_state(content *c, const char *actor, uint64_t position, uint32_t form, size_t len,
                   uint64_t image);
void content_row(content *c, const char *actor, hf_bytes name, uint64_t position, size_t len,
                 uint64_t value);
void content_alarm(content *c, const char *actor, const char *name, uint64_t due,
                   uint64_t generation, size_t len, uint64_t body);
void content_pause(content *c, const char *what, uint64_t since, size_t len, uint64_t why);
void content_step(content *c, uint64_t id, uint64_t generation, uint64_t number, const char *name,
                  uint32_t phase, size_t len, uint64_t result);

/* What the last commit left, through a view; walks must be in order. */
int content_of_view(content *c, hf_view_of *view);
int content_of_disk(content *c, hf_disk *disk);

/* After everything was folded: the log is empty, and the index over alarms says the
 * same as the alarms themselves. HF_ECORRUPT. */
int content_tables_agree(hf_disk *disk);

#endif
