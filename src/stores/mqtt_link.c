#include "stores/mqtt_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

/* ---- TLS settings --------------------------------------------------------------------------- */

enum phase { PHASE_CLOSED, PHASE_TCP, PHASE_TLS, PHASE_OPEN };

struct mqtt_link {
    const struct url *url;
    SSL_CTX *tls_settings; /* NULL: plain TCP */
    enum phase phase;
    struct addrinfo *addresses, *address; /* found; the one being tried */
    int fd;
    SSL *tls;
    short waits_for; /* poll events that TLS, or connecting, asks for */
    bool drained, hung_up;
};

/* OpenSSL's newest complaint, or the text given when it has none. */
static const char *tls_words(const char *otherwise)
{
    const char *words = ERR_reason_error_string(ERR_peek_last_error());

    return words ? words : otherwise;
}

static bool bad_file(struct err *e, const char *what, const char *file)
{
    err_set(e, ERR_FATAL, "cannot use %s %s: %s", what, file, tls_words("unknown reason"));
    ERR_clear_error();
    return false;
}

/* A key with a pass phrase would make OpenSSL ask for it on the terminal. */
static int no_pass_phrase(char *to, int size, int for_writing, void *ctx)
{
    (void)to;
    (void)size;
    (void)for_writing;
    (void)ctx;
    return -1;
}

static bool load_client_certificate(SSL_CTX *c, const struct mqtt_link_files *f, struct err *e)
{
    const char *key = f->key ? f->key : f->cert;

    if (SSL_CTX_use_certificate_chain_file(c, f->cert) != 1)
        return bad_file(e, "the client certificate", f->cert);
    if (SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(c) != 1)
        return bad_file(e, "the client key", key);
    return true;
}

static bool load_files(SSL_CTX *c, const struct mqtt_link_files *f, struct err *e)
{
    if (f->ca && SSL_CTX_load_verify_locations(c, f->ca, NULL) != 1)
        return bad_file(e, "the CA file", f->ca);
    if (!f->ca && SSL_CTX_set_default_verify_paths(c) != 1)
        return err_set(e, ERR_FATAL, "cannot read the certificate authorities of the system");
    if (f->key && !f->cert)
        return err_set(e, ERR_FATAL, "there is a client key, but no client certificate");
    return !f->cert || load_client_certificate(c, f, e);
}

static SSL_CTX *tls_settings_new(const struct mqtt_link_files *files, struct err *e)
{
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());

    if (!c) {
        err_set(e, ERR_FATAL, "cannot start TLS: %s", tls_words("unknown reason"));
        return NULL;
    }
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_default_passwd_cb(c, no_pass_phrase);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(c, 1);
    if (load_files(c, files, e))
        return c;
    SSL_CTX_free(c);
    return NULL;
}

struct mqtt_link *mqtt_link_new(const struct url *u, const struct mqtt_link_files *files,
                                struct err *e)
{
    SSL_CTX *settings = NULL;

    if (u->encrypted && !(settings = tls_settings_new(files, e)))
        return NULL;
    struct mqtt_link *l = xcalloc(1, sizeof *l);
    l->url = u;
    l->tls_settings = settings;
    l->fd = -1;
    return l;
}

void mqtt_link_free(struct mqtt_link *l)
{
    if (!l)
        return;
    mqtt_link_close(l);
    SSL_CTX_free(l->tls_settings);
    free(l);
}

/* ---- Opening -------------------------------------------------------------------------------- */

