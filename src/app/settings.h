/*
 * What the program was told: one table (settings.def), three sources.
 *
 * A flag counts more than the environment, the environment more than enerlink.conf. In the
 * environment an empty value counts as not given. A value that may hold a password is never shown,
 * has no flag, and can be given as <NAME>_FILE: the path of a file whose first line it is.
 */
#ifndef APP_SETTINGS_H
#define APP_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define SETTING_MEMBER_TEXT const char *
#define SETTING_MEMBER_CHOICE const char *
#define SETTING_MEMBER_NUMBER int64_t
#define SETTING_MEMBER_SWITCH bool

enum setting {
#define SETTING(id, name, kind, limits, fallback, secrecy, text) SETTING_##id,
#include "app/settings.def"
#undef SETTING
    SETTING_COUNT,
};

struct settings {
#define SETTING(id, name, kind, limits, fallback, secrecy, text) SETTING_MEMBER_##kind id;
#include "app/settings.def"
#undef SETTING
    char *given[SETTING_COUNT];  /* the text it came from; NULL where the fallback holds */
    char *origin[SETTING_COUNT]; /* "--redis-url-file", "environment", "enerlink.conf:12" */
    char *conf_path;             /* the configuration file that was read, NULL: none */
};

/* One flag of the command line: --name value. */
struct settings_flag {
    const char *name; /* with the two dashes */
    const char *value;
};

/* True when --name is the flag of a setting (or of a <NAME>_FILE). */
bool settings_has_flag(const char *name);

/*
 * Read all sources. conf_path NULL: $ENERLINK_CONFIG, else ./enerlink.conf, else
 * /etc/enerlink/enerlink.conf, else none. False and *e, which names setting and source, when
 * something cannot be used. *s is to be cleared in either case.
 */
bool settings_load(struct settings *s, const struct settings_flag *flags, size_t n,
                   const char *conf_path, struct err *e) MUST_CHECK;
void settings_clear(struct settings *s);

/* Change one setting later; origin says in a word or two by whom. */
bool settings_set(struct settings *s, enum setting id, const char *value, const char *origin,
                  struct err *e) MUST_CHECK;

/* Put everything into this process's environment, so that a program exec'd from here has it. */
void settings_export(const struct settings *s);

/* Warn of every ENERLINK_... variable that no setting has. */
void settings_warn_unknown(void);

/* "enerlink settings": a table of all settings, secrets only as set or unset. */
void settings_write_table(const struct settings *s, struct buf *b);

/* enerlink.conf.example, whole. */
void settings_write_example(struct buf *b);

#endif
