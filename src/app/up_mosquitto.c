#include "app/up_servers.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "app/connect.h"
#include "base/buf.h"

static const char user_name[] = "enerlink";

/*
 * mosquitto's password file, as mosquitto_passwd(1) would write it: $7$rounds$salt$hash, PBKDF2
 * with HMAC-SHA512. Made here because that program takes the password on its command line, where
 * everybody can read it.
 */
static bool write_password_file(const struct up_mosquitto *m, struct err *e)
{
    enum { ROUNDS = 101, SALT_SIZE = 12, HASH_SIZE = 64 };
    unsigned char salt[SALT_SIZE], hash[HASH_SIZE];
    char salt_text[SALT_SIZE * 2], hash_text[HASH_SIZE * 2], path[PATH_MAX], line[512];

    if (RAND_bytes(salt, sizeof salt) != 1 ||
        PKCS5_PBKDF2_HMAC(m->password, (int)strlen(m->password), salt, sizeof salt, ROUNDS,
                          EVP_sha512(), sizeof hash, hash) != 1)
        return err_set(e, ERR_FATAL, "OpenSSL cannot hash the broker's password");
    EVP_EncodeBlock((unsigned char *)salt_text, salt, sizeof salt);
    EVP_EncodeBlock((unsigned char *)hash_text, hash, sizeof hash);
    snprintf(line, sizeof line, "%s:$7$%d$%s$%s\n", user_name, ROUNDS, salt_text, hash_text);
    snprintf(path, sizeof path, "%.*s/passwords", PATH_MAX - 16, m->server.folder);
    return up_dir_write(path, line, m->server.service.user, e);
}

/*
 * autosave: mosquitto writes its whole database each time, so "after so many changes" grows with
 * the square of a backlog. Every 10 s costs little while ingest keeps up, and bounds what a kill -9
 * of the broker can lose to what ingest had not yet taken in the last 10 s.
 * Message size: larger than what ingest accepts, so that the refusal is ours and is seen.
 */
static bool write_conf(const struct up_mosquitto *m, struct err *e)
{
    const uint64_t queue_least = UINT64_C(512) << 20, queue_most = UINT64_C(1) << 30;
    uint64_t queue_bytes = up_memory_bytes() / 4;
    char path[PATH_MAX];
    struct buf b;

    queue_bytes = queue_bytes < queue_least ? queue_least : queue_bytes;
    queue_bytes = queue_bytes > queue_most ? queue_most : queue_bytes;
    buf_init(&b, 0);
    buf_addf(&b, "listener %d 127.0.0.1\n", m->port.number);
    buf_addf(&b, "password_file %s/passwords\nacl_file %s/acl\n", m->server.folder,
             m->server.folder);
    buf_addf(&b, "persistence_location %s/\n", m->server.folder);
    buf_addf(&b, "max_queued_bytes %llu\n", (unsigned long long)queue_bytes);
    buf_adds(&b, "allow_anonymous false\n"
                 "persistence true\n"
                 "autosave_interval 10\n"
                 "persistent_client_expiration 14d\n"
                 "max_queued_messages 400000\n"
                 "max_inflight_messages 1000\n"
                 "max_packet_size 1048576\n"
                 "set_tcp_nodelay true\n"
                 "connection_messages false\n"
                 "log_dest stderr\n"
                 "log_type error\nlog_type warning\nlog_type notice\n"
                 "log_timestamp_format %Y-%m-%dT%H:%M:%S\n");
    snprintf(path, sizeof path, "%.*s/mosquitto.conf", PATH_MAX - 32, m->server.folder);
    bool ok = up_dir_write(path, b.data, m->server.service.user, e);
    buf_clear(&b);
    return ok;
}

static bool write_acl(const struct up_mosquitto *m, struct err *e)
{
    char path[PATH_MAX], text[256];

    snprintf(text, sizeof text, "user %s\ntopic readwrite enerlink/#\ntopic read $SYS/broker/#\n",
             user_name);
    snprintf(path, sizeof path, "%.*s/acl", PATH_MAX - 16, m->server.folder);
    return up_dir_write(path, text, m->server.service.user, e);
}

static bool configure(struct up_mosquitto *m, struct err *e)
{
    snprintf(m->server.url, sizeof m->server.url, "mqtt://%s:%s@127.0.0.1:%d", user_name,
             m->password, m->port.number);
    return write_conf(m, e);
}

static bool mosquitto_ready(void *ctx)
{
    enum { TIMEOUT_MS = 500 };
    const struct up_mosquitto *m = ctx;
    struct err e;

    return connect_try_broker(m->settings, m->server.url, TIMEOUT_MS, &e);
}

/* Somebody may have taken the port since it was chosen. */
static bool mosquitto_repair(void *ctx, struct err *e)
{
    struct up_mosquitto *m = ctx;

    return up_port_repair(&m->port, m->dir, e) && configure(m, e);
}

bool up_mosquitto_prepare(struct up_mosquitto *m, const struct up_dir *d, const struct settings *s,
                          int port, struct err *e)
{
    *m = (struct up_mosquitto){.dir = d,
                               .settings = s,
                               .port = {.name = "mqtt",
                                        .flag = "--mqtt-port",
                                        .host = "127.0.0.1",
                                        .preferred = 1883,
                                        .asked = port}};
    if (!up_server_init(&m->server, d, "mosquitto", "mosquitto", e) ||
        !up_find_program("mosquitto", "mosquitto", m->server.program, e) ||
        !up_dir_secret(d, "mqtt-password", m->password, e) || !up_port_choose(&m->port, d, e) ||
        !configure(m, e) || !write_password_file(m, e) || !write_acl(m, e))
        return false;
    const char *const argv[] = {"mosquitto", "-c", "mosquitto.conf", NULL};
    memcpy(m->server.argv, argv, sizeof argv);
    m->server.service.probe = mosquitto_ready;
    m->server.service.repair = mosquitto_repair;
    m->server.service.ctx = m;
    return true;
}
