/*
 * The target of an HTTP request (RFC 9112, origin form) taken apart: "/a/{x}?k=v&..." as decoded
 * path segments and decoded parameters.
 *
 * Strict where it matters: an encoded or raw control byte, a broken %-escape and text that is not
 * UTF-8 are refused; an encoded slash stays inside its segment and so matches no route. '+' is a
 * plus sign and not a blank, so that "...T12:00:00+07:00" may be written as it stands.
 */
#ifndef STAGES_API_QUERY_H
#define STAGES_API_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum {
    QUERY_SEGMENTS_MOST = 8,
    QUERY_PARAMS_MOST = 16,
};

struct query_param {
    const char *name, *value;
};

struct query {
    char *text; /* the decoded pieces live here */
    const char *segments[QUERY_SEGMENTS_MOST];
    size_t n_segments; /* "/" has none; more than QUERY_SEGMENTS_MOST: the path was too deep */
    struct query_param params[QUERY_PARAMS_MOST];
    size_t n_params;
};

/* False and *e (ERR_INPUT) when the target is refused; query_clear is right in either case. */
bool query_parse(struct query *q, const char *target, struct err *e) MUST_CHECK;
void query_clear(struct query *q);

/*
 * Value of a parameter into *value, NULL when it is not given. False and *e when it is given
 * more than once.
 */
bool query_get(const struct query *q, const char *name, const char **value, struct err *e);

#endif
