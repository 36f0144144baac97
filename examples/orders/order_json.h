/* order_json.h - a small, strict JSON reader that pulls one value at a time.
 *
 * Strict: RFC 8259, valid UTF-8, no NUL in strings. It copies strings out and
 * allocates nothing. Every function returns 0, or -1 after it has said in
 * json->why what is wrong and at which column. */
#ifndef ORDERS_ORDER_JSON_H
#define ORDERS_ORDER_JSON_H

#include <stddef.h>
#include <stdint.h>

typedef struct json_reader {
    const char *start, *at, *end;
    char        why[128];
} json_reader;

void json_init(json_reader *json, const char *text, size_t len);

/* The next thing that is no white space must be this character. */
int json_expect(json_reader *json, char c);

/* In an object or array whose opening bracket has been read: 1, another member
 * or element follows; 0, `close` has been read. *first is true (1) before the
 * first call. */
int json_more(json_reader *json, char close, int *first);

/* What comes next is null, and has been read: 1. Something else: 0. */
int json_null(json_reader *json);

int json_string(json_reader *json, char *out, size_t size);
int json_uint(json_reader *json, uint64_t max, uint64_t *value); /* a whole number */
int json_end(json_reader *json);                                 /* nothing follows */

/* What is wrong here; always -1. */
int json_wrong(json_reader *json, const char *what);

#endif
