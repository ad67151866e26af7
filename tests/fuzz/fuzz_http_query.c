/*
 * Any request target: it is refused, or its pieces are sound text and its parameters can be found.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "stages/api_query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *s)
{
    size_t len = strlen(s);

    assert(utf8_valid_prefix(s, len) == len);
    for (size_t i = 0; i < len; i++)
        assert((unsigned char)s[i] >= 0x20 && s[i] != 0x7f);
}

/* A name given once is found; one given twice is refused. */
static void check_lookup(const struct query *q, size_t i)
{
    const char *value;
    struct err e;
    size_t times = 0;

    for (size_t k = 0; k < q->n_params; k++)
        times += strcmp(q->params[k].name, q->params[i].name) == 0;
    bool found = query_get(q, q->params[i].name, &value, &e);
    assert(found == (times == 1));
    assert(!found || value == q->params[i].value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *target = malloc(size + 1);
    struct query q;
    struct err e;

    memcpy(target, data, size);
    target[size] = '\0';
    if (query_parse(&q, target, &e)) {
        for (size_t i = 0; i < q.n_segments && i < QUERY_SEGMENTS_MOST; i++)
            check_text(q.segments[i]);
        for (size_t i = 0; i < q.n_params; i++) {
            check_text(q.params[i].name);
            check_text(q.params[i].value);
            check_lookup(&q, i);
        }
    } else {
        assert(e.kind == ERR_INPUT);
    }
    query_clear(&q);
    free(target);
    return 0;
}
