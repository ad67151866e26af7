/*
 * The simulation's program: runs seeds, and tells how to see a failure again.
 *
 *   sim --seeds 1000 [--from 1]     seeds 1..1000
 *   sim --seeds 100 --fresh         a set nobody has run before
 *   sim --list FILE                 the seeds in a file
 *   sim --seed S [--trace]          one seed, with all that happens
 *       [--meters HEX] [--troubles HEX] [--publishes N]      only a part of it
 *   --keep-going                    one line for each failure, none made small
 *   --planted                       a fault is planted in the code: succeed when it is found
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "shrink.h"
#include "world.h"

struct options {
    uint64_t from, seeds, one;
    bool fresh, trace, planted, single, keep_going;
    const char *list;
    struct cut cut;
};

struct totals {
    uint64_t seeds, messages, rows, hash;
    bool failed;
    uint64_t failed_at; /* how many seeds it took */
};

static struct plan plan;
static struct trace trace;

static void print_failure(const struct options *o, uint64_t seed, const struct cut *cut,
                          const struct world_report *r)
{
    static const char *const classes[] = {"calm", "exact", "late"};

    printf("seed %" PRIu64 " (%s), second %" PRId64 ".%03d: broken: %s\n  %s\n", seed,
           classes[plan.class], r->at_ms / 1000, (int)(r->at_ms % 1000), r->invariant, r->text);
    printf("  replay: sim --seed %" PRIu64 " --meters %x --troubles %x --publishes %zu --trace\n",
           seed, cut->meters, cut->troubles, cut->publishes);
    if (o->trace || o->planted || o->keep_going)
        return;
    printf("the last events:\n");
    trace_print_last(&trace, stdout);
}

/* Run one seed; a failure is made small and reported. */
static void run_seed(const struct options *o, uint64_t seed, struct totals *totals)
{
    struct cut cut = o->cut;
    struct world_report r;
    bool is_shrunk = !o->single && !o->planted && !o->keep_going;

    plan_make(&plan, seed, &cut);
    world_run(&plan, &trace, o->trace ? stdout : NULL, &r);
    totals->seeds++;
    totals->messages += r.messages;
    totals->rows += r.rows;
    totals->hash = totals->hash * 31 + r.hash;
    if (r.sound)
        return;
    totals->failed = true;
    totals->failed_at = totals->seeds;
    if (is_shrunk)
        shrink_failure(&plan, seed, &trace, &cut, &r);
    if (cut.publishes == SIZE_MAX)
        cut.publishes = plan.n_publishes;
    /* Once more, so that the last events are those of the smallest failure. */
    if (is_shrunk) {
        plan_make(&plan, seed, &cut);
        world_run(&plan, &trace, NULL, &r);
    }
    print_failure(o, seed, &cut, &r);
}

static bool run_list(const struct options *o, struct totals *totals)
{
    char line[256];
    FILE *f = fopen(o->list, "r");

    if (!f) {
        fprintf(stderr, "sim: %s: %s\n", o->list, strerror(errno));
        return false;
    }
    /* "seed [what it once found]" */
    while (fgets(line, sizeof line, f))
        if (line[0] >= '0' && line[0] <= '9')
            run_seed(o, strtoull(line, NULL, 10), totals);
    fclose(f);
    return true;
}

static void run_range(const struct options *o, struct totals *totals)
{
    for (uint64_t i = 0; i < o->seeds && (o->keep_going || !totals->failed); i++)
        run_seed(o, o->from + i, totals);
}

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static void print_totals(const struct options *o, const struct totals *t, double seconds)
{
    printf("%" PRIu64 " seeds, %" PRIu64 " messages, %" PRIu64 " rows, trace %016" PRIx64 "\n",
           t->seeds, t->messages, t->rows, t->hash);
    /* One seed's output is the same each time, to the byte. */
    if (!o->single && seconds > 0)
        printf("%.1f s of CPU, %.0f messages/s\n", seconds, (double)t->messages / seconds);
}

static bool read_options(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        {"seeds", required_argument, NULL, 'n'},     {"from", required_argument, NULL, 'f'},
        {"seed", required_argument, NULL, 's'},      {"list", required_argument, NULL, 'l'},
        {"fresh", no_argument, NULL, 'r'},           {"trace", no_argument, NULL, 't'},
        {"keep-going", no_argument, NULL, 'k'},      {"planted", no_argument, NULL, 'p'},
        {"meters", required_argument, NULL, 'm'},    {"troubles", required_argument, NULL, 'x'},
        {"publishes", required_argument, NULL, 'u'}, {NULL, 0, NULL, 0}};

    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        unsigned long long number = optarg ? strtoull(optarg, NULL, 10) : 0;
        switch (c) {
        case 'n':
            o->seeds = number;
            break;
        case 'f':
            o->from = number;
            break;
        case 's':
            o->one = number;
            o->single = true;
            break;
        case 'l':
            o->list = optarg;
            break;
        case 'r':
            o->fresh = true;
            break;
        case 't':
            o->trace = true;
            break;
        case 'k':
            o->keep_going = true;
            break;
        case 'p':
            o->planted = true;
            break;
        case 'm':
            o->cut.meters = (uint32_t)strtoul(optarg, NULL, 16);
            break;
        case 'x':
            o->cut.troubles = (uint32_t)strtoul(optarg, NULL, 16);
            break;
        case 'u':
            o->cut.publishes = number;
            break;
        default:
            return false;
        }
    }
    return optind == argc;
}

int main(int argc, char **argv)
{
    struct options o = {.from = 1, .seeds = 100, .cut = cut_nothing};
    struct totals totals = {0};

    if (!read_options(argc, argv, &o)) {
        fprintf(stderr, "usage: sim [--seeds N] [--from SEED] [--fresh] [--list FILE] "
                        "[--seed SEED [--trace]] [--meters HEX] [--troubles HEX] "
                        "[--publishes N] [--keep-going] [--planted]\n");
        return 2;
    }
    if (o.fresh && getrandom(&o.from, sizeof o.from, 0) == (ssize_t)sizeof o.from) {
        o.from >>= 16;
        printf("fresh seeds from %" PRIu64 "\n", o.from);
    }
    double began = cpu_seconds();
    if (o.single)
        run_seed(&o, o.one, &totals);
    else if (o.list && !run_list(&o, &totals))
        return 1;
    else if (!o.list)
        run_range(&o, &totals);
    print_totals(&o, &totals, cpu_seconds() - began);
    plan_clear(&plan);
    if (o.planted && totals.failed)
        printf("found with %" PRIu64 " seeds\n", totals.failed_at);
    return totals.failed != o.planted;
}
