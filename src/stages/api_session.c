/*
 * POST /session turns a key, or a one-use ticket, into a cookie; DELETE /session takes it back
 * from the browser.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "stages/api_routes.h"

/*
 * Sec-Fetch-Site is set by the browser and by nobody else; one that is too old for it sends Origin
 * with every write.
 */
bool is_same_origin(const struct http_request *r)
{
    if (r->fetch_site)
        return strcmp(r->fetch_site, "same-origin") == 0;
    const char *host = r->origin ? strstr(r->origin, "://") : NULL;
    return host && strcasecmp(host + 3, r->host) == 0;
}

static void set_cookie(struct api *api, struct http_request *r, const char *value, int age_s)
{
    char text[AUTH_COOKIE_SIZE + 128];

    snprintf(text, sizeof text,
             AUTH_COOKIE_NAME "=%s; Path=/; HttpOnly; SameSite=Strict; "
                              "Max-Age=%d%s",
             value, age_s, api->o.secure_cookies ? "; Secure" : "");
    http_answer_header(&r->answer, "Set-Cookie", text);
    r->answer.status = 204;
}

static bool is_throttled(struct api *api, struct http_request *r, int64_t now_ms)
{
    char wait[16];

    if (auth_failures(api->auth, r->peer, now_ms) < AUTH_LOGINS_MOST)
        return false;
    snprintf(wait, sizeof wait, "%d", auth_retry_after_s(api->auth, r->peer, now_ms));
    http_answer_problem(&r->answer, 429, "Too many failed attempts; wait %s s.", wait);
    http_answer_header(&r->answer, "Retry-After", wait);
    return true;
}

/* {"key": "..."} or {"ticket": "..."} into the role it opens. */
static bool read_credentials(struct api *api, struct http_request *r, enum role *role)
{
    json_t *body =
        json_loadb(r->body.data ? r->body.data : "", r->body.len, JSON_REJECT_DUPLICATES, NULL);
    const char *key = json_string_value(json_object_get(body, "key"));
    const char *ticket = json_string_value(json_object_get(body, "ticket"));
    bool sound = json_object_size(body) == 1 && (key || ticket);

    *role = ROLE_NONE;
    if (sound && key)
        *role = auth_key_role(api->auth, key);
    else if (sound && auth_ticket_take(api->auth, ticket))
        *role = ROLE_ADMIN;
    json_decref(body);
    return sound;
}

void session_open(struct api *api, struct http_request *r, const struct route_call *call)
{
    char cookie[AUTH_COOKIE_SIZE];
    int64_t now_ms = clock_mono_ms(api->o.clock);
    enum role role;

    (void)call;
    if ((r->origin || r->fetch_site) && !is_same_origin(r)) {
        http_answer_problem(&r->answer, 403, "A session is opened from this server's own page.");
        return;
    }
    if (is_throttled(api, r, now_ms))
        return;
    if (!read_credentials(api, r, &role)) {
        http_answer_problem(&r->answer, 400, "Send {\"key\": \"...\"} or {\"ticket\": \"...\"}.");
        return;
    }
    if (role == ROLE_NONE) {
        auth_failed(api->auth, r->peer, now_ms);
        http_answer_problem(&r->answer, 401, "The key or ticket is not valid.");
        http_answer_header(&r->answer, "WWW-Authenticate", "Bearer realm=\"enerlink\"");
        return;
    }
    auth_cookie_write(api->auth, role, clock_wall_ms(api->o.clock), cookie);
    set_cookie(api, r, cookie, AUTH_SESSION_S);
}

void session_close(struct api *api, struct http_request *r, const struct route_call *call)
{
    (void)call;
    set_cookie(api, r, "", 0);
}
