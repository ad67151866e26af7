/*
 * Load for the benchmarks: full data messages at QoS 2 over a few raw MQTT 3.1.1 connections.
 *
 *   publish --connections 10 --meters 10000 --rate 5000 --count 50000 [--window 20]
 *
 * Broker in ENERLINK_MQTT_URL (mqtt://user:password@host:port). Each message has the meter's id and
 * the time of sending, to the millisecond; a meter never has two messages of one millisecond. With
 * --rate 0 it sends as fast as the broker confirms. Ends when everything is confirmed (PUBCOMP),
 * and prints messages, seconds, messages per second, and its own CPU per message.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/url.h"
#include "core/when.h"

enum { CONNECTIONS_MOST = 256, PAYLOAD_MOST = 4096, OUT_MOST = 1 << 20, IN_MOST = 1 << 16 };

struct connection {
    int fd;
    int in_flight;
    uint16_t next_id;
    char *out;
    size_t out_at, out_len;
    unsigned char in[IN_MOST];
    size_t in_len;
};

struct load {
    int connections, window;
    int64_t meters, rate, count;
    int64_t sent, confirmed;
    int64_t *meter_last_ms;
    struct connection *c;
};

static size_t put_string(char *at, const char *s, size_t len)
{
    at[0] = (char)(len >> 8);
    at[1] = (char)len;
    memcpy(at + 2, s, len);
    return len + 2;
}

static size_t put_header(char *at, int first, size_t remaining)
{
    size_t n = 0;

    at[n++] = (char)first;
    do {
        at[n++] = (char)((remaining & 0x7f) | (remaining > 0x7f ? 0x80 : 0));
        remaining >>= 7;
    } while (remaining);
    return n;
}

static void read_all(int fd, void *into, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = read(fd, (char *)into + done, len - done);
        if (n <= 0)
            die("the broker closed the connection");
        done += (size_t)n;
    }
}

static void mqtt_connect(struct connection *c, int index, const struct url *url)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *address;
    const char *user = url->user, *password = url->password;
    char packet[512], body[400], id[32], port[8];
    size_t len = 0;
    int one = 1;

    if ((user ? strlen(user) : 0) + (password ? strlen(password) : 0) > sizeof body - 100)
        die("ENERLINK_MQTT_URL: user and password are too long for a benchmark");
    snprintf(port, sizeof port, "%d", url->port);
    if (getaddrinfo(url->host, port, &hints, &address) != 0)
        die("cannot resolve the broker's host");
    c->fd = socket(address->ai_family, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, address->ai_addr, address->ai_addrlen) < 0)
        die("cannot connect to the broker: %s", strerror(errno));
    freeaddrinfo(address);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    len += put_string(body + len, "MQTT", 4);
    body[len++] = 4;                                                        /* 3.1.1 */
    body[len++] = (char)(0x02 | (user ? 0x80 : 0) | (password ? 0x40 : 0)); /* clean session */
    body[len++] = 0;
    body[len++] = 0; /* no keep alive: the run is bounded */
    snprintf(id, sizeof id, "bench-%d-%d", (int)getpid(), index);
    len += put_string(body + len, id, strlen(id));
    if (user)
        len += put_string(body + len, user, strlen(user));
    if (password)
        len += put_string(body + len, password, strlen(password));
    size_t head = put_header(packet, 0x10, len);
    memcpy(packet + head, body, len);
    if (write(c->fd, packet, head + len) != (ssize_t)(head + len))
        die("cannot write to the broker");
    unsigned char connack[4];
    read_all(c->fd, connack, sizeof connack);
    if (connack[0] != 0x20 || connack[3] != 0)
        die("the broker refused the connection: code %d", connack[3]);
    c->out = xmalloc(OUT_MOST);
    c->next_id = 1;
}

