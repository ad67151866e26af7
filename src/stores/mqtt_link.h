/*
 * A byte stream to the broker, over TCP or TLS 1.2 and later, that never waits unless asked to.
 * With TLS the server's certificate must be valid for the host of the URL. The name of the host
 * is looked up with the system's resolver, which does wait.
 *
 * The process must ignore SIGPIPE (stop_on_signals does): OpenSSL writes to closed sockets.
 */
#ifndef STORES_MQTT_LINK_H
#define STORES_MQTT_LINK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/url.h"

struct mqtt_link_files {
    const char *ca;         /* NULL: the certificate authorities of the system */
    const char *cert, *key; /* NULL: no client certificate; key NULL: it is in the cert file */
};

struct mqtt_link;

/* u, of kind URL_MQTT, must live as long as the link; the files are read now. */
struct mqtt_link *mqtt_link_new(const struct url *u, const struct mqtt_link_files *files,
                                struct err *e);
void mqtt_link_free(struct mqtt_link *l);

enum mqtt_link_progress { MQTT_LINK_FAILED, MQTT_LINK_OPENING, MQTT_LINK_OPEN };

/* Look the host up and begin with its first address; false when there is none to try. */
bool mqtt_link_connect(struct mqtt_link *l, struct err *e);
/* Go on with it: the next address when one does not answer, then the TLS handshake. */
enum mqtt_link_progress mqtt_link_advance(struct mqtt_link *l, struct err *e);
/* What opening waits for, in words. */
const char *mqtt_link_waits_for(const struct mqtt_link *l);

/* Bytes moved; 0: it would have to wait; -1: the connection is over, *e says how. */
long mqtt_link_read(struct mqtt_link *l, void *to, size_t room, struct err *e);
long mqtt_link_write(struct mqtt_link *l, const void *from, size_t len, struct err *e);

/* The last read left nothing behind. */
bool mqtt_link_drained(const struct mqtt_link *l);

enum mqtt_link_event { MQTT_LINK_QUIET, MQTT_LINK_ACTIVE, MQTT_LINK_INTERRUPTED };

/*
 * Wait at most timeout_ms for what opening needs, or once open for reading or writing as asked.
 * Interrupted: a signal came.
 */
enum mqtt_link_event mqtt_link_wait(struct mqtt_link *l, bool to_read, bool to_write,
                                    int timeout_ms);
/* The peer has gone, seen by waiting without reading. */
bool mqtt_link_hung_up(const struct mqtt_link *l);

void mqtt_link_close(struct mqtt_link *l);

#endif
