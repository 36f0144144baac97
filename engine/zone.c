/* zone.c - read a time zone's file (TZif, RFC 8536), and say what holds when.
 *
 * Happy path: the 64-bit block of the file gives the changes until some year, the rule
 * in its last line (POSIX.1 TZ) those after it. The C library's own conversion knows
 * but one zone a process, so it is of no use here. Fails when the file is none or is
 * cut short: every length is checked before it is believed. Pure; any thread. */
#include "engine/zone.h"

#include "engine/holdfast.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20, TYPES_MAX = 256, DAY = 86400 };

/* When summer time begins or ends, every year. */
typedef struct change_rule {
    enum { JULIAN, DAY_OF_YEAR, WEEKDAY } how;
    int     day, week, month; /* WEEKDAY: 0 = Sunday; week 5: the last */
    int32_t at;               /* seconds of the day, local time before the change */
} change_rule;

typedef struct posix_rule {
    bool        known, has_summer;
    int32_t     offset, summer;
    change_rule begins, ends;
} posix_rule;

struct hf_zone {
    uint32_t   count; /* of changes */
    int32_t    first; /* offset before the first one */
    posix_rule rule;  /* after the last one */
    int64_t   *when;
    int32_t   *offset; /* from then on */
};

/* ---- Days and dates
 *
 * A year here begins in March, so the leap day is its last; 400 years have 146097 days. */
