#include "base/url.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define LETTERS_AND_DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

enum { HOST_BYTES_MOST = 255, PORT_MOST = 65535, NUMBER_DIGITS_MOST = 9, NUMBER_MOST = 1 << 20 };

enum login { LOGIN_NONE, LOGIN_WITH_USER, LOGIN_ANY };
enum tail { TAIL_NONE, TAIL_NUMBER, TAIL_PATH };

static const struct {
    const char *name, *form;
    enum login login;
} kinds[] = {
    [URL_MQTT] = {"MQTT", "mqtt://user:password@host:port or mqtts://...", LOGIN_WITH_USER},
    [URL_REDIS] = {"Redis", "redis://user:password@host:port/database or unix:///path", LOGIN_ANY},
    [URL_ARCHIVE] = {"archive", "s3+https://host:port/bucket, s3+http://... or file:///path",
                     LOGIN_NONE},
};

static const struct scheme {
    const char *name;
    enum url_kind kind;
    int port; /* 0: a path on this machine, without a host */
    bool encrypted;
    enum tail tail;
} schemes[] = {
    {"mqtt", URL_MQTT, 1883, false, TAIL_NONE},     {"mqtts", URL_MQTT, 8883, true, TAIL_NONE},
    {"redis", URL_REDIS, 6379, false, TAIL_NUMBER}, {"unix", URL_REDIS, 0, false, TAIL_PATH},
    {"s3+http", URL_ARCHIVE, 80, false, TAIL_PATH}, {"s3+https", URL_ARCHIVE, 443, true, TAIL_PATH},
    {"file", URL_ARCHIVE, 0, false, TAIL_PATH},
};

/* ---- Percent-encoding ----------------------------------------------------------------------- */

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)((at - digits) % 16) : -1;
}

/* Decoded copy; NULL when it is badly encoded or holds a NUL. */
static char *decode(const char *s, size_t len)
{
    char *out = xmalloc(len + 1);
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        int byte = (unsigned char)s[i];
        if (byte == '%') {
            int high = len - i > 2 ? hex_digit(s[i + 1]) : -1;
            int low = len - i > 2 ? hex_digit(s[i + 2]) : -1;
            byte = high < 0 || low < 0 ? 0 : high * 16 + low;
            i += 2;
        }
        if (byte == 0) {
            explicit_bzero(out, n);
            free(out);
            return NULL;
        }
        out[n++] = (char)byte;
    }
    out[n] = '\0';
    return out;
}

void url_add_path(struct buf *b, const char *path)
{
    static const char plain[] = LETTERS_AND_DIGITS "-._~/";

    for (; *path; path++)
        if (strchr(plain, *path))
            buf_addc(b, *path);
        else
            buf_addf(b, "%%%02X", (unsigned)(unsigned char)*path);
}

/* ---- Parts: each returns NULL, or what is wrong with it ------------------------------------- */

static const char *read_login(const char *s, size_t len, enum login login, struct url *out)
{
    const char *colon = memchr(s, ':', len);
    size_t user_len = colon ? (size_t)(colon - s) : len;

    if (login == LOGIN_NONE)
        return "has a user or password, for which there is no place in it";
    /* A list of URLs is cut at its commas before any of them is read. */
    if (memchr(s, ',', len))
        return "has a comma in its user or password";
    if (user_len > 0 && !(out->user = decode(s, user_len)))
        return "has a user that cannot be read";
    if (colon && !(out->password = decode(colon + 1, len - user_len - 1)))
        return "has a password that cannot be read";
    if (!out->user && (login == LOGIN_WITH_USER || !out->password))
        return "has no user";
    return NULL;
}

static const char *read_port(const char *s, size_t len, int least, int *port)
{
    if (len == 0 || len > 5 || strspn(s, "0123456789") < len)
        return "has a port that is no number";
    long n = strtol(s, NULL, 10);
    if (n < least || n > PORT_MOST)
        return "has a port out of range (up to 65535)";
    *port = (int)n;
    return NULL;
}

/* An IPv6 address in brackets; *end lies behind it. */
static const char *read_ipv6(const char *s, size_t len, char **host, const char **end)
{
    struct in6_addr ignored;
    const char *bracket = memchr(s, ']', len);

    if (!bracket)
        return "has a [ without ]";
    *host = xstrndup(s + 1, (size_t)(bracket - s - 1));
    *end = bracket + 1;
    if (inet_pton(AF_INET6, *host, &ignored) != 1)
        return "has something other than an IPv6 address between [ and ]";
    return NULL;
}

static const char *read_name(const char *s, size_t len, char **host, const char **end)
{
    size_t name_len = strspn(s, LETTERS_AND_DIGITS ".-_");

    if (name_len > len)
        name_len = len;
    if (name_len > HOST_BYTES_MOST)
        return "has a host of more than 255 bytes";
    *host = xstrndup(s, name_len);
    *end = s + name_len;
    return NULL;
}

/* "host" or "host:port"; a port from least on. */
static const char *read_host(const char *s, size_t len, int least, struct url *out)
{
    const char *after;
    const char *wrong = len > 0 && *s == '[' ? read_ipv6(s, len, &out->host, &after)
                                             : read_name(s, len, &out->host, &after);

    if (wrong || after == s + len)
        return wrong;
    if (*after != ':')
        return "has a character in its host that does not belong there";
    return read_port(after + 1, (size_t)(s + len - after - 1), least, &out->port);
}

