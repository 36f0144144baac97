/* restore.c - a backup into a new store.
 *
 * Happy path: row after row from the stream into a nest; at the end of the stream its
 * counts and its checksum are compared; only then the store gets its name. It is a store
 * of its own: see rebuild.c.
 * A damaged, cut or newer backup leaves nothing. One thread. */
#include "recovery/copying.h"
#include "recovery/packet.h"
#include "recovery/rebuild.h"

#include "storage/error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

typedef struct restore {
    hf_copying   copying;
    hf_unpacker *unpacker;
} restore;

static int restore_rows(void *user, hf_rebuild *rebuild)
{
    restore *r = user;
    hf_table table;
    hf_bytes key, value;
    int err;
    while (!(err = hf_unpacker_row(r->unpacker, &table, &key, &value))) {
        err = hf_rebuild_row(rebuild, table, key, value);
        if (!err)
            err = hf_copying_row(&r->copying, table, key, value);
        if (err)
            return err;
    }
    return err == HF_ENOTFOUND ? HF_OK : err;
}

/* The pipe is silent: does who asked want to end? */
static int stir(void *user)
{
    restore *r = user;
    return hf_copying_tell(&r->copying);
}

int hf_restore(const char *file, const char *to, hf_row_fn each, void *user)
{
    restore r = { .copying = { .each = each, .user = user } };
    hf_packet_about about;
    hf_error_clear();
    if (!file || !to || !*to)
        return hf_error(HF_EINVAL, "hf_restore");
    bool from_stdin = strcmp(file, "-") == 0;
    int fd = from_stdin ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return hf_error(errno == ENOENT ? HF_ENOTFOUND : HF_EIO, "%s: %s", file, strerror(errno));
    int err = hf_unpacker_open(&r.unpacker, fd, stir, &r, &about);
    if (!err) {
        hf_rebuild_plan plan = { .to = to, .renew = true, .bytes = about.bytes,
                                 .source = restore_rows, .user = &r };
        memcpy(plan.uuid, about.uuid, sizeof plan.uuid);
        r.copying.total = about.bytes;
        err = hf_rebuild_store(&plan);
    }
    hf_unpacker_close(r.unpacker);
    if (!from_stdin)
        (void)close(fd);
    if (!err) {
        hf_copying_sum(&r.copying);
        hf_out_time(&r.copying.row, "taken", about.time_ms);
        hf_out_uint(&r.copying.row, "size", hf_copying_file_bytes(to));
        err = hf_copying_tell_sum(&r.copying);
    }
    hf_out_done(&r.copying.row);
    return err;
}
