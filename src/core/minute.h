/*
 * One meter's minute: how samples become a row, and which of two rows for the same minute stays.
 *
 * All of it is pure. A row depends on the samples of its minute, on those up to CONTEXT_MS around
 * it, and on the last earlier row where none precedes; never on the order in which they arrived,
 * on a clock, or on how often it was computed. Doing it again gives the same bytes.
 *
 * Values of a battery whose message says "valid": false or "connected": false are not folded.
 *
 * _wh is the integral of the straight lines between samples, from border to border of the minute;
 * beyond the first or last sample known the power is held for at most CONTEXT_MS.
 */
#ifndef CORE_MINUTE_H
#define CORE_MINUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/metric.h"
#include "core/reading.h"
#include "core/register.h"
#include "core/when.h"

/*
 * Bits 0..59 of a mask: seconds of the minute in which a sample was taken. Two bits above them in
 * sec_mask tell that the row knew a sample in the CONTEXT_MS before and after the minute, so that
 * "computed from more" is one comparison of masks.
 */
#define MASK_SECONDS ((UINT64_C(1) << 60) - 1)
#define MASK_BEFORE (UINT64_C(1) << 60)
#define MASK_AFTER (UINT64_C(1) << 61)

struct minute {
    char meter_id[METER_ID_SIZE];
    int64_t bucket_ms; /* start of the minute, UTC */
    int32_t n;         /* data messages */
    int32_t n_status;  /* status messages */
    uint64_t sec_mask, status_mask;
    int16_t quality;        /* enum quality */
    double v[COLUMN_COUNT]; /* NaN where absent; a word of a vocabulary as its index; values of
                               COLUMN_FLOAT4 are already rounded to float */
};

struct minute_sample {
    struct reading reading; /* meter_id is not looked at */
    const uint8_t *packed;  /* the snapshot it was read from: decides between two of one identity */
    size_t packed_len;
};

/*
 * Put samples into the order of folding (time, then topic) and keep one of each identity (time,
 * topic): of two different ones the one with the greater packed bytes. Returns how many are left;
 * *conflicts (may be NULL) counts those that differed from the one kept.
 */
size_t minute_order(struct minute_sample *samples, size_t n, size_t *conflicts);

/* True when this counter, or any, is in the minute but in no sample before: it wants `earlier`. */
bool minute_wants_counter(const struct minute_sample *samples, size_t n, int64_t bucket_ms,
                          enum metric m);
bool minute_wants_earlier(const struct minute_sample *samples, size_t n, int64_t bucket_ms);

struct minute_fold {
    int64_t bucket_ms;
    const struct minute *earlier; /* last row of the meter before the minute, NULL: none */
    struct register_limits limits;
    uint64_t skip_seconds; /* samples of these seconds do not count into the minute; they still */
    uint64_t skip_status;  /* serve as context */
};

/*
 * Fold ordered samples, of one meter and within [bucket - CONTEXT_MS, bucket + 60 s + CONTEXT_MS],
 * into *out (all but meter_id). False when no sample is left for the minute itself. *settled: no
 * sample that arrives in order later can change the row.
 */
bool minute_fold(const struct minute_sample *samples, size_t n, const struct minute_fold *fold,
                 struct minute *out, bool *settled);

enum minute_choice {
    MINUTE_KEEP,    /* the old row stays: the new one knows nothing that it does not */
    MINUTE_REPLACE, /* the new row was computed from everything the old one was, or more */
    MINUTE_MERGE,   /* each knows something: fold the rest alone, then minute_merge */
};
enum minute_choice minute_compare(const struct minute *old, const struct minute *fresh);

/* Equal in every column, bit for bit. */
bool minute_equal(const struct minute *a, const struct minute *b);

/*
 * Add `part`, folded from samples in none of old's seconds, to old. The counters stay old's: its
 * neighbours were computed from them, and what lies between its samples is in them already.
 */
void minute_merge(const struct minute *old, const struct minute *part, struct minute *out);

/*
 * A row came to stand, or changed, between `next` and the row that next took its counters from:
 * `before` is what stood there (NULL: nothing), `now` what stands there now. Where next began with
 * the last value of an earlier row, the energy that `now` accounts for leaves next. True when next
 * was changed.
 */
bool minute_rebase(struct minute *next, const struct minute *before, const struct minute *now);

/* When the last data sample of the row was taken, to the second. */
int64_t minute_last_data_ms(const struct minute *m);

#endif