static const char *read_authority(const char *s, size_t len, const struct scheme *scheme,
                                  struct url *out)
{
    const char *at = memrchr(s, '@', len);
    const char *host = at ? at + 1 : s;
    size_t host_len = (size_t)(s + len - host);
    const char *wrong = at ? read_login(s, (size_t)(at - s), kinds[scheme->kind].login, out) : NULL;

    if (wrong)
        return wrong;
    out->port = scheme->port;
    if (scheme->port == 0) {
        out->host = xstrdup("");
        return host_len ? "is a path on this machine and must begin with three slashes" : NULL;
    }
    wrong = read_host(host, host_len, 1, out);
    return wrong || *out->host ? wrong : "has no host";
}

static bool is_number(const char *s)
{
    size_t digits = strspn(s, "0123456789");

    return digits > 0 && digits <= NUMBER_DIGITS_MOST && s[digits] == '\0' &&
           strtol(s, NULL, 10) <= NUMBER_MOST;
}

static const char *read_tail(const char *s, const struct scheme *scheme, struct url *out)
{
    bool is_empty = *s == '\0' || s[1] == '\0';

    if (is_empty && scheme->tail == TAIL_PATH)
        return "has no path";
    if (!is_empty && scheme->tail == TAIL_NONE)
        return "goes on after the host and port";
    if (!is_empty && scheme->tail == TAIL_NUMBER && !is_number(s + 1))
        return "has something other than the number of a database as its path";
    out->path = is_empty ? xstrdup("") : decode(s, strlen(s));
    return out->path ? NULL : "has a path that cannot be read";
}

/* ---- The whole ------------------------------------------------------------------------------ */

static const struct scheme *find_scheme(const char *text, enum url_kind kind)
{
    for (const struct scheme *s = schemes; s < schemes + sizeof schemes / sizeof *schemes; s++) {
        size_t len = strlen(s->name);
        if (s->kind == kind && strncmp(text, s->name, len) == 0 &&
            strncmp(text + len, "://", 3) == 0)
            return s;
    }
    return NULL;
}

static bool has_control_character(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return true;
    return false;
}

static char *name_of(const struct url *u)
{
    bool is_ipv6 = strchr(u->host, ':');
    struct buf b;

    buf_init(&b, 0);
    buf_addf(&b, "%s://%s%s%s", u->scheme, is_ipv6 ? "[" : "", u->host, is_ipv6 ? "]" : "");
    if (u->port)
        buf_addf(&b, ":%d", u->port);
    url_add_path(&b, u->path);
    return b.data;
}

static const char *read_url(const char *text, enum url_kind kind, struct url *out)
{
    if (!text || !*text)
        return "is missing";
    if (strlen(text) > URL_BYTES_MOST)
        return "is longer than 8191 bytes";
    if (has_control_character(text))
        return "holds a control character";
    const struct scheme *scheme = find_scheme(text, kind);
    if (!scheme)
        return "begins with another scheme";
    out->scheme = scheme->name;
    out->encrypted = scheme->encrypted;
    const char *authority = text + strlen(scheme->name) + 3;
    const char *path = authority + strcspn(authority, "/");
    /* A / that should have been %2F in a password would make its rest a path. */
    if (scheme->port && strchr(path, '@'))
        return "has a @ behind its first /";
    const char *wrong = read_authority(authority, (size_t)(path - authority), scheme, out);
    if (!wrong)
        wrong = read_tail(path, scheme, out);
    if (!wrong)
        out->name = name_of(out);
    return wrong;
}

bool url_parse(const char *text, enum url_kind kind, struct url *out, struct err *e)
{
    *out = (struct url){.port = 0};
    const char *wrong = read_url(text, kind, out);
    if (!wrong)
        return true;
    url_clear(out);
    return err_set(e, ERR_FATAL,
                   "the %s URL %s; it must look like %s, with special characters of user, "
                   "password and path as %%XX",
                   kinds[kind].name, wrong, kinds[kind].form);
}

static void free_secret(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
    free(s);
}

void url_clear(struct url *u)
{
    free_secret(u->user);
    free_secret(u->password);
    free(u->host);
    free(u->path);
    free(u->name);
    *u = (struct url){.port = 0};
}

char *url_list_next(const char **list)
{
    const char *s = *list + strspn(*list, ", ");
    size_t len = strcspn(s, ",");

    *list = s + len;
    while (len > 0 && s[len - 1] == ' ')
        len--;
    return len ? xstrndup(s, len) : NULL;
}

bool url_parse_listen(const char *text, struct url *out, struct err *e)
{
    *out = (struct url){.port = -1};
    const char *wrong = read_host(text, strlen(text), 0, out);
    if (!wrong && out->port >= 0)
        return true;
    url_clear(out);
    return err_set(e, ERR_FATAL,
                   "the address to listen on %s; write it as host:port, [IPv6 address]:port or "
                   ":port",
                   wrong ? wrong : "has no port");
}

/* ---- What may go in the clear --------------------------------------------------------------- */

bool url_host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool url_is_exposed(const struct url *u)
{
    return !u->encrypted && *u->host && !url_host_is_loopback(u->host);
}
