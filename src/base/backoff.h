/*
 * How long to wait before trying a failed peer again: full jitter over a doubling ceiling, so
 * that many clients of one restarted server do not return in step.
 */
#ifndef BASE_BACKOFF_H
#define BASE_BACKOFF_H

#include <stdint.h>

struct backoff {
    int64_t first_ms; /* ceiling of the first wait */
    int64_t most_ms;  /* ceiling of every wait */
    uint64_t state;   /* random state; any seed */
    unsigned failures;
};

/* Milliseconds to wait now; each call counts as one more failure. */
int64_t backoff_next_ms(struct backoff *b);
void backoff_reset(struct backoff *b);

/* splitmix64: the next number of a sequence that *state alone determines. */
uint64_t random_next(uint64_t *state);

#endif
