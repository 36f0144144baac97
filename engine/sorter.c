/* sorter.c - a thread that sorts a sealed window, off the path of a commit.
 *
 * Happy path: the journal puts one piece of work into the slot; the thread takes
 * it out and runs it. The fold knows by its own flag that the work is done, so
 * nobody waits here, and the slot is always empty when the next piece comes.
 * Only starting can fail. run: the journal's thread; start, stop: any one. */
#include "engine/engine.h"

#include "engine/thread.h"
#include "storage/assert.h"
#include "storage/error.h"
#include "storage/memory.h"

struct hf_sorter {
    pthread_mutex_t lock;
    pthread_cond_t  wake;
    pthread_t       thread;
    void          (*work)(void *); /* the slot */
    void           *arg;
    bool            stop;
};

static void *sort(void *user)
{
    struct hf_sorter *sorter = user;
    pthread_mutex_lock(&sorter->lock);
    for (;;) {
        while (!sorter->work && !sorter->stop)
            pthread_cond_wait(&sorter->wake, &sorter->lock);
        void (*work)(void *) = sorter->work;
        if (!work)
            break;
        sorter->work = NULL;
        pthread_mutex_unlock(&sorter->lock);
        work(sorter->arg);
        pthread_mutex_lock(&sorter->lock);
    }
    pthread_mutex_unlock(&sorter->lock);
    return NULL;
}

static void release(struct hf_sorter *sorter)
{
    pthread_cond_destroy(&sorter->wake);
    pthread_mutex_destroy(&sorter->lock);
    hf_mem_free(sorter);
}

int hf_sorter_start(struct hf_sorter **out)
{
    struct hf_sorter *sorter = hf_mem_zero(1, sizeof *sorter);
    if (!sorter)
        return hf_error(HF_ENOMEM, "the sorter");
    pthread_mutex_init(&sorter->lock, NULL);
    pthread_cond_init(&sorter->wake, NULL);
    int err = hf_thread_start(&sorter->thread, "hf-sorter", sort, sorter);
    if (err) {
        release(sorter);
        return err;
    }
    *out = sorter;
    return HF_OK;
}

void hf_sorter_run(void *user, void (*work)(void *), void *arg)
{
    struct hf_sorter *sorter = user;
    pthread_mutex_lock(&sorter->lock);
    HF_ASSERT(!sorter->work);
    sorter->work = work;
    sorter->arg = arg;
    pthread_cond_signal(&sorter->wake);
    pthread_mutex_unlock(&sorter->lock);
}

void hf_sorter_stop(struct hf_sorter *sorter)
{
    if (!sorter)
        return;
    pthread_mutex_lock(&sorter->lock);
    sorter->stop = true;
    pthread_cond_signal(&sorter->wake);
    pthread_mutex_unlock(&sorter->lock);
    pthread_join(sorter->thread, NULL);
    release(sorter);
}
