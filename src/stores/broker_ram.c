#include "stores/broker_ram.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* One allocation holds the texts too, so that a pointer kept too long is found by the sanitizer. */
struct stored {
    struct stored *next;
    struct broker_message message;
    char texts[];
};

struct broker_ram {
    struct broker base;
    struct stored *first, **end;
    struct stored *next_out; /* the first one not given out, NULL: none */
    size_t waiting;
    bool dropped;
    struct broker_stats stats;
};

static struct broker_ram *self(struct broker *b)
{
    return (struct broker_ram *)b;
}

static bool say_dropped(struct err *e)
{
    return err_set(e, ERR_RETRY, "the connection to the broker was dropped");
}

/* Give everything out anew, as far as it was given out marked as possibly delivered before. */
static void reconnect(struct broker_ram *r)
{
    for (struct stored *s = r->first; s != r->next_out; s = s->next)
        s->message.redelivered = true;
    r->next_out = r->first;
    r->dropped = false;
    r->stats.reconnects++;
}

static int receive(struct broker *b, struct broker_message *out, int most, int wait_ms,
                   struct err *e)
{
    struct broker_ram *r = self(b);
    int n = 0;

    (void)wait_ms;
    if (r->dropped) {
        reconnect(r);
        say_dropped(e);
        return -1;
    }
    while (n < most && r->next_out) {
        const struct broker_message *m = &r->next_out->message;
        r->stats.received++;
        r->stats.redelivered += m->redelivered;
        r->stats.bytes_received += m->topic_len + m->payload_len;
        out[n++] = *m;
        r->next_out = r->next_out->next;
    }
    return n;
}

static void remove_first(struct broker_ram *r)
{
    struct stored *s = r->first;

    r->first = s->next;
    if (!r->first)
        r->end = &r->first;
    r->waiting--;
    free(s);
}

static bool acknowledge(struct broker *b, struct err *e)
{
    struct broker_ram *r = self(b);

    if (r->dropped)
        return say_dropped(e);
    while (r->first != r->next_out) {
        remove_first(r);
        r->stats.acknowledged++;
    }
    return true;
}

static void stats(const struct broker *b, struct broker_stats *out)
{
    const struct broker_ram *r = (const struct broker_ram *)b;

    *out = r->stats;
    out->connected = !r->dropped;
}

static void close_broker(struct broker *b)
{
    struct broker_ram *r = self(b);

    while (r->first)
        remove_first(r);
    free(r);
}

static const struct broker_ops ops = {
    .receive = receive, .acknowledge = acknowledge, .stats = stats, .close = close_broker};

struct broker *broker_ram_open(void)
{
    struct broker_ram *r = xcalloc(1, sizeof *r);

    r->base.ops = &ops;
    r->end = &r->first;
    return &r->base;
}

static char *append(char *at, const char *bytes, size_t len)
{
    if (len)
        memcpy(at, bytes, len);
    return at + len;
}

void broker_ram_publish(struct broker *b, const char *topic, const char *payload,
                        size_t payload_len, const char *publisher)
{
    struct broker_ram *r = self(b);
    size_t topic_len = strlen(topic);
    size_t publisher_len = publisher ? strlen(publisher) : 0;
    struct stored *s = xmalloc(sizeof *s + topic_len + payload_len + publisher_len);
    char *payload_at = append(s->texts, topic, topic_len);
    char *publisher_at = append(payload_at, payload, payload_len);

    append(publisher_at, publisher, publisher_len);
    s->next = NULL;
    s->message = (struct broker_message){.topic = s->texts,
                                         .topic_len = topic_len,
                                         .payload = payload_at,
                                         .payload_len = payload_len,
                                         .publisher = publisher ? publisher_at : NULL,
                                         .publisher_len = publisher_len};
    *r->end = s;
    r->end = &s->next;
    if (!r->next_out)
        r->next_out = s;
    r->waiting++;
}

void broker_ram_drop_connection(struct broker *b)
{
    self(b)->dropped = true;
}

size_t broker_ram_waiting(const struct broker *b)
{
    return ((const struct broker_ram *)b)->waiting;
}
