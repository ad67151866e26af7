/*
 * The addresses of the servers, as the settings give them: one reader, so that what one part of
 * the program accepts, every part does.
 *
 *     scheme://[user[:password]@]host[:port][/path]     scheme:///path
 *
 * User, password and path are percent-encoded (RFC 3986): in user and password, % / , and : are
 * always written as %25 %2F %2C %3A (a : may stand in the password). The path begins at the first
 * /. A host is a name, an IPv4 address, or an IPv6 address in brackets. No text that is made here
 * shows a user or a password, nor any other part of a URL that is refused.
 */
#ifndef BASE_URL_H
#define BASE_URL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

enum url_kind {
    URL_MQTT,    /* mqtt://, mqtts://: a password only with a user, and no path */
    URL_REDIS,   /* redis:// with the number of a database as path, unix:///path */
    URL_ARCHIVE, /* s3+http://host/bucket, s3+https://, file:///path: no user */
};

enum { URL_BYTES_MOST = 8191 };

struct url {
    const char *scheme; /* "mqtts" */
    bool encrypted;
    char *user, *password; /* decoded; NULL: none. An empty user is none. */
    char *host;            /* without brackets; "": a path on this machine */
    int port;              /* that of the scheme unless given; 0: a path on this machine */
    char *path;            /* decoded, with its first /; "": none */
    char *name;            /* "mqtts://host:8883", for messages: without user and password */
};

/* Fills *out, to be cleared by url_clear; false, *out empty and *e when text is not of the kind. */
bool url_parse(const char *text, enum url_kind kind, struct url *out, struct err *e) MUST_CHECK;

/* Frees all; user and password are overwritten first. An empty or cleared one may be cleared again.
 */
void url_clear(struct url *u);

/*
 * The next URL of a comma-separated list, without the spaces around it, as a copy to be freed;
 * NULL at the end. *list goes on behind it.
 */
char *url_list_next(const char **list);

/* Where to listen: "host:port", "[::1]:port" or ":port"; host and port of *out are filled. */
bool url_parse_listen(const char *text, struct url *out, struct err *e) MUST_CHECK;

/* A path as it is written in a URL: all but letters, digits and - . _ ~ / become %XX. */
void url_add_path(struct buf *b, const char *path);

/* "localhost", 127.x.y.z, ::1: names of this machine that no network can answer for. */
bool url_host_is_loopback(const char *host);

/* Would go over a network in the clear. */
bool url_is_exposed(const struct url *u);

#endif
