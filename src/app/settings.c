#include "app/settings.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

enum setting_kind {
    KIND_TEXT,
    KIND_NUMBER,
    KIND_CHOICE,
    KIND_SWITCH,
};

enum setting_secrecy {
    SECRECY_OPEN,
    SECRECY_SECRET,
};

enum { WORDS_MOST = 4, NAME_SIZE = 64, SECRET_FILE_MOST = 8192 };

struct setting_info {
    const char *name;
    enum setting_kind kind;
    int64_t lo, hi;
    const char *words[WORDS_MOST];
    const char *fallback;
    enum setting_secrecy secrecy;
    const char *text;
    size_t offset;
};

#define RANGE(low, high) .lo = (low), .hi = (high)
#define WORDS(...) .words = {__VA_ARGS__}
#define ANY .lo = 0

static const struct setting_info setting_table[SETTING_COUNT] = {
#define SETTING(id_, name_, kind_, limits_, fallback_, secrecy_, text_)                            \
    [SETTING_##id_] = {.name = name_,                                                              \
                       .kind = KIND_##kind_,                                                       \
                       limits_,                                                                    \
                       .fallback = fallback_,                                                      \
                       .secrecy = SECRECY_##secrecy_,                                              \
                       .text = text_,                                                              \
                       .offset = offsetof(struct settings, id_)},
#include "app/settings.def"
#undef SETTING
};

/* ---- The three spellings of a name -------------------------------------------------------- */

enum spelling {
    IN_ENVIRONMENT, /* ENERLINK_REDIS_URL */
    IN_FILE,        /* redis_url */
    AS_FLAG,        /* --redis-url */
};

static const char *spell(enum setting id, bool of_file, enum spelling how, char out[NAME_SIZE])
{
    static const char *const prefixes[] = {
        [IN_ENVIRONMENT] = "ENERLINK_", [IN_FILE] = "", [AS_FLAG] = "--"};
    snprintf(out, NAME_SIZE, "%s%s%s", prefixes[how], setting_table[id].name,
             of_file ? "_FILE" : "");

    for (char *c = out; *c && how != IN_ENVIRONMENT; c++)
        *c = *c == '_' && how == AS_FLAG ? '-' : (char)tolower((unsigned char)*c);
    return out;
}

/* Which setting is spelled so? SETTING_COUNT: none. *of_file: it is the _FILE form. */
static enum setting find(const char *name, enum spelling how, bool *of_file)
{
    char spelled[NAME_SIZE];

    for (enum setting id = 0; id < SETTING_COUNT; id++) {
        bool secret = setting_table[id].secrecy == SECRECY_SECRET;
        for (int form = 0; form <= secret; form++) {
            if (form == 0 && secret && how == AS_FLAG)
                continue;
            if (strcmp(spell(id, form, how, spelled), name) == 0) {
                *of_file = form;
                return id;
            }
        }
    }
    return SETTING_COUNT;
}

bool settings_has_flag(const char *name)
{
    bool of_file;

    return find(name, AS_FLAG, &of_file) < SETTING_COUNT;
}

/* ---- One value ---------------------------------------------------------------------------- */

static bool read_number(const struct setting_info *info, const char *value, int64_t *out)
{
    char *end;

    if (!isdigit((unsigned char)value[0]) && value[0] != '-')
        return false;
    errno = 0;
    *out = strtoll(value, &end, 10);
    return errno == 0 && *end == '\0' && *out >= info->lo && *out <= info->hi;
}

static bool read_switch(const char *value, bool *out)
{
    static const struct {
        const char *word;
        bool on;
    } words[] = {{"yes", true}, {"true", true},   {"on", true},   {"1", true},
                 {"no", false}, {"false", false}, {"off", false}, {"0", false}};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, value) == 0) {
            *out = words[i].on;
            return true;
        }
    return false;
}

static const char *read_choice(const struct setting_info *info, const char *value)
{
    for (size_t i = 0; i < WORDS_MOST && info->words[i]; i++)
        if (strcmp(info->words[i], value) == 0)
            return info->words[i];
    return NULL;
}

static void write_expected(const struct setting_info *info, char *out, size_t size)
{
    switch (info->kind) {
    case KIND_NUMBER:
        snprintf(out, size, "a whole number from %lld to %lld", (long long)info->lo,
                 (long long)info->hi);
        return;
    case KIND_CHOICE:
        out[0] = '\0';
        for (size_t i = 0; i < WORDS_MOST && info->words[i]; i++) {
            size_t used = strlen(out);
            snprintf(out + used, size - used, "%s%s", i ? " or " : "", info->words[i]);
        }
        return;
    case KIND_SWITCH:
        snprintf(out, size, "yes or no");
        return;
    case KIND_TEXT:
        snprintf(out, size, "text");
        return;
    }
}

