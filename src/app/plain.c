#include "app/plain.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

bool plain_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool plain_url_host(const char *url, size_t len, char out[PLAIN_HOST_SIZE])
{
    const char *end = url + len;
    const char *scheme_end = memmem(url, len, "://", 3);
    const char *host = scheme_end ? scheme_end + 3 : url;
    const char *stop = host;

    while (stop < end && *stop != '/' && *stop != '?')
        stop++;
    const char *at = memrchr(host, '@', (size_t)(stop - host));
    if (at)
        host = at + 1;
    const char *bracket =
        host < stop && *host == '[' ? memchr(host, ']', (size_t)(stop - host)) : NULL;
    if (bracket) {
        host++;
        stop = bracket;
    } else {
        const char *colon = memrchr(host, ':', (size_t)(stop - host));
        stop = colon ? colon : stop;
    }
    size_t host_len = (size_t)(stop - host);
    if (host_len >= PLAIN_HOST_SIZE)
        return false;
    memcpy(out, host, host_len);
    out[host_len] = '\0';
    return true;
}

static bool refuse(const char *name, const char *host, struct err *e)
{
    return err_set(e, ERR_FATAL,
                   "%s: the connection to %s would not be encrypted; use an encrypted one, or set "
                   "ENERLINK_ALLOW_PLAIN=yes",
                   name, *host ? host : "every address");
}

/* Each URL of a comma-separated list that begins with this plain scheme must stay on loopback. */
static bool check_urls(const char *name, const char *urls, const char *plain_scheme, struct err *e)
{
    char host[PLAIN_HOST_SIZE];

    while (*urls) {
        size_t len = strcspn(urls, ",");
        size_t spaces = strspn(urls, " ");
        const char *url = urls + (spaces < len ? spaces : len);
        size_t url_len = len - (size_t)(url - urls);
        if (url_len && strncmp(url, plain_scheme, strlen(plain_scheme)) == 0) {
            if (!plain_url_host(url, url_len, host))
                return err_set(e, ERR_FATAL, "%s: the host name is too long", name);
            if (!plain_is_loopback(host))
                return refuse(name, host, e);
        }
        urls += len + (urls[len] == ',');
    }
    return true;
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
    char host[PLAIN_HOST_SIZE];

    while (*hosts) {
        size_t len = strcspn(hosts, ",");
        if (len >= sizeof host)
            return err_set(e, ERR_FATAL, "ENERLINK_PG_URL: the host name is too long");
        memcpy(host, hosts, len);
        host[len] = '\0';
        bool is_socket = *host == '/' || *host == '@' || *host == '\0';
        if (!is_socket && !plain_is_loopback(host))
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

static bool check_listen(const char *listen, struct err *e)
{
    char host[PLAIN_HOST_SIZE];

    if (!plain_url_host(listen, strlen(listen), host))
        return err_set(e, ERR_FATAL, "ENERLINK_HTTP_LISTEN: the host name is too long");
    return plain_is_loopback(host) || refuse("ENERLINK_HTTP_LISTEN", host, e);
}

bool plain_check(const struct settings *s, struct err *e)
{
    return s->allow_plain || (check_urls("ENERLINK_MQTT_URL", s->mqtt_url, "mqtt://", e) &&
                              check_urls("ENERLINK_REDIS_URL", s->redis_url, "redis://", e) &&
                              check_urls("ENERLINK_ARCHIVE_URL", s->archive_url, "s3+http://", e) &&
                              check_pg(s->pg_url, e) && check_listen(s->http_listen, e));
}
