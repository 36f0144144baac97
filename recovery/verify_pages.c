/* verify_pages.c - walk every tree of the data file; does every page belong somewhere?
 *
 * Happy path: each table's tree can be followed to its leaves and holds as many rows as
 * LMDB counted; each page is in one tree, or free, and not both. One thread. */
#include "recovery/verify.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdio.h>

static void page_bad(void *user, uint64_t page, const char *why)
{
    hf_checkup *c = user;
    hf_finding f = { .name = "page damaged", .table = hf_table_name(c->table), .page = page };
    c->torn = true;
    hf_checkup_found(c, &f, "%s: rows below it can't be reached", why);
}

static int see_row(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    hf_checkup *c = user;
    hf_checkup_row(c, page, key, value);
    return c->err;
}

static void check_roots(hf_checkup *c)
{
    hf_finding f = { .name = "root damaged" };
    if (!hf_pages_root_of(c->pages, 1).sound)
        hf_checkup_found(c, &f, "one of the two roots can't be read; the other one is used");
}

static void check_table(hf_checkup *c, hf_table table)
{
    hf_pages_tree tree;
    hf_finding f = { .name = "table missing", .table = hf_table_name(table) };
    uint64_t before = c->rows;
    c->table = table;
    int err = hf_pages_table(c->pages, 0, f.table, &tree);
    if (err == HF_ENOTFOUND) {
        c->torn = true;
        hf_checkup_found(c, &f, "%s", hf_error_detail());
        return;
    }
    if (!err)
        err = hf_pages_walk(c->pages, &tree, see_row, page_bad, c);
    if (err && !c->err)
        c->err = err;
    f.name = "rows miscounted";
    if (!err && !c->torn && c->rows - before != tree.rows)
        hf_checkup_found(c, &f, "%llu were found, LMDB counted %llu",
                         (unsigned long long)(c->rows - before), (unsigned long long)tree.rows);
    if (table == HF_IN_LOG && c->group_open) {
        f.name = "group cut";
        hf_checkup_found(c, &f, "the last record of the last group is missing");
    }
}

/* ---- Free pages */

typedef struct free_pages {
    hf_checkup *checkup;
    uint8_t    *bits;
    uint64_t    count;
} free_pages;

static int see_free(void *user, uint64_t page)
{
    free_pages *f = user;
    hf_finding twice = { .name = "page used twice", .page = page };
    if (page >= hf_pages_count(f->checkup->pages)) /* it need not have been written yet */
        return HF_OK;
    if (f->bits[page / 8] >> (page % 8) & 1)
        hf_checkup_found(f->checkup, &twice, "it is free twice");
    else if (hf_pages_met(f->checkup->pages, page))
        hf_checkup_found(f->checkup, &twice, "it is in use and free");
    f->bits[page / 8] = (uint8_t)(f->bits[page / 8] | 1u << (page % 8));
    f->count++;
    return f->checkup->err;
}

static void check_free(hf_checkup *c)
{
    free_pages f = { .checkup = c, .bits = hf_mem_zero(hf_pages_count(c->pages) / 8 + 1, 1) };
    uint64_t lost = 0, last = hf_pages_root_of(c->pages, 0).last_page;
    if (!f.bits) {
        c->err = hf_error(HF_ENOMEM, "%s", c->path);
        return;
    }
    c->table = HF_TABLES;
    int err = hf_pages_free(c->pages, see_free, page_bad, c, &f);
    for (uint64_t page = 2; page <= last && page < hf_pages_count(c->pages); page++) {
        c->pages_met += hf_pages_met(c->pages, page);
        lost += !hf_pages_met(c->pages, page) && !(f.bits[page / 8] >> (page % 8) & 1);
    }
    hf_finding missing = { .name = "pages lost" };
    if (!err && !c->torn && lost)
        hf_checkup_found(c, &missing, "%llu pages are neither in use nor free: wasted, not harmful",
                         (unsigned long long)lost);
    if (err && !c->err)
        c->err = err;
    hf_mem_free(f.bits);
}

void hf_checkup_pages(hf_checkup *c)
{
    check_roots(c);
    for (int t = 0; t < HF_TABLES && !c->err; t++)
        check_table(c, (hf_table)t);
    if (!c->err)
        check_free(c);
}
