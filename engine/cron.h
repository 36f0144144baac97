/* cron.h - when a schedule is due: five fields of cron with a zone, or an interval. */
#ifndef ENGINE_CRON_H
#define ENGINE_CRON_H

#include "engine/zone.h"

#include <stdbool.h>

typedef struct hf_cron {
    uint64_t minutes, hours, days, months, weekdays; /* a bit each */
    bool     last_day;      /* L in the day field */
    bool     any_day, any_weekday; /* a star: the other field alone decides */
    bool     every_hour;    /* goes by what has passed, not by what the clock shows */
    uint64_t interval_ms;   /* "every 90s": not 0, and nothing else counts */
    hf_zone *zone;
} hf_cron;

/* "minute hour day month weekday [zone]", as crontab(5) has it, names of months and
 * weekdays, lists, ranges, steps, L for the last day of a month; "@hourly", "@daily",
 * "@weekly", "@monthly", "@yearly", each also with a zone; "every 90s", with ms, s, m, h
 * or d. No zone: UTC. HF_EINVAL: hf_detail says which field. HF_ENOMEM. Pure; any thread. */
int  hf_cron_parse(hf_cron *cron, const char *text);
void hf_cron_done(hf_cron *cron);

/* The first time after `after` (both Unix milliseconds) at which it is due; 0: never again.
 * A time that the clock skips is due when the gap is over; one that it shows twice, the
 * first time; schedules of every hour go through both. Intervals count from `after`. */
uint64_t hf_cron_next(const hf_cron *cron, uint64_t after);

#endif
