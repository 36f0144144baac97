/* test_cron.c - schedules against moments worked out by hand, and nonsense refused. */
#include "engine/cron.h"

#include "engine/holdfast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* "2026-03-29 01:59" UTC as Unix milliseconds. */
static uint64_t at(const char *text)
{
    int year;
    unsigned month, day, hour, minute;
    assert_int_equal(sscanf(text, "%d-%u-%u %u:%u", &year, &month, &day, &hour, &minute), 5);
    return (uint64_t)(hf_days_of(year, month, day) * 86400 + hour * 3600 + minute * 60) * 1000;
}

static const char *text_of(uint64_t ms)
{
    static char text[40];
    int64_t year;
    unsigned month, day, second = (unsigned)(ms / 1000 % 86400);
    hf_date_of((int64_t)(ms / 1000 / 86400), &year, &month, &day);
    (void)snprintf(text, sizeof text, "%04d-%02u-%02u %02u:%02u", (int)year, month, day,
                   second / 3600, second % 3600 / 60);
    return text;
}

typedef struct example {
    const char *schedule, *after, *next[4]; /* all UTC */
} example;

static const example examples[] = {
    { "0 18 * * 1-5 Europe/Rome",
      "2026-11-20 16:59",
      { "2026-11-20 17:00", "2026-11-23 17:00", "2026-11-24 17:00", "2026-11-25 17:00" } },
    /* Rome, 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC. */
    { "30 2 * * * Europe/Rome",
      "2026-03-28 00:00",
      { "2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30", "2026-03-31 00:30" } },
    { "0 3 * * * Europe/Rome",
      "2026-03-28 12:00",
      { "2026-03-29 01:00", "2026-03-30 01:00", "2026-03-31 01:00", "2026-04-01 01:00" } },
    { "*/30 * * * * Europe/Rome",
      "2026-03-29 00:15",
      { "2026-03-29 00:30", "2026-03-29 01:00", "2026-03-29 01:30", "2026-03-29 02:00" } },
    /* Rome, 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC. */
    { "30 2 * * * Europe/Rome",
      "2026-10-24 00:00",
      { "2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30", "2026-10-27 01:30" } },
    { "30 2 * * * Europe/Rome", "2026-10-25 00:45", { "2026-10-26 01:30", "2026-10-27 01:30" } },
    { "30 2 * * * Europe/Rome", "2026-10-25 01:10", { "2026-10-26 01:30", "2026-10-27 01:30" } },
    { "*/30 * * * * Europe/Rome",
      "2026-10-24 23:45",
      { "2026-10-25 00:00", "2026-10-25 00:30", "2026-10-25 01:00", "2026-10-25 01:30" } },
    /* Of every hour: none is left out, none comes twice in one. */
    { "0 * * * * Europe/Rome",
      "2026-03-28 23:30",
      { "2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 02:00", "2026-03-29 03:00" } },
    { "0 * * * * Europe/Rome",
      "2026-10-24 23:30",
      { "2026-10-25 00:00", "2026-10-25 01:00", "2026-10-25 02:00", "2026-10-25 03:00" } },
    /* Of some hours: what was skipped and what comes then is one; what is doubled is the first. */
    { "0 1-4 * * * Europe/Rome",
      "2026-03-28 22:00",
      { "2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 02:00", "2026-03-29 23:00" } },
    { "0 1-4 * * * Europe/Rome",
      "2026-10-24 22:00",
      { "2026-10-24 23:00", "2026-10-25 00:00", "2026-10-25 02:00", "2026-10-25 03:00" } },
    /* New York, 8 March and 1 November 2026. */
    { "15 2 * * * America/New_York",
      "2026-03-07 12:00",
      { "2026-03-08 07:00", "2026-03-09 06:15", "2026-03-10 06:15", "2026-03-11 06:15" } },
    { "15 1 * * * America/New_York",
      "2026-10-31 12:00",
      { "2026-11-01 05:15", "2026-11-02 06:15", "2026-11-03 06:15", "2026-11-04 06:15" } },
    /* Lord Howe turns by half an hour: 4 October 2026 at 02:00 (UTC 15:30 the day before). */
    { "15 2 * * * Australia/Lord_Howe",
      "2026-10-02 16:00",
      { "2026-10-03 15:30", "2026-10-04 15:15", "2026-10-05 15:15", "2026-10-06 15:15" } },
    { "45 1 * * * Australia/Lord_Howe",
      "2026-04-03 16:00",
      { "2026-04-04 14:45", "2026-04-05 15:15", "2026-04-06 15:15", "2026-04-07 15:15" } },
    { "0 2 * * * Australia/Lord_Howe",
      "2026-10-02 16:00",
      { "2026-10-03 15:30", "2026-10-04 15:00" } },
    /* Sydney, where it is autumn in April: 5 April and 4 October 2026. */
    { "30 2 * * * Australia/Sydney",
      "2026-04-03 16:00",
      { "2026-04-04 15:30", "2026-04-05 16:30" } },
    { "30 2 * * * Australia/Sydney",
      "2026-10-02 17:00",
      { "2026-10-03 16:00", "2026-10-04 15:30" } },
    /* Far ahead, by the rule of the file's last line: 30 March 2060 in Rome. */
    { "30 2 * * * Europe/Rome",
      "2060-03-27 12:00",
      { "2060-03-28 01:00", "2060-03-29 00:30", "2060-03-30 00:30", "2060-03-31 00:30" } },
    /* Looked at in the very minute before the hour that is skipped. */
    { "15 2 * * * America/New_York",
      "2026-03-08 06:59",
      { "2026-03-08 07:00", "2026-03-09 06:15" } },
    { "59 1,2 * * * Europe/Rome",
      "2026-03-29 00:58",
      { "2026-03-29 00:59", "2026-03-29 01:00", "2026-03-29 23:59", "2026-03-30 00:59" } },
    /* No summer time: half an hour off the hour. */
    { "0 9 * * * Asia/Kolkata", "2026-06-01 00:00", { "2026-06-01 03:30", "2026-06-02 03:30" } },
    { "0 0 29 2 *",
      "2026-01-01 00:00",
      { "2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00", "2040-02-29 00:00" } },
    { "0 0 29 2 *", "2096-03-01 00:00", { "2104-02-29 00:00" } }, /* 2100 has none */
    { "0 0 29 2 * Europe/Rome",
      "2027-12-31 00:00", /* its midnight is 23:00 of the 28th */
      { "2028-02-28 23:00", "2032-02-28 23:00" } },
    { "30 23 L * * America/New_York",
      "2028-02-02 00:00",
      { "2028-03-01 04:30", "2028-04-01 03:30", "2028-05-01 03:30", "2028-06-01 03:30" } },
    { "0 0 L 2 * Asia/Kolkata", "2027-01-01 00:00", { "2027-02-27 18:30", "2028-02-28 18:30" } },
    { "0 12 L 2 *", "2099-03-01 00:00", { "2100-02-28 12:00", "2101-02-28 12:00" } },
    { "59 23 L * *",
      "2026-01-31 23:59",
      { "2026-02-28 23:59", "2026-03-31 23:59", "2026-04-30 23:59", "2026-05-31 23:59" } },
    { "0 12 L 2 *", "2027-03-01 00:00", { "2028-02-29 12:00", "2029-02-28 12:00" } },
    { "0 0 1,L * *", "2026-04-02 00:00", { "2026-04-30 00:00", "2026-05-01 00:00" } },
    { "0 0 13 * 5",
      "2026-02-01 00:00", /* the 13th, and every Friday */
      { "2026-02-06 00:00", "2026-02-13 00:00", "2026-02-20 00:00", "2026-02-27 00:00" } },
    { "0 0 */10 * 1", "2026-06-01 01:00", { "2026-08-31 00:00" } }, /* a star: both must hold */
    { "0 0 * jan-mar SUN", "2026-03-25 00:00", { "2026-03-29 00:00", "2027-01-03 00:00" } },
    { "0 0 * * 7", "2026-11-16 00:00", { "2026-11-22 00:00", "2026-11-29 00:00" } },
    { "5-59/20 8,20 * * *",
      "2026-01-01 08:00",
      { "2026-01-01 08:05", "2026-01-01 08:25", "2026-01-01 08:45", "2026-01-01 20:05" } },
    { "5-5/20 8 * * *", "2026-01-01 08:00", { "2026-01-01 08:05", "2026-01-02 08:05" } },
    { "10/25 0 * * *",
      "2026-01-01 00:00",
      { "2026-01-01 00:10", "2026-01-01 00:35", "2026-01-02 00:10", "2026-01-02 00:35" } },
    { "@daily America/New_York", "2026-07-01 12:00", { "2026-07-02 04:00" } },
    { "@weekly", "2026-11-22 00:00", { "2026-11-29 00:00" } },
    { "0 0 31 * *", "2026-01-31 00:00", { "2026-03-31 00:00", "2026-05-31 00:00" } },
    { "@yearly", "2037-06-01 00:00", { "2038-01-01 00:00", "2039-01-01 00:00" } },
};

