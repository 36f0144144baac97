/* marker.h - `holdfast.id`: says that a directory is a store of ours, which one,
 * in which format, and how its addresses are hashed, without which nothing of damaged
 * data could be told to be whole. Its absence makes a directory foreign; its presence
 * without data means loss, never a fresh start. */
#ifndef STORAGE_MARKER_H
#define STORAGE_MARKER_H

#include <stddef.h>
#include <stdint.h>

#define HF_MARKER_FILE "holdfast.id"
#define HF_FORMAT      1 /* of the store; higher ones are refused */

typedef struct hf_marker {
    uint32_t format;
    uint8_t  uuid[16];
    uint64_t seed; /* of address hashes, which the data says, too; 0: the marker does not */
} hf_marker;

/* Make a new marker in `directory` and sync it (not the directory). */
int hf_marker_write(const char *directory, const hf_marker *marker);

/* HF_ENOTFOUND: there is none. HF_EVERSION: newer than HF_FORMAT. HF_ECORRUPT. */
int hf_marker_read(const char *directory, hf_marker *marker);

/* HF_EVERSION, and both versions in words, if `format` is too new. */
int hf_format_check(const char *directory, uint32_t format);

#endif
