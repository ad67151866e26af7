/*
 * The newest messages. Single meters are answered in batches: whatever waits when the worker is
 * free goes to the hot store as one question, each meter once.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "stages/api_json.h"
#include "stages/api_routes.h"

enum {
    LATEST_QUEUE_MOST = 4096,
    LIST_QUEUE_MOST = 64,
    LIST_DEFAULT = 500,
    LIST_MOST = 2000,
};

static const char redis_is_down[] = "The store of the newest messages does not answer.";

struct latest_job {
    struct job job;
    char meter_id[METER_ID_SIZE];
    enum topic topic;
};

struct list_job {
    struct job job;
    char after[METER_ID_SIZE];
    size_t limit;
};

static void *open_store(void *ctx)
{
    struct api *api = ctx;

    return api_open_hot(&api->o);
}

static void close_store(void *own)
{
    struct hot *hot = own;

    hot->ops->close(hot);
}

static bool redis_unavailable(void *ctx)
{
    struct api *api = ctx;

    return health_redis_is_down(api->health);
}

static void answer_store_failed(struct job *j, const struct err *e)
{
    log_debug("hot store: %s", e->text);
    http_answer_unavailable(&j->answer, redis_is_down);
}

/* ---- One meter ---------------------------------------------------------------------------- */

static void submit_one(struct api *api, struct http_request *r, const struct route_call *call,
                       enum topic topic)
{
    struct latest_job *j = xcalloc(1, sizeof *j);

    memcpy(j->meter_id, call->meter_id, strlen(call->meter_id) + 1);
    j->topic = topic;
    pool_submit(api->latest, &j->job, r);
}

void latest_data(struct api *api, struct http_request *r, const struct route_call *call)
{
    submit_one(api, r, call, TOPIC_DATA);
}

void latest_status(struct api *api, struct http_request *r, const struct route_call *call)
{
    submit_one(api, r, call, TOPIC_STATUS);
}

static void answer_one(struct latest_job *j, const struct hot_latest *l)
{
    struct http_answer *a = &j->job.answer;
    const char *message = j->topic == TOPIC_DATA ? l->data : l->status;
    size_t len = j->topic == TOPIC_DATA ? l->data_len : l->status_len;

    if (!message) {
        http_answer_problem(a, 404, "There is no recent %s message of meter %s.",
                            topic_name(j->topic), j->meter_id);
        return;
    }
    a->status = 200;
    a->type = "application/json";
    buf_reserve(&a->body, len + 160);
    buf_adds(&a->body, "{\"data\":");
    buf_add(&a->body, message, len);
    buf_adds(&a->body, ",\"meta\":{\"meterId\":\"");
    buf_adds(&a->body, j->meter_id);
    buf_adds(&a->body, "\",\"lastSeen\":");
    json_write_time(&a->body, l->seen_ms);
    buf_adds(&a->body, "}}");
}

static int compare_jobs(const void *a, const void *b)
{
    const struct latest_job *const *x = a;
    const struct latest_job *const *y = b;

    return strcmp((*x)->meter_id, (*y)->meter_id);
}

static struct latest_job **sort_jobs(struct job *jobs, size_t *n)
{
    struct latest_job **sorted;

    *n = 0;
    for (struct job *j = jobs; j; j = j->next)
        ++*n;
    sorted = xrealloc_array(NULL, *n, sizeof *sorted);
    *n = 0;
    for (struct job *j = jobs; j; j = j->next)
        sorted[(*n)++] = (struct latest_job *)j;
    qsort(sorted, *n, sizeof *sorted, compare_jobs);
    return sorted;
}

static void run_latest(void *own, struct job *jobs)
{
    struct hot *hot = own;
    size_t n, n_ids = 0;
    struct err e;
    struct latest_job **sorted = sort_jobs(jobs, &n);
    const char **ids = xrealloc_array(NULL, n, sizeof *ids);

    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(sorted[i]->meter_id, sorted[i - 1]->meter_id) != 0)
            ids[n_ids++] = sorted[i]->meter_id;
    struct hot_latest *found = xcalloc(n_ids, sizeof *found);
    bool ok = hot->ops->latest(hot, ids, n_ids, found, &e);
    for (size_t i = 0, at = 0; i < n; i++) {
        if (i > 0 && strcmp(sorted[i]->meter_id, sorted[i - 1]->meter_id) != 0)
            at++;
        if (ok)
            answer_one(sorted[i], &found[at]);
        else
            answer_store_failed(&sorted[i]->job, &e);
    }
    if (ok)
        hot_latest_clear(found, n_ids);
    free(found);
    free(ids);
    free(sorted);
}

