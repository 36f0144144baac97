/* pulse.h - how a store does: two looks at its counters, and what lies between them. */
#ifndef TOOLS_PULSE_H
#define TOOLS_PULSE_H

#include "tools/context.h"

enum { PULSE_NAME = 256, PULSE_TYPES = 512, PULSE_BUCKETS = 48 };

/* One type. Rates are a second's. */
typedef struct pulse_type {
    char     name[PULSE_NAME];
    uint64_t came, done, failed, dead; /* since its engine was opened */
    double   came_s, done_s, failed_s, dead_s;
    uint64_t waiting, delayed, retrying, held, paused, running, buried; /* when counted last */
    uint64_t oldest;
    bool     defined, stopped; /* by a pause of the type, or of everything */
} pulse_type;

typedef struct pulse {
    bool       lives;      /* an engine answers */
    bool       rates;      /* there are two looks to compare */
    bool       counted;    /* messages were counted by type */
    char       said[300];  /* why there is no answer; "" */
    uint64_t   pid, changes; /* of the engine; how often it was another one */
    double     seconds;    /* between the two looks */
    double     sent_s, done_s, failed_s, dead_s, commits_s, bytes_s;
    double     p50_us, p99_us; /* of commits in between */
    uint64_t   waiting, dead, held, paused, retrying, delayed, stuck, turns;
    uint64_t   at_ns, counted_ns, count_took_ns;
    cli_buffer row, last;  /* of the question `top`: this time and the time before */
    pulse_type types[PULSE_TYPES];
    size_t     type_count;
} pulse;

/* Look. CLI_OK also when nobody answers: then `said` says so. Messages are counted by type
 * when that is due: so seldom that it takes no more than a fiftieth of the time. */
void pulse_look(cli_context *context, pulse *p);
void pulse_free(pulse *p);

/* pulse_show.c: what a script gets, as one row. */
void pulse_row(const pulse *p, cli_buffer *row);

typedef struct pulse_look_of {
    const char *path;
    size_t      rows, columns; /* of the screen; 0: no limit */
    uint64_t    interval_ms;
    int         sort;
    bool        color, still, help; /* still: not looking for the moment */
} pulse_look_of;

/* As lines for a person. */
void pulse_lines(pulse *p, const pulse_look_of *look, cli_buffer *lines);

/* Sorted for showing: 'd' done, 'f' failed, 'c' came, 'b' backlog, 'n' name. */
void pulse_sort(pulse *p, int by);

#endif
