/*
 * Work that may block (Redis, PostgreSQL), done in threads beside the loop.
 *
 * The loop thread makes a job and submits it to a pool; a worker of the pool fills job->answer;
 * the loop thread takes finished jobs, moves the answer to the request, and frees the job. A
 * request may be answered before its job is done (its store hangs): the job is then disowned, and
 * what it brings is dropped.
 */
#ifndef STAGES_API_WORK_H
#define STAGES_API_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "stages/api_http.h"

struct pool;

/* The first member of every kind of job; jobs are freed with free(). */
struct job {
    struct http_answer answer; /* the worker's until the job is finished */
    struct job *next;          /* of a queue */
    struct pool *pool;
    struct http_request *request; /* loop thread only; NULL: disowned */
    struct job *older, *newer;    /* loop thread only: jobs under way, by age */
    int64_t start_ms;
};

struct work;
struct ev_loop;

/* Where finished jobs arrive. Loop thread only, but for the workers' own side. */
struct work *work_new(struct ev_loop *loop, const struct clock *clock);

/* Answer 503 for the jobs under way whose pool is `unavailable` or that are older than limit_ms. */
void work_sweep(struct work *w, int64_t limit_ms);

/* Answer 503 for all jobs under way. */
void work_disown_all(struct work *w);

/* Only after every pool is closed. */
void work_free(struct work *w);

struct pool_options {
    int threads;
    size_t queue_most;        /* jobs that wait for a worker; beyond it: 503 */
    bool take_all;            /* a worker takes everything that waits, else one job */
    void *(*open)(void *ctx); /* what one thread works with; NULL is allowed */
    void (*close)(void *own);
    void (*run)(void *own, struct job *jobs); /* a list by ->next; must not keep them */
    bool (*unavailable)(void *ctx);           /* loop thread: the store is known to be down */
    const char *unavailable_detail;
    void *ctx;
};

struct pool *pool_new(struct work *w, const struct pool_options *o);

/* Hand the request to a worker, or answer it with 503 at once. The job is the pool's from now. */
void pool_submit(struct pool *p, struct job *j, struct http_request *r);

/* Let the workers see what was submitted: once after many, so that they find it together. */
void pool_flush(struct pool *p);

/* Waits for the jobs that have begun; the others are dropped. */
void pool_close(struct pool *p);

#endif
