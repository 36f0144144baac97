/* times.h - moments and durations, as people and as machines write them. */
#ifndef TOOLS_TIMES_H
#define TOOLS_TIMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CLI_TIME_ROOM = 40 };

uint64_t cli_now_ms(void); /* Unix time */
uint64_t cli_now_ns(void); /* never runs backwards */
void     cli_sleep_ms(uint64_t ms);

/* "2026-03-01T10:20:30.456Z"; false (and "") beyond the year 9999. */
bool cli_time_iso(char out[CLI_TIME_ROOM], uint64_t ms);

/* "3m ago", "in 12s", "now". */
void cli_time_relative(char out[CLI_TIME_ROOM], uint64_t ms, uint64_t now);

/* "2026-01-31", "2026-01-31T12:00", with seconds, milliseconds, Z: UTC. */
bool cli_time_parse(const char *text, uint64_t *ms);

/* "250ms" "5m" "2h" "3d" "1h30m"; a bare number has `unit` ms. */
bool cli_time_duration(const char *text, uint64_t unit, uint64_t *ms);

#endif
