#include "trace.h"

#include <inttypes.h>

void trace_begin(struct trace *t, int64_t begin_ms, FILE *all)
{
    t->n = 0;
    t->hash = UINT64_C(0xcbf29ce484222325);
    t->begin_ms = begin_ms;
    t->all = all;
}

/* FNV-1a, of words and of text */
static uint64_t hash_number(uint64_t hash, uint64_t number)
{
    return (hash ^ number) * UINT64_C(0x100000001b3);
}

static uint64_t hash_text(uint64_t hash, const char *s)
{
    while (s && *s)
        hash = hash_number(hash, (unsigned char)*s++);
    return hash;
}

static void print_event(const struct trace *t, const struct event *e, FILE *out)
{
    int64_t ms = e->at_ms - t->begin_ms;

    fprintf(out, "%8" PRId64 ".%03d %-12s %s %" PRId64 "%s%s\n", ms / 1000, (int)(ms % 1000),
            e->who, e->what, e->number, e->result ? " " : "", e->result ? e->result : "");
}

void trace_add(struct trace *t, int64_t at_ms, const char *who, const char *what,
               const char *result, int64_t number)
{
    struct event *e = &t->events[t->n++ % TRACE_KEPT];

    *e = (struct event){at_ms, who, what, result, number};
    t->hash = hash_number(t->hash, (uint64_t)at_ms);
    t->hash = hash_number(t->hash, (uint64_t)number);
    t->hash = hash_text(hash_text(t->hash, who), what);
    t->hash = hash_text(t->hash, result);
    if (t->all)
        print_event(t, e, t->all);
}

void trace_print_last(const struct trace *t, FILE *out)
{
    uint64_t first = t->n > TRACE_KEPT ? t->n - TRACE_KEPT : 0;

    for (uint64_t i = first; i < t->n; i++)
        print_event(t, &t->events[i % TRACE_KEPT], out);
}
