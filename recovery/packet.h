/* packet.h - the stream of a backup: rows, compressed, with a checksum over everything.
 *
 *    0  "HFBACKUP"  version(4)  format of the store(4)
 *   16  uuid of the store(16)   32 time, Unix ms(8)   40 bytes of its data file(8)
 *   48  zeros(8)                56 XXH3 of the 56 bytes before(8)
 *   64  one zstd frame to the end of the file; inside it, row after row:
 *       table(1) 0(1) bytes of the key(2) bytes of the value(4) key value
 *       and at last: 255(1) 0(1) tables(2) bytes behind(4), rows of each table(8 each),
 *       sum(8)
 *
 * The sum is a chain of XXH3s: of head and key together, then of the value, each seeded
 * with the one before, the first with the check of the first 64 bytes; of the trailer,
 * all before the sum. */
#ifndef RECOVERY_PACKET_H
#define RECOVERY_PACKET_H

#include "storage/store.h"

enum { HF_PACKET_VERSION = 1, HF_PACKET_HEAD = 64 };
#define HF_PACKET_MAGIC "HFBACKUP"

typedef struct hf_packet_about {
    uint32_t format;
    uint8_t  uuid[16];
    uint64_t time_ms, bytes;
} hf_packet_about;

/* Writing. Every failure is told once, with errno's words: HF_EFULL, HF_EIO, HF_ENOMEM. */
typedef struct hf_packer hf_packer;
int  hf_packer_open(hf_packer **packer, int fd, const hf_packet_about *about);
int  hf_packer_row(hf_packer *packer, hf_table table, hf_bytes key, hf_bytes value);
int  hf_packer_end(hf_packer *packer); /* the trailer; nothing is synced */
void hf_packer_close(hf_packer *packer); /* NULL is fine */

/* Reading. HF_ECORRUPT: no backup, damaged or cut short; HF_EVERSION: of a newer one. */
typedef struct hf_unpacker hf_unpacker;
/* stir, if not NULL, is called now and then while nothing can be read; what it returns, if
 * not HF_OK, ends the reading. */
int  hf_unpacker_open(hf_unpacker **unpacker, int fd, int (*stir)(void *user), void *user,
                      hf_packet_about *about);
/* The next row, lent until the next call; HF_ENOTFOUND: that was all, and all of it is
 * as it was written. Nothing may be believed before. */
int  hf_unpacker_row(hf_unpacker *unpacker, hf_table *table, hf_bytes *key, hf_bytes *value);
void hf_unpacker_close(hf_unpacker *unpacker);

#endif
