/* select.c - walk all messages a where selects, page by page.
 *
 * Asks `messages` again and again, each time behind the last id told, so that
 * neither the engine nor a reading process holds a snapshot for long. What
 * changes meanwhile may or may not be seen; nothing is told twice.
 *
 * Ends with an error at once; Ctrl-C gives CLI_INTERRUPTED. One thread. */
#include "tools/select.h"

enum { PAGE = 10000, PAGE_WITH_BODIES = 1000 };

typedef struct select_page {
    cli_selection *selection;
    hf_row_fn      each;
    void          *user;
    uint64_t       next;
    bool           more;
} select_page;

static int each_row(void *user, hf_bytes row)
{
    select_page *page = user;
    cli_selection *selection = page->selection;
    cli_value scanned;
    if (cli_field(row, "scanned", &scanned)) {
        selection->scanned += scanned.number;
        page->next = cli_field_uint(row, "next");
        page->more = cli_field_bool(row, "more");
        return HF_OK;
    }
    if (cli_interrupted())
        return CLI_INTERRUPTED;
    selection->told++;
    return page->each(page->user, row);
}

static int ask_page(cli_context *context, select_page *page, uint64_t limit)
{
    cli_selection *selection = page->selection;
    cli_arguments arguments = { 0 };
    cli_argument_text(&arguments, "where", selection->where);
    cli_argument_uint(&arguments, "after", selection->after);
    cli_argument_uint(&arguments, "limit", limit);
    cli_argument_bool(&arguments, "bodies", selection->bodies);
    cli_argument_bool(&arguments, "count", false);
    page->more = false;
    page->next = selection->after;
    int err = cli_ask_rows(context, "messages", cli_arguments_whole(&arguments), each_row, page);
    cli_arguments_free(&arguments);
    return err;
}

int cli_select(cli_context *context, cli_selection *selection, hf_row_fn each, void *user)
{
    select_page page = { .selection = selection, .each = each, .user = user };
    uint64_t most = selection->bodies ? PAGE_WITH_BODIES : PAGE;
    do {
        uint64_t left = selection->limit - selection->told;
        int err = ask_page(context, &page, left < most ? left : most);
        if (err > 0)
            return err;
        if (err != HF_OK)
            return cli_store_failed(context, err);
        if (page.more && page.next <= selection->after) {
            cli_complain("the answer does not go on after id %llu",
                         (unsigned long long)selection->after);
            return CLI_FAILED;
        }
        selection->after = page.next;
    } while (page.more && selection->told < selection->limit);
    selection->more = page.more;
    return CLI_OK;
}
