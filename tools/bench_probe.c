/* bench_probe.c - latency beside a load: a few messages sent by the clock.
 *
 * Every 5 ms, by the clock and not by the last answer, a message is posted whose
 * handler sends another to an actor `echo`. That one is dispatched only after
 * the commit that holds the probe's acknowledgement, so the time from the moment
 * the probe was due to be posted (waiting for room counts) to the echo's turn is
 * an upper bound of "from send until the turn's acknowledgement is committed".
 * Probes and echoes are turns too: 400 a second are among those counted.
 *
 * Threads: the caller's posts, the engine's shards handle. */
#include "tools/bench.h"
#include "tools/times.h"

#include <pthread.h>

enum { PROBE_MS = 5, PROBE_ACTORS = 16 };

static struct {
    pthread_mutex_t lock;
    uint64_t        from_ns, to_ns; /* probes due in this time count */
    bench_times     times;
} probes = { .lock = PTHREAD_MUTEX_INITIALIZER };

int bench_probe_turn(hf_turn *turn, const hf_message *msg)
{
    char to[BENCH_ADDRESS];
    (void)snprintf(to, sizeof to, "echo/%s", strchr(msg->to, '/') + 1);
    hf_send(turn, to, NULL, msg->body);
    return HF_OK;
}

int bench_echo_turn(hf_turn *turn, const hf_message *msg)
{
    uint64_t due_ns, now_ns = cli_now_ns();
    (void)turn;
    memcpy(&due_ns, msg->body.data, sizeof due_ns);
    (void)pthread_mutex_lock(&probes.lock);
    if (due_ns >= probes.from_ns && due_ns < probes.to_ns)
        bench_times_add(&probes.times, now_ns - due_ns);
    (void)pthread_mutex_unlock(&probes.lock);
    return HF_OK;
}

static void send_probe(bench_probes *p)
{
    char to[BENCH_ADDRESS];
    (void)snprintf(to, sizeof to, "probe/%u", (unsigned)(p->number++ % PROBE_ACTORS));
    hf_letter letter = { .size = sizeof letter, .to = to,
                         .body = hf_view(&p->due_ns, sizeof p->due_ns) };
    int err = bench_post(p->engine, &letter, 1, p->stop);
    int none = HF_OK;
    if (err != HF_OK && err != HF_EAGAIN)
        (void)atomic_compare_exchange_strong(p->err, &none, err);
}

bool bench_probes_until(bench_probes *p, uint64_t end_ns)
{
    if (p->due_ns == 0)
        p->due_ns = cli_now_ns();
    while (p->due_ns < end_ns) {
        uint64_t now = cli_now_ns();
        if (now < p->due_ns)
            cli_sleep_ms((p->due_ns - now) / 1000000 + 1);
        send_probe(p);
        p->due_ns += PROBE_MS * UINT64_C(1000000);
        if (cli_interrupted() || atomic_load(p->err) != HF_OK)
            return false;
    }
    return true;
}

void bench_probes_count(uint64_t from_ns, uint64_t to_ns)
{
    (void)pthread_mutex_lock(&probes.lock);
    memset(&probes.times, 0, sizeof probes.times);
    probes.from_ns = from_ns;
    probes.to_ns = to_ns;
    (void)pthread_mutex_unlock(&probes.lock);
}

bench_probe_figures bench_probes_take(void)
{
    (void)pthread_mutex_lock(&probes.lock);
    bench_probe_figures figures = { bench_times_us(&probes.times, 0.50),
                                    bench_times_us(&probes.times, 0.99), probes.times.count };
    (void)pthread_mutex_unlock(&probes.lock);
    return figures;
}