/* Put value into the member of s. The text must live as long as s. */
static bool put_member(struct settings *s, enum setting id, const char *value)
{
    const struct setting_info *info = &setting_table[id];
    void *member = (char *)s + info->offset;

    switch (info->kind) {
    case KIND_TEXT:
        *(const char **)member = value;
        return true;
    case KIND_NUMBER:
        return read_number(info, value, member);
    case KIND_SWITCH:
        return read_switch(value, member);
    case KIND_CHOICE: {
        const char *word = read_choice(info, value);
        if (word)
            *(const char **)member = word;
        return word != NULL;
    }
    }
    return false;
}

bool settings_set(struct settings *s, enum setting id, const char *value, const char *origin,
                  struct err *e)
{
    char *copy = xstrdup(value);
    char name[NAME_SIZE], expected[128];

    if (!put_member(s, id, copy)) {
        free(copy);
        write_expected(&setting_table[id], expected, sizeof expected);
        return err_set(e, ERR_FATAL, "%s (%s): \"%.60s\" is not %s",
                       spell(id, false, IN_ENVIRONMENT, name), origin, value, expected);
    }
    free(s->given[id]);
    free(s->origin[id]);
    s->given[id] = copy;
    s->origin[id] = xstrdup(origin);
    return true;
}

/* ---- Sources ------------------------------------------------------------------------------ */

/* First line of the file at path, into out. */
static bool read_first_line(const char *path, char *out, size_t size, struct err *e)
{
    FILE *f = fopen(path, "re");

    if (!f)
        return err_errno(e, ERR_FATAL, "%s", path);
    char *line = fgets(out, (int)size, f);
    bool read_error = ferror(f);
    fclose(f);
    if (!line)
        return err_set(e, ERR_FATAL, "%s: %s", path, read_error ? "cannot be read" : "is empty");
    size_t len = strcspn(line, "\r\n");
    if (len == size - 1)
        return err_set(e, ERR_FATAL, "%s: its first line is longer than %zu bytes", path, size - 2);
    line[len] = '\0';
    return true;
}

/* Take one value (or the path of the file that holds it) from a source, once. */
static bool take(struct settings *s, enum setting id, bool of_file, const char *value,
                 const char *origin, struct err *e)
{
    char text[SECRET_FILE_MOST], name[NAME_SIZE];

    spell(id, of_file, IN_ENVIRONMENT, name);
    if (s->given[id] && strcmp(s->origin[id], origin) == 0)
        return err_set(e, ERR_FATAL, "%s (%s): given twice", name, origin);
    if (!of_file)
        return settings_set(s, id, value, origin, e);
    if (!read_first_line(value, text, sizeof text, e))
        return err_prefix(e, "%s (%s): ", name, origin);
    return settings_set(s, id, text, origin, e);
}

struct conf_reader {
    struct settings *s;
    FILE *file;
    const char *path;
    int line; /* the one read last */
    int taken_at[SETTING_COUNT];
    bool failed;
    struct err *e;
};

/* inih cuts longer lines into pieces and reads each as a line of its own: refuse them instead. */
static char *read_conf_line(char *out, int size, void *ctx)
{
    struct conf_reader *r = ctx;

    if (r->failed || !fgets(out, size, r->file))
        return NULL;
    r->line++;
    if (strlen(out) == (size_t)size - 1 && out[size - 2] != '\n') {
        r->failed = true;
        err_set(r->e, ERR_FATAL,
                "%s:%d: longer than %d bytes; put the value into a file and name it with ..._file",
                r->path, r->line, size - 2);
        return NULL;
    }
    return out;
}

static bool take_conf_value(struct conf_reader *r, const char *section, const char *key,
                            const char *value)
{
    char origin[512];
    bool of_file;

    if (*section)
        return err_set(r->e, ERR_FATAL, "%s:%d: sections ([%s]) are not used here", r->path,
                       r->line, section);
    enum setting id = find(key, IN_FILE, &of_file);
    if (id == SETTING_COUNT)
        return err_set(r->e, ERR_FATAL,
                       "%s:%d: unknown key \"%s\"; \"enerlink settings --example\" lists them all",
                       r->path, r->line, key);
    if (r->taken_at[id])
        return err_set(r->e, ERR_FATAL, "%s:%d: %s is given already in line %d", r->path, r->line,
                       key, r->taken_at[id]);
    r->taken_at[id] = r->line;
    snprintf(origin, sizeof origin, "%s:%d", r->path, r->line);
    return take(r->s, id, of_file, value, origin, r->e);
}

static int on_conf_value(void *ctx, const char *section, const char *key, const char *value)
{
    struct conf_reader *r = ctx;

    if (!r->failed)
        r->failed = !take_conf_value(r, section, key, value);
    return !r->failed;
}

static bool load_conf(struct settings *s, const char *path, struct err *e)
{
    struct conf_reader r = {.s = s, .path = path, .e = e};

    r.file = fopen(path, "re");
    if (!r.file)
        return err_errno(e, ERR_FATAL, "%s", path);
    int bad_line = ini_parse_stream(read_conf_line, &r, on_conf_value, &r);
    bool read_error = ferror(r.file);
    fclose(r.file);
    if (r.failed)
        return false;
    if (read_error)
        return err_set(e, ERR_FATAL, "%s: cannot be read", path);
    if (bad_line)
        return err_set(e, ERR_FATAL, "%s:%d: expected \"key = value\"", path, bad_line);
    return true;
}

