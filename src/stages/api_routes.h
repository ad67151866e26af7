/*
 * The parts of the API stage that its files share, and the table of paths.
 *
 * Order of judgement: static files and open paths; else 401 without a valid key, whether the path
 * exists or not; then 404, 405, and what the route itself says (400 and so on).
 */
#ifndef STAGES_API_ROUTES_H
#define STAGES_API_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/reading.h"
#include "stages/api.h"
#include "stages/api_auth.h"
#include "stages/api_health.h"
#include "stages/api_http.h"
#include "stages/api_work.h"

struct api {
    struct api_options o;
    struct auth *auth;
    struct http_server *http;
    struct work *work;
    struct health *health;
    struct pool *latest, *list, *history;
};

struct route_call {
    struct principal who;
    const char *meter_id; /* of "{meterId}", checked for its form; NULL without */
};

typedef void route_fn(struct api *api, struct http_request *r, const struct route_call *call);

/* The handler of the HTTP server; ctx is struct api. */
void api_handle(void *ctx, struct http_request *r);

/* Parameter `name` as an integer of lo..hi, or fallback when it is not given. */
bool param_integer(const struct http_request *r, const char *name, int64_t lo, int64_t hi,
                   int64_t fallback, int64_t *out, struct err *e);

/* api_latest.c */
void latest_data(struct api *api, struct http_request *r, const struct route_call *call);
void latest_status(struct api *api, struct http_request *r, const struct route_call *call);
void latest_all(struct api *api, struct http_request *r, const struct route_call *call);
struct pool *latest_pool_new(struct api *api);
struct pool *list_pool_new(struct api *api);

/* api_history.c */
void history_meter(struct api *api, struct http_request *r, const struct route_call *call);
void history_fleet(struct api *api, struct http_request *r, const struct route_call *call);
struct pool *history_pool_new(struct api *api);

/* api_session.c */
void session_open(struct api *api, struct http_request *r, const struct route_call *call);
void session_close(struct api *api, struct http_request *r, const struct route_call *call);
/* True for a request that a page of this server sent, as far as the browser tells. */
bool is_same_origin(const struct http_request *r);

#endif