static void close_socket(struct mqtt_link *l)
{
    SSL_free(l->tls);
    l->tls = NULL;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

void mqtt_link_close(struct mqtt_link *l)
{
    if (l->phase == PHASE_OPEN && l->tls) {
        ERR_clear_error();
        SSL_shutdown(l->tls);
    }
    close_socket(l);
    if (l->addresses)
        freeaddrinfo(l->addresses);
    l->addresses = l->address = NULL;
    l->phase = PHASE_CLOSED;
    l->drained = l->hung_up = false;
}

/* Begin to connect to l->address; false with errno when it fails at once. */
static bool start_tcp(struct mqtt_link *l)
{
    int on = 1;

    l->fd = socket(l->address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return false;
    /* Acknowledgements go out in one write each time and must not wait for those before. */
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    l->phase = PHASE_TCP;
    l->waits_for = POLLOUT;
    return connect(l->fd, l->address->ai_addr, l->address->ai_addrlen) == 0 || errno == EINPROGRESS;
}

/* Start with l->address or the first after it that does not fail at once. */
static bool start_any(struct mqtt_link *l, struct err *e)
{
    while (!start_tcp(l)) {
        int saved = errno;
        close_socket(l);
        l->address = l->address->ai_next;
        errno = saved;
        if (!l->address)
            return err_errno(e, ERR_RETRY, "cannot connect");
    }
    return true;
}

bool mqtt_link_connect(struct mqtt_link *l, struct err *e)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[8];

    mqtt_link_close(l);
    snprintf(port, sizeof port, "%d", l->url->port);
    int failure = getaddrinfo(l->url->host, port, &hints, &l->addresses);
    if (failure) {
        l->addresses = NULL;
        return err_set(e, ERR_RETRY, "cannot find the host: %s", gai_strerror(failure));
    }
    l->address = l->addresses;
    return start_any(l, e);
}

static bool is_address(const char *host)
{
    unsigned char ignored[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, ignored) == 1 || inet_pton(AF_INET6, host, ignored) == 1;
}

static enum mqtt_link_progress start_tls(struct mqtt_link *l, struct err *e)
{
    const char *host = l->url->host;

    ERR_clear_error();
    l->tls = SSL_new(l->tls_settings);
    bool ok = l->tls && SSL_set_fd(l->tls, l->fd) == 1;
    if (ok && is_address(host))
        ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(l->tls), host) == 1;
    else if (ok)
        ok = SSL_set1_host(l->tls, host) == 1 && SSL_set_tlsext_host_name(l->tls, host) == 1;
    if (!ok) {
        err_set(e, ERR_RETRY, "cannot start TLS: %s", tls_words("unknown reason"));
        return MQTT_LINK_FAILED;
    }
    l->phase = PHASE_TLS;
    return MQTT_LINK_OPENING;
}

static enum mqtt_link_progress advance_tcp(struct mqtt_link *l, struct err *e)
{
    struct pollfd p = {.fd = l->fd, .events = POLLOUT};
    int failure = 0;
    socklen_t len = sizeof failure;

    if (poll(&p, 1, 0) == 0)
        return MQTT_LINK_OPENING;
    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &failure, &len) != 0)
        failure = errno;
    if (failure == 0) {
        if (l->tls_settings)
            return start_tls(l, e);
        l->phase = PHASE_OPEN;
        return MQTT_LINK_OPEN;
    }
    close_socket(l);
    l->address = l->address->ai_next;
    errno = failure;
    if (!l->address) {
        err_errno(e, ERR_RETRY, "cannot connect");
        return MQTT_LINK_FAILED;
    }
    return start_any(l, e) ? MQTT_LINK_OPENING : MQTT_LINK_FAILED;
}

/* After a TLS call has failed; errno as the call left it. */
static void tls_failure(struct mqtt_link *l, const char *doing, struct err *e)
{
    const char *of_socket = errno ? strerror(errno) : "the broker closed the connection";
    long verdict = SSL_get_verify_result(l->tls);

    if (verdict != X509_V_OK)
        err_set(e, ERR_RETRY, "the broker's certificate is refused: %s",
                X509_verify_cert_error_string(verdict));
    else
        err_set(e, ERR_RETRY, "%s: %s", doing, tls_words(of_socket));
    ERR_clear_error();
}