static bool load_environment(struct settings *s, struct err *e)
{
    char name[NAME_SIZE];

    for (enum setting id = 0; id < SETTING_COUNT; id++)
        for (int of_file = 0; of_file <= (setting_table[id].secrecy == SECRECY_SECRET); of_file++) {
            const char *value = getenv(spell(id, of_file, IN_ENVIRONMENT, name));
            if (value && *value && !take(s, id, of_file, value, "environment", e))
                return false;
        }
    return true;
}

static bool load_flags(struct settings *s, const struct settings_flag *flags, size_t n,
                       struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        bool of_file;
        enum setting id = find(flags[i].name, AS_FLAG, &of_file);
        if (id == SETTING_COUNT)
            return err_set(e, ERR_FATAL, "%s: no such flag", flags[i].name);
        if (!take(s, id, of_file, flags[i].value, flags[i].name, e))
            return false;
    }
    return true;
}

static const char *find_conf(const char *asked)
{
    static const char *const usual[] = {"enerlink.conf", "/etc/enerlink/enerlink.conf"};
    const char *named = getenv("ENERLINK_CONFIG");

    if (asked)
        return asked;
    if (named && *named)
        return named;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (access(usual[i], F_OK) == 0)
            return usual[i];
    return NULL;
}

bool settings_load(struct settings *s, const struct settings_flag *flags, size_t n,
                   const char *conf_path, struct err *e)
{
    *s = (struct settings){0};
    for (enum setting id = 0; id < SETTING_COUNT; id++)
        assert(put_member(s, id, setting_table[id].fallback));

    const char *path = find_conf(conf_path);
    if (path) {
        s->conf_path = xstrdup(path);
        if (!load_conf(s, path, e))
            return false;
    }
    return load_environment(s, e) && load_flags(s, flags, n, e);
}

void settings_clear(struct settings *s)
{
    for (enum setting id = 0; id < SETTING_COUNT; id++) {
        free(s->given[id]);
        free(s->origin[id]);
    }
    free(s->conf_path);
    *s = (struct settings){0};
}

void settings_export(const struct settings *s)
{
    char name[NAME_SIZE];

    for (enum setting id = 0; id < SETTING_COUNT; id++) {
        unsetenv(spell(id, true, IN_ENVIRONMENT, name));
        spell(id, false, IN_ENVIRONMENT, name);
        if (s->given[id])
            setenv(name, s->given[id], 1);
        else
            unsetenv(name);
    }
    /* All of it is in the environment now; a file must not add to that. */
    setenv("ENERLINK_CONFIG", "/dev/null", 1);
}

void settings_warn_unknown(void)
{
    static const char prefix[] = "ENERLINK_";
    static const char *const others[] = {"ENERLINK_CONFIG", "ENERLINK_DEBUG"};

    for (char **at = environ; *at; at++) {
        char name[NAME_SIZE];
        bool of_file;
        if (strncmp(*at, prefix, sizeof prefix - 1) != 0)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*at, "="), *at);
        bool known = find(name, IN_ENVIRONMENT, &of_file) < SETTING_COUNT;
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            known = known || strcmp(others[i], name) == 0;
        if (!known)
            log_warn("%s in the environment is no setting; \"enerlink settings\" lists them", name);
    }
}

/* ---- Tables for a person ------------------------------------------------------------------ */

void settings_write_table(const struct settings *s, struct buf *b)
{
    char name[NAME_SIZE];

    for (enum setting id = 0; id < SETTING_COUNT; id++) {
        const struct setting_info *info = &setting_table[id];
        const char *value = s->given[id] ? s->given[id] : info->fallback;
        const char *shown = *value ? value : "-";
        if (info->secrecy == SECRECY_SECRET)
            shown = *value ? "set" : "unset";
        buf_addf(b, "%-27s %-20s %-16s %s\n", spell(id, false, IN_ENVIRONMENT, name), shown,
                 s->origin[id] ? s->origin[id] : "default", info->text);
    }
}

void settings_write_example(struct buf *b)
{
    char name[NAME_SIZE], expected[128];

    buf_adds(b, "# Settings of EnerLink, each with its default. Read from the path in --config or\n"
                "# ENERLINK_CONFIG, else ./enerlink.conf, else /etc/enerlink/enerlink.conf.\n"
                "# A flag (--http-listen) and the environment (ENERLINK_HTTP_LISTEN) count more.\n"
                "# What may hold a password has no flag and can be kept in a file of its own:\n"
                "# redis_url_file = /etc/enerlink/redis.url\n");
    for (enum setting id = 0; id < SETTING_COUNT; id++) {
        const struct setting_info *info = &setting_table[id];
        buf_addf(b, "\n# %s", info->text);
        if (info->kind != KIND_TEXT) {
            write_expected(info, expected, sizeof expected);
            buf_addf(b, " (%s)", expected);
        }
        buf_addf(b, "\n#%s =%s%s\n", spell(id, false, IN_FILE, name), *info->fallback ? " " : "",
                 info->fallback);
    }
}
