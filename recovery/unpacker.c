/* unpacker.c - read the stream of a backup.
 *
 * Happy path: the head says what it is; then row after row; the trailer's counts and sum
 * must be those of what was read, and nothing may follow. A length is believed only as
 * far as bytes come. HF_ECORRUPT, HF_EVERSION, HF_EIO, HF_ENOMEM. One thread. */
#include "recovery/packet.h"

#include "storage/codec.h"
#include "storage/error.h"
#include "storage/marker.h"
#include "storage/memory.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>
#include <zstd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { IN = 256 << 10, STEP = 1 << 20, KEY_MAX = 512, SILENT_MS = 500 };

struct hf_unpacker {
    int           fd;
    int         (*stir)(void *user);
    void         *user;
    ZSTD_DCtx    *zstd;
    ZSTD_inBuffer in;
    bool          ended; /* the zstd frame */
    uint64_t      sum, rows[HF_TABLES];
    uint8_t      *value;
    size_t        room;
    uint8_t       key[8 + KEY_MAX];
    uint8_t       bytes[IN];
};

static int cut_short(void)
{
    return hf_error(HF_ECORRUPT, "the backup is damaged: it is cut short");
}

/* A pipe may be silent for long: who reads can end it meanwhile. A signal that comes just
 * before we wait is seen a moment later. */
static int await_bytes(hf_unpacker *u)
{
    struct pollfd from = { .fd = u->fd, .events = POLLIN };
    while (u->stir) {
        int ready = poll(&from, 1, SILENT_MS);
        if (ready > 0 || (ready < 0 && errno != EINTR))
            break;
        int err = u->stir(u->user);
        if (err)
            return err;
    }
    return HF_OK;
}