int64_t hf_days_of(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    uint64_t of_era = (uint64_t)(year - era * 400);
    uint64_t of_year = (153 * (uint64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    uint64_t days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    return era * 146097 + (int64_t)days - 719468;
}

void hf_date_of(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    uint64_t of_era = (uint64_t)(days - era * 146097);
    uint64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * y + y / 4 - y / 100);
    uint64_t m = (5 * of_year + 2) / 153;
    *day = (unsigned)(of_year - (153 * m + 2) / 5 + 1);
    *month = (unsigned)(m < 10 ? m + 3 : m - 9);
    *year = (int64_t)y + era * 400 + (*month <= 2);
}

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* ---- The rule of the last line: CET-1CEST,M3.5.0,M10.5.0/3 */

static bool skip_name(const char **at)
{
    const char *p = *at;
    if (*p == '<') {
        while (*p && *p != '>')
            p++;
        if (!*p)
            return false;
        *at = p + 1;
        return true;
    }
    while (isalpha((unsigned char)*p))
        p++;
    bool any = p - *at >= 3;
    *at = p;
    return any;
}

static bool read_number(const char **at, int most, int *out)
{
    char *end;
    if (!isdigit((unsigned char)**at))
        return false;
    long value = strtol(*at, &end, 10);
    *at = end;
    *out = (int)value;
    return value <= most;
}

/* [+-]hh[:mm[:ss]] */
static bool read_time(const char **at, int32_t *seconds)
{
    int parts[3] = { 0, 0, 0 }, sign = **at == '-' ? -1 : 1;
    if (**at == '-' || **at == '+')
        ++*at;
    for (int i = 0; i < 3; i++) {
        if (!read_number(at, i ? 59 : 167, &parts[i]))
            return false;
        if (**at != ':')
            break;
        ++*at;
    }
    *seconds = sign * (parts[0] * 3600 + parts[1] * 60 + parts[2]);
    return true;
}

static bool read_change(const char **at, change_rule *rule)
{
    *rule = (change_rule){ .how = DAY_OF_YEAR, .at = 7200 };
    if (*(*at)++ != ',')
        return false;
    if (**at == 'M') {
        ++*at;
        rule->how = WEEKDAY;
        if (!read_number(at, 12, &rule->month) || *(*at)++ != '.'
            || !read_number(at, 5, &rule->week) || *(*at)++ != '.'
            || !read_number(at, 6, &rule->day) || !rule->month || !rule->week)
            return false;
    } else {
        if (**at == 'J') {
            rule->how = JULIAN;
            ++*at;
        }
        if (!read_number(at, 365, &rule->day) || (rule->how == JULIAN && !rule->day))
            return false;
    }
    if (**at != '/')
        return true;
    ++*at;
    return read_time(at, &rule->at);
}

static bool read_rule(const char *text, posix_rule *rule)
{
    *rule = (posix_rule){ .known = true };
    if (!skip_name(&text) || !read_time(&text, &rule->offset))
        return false;
    rule->offset = -rule->offset; /* POSIX counts westward */
    if (!*text)
        return true;
    rule->has_summer = true;
    rule->summer = rule->offset + 3600;
    if (!skip_name(&text))
        return false;
    if (*text && *text != ',') {
        if (!read_time(&text, &rule->summer))
            return false;
        rule->summer = -rule->summer;
    }
    return read_change(&text, &rule->begins) && read_change(&text, &rule->ends) && !*text;
}

static int64_t day_of_change(const change_rule *rule, int64_t year)
{
    int64_t january = hf_days_of(year, 1, 1);
    if (rule->how == DAY_OF_YEAR)
        return january + rule->day;
    if (rule->how == JULIAN) /* the 29th of February is never counted */
        return january + rule->day - 1 + (is_leap(year) && rule->day >= 60);
    int64_t first = hf_days_of(year, (unsigned)rule->month, 1);
    int64_t weekday = ((first + 4) % 7 + 7) % 7; /* the 1st of January 1970 was a Thursday */
    int64_t day = first + (rule->day - weekday + 7) % 7 + (rule->week - 1) * 7;
    int64_t next = rule->month == 12 ? hf_days_of(year + 1, 1, 1)
                                     : hf_days_of(year, (unsigned)rule->month + 1, 1);
    return day >= next ? day - 7 : day;
}

static int32_t offset_by_rule(const posix_rule *rule, int64_t utc, int64_t *until)
{
    *until = INT64_MAX;
    if (!rule->has_summer)
        return rule->offset;
    int64_t year;
    unsigned month, day;
    int64_t local = utc + rule->offset;
    hf_date_of((local >= 0 ? local : local - (DAY - 1)) / DAY, &year, &month, &day);
    int64_t last = INT64_MIN;
    int32_t now = rule->offset;
    for (int64_t y = year - 1; y <= year + 1; y++) {
        int64_t changes[2] = { day_of_change(&rule->begins, y) * DAY + rule->begins.at
                                   - rule->offset,
                               day_of_change(&rule->ends, y) * DAY + rule->ends.at - rule->summer };
        for (int i = 0; i < 2; i++) {
            /* Where one summer ends as the next begins it lasts all year. */
            if (changes[i] <= utc && (changes[i] > last || (!i && changes[i] == last))) {
                last = changes[i];
                now = i ? rule->offset : rule->summer;
            } else if (changes[i] > utc && changes[i] < *until) {
                *until = changes[i];
            }
        }
    }
    return now;
}

/* ---- The file */

typedef struct reader {
    const uint8_t *at;
    size_t         left;
} reader;

typedef struct tzif_head {
    uint32_t is_utc, is_standard, leaps, times, types, letters;
    uint8_t  version;
} tzif_head;

static uint64_t read_big(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

static const uint8_t *take(reader *r, size_t bytes)
{
    const uint8_t *at = r->at;
    if (bytes > r->left)
        return NULL;
    r->at += bytes;
    r->left -= bytes;
    return at;
}

static bool read_head(reader *r, tzif_head *head)
{
    const uint8_t *at = take(r, 44);
    if (!at || memcmp(at, "TZif", 4) != 0)
        return false;
    *head = (tzif_head){ .version = at[4],
                         .is_utc = (uint32_t)read_big(at + 20, 4),
                         .is_standard = (uint32_t)read_big(at + 24, 4),
                         .leaps = (uint32_t)read_big(at + 28, 4),
                         .times = (uint32_t)read_big(at + 32, 4),
                         .types = (uint32_t)read_big(at + 36, 4),
                         .letters = (uint32_t)read_big(at + 40, 4) };
    return head->times <= FILE_MAX && head->types && head->types <= TYPES_MAX
           && head->letters <= FILE_MAX && head->leaps <= FILE_MAX
           && head->is_utc <= TYPES_MAX && head->is_standard <= TYPES_MAX;
}

static size_t rest_of_block(const tzif_head *h, size_t time)
{
    return h->letters + (size_t)h->leaps * (time + 4) + h->is_standard + h->is_utc;
}

static int32_t offset_of_type(const uint8_t *types, uint8_t which)
{
    return (int32_t)(uint32_t)read_big(types + which * 6, 4);
}

static int read_changes(hf_zone *zone, reader *r, const tzif_head *h)
{
    const uint8_t *times = take(r, (size_t)h->times * 8), *which = take(r, h->times);
    const uint8_t *types = take(r, (size_t)h->types * 6);
    if (!times || !which || !types || !take(r, rest_of_block(h, 8)))
        return HF_ECORRUPT;
    zone->when = hf_mem_alloc((h->times + 1) * sizeof(*zone->when));
    zone->offset = hf_mem_alloc((h->times + 1) * sizeof(*zone->offset));
    if (!zone->when || !zone->offset)
        return HF_ENOMEM;
    zone->first = offset_of_type(types, 0);
    for (uint32_t i = 0; i < h->times; i++) {
        zone->when[i] = (int64_t)read_big(times + (size_t)i * 8, 8);
        if (which[i] >= h->types || (i && zone->when[i] <= zone->when[i - 1]))
            return HF_ECORRUPT;
        zone->offset[i] = offset_of_type(types, which[i]);
    }
    zone->count = h->times;
    return HF_OK;
}

static int read_footer(hf_zone *zone, reader *r)
{
    char text[128];
    if (r->left < 2 || r->at[0] != '\n')
        return HF_ECORRUPT;
    const uint8_t *end = memchr(r->at + 1, '\n', r->left - 1);
    size_t len = end ? (size_t)(end - r->at) - 1 : sizeof text;
    if (len >= sizeof text)
        return HF_ECORRUPT;
    memcpy(text, r->at + 1, len);
    text[len] = '\0';
    return !len || read_rule(text, &zone->rule) ? HF_OK : HF_ECORRUPT;
}

static int parse(hf_zone *zone, const uint8_t *bytes, size_t len)
{
    reader r = { bytes, len };
    tzif_head h;
    /* First the block of 32-bit times, for programs of before 2005. */
    if (!read_head(&r, &h) || h.version < '2'
        || !take(&r, (size_t)h.times * 5 + (size_t)h.types * 6 + rest_of_block(&h, 4))
        || !read_head(&r, &h))
        return HF_ECORRUPT;
    int err = read_changes(zone, &r, &h);
    return err ? err : read_footer(zone, &r);
}

static int read_file(const char *path, uint8_t **bytes, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? HF_EINVAL : HF_EIO;
    *bytes = hf_mem_alloc(FILE_MAX);
    ssize_t got = *bytes ? 1 : 0;
    for (*len = 0; got > 0 && *len < FILE_MAX; *len += (size_t)(got > 0 ? got : 0))
        got = read(fd, *bytes + *len, FILE_MAX - *len);
    (void)close(fd);
    int err = !*bytes ? HF_ENOMEM : got < 0 ? HF_EINVAL : HF_OK; /* a directory */
    if (err)
        hf_mem_free(*bytes);
    return err;
}

static bool path_of(const char *name, char *path, size_t size)
{
    const char *directory = getenv("TZDIR");
    if (strcmp(name, "local") == 0)
        return snprintf(path, size, "/etc/localtime") > 0;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("/_+-", *p))
            return false;
    if (*name == '/')
        return false;
    int len = snprintf(path, size, "%s/%s",
                       directory && *directory ? directory : "/usr/share/zoneinfo", name);
    return len > 0 && (size_t)len < size;
}

int hf_zone_load(hf_zone **out, const char *name)
{
    char path[512];
    uint8_t *bytes;
    size_t len;
    *out = NULL;
    hf_zone *zone = hf_mem_zero(1, sizeof *zone);
    if (!zone)
        return hf_error(HF_ENOMEM, "time zone %s", name);
    if (!*name || strcmp(name, "UTC") == 0) {
        *out = zone;
        return HF_OK;
    }
    int err = path_of(name, path, sizeof path) ? read_file(path, &bytes, &len) : HF_EINVAL;
    if (!err) {
        err = parse(zone, bytes, len);
        hf_mem_free(bytes);
    }
    if (!err) {
        *out = zone;
        return HF_OK;
    }
    hf_zone_free(zone);
    if (err == HF_EINVAL)
        return hf_error(err, "there is no time zone \"%.60s\"", name);
    return hf_error(err, "time zone %s", name);
}

void hf_zone_free(hf_zone *zone)
{
    if (!zone)
        return;
    hf_mem_free(zone->when);
    hf_mem_free(zone->offset);
    hf_mem_free(zone);
}

int32_t hf_zone_offset(const hf_zone *zone, int64_t utc, int64_t *until)
{
    uint32_t low = 0, high = zone->count;
    while (low < high) { /* the first change after utc */
        uint32_t mid = low + (high - low) / 2;
        if (zone->when[mid] <= utc)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == zone->count && zone->rule.known)
        return offset_by_rule(&zone->rule, utc, until);
    *until = low < zone->count ? zone->when[low] : INT64_MAX;
    return low ? zone->offset[low - 1] : zone->first;
}
