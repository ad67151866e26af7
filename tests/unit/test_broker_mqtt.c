#include "unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "stores/broker.h"
#include "stores/mqtt_link.h"

/*
 * Twice: against a broker played by the test itself, byte by byte on a loopback socket, in turns
 * with the client in one thread; and against a real mosquitto, where one is installed.
 */
#define BYTES(literal) literal, sizeof literal - 1

enum { MOST = 64, PATIENCE_MS = 10000 };

static int64_t now_ms(void)
{
    return clock_mono_ms(clock_system());
}

/* ---- The client under test ------------------------------------------------------------------ */

static const char *const topics[] = {"m/data", "m/status", NULL};

static struct broker_mqtt_options options(const char *url)
{
    return (struct broker_mqtt_options){.url = url, .client_id = "in-0", .topics = topics};
}

static struct broker *open_broker(const struct broker_mqtt_options *o)
{
    struct err e;
    struct broker *b = broker_mqtt_open(o, &e);

    if (!b)
        fail_msg("%s", e.text);
    return b;
}

static struct broker_stats stats_of(const struct broker *b)
{
    struct broker_stats s;

    broker_stats(b, &s);
    return s;
}

/* Receive until n messages are there; a broken connection is a failure of the test. */
static void receive_exactly(struct broker *b, struct broker_message *out, int n)
{
    int64_t until_ms = now_ms() + PATIENCE_MS;
    int have = 0;
    struct err e;

    while (have < n && now_ms() < until_ms) {
        int got = broker_receive(b, out + have, n - have, 100, &e);
        if (got < 0)
            fail_msg("%s", e.text);
        have += got;
    }
    assert_int_equal(have, n);
}

static void assert_nothing_comes(struct broker *b)
{
    struct broker_message m;
    struct err e;

    assert_int_equal(broker_receive(b, &m, 1, 200, &e), 0);
}

static void acknowledge(struct broker *b)
{
    struct err e;

    if (!broker_acknowledge(b, &e))
        fail_msg("%s", e.text);
}

static void assert_payload(const struct broker_message *m, const char *expected)
{
    assert_int_equal(m->payload_len, strlen(expected));
    assert_memory_equal(m->payload, expected, m->payload_len);
}

/* Receive until the connection breaks, and say in *e why. */
static void wait_for_failure(struct broker *b, struct err *e)
{
    int64_t until_ms = now_ms() + PATIENCE_MS;
    struct broker_message m[MOST];

    while (now_ms() < until_ms)
        if (broker_receive(b, m, MOST, 50, e) < 0)
            return;
    fail_msg("the connection did not break");
}

static void assert_failure(struct broker *b, const char *words)
{
    struct err e;

    wait_for_failure(b, &e);
    if (!strstr(e.text, words))
        fail_msg("\"%s\" does not say \"%s\"", e.text, words);
}

static void wait_until_connected(struct broker *b)
{
    int64_t until_ms = now_ms() + PATIENCE_MS;
    struct err e = {.text = ""};

    while (!stats_of(b).connected && now_ms() < until_ms)
        broker_receive(b, NULL, 0, 20, &e);
    if (!stats_of(b).connected)
        fail_msg("not connected: %s", e.text);
}

/* ---- A broker played by the test ------------------------------------------------------------ */

struct fake {
    int listener, fd;
    char url[64];
    struct broker *client;
};

static int listen_on(int port, int *port_out)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port_out = ntohs(a.sin_port);
    return fd;
}

static struct fake start_fake(void)
{
    struct fake f = {.fd = -1};
    int port;

    f.listener = listen_on(0, &port);
    snprintf(f.url, sizeof f.url, "mqtt://u:sesame@127.0.0.1:%d", port);
    return f;
}

/* The broker's side is closed first, since the client waits for that when it says good-bye. */
static void stop_fake(struct fake *f)
{
    if (f->fd >= 0)
        shutdown(f->fd, SHUT_WR);
    broker_close(f->client);
    if (f->fd >= 0)
        close(f->fd);
    close(f->listener);
}

/* Let the client do what it has to; nothing is to arrive at it. */
static void drive(struct fake *f)
{
    struct err e;

    if (broker_receive(f->client, NULL, 0, 5, &e) < 0)
        fail_msg("%s", e.text);
}