static void test_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const example *x = &examples[i];
        hf_cron cron;
        if (hf_cron_parse(&cron, x->schedule))
            fail_msg("%s: %s", x->schedule, hf_detail());
        uint64_t now = at(x->after);
        for (int n = 0; n < 4 && x->next[n]; n++) {
            uint64_t next = hf_cron_next(&cron, now);
            if (next != at(x->next[n]))
                fail_msg("%s after %s: %s, not %s", x->schedule, n ? x->next[n - 1] : x->after,
                         text_of(next), x->next[n]);
            now = next;
        }
        hf_cron_done(&cron);
    }
}

static void test_intervals(void **state)
{
    static const struct {
        const char *text;
        uint64_t    ms;
    } good[] = { { "every 250ms", 250 },     { "every 90s", 90000 },    { "every 5m", 300000 },
                 { "every 12h", 43200000 }, { "every 7d", 604800000 } };
    hf_cron cron;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(hf_cron_parse(&cron, good[i].text), HF_OK);
        assert_int_equal(hf_cron_next(&cron, 1000), 1000 + good[i].ms);
        assert_int_equal(hf_cron_next(&cron, UINT64_MAX), 0);
        hf_cron_done(&cron);
    }
}

static void test_nonsense(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        { "", "five fields" },
        { "* * * *", "five fields" },
        { "* * * * * UTC more", "five fields" },
        { "60 * * * *", "no minute" },
        { "* 24 * * *", "no hour" },
        { "* * 0 * *", "no day" },
        { "* * * 13 *", "no month" },
        { "* * * * 8", "no weekday" },
        { "*/0 * * * *", "no minute" },
        { "5-1 * * * *", "no minute" },
        { "1,,2 * * * *", "no minute" },
        { "1- * * * *", "no minute" },
        { "x * * * *", "no minute" },
        { "0 0 30 2 *", "never due" },
        { "0 0 * * * Mars/Olympus", "no time zone" },
        { "0 0 * * * ../../etc/passwd", "no time zone" },
        { "0 0 * * * /etc/localtime", "no time zone" },
        { "every 0s", "no interval" },
        { "every 5", "no interval" },
        { "every -5s", "no interval" },
        { "every 99999999999999999999d", "no interval" },
        { "@never", "five fields" },
    };
    hf_cron cron;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(hf_cron_parse(&cron, bad[i].text), HF_EINVAL);
        if (!strstr(hf_detail(), bad[i].says))
            fail_msg("\"%s\": %s", bad[i].text, hf_detail());
    }
}

