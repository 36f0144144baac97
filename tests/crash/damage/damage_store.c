/* damage_store.c - fill a store so that something of everything lies in it.
 *
 * Happy path: a child opens an engine, has some messages handled, pauses, sends what is
 * to wait, and dies without closing; its data file is read in. Three sorts: all in the
 * window, some of it folded, all folded and closed. What fails ends the child, and it
 * was said why. */
#include "tests/crash/damage/damage.h"

#include "recovery/replay.h"

#include "storage/error.h"
#include "storage/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

const cast_of cast[KINDS_OF_ACTOR] = { { "work", WORKS },
                                       { "idle", IDLES },
                                       { "stepper", STEPPERS },
                                       { "held", HELDS },
                                       { "dying", DYINGS } };

uint32_t done_before(uint32_t kind, uint32_t actor)
{
    return kind == WORK || kind == IDLE ? 1 + actor % 3 : 0;
}

uint32_t waits(uint32_t kind)
{
    return kind == WORK ? WAITING : kind == HELD ? HELD_EACH : kind == STEPPER ? 1 : 0;
}

uint32_t messages_left(void)
{
    uint32_t sum = DYINGS;
    for (uint32_t kind = 0; kind < KINDS_OF_ACTOR; kind++)
        sum += cast[kind].actors * waits(kind);
    return sum;
}

const char *address_of(uint32_t kind, uint32_t actor, char *room)
{
    (void)snprintf(room, 32, "%s/%u", cast[kind].type, actor);
    return room;
}

bool address_known(const char *address, uint32_t *kind, uint32_t *actor)
{
    char room[32];
    for (*kind = 0; *kind < KINDS_OF_ACTOR; ++*kind)
        for (*actor = 0; *actor < cast[*kind].actors; ++*actor)
            if (strcmp(address, address_of(*kind, *actor, room)) == 0)
                return true;
    return false;
}

/* ---- Bytes that follow from numbers */

typedef struct label {
    uint32_t what, kind, actor, count;
} label;

static hf_bytes bytes_of(uint8_t *room, label l, size_t size)
{
    uint64_t follow = XXH3_64bits(&l, sizeof l);
    memcpy(room, &l, sizeof l);
    for (size_t i = sizeof l; i < size; i++) {
        follow = follow * 6364136223846793005u + 1442695040888963407u;
        room[i] = (uint8_t)(follow >> 56);
    }
    return hf_view(room, size);
}

static size_t size_of(uint32_t kind, uint32_t actor, uint32_t count)
{
    uint32_t large = (kind * 31 + actor * 7 + count) % 9;
    return large == 0 ? 3000 + actor * 40 : 40 + (actor * 13 + count * 29) % 300;
}

static uint32_t known(hf_bytes bytes, uint32_t what, uint32_t kind, uint32_t actor)
{
    uint8_t room[BYTES_MAX];
    label l;
    if (bytes.len < sizeof l)
        return UINT32_MAX;
    memcpy(&l, bytes.data, sizeof l);
    if (l.what != what || l.kind != kind || l.actor != actor)
        return UINT32_MAX;
    hf_bytes right = bytes_of(room, l, size_of(kind, actor, l.count + what));
    return right.len == bytes.len && memcmp(right.data, bytes.data, bytes.len) == 0 ? l.count
                                                                                    : UINT32_MAX;
}

hf_bytes body_of(uint8_t *room, uint32_t kind, uint32_t actor, uint32_t number)
{
    return bytes_of(room, (label){ 0, kind, actor, number }, size_of(kind, actor, number));
}

uint32_t body_number(hf_bytes body, uint32_t kind, uint32_t actor)
{
    return known(body, 0, kind, actor);
}

hf_bytes state_of(uint8_t *room, uint32_t kind, uint32_t actor, uint32_t count)
{
    return bytes_of(room, (label){ 1, kind, actor, count }, size_of(kind, actor, count + 1));
}

