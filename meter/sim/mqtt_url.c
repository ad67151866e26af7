#include "meter/sim/mqtt_url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORM "expected mqtt://user:password@host:port"

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c | 0x20) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Copy text with %XX decoded. False when it is too long or an escape is none. */
static bool decode(const char *from, size_t len, char *to, size_t size)
{
    const char *end = from + len;

    while (from < end && size > 1) {
        char c = *from++;
        if (c == '%') {
            if (end - from < 2 || hex_digit(from[0]) < 0 || hex_digit(from[1]) < 0)
                return false;
            c = (char)(hex_digit(from[0]) * 16 + hex_digit(from[1]));
            from += 2;
        }
        *to++ = c;
        size--;
    }
    *to = '\0';
    return from == end;
}

static bool parse_credentials(const char *s, size_t len, struct mqtt_url *url)
{
    const char *colon = memchr(s, ':', len);
    size_t user_len = colon ? (size_t)(colon - s) : len;

    return decode(s, user_len, url->user, sizeof url->user) &&
           (!colon || decode(colon + 1, len - user_len - 1, url->password, sizeof url->password));
}

static bool parse_port(const char *s, struct mqtt_url *url)
{
    char *end;

    if (*s != ':')
        return *s == '\0';
    long port = strtol(s + 1, &end, 10);
    url->port = (int)port;
    return end != s + 1 && *end == '\0' && port > 0 && port < 65536;
}

static bool parse_host(const char *s, struct mqtt_url *url)
{
    const char *end = *s == '[' ? strchr(++s, ']') : s + strcspn(s, ":");

    if (!end || end == s || !decode(s, (size_t)(end - s), url->host, sizeof url->host))
        return false;
    return parse_port(*end == ']' ? end + 1 : end, url);
}

bool mqtt_url_parse(const char *text, struct mqtt_url *url, struct err *e)
{
    char rest[1024];

    *url = (struct mqtt_url){.tls = strncmp(text, "mqtts://", 8) == 0};
    url->port = url->tls ? 8883 : 1883;
    if (!url->tls && strncmp(text, "mqtt://", 7) != 0)
        return err_set(e, ERR_FATAL, "broker URL: " FORM);
    snprintf(rest, sizeof rest, "%s", strstr(text, "://") + 3);
    rest[strcspn(rest, "/ \r\n")] = '\0';
    char *at = strrchr(rest, '@');
    bool ok = (!at || parse_credentials(rest, (size_t)(at - rest), url)) &&
              parse_host(at ? at + 1 : rest, url);
    explicit_bzero(rest, sizeof rest);
    return ok || err_set(e, ERR_FATAL, "broker URL: " FORM);
}

static bool read_file(const char *path, char *text, size_t size, struct err *e)
{
    FILE *f = fopen(path, "re");

    if (!f)
        return err_errno(e, ERR_FATAL, "ENERLINK_MQTT_URL_FILE %s", path);
    bool ok = fgets(text, (int)size, f) != NULL;
    fclose(f);
    return ok || err_set(e, ERR_FATAL, "ENERLINK_MQTT_URL_FILE %s is empty", path);
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;

    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
}

static bool plain_allowed(const struct mqtt_url *url)
{
    const char *allow = getenv("ENERLINK_ALLOW_PLAIN");

    return url->tls || is_loopback(url->host) || (allow && strcmp(allow, "yes") == 0);
}

bool mqtt_url_from_environment(struct mqtt_url *url, struct err *e)
{
    char text[1024] = "";
    const char *value = getenv("ENERLINK_MQTT_URL"), *path = getenv("ENERLINK_MQTT_URL_FILE");

    if (value)
        snprintf(text, sizeof text, "%s", value);
    else if (path && !read_file(path, text, sizeof text, e))
        return false;
    if (!*text)
        return err_set(e, ERR_FATAL,
                       "no broker: set ENERLINK_MQTT_URL (" FORM "), or use --dry-run");
    bool ok = mqtt_url_parse(text, url, e);
    explicit_bzero(text, sizeof text);
    if (ok && !plain_allowed(url))
        return err_set(e, ERR_FATAL,
                       "the connection to %s would not be encrypted; use mqtts://, or set "
                       "ENERLINK_ALLOW_PLAIN=yes",
                       url->host);
    return ok;
}