static void test_days(void **state)
{
    int64_t year;
    unsigned month, day;
    (void)state;
    assert_int_equal(hf_days_of(1970, 1, 1), 0);
    assert_int_equal(hf_days_of(2000, 2, 29), 11016);
    assert_int_equal(hf_days_of(1969, 12, 31), -1);
    for (int64_t days = -800000; days < 800000; days += 13) {
        hf_date_of(days, &year, &month, &day);
        assert_int_equal(hf_days_of(year, month, day), days);
    }
}

/* A year of every zone: offsets change where `until` says, and only there. */
static void test_offsets(void **state)
{
    static const char *const zones[] = { "Europe/Rome", "America/New_York", "Australia/Lord_Howe",
                                         "Asia/Kolkata", "Africa/Casablanca", "Pacific/Apia",
                                         "America/Sao_Paulo", "UTC", "local" };
    (void)state;
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
        hf_zone *zone;
        int64_t until = 0, again;
        assert_int_equal(hf_zone_load(&zone, zones[i]), HF_OK);
        for (int64_t t = hf_days_of(1900, 1, 1) * 86400; t < hf_days_of(2080, 1, 1) * 86400;
             t = until) {
            int32_t offset = hf_zone_offset(zone, t, &until);
            assert_true(until > t && offset > -54000 && offset < 54000);
            int64_t last = until == INT64_MAX ? t + 86400 : until - 1;
            assert_int_equal(hf_zone_offset(zone, last, &again), offset);
            assert_int_equal(again, until);
        }
        hf_zone_free(zone);
    }
}

/* A zone that is nothing but its last line, in which each summer ends as the next begins. */
static void test_endless_summer(void **state)
{
    static const char rule[] = "\nEST5EDT,0/0,J365/25\n";
    char directory[] = "/tmp/holdfast-zone-XXXXXX", path[64];
    hf_zone *zone;
    int64_t until;
    (void)state;
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/Endless", directory);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int block = 0; block < 2; block++) {
        static const uint8_t head[44] = { 'T', 'Z', 'i', 'f', '2', [39] = 1, [43] = 4 };
        static const uint8_t type[6 + 4] = { 0 };
        assert_int_equal(fwrite(head, 1, sizeof head, file), sizeof head);
        assert_int_equal(fwrite(type, 1, sizeof type, file), sizeof type);
    }
    assert_int_equal(fwrite(rule, 1, sizeof rule - 1, file), sizeof rule - 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(setenv("TZDIR", directory, 1), 0);
    assert_int_equal(hf_zone_load(&zone, "Endless"), HF_OK);
    assert_int_equal(unsetenv("TZDIR"), 0);
    for (int64_t t = hf_days_of(2026, 1, 1) * 86400; t < hf_days_of(2031, 1, 1) * 86400; t += 3600)
        assert_int_equal(hf_zone_offset(zone, t, &until), -4 * 3600);
    hf_zone_free(zone);
    assert_int_equal(unlink(path) | rmdir(directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples), cmocka_unit_test(test_intervals),
        cmocka_unit_test(test_nonsense), cmocka_unit_test(test_days),
        cmocka_unit_test(test_offsets),  cmocka_unit_test(test_endless_summer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
