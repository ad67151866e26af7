/*
 * Make a failure small: leave out meters, troubles and messages as long as the same invariant is
 * still broken.
 */
#ifndef SIM_SHRINK_H
#define SIM_SHRINK_H

#include "meters.h"
#include "world.h"

/* *cut begins as one that fails, as *report says; both end as the smallest found. */
void shrink_failure(struct plan *p, uint64_t seed, struct trace *t, struct cut *cut,
                    struct world_report *report);

#endif
