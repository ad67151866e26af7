/*
 * The energy a counter measured in a window, from the samples in and around it.
 *
 * Pure and memoryless: the answer depends on nothing but the samples from CONTEXT_MS before the
 * window to CONTEXT_MS after it and, where none precedes, on the last value known before. Two
 * neighbouring windows see the same samples at their common border and read the same value there,
 * so consecutive windows add up to the counter.
 *
 *  - The border: a is the last sample before it, b the first at or after it. If a is at most
 *    CONTEXT_MS before and b at most CONTEXT_MS after, the counter is interpolated between them.
 *    Otherwise, or when b has fallen, the energy between a and b belongs to the window of b: it
 *    is known, only its distribution over time is not (QUALITY_INTERPOLATED).
 *  - A value that falls and is back within CONTEXT_MS is a glitch, and so is one that no
 *    installation of the configured size can reach and that is gone within CONTEXT_MS: those
 *    samples are passed over.
 *  - A value that falls and stays is a reset and counts from zero. That is normal life for daily
 *    and settlement registers.
 *  - Only the configured limit refuses energy: an increase beyond it adds nothing, and the counter
 *    goes on from there (QUALITY_QUESTIONABLE).
 */
#ifndef CORE_REGISTER_H
#define CORE_REGISTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTEXT_MS INT64_C(30000)

/* ESPI QualityOfReading (NAESB REQ.21), the codes used here. */
enum quality {
    QUALITY_INTERPOLATED = 9,  /* energy known, its distribution over time is not */
    QUALITY_QUESTIONABLE = 10, /* something was refused or contradicts itself */
    QUALITY_MIXED = 13,        /* put together from two sets of samples */
    QUALITY_VALIDATED = 17,
};

/* The one of two codes that says more against the row. */
enum quality quality_worse(enum quality a, enum quality b);

struct register_sample {
    int64_t time_ms;
    double wh;
};

struct register_limits {
    double power_w_most; /* no increase may need more than this; 0: no limit */
};

struct register_energy {
    double wh;            /* NaN when no sample lies in the window */
    enum quality quality; /* of the decisions taken */
    bool settled;         /* no sample that arrives in order later can change this answer */
};

/* More samples than this in a window and its context are thinned out, the first and last kept. */
enum { REGISTER_SAMPLES_MOST = 4096 };

/*
 * samples: n of them (at most REGISTER_SAMPLES_MOST) in rising time, within
 * [start - CONTEXT_MS, end + CONTEXT_MS]. earlier: the last value known before the window, or NULL;
 * looked at only when no sample precedes the window.
 */
struct register_energy register_window(const struct register_sample *samples, size_t n,
                                       int64_t start_ms, int64_t end_ms,
                                       const struct register_sample *earlier,
                                       const struct register_limits *limits);

#endif
