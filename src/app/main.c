/*
 * enerlink COMMAND [OPERAND] [--flag value ...]: one program, one table of subcommands.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/plain.h"
#include "app/settings.h"
#include "app/up.h"
#include "base/log.h"

/* Flags that are not settings. */
enum flag {
    FLAG_CONFIG,
    FLAG_DIR,
    FLAG_METERS,
    FLAG_HTTP_PORT,
    FLAG_MQTT_PORT,
    FLAG_DEMO,
    FLAG_EXAMPLE,
    FLAG_COUNT,
};

static const struct {
    const char *name;
    const char *value; /* what follows it, for help; NULL: nothing does */
    const char *text;
} flag_table[FLAG_COUNT] = {
    [FLAG_CONFIG] = {"--config", "FILE", "configuration file"},
    [FLAG_DIR] = {"--dir", "DIR",
                  "where state is kept: /var/lib/enerlink (root) or "
                  "~/.local/share/enerlink"},
    [FLAG_METERS] = {"--meters", "N", "add N simulated meters"},
    [FLAG_HTTP_PORT] = {"--http-port", "P", "port of the API and the dashboard; 0: any"},
    [FLAG_MQTT_PORT] = {"--mqtt-port", "P", "port of the private broker; 0: any"},
    [FLAG_DEMO] = {"--demo", NULL, "give the simulated meters a day of history at the first start"},
    [FLAG_EXAMPLE] = {"--example", NULL, "print enerlink.conf.example instead"},
};

#define BIT(flag) (1u << (flag))

enum { SETTING_FLAGS_MOST = 64 };

struct invocation {
    const struct command *command;
    const char *operand;
    const char *value[FLAG_COUNT]; /* NULL: not given; "" for a flag without value */
    struct settings_flag setting_flags[SETTING_FLAGS_MOST];
    size_t n_setting_flags;
    struct settings settings;
};

struct command {
    const char *name;
    const char *operand; /* NULL: takes none */
    bool operand_optional;
    unsigned flags; /* those of flag_table it takes; 0: no settings either */
    const char *text;
    int (*run)(struct invocation *in);
};

static int run_ingest(struct invocation *in)
{
    return command_ingest(&in->settings);
}

static int run_aggregate(struct invocation *in)
{
    return command_aggregate(&in->settings);
}

static int run_api(struct invocation *in)
{
    return command_api(&in->settings);
}

static int run_migrate(struct invocation *in)
{
    return command_migrate(&in->settings);
}

static int run_check(struct invocation *in)
{
    settings_warn_unknown();
    return command_check(&in->settings);
}

static int run_inspect(struct invocation *in)
{
    return command_inspect(&in->settings, in->operand);
}

static int usage_error(const char *fmt, ...) PRINTF(1, 2);

static int usage_error(const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log_warn("%s; \"enerlink help\" tells more", text);
    return EXIT_USAGE;
}

/* The number in a flag's value: -1 when the flag was not given, -2 when it is none up to most. */
static long flag_number(const struct invocation *in, enum flag flag, long most)
{
    const char *text = in->value[flag];
    char *end;

    if (!text)
        return -1;
    long n = strtol(text, &end, 10);
    return *text && *end == '\0' && n >= 0 && n <= most ? n : -2;
}

static int run_up(struct invocation *in)
{
    const long meters_most = 1000000, port_most = 65535;
    struct up_options o = {.dir = in->value[FLAG_DIR],
                           .meters = flag_number(in, FLAG_METERS, meters_most),
                           .http_port = flag_number(in, FLAG_HTTP_PORT, port_most),
                           .mqtt_port = flag_number(in, FLAG_MQTT_PORT, port_most),
                           .demo = in->value[FLAG_DEMO] != NULL};

    if (o.meters == -2)
        return usage_error("--meters: \"%s\" is no number of meters", in->value[FLAG_METERS]);
    if (o.http_port == -2)
        return usage_error("--http-port: \"%s\" is no port", in->value[FLAG_HTTP_PORT]);
    if (o.mqtt_port == -2)
        return usage_error("--mqtt-port: \"%s\" is no port", in->value[FLAG_MQTT_PORT]);
    if (o.mqtt_port >= 0 && *in->settings.mqtt_url)
        return usage_error("--mqtt-port is for the private broker, but ENERLINK_MQTT_URL is set");
    settings_warn_unknown();
    return up_run(&in->settings, &o);
}

static int run_settings(struct invocation *in)
{
    struct buf text;

    buf_init(&text, 0);
    if (in->value[FLAG_EXAMPLE]) {
        settings_write_example(&text);
    } else {
        settings_warn_unknown();
        settings_write_table(&in->settings, &text);
    }
    fwrite(text.data, 1, text.len, stdout);
    buf_clear(&text);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int run_version(struct invocation *in)
{
    (void)in;
    printf("enerlink %s\n", ENERLINK_VERSION);
    return EXIT_DONE;
}

static int run_help(struct invocation *in);

static const struct command command_table[] = {
    {"up", NULL, false,
     BIT(FLAG_CONFIG) | BIT(FLAG_DIR) | BIT(FLAG_METERS) | BIT(FLAG_HTTP_PORT) |
         BIT(FLAG_MQTT_PORT) | BIT(FLAG_DEMO),
     "run everything on this machine, with private servers where no URL is set", run_up},
    {"ingest", NULL, false, BIT(FLAG_CONFIG), "stage: broker to Redis", run_ingest},
    {"aggregate", NULL, false, BIT(FLAG_CONFIG), "stage: Redis to PostgreSQL, every minute",
     run_aggregate},
    {"api", NULL, false, BIT(FLAG_CONFIG), "stage: HTTP API, live stream, dashboard", run_api},
    {"migrate", NULL, false, BIT(FLAG_CONFIG), "bring the database to this program's version",
     run_migrate},
    {"check", NULL, false, BIT(FLAG_CONFIG), "test every configured connection and its durability",
     run_check},
    {"inspect", "METER", false, BIT(FLAG_CONFIG), "show what Redis holds of a meter", run_inspect},
    {"settings", NULL, false, BIT(FLAG_CONFIG) | BIT(FLAG_EXAMPLE),
     "list every setting, its value and where it comes from", run_settings},
    {"version", NULL, false, 0, "print the version", run_version},
    {"help", "COMMAND", true, 0, "tell about a command", run_help},
};

enum { COMMANDS = sizeof command_table / sizeof *command_table };

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(command_table[i].name, name) == 0)
            return &command_table[i];
    return NULL;
}

