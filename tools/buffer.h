/* buffer.h - bytes that grow. A tool that gets no memory says so and ends. */
#ifndef TOOLS_BUFFER_H
#define TOOLS_BUFFER_H

#include <holdfast.h>

typedef struct cli_buffer {
    uint8_t *data;
    size_t   len, room;
} cli_buffer;

void cli_buffer_add(cli_buffer *buffer, const void *data, size_t len);
void cli_buffer_byte(cli_buffer *buffer, uint8_t byte);
void cli_buffer_text(cli_buffer *buffer, const char *text);
void cli_buffer_format(cli_buffer *buffer, const char *format, ...) HF_PRINTF(2, 3);

/* Make place for `len` bytes at `at`, moving what follows. */
void cli_buffer_insert(cli_buffer *buffer, size_t at, size_t len);

void cli_buffer_base64(cli_buffer *buffer, hf_bytes bytes);
void cli_buffer_hex(cli_buffer *buffer, hf_bytes bytes);

/* Append what base64 `text` stands for; -1 if it is not base64 (padded). */
int cli_buffer_unbase64(cli_buffer *buffer, hf_bytes text);

hf_bytes cli_buffer_bytes(const cli_buffer *buffer);
void     cli_buffer_free(cli_buffer *buffer); /* and empty it */

/* malloc and realloc that do not return without memory. */
void *cli_alloc(size_t size);
void *cli_grow(void *memory, size_t size);

/* Are these bytes UTF-8, shortest form, no surrogates? */
int cli_utf8_valid(hf_bytes text);
/* How many columns they take, one a code point. */
size_t cli_utf8_width(hf_bytes text);

#endif
