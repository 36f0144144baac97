/* cron.c - parse a schedule, and find when it is due next.
 *
 * Happy path: fields become sets of bits; from the minute after the given one go on in
 * real time, a month, day, hour or minute at a stride, until local time is in all sets.
 * Where the clock is put forward, what was skipped is due at once; where it is put back,
 * the second pass counts only for schedules of every hour. Fails on a field that says
 * nothing possible. Pure; any thread. */
#include "engine/cron.h"

#include "engine/holdfast.h"

#include "storage/error.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { MINUTE = 60, HOUR = 3600, DAY = 86400, YEARS_MAX = 60 };

typedef struct cron_field {
    const char        *name;
    int                low, high;
    const char *const *words; /* of low, low + 1, … */
} cron_field;

static const char *const month_words[] = { "jan", "feb", "mar", "apr", "may", "jun", "jul",
                                           "aug", "sep", "oct", "nov", "dec", NULL };
static const char *const weekday_words[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat",
                                             NULL };
static const cron_field cron_fields[5] = {
    { "minute", 0, 59, NULL },          { "hour", 0, 23, NULL },
    { "day", 1, 31, NULL },             { "month", 1, 12, month_words },
    { "weekday", 0, 7, weekday_words },
};

/* ---- Parsing */

static bool read_value(const cron_field *f, const char **at, int *out)
{
    for (int i = 0; f->words && f->words[i]; i++) {
        if (strncasecmp(*at, f->words[i], 3) == 0) {
            *at += 3;
            *out = f->low + i;
            return true;
        }
    }
    char *end;
    if (!isdigit((unsigned char)**at))
        return false;
    long value = strtol(*at, &end, 10);
    *at = end;
    *out = (int)value;
    return value >= f->low && value <= f->high;
}

/* One of a list: a star, a value or a range, each with a step. */
static bool read_range(const cron_field *f, const char **at, uint64_t *bits)
{
    int from = f->low, to = f->high, step = 1;
    bool one = false;
    if (**at == '*') {
        ++*at;
    } else {
        if (!read_value(f, at, &from))
            return false;
        to = from;
        one = **at != '-';
        if (!one) {
            ++*at;
            if (!read_value(f, at, &to) || to < from)
                return false;
        }
    }
    if (**at == '/') {
        char *end;
        long value = strtol(*at + 1, &end, 10);
        if (!isdigit((unsigned char)(*at)[1]) || value < 1 || value > f->high)
            return false;
        if (one) /* 5/20 is 5-59/20; 5-5/20 is 5 */
            to = f->high;
        *at = end;
        step = (int)value;
    }
    for (int i = from; i <= to; i += step)
        *bits |= (uint64_t)1 << i;
    return true;
}

static int read_field(hf_cron *cron, const cron_field *f, const char *text, uint64_t *bits)
{
    const char *at = text;
    bool fine = true;
    *bits = 0;
    do {
        if (f->high == 31 && *at == 'L') {
            cron->last_day = true;
            at++;
        } else {
            fine = read_range(f, &at, bits);
        }
    } while (fine && *at == ',' && at++);
    if (!fine || *at)
        return hf_error(HF_EINVAL, "\"%.40s\" is no %s (%d to %d)", text, f->name, f->low, f->high);
    return HF_OK;
}

static int read_interval(hf_cron *cron, const char *text)
{
    static const struct {
        const char *unit;
        uint64_t    ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 } };
    char *unit;
    unsigned long long count = isdigit((unsigned char)*text) ? strtoull(text, &unit, 10) : 0;
    for (size_t i = 0; count && i < sizeof units / sizeof *units; i++)
        if (strcmp(unit, units[i].unit) == 0 && count <= UINT64_C(315360000000) / units[i].ms)
            cron->interval_ms = count * units[i].ms;
    if (!cron->interval_ms)
        return hf_error(HF_EINVAL, "\"every %.40s\" is no interval (as in every 90s; ms s m h d)",
                        text);
    return HF_OK;
}

/* "@daily" is "0 0 * * *". */
static const char *spelled_out(const char *word)
{
    static const char *const words[][2] = {
        { "@hourly", "0 * * * *" },  { "@daily", "0 0 * * *" },  { "@midnight", "0 0 * * *" },
        { "@weekly", "0 0 * * 0" },  { "@monthly", "0 0 1 * *" }, { "@yearly", "0 0 1 1 *" },
        { "@annually", "0 0 1 1 *" },
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i][0]) == 0)
            return words[i][1];
    return NULL;
}

/* Cut at blanks; returns how many words there are, or 7 if there are more. */
static int cut_words(char *text, char *words[6])
{
    int count = 0;
    char *rest = NULL;
    for (char *w = strtok_r(text, " \t", &rest); w; w = strtok_r(NULL, " \t", &rest)) {
        if (count == 6)
            return 7;
        words[count++] = w;
    }
    return count;
}

static int read_fields(hf_cron *cron, char *words[6], int count)
{
    uint64_t *const sets[5] = { &cron->minutes, &cron->hours, &cron->days, &cron->months,
                                &cron->weekdays };
    if (count != 5 && count != 6)
        return hf_error(HF_EINVAL, "a schedule has five fields (minute hour day month weekday) "
                                   "and may have a time zone");
    for (int i = 0; i < 5; i++) {
        int err = read_field(cron, &cron_fields[i], words[i], sets[i]);
        if (err)
            return err;
    }
    cron->weekdays |= cron->weekdays >> 7; /* 7 is Sunday, too */
    cron->any_day = words[2][0] == '*';
    cron->any_weekday = words[4][0] == '*';
    cron->every_hour = words[1][0] == '*';
    return hf_zone_load(&cron->zone, count == 6 ? words[5] : "");
}

