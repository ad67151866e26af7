/*
 * What is known of the stores and the stages: two threads ask Redis and PostgreSQL twice a second
 * and keep the answer, so that telling it costs nothing and nobody waits for a store that hangs.
 * The same threads report the state of the API stage itself.
 */
#ifndef STAGES_API_HEALTH_H
#define STAGES_API_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "stages/api.h"
#include "stages/api_http.h"

/* A stage that has not reported for this long is stale. */
#define HEALTH_STALE_MS INT64_C(15000)

/* A store that has not answered for this long is down, even when nothing failed yet. */
#define HEALTH_SILENT_MS INT64_C(2000)

struct health;

struct health *health_new(const struct api_options *o);
void health_free(struct health *h);

/* The requests served so far, for the report of this stage. */
void health_count_requests(struct health *h, uint64_t requests);

/* Known to be down; false as long as nothing is known. For pools: ctx is struct health. */
bool health_redis_is_down(void *ctx);
bool health_postgres_is_down(void *ctx);

/* /livez, /readyz, /telemetry/health */
void health_answer_live(const struct health *h, struct http_answer *a);
void health_answer_ready(struct health *h, struct http_answer *a);
void health_answer(struct health *h, struct http_answer *a);

#endif