static void print_commands(FILE *out)
{
    fprintf(out, "usage: enerlink COMMAND [--flag value ...]\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-10s %-8s %s\n", command_table[i].name,
                command_table[i].operand ? command_table[i].operand : "", command_table[i].text);
    fprintf(out, "\nEvery setting without secrets is a flag too (\"enerlink settings\": "
                 "ENERLINK_LATE_DAYS is --late-days).\n"
                 "Exit status: 0 done, 1 failed or unsound, 2 usage.\n");
}

static int run_help(struct invocation *in)
{
    if (!in->operand) {
        print_commands(stdout);
        return EXIT_DONE;
    }
    const struct command *c = find_command(in->operand);
    if (!c)
        return usage_error("no command \"%s\"", in->operand);
    printf("usage: enerlink %s%s%s%s\n\n%s\n", c->name, c->operand ? " " : "",
           c->operand ? c->operand : "", c->flags ? " [--flag value ...]" : "", c->text);
    for (enum flag f = 0; f < FLAG_COUNT; f++)
        if (c->flags & BIT(f))
            printf("  %-12s %-5s %s\n", flag_table[f].name,
                   flag_table[f].value ? flag_table[f].value : "", flag_table[f].text);
    return EXIT_DONE;
}

/* ---- The command line --------------------------------------------------------------------- */

/* Which flag of the command is arg ("--dir" or "--dir=...")? FLAG_COUNT: none. */
static enum flag find_flag(const struct command *c, const char *name)
{
    for (enum flag f = 0; f < FLAG_COUNT; f++)
        if ((c->flags & BIT(f)) && strcmp(flag_table[f].name, name) == 0)
            return f;
    return FLAG_COUNT;
}

/* Take the flag at argv[*i], and its value, which may be the next argument. 0 or EXIT_USAGE. */
static int take_flag(struct invocation *in, char **argv, int *i)
{
    char name[64];
    const char *equals = strchr(argv[*i], '=');
    size_t name_len = equals ? (size_t)(equals - argv[*i]) : strlen(argv[*i]);

    if (name_len >= sizeof name)
        return usage_error("unknown flag %.60s", argv[*i]);
    memcpy(name, argv[*i], name_len);
    name[name_len] = '\0';

    enum flag own = find_flag(in->command, name);
    bool is_setting = own == FLAG_COUNT && in->command->flags && settings_has_flag(name);
    if (own == FLAG_COUNT && !is_setting)
        return usage_error("unknown flag %s", name);
    bool takes_value = is_setting || flag_table[own].value;
    if (!takes_value && equals)
        return usage_error("%s takes no value", name);
    const char *value = equals ? equals + 1 : takes_value ? argv[++*i] : "";
    if (!value)
        return usage_error("%s needs a value", name);
    if (is_setting) {
        if (in->n_setting_flags == SETTING_FLAGS_MOST)
            return usage_error("too many flags at %s", name);
        in->setting_flags[in->n_setting_flags++] = (struct settings_flag){
            .name = equals ? strndup(name, name_len) : argv[*i - 1], .value = value};
        return 0;
    }
    if (in->value[own])
        return usage_error("%s is given twice", name);
    in->value[own] = value;
    return 0;
}

static bool is_help(const char *arg)
{
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

static int take_arguments(struct invocation *in, char **argv)
{
    for (int i = 0; argv[i]; i++) {
        if (is_help(argv[i])) {
            in->operand = in->command->name;
            in->command = find_command("help");
            return 0;
        }
        if (argv[i][0] == '-') {
            int status = take_flag(in, argv, &i);
            if (status)
                return status;
            continue;
        }
        if (!in->command->operand || in->operand)
            return usage_error("unexpected argument \"%s\"", argv[i]);
        in->operand = argv[i];
    }
    if (in->command->operand && !in->command->operand_optional && !in->operand)
        return usage_error("a %s is needed", in->command->operand);
    return 0;
}

static int run(struct invocation *in)
{
    struct err e;

    if (!in->command->flags)
        return in->command->run(in);
    if (!settings_load(&in->settings, in->setting_flags, in->n_setting_flags,
                       in->value[FLAG_CONFIG], &e) ||
        !plain_check(&in->settings, &e)) {
        log_warn("%s", e.text);
        return EXIT_USAGE;
    }
    return in->command->run(in);
}

int main(int argc, char **argv)
{
    struct invocation in = {0};

    if (argc < 2) {
        print_commands(stderr);
        return EXIT_USAGE;
    }
    const char *name = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
    in.command = find_command(is_help(name) ? "help" : name);
    if (!in.command)
        return usage_error("no command \"%s\"", name);
    log_init(in.command->name);
    int status = take_arguments(&in, argv + 2);
    if (status == 0)
        status = run(&in);
    settings_clear(&in.settings);
    return status;
}