struct pool *latest_pool_new(struct api *api)
{
    return pool_new(api->work, &(struct pool_options){.threads = 1,
                                                      .queue_most = LATEST_QUEUE_MOST,
                                                      .take_all = true,
                                                      .open = open_store,
                                                      .close = close_store,
                                                      .run = run_latest,
                                                      .unavailable = redis_unavailable,
                                                      .unavailable_detail = redis_is_down,
                                                      .ctx = api});
}

/* ---- All meters --------------------------------------------------------------------------- */

void latest_all(struct api *api, struct http_request *r, const struct route_call *call)
{
    const char *cursor;
    int64_t limit;
    struct err e;

    (void)call;
    if (!param_integer(r, "limit", 1, LIST_MOST, LIST_DEFAULT, &limit, &e) ||
        !query_get(&r->query, "cursor", &cursor, &e)) {
        http_answer_problem(&r->answer, 400, "%s", e.text);
        return;
    }
    if (cursor && !meter_id_valid(cursor, strlen(cursor))) {
        http_answer_problem(&r->answer, 400, "cursor must be one that meta.next gave");
        return;
    }
    struct list_job *j = xcalloc(1, sizeof *j);
    if (cursor)
        memcpy(j->after, cursor, strlen(cursor) + 1);
    j->limit = (size_t)limit;
    pool_submit(api->list, &j->job, r);
}

static void write_message(struct buf *b, const char *name, const char *message, size_t len)
{
    buf_addf(b, ",\"%s\":", name);
    if (message)
        buf_add(b, message, len);
    else
        buf_adds(b, "null");
}

static void write_list(struct buf *b, const struct hot_ids *ids, const struct hot_latest *found,
                       size_t n)
{
    buf_adds(b, "{\"data\":[");
    for (size_t i = 0; i < n; i++) {
        buf_addf(b, "%s{\"meterId\":", i ? "," : "");
        buf_add_json_string(b, ids->ids[i], strlen(ids->ids[i]));
        buf_adds(b, ",\"lastSeen\":");
        json_write_time(b, found[i].seen_ms);
        write_message(b, "data", found[i].data, found[i].data_len);
        write_message(b, "status", found[i].status, found[i].status_len);
        buf_addc(b, '}');
    }
    buf_adds(b, "],\"meta\":{\"next\":");
    if (ids->n > n)
        buf_add_json_string(b, ids->ids[n - 1], strlen(ids->ids[n - 1]));
    else
        buf_adds(b, "null");
    buf_adds(b, "}}");
}

static void run_list(void *own, struct job *job)
{
    struct list_job *j = (struct list_job *)job;
    struct hot *hot = own;
    struct hot_ids ids = {0};
    struct err e;

    /* One more than asked for tells whether there is a next page. */
    if (!hot->ops->meters(hot, j->after, j->limit + 1, &ids, &e)) {
        answer_store_failed(job, &e);
        return;
    }
    size_t n = ids.n < j->limit ? ids.n : j->limit;
    struct hot_latest *found = xcalloc(n + 1, sizeof *found);
    const char **texts = xcalloc(n + 1, sizeof *texts);
    for (size_t i = 0; i < n; i++)
        texts[i] = ids.ids[i];
    if (n > 0 && !hot->ops->latest(hot, texts, n, found, &e)) {
        answer_store_failed(job, &e);
    } else {
        job->answer.status = 200;
        job->answer.type = "application/json";
        write_list(&job->answer.body, &ids, found, n);
        hot_latest_clear(found, n);
    }
    free(texts);
    free(found);
    hot_ids_clear(&ids);
}

struct pool *list_pool_new(struct api *api)
{
    return pool_new(api->work, &(struct pool_options){.threads = 1,
                                                      .queue_most = LIST_QUEUE_MOST,
                                                      .open = open_store,
                                                      .close = close_store,
                                                      .run = run_list,
                                                      .unavailable = redis_unavailable,
                                                      .unavailable_detail = redis_is_down,
                                                      .ctx = api});
}
