#include "app/plain.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "base/url.h"

enum { HOST_SIZE = 256 };

static bool refuse(const char *name, const char *host, struct err *e)
{
    return err_set(e, ERR_FATAL,
                   "%s: the connection to %s would not be encrypted; use an encrypted one, or set "
                   "ENERLINK_ALLOW_PLAIN=yes",
                   name, *host ? host : "every address");
}

static bool check_url(const char *name, const char *text, enum url_kind kind, struct err *e)
{
    struct url url;

    if (!url_parse(text, kind, &url, e))
        return err_prefix(e, "%s: ", name);
    bool ok = !url_is_exposed(&url) || refuse(name, url.host, e);
    url_clear(&url);
    return ok;
}

static bool check_brokers(const char *list, struct err *e)
{
    bool ok = true;

    for (char *one; ok && (one = url_list_next(&list)); free(one))
        ok = check_url("ENERLINK_MQTT_URL", one, URL_MQTT, e);
    return ok;
}

static const char *pg_option(const PQconninfoOption *options, const char *keyword,
                             const char *variable)
{
    for (const PQconninfoOption *o = options; o->keyword; o++)
        if (strcmp(o->keyword, keyword) == 0 && o->val && *o->val)
            return o->val;
    const char *value = getenv(variable);
    return value ? value : "";
}

static bool check_pg_hosts(const char *hosts, struct err *e)
{
    char host[HOST_SIZE];

    while (*hosts) {
        size_t len = strcspn(hosts, ",");
        if (len >= sizeof host)
            return err_set(e, ERR_FATAL, "ENERLINK_PG_URL: the host name is too long");
        memcpy(host, hosts, len);
        host[len] = '\0';
        bool is_socket = *host == '/' || *host == '@' || *host == '\0';
        if (!is_socket && !url_host_is_loopback(host))
            return refuse("ENERLINK_PG_URL", host, e);
        hosts += len + (hosts[len] == ',');
    }
    return true;
}

static bool check_pg(const char *url, struct err *e)
{
    if (!*url)
        return true;
    /* libpq's own message quotes the URL, and with it the password. */
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    if (!options)
        return err_set(e, ERR_FATAL,
                       "ENERLINK_PG_URL: not of the form postgresql://user:password@host/database");
    const char *mode = pg_option(options, "sslmode", "PGSSLMODE");
    bool encrypted = strcmp(mode, "require") == 0 || strcmp(mode, "verify-ca") == 0 ||
                     strcmp(mode, "verify-full") == 0;
    const char *address = pg_option(options, "hostaddr", "PGHOSTADDR");
    const char *host = *address ? address : pg_option(options, "host", "PGHOST");
    bool ok = encrypted || check_pg_hosts(host, e);
    PQconninfoFree(options);
    return ok;
}

static bool check_listen(const char *text, struct err *e)
{
    struct url url;

    if (!url_parse_listen(text, &url, e))
        return err_prefix(e, "ENERLINK_HTTP_LISTEN: ");
    bool ok = url_host_is_loopback(url.host) || refuse("ENERLINK_HTTP_LISTEN", url.host, e);
    url_clear(&url);
    return ok;
}

bool plain_check(const struct settings *s, struct err *e)
{
    const char *redis = s->redis_url, *archive = s->archive_url;

    return s->allow_plain ||
           (check_brokers(s->mqtt_url, e) &&
            (!*redis || check_url("ENERLINK_REDIS_URL", redis, URL_REDIS, e)) &&
            (!*archive || check_url("ENERLINK_ARCHIVE_URL", archive, URL_ARCHIVE, e)) &&
            check_pg(s->pg_url, e) && check_listen(s->http_listen, e));
}
