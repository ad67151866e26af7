#include "app/up_sim.h"

#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

enum { NAME_ROOM = 64, STOP_MS = 4000, REPLAY_METERS_MOST = 4 };

static const char load_name[] = "household_load_1min.csv";
static const char solar_name[] = "solar_ghi_1min.csv";

/* Traces lie beside an installed program, or where they are in the source tree. */
static void find_traces(struct up_sim *sim, const char *own_folder)
{
    static const char *const places[] = {"traces", "../meter/sim/traces"};
    char file[PATH_MAX + sizeof load_name];

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(sim->traces, sizeof sim->traces, "%.*s/%s", PATH_MAX - NAME_ROOM, own_folder,
                 places[i]);
        snprintf(file, sizeof file, "%s/%s", sim->traces, load_name);
        if (access(file, R_OK) == 0)
            return;
    }
    snprintf(sim->traces, sizeof sim->traces, "%s", ENERLINK_TRACES);
    snprintf(file, sizeof file, "%s/%s", sim->traces, load_name);
    if (access(file, R_OK) < 0)
        sim->traces[0] = '\0';
}

/* Beside us where installed, in its part's folder below us where built. */
static bool find_program(struct up_sim *sim, const char *own_folder)
{
    static const char *const places[] = {"enerlink-sim", "meter/enerlink-sim"};

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(sim->program, sizeof sim->program, "%.*s/%s", PATH_MAX - NAME_ROOM, own_folder,
                 places[i]);
        if (access(sim->program, X_OK) == 0)
            return true;
    }
    return false;
}

bool up_sim_find(struct up_sim *sim, struct err *e)
{
    char own_path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", own_path, sizeof own_path - 1);

    if (len < 0)
        return err_errno(e, ERR_FATAL, "/proc/self/exe");
    own_path[len] = '\0';
    const char *folder = dirname(own_path);
    if (!find_program(sim, folder))
        return err_set(e, ERR_FATAL, "--meters needs enerlink-sim beside %s/enerlink", folder);
    find_traces(sim, folder);
    return true;
}

/* A day of history at the first start, what was missed at later ones; a few meters live
 * recorded days. */
static size_t add_demo(struct up_sim *sim, size_t n, long meters)
{
    sim->argv[n++] = "--backfill=24h";
    sim->argv[n++] = "--backfill-step=60";
    sim->argv[n++] = "--backfill-gap";
    if (!*sim->traces) {
        log_warn("no recorded days found; every simulated meter lives an invented one");
        return n;
    }
    snprintf(sim->load, sizeof sim->load, "%.*s/%s", PATH_MAX - NAME_ROOM, sim->traces, load_name);
    snprintf(sim->solar, sizeof sim->solar, "%.*s/%s", PATH_MAX - NAME_ROOM, sim->traces,
             solar_name);
    snprintf(sim->replay_meters, sizeof sim->replay_meters, "%ld",
             meters < REPLAY_METERS_MOST ? meters : REPLAY_METERS_MOST);
    sim->argv[n++] = "--replay-load";
    sim->argv[n++] = sim->load;
    sim->argv[n++] = "--replay-solar";
    sim->argv[n++] = sim->solar;
    sim->argv[n++] = "--replay-meters";
    sim->argv[n++] = sim->replay_meters;
    return n;
}

void up_sim_describe(struct up_sim *sim, const struct up_dir *d, const struct up_options *o)
{
    size_t n = 0;

    snprintf(sim->meters, sizeof sim->meters, "%ld", o->meters);
    up_dir_path(d, "sim.state", sim->state);
    sim->argv[n++] = "enerlink-sim";
    sim->argv[n++] = "--meters";
    sim->argv[n++] = sim->meters;
    sim->argv[n++] = "--state";
    sim->argv[n++] = sim->state;
    if (o->demo)
        n = add_demo(sim, n, o->meters);
    sim->service = (struct up_service){.name = "sim",
                                       .program = sim->program,
                                       .argv = sim->argv,
                                       .stop_signal = SIGTERM,
                                       .stop_ms = STOP_MS};
}
