/*
 * No connection without encryption leaves this machine unless ENERLINK_ALLOW_PLAIN says so.
 */
#ifndef APP_PLAIN_H
#define APP_PLAIN_H

#include <stdbool.h>

#include "app/settings.h"
#include "base/err.h"

/* False and *e, naming the setting and the host, when a configured connection would be plain. */
bool plain_check(const struct settings *s, struct err *e) MUST_CHECK;

/* "localhost", 127.x.y.z, ::1: names of this machine that no network can answer for. */
bool plain_is_loopback(const char *host);

enum { PLAIN_HOST_SIZE = 256 };

/*
 * The host in "scheme://user:password@host:port/path" (len bytes of it), without the brackets of
 * an IPv6 address; false when it is longer than PLAIN_HOST_SIZE.
 */
bool plain_url_host(const char *url, size_t len, char out[PLAIN_HOST_SIZE]);

#endif
