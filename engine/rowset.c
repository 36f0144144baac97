/* rowset.c - an ordered set of rows, as a skip list.
 *
 * Happy path: an item is made with its copy of name and value and linked in where
 * its name sorts, each level half as likely as the one below; whoever has its
 * name goes out. A second chain keeps the order of putting, for the fold. Fails
 * only for want of memory, when an item is made; linking never does. One thread
 * changes a set; while nobody does, any thread may read it. */
#include "engine/rowset.h"

#include "storage/memory.h"
#include "storage/random.h"

int hf_rowset_compare(hf_bytes a, hf_bytes b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

hf_rowset *hf_rowset_new(void)
{
    hf_rowset *set = hf_mem_zero(1, sizeof *set);
    if (set)
        set->chance = hf_random() | 1;
    return set;
}

void hf_rowset_clear(hf_rowset *set)
{
    while (set->oldest) {
        hf_rowitem *newer = set->oldest->newer;
        hf_mem_free(set->oldest);
        set->oldest = newer;
    }
    set->newest = NULL;
    set->count = set->bytes = 0;
    memset(set->head, 0, sizeof set->head);
}

void hf_rowset_free(hf_rowset *set)
{
    if (set)
        hf_rowset_clear(set);
    hf_mem_free(set);
}

/* ---- Items */

static size_t value_at(size_t height, size_t name_len)
{
    size_t at = offsetof(hf_rowitem, next) + height * sizeof(hf_rowitem *) + name_len;
    return (at + 15) & ~(size_t)15;
}

hf_bytes hf_rowitem_value(const hf_rowitem *item)
{
    return hf_view((const uint8_t *)item + value_at(item->height, item->name_len), item->len);
}

size_t hf_rowitem_bytes(const hf_rowitem *item)
{
    return value_at(item->height, item->name_len) + item->len;
}

/* One in four reaches the next level. */
static uint8_t some_height(hf_rowset *set)
{
    uint8_t height = 1;
    set->chance ^= set->chance << 13;
    set->chance ^= set->chance >> 7;
    set->chance ^= set->chance << 17;
    for (uint64_t dice = set->chance; height < HF_ROWSET_HEIGHT && (dice & 3) == 0; dice >>= 2)
        height++;
    return height;
}

hf_rowitem *hf_rowset_make(hf_rowset *set, hf_bytes name, hf_bytes value)
{
    uint8_t height = some_height(set);
    size_t at = value_at(height, name.len), len = value.data ? value.len : 0;
    hf_rowitem *item = hf_mem_alloc(at + len);
    if (!item)
        return NULL;
    *item = (hf_rowitem){ .len = (uint32_t)len, .name_len = (uint8_t)name.len, .height = height,
                          .gone = !value.data };
    memcpy(item->next + height, name.data, name.len);
    if (len)
        memcpy((uint8_t *)item + at, value.data, len);
    return item;
}

void hf_rowitem_free(hf_rowitem *item)
{
    hf_mem_free(item);
}

/* ---- Links */

/* On each level the link that leads to the first item not below `name`. */
static void trace(hf_rowset *set, hf_bytes name, hf_rowitem **links[HF_ROWSET_HEIGHT])
{
    hf_rowitem **row = set->head;
    for (int level = HF_ROWSET_HEIGHT - 1; level >= 0; level--) {
        while (row[level] && hf_rowset_compare(hf_rowitem_name(row[level]), name) < 0)
            row = row[level]->next;
        links[level] = &row[level];
    }
}

static void unlink_item(hf_rowset *set, hf_rowitem *item, hf_rowitem **links[HF_ROWSET_HEIGHT])
{
    for (int level = 0; level < item->height; level++)
        *links[level] = item->next[level];
    if (item->older)
        item->older->newer = item->newer;
    else
        set->oldest = item->newer;
    if (item->newer)
        item->newer->older = item->older;
    else
        set->newest = item->older;
    item->older = item->newer = NULL;
    set->count--;
    set->bytes -= hf_rowitem_bytes(item);
}

hf_rowitem *hf_rowset_put(hf_rowset *set, hf_rowitem *item)
{
    hf_rowitem **links[HF_ROWSET_HEIGHT];
    trace(set, hf_rowitem_name(item), links);
    hf_rowitem *old = *links[0];
    if (old && hf_rowset_compare(hf_rowitem_name(old), hf_rowitem_name(item)) == 0)
        unlink_item(set, old, links);
    else
        old = NULL;
    for (int level = 0; level < item->height; level++) {
        item->next[level] = *links[level];
        *links[level] = item;
    }
    item->newer = NULL;
    item->older = set->newest;
    if (set->newest)
        set->newest->newer = item;
    else
        set->oldest = item;
    set->newest = item;
    set->count++;
    set->bytes += hf_rowitem_bytes(item);
    return old;
}

hf_rowitem *hf_rowset_take(hf_rowset *set)
{
    hf_rowitem **links[HF_ROWSET_HEIGHT], *item = set->oldest;
    if (!item)
        return NULL;
    trace(set, hf_rowitem_name(item), links);
    unlink_item(set, item, links);
    return item;
}

hf_rowitem *hf_rowset_seek(const hf_rowset *set, hf_bytes name, bool behind)
{
    hf_rowitem *const *row = set->head;
    for (int level = HF_ROWSET_HEIGHT - 1; level >= 0; level--)
        while (row[level]
               && hf_rowset_compare(hf_rowitem_name(row[level]), name) < (behind ? 1 : 0))
            row = row[level]->next;
    return row[0];
}

hf_rowitem *hf_rowset_find(const hf_rowset *set, hf_bytes name)
{
    hf_rowitem *item = hf_rowset_seek(set, name, false);
    return item && hf_rowset_compare(hf_rowitem_name(item), name) == 0 ? item : NULL;
}