uint32_t state_count(hf_bytes state, uint32_t kind, uint32_t actor)
{
    return known(state, 1, kind, actor);
}

/* ---- Handlers of the first life */

static int count_up(hf_turn *turn, const hf_message *msg)
{
    uint8_t room[BYTES_MAX];
    uint32_t kind, actor;
    if (!address_known(msg->to, &kind, &actor))
        return hf_fail(turn, 1, "who is %s", msg->to);
    hf_save(turn, state_of(room, kind, actor, body_number(msg->body, kind, actor) + 1));
    return HF_OK;
}

static int die(hf_turn *turn, const hf_message *msg)
{
    return hf_bury(turn, "%s is to die", msg->to);
}

static int take_steps(hf_turn *turn, const hf_message *msg)
{
    hf_step first, second;
    int err = hf_begin_step(turn, "first", &first);
    if (err == HF_TODO)
        err = hf_end_step(turn, &first, msg->body);
    if (!err)
        err = hf_begin_step(turn, "second", &second);
    return err == HF_TODO ? hf_fail(turn, 1, "later") : hf_fail(turn, 2, "a step: %d", err);
}

static const hf_type first_life[] = {
    { .name = "work", .handle = count_up, .strikes = HF_NEVER },
    { .name = "idle", .handle = count_up, .strikes = HF_NEVER },
    { .name = "held", .handle = count_up, .strikes = HF_NEVER },
    { .name = "dying", .handle = die, .strikes = HF_NEVER },
    { .name = "stepper",
      .handle = take_steps,
      .threads = 1,
      .strikes = HF_NEVER,
      .retry_ms = 3600000,
      .retry_ms_max = 3600000 },
    { 0 },
};

int engine_open(hf_engine **engine, const char *path, sort what, const hf_type *types,
                hf_log_fn log)
{
    return hf_open(engine, path,
                   HF_OPTIONS(.types = types, .shards = 2, .store_max = 32 << 20, .log = log,
                              .window = what == IN_WINDOW ? 4 << 20 : 64 << 10));
}

/* ---- The first life */

static hf_engine *engine;

static void must(int err, const char *what)
{
    if (!err)
        return;
    printf("BAD  the first life: %s: %s (%s)\n", what, hf_strerror(err), hf_detail());
    (void)fflush(stdout);
    _exit(3);
}

static void tell_all(uint32_t kind, uint32_t number, bool only_before)
{
    uint8_t body[BYTES_MAX];
    char address[32];
    for (uint32_t actor = 0; actor < cast[kind].actors; actor++)
        if (!only_before || number < done_before(kind, actor))
            must(hf_tell(engine, address_of(kind, actor, address), "go",
                         body_of(body, kind, actor, number)),
                 "hf_tell");
}

static void pause_held(void)
{
    char address[32];
    for (uint32_t actor = 0; actor < HELDS; actor++)
        must(hf_pause(engine, address_of(HELD, actor, address), NULL, NULL), "hf_pause");
}

static void send_waiting(void)
{
    uint8_t body[BYTES_MAX];
    char address[32];
    for (uint32_t n = 0; n < WAITING; n++)
        for (uint32_t actor = 0; actor < WORKS; actor++)
            must(hf_tell(engine, address_of(WORK, actor, address), "go",
                         body_of(body, WORK, actor, done_before(WORK, actor) + n)),
                 "hf_tell");
    for (uint32_t n = 0; n < HELD_EACH; n++)
        tell_all(HELD, n, false);
}

/* Until each of the steppers has failed once. */
static void await_steppers(void)
{
    hf_stats stats = HF_STATS;
    for (int i = 0; i < 5000; i++) {
        must(hf_stat(engine, &stats), "hf_stat");
        if (stats.retried >= STEPPERS)
            return;
        (void)usleep(1000);
    }
    must(HF_ETIMEDOUT, "the steppers");
}

