#include "meter/sim/mqtt_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_SIZE = URL_BYTES_MOST + 3 }; /* with the end of a line */

static bool read_first_line(const char *path, char *text, size_t size, struct err *e)
{
    FILE *f = fopen(path, "re");

    if (!f)
        return err_errno(e, ERR_FATAL, "ENERLINK_MQTT_URL_FILE %s", path);
    bool ok = fgets(text, (int)size, f) != NULL;
    fclose(f);
    text[strcspn(text, "\r\n")] = '\0';
    return ok || err_set(e, ERR_FATAL, "ENERLINK_MQTT_URL_FILE %s is empty", path);
}

static bool check_plain(const struct url *url, struct err *e)
{
    const char *allow = getenv("ENERLINK_ALLOW_PLAIN");

    if (!url_is_exposed(url) || (allow && strcmp(allow, "yes") == 0))
        return true;
    return err_set(e, ERR_FATAL,
                   "the connection to %s would not be encrypted; use mqtts://, or set "
                   "ENERLINK_ALLOW_PLAIN=yes",
                   url->host);
}

bool mqtt_url_from_environment(struct url *url, struct err *e)
{
    char text[TEXT_SIZE] = "";
    const char *value = getenv("ENERLINK_MQTT_URL"), *path = getenv("ENERLINK_MQTT_URL_FILE");

    *url = (struct url){.port = 0};
    if (value)
        snprintf(text, sizeof text, "%s", value);
    else if (path && !read_first_line(path, text, sizeof text, e))
        return false;
    if (!*text)
        return err_set(e, ERR_FATAL,
                       "no broker: set ENERLINK_MQTT_URL (mqtt://user:password@host:port), or use "
                       "--dry-run");
    bool ok = url_parse(text, URL_MQTT, url, e);
    explicit_bzero(text, sizeof text);
    if (!ok)
        return err_prefix(e, "ENERLINK_MQTT_URL: ");
    if (check_plain(url, e))
        return true;
    url_clear(url);
    return false;
}
