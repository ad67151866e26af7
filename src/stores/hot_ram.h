/* The hot store in this process, made to fail as a server would: for tests. */
#ifndef STORES_HOT_RAM_H
#define STORES_HOT_RAM_H

#include <stdbool.h>

#include "stores/hot.h"

/*
 * The next n calls fail with ERR_RETRY: before anything is done, or, with applied, after it was
 * done, as when the answer is lost. h must come from hot_ram_open.
 */
void hot_ram_fail_next(struct hot *h, int n, bool applied);

#endif
