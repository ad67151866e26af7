/*
 * Who asks, and what they may do.
 *
 * A caller shows the admin key (Authorization: Bearer) or a session cookie. The cookie carries its
 * own expiry and role under a MAC whose key is derived from the admin key, so sessions survive a
 * restart and end when the key is changed. A one-use ticket, left in a file by whoever may read
 * the state folder, opens a session without typing the key.
 *
 * Keys are compared as keyed BLAKE2b hashes, in constant time. Not thread-safe.
 */
#ifndef STAGES_API_AUTH_H
#define STAGES_API_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    AUTH_KEY_SIZE_LEAST = 16, /* shorter keys could be guessed; refused at start */
    AUTH_KEY_SIZE_MOST = 512,
    AUTH_COOKIE_SIZE = 160,
    AUTH_SESSION_S = 7 * 24 * 3600,
};

#define AUTH_COOKIE_NAME "enerlink_session"

enum role {
    ROLE_NONE,
    ROLE_ADMIN,
};

struct principal {
    enum role role;
    bool by_cookie; /* a browser: writes need the same origin */
};

/*
 * The one place that decides. meter_id: the meter the request is about, NULL when it is about the
 * installation as a whole.
 */
bool access_allowed(const struct principal *p, const char *meter_id);

struct auth;

/* NULL and *e (ERR_FATAL) when the key is too short or too long. ticket_file may be NULL. */
struct auth *auth_new(const char *admin_key, const char *ticket_file, struct err *e);
void auth_free(struct auth *a);

/* The role that this key opens; ROLE_NONE for a wrong one. */
enum role auth_key_role(const struct auth *a, const char *key);

/* The value of an Authorization header; false when it is not "Bearer" and a right key. */
bool auth_bearer(const struct auth *a, const char *header, struct principal *p);

/* Make the value of a session cookie; read it from a Cookie header (RFC 6265). */
void auth_cookie_write(const struct auth *a, enum role role, int64_t now_ms,
                       char out[AUTH_COOKIE_SIZE]);
bool auth_cookie(const struct auth *a, const char *header, int64_t now_ms, struct principal *p);

/*
 * True when the file holds this ticket; the file is gone then, and of several callers only one is
 * told true. The file must be a regular one that only its owner can read.
 */
bool auth_ticket_take(const struct auth *a, const char *ticket);

/* ---- Throttling of failures ----------------------------------------------------------------- */

#define AUTH_WINDOW_MS INT64_C(60000)

enum {
    AUTH_LOGINS_MOST = 10,   /* failed POST /session by address and window */
    AUTH_BEARERS_MOST = 100, /* wrong keys in a header: scripts repeat themselves quickly */
};

/* Failures of this address (its text) in the current window. */
unsigned auth_failures(const struct auth *a, const char *address, int64_t mono_ms);
void auth_failed(struct auth *a, const char *address, int64_t mono_ms);

/* Seconds until the window of this address ends, at least 1. */
int auth_retry_after_s(const struct auth *a, const char *address, int64_t mono_ms);

#endif
