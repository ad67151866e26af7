/*
 * One meter's minute: how samples become a row, and which of two rows for the same minute stays.
 *
 * All of it is pure. A row depends on the samples of its minute, on those up to CONTEXT_MS around
 * it, and on the last earlier row where none precedes; never on the order in which they arrived,
 * on a clock, or on how often it was computed. Doing it again gives the same bytes.
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

/*
 * Put samples into the order of folding (time, then topic, then packed bytes) and keep one of each
 * identity (topic, time): of two different ones the one with the greater packed bytes. Returns how
 * many are left; *conflicts (may be NULL) counts those that differed from the one kept.
 */
struct minute_sample {
    struct reading reading; /* meter_id is not looked at */
    size_t packed_len;
    const uint8_t *packed; /* for the order of samples of one identity */
};
size_t minute_order(struct minute_sample *samples, size_t n, size_t *conflicts);

/*
 * Fold ordered samples, of one meter and within [bucket - CONTEXT_MS, bucket + 60 s + CONTEXT_MS],
 * into *out. False when no sample lies in the minute itself. earlier: the last row of the meter
 * before this minute, or NULL; looked at only where no sample precedes. skip_seconds and
 * skip_status: samples in these seconds are left out of the minute (they still serve as context).
 * *settled: no sample that arrives in order later can change the row.
 */
bool minute_fold(const struct minute_sample *samples, size_t n, int64_t bucket_ms,
                 const struct minute *earlier, const struct register_limits *limits,
                 uint64_t skip_seconds, uint64_t skip_status, struct minute *out, bool *settled);

enum minute_choice {
    MINUTE_KEEP,    /* the old row stays: the new one knows nothing that it does not */
    MINUTE_REPLACE, /* the new row was computed from everything the old one was, or more */
    MINUTE_MERGE,   /* each knows something: fold the rest alone, then minute_merge */
};
enum minute_choice minute_compare(const struct minute *old, const struct minute *fresh);

/* Equal in every column, bit for bit. */
bool minute_equal(const struct minute *a, const struct minute *b);

/* Add `part`, folded from samples in none of old's seconds, to old. */
void minute_merge(const struct minute *old, const struct minute *part, struct minute *out);

#endif
