/* times.c - moments and durations, as people and as machines write them.
 *
 * Everything is milliseconds since 1970 in UTC; no time zone is ever looked at.
 * Parsers fail with false and leave the output alone. Any thread. */
#include "tools/times.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LAST_MS UINT64_C(253402300799999) /* the end of year 9999 */

static uint64_t now(clockid_t clock, uint64_t per_second)
{
    struct timespec at;
    (void)clock_gettime(clock, &at);
    return (uint64_t)at.tv_sec * per_second
           + (uint64_t)at.tv_nsec / (UINT64_C(1000000000) / per_second);
}

uint64_t cli_now_ms(void)
{
    return now(CLOCK_REALTIME, 1000);
}

uint64_t cli_now_ns(void)
{
    return now(CLOCK_MONOTONIC, UINT64_C(1000000000));
}

void cli_sleep_ms(uint64_t ms)
{
    struct timespec left = { .tv_sec = (time_t)(ms / 1000),
                             .tv_nsec = (long)(ms % 1000) * 1000000 };
    /* A signal may end it early: the caller looks whether it was asked to stop. */
    (void)nanosleep(&left, NULL);
}

bool cli_time_iso(char out[CLI_TIME_ROOM], uint64_t ms)
{
    struct tm tm;
    time_t seconds = (time_t)(ms / 1000);
    out[0] = 0;
    if (ms > LAST_MS || gmtime_r(&seconds, &tm) == NULL)
        return false;
    size_t len = strftime(out, CLI_TIME_ROOM, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out + len, CLI_TIME_ROOM - len, ".%03uZ", (unsigned)(ms % 1000));
    return true;
}

void cli_time_relative(char out[CLI_TIME_ROOM], uint64_t ms, uint64_t now_ms)
{
    static const struct {
        uint64_t    ms;
        const char *name;
    } units[] = {
        { UINT64_C(86400000), "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" }, { 1, "ms" },
    };
    uint64_t apart = ms > now_ms ? ms - now_ms : now_ms - ms;
    size_t i = 0;
    while (i + 1 < sizeof units / sizeof *units && apart < units[i].ms)
        i++;
    unsigned long long count = apart / units[i].ms;
    if (apart == 0)
        (void)snprintf(out, CLI_TIME_ROOM, "now");
    else if (ms > now_ms)
        (void)snprintf(out, CLI_TIME_ROOM, "in %llu%s", count, units[i].name);
    else
        (void)snprintf(out, CLI_TIME_ROOM, "%llu%s ago", count, units[i].name);
}

/* Digits at *text into *number; false when there are none or too many. */
static bool take_number(const char **text, uint64_t *number)
{
    const char *start = *text;
    uint64_t sum = 0;
    while (isdigit((unsigned char)**text)) {
        uint64_t digit = (uint64_t)(**text - '0');
        if (sum > (UINT64_MAX - digit) / 10)
            return false;
        sum = sum * 10 + digit;
        (*text)++;
    }
    *number = sum;
    return *text != start;
}

static bool take_unit(const char **text, uint64_t *unit)
{
    static const struct {
        const char *name;
        uint64_t    ms;
    } units[] = {
        { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", UINT64_C(86400000) },
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t len = strlen(units[i].name);
        if (strncmp(*text, units[i].name, len) == 0) {
            *text += len;
            *unit = units[i].ms;
            return true;
        }
    }
    return false;
}

bool cli_time_duration(const char *text, uint64_t unit, uint64_t *ms)
{
    uint64_t sum = 0;
    bool bare = true;
    if (*text == 0)
        return false;
    while (*text != 0) {
        uint64_t count, each = unit;
        if (!take_number(&text, &count))
            return false;
        if (!take_unit(&text, &each) && (*text != 0 || !bare))
            return false;
        bare = false;
        if (each != 0 && count > (UINT64_MAX - sum) / each)
            return false;
        sum += count * each;
    }
    *ms = sum;
    return true;
}

static uint64_t days_before(unsigned year, unsigned month, unsigned day)
{
    static const unsigned before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    unsigned last = year - 1;
    uint64_t days = (uint64_t)last * 365 + last / 4 - last / 100 + last / 400;
    return days + before[month - 1] + (month > 2 && leap) + day - 1 - 719162; /* 1970 */
}

static bool is_day(unsigned year, unsigned month, unsigned day)
{
    static const unsigned days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return year >= 1970 && year <= 9999 && month >= 1 && month <= 12 && day >= 1
        && day <= days[month - 1] && (month != 2 || day < 29 || leap);
}

bool cli_time_parse(const char *text, uint64_t *ms)
{
    unsigned year, month, day, hour = 0, minute = 0, second = 0, milli = 0;
    int at = 0, more = 0;
    if (sscanf(text, "%4u-%2u-%2u%n", &year, &month, &day, &at) != 3 || at != 10
        || !is_day(year, month, day))
        return false;
    text += at;
    if (*text == 'T' || *text == ' ') {
        if (sscanf(text + 1, "%2u:%2u%n", &hour, &minute, &more) != 2 || more != 5)
            return false;
        text += 6;
        if (*text == ':') {
            if (sscanf(text + 1, "%2u%n", &second, &more) != 1 || more != 2)
                return false;
            text += 3;
        }
        if (*text == '.') {
            if (sscanf(text + 1, "%3u%n", &milli, &more) != 1 || more != 3)
                return false;
            text += 4;
        }
        text += *text == 'Z';
    }
    if (*text != 0 || hour > 23 || minute > 59 || second > 59)
        return false;
    *ms = (((days_before(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000
          + milli;
    return true;
}
