#include "core/register.h"

#include <assert.h>
#include <float.h>
#include <math.h>

enum quality quality_worse(enum quality a, enum quality b)
{
    static const int badness[] = {[QUALITY_VALIDATED] = 0,
                                  [QUALITY_INTERPOLATED] = 1,
                                  [QUALITY_MIXED] = 2,
                                  [QUALITY_QUESTIONABLE] = 3};
    return badness[a] >= badness[b] ? a : b;
}

/*
 * The samples as one rising register: energy[i] is what has been measured up to sample i since
 * the first one, valid[i] is false for a glitch. Sample 0 may be `earlier`.
 */
struct walk {
    struct register_sample s[REGISTER_SAMPLES_MOST + 1];
    double energy[REGISTER_SAMPLES_MOST + 1];
    bool valid[REGISTER_SAMPLES_MOST + 1];
    bool refused[REGISTER_SAMPLES_MOST + 1]; /* the limit refused energy at this sample */
    size_t n;
    bool settled;
};

/* Meters that count in float32 print a last digit that wavers: that is no fall. */
static double jitter_wh(double wh)
{
    return 2 * fabs(wh) * (double)FLT_EPSILON;
}

static bool falls(double from_wh, double to_wh)
{
    return to_wh < from_wh - jitter_wh(from_wh);
}

static bool possible(double wh, int64_t dt_ms, const struct register_limits *limits)
{
    if (limits->power_w_most <= 0)
        return true;
    return wh * 3600e3 <= limits->power_w_most * (double)(dt_ms > 1000 ? dt_ms : 1000);
}

/*
 * Whether a sample after i, at most CONTEXT_MS later, shows that sample i was a glitch relative
 * to base. *open: such a sample may still arrive.
 */
static bool comes_back(const struct walk *w, size_t i, size_t base, bool fell, bool *open)
{
    for (size_t j = i + 1; j < w->n && w->s[j].time_ms <= w->s[i].time_ms + CONTEXT_MS; j++) {
        bool below_base = falls(w->s[base].wh, w->s[j].wh);
        if (fell ? !below_base : !below_base && falls(w->s[i].wh, w->s[j].wh))
            return true;
    }
    *open = w->s[w->n - 1].time_ms < w->s[i].time_ms + CONTEXT_MS;
    return false;
}

static void walk_samples(struct walk *w, const struct register_limits *limits)
{
    size_t base = 0; /* the last valid sample */

    w->settled = true;
    w->energy[0] = 0;
    w->valid[0] = true;
    w->refused[0] = false;
    for (size_t i = 1; i < w->n; i++) {
        double from = w->s[base].wh, to = w->s[i].wh;
        bool fell = falls(from, to);
        double gained = fell ? to : fmax(to - from, 0);
        bool fits = possible(gained, w->s[i].time_ms - w->s[base].time_ms, limits);

        w->energy[i] = w->energy[base];
        w->refused[i] = false;
        w->valid[i] = true;
        if (fell || !fits) {
            bool open = false;
            if (comes_back(w, i, base, fell, &open)) {
                w->valid[i] = false;
                continue;
            }
            if (open)
                w->settled = false;
            w->refused[i] = !fits;
        }
        if (!fits)
            gained = 0;
        w->energy[i] += gained;
        /* Within the jitter the higher value stays the base, so that wavering adds nothing. */
        if (fell || to >= from)
            base = i;
    }
}

static size_t first_at_or_after(const struct walk *w, int64_t time_ms)
{
    size_t i = 0;

    while (i < w->n && w->s[i].time_ms < time_ms)
        i++;
    return i;
}

struct border {
    double energy;
    bool gap; /* the energy between the samples around it was not divided */
};

static struct border read_border(const struct walk *w, int64_t border_ms)
{
    size_t b = first_at_or_after(w, border_ms);

    if (b == 0)
        return (struct border){.energy = w->energy[0]};
    size_t a = b - 1;
    bool fell = b < w->n && falls(w->s[a].wh, w->s[b].wh);
    while (a > 0 && !w->valid[a])
        a--;
    while (b < w->n && !w->valid[b])
        b++;
    if (b == w->n)
        return (struct border){.energy = w->energy[a]};
    if (fell || w->s[a].time_ms < border_ms - CONTEXT_MS ||
        w->s[b].time_ms > border_ms + CONTEXT_MS)
        return (struct border){.energy = w->energy[a], .gap = w->energy[b] > w->energy[a]};
    double share =
        (double)(border_ms - w->s[a].time_ms) / (double)(w->s[b].time_ms - w->s[a].time_ms);
    return (struct border){.energy = w->energy[a] + share * (w->energy[b] - w->energy[a])};
}

struct register_energy register_window(const struct register_sample *samples, size_t n,
                                       int64_t start_ms, int64_t end_ms,
                                       const struct register_sample *earlier,
                                       const struct register_limits *limits)
{
    struct walk w;
    struct register_energy out = {.wh = NAN, .quality = QUALITY_VALIDATED, .settled = true};

    assert(n <= REGISTER_SAMPLES_MOST);
    w.n = 0;
    if (n > 0 && earlier && samples[0].time_ms >= start_ms)
        w.s[w.n++] = *earlier;
    for (size_t i = 0; i < n; i++)
        w.s[w.n++] = samples[i];
    if (w.n == 0)
        return out;
    walk_samples(&w, limits);

    size_t first = first_at_or_after(&w, start_ms);
    size_t after = first_at_or_after(&w, end_ms);
    out.settled = w.settled && after < w.n;
    if (first == after)
        return out;
    struct border start = read_border(&w, start_ms);
    struct border end = read_border(&w, end_ms);
    out.wh = end.energy - start.energy;
    if (start.gap)
        out.quality = QUALITY_INTERPOLATED;
    for (size_t i = first; i < after; i++)
        if (w.refused[i])
            out.quality = QUALITY_QUESTIONABLE;
    return out;
}
