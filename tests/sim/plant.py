#!/usr/bin/env python3
"""Plants a fault in a copy of a source file, to see whether the simulation finds it.

plant.py --list                  the table, a line each: name, file
plant.py NAME SOURCE OUTPUT      the changed copy of SOURCE

The text that is changed must stand in the source exactly once; otherwise the table no longer fits
the code, and that is an error.
"""
import sys

INGEST = "stages/ingest.c"
AGGREGATE = "stages/aggregate.c"
MINUTE = "core/minute.c"
HOT = "stores/hot_ram.c"

# name, file below src, old text, new text
PLANTS = [
    ("acknowledge_unstored", INGEST,
     """    if (!store_batch(in, e))
        return false;
    forget_batch(in);
""",
     """    (void)store_batch(in, e);
    forget_batch(in);
"""),
    ("release_before_commit", AGGREGATE,
     """    bool ok = hot->ops->claim(hot, minute_ms, a->o.token, &work, e) &&
              each_chunk(a, minute_ms, &work, &again, aggregate_chunk, e) &&
              hot->ops->release(hot, minute_ms, a->o.token, &again,
                                minute_ms + MINUTE_MS + AGAIN_MS, e) &&
""",
     """    bool ok = hot->ops->claim(hot, minute_ms, a->o.token, &work, e) &&
              hot->ops->release(hot, minute_ms, a->o.token, &again,
                                minute_ms + MINUTE_MS + AGAIN_MS, e) &&
              each_chunk(a, minute_ms, &work, &again, aggregate_chunk, e) &&
"""),
    ("trim_all", AGGREGATE,
     "clock_wall_ms(a->o.clock) - a->o.timeseries_ttl_s * INT64_C(1000);",
     "clock_wall_ms(a->o.clock);"),
    ("trim_unread", HOT,
     "        if (is_needed(&needed, t->members[i].time_ms))\n",
     "        if (is_needed(&needed, t->members[i].time_ms) && cutoff_ms == 0)\n"),
    ("expire_what_waits", HOT,
     """    if (few && !is_listed(&s->waiting, m->number) && !is_listed(&s->claimed, m->number))
        expire_earlier(s, t, ttl_s * INT64_C(1000));
""",
     """    if (few)
        expire_earlier(s, t, ttl_s * INT64_C(2));
"""),
    ("forget_context", AGGREGATE, "c->minute_ms - CONTEXT_MS,", "c->minute_ms,"),
    ("older_is_latest", INGEST,
     "bool newest = a->time_ms > meter->trial_ms[a->topic];",
     "bool newest = a->time_ms != meter->trial_ms[a->topic];"),
    ("redelivery_is_another", INGEST,
     """static void accept(struct ingest *in, const struct broker_message *m, const struct reading *r,
                   struct meter_state *meter)
{
""",
     """static void accept(struct ingest *in, const struct broker_message *m,
                   const struct reading *received, struct meter_state *meter)
{
    struct reading copy = *received, *r = &copy;
    copy.time_ms += m->redelivered;
"""),
    ("lose_dirty_mark", HOT,
     """    if (work)
        drop_list(&s->claimed, work);
    for""",
     """    if (work)
        drop_list(&s->claimed, work);
    if (find_list(&s->waiting, minute_ms, ""))
        drop_list(&s->waiting, find_list(&s->waiting, minute_ms, ""));
    for"""),
    ("ignore_token", HOT,
     "    struct list *work = find_list(&s->claimed, minute_ms, token);\n    if (work)\n",
     """    struct list *work = NULL;
    for (size_t i = 0; i < s->claimed.n; i++)
        if (s->claimed.lists[i].minute_ms == minute_ms)
            work = &s->claimed.lists[i];
    (void)token;
    if (work)
"""),
    ("always_overwrite", AGGREGATE,
     "        c->a->counters.rows_kept++;\n        return false;\n",
     "        c->a->counters.rows_kept++;\n        return true;\n"),
    ("merge_twice", AGGREGATE,
     ".skip_seconds = old->sec_mask & MASK_SECONDS,", ".skip_seconds = 0,"),
    ("recover_loses_claims", HOT,
     "    size_t recovered = s->claimed.n;\n", "    size_t recovered = 0;\n"),
    ("neighbours_unmarked", INGEST,
     "    if (put->time_ms - minute_ms <= CONTEXT_MS)\n", "    if (put->time_ms < 0)\n"),
    ("unsettled_forgotten", AGGREGATE,
     "!c->sources[i].settled)\n", "!c->sources[i].settled && i > c->n_rows)\n"),
    ("conflict_by_chance", MINUTE,
     """                (*conflicts)++;
            samples[kept - 1] = samples[i];
""",
     """                (*conflicts)++;
"""),
    ("gap_energy_lost", MINUTE,
     "            before = &earlier;\n", "            before = last < 0 ? &earlier : NULL;\n"),
    ("takeover_unnoticed", INGEST,
     "    if (in->took_over || !in->o.writer)\n", "    if (!in->took_over || !in->o.writer)\n"),
    ("battery_always_trusted", MINUTE,
     "r->v[METRIC_BATTERY_CONNECTED] != 0 && r->v[METRIC_BATTERY_VALID] != 0;",
     "r->v[METRIC_BATTERY_CONNECTED] != 2;"),
]


def write_planted(name, source, output):
    (old, new), = [(p[2], p[3]) for p in PLANTS if p[0] == name]
    with open(source, encoding="utf-8") as f:
        text = f.read()
    if text.count(old) != 1:
        sys.exit(f"plant.py: {name}: the old text stands {text.count(old)} times in {source}: "
                 "adapt the table")
    with open(output, "w", encoding="utf-8") as f:
        f.write(text.replace(old, new))


def main():
    if sys.argv[1:] == ["--list"]:
        for plant in PLANTS:
            print(plant[0], plant[1])
    elif len(sys.argv) == 4:
        write_planted(*sys.argv[1:])
    else:
        sys.exit(__doc__)


main()
