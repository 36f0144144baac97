/* replay_corpus.c - run a fuzzer without libFuzzer: the files of its corpus, then
 * mutations of them that follow from a seed.
 *
 *     fuzz_entry [-n MUTATIONS] [-s SEED] FILE|DIRECTORY…
 *
 * Happy path: read every file, run each as it is, then so many mutants of each,
 * and say how many there were. A failure ends the program; the input that made it
 * fail is left in fuzz-failed.bin in the working directory and is a whole case of
 * its own: the same program with that file as its argument. One thread. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INPUT_MAX = 1 << 16, GROWTH = 512 };

typedef struct input {
    uint8_t *data;
    size_t   size;
    char    *name;
} input;

static input   *corpus;
static size_t   count;
static uint64_t chance;

/* What is being run, for the note of a failure. */
static const uint8_t *running;
static size_t         running_size;

static _Noreturn void fail(const char *what, const char *name)
{
    fprintf(stderr, "%s: %s\n", name, what);
    exit(2);
}

/* splitmix64 */
static uint64_t next_number(void)
{
    uint64_t x = chance += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static size_t below(size_t limit)
{
    return limit ? (size_t)(next_number() % limit) : 0;
}

/* ---- Failures. Only what a signal handler may call. */

static void note_failure(void)
{
    static const char said[] = "the input is in fuzz-failed.bin\n";
    if (!running)
        return;
    int fd = open("fuzz-failed.bin", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (write(fd, running, running_size) == (ssize_t)running_size)
        (void)!write(STDERR_FILENO, said, sizeof said - 1);
    (void)close(fd);
}

static void on_signal(int number)
{
    note_failure();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

/* Of the sanitizers, where one is linked. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch_failures(void)
{
    static const int deaths[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM };
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++)
        (void)signal(deaths[i], on_signal);
    (void)atexit(note_failure); /* exit() inside a run is one, too */
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(note_failure);
}

static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size); /* of exactly its size */
    running = copy;
    running_size = size;
    (void)alarm(60); /* one that hangs fails, too */
    FUZZ_CHECK(LLVMFuzzerTestOneInput(copy, size) == 0);
    running = NULL;
    free(copy);
}

/* ---- The corpus */

static void add_file(const char *name, off_t size)
{
    if (size > INPUT_MAX)
        fail("longer than 64 KiB", name);
    FILE *file = fopen(name, "rb");
    if (!file)
        fail(strerror(errno), name);
    if ((count & (count + 1)) == 0) {
        corpus = realloc(corpus, (count * 2 + 2) * sizeof *corpus);
        FUZZ_CHECK(corpus);
    }
    input *in = &corpus[count++];
    *in = (input){ malloc((size_t)size + 1), 0, strdup(name) };
    FUZZ_CHECK(in->data && in->name);
    in->size = fread(in->data, 1, (size_t)size, file);
    (void)fclose(file);
    if (in->size != (size_t)size)
        fail("cannot be read", name);
}

static void add(const char *name)
{
    struct stat st;
    struct dirent **names;
    char path[4096];
    if (stat(name, &st))
        fail(strerror(errno), name);
    if (!S_ISDIR(st.st_mode)) {
        add_file(name, st.st_size);
        return;
    }
    int many = scandir(name, &names, NULL, alphasort); /* the same order everywhere */
    if (many < 0)
        fail(strerror(errno), name);
    for (int i = 0; i < many; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", name, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            add(path);
        free(names[i]);
    }
    free(names);
}

/* ---- Mutations */

typedef struct mutant {
    size_t  size;
    uint8_t bytes[INPUT_MAX + GROWTH];
} mutant;

static void insert(mutant *m, size_t at, const uint8_t *bytes, size_t size)
{
    if (m->size + size > sizeof m->bytes)
        return;
    memmove(m->bytes + at + size, m->bytes + at, m->size - at);
    memcpy(m->bytes + at, bytes, size);
    m->size += size;
}

static void erase(mutant *m, size_t at, size_t size)
{
    memmove(m->bytes + at, m->bytes + at + size, m->size - at - size);
    m->size -= size;
}

/* A number of 1, 2, 4 or 8 bytes becomes one that is at an edge, or nearly what it was. */
static void change_number(mutant *m)
{
    static const uint64_t edges[] = { 0, 1, 15, 16, 17, 31, 32, 64, 127, 128, 255, 256, 1023, 1024,
                                      32767, 32768, 65535, 65536, INT32_MAX, UINT32_MAX,
                                      INT64_MAX, UINT64_MAX };
    size_t width = (size_t)1 << below(4);
    uint8_t number[8];
    uint64_t value = 0;
    if (m->size < width)
        return;
    size_t at = below(m->size - width + 1);
    for (size_t i = 0; i < width; i++)
        value |= (uint64_t)m->bytes[at + i] << (8 * i);
    value = below(2) ? value + below(33) - 16 : edges[below(sizeof edges / sizeof *edges)];
    bool little = below(2);
    for (size_t i = 0; i < width; i++)
        number[little ? i : width - 1 - i] = (uint8_t)(value >> (8 * i));
    memcpy(m->bytes + at, number, width);
}

static void mutate(mutant *m)
{
    uint8_t part[GROWTH];
    size_t at = below(m->size + 1), size = below(GROWTH) >> below(9);
    switch (below(7)) {
    case 0: /* a bit */
        if (m->size)
            fuzz_flip(m->bytes, m->size, next_number());
        break;
    case 1: /* a byte */
        if (m->size)
            m->bytes[below(m->size)] = (uint8_t)next_number();
        break;
    case 2:
    case 3:
        change_number(m);
        break;
    case 4: /* less */
        size = size < m->size - at ? size : m->size - at;
        erase(m, at, size);
        break;
    case 5: /* some of it twice */
        size = size < m->size - at ? size : m->size - at;
        memcpy(part, m->bytes + at, size);
        insert(m, below(m->size + 1), part, size);
        break;
    default: { /* some of another one */
        const input *other = &corpus[below(count)];
        size_t from = below(other->size + 1);
        size = size < other->size - from ? size : other->size - from;
        insert(m, at, other->data + from, size);
    }
    }
}

static void run_mutant(const input *of)
{
    static mutant m;
    m.size = of->size;
    if (of->size)
        memcpy(m.bytes, of->data, of->size);
    for (size_t i = 1 + below(4); i > 0; i--)
        mutate(&m);
    run(m.bytes, m.size < INPUT_MAX ? m.size : INPUT_MAX);
}

int main(int argc, char **argv)
{
    unsigned long long mutations = 0;
    int option;
    while ((option = getopt(argc, argv, "n:s:")) != -1) {
        if (option == 'n')
            mutations = strtoull(optarg, NULL, 10);
        else if (option == 's')
            chance = strtoull(optarg, NULL, 10);
        else
            return 2;
    }
    for (int i = optind; i < argc; i++)
        add(argv[i]);
    if (!count)
        fail("no input", argv[0]);
    watch_failures();
    for (size_t i = 0; i < count; i++)
        run(corpus[i].data, corpus[i].size);
    for (unsigned long long n = 0; n < mutations; n++)
        run_mutant(&corpus[n % count]);
    printf("%zu inputs and %llu mutations of them\n", count, mutations);
    for (size_t i = 0; i < count; i++) {
        free(corpus[i].data);
        free(corpus[i].name);
    }
    free(corpus);
    return 0;
}