bool read_file(const char *path, uint8_t **bytes, size_t *len)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        return false;
    *len = (size_t)st.st_size;
    *bytes = malloc(*len);
    bool whole = *bytes && read(fd, *bytes, *len) == (ssize_t)*len;
    (void)close(fd);
    return whole;
}

static void copy_file(const char *from, const char *to)
{
    uint8_t *bytes;
    size_t len;
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (!read_file(from, &bytes, &len) || fd < 0 || write(fd, bytes, len) != (ssize_t)len)
        must(HF_EIO, "the copy");
    (void)close(fd);
    free(bytes);
}

/* Everything goes into the tables. */
static void fold_it(const char *path)
{
    hf_disk *disk;
    hf_log *log;
    hf_log_options options = { .window = 64 << 10 };
    must(hf_disk_open(&disk, path, NULL), "hf_disk_open");
    must(hf_log_open(&log, disk, &options), "hf_log_open");
    must(hf_replay(log), "hf_replay");
    must(hf_log_start(log), "hf_log_start");
    must(hf_log_fold_all(log), "hf_log_fold_all");
    must(hf_log_close(log, true), "hf_log_close");
    hf_disk_close(disk);
}

_Noreturn static void live(const original *o, sort what)
{
    char data[PATH_MAX + 16], older[PATH_MAX + 16];
    (void)snprintf(data, sizeof data, "%s/data.mdb", o->path);
    (void)snprintf(older, sizeof older, "%s.older", o->path);
    must(engine_open(&engine, o->path, what, first_life, NULL), "hf_open");
    pause_held();
    for (uint32_t number = 0; number < 3; number++) {
        tell_all(WORK, number, true);
        tell_all(IDLE, number, true);
        must(hf_drain(engine, 20000), "hf_drain");
        if (number == 1)
            copy_file(data, older);
    }
    must(hf_pause(engine, "work", NULL, NULL), "hf_pause");
    tell_all(DYING, 0, false);
    tell_all(STEPPER, 0, false);
    await_steppers();
    send_waiting();
    must(hf_sync(engine, 20000), "hf_sync");
    if (what == IN_TABLES) {
        must(hf_close(engine, 20000), "hf_close");
        fold_it(o->path);
    }
    _exit(0);
}

static uint64_t sum_up(hf_cursor *cursor)
{
    hf_bytes key, value;
    uint64_t sum = 1;
    while (hf_cursor_next(cursor, &key, &value) == HF_OK) {
        if (key.len != 8 || value.len > HF_RECORD_MAX)
            return 0; /* a damaged page may claim anything */
        sum = XXH3_64bits_withSeed(value.data, value.len,
                                   XXH3_64bits_withSeed(key.data, key.len, sum));
    }
    return sum;
}

uint64_t log_sum(const char *path, int *err)
{
    hf_disk *disk;
    hf_txn *txn = NULL;
    hf_cursor *cursor;
    uint64_t sum = 0;
    hf_disk_options look = { .flags = HF_LOOK };
    *err = hf_disk_open(&disk, path, &look);
    if (*err)
        return 0;
    *err = hf_txn_read(disk, &txn);
    if (!*err && !(*err = hf_cursor_open(txn, HF_IN_LOG, &cursor))) {
        sum = sum_up(cursor);
        hf_cursor_close(cursor);
    }
    hf_txn_abort(txn);
    hf_disk_close(disk);
    return sum;
}

bool original_make(original *o, sort what, const char *base)
{
    char path[PATH_MAX + 16];
    int status, err;
    if (snprintf(o->path, sizeof o->path, "%s/original%d", base, (int)what) >= PATH_MAX)
        abort();
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        live(o, what);
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        printf("BAD  store %d could not be made\n", (int)what);
        return false;
    }
    o->log = log_sum(o->path, &err);
    (void)snprintf(path, sizeof path, "%s/data.mdb", o->path);
    bool fine = !err && read_file(path, &o->bytes, &o->len);
    (void)snprintf(path, sizeof path, "%s.older", o->path);
    return fine && read_file(path, &o->older, &o->older_len);
}
