/* order_book.c - write the orders' states into the ledger, many in one transaction.
 *
 * Happy path: Holdfast hands over the newest states of the orders that changed; each
 * one's status becomes its row of the order book, unless the row is from a newer one.
 *
 * How it fails: what the ledger cannot do comes again later. A state that cannot be
 * read is a mistake of this program's: said, and left out. On a thread of the type's own. */
#include "examples/orders/order_book.h"

#include "examples/orders/shop.h"

#include <holdfast_msgpack.h>
#include <stdio.h>
#include <stdlib.h>

static bool read_status(const hf_image *image, char status[sizeof ((book_row *)0)->status])
{
    msgpack_unpacked value;
    size_t at = 0;
    bool read = false;

    msgpack_unpacked_init(&value);
    if (msgpack_unpack_next(&value, image->state.data, image->state.len, &at)
        == MSGPACK_UNPACK_SUCCESS) {
        hf_bytes text = hf_text(&value.data, "status");
        read = text.data && text.len < sizeof ((book_row *)0)->status;
        if (read) {
            memcpy(status, text.data, text.len);
            status[text.len] = 0;
        }
    }
    msgpack_unpacked_destroy(&value);
    return read;
}

int order_book_write(void *user, const hf_image *images, size_t count)
{
    order_shop *shop = user;
    book_row *rows = calloc(count, sizeof *rows);
    size_t n = 0;
    char why[LEDGER_WHY] = "out of memory";

    for (size_t i = 0; rows && i < count; i++) {
        rows[n].order = strchr(images[i].actor, '/') + 1;
        rows[n].version = (int64_t)images[i].version;
        if (images[i].state.data && !read_status(&images[i], rows[n].status))
            fprintf(stderr, "%s: its state cannot be read\n", images[i].actor);
        else
            n++;
    }
    reply said = rows ? ledger_keep_book(shop->services.books, rows, n, why) : REPLY_FAILED;
    free(rows);
    if (said != REPLY_OK)
        fprintf(stderr, "the order book: %s (will be tried again)\n", why);
    return said == REPLY_OK ? HF_OK : 1;
}