static void accept_client(struct fake *f)
{
    int64_t until_ms = now_ms() + PATIENCE_MS;

    if (f->fd >= 0)
        close(f->fd);
    while ((f->fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK)) < 0 && now_ms() < until_ms)
        drive(f);
    assert_true(f->fd >= 0);
}

/* Read n bytes from the client, which is given time to send them. */
static void hear_client(struct fake *f, char *to, size_t n)
{
    int64_t until_ms = now_ms() + PATIENCE_MS;
    size_t have = 0;

    while (have < n && now_ms() < until_ms) {
        ssize_t got = recv(f->fd, to + have, n - have, 0);
        if (got > 0)
            have += (size_t)got;
        else
            drive(f);
    }
    assert_int_equal(have, n);
}

/* The next packet of the client begins with this byte; its body is passed over. */
static void hear_packet(struct fake *f, int first_byte)
{
    char head[2], body[127];

    hear_client(f, head, 2);
    assert_int_equal((unsigned char)head[0], first_byte);
    assert_in_range((unsigned char)head[1], 0, 127);
    hear_client(f, body, (size_t)head[1]);
}

static void tell_client(struct fake *f, const char *bytes, size_t len)
{
    assert_int_equal(send(f->fd, bytes, len, MSG_NOSIGNAL), len);
}

enum { CONNECT = 0x10, SUBSCRIBE = 0x82, PINGREQ = 0xc0 };

static void welcome_client(struct fake *f, bool resumed)
{
    accept_client(f);
    hear_packet(f, CONNECT);
    if (resumed)
        tell_client(f, BYTES("\x20\x03\x01\x00\x00"));
    else
        tell_client(f, BYTES("\x20\x03\x00\x00\x00"));
    hear_packet(f, SUBSCRIBE);
    tell_client(f, BYTES("\x90\x05\x00\x01\x00\x01\x01"));
    wait_until_connected(f->client);
}

static void each_message_arrives_and_is_acknowledged_when_told(void **state)
{
    struct fake f = start_fake();
    struct broker_mqtt_options o = options(f.url);
    struct broker_message m[3];
    char acks[8];

    (void)state;
    f.client = open_broker(&o);
    welcome_client(&f, false);
    tell_client(&f, BYTES("\x32\x07\x00\x01t\x00\x05\x00x\x32\x07\x00\x01t\x00\x06\x00y"));
    receive_exactly(f.client, m, 1);
    receive_exactly(f.client, m + 1, 1);
    assert_payload(&m[0], "x");
    assert_payload(&m[1], "y");
    assert_int_equal(recv(f.fd, acks, sizeof acks, 0), -1);
    acknowledge(f.client);
    hear_client(&f, acks, sizeof acks);
    assert_memory_equal(acks, "\x40\x02\x00\x05\x40\x02\x00\x06", 8);
    assert_nothing_comes(f.client);
    stop_fake(&f);
}

/* The first half of a batch must not wait for the second. */
static void a_batch_is_what_is_there(void **state)
{
    struct fake f = start_fake();
    struct broker_mqtt_options o = options(f.url);
    struct broker_message m[MOST];
    struct err e;

    (void)state;
    f.client = open_broker(&o);
    welcome_client(&f, false);
    tell_client(&f, BYTES("\x32\x07\x00\x01t\x00\x05\x00x\x32\x07\x00\x01t\x00\x06"));
    int64_t start_ms = now_ms();
    assert_int_equal(broker_receive(f.client, m, MOST, PATIENCE_MS, &e), 1);
    assert_true(now_ms() - start_ms < PATIENCE_MS / 2);
    stop_fake(&f);
}

static void a_broken_connection_is_told_and_made_again(void **state)
{
    struct fake f = start_fake();
    struct broker_mqtt_options o = options(f.url);
    struct broker_message m;

    (void)state;
    f.client = open_broker(&o);
    welcome_client(&f, false);
    tell_client(&f, BYTES("\x32\x07\x00\x01t\x00\x05\x00x"));
    receive_exactly(f.client, &m, 1);
    close(f.fd);
    f.fd = -1;
    assert_failure(f.client, "the broker closed the connection; next attempt in ");
    assert_false(stats_of(f.client).connected);
    acknowledge(f.client);
    welcome_client(&f, true);
    tell_client(&f, BYTES("\x3a\x07\x00\x01t\x00\x05\x00x"));
    receive_exactly(f.client, &m, 1);
    assert_true(m.redelivered);
    assert_int_equal(stats_of(f.client).reconnects, 1);
    assert_int_equal(stats_of(f.client).sessions_lost, 0);
    stop_fake(&f);
}

