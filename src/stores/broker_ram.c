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
    struct stored *lost;     /* with the session; still seen by who received them */
    size_t waiting;
    bool dropped;
    size_t acks_to_lose;
    int batch_most; /* 0: no limit */
    struct broker_stats stats;
    struct ram_gate gate;
};

static struct broker_ram *self(struct broker *b)
{
    return (struct broker_ram *)b;
}

static bool say_dropped(struct err *e)
{
    return err_set(e, ERR_RETRY, "the connection to the broker was dropped");
}

static void free_messages(struct stored *s)
{
    while (s) {
        struct stored *next = s->next;
        free(s);
        s = next;
    }
}

/* Give everything out anew, as far as it was given out marked as possibly delivered before. */
static void reconnect(struct broker_ram *r)
{
    free_messages(r->lost);
    r->lost = NULL;
    for (struct stored *s = r->first; s != r->next_out; s = s->next)
        s->message.redelivered = true;
    r->next_out = r->first;
    r->dropped = false;
    r->stats.reconnects++;
}

static int give_out(struct broker_ram *r, struct broker_message *out, int most)
{
    int n = 0;

    if (r->batch_most > 0 && r->batch_most < most)
        most = r->batch_most;
    for (; n < most && r->next_out; r->next_out = r->next_out->next)
        out[n++] = r->next_out->message;
    return n;
}

static int receive(struct broker *b, struct broker_message *out, int most, int wait_ms,
                   struct err *e)
{
    struct broker_ram *r = self(b);
    enum ram_fault fault = ram_ask(&r->gate, "receive", RAM_WRITES);
    bool arrives = fault == RAM_FINE && !r->dropped;
    int n = arrives || fault == RAM_FAIL_AFTER ? give_out(r, out, most) : 0;

    (void)wait_ms;
    if (!arrives) {
        reconnect(r);
        say_dropped(e);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        r->stats.received++;
        r->stats.redelivered += out[i].redelivered;
        r->stats.bytes_received += out[i].topic_len + out[i].payload_len;
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

static size_t count_given_out(const struct broker_ram *r)
{
    size_t n = 0;

    for (const struct stored *s = r->first; s != r->next_out; s = s->next)
        n++;
    return n;
}

/* Those of the last ones may be lost with the connection behind them. */
static void take_acknowledgements(struct broker_ram *r)
{
    size_t n = count_given_out(r);

    r->stats.acknowledged += n;
    if (n > 0 && r->acks_to_lose > 0) {
        n -= r->acks_to_lose < n ? r->acks_to_lose : n;
        r->acks_to_lose = 0;
        r->dropped = true;
    }
    while (n-- > 0)
        remove_first(r);
}

static bool acknowledge(struct broker *b, struct err *e)
{
    struct broker_ram *r = self(b);
    enum ram_fault fault = ram_ask(&r->gate, "acknowledge", RAM_WRITES);
    bool was_dropped = r->dropped;

    r->dropped = was_dropped || fault != RAM_FINE;
    if (!was_dropped && (fault == RAM_FINE || fault == RAM_FAIL_AFTER))
        take_acknowledgements(r);
    return (!was_dropped && fault == RAM_FINE) || say_dropped(e);
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

    free_messages(r->first);
    free_messages(r->lost);
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

void broker_ram_set_faults(struct broker *b, const struct ram_faults *faults)
{
    ram_set_faults(&self(b)->gate, faults);
}

void broker_ram_drop_connection(struct broker *b)
{
    self(b)->dropped = true;
}

void broker_ram_lose_session(struct broker *b)
{
    struct broker_ram *r = self(b);

    *r->end = r->lost;
    r->lost = r->first;
    r->first = r->next_out = NULL;
    r->end = &r->first;
    r->waiting = 0;
    r->dropped = true;
    r->stats.sessions_lost++;
}

void broker_ram_duplicate_next(struct broker *b, size_t n)
{
    self(b)->acks_to_lose = n;
}

void broker_ram_limit_batch(struct broker *b, int most)
{
    self(b)->batch_most = most;
}

size_t broker_ram_waiting(const struct broker *b)
{
    return ((const struct broker_ram *)b)->waiting;
}

void broker_ram_each_waiting(const struct broker *b, broker_ram_message_fn *fn, void *ctx)
{
    for (const struct stored *s = ((const struct broker_ram *)b)->first; s; s = s->next)
        fn(ctx, &s->message);
}