/* A message of 1.7 KB with every field of the specification. */
static size_t write_payload(char *out, int64_t meter, int64_t time_ms)
{
    char at[WHEN_TEXT_SIZE];
    double x = (double)((meter * 7919 + time_ms / 1000) % 100000) / 100;
    double wh = (double)(time_ms % 100000000) / 1000 + (double)meter;

    when_text(time_ms, at);
    int len = snprintf(
        out, PAYLOAD_MOST,
        "{\"meterId\":\"BENCH%06" PRId64 "\",\"datetime\":\"%s\",\"units\":{\"datetime\":"
        "\"ISO8601\",\"voltage\":\"V\",\"current\":\"mA\",\"power\":\"mW\",\"energy\":\"Wh\","
        "\"battery_soc\":\"%%\",\"battery_charge_rate\":\"%%/hr\"},\"data\":{\"battery\":{"
        "\"voltage\":4.04875,\"soc\":86.63281,\"charge_rate\":-5.824,\"is_charging\":false,"
        "\"estimated_capacity\":1732.656,\"alert_threshold\":10,\"alert_active\":false,"
        "\"connected\":true,\"valid\":true},"
        "\"export\":{\"voltage\":230.4,\"current\":0,\"power\":0,\"daily_energy\":0,"
        "\"total_energy\":4.0256,\"settlement_energy\":0,\"active\":false},"
        "\"import\":{\"voltage\":230.4,\"current\":%.2f,\"power\":%.1f,\"daily_energy\":%.4f,"
        "\"total_energy\":%.4f,\"settlement_energy\":12.3456,\"active\":true},"
        "\"load_smart_mtr\":{\"voltage\":230.4,\"current\":%.2f,\"power\":%.1f,"
        "\"daily_energy\":812.1234,\"total_energy\":%.4f},"
        "\"load_home\":{\"voltage\":230.4,\"current\":%.2f,\"power\":%.1f,"
        "\"daily_energy\":412.4321,\"total_energy\":%.4f},"
        "\"solar_input\":{\"voltage\":31.216,\"current\":0,\"power\":0,\"daily_energy\":3210.5,"
        "\"total_energy\":99123.25,\"generating\":false},"
        "\"solar_output\":{\"voltage\":230.1,\"current\":0,\"power\":0,\"daily_energy\":3010.25,"
        "\"total_energy\":95123.75,\"generating\":false},"
        "\"net_solar\":{\"solar_power\":0,\"load_power\":%.1f,\"net_power\":%.1f,"
        "\"solar_daily\":3010.25,\"load_daily\":1224.5555,\"net_daily\":1785.6945,"
        "\"solar_total\":95123.75,\"load_total\":%.4f,\"net_total\":%.4f,\"status\":\"deficit\"},"
        "\"net_grid\":{\"export_power\":0,\"import_power\":%.1f,\"net_power\":%.1f,"
        "\"export_daily\":0,\"import_daily\":%.4f,\"net_daily\":%.4f,\"export_total\":4.0256,"
        "\"import_total\":%.4f,\"net_total\":%.4f,\"status\":\"importing\"}}}",
        meter, at, x, x * 230.4, wh / 10, wh, x / 2, x * 115.2, wh / 2, x / 2, x * 115.2, wh / 2,
        x * 230.4, -x * 230.4, wh, 95123.75 - wh, x * 230.4, -x * 230.4, wh / 10, -wh / 10, wh,
        4.0256 - wh);
    return (size_t)len;
}

static void add_publish(struct load *load, struct connection *c)
{
    static const char topic[] = "enerlink/meters/data";
    char payload[PAYLOAD_MOST];
    int64_t meter = load->sent % load->meters, now_ms = clock_wall_ms(clock_system());

    if (now_ms <= load->meter_last_ms[meter])
        now_ms = load->meter_last_ms[meter] + 1;
    load->meter_last_ms[meter] = now_ms;
    size_t len = write_payload(payload, meter, now_ms);
    char *at = c->out + c->out_len;
    size_t n = put_header(at, 0x34, 2 + sizeof topic - 1 + 2 + len);
    n += put_string(at + n, topic, sizeof topic - 1);
    at[n++] = (char)(c->next_id >> 8);
    at[n++] = (char)c->next_id;
    memcpy(at + n, payload, len);
    c->out_len += n + len;
    c->next_id = c->next_id == 65535 ? 1 : (uint16_t)(c->next_id + 1);
    c->in_flight++;
    load->sent++;
}

static void add_pubrel(struct connection *c, const unsigned char *id)
{
    char packet[4] = {0x62, 2, (char)id[0], (char)id[1]};

    memcpy(c->out + c->out_len, packet, sizeof packet);
    c->out_len += sizeof packet;
}

