#include "stores/hot.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void hot_ids_add(struct hot_ids *ids, const char *id, size_t len)
{
    assert(len < METER_ID_SIZE);
    if (ids->n == ids->cap) {
        ids->cap = ids->cap ? ids->cap * 2 : 64;
        ids->ids = xrealloc_array(ids->ids, ids->cap, sizeof *ids->ids);
    }
    memcpy(ids->ids[ids->n], id, len);
    ids->ids[ids->n][len] = '\0';
    ids->n++;
}

void hot_ids_clear(struct hot_ids *ids)
{
    free(ids->ids);
    *ids = (struct hot_ids){0};
}

void hot_latest_clear(struct hot_latest *l, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(l[i].data);
        free(l[i].status);
        l[i] = (struct hot_latest){0};
    }
}

void hot_quarantined_clear(struct hot_quarantined *q, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(q[i].reason);
        free(q[i].detail);
        free(q[i].topic);
        free(q[i].meter_id);
        free(q[i].payload);
        q[i] = (struct hot_quarantined){0};
    }
}
