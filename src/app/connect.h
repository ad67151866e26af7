/*
 * The stores as the settings describe them.
 */
#ifndef APP_CONNECT_H
#define APP_CONNECT_H

#include "app/settings.h"
#include "base/err.h"
#include "stores/history.h"
#include "stores/hot.h"

/* How long a tool waits for an answer of the hot store; migrations wait without end. */
enum { CONNECT_TOOL_TIMEOUT_MS = 5000 };

/* NULL and *e when the setting is missing or cannot be used. They do not connect yet. */
struct hot *connect_hot(const struct settings *s, int timeout_ms, struct err *e);
struct history *connect_history(const struct settings *s, const char *application_name,
                                int statement_timeout_ms, struct err *e);

/*
 * Connect to the broker at each URL of the list, under a name of our own, and subscribe to the
 * data topic. Takes nothing from anybody: the session ends with the call (a second later), and no
 * shared subscription is joined (the broker would keep our share of it for us).
 */
bool connect_try_broker(const struct settings *s, const char *urls, int timeout_ms,
                        struct err *e) MUST_CHECK;

#endif
