/* zone.h - what clocks on the wall show: the system's time zones. */
#ifndef ENGINE_ZONE_H
#define ENGINE_ZONE_H

#include <stdint.h>

typedef struct hf_zone hf_zone;

/* "Europe/Rome", as the system has it (TZDIR, else /usr/share/zoneinfo); "" and "UTC":
 * UTC; "local": the machine's. HF_EINVAL: there is none of that name, HF_ECORRUPT: its
 * file can't be read, HF_ENOMEM. Any thread. */
int  hf_zone_load(hf_zone **zone, const char *name);
void hf_zone_free(hf_zone *zone); /* NULL is fine */

/* Seconds to add to `utc` (Unix seconds) for local time. *until: from then on it is
 * another one, at the latest; INT64_MAX: never. */
int32_t hf_zone_offset(const hf_zone *zone, int64_t utc, int64_t *until);

/* Days since 1970 of a date, and back; proleptic Gregorian. month 1 .. 12, day 1 .. 31. */
int64_t hf_days_of(int64_t year, unsigned month, unsigned day);
void    hf_date_of(int64_t days, int64_t *year, unsigned *month, unsigned *day);

#endif