static void a_lost_session_is_counted(void **state)
{
    struct fake f = start_fake();
    struct broker_mqtt_options o = options(f.url);

    (void)state;
    f.client = open_broker(&o);
    welcome_client(&f, false);
    close(f.fd);
    f.fd = -1;
    assert_failure(f.client, "closed");
    welcome_client(&f, false);
    assert_int_equal(stats_of(f.client).sessions_lost, 1);
    stop_fake(&f);
}

static void a_broker_that_does_not_answer_is_left_after_the_time_out(void **state)
{
    struct fake f = start_fake();
    struct broker_mqtt_options o = options(f.url);

    (void)state;
    o.connect_timeout_ms = 150;
    f.client = open_broker(&o);
    accept_client(&f);
    assert_failure(f.client, "no CONNACK within 150 ms; next attempt in ");
    accept_client(&f);
    hear_packet(&f, CONNECT);
    tell_client(&f, BYTES("\x20\x03\x00\x00\x00"));
    assert_failure(f.client, "no SUBACK within 150 ms; next attempt in ");
    stop_fake(&f);
}

static void a_refusal_is_told_without_the_password(void **state)
{
    struct fake f = start_fake();
    struct broker_mqtt_options o = options(f.url);
    struct err e;

    (void)state;
    f.client = open_broker(&o);
    accept_client(&f);
    hear_packet(&f, CONNECT);
    tell_client(&f, BYTES("\x20\x03\x00\x86\x00"));
    wait_for_failure(f.client, &e);
    assert_non_null(strstr(e.text, "bad user name or password"));
    assert_null(strstr(e.text, "sesame"));
    assert_int_equal(e.kind, ERR_FATAL);
    stop_fake(&f);
}

static void nobody_listening_is_told(void **state)
{
    struct fake f = start_fake();
    struct broker_mqtt_options o = options(f.url);

    (void)state;
    close(f.listener);
    f.client = open_broker(&o);
    assert_failure(f.client, "cannot connect: Connection refused; next attempt in ");
    assert_failure(f.client, "cannot connect: Connection refused; next attempt in ");
    f.listener = -1;
    stop_fake(&f);
}

static void malformed_bytes_are_answered_and_end_the_connection(void **state)
{
    struct fake f = start_fake();
    struct broker_mqtt_options o = options(f.url);
    char last_word[3];

    (void)state;
    f.client = open_broker(&o);
    welcome_client(&f, false);
    tell_client(&f, BYTES("\x36\x06\x00\x01t\x00\x01\x00"));
    assert_failure(f.client, "bad PUBLISH");
    hear_client(&f, last_word, sizeof last_word);
    assert_memory_equal(last_word, "\xe0\x01\x81", 3);
    stop_fake(&f);
}

/*
 * Two messages may be pending: from then on the client must leave everything in the socket, but go
 * on with PINGREQ, and still notice that the broker has gone.
 */
