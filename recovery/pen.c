/* pen.c - notes of what operators change.
 *
 * A note is time(8) uid(4) change(1) user(1) reason(2), the lengths of the texts that
 * follow. Happy path: append one, dropping the oldest while there is no room. Nothing
 * fails: a reason that is too long is cut, bytes that are no notes end the list. Any
 * thread. */
#include "recovery/pen.h"

#include "storage/clock.h"

#include <pwd.h>
#include <stdio.h>

enum { HEAD = 16, CHANGE_MAX = 255 };

void hf_pen_take(hf_pen *pen, uint32_t uid, const char *change)
{
    char room[4096];
    struct passwd who, *found = NULL;
    *pen = (hf_pen){ .time_ms = hf_clock_wall_ms(), .uid = uid, .change = change };
    if (getpwuid_r((uid_t)uid, &who, room, sizeof room, &found) == 0 && found)
        (void)snprintf(pen->user, sizeof pen->user, "%s", found->pw_name);
}

/* Bytes of the first note; 0: there is none. */
static size_t first_size(hf_bytes list)
{
    const uint8_t *at = list.data;
    if (list.len < HEAD)
        return 0;
    size_t size = HEAD + (size_t)at[12] + at[13] + hf_get16(at + 14);
    return size <= list.len ? size : 0;
}

bool hf_note_next(hf_bytes *rest, hf_note *note)
{
    const uint8_t *at = rest->data;
    size_t size = first_size(*rest);
    if (!size)
        return false;
    size_t change = at[12], user = at[13];
    *note = (hf_note){ .time_ms = hf_get64(at), .uid = hf_get32(at + 8),
                       .change = hf_view(at + HEAD, change),
                       .user = hf_view(at + HEAD + change, user),
                       .reason = hf_view(at + HEAD + change + user, hf_get16(at + 14)) };
    *rest = hf_view(at + size, rest->len - size);
    return true;
}

/* Not more than `most` bytes, and no half character at the end. */
static size_t cut(hf_bytes text, size_t most)
{
    const uint8_t *at = text.data;
    if (text.len <= most)
        return text.len;
    while (most && (at[most] & 0xc0) == 0x80)
        most--;
    return most;
}

static uint8_t *put(uint8_t *at, const void *text, size_t len)
{
    if (len)
        memcpy(at, text, len);
    return at + len;
}

size_t hf_pen_append(const hf_pen *pen, uint8_t *list, size_t len, size_t room)
{
    size_t change = cut(hf_str(pen->change), CHANGE_MAX), user = strlen(pen->user);
    size_t reason = cut(pen->reason, HF_ERROR_MAX);
    size_t size = HEAD + change + user + reason, skip = 0;
    while (len - skip + size > room) {
        size_t first = first_size(hf_view(list + skip, len - skip));
        skip += first ? first : len - skip;
    }
    memmove(list, list + skip, len - skip);
    uint8_t *at = list + len - skip;
    hf_put64(at, pen->time_ms);
    hf_put32(at + 8, pen->uid);
    at[12] = (uint8_t)change;
    at[13] = (uint8_t)user;
    hf_put16(at + 14, (uint16_t)reason);
    at = put(at + HEAD, pen->change, change);
    at = put(at, pen->user, user);
    (void)put(at, pen->reason.data, reason);
    return len - skip + size;
}

void hf_pen_sign(hf_pen *pen, hf_entry *entry)
{
    size_t len = entry->notes.len;
    if (len && entry->notes.data != pen->notes)
        memcpy(pen->notes, entry->notes.data, len);
    len = hf_pen_append(pen, pen->notes, len, sizeof pen->notes);
    entry->notes = hf_view(pen->notes, len);
}

void hf_out_note(hf_out *out, const hf_note *note)
{
    hf_out_uint(out, "at", note->time_ms);
    hf_out_text(out, "change", note->change);
    hf_out_uint(out, "uid", note->uid);
    if (note->user.len)
        hf_out_text(out, "user", note->user);
    if (note->reason.len)
        hf_out_text(out, "reason", note->reason);
}

void hf_out_notes(hf_out *out, const char *name, hf_bytes notes)
{
    hf_note note;
    if (!notes.len)
        return;
    hf_out_array(out, name);
    while (hf_note_next(&notes, &note)) {
        hf_out_map(out, NULL);
        hf_out_note(out, &note);
        hf_out_end(out);
    }
    hf_out_end(out);
}
