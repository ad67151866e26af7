#include "stages/api_work.h"

#include <ev.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

struct job_list {
    struct job *first, *last;
    size_t n;
};

struct work {
    struct ev_loop *loop;
    const struct clock *clock;
    ev_async wake;
    pthread_mutex_t lock;
    struct job_list finished;    /* under lock */
    struct job *oldest, *newest; /* under way; loop thread only */
};

struct pool {
    struct pool_options o;
    struct work *work;
    struct job_list submitted; /* loop thread only, until flushed */
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct job_list queue; /* under lock, as all below */
    int idle;
    bool closing;
    pthread_t threads[]; /* o.threads of them */
};

static void list_add(struct job_list *l, struct job *j)
{
    j->next = NULL;
    if (l->last)
        l->last->next = j;
    else
        l->first = j;
    l->last = j;
    l->n++;
}

static void list_add_all(struct job_list *l, struct job_list *more)
{
    if (!more->n)
        return;
    if (l->last)
        l->last->next = more->first;
    else
        l->first = more->first;
    l->last = more->last;
    l->n += more->n;
    *more = (struct job_list){0};
}

static struct job *list_take(struct job_list *l)
{
    struct job *j = l->first;

    if (!j)
        return NULL;
    l->first = j->next;
    if (!l->first)
        l->last = NULL;
    l->n--;
    j->next = NULL;
    return j;
}

static void job_free(struct job *j)
{
    http_answer_clear(&j->answer);
    free(j);
}

/* ---- Finished jobs, in the loop thread ---------------------------------------------------- */

static void link_job(struct work *w, struct job *j)
{
    j->older = w->newest;
    j->newer = NULL;
    if (w->newest)
        w->newest->newer = j;
    else
        w->oldest = j;
    w->newest = j;
}

static void unlink_job(struct work *w, struct job *j)
{
    *(j->older ? &j->older->newer : &w->oldest) = j->newer;
    *(j->newer ? &j->newer->older : &w->newest) = j->older;
}

static void disown(struct work *w, struct job *j, const char *detail)
{
    struct http_request *r = j->request;

    unlink_job(w, j);
    j->request = NULL;
    http_answer_unavailable(&r->answer, detail);
    http_finish(r);
}

static void on_wake(struct ev_loop *loop, ev_async *watcher, int events)
{
    struct work *w = watcher->data;
    struct job_list done = {0};

    (void)loop;
    (void)events;
    pthread_mutex_lock(&w->lock);
    list_add_all(&done, &w->finished);
    pthread_mutex_unlock(&w->lock);
    for (struct job *j; (j = list_take(&done));) {
        struct http_request *r = j->request;
        if (r) {
            unlink_job(w, j);
            r->answer = j->answer;
            j->answer = (struct http_answer){0};
            http_finish(r);
        }
        job_free(j);
    }
}

struct work *work_new(struct ev_loop *loop, const struct clock *clock)
{
    struct work *w = xcalloc(1, sizeof *w);

    w->loop = loop;
    w->clock = clock;
    pthread_mutex_init(&w->lock, NULL);
    ev_async_init(&w->wake, on_wake);
    w->wake.data = w;
    ev_async_start(loop, &w->wake);
    return w;
}

void work_sweep(struct work *w, int64_t limit_ms)
{
    int64_t now_ms = clock_mono_ms(w->clock);

    for (struct job *j = w->oldest, *newer; j; j = newer) {
        newer = j->newer;
        if (j->pool->o.unavailable && j->pool->o.unavailable(j->pool->o.ctx))
            disown(w, j, j->pool->o.unavailable_detail);
        else if (now_ms - j->start_ms > limit_ms)
            disown(w, j, "The answer took too long; ask for less or try again.");
    }
}

void work_disown_all(struct work *w)
{
    while (w->oldest)
        disown(w, w->oldest, "The server is stopping.");
}

void work_free(struct work *w)
{
    if (!w)
        return;
    ev_async_stop(w->loop, &w->wake);
    for (struct job *j; (j = list_take(&w->finished));)
        job_free(j);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* ---- Workers ------------------------------------------------------------------------------ */

static void finish_jobs(struct work *w, struct job_list *done)
{
    pthread_mutex_lock(&w->lock);
    list_add_all(&w->finished, done);
    pthread_mutex_unlock(&w->lock);
    ev_async_send(w->loop, &w->wake);
}

/* Blocks until there is work; false when the pool closes. */
static bool take_jobs(struct pool *p, struct job_list *taken)
{
    *taken = (struct job_list){0};
    pthread_mutex_lock(&p->lock);
    p->idle++;
    while (!p->queue.n && !p->closing)
        pthread_cond_wait(&p->filled, &p->lock);
    p->idle--;
    bool open = !p->closing;
    if (open && p->o.take_all)
        list_add_all(taken, &p->queue);
    else if (open)
        list_add(taken, list_take(&p->queue));
    pthread_mutex_unlock(&p->lock);
    return open;
}

static void *work_thread(void *arg)
{
    struct pool *p = arg;
    struct job_list jobs;
    void *own = p->o.open ? p->o.open(p->o.ctx) : NULL;

    while (take_jobs(p, &jobs)) {
        p->o.run(own, jobs.first);
        finish_jobs(p->work, &jobs);
    }
    if (p->o.close)
        p->o.close(own);
    return NULL;
}

struct pool *pool_new(struct work *w, const struct pool_options *o)
{
    struct pool *p = xcalloc(1, sizeof *p + (size_t)o->threads * sizeof p->threads[0]);
    sigset_t all, before;

    p->o = *o;
    p->work = w;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->filled, NULL);
    /* Signals are for the loop thread, whose wait they end. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 0; i < o->threads; i++)
        if (pthread_create(&p->threads[i], NULL, work_thread, p) != 0)
            die("cannot start a thread");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return p;
}

static bool queue_is_full(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    bool full = p->queue.n + p->submitted.n >= p->o.queue_most;
    pthread_mutex_unlock(&p->lock);
    return full;
}

void pool_submit(struct pool *p, struct job *j, struct http_request *r)
{
    bool unavailable = p->o.unavailable && p->o.unavailable(p->o.ctx);

    if (unavailable || queue_is_full(p)) {
        http_answer_unavailable(&r->answer,
                                unavailable ? p->o.unavailable_detail
                                            : "Too many requests are waiting; try again shortly.");
        job_free(j);
        return;
    }
    j->pool = p;
    j->request = r;
    j->start_ms = clock_mono_ms(p->work->clock);
    link_job(p->work, j);
    list_add(&p->submitted, j);
}

void pool_flush(struct pool *p)
{
    if (!p->submitted.n)
        return;
    pthread_mutex_lock(&p->lock);
    int wake = p->idle < (int)p->submitted.n ? p->idle : (int)p->submitted.n;
    list_add_all(&p->queue, &p->submitted);
    pthread_mutex_unlock(&p->lock);
    while (wake-- > 0)
        pthread_cond_signal(&p->filled);
}

void pool_close(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_mutex_unlock(&p->lock);
    pthread_cond_broadcast(&p->filled);
    for (int i = 0; i < p->o.threads; i++)
        pthread_join(p->threads[i], NULL);
    for (struct job *j; (j = list_take(&p->queue));)
        job_free(j);
    for (struct job *j; (j = list_take(&p->submitted));)
        job_free(j);
    pthread_cond_destroy(&p->filled);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