static void at_its_bound_the_client_reads_no_more_and_stays_alive(void **state)
{
    static const char message[] = "\x32\x07\x00\x01t\x00\x05\x00x";
    struct fake f = start_fake();
    struct broker_mqtt_options o = options(f.url);
    struct broker_message m[MOST];
    struct err e;

    (void)state;
    o.pending_messages_most = 2;
    o.keep_alive_s = 1;
    f.client = open_broker(&o);
    welcome_client(&f, false);
    for (int i = 0; i < 5; i++)
        tell_client(&f, BYTES(message));
    receive_exactly(f.client, m, 2);
    int64_t start_ms = now_ms();
    for (int i = 0; i < 3; i++)
        hear_packet(&f, PINGREQ);
    assert_true(now_ms() - start_ms >= 1000);
    assert_int_equal(broker_receive(f.client, m, MOST, 0, &e), 0);
    acknowledge(f.client);
    receive_exactly(f.client, m, 2);
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(f.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(f.fd);
    f.fd = -1;
    assert_failure(f.client, "the broker closed the connection");
    stop_fake(&f);
}

static void a_silent_broker_is_left(void **state)
{
    struct fake f = start_fake();
    struct broker_mqtt_options o = options(f.url);

    (void)state;
    o.keep_alive_s = 1;
    f.client = open_broker(&o);
    welcome_client(&f, false);
    assert_failure(f.client, "has not answered a PINGREQ");
    stop_fake(&f);
}

static void closing_acknowledges_and_says_good_bye(void **state)
{
    struct fake f = start_fake();
    struct broker_mqtt_options o = options(f.url);
    struct broker_message m;
    char bytes[8];

    (void)state;
    f.client = open_broker(&o);
    welcome_client(&f, false);
    tell_client(&f, BYTES("\x32\x07\x00\x01t\x00\x05\x00x"));
    receive_exactly(f.client, &m, 1);
    acknowledge(f.client);
    shutdown(f.fd, SHUT_WR);
    broker_close(f.client);
    f.client = NULL;
    hear_client(&f, bytes, 7);
    assert_memory_equal(bytes, "\x40\x02\x00\x05\xe0\x01\x00", 7);
    stop_fake(&f);
}

static void files_that_cannot_be_used_are_named_at_once(void **state)
{
    struct broker_mqtt_options o = options("mqtts://u:sesame@localhost");
    struct err e;

    (void)state;
    o.ca_file = "/nonexistent/ca.pem";
    assert_null(broker_mqtt_open(&o, &e));
    assert_non_null(strstr(e.text, "/nonexistent/ca.pem"));
    assert_int_equal(e.kind, ERR_FATAL);
    o.ca_file = NULL;
    o.cert_file = "/nonexistent/client.pem";
    assert_null(broker_mqtt_open(&o, &e));
    assert_non_null(strstr(e.text, "/nonexistent/client.pem"));
}

/* ---- A real mosquitto ----------------------------------------------------------------------- */

#define MOSQUITTO "/usr/sbin/mosquitto"
#define MOSQUITTO_PASSWD "/usr/bin/mosquitto_passwd"

struct server {
    char dir[64];
    int port, tls_port;
    pid_t pid;
};

static struct server server;

static const char *path(const char *name)
{
    static char text[4][128];
    static int next;
    char *p = text[next++ % 4];

    snprintf(p, sizeof text[0], "%s/%s", server.dir, name);
    return p;
}

static const char *url(const char *scheme, const char *password, const char *host)
{
    static char text[128];

    snprintf(text, sizeof text, "%s://in:%s@%s:%d", scheme, password, host,
             strcmp(scheme, "mqtts") == 0 ? server.tls_port : server.port);
    return text;
}

/* Ends with the test, however that ends. Its output goes to a file in the private folder. */
static pid_t spawn(const char *const *argv)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int out = open(path("log"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

static void run(const char *const *argv)
{
    int status;

    assert_int_equal(waitpid(spawn(argv), &status, 0) > 0, 1);
    assert_int_equal(status, 0);
}

static int free_port(void)
{
    int port;

    close(listen_on(0, &port));
    return port;
}

static void write_config(void)
{
    FILE *f = fopen(path("conf"), "w");

    assert_non_null(f);
    fprintf(f,
            "listener %d 127.0.0.1\n"
            "listener %d 127.0.0.1\n"
            "cafile %s\ncertfile %s\nkeyfile %s\nrequire_certificate true\n"
            "allow_anonymous false\npassword_file %s\n"
            "max_queued_messages 100000\npersistence true\npersistence_location %s/\n"
            "set_tcp_nodelay true\n%s",
            server.port, server.tls_port, path("cert"), path("cert"), path("key"),
            path("passwords"), server.dir, geteuid() == 0 ? "user root\n" : "");
    fclose(f);
}

/* One certificate serves as its own authority, for the server at 127.0.0.1 and for the client. */
static void write_certificate(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509V3_CTX ctx;
    static const struct {
        int nid;
        const char *value;
    } extensions[] = {{NID_subject_alt_name, "IP:127.0.0.1"}, {NID_basic_constraints, "CA:TRUE"}};

    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        X509_EXTENSION *ext =
            X509V3_EXT_conf_nid(NULL, &ctx, extensions[i].nid, extensions[i].value);
        X509_add_ext(x, ext, -1);
        X509_EXTENSION_free(ext);
    }
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    FILE *f = fopen(path("cert"), "w");
    PEM_write_X509(f, x);
    fclose(f);
    f = fopen(path("key"), "w");
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
}

static bool accepts(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;

    close(fd);
    return ok;
}

static void start_server(void)
{
    int64_t until_ms = now_ms() + PATIENCE_MS;

    server.pid = spawn((const char *const[]){MOSQUITTO, "-c", path("conf"), NULL});
    while (!(accepts(server.port) && accepts(server.tls_port)) && now_ms() < until_ms)
        clock_sleep_ms(clock_system(), 20);
    assert_true(accepts(server.tls_port));
}

static void stop_server(int signal_number)
{
    if (server.pid <= 0)
        return;
    kill(server.pid, signal_number);
    waitpid(server.pid, NULL, 0);
    server.pid = 0;
}

static bool has_mosquitto(void)
{
    return access(MOSQUITTO, X_OK) == 0 && access(MOSQUITTO_PASSWD, X_OK) == 0;
}

static int set_up_server(void **state)
{
    (void)state;
    if (!has_mosquitto())
        return 0;
    snprintf(server.dir, sizeof server.dir, "/tmp/enerlink-test-XXXXXX");
    assert_non_null(mkdtemp(server.dir));
    server.port = free_port();
    server.tls_port = free_port();
    write_certificate();
    run((const char *const[]){MOSQUITTO_PASSWD, "-b", "-c", path("passwords"), "in", "sesame",
                              NULL});
    write_config();
    start_server();
    return 0;
}

static int tear_down_server(void **state)
{
    static const char *const names[] = {"conf", "cert", "key", "passwords", "log", "mosquitto.db"};

    (void)state;
    if (!has_mosquitto())
        return 0;
    stop_server(SIGKILL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path(names[i]));
    return rmdir(server.dir);
}

static void need_mosquitto(void)
{
    if (!has_mosquitto())
        skip();
}

/* ---- A meter, by libmosquitto --------------------------------------------------------------- */

static void count_published(struct mosquitto *m, void *count, int id, int reason,
                            const mosquitto_property *properties)
{
    (void)m;
    (void)id;
    (void)properties;
    assert_int_equal(reason, 0);
    ++*(int *)count;
}

static struct mosquitto *open_meter(int *published)
{
    mosquitto_lib_init();
    struct mosquitto *m = mosquitto_new("meter", true, published);

    assert_non_null(m);
    mosquitto_int_option(m, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_username_pw_set(m, "in", "sesame");
    mosquitto_publish_v5_callback_set(m, count_published);
    assert_int_equal(mosquitto_connect(m, "127.0.0.1", server.port, 60), MOSQ_ERR_SUCCESS);
    return m;
}

static void close_meter(struct mosquitto *m)
{
    mosquitto_disconnect(m);
    mosquitto_destroy(m);
    mosquitto_lib_cleanup();
}

/* Publish the numbers first ... first + n - 1 with QoS 2; on return the broker has them all. */
static void publish_numbers(int first, int n)
{
    int64_t until_ms = now_ms() + 3 * PATIENCE_MS;
    int published = 0;
    struct mosquitto *m = open_meter(&published);
    mosquitto_property *stamps = NULL;
    char text[16];

    mosquitto_property_add_string_pair(&stamps, MQTT_PROP_USER_PROPERTY, "publisher", "forged");
    mosquitto_property_add_string_pair(&stamps, MQTT_PROP_USER_PROPERTY, "publisher", "METER1");
    for (int i = first; i < first + n; i++) {
        int len = snprintf(text, sizeof text, "%d", i);
        assert_int_equal(mosquitto_publish_v5(m, NULL, "m/data", len, text, 2, false, stamps), 0);
        mosquitto_loop(m, 0, 1);
    }
    while (published < n && now_ms() < until_ms)
        mosquitto_loop(m, 20, 1);
    assert_int_equal(published, n);
    mosquitto_property_free_all(&stamps);
    close_meter(m);
}

/* Every test has a session of its own at the one server. */
static struct broker *connect_as(const char *client_id)
{
    struct broker_mqtt_options o = options(url("mqtt", "sesame", "127.0.0.1"));

    o.client_id = client_id;
    struct broker *b = open_broker(&o);
    wait_until_connected(b);
    return b;
}

static int number_of(const struct broker_message *m)
{
    char text[16] = "";

    assert_in_range(m->payload_len, 1, 15);
    memcpy(text, m->payload, m->payload_len);
    return atoi(text);
}

static void receive_numbers(struct broker *b, int first, int n, bool redelivered)
{
    struct broker_message m[MOST];

    for (int done = 0; done < n;) {
        int take = n - done < MOST ? n - done : MOST;
        receive_exactly(b, m, take);
        for (int i = 0; i < take; i++) {
            assert_int_equal(number_of(&m[i]), first + done + i);
            assert_int_equal(m[i].redelivered, redelivered);
        }
        done += take;
    }
}

static void messages_come_with_their_topic_and_publisher(void **state)
{
    struct broker_message m;

    (void)state;
    need_mosquitto();
    struct broker *b = connect_as("t1");
    publish_numbers(7, 1);
    receive_exactly(b, &m, 1);
    assert_payload(&m, "7");
    assert_int_equal(m.topic_len, strlen("m/data"));
    assert_memory_equal(m.topic, "m/data", m.topic_len);
    assert_int_equal(m.publisher_len, strlen("METER1"));
    assert_memory_equal(m.publisher, "METER1", m.publisher_len);
    acknowledge(b);
    broker_close(b);
}

static void what_was_acknowledged_stays_away_and_the_rest_comes_again(void **state)
{
    (void)state;
    need_mosquitto();
    struct broker *b = connect_as("t2");
    publish_numbers(0, 100);
    receive_numbers(b, 0, 60, false);
    acknowledge(b);
    receive_numbers(b, 60, 20, false);
    broker_close(b);

    b = connect_as("t2");
    receive_numbers(b, 60, 20, true);
    struct broker_message m[20];
    receive_exactly(b, m, 20);
    for (int i = 0; i < 20; i++)
        assert_int_equal(number_of(&m[i]), 80 + i);
    acknowledge(b);
    broker_close(b);

    b = connect_as("t2");
    assert_nothing_comes(b);
    broker_close(b);
}

static void what_is_published_while_we_are_away_waits_for_us(void **state)
{
    (void)state;
    need_mosquitto();
    struct broker *b = connect_as("t3");
    broker_close(b);
    publish_numbers(0, 3000);
    b = connect_as("t3");
    for (int i = 0; i < 3000; i += 100) {
        receive_numbers(b, i, 100, false);
        acknowledge(b);
    }
    assert_int_equal(stats_of(b).received, 3000);
    assert_int_equal(stats_of(b).acknowledged, 3000);
    assert_nothing_comes(b);
    broker_close(b);
}

static void the_broker_may_be_restarted(void **state)
{
    (void)state;
    need_mosquitto();
    struct broker *b = connect_as("t4");
    publish_numbers(0, 10);
    receive_numbers(b, 0, 5, false);
    acknowledge(b);
    receive_numbers(b, 5, 5, false);
    /* While the broker is busy with these, it reads our acknowledgements, one at a time. */
    publish_numbers(10, 40);
    stop_server(SIGTERM);
    assert_failure(b, "next attempt in ");
    start_server();
    wait_until_connected(b);
    receive_numbers(b, 5, 45, true);
    acknowledge(b);
    assert_int_equal(stats_of(b).reconnects, 1);
    assert_int_equal(stats_of(b).sessions_lost, 0);
    broker_close(b);
}

static void a_shared_subscription_gets_every_message_once(void **state)
{
    (void)state;
    need_mosquitto();
    struct broker *b = connect_as("t5");
    broker_close(b);
    struct broker_mqtt_options o = options(url("mqtt", "sesame", "127.0.0.1"));
    o.client_id = "t5";
    o.share_group = "workers";
    b = open_broker(&o);
    wait_until_connected(b);
    publish_numbers(0, 50);
    receive_numbers(b, 0, 50, false);
    assert_nothing_comes(b);
    acknowledge(b);
    broker_close(b);
}

/* Larger than a block of the receive buffer, up to what an open broker may admit. */
static void large_messages_come_whole(void **state)
{
    static const int sizes[] = {0, 300000, 1048576, 1, 262144};
    enum { N = sizeof sizes / sizeof *sizes };
    static char payload[1048576];
    struct broker_message m[N];
    int published = 0;

    (void)state;
    need_mosquitto();
    memset(payload, 'x', sizeof payload);
    struct broker *b = connect_as("t6");
    struct mosquitto *meter = open_meter(&published);
    for (int i = 0; i < N; i++)
        mosquitto_publish_v5(meter, NULL, "m/status", sizes[i], payload, 2, false, NULL);
    for (int64_t until_ms = now_ms() + PATIENCE_MS; published < N && now_ms() < until_ms;)
        mosquitto_loop(meter, 20, 1);
    close_meter(meter);
    receive_exactly(b, m, N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(m[i].payload_len, sizes[i]);
        assert_memory_equal(m[i].payload, payload, m[i].payload_len);
        assert_null(m[i].publisher);
    }
    acknowledge(b);
    broker_close(b);
}

static void a_wrong_password_is_told_without_showing_it(void **state)
{
    struct err e;

    (void)state;
    need_mosquitto();
    struct broker_mqtt_options o = options(url("mqtt", "open-sesame", "127.0.0.1"));
    struct broker *b = open_broker(&o);
    wait_for_failure(b, &e);
    if (!strstr(e.text, "the broker refuses the connection: ") || strstr(e.text, "open-sesame"))
        fail_msg("%s", e.text);
    assert_int_equal(e.kind, ERR_FATAL);
    broker_close(b);
}

static struct broker *open_tls(const char *host, bool our_ca, bool our_certificate)
{
    struct broker_mqtt_options o = options(url("mqtts", "sesame", host));

    o.client_id = "t8";
    o.ca_file = our_ca ? path("cert") : NULL;
    o.cert_file = our_certificate ? path("cert") : NULL;
    o.key_file = our_certificate ? path("key") : NULL;
    return open_broker(&o);
}

static void tls_carries_messages_to_a_client_with_a_certificate(void **state)
{
    (void)state;
    need_mosquitto();
    struct broker *b = open_tls("127.0.0.1", true, true);
    wait_until_connected(b);
    publish_numbers(0, 2000);
    for (int i = 0; i < 2000; i += 500) {
        receive_numbers(b, i, 500, false);
        acknowledge(b);
    }
    broker_close(b);
    b = open_tls("127.0.0.1", true, true);
    wait_until_connected(b);
    assert_nothing_comes(b);
    broker_close(b);
}

static void tls_ends_where_either_side_does_not_trust_the_other(void **state)
{
    static const struct {
        const char *host;
        bool our_ca, our_certificate;
        const char *words;
    } cases[] = {
        {"127.0.0.1", false, true, "certificate is refused: self-signed"},
        {"localhost", true, true, "certificate is refused: hostname mismatch"},
        {"127.0.0.1", true, false, "the connection broke: "},
    };

    (void)state;
    need_mosquitto();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct broker *b = open_tls(cases[i].host, cases[i].our_ca, cases[i].our_certificate);
        assert_failure(b, cases[i].words);
        broker_close(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_message_arrives_and_is_acknowledged_when_told),
        cmocka_unit_test(a_batch_is_what_is_there),
        cmocka_unit_test(a_broken_connection_is_told_and_made_again),
        cmocka_unit_test(a_lost_session_is_counted),
        cmocka_unit_test(a_broker_that_does_not_answer_is_left_after_the_time_out),
        cmocka_unit_test(a_refusal_is_told_without_the_password),
        cmocka_unit_test(nobody_listening_is_told),
        cmocka_unit_test(malformed_bytes_are_answered_and_end_the_connection),
        cmocka_unit_test(at_its_bound_the_client_reads_no_more_and_stays_alive),
        cmocka_unit_test(a_silent_broker_is_left),
        cmocka_unit_test(closing_acknowledges_and_says_good_bye),
        cmocka_unit_test(files_that_cannot_be_used_are_named_at_once),
        cmocka_unit_test(messages_come_with_their_topic_and_publisher),
        cmocka_unit_test(what_was_acknowledged_stays_away_and_the_rest_comes_again),
        cmocka_unit_test(what_is_published_while_we_are_away_waits_for_us),
        cmocka_unit_test(the_broker_may_be_restarted),
        cmocka_unit_test(a_shared_subscription_gets_every_message_once),
        cmocka_unit_test(large_messages_come_whole),
        cmocka_unit_test(a_wrong_password_is_told_without_showing_it),
        cmocka_unit_test(tls_carries_messages_to_a_client_with_a_certificate),
        cmocka_unit_test(tls_ends_where_either_side_does_not_trust_the_other),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, set_up_server, tear_down_server);
}