/* What a TLS call that moved nothing wants: true, l->waits_for is set; false, it has failed. */
static bool tls_must_wait(struct mqtt_link *l, int result)
{
    int why = SSL_get_error(l->tls, result);

    l->waits_for = why == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

static enum mqtt_link_progress advance_tls(struct mqtt_link *l, struct err *e)
{
    errno = 0;
    ERR_clear_error();
    int result = SSL_connect(l->tls);
    if (result == 1) {
        l->phase = PHASE_OPEN;
        return MQTT_LINK_OPEN;
    }
    if (tls_must_wait(l, result))
        return MQTT_LINK_OPENING;
    tls_failure(l, "the TLS handshake failed", e);
    return MQTT_LINK_FAILED;
}

enum mqtt_link_progress mqtt_link_advance(struct mqtt_link *l, struct err *e)
{
    enum mqtt_link_progress progress = MQTT_LINK_OPENING;

    if (l->phase == PHASE_TCP)
        progress = advance_tcp(l, e);
    if (l->phase == PHASE_TLS && progress == MQTT_LINK_OPENING)
        progress = advance_tls(l, e);
    return progress;
}

const char *mqtt_link_waits_for(const struct mqtt_link *l)
{
    return l->phase == PHASE_TLS ? "the TLS handshake" : "a TCP connection";
}

/* ---- Open ----------------------------------------------------------------------------------- */

static long read_tcp(struct mqtt_link *l, void *to, size_t room, struct err *e)
{
    ssize_t n = recv(l->fd, to, room, 0);

    /* Less than asked for means that the socket is empty: no second call to hear so. */
    l->drained = n < (ssize_t)room;
    if (n > 0)
        return n;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n < 0)
        err_errno(e, ERR_RETRY, "the connection broke");
    else
        err_set(e, ERR_RETRY, "the broker closed the connection");
    return -1;
}

static long read_tls(struct mqtt_link *l, void *to, size_t room, struct err *e)
{
    size_t n;

    errno = 0;
    ERR_clear_error();
    int result = SSL_read_ex(l->tls, to, room, &n);
    l->drained = result != 1;
    if (result == 1)
        return (long)n;
    if (tls_must_wait(l, result))
        return 0;
    tls_failure(l, "the connection broke", e);
    return -1;
}

long mqtt_link_read(struct mqtt_link *l, void *to, size_t room, struct err *e)
{
    return l->tls ? read_tls(l, to, room, e) : read_tcp(l, to, room, e);
}

static long write_tcp(struct mqtt_link *l, const void *from, size_t len, struct err *e)
{
    ssize_t n = send(l->fd, from, len, MSG_NOSIGNAL);

    if (n >= 0)
        return n;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    err_errno(e, ERR_RETRY, "the connection broke");
    return -1;
}

static long write_tls(struct mqtt_link *l, const void *from, size_t len, struct err *e)
{
    size_t n;

    errno = 0;
    ERR_clear_error();
    int result = SSL_write_ex(l->tls, from, len, &n);
    if (result == 1) {
        l->waits_for = POLLIN;
        return (long)n;
    }
    if (tls_must_wait(l, result))
        return 0;
    tls_failure(l, "the connection broke", e);
    return -1;
}

long mqtt_link_write(struct mqtt_link *l, const void *from, size_t len, struct err *e)
{
    return l->tls ? write_tls(l, from, len, e) : write_tcp(l, from, len, e);
}

bool mqtt_link_drained(const struct mqtt_link *l)
{
    return l->drained;
}

enum mqtt_link_event mqtt_link_wait(struct mqtt_link *l, bool to_read, bool to_write,
                                    int timeout_ms)
{
    struct pollfd p = {.fd = l->fd, .events = l->waits_for};

    if (l->phase == PHASE_OPEN) {
        /* TLS may have to write before it can read. */
        bool out = to_write || (l->tls && l->waits_for == POLLOUT);
        p.events = (short)((to_read ? POLLIN : 0) | (out ? POLLOUT : 0));
    }
    int n = poll(&p, 1, timeout_ms);
    if (n < 0)
        return MQTT_LINK_INTERRUPTED;
    l->hung_up = l->phase == PHASE_OPEN && !to_read && p.revents & (POLLERR | POLLHUP);
    return n > 0 ? MQTT_LINK_ACTIVE : MQTT_LINK_QUIET;
}

bool mqtt_link_hung_up(const struct mqtt_link *l)
{
    return l->hung_up;
}