int hf_cron_parse(hf_cron *cron, const char *text)
{
    char copy[256], *words[6], *fields[6], plain[32];
    *cron = (hf_cron){ 0 };
    int len = snprintf(copy, sizeof copy, "%s", text);
    if (len < 0 || (size_t)len >= sizeof copy)
        return hf_error(HF_EINVAL, "a schedule of %d bytes", len);
    int count = cut_words(copy, words);
    if (count == 2 && strcmp(words[0], "every") == 0)
        return read_interval(cron, words[1]);
    const char *spelled = count && words[0][0] == '@' ? spelled_out(words[0]) : NULL;
    if (spelled && count <= 2) {
        (void)snprintf(plain, sizeof plain, "%s", spelled);
        (void)cut_words(plain, fields);
        fields[5] = count == 2 ? words[1] : NULL;
        count += 4;
    } else {
        memcpy(fields, words, sizeof fields);
    }
    int err = read_fields(cron, fields, count);
    if (!err && !hf_cron_next(cron, 0)) {
        hf_cron_done(cron);
        err = hf_error(HF_EINVAL, "\"%.60s\" is never due", text);
    }
    return err;
}

void hf_cron_done(hf_cron *cron)
{
    hf_zone_free(cron->zone);
    cron->zone = NULL;
}

/* ---- What is due */

typedef struct local_time {
    int64_t  days;
    int64_t  year;
    unsigned month, day, weekday, hour, minute;
} local_time;

static int64_t floor_div(int64_t a, int64_t b)
{
    return (a >= 0 ? a : a - (b - 1)) / b;
}

static local_time local_of(int64_t local)
{
    local_time t = { .days = floor_div(local, DAY) };
    int64_t second = local - t.days * DAY;
    hf_date_of(t.days, &t.year, &t.month, &t.day);
    t.weekday = (unsigned)(((t.days + 4) % 7 + 7) % 7);
    t.hour = (unsigned)(second / HOUR);
    t.minute = (unsigned)(second % HOUR / MINUTE);
    return t;
}

static bool has(uint64_t bits, unsigned value)
{
    return bits >> value & 1;
}

/* As crontab(5) has it: when both fields are given, either is enough. */
static bool is_day(const hf_cron *cron, const local_time *t)
{
    bool day = has(cron->days, t->day);
    if (cron->last_day && !day) {
        int64_t year;
        unsigned month, first;
        hf_date_of(t->days + 1, &year, &month, &first);
        day = first == 1;
    }
    bool weekday = has(cron->weekdays, t->weekday);
    if (cron->any_day || cron->any_weekday)
        return day && weekday;
    return day || weekday;
}

/* How far to go on: 0 if it is due then, else to the next minute, hour or day. */
static int64_t stride(const hf_cron *cron, int64_t local)
{
    local_time t = local_of(local);
    int64_t second = local - t.days * DAY;
    if (!has(cron->months, t.month) || !is_day(cron, &t))
        return DAY - second;
    if (!has(cron->hours, t.hour))
        return HOUR - second % HOUR;
    return has(cron->minutes, t.minute) ? 0 : MINUTE;
}

/* Is it due at any minute of [from, to), local time? */
static bool due_between(const hf_cron *cron, int64_t from, int64_t to)
{
    while (from < to) {
        int64_t further = stride(cron, from);
        if (!further)
            return true;
        from += further;
    }
    return false;
}

uint64_t hf_cron_next(const hf_cron *cron, uint64_t after)
{
    if (cron->interval_ms)
        return after + cron->interval_ms < after ? 0 : after + cron->interval_ms;
    if (after / 1000 > INT64_MAX / 4)
        return 0;
    int64_t utc = ((int64_t)(after / 1000) / MINUTE + 1) * MINUTE;
    int64_t most = utc + (int64_t)YEARS_MAX * 366 * DAY, repeats = INT64_MIN, until;
    /* The second before: the clock may be put forward at this very minute. */
    int32_t offset = hf_zone_offset(cron->zone, utc - 1, &until);
    /* A clock that was put back lately shows this hour for the second time. */
    int64_t change;
    int32_t before = hf_zone_offset(cron->zone, utc - DAY / 2, &change);
    if (change < utc && before > offset)
        repeats = change + before; /* local times below it were shown before */
    while (utc < most) {
        if (utc == until) {
            int64_t local = until + offset;
            int32_t next = hf_zone_offset(cron->zone, utc, &until);
            if (next > offset && !cron->every_hour && due_between(cron, local, utc + next))
                return (uint64_t)utc * 1000;
            repeats = next < offset ? local : INT64_MIN;
            offset = next;
        }
        int64_t further = stride(cron, utc + offset);
        if (!further && !cron->every_hour && utc + offset < repeats)
            further = MINUTE;
        if (!further)
            return (uint64_t)utc * 1000;
        utc = utc + further < until ? utc + further : until;
    }
    return 0;
}
