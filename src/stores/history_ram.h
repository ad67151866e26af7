/*
 * What a test can do to a history in memory that it cannot do to a server. Every struct history
 * here is from history_ram_open or history_ram_share.
 */
#ifndef STORES_HISTORY_RAM_H
#define STORES_HISTORY_RAM_H

#include "stores/history.h"
#include "stores/ram_fault.h"

/*
 * Another process's handle to the same history, with a session of its own: of several handles one
 * can hold the lock. The history lives until its last handle is closed.
 */
struct history *history_ram_share(struct history *h);

/*
 * Asked before every call of this handle, and by replace once more, as "commit", between the last
 * decision and the writing. Copied; NULL: nothing fails any more. As with a server, the session
 * does not outlive a call without an answer: the lock is free and must be taken again.
 */
void history_ram_set_faults(struct history *h, const struct ram_faults *faults);

/*
 * The next n calls of this handle fail with ERR_RETRY: before they did anything, or, with applied,
 * after they have done their work and only the answer got lost. Comes before what the faults say.
 */
void history_ram_fail_next(struct history *h, size_t n, bool applied);

/*
 * The server stops and starts again. Nothing committed is lost; all sessions are gone with their
 * locks, an open transaction is undone, and the next call of every handle fails.
 */
void history_ram_restart(struct history *h);

/*
 * The server has given up this handle's session, as that of a process that stalled: its open
 * transaction is undone and its lock is free for others. If it held the lock, its later calls fail
 * with ERR_RETRY until lock is called.
 */
void history_ram_end_session(struct history *h);

/* All rows, in order of meter, then bucket. Valid until the next call that writes. */
const struct minute *const *history_ram_rows(const struct history *h, size_t *n);

/* One row, NULL when there is none. Valid until the next call that writes. */
const struct minute *history_ram_row(const struct history *h, const char *meter_id,
                                     int64_t bucket_ms);

/* The registry's entry, NULL when there is none. Valid until the next call that writes. */
const struct history_meter *history_ram_meter(const struct history *h, const char *meter_id);

#endif
