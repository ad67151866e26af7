/*
 * What a test can do to a history in memory that it cannot do to a server.
 */
#ifndef STORES_HISTORY_RAM_H
#define STORES_HISTORY_RAM_H

#include "stores/history.h"

/*
 * The next n calls fail with ERR_RETRY: before they did anything, or, with applied, after they
 * have done their work and only the answer got lost.
 */
void history_ram_fail_next(struct history *h, size_t n, bool applied);

/* The lock is lost as with a broken connection: calls fail until it is taken again. */
void history_ram_lose_lock(struct history *h);

/* All rows, in order of meter, then bucket. Valid until the next call that writes. */
const struct minute *const *history_ram_rows(const struct history *h, size_t *n);

/* The registry's entry, NULL when there is none. Valid until the next call that writes. */
const struct history_meter *history_ram_meter(const struct history *h, const char *meter_id);

#endif
