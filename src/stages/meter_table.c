#include "stages/meter_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void meter_table_init(struct meter_table *t)
{
    t->capacity = 1024;
    t->n = 0;
    t->slots = xcalloc(t->capacity, sizeof(struct meter_state *));
}

void meter_table_clear(struct meter_table *t)
{
    for (size_t i = 0; i < t->capacity; i++)
        free(t->slots[i]);
    free(t->slots);
    *t = (struct meter_table){0};
}

void meter_table_forget(struct meter_table *t)
{
    for (size_t i = 0; i < t->capacity; i++)
        if (t->slots[i])
            t->slots[i]->known = false;
}

/* FNV-1a, 64 bit: http://www.isthe.com/chongo/tech/comp/fnv/ */
static uint64_t hash_id(const char *s)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    return h;
}

static size_t find_slot(const struct meter_table *t, const char *meter_id)
{
    size_t i = hash_id(meter_id) & (t->capacity - 1);

    while (t->slots[i] && strcmp(t->slots[i]->meter_id, meter_id) != 0)
        i = (i + 1) & (t->capacity - 1);
    return i;
}

static void grow(struct meter_table *t)
{
    struct meter_table larger = {.capacity = t->capacity * 2, .n = t->n};

    larger.slots = xcalloc(larger.capacity, sizeof(struct meter_state *));
    for (size_t i = 0; i < t->capacity; i++)
        if (t->slots[i])
            larger.slots[find_slot(&larger, t->slots[i]->meter_id)] = t->slots[i];
    free(t->slots);
    *t = larger;
}

struct meter_state *meter_table_get(struct meter_table *t, const char *meter_id)
{
    size_t i = find_slot(t, meter_id);

    if (t->slots[i])
        return t->slots[i];
    if (t->n * 2 >= t->capacity) {
        grow(t);
        i = find_slot(t, meter_id);
    }
    struct meter_state *m = xcalloc(1, sizeof *m);
    strcpy(m->meter_id, meter_id);
    for (size_t topic = 0; topic < TOPIC_COUNT; topic++)
        m->newest_ms[topic] = INT64_MIN;
    t->slots[i] = m;
    t->n++;
    return m;
}