static void flush(struct connection *c)
{
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0)
            die("writing to the broker: %s", strerror(errno));
        c->out_at += (size_t)n;
    }
    c->out_at = c->out_len = 0;
}

/* PUBREC asks for PUBREL, PUBCOMP confirms; all have four bytes. */
static void take_replies(struct load *load, struct connection *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, IN_MOST - c->in_len, MSG_DONTWAIT);
    size_t at = 0;

    if (n == 0)
        die("the broker closed the connection");
    if (n < 0)
        return;
    c->in_len += (size_t)n;
    for (; c->in_len - at >= 4; at += 4) {
        if (c->in[at] >> 4 == 5) {
            add_pubrel(c, c->in + at + 2);
        } else {
            c->in_flight--;
            load->confirmed++;
        }
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

static void run(struct load *load)
{
    struct pollfd fds[CONNECTIONS_MOST];
    int64_t began_ms = clock_mono_ms(clock_system());
    int turn = 0;

    while (load->confirmed < load->count) {
        int64_t elapsed_ms = clock_mono_ms(clock_system()) - began_ms;
        int64_t allowed = load->rate ? elapsed_ms * load->rate / 1000 : load->count;
        for (int tried = 0; tried < load->connections; tried++) {
            struct connection *c = &load->c[turn++ % load->connections];
            while (load->sent < load->count && load->sent < allowed &&
                   c->in_flight < load->window && c->out_len < OUT_MOST - 2 * PAYLOAD_MOST) {
                add_publish(load, c);
                if (load->rate)
                    break;
            }
        }
        for (int i = 0; i < load->connections; i++) {
            flush(&load->c[i]);
            fds[i] =
                (struct pollfd){.fd = load->c[i].fd,
                                .events = (short)(POLLIN | (load->c[i].out_len ? POLLOUT : 0))};
        }
        if (poll(fds, (nfds_t)load->connections, 1) > 0)
            for (int i = 0; i < load->connections; i++)
                if (fds[i].revents & (POLLIN | POLLHUP))
                    take_replies(load, &load->c[i]);
        if (clock_mono_ms(clock_system()) - began_ms > 600000)
            die("not confirmed within 10 minutes: %" PRId64 " of %" PRId64, load->confirmed,
                load->count);
    }
    double seconds = (double)(clock_mono_ms(clock_system()) - began_ms) / 1000;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("messages %" PRId64 " seconds %.2f rate %.0f publisher_us %.1f\n", load->confirmed,
           seconds, (double)load->confirmed / seconds, cpu * 1e6 / (double)load->confirmed);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"connections", required_argument, NULL, 'c'}, {"meters", required_argument, NULL, 'm'},
        {"rate", required_argument, NULL, 'r'},        {"count", required_argument, NULL, 'n'},
        {"window", required_argument, NULL, 'w'},      {0}};
    struct load load = {.connections = 10, .window = 20, .meters = 10000, .count = 50000};
    const char *text = getenv("ENERLINK_MQTT_URL");
    struct url url;
    struct err e;

    log_init("publish");
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'c':
            load.connections = atoi(optarg);
            break;
        case 'm':
            load.meters = atoll(optarg);
            break;
        case 'r':
            load.rate = atoll(optarg);
            break;
        case 'n':
            load.count = atoll(optarg);
            break;
        case 'w':
            load.window = atoi(optarg);
            break;
        default:
            return 2;
        }
    }
    if (!text || load.connections < 1 || load.connections > CONNECTIONS_MOST || load.meters < 1)
        die("usage: ENERLINK_MQTT_URL=... publish [--connections N] [--meters N] [--rate N] ...");
    if (!url_parse(text, URL_MQTT, &url, &e))
        die("ENERLINK_MQTT_URL: %s", e.text);
    if (url.encrypted)
        die("ENERLINK_MQTT_URL: the benchmark speaks mqtt:// only");
    load.meter_last_ms = xcalloc((size_t)load.meters, sizeof *load.meter_last_ms);
    load.c = xcalloc((size_t)load.connections, sizeof *load.c);
    for (int i = 0; i < load.connections; i++)
        mqtt_connect(&load.c[i], i, &url);
    url_clear(&url);
    run(&load);
    return 0;
}
