#include "shrink.h"

#include <string.h>

struct search {
    struct plan *plan;
    uint64_t seed;
    struct trace *trace;
    struct cut *best;
    struct world_report *report;
};

/* Keep the smaller cut if the same invariant is broken with it. */
static bool try_cut(const struct search *s, struct cut smaller)
{
    struct world_report r;

    plan_make(s->plan, s->seed, &smaller);
    world_run(s->plan, s->trace, NULL, &r);
    if (r.sound || strcmp(r.invariant, s->report->invariant) != 0)
        return false;
    *s->best = smaller;
    *s->report = r;
    return true;
}

static bool drop_bits(const struct search *s, int n, bool meters)
{
    bool smaller = false;

    for (int i = 0; i < n; i++) {
        struct cut c = *s->best;
        uint32_t *bits = meters ? &c.meters : &c.troubles;
        if (!(*bits >> i & 1))
            continue;
        *bits &= ~(UINT32_C(1) << i);
        smaller = try_cut(s, c) || smaller;
    }
    return smaller;
}

/* The shortest beginning that still fails, by halving. */
static bool drop_publishes(const struct search *s)
{
    bool smaller = false;

    for (size_t step = s->best->publishes / 2; step > 0; step /= 2)
        while (step < s->best->publishes) {
            struct cut c = *s->best;
            c.publishes -= step;
            if (!try_cut(s, c))
                break;
            smaller = true;
        }
    return smaller;
}

void shrink_failure(struct plan *p, uint64_t seed, struct trace *t, struct cut *cut,
                    struct world_report *report)
{
    struct search s = {p, seed, t, cut, report};

    plan_make(p, seed, cut);
    int meters = p->n_meters;
    if (cut->publishes > p->n_publishes)
        cut->publishes = p->n_publishes;
    cut->meters &= (UINT32_C(1) << meters) - 1;
    cut->troubles &= (UINT32_C(1) << TROUBLES_MOST) - 1;
    for (bool smaller = true; smaller;) {
        smaller = drop_bits(&s, meters, true);
        smaller = drop_bits(&s, TROUBLES_MOST, false) || smaller;
        smaller = drop_publishes(&s) || smaller;
    }
}
