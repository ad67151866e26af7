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

#endif
