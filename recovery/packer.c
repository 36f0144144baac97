/* packer.c - write the stream of a backup.
 *
 * Happy path: the head, then each row through zstd into a buffer that is written when it
 * is full, then the trailer with counts and sum. One thread; the descriptor stays the
 * caller's. */
#include "recovery/packet.h"

#include "storage/codec.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <errno.h>
#include <unistd.h>
#include <zstd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { OUT = 256 << 10, LEVEL = 3 };

struct hf_packer {
    int        fd;
    ZSTD_CCtx *zstd;
    uint64_t   sum, rows[HF_TABLES];
    size_t     used;
    uint8_t    out[OUT];
};

static int write_all(int fd, const uint8_t *at, size_t len)
{
    while (len) {
        ssize_t put = write(fd, at, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return hf_error(errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? HF_EFULL
                                                                                 : HF_EIO,
                            "writing a backup: %s", strerror(errno));
        at += put;
        len -= (size_t)put;
    }
    return HF_OK;
}

static int flush(hf_packer *p)
{
    int err = write_all(p->fd, p->out, p->used);
    p->used = 0;
    return err;
}

static int press(hf_packer *p, const void *data, size_t len, ZSTD_EndDirective how)
{
    ZSTD_inBuffer in = { data, len, 0 };
    for (;;) {
        ZSTD_outBuffer out = { p->out, sizeof p->out, p->used };
        size_t left = ZSTD_compressStream2(p->zstd, &out, &in, how);
        p->used = out.pos;
        if (ZSTD_isError(left))
            return hf_error(HF_ENOMEM, "compressing a backup: %s", ZSTD_getErrorName(left));
        if (how == ZSTD_e_end ? !left : in.pos == len)
            return HF_OK;
        int err = flush(p);
        if (err)
            return err;
    }
}

int hf_packer_open(hf_packer **out, int fd, const hf_packet_about *about)
{
    uint8_t head[HF_PACKET_HEAD] = HF_PACKET_MAGIC;
    hf_packer *p = hf_mem_zero(1, sizeof *p);
    *out = p;
    if (!p || !(p->zstd = ZSTD_createCCtx()))
        return hf_error(HF_ENOMEM, "a backup");
    (void)ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, LEVEL);
    p->fd = fd;
    hf_put32(head + 8, HF_PACKET_VERSION);
    hf_put32(head + 12, about->format);
    memcpy(head + 16, about->uuid, sizeof about->uuid);
    hf_put64(head + 32, about->time_ms);
    hf_put64(head + 40, about->bytes);
    p->sum = XXH3_64bits(head, 56);
    hf_put64(head + 56, p->sum);
    return write_all(fd, head, sizeof head);
}

int hf_packer_row(hf_packer *p, hf_table table, hf_bytes key, hf_bytes value)
{
    uint8_t head[8 + 512] = { (uint8_t)table };
    if (key.len > 512 || value.len > UINT32_MAX)
        return hf_error(HF_ECORRUPT, "a row of table %s is too large", hf_table_name(table));
    hf_put16(head + 2, (uint16_t)key.len);
    hf_put32(head + 4, (uint32_t)value.len);
    memcpy(head + 8, key.data, key.len);
    p->sum = XXH3_64bits_withSeed(head, 8 + key.len, p->sum);
    p->sum = XXH3_64bits_withSeed(value.data, value.len, p->sum);
    p->rows[table]++;
    int err = press(p, head, 8 + key.len, ZSTD_e_continue);
    return err ? err : press(p, value.data, value.len, ZSTD_e_continue);
}

int hf_packer_end(hf_packer *p)
{
    uint8_t trailer[8 + HF_TABLES * 8 + 8] = { 255 }, *at = trailer + 8;
    hf_put16(trailer + 2, HF_TABLES);
    hf_put32(trailer + 4, sizeof trailer - 8);
    for (int t = 0; t < HF_TABLES; t++, at += 8)
        hf_put64(at, p->rows[t]);
    hf_put64(at, XXH3_64bits_withSeed(trailer, sizeof trailer - 8, p->sum));
    int err = press(p, trailer, sizeof trailer, ZSTD_e_end);
    return err ? err : flush(p);
}

void hf_packer_close(hf_packer *p)
{
    if (p)
        (void)ZSTD_freeCCtx(p->zstd);
    hf_mem_free(p);
}