/* So many bytes of the file, or fewer at its end. */
static int fetch(hf_unpacker *u, uint8_t *to, size_t want, size_t *got)
{
    for (*got = 0; *got < want;) {
        int err = await_bytes(u);
        if (err)
            return err;
        ssize_t n = read(u->fd, to + *got, want - *got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return hf_error(HF_EIO, "reading a backup: %s", strerror(errno));
        if (n == 0)
            break;
        *got += (size_t)n;
    }
    return HF_OK;
}

static int refill(hf_unpacker *u)
{
    size_t got;
    int err = fetch(u, u->bytes, sizeof u->bytes, &got);
    u->in = (ZSTD_inBuffer){ u->bytes, got, 0 };
    return err;
}

static int need(hf_unpacker *u, uint8_t *to, size_t len)
{
    ZSTD_outBuffer out = { to, len, 0 };
    while (out.pos < len) {
        int err = u->ended ? cut_short() : HF_OK;
        size_t before = out.pos;
        if (err)
            return err;
        size_t left = ZSTD_decompressStream(u->zstd, &out, &u->in);
        if (ZSTD_isError(left))
            return hf_error(HF_ECORRUPT, "the backup is damaged: %s", ZSTD_getErrorName(left));
        u->ended = left == 0;
        if (u->ended || out.pos > before || u->in.pos < u->in.size)
            continue;
        if ((err = refill(u)))
            return err;
        if (!u->in.size)
            return cut_short();
    }
    return HF_OK;
}

int hf_unpacker_open(hf_unpacker **out, int fd, int (*stir)(void *user), void *user,
                     hf_packet_about *about)
{
    uint8_t head[HF_PACKET_HEAD];
    size_t got;
    hf_unpacker *u = hf_mem_zero(1, sizeof *u);
    *out = u;
    if (!u || !(u->zstd = ZSTD_createDCtx()))
        return hf_error(HF_ENOMEM, "a backup");
    u->fd = fd;
    u->stir = stir;
    u->user = user;
    int err = fetch(u, head, sizeof head, &got);
    if (err)
        return err;
    if (got < 12 || memcmp(head, HF_PACKET_MAGIC, 8) != 0)
        return hf_error(HF_ECORRUPT, "that is no backup of a store, or its beginning is damaged");
    if (hf_get32(head + 8) > HF_PACKET_VERSION)
        return hf_error(HF_EVERSION, "the backup has version %u, this library reads %d",
                        hf_get32(head + 8), HF_PACKET_VERSION);
    u->sum = XXH3_64bits(head, 56);
    if (got < sizeof head || hf_get64(head + 56) != u->sum)
        return hf_error(HF_ECORRUPT, "the backup is damaged: its head");
    *about = (hf_packet_about){ .format = hf_get32(head + 12), .time_ms = hf_get64(head + 32),
                                .bytes = hf_get64(head + 40) };
    memcpy(about->uuid, head + 16, sizeof about->uuid);
    return hf_format_check("of the backup", about->format);
}

static int read_value(hf_unpacker *u, size_t len)
{
    for (size_t have = 0; have < len;) {
        size_t step = len - have < STEP ? len - have : STEP;
        if (have + step > u->room) {
            size_t room = have + step + have / 2;
            uint8_t *value = hf_mem_grow(u->value, room);
            if (!value)
                return hf_error(HF_ENOMEM, "a row of %zu bytes", len);
            u->value = value;
            u->room = room;
        }
        int err = need(u, u->value + have, step);
        if (err)
            return err;
        have += step;
    }
    return HF_OK;
}

/* The end: is it what was written? */
static int check_trailer(hf_unpacker *u)
{
    uint8_t trailer[8 + HF_TABLES * 8 + 8];
    uint8_t more;
    size_t got;
    uint32_t tables = hf_get16(u->key + 2);
    if (tables > HF_TABLES)
        return hf_error(HF_EVERSION, "the backup has %u tables, this library knows %d", tables,
                        HF_TABLES);
    if (hf_get32(u->key + 4) != tables * 8 + 8)
        return hf_error(HF_ECORRUPT, "the backup is damaged: its end");
    memcpy(trailer, u->key, 8);
    int err = need(u, trailer + 8, tables * 8 + 8);
    if (err)
        return err;
    uint64_t sum = XXH3_64bits_withSeed(trailer, 8 + tables * 8, u->sum);
    bool right = hf_get64(trailer + 8 + tables * 8) == sum;
    for (uint32_t t = 0; t < HF_TABLES; t++)
        right = right && u->rows[t] == (t < tables ? hf_get64(trailer + 8 + t * 8) : 0);
    if (!right)
        return hf_error(HF_ECORRUPT, "the backup is damaged: its checksum does not match");
    if (!u->ended && need(u, &more, 1) != HF_ECORRUPT)
        return hf_error(HF_ECORRUPT, "the backup is damaged: something follows its end");
    err = u->ended ? fetch(u, &more, 1, &got) : cut_short();
    if (!err && (got || u->in.pos < u->in.size))
        err = hf_error(HF_ECORRUPT, "the backup is damaged: something follows its end");
    return err ? err : HF_ENOTFOUND;
}

int hf_unpacker_row(hf_unpacker *u, hf_table *table, hf_bytes *key, hf_bytes *value)
{
    int err = need(u, u->key, 8);
    if (err)
        return err;
    size_t key_len = hf_get16(u->key + 2), len = hf_get32(u->key + 4);
    if (u->key[0] == 255)
        return check_trailer(u);
    if (u->key[0] >= HF_TABLES)
        return hf_error(HF_EVERSION, "the backup has a table %u, this library knows %d",
                        u->key[0], HF_TABLES);
    if (key_len > KEY_MAX)
        return hf_error(HF_ECORRUPT, "the backup is damaged: a key of %zu bytes", key_len);
    err = need(u, u->key + 8, key_len);
    if (!err)
        err = read_value(u, len);
    if (err)
        return err;
    u->sum = XXH3_64bits_withSeed(u->key, 8 + key_len, u->sum);
    u->sum = XXH3_64bits_withSeed(u->value, len, u->sum);
    *table = (hf_table)u->key[0];
    u->rows[*table]++;
    *key = hf_view(u->key + 8, key_len);
    *value = hf_view(u->value, len);
    return HF_OK;
}

void hf_unpacker_close(hf_unpacker *u)
{
    if (!u)
        return;
    (void)ZSTD_freeDCtx(u->zstd);
    hf_mem_free(u->value);
    hf_mem_free(u);
}
