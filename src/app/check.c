#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/connect.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/url.h"
#include "stores/history.h"
#include "stores/hot.h"

enum verdict {
    VERDICT_OK,
    VERDICT_FAIL,
    VERDICT_SKIPPED,
};

/* One connection: the text says what was found, or what to do. */
typedef enum verdict check_fn(const struct settings *s, struct err *text);

static enum verdict passed(struct err *text, const char *what)
{
    err_set(text, ERR_NONE, "%s", what);
    return VERDICT_OK;
}

static enum verdict skipped(struct err *text, const char *variable)
{
    err_set(text, ERR_NONE, "not configured (%s)", variable);
    return VERDICT_SKIPPED;
}

static enum verdict check_mqtt(const struct settings *s, struct err *text)
{
    enum { TIMEOUT_MS = 10000 };

    if (!*s->mqtt_url)
        return skipped(text, "ENERLINK_MQTT_URL");
    if (!connect_try_broker(s, s->mqtt_url, TIMEOUT_MS, text))
        return VERDICT_FAIL;
    return passed(text, "connected and subscribed");
}

static bool hot_is_sound(struct hot *hot, struct err *text)
{
    struct hot_durability durability;
    struct hot_usage usage;

    /* Giving back work that nobody took changes nothing, and shows that we may write. */
    if (!hot->ops->usage(hot, &usage, text) || !hot->ops->release(hot, 0, "check", NULL, 0, text) ||
        !hot->ops->durability(hot, &durability, text))
        return false;
    if (!durability.sound)
        return err_set(text, ERR_FATAL, "%s", durability.text);
    err_set(text, ERR_NONE, "durable, %.1f MiB in use, %llu minutes waiting",
            (double)usage.memory_bytes / (1 << 20), (unsigned long long)usage.minutes_waiting);
    return true;
}

static enum verdict check_redis(const struct settings *s, struct err *text)
{
    if (!*s->redis_url)
        return skipped(text, "ENERLINK_REDIS_URL");
    struct hot *hot = connect_hot(s, CONNECT_TOOL_TIMEOUT_MS, text);
    if (!hot)
        return VERDICT_FAIL;
    bool sound = hot_is_sound(hot, text);
    hot->ops->close(hot);
    return sound ? VERDICT_OK : VERDICT_FAIL;
}

static bool history_is_sound(struct history *history, struct err *text)
{
    struct history_durability durability;
    int64_t now_ms = clock_wall_ms(clock_system());

    /* Today's partition is made if it is missing: aggregate would do the same, and needs to. */
    if (!history->ops->check_schema(history, text) ||
        !history->ops->partitions(history, now_ms, now_ms, text) ||
        !history->ops->durability(history, &durability, text))
        return false;
    if (!durability.sound)
        return err_set(text, ERR_FATAL, "%s", durability.text);
    return true;
}

static enum verdict check_history(const struct settings *s, struct err *text)
{
    if (!*s->pg_url)
        return skipped(text, "ENERLINK_PG_URL");
    struct history *history = connect_history(s, "enerlink check", CONNECT_TOOL_TIMEOUT_MS, text);
    if (!history)
        return VERDICT_FAIL;
    bool sound = history_is_sound(history, text);
    history->ops->close(history);
    return sound ? passed(text, "durable, schema up to date") : VERDICT_FAIL;
}

/* The folder exists and takes a new file. */
static enum verdict check_folder(const char *folder, struct err *text)
{
    struct buf path;
    enum verdict verdict = VERDICT_OK;

    buf_init(&path, 0);
    buf_addf(&path, "%s/.check-XXXXXX", folder);
    int fd = mkstemp(path.data);
    if (fd < 0) {
        err_errno(text, ERR_FATAL, "cannot write into %s", folder);
        verdict = VERDICT_FAIL;
    } else {
        close(fd);
        unlink(path.data);
        passed(text, "folder can be written");
    }
    buf_clear(&path);
    return verdict;
}

static enum verdict check_archive(const struct settings *s, struct err *text)
{
    struct url url;
    enum verdict verdict = VERDICT_SKIPPED;

    if (!*s->archive_url)
        return skipped(text, "ENERLINK_ARCHIVE_URL");
    if (!url_parse(s->archive_url, URL_ARCHIVE, &url, text))
        return VERDICT_FAIL;
    if (*url.host)
        err_set(text, ERR_NONE, "only file:// archives are tested");
    else
        verdict = check_folder(url.path, text);
    url_clear(&url);
    return verdict;
}

static enum verdict check_timezone(const struct settings *s, struct err *text)
{
    char path[512];

    snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", s->timezone);
    if (strstr(s->timezone, "..") || !*s->timezone || access(path, R_OK) < 0) {
        err_set(text, ERR_FATAL, "ENERLINK_TIMEZONE: no zone \"%s\" in /usr/share/zoneinfo",
                s->timezone);
        return VERDICT_FAIL;
    }
    return passed(text, s->timezone);
}

static const struct {
    const char *name;
    check_fn *run;
} check_table[] = {
    {"mqtt", check_mqtt},       {"redis", check_redis},       {"postgresql", check_history},
    {"archive", check_archive}, {"timezone", check_timezone},
};

int command_check(const struct settings *s)
{
    static const char *const words[] = {
        [VERDICT_OK] = "ok", [VERDICT_FAIL] = "FAIL", [VERDICT_SKIPPED] = "-"};
    int status = EXIT_DONE;

    for (size_t i = 0; i < sizeof check_table / sizeof *check_table; i++) {
        struct err text = {0};
        enum verdict verdict = check_table[i].run(s, &text);
        printf("%-4s %-10s %s\n", words[verdict], check_table[i].name, text.text);
        fflush(stdout);
        if (verdict == VERDICT_FAIL)
            status = EXIT_FAILED;
    }
    return status;
}
