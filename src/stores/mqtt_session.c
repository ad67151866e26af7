#include "stores/mqtt_session.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "stores/mqtt_codec.h"

enum {
    BLOCK_BYTES = 256 * 1024,
    SPARE_BLOCKS_MOST = 32,   /* kept for the next burst */
    ROOM_LEAST = 16 * 1024,   /* less than this is not worth a system call */
    OUTPUT_MOST = 256 * 1024, /* a broker that takes nothing is given nothing to do either */
    SUBSCRIBE_ID = 1,
    UNSUBSCRIBE_ID = 2,
};

/*
 * Received bytes, in the order of arrival. Messages point into them, so that a block neither moves
 * nor goes away before the last message in it is acknowledged.
 */
struct block {
    struct block *next;
    size_t cap, used;
    uint64_t last; /* number of the newest message in it, 0: none */
    char bytes[];
};

struct pending {
    struct broker_message message;
    size_t packet_bytes;
    uint16_t packet_id; /* 0: nothing to acknowledge (QoS 0) */
};

enum state { STATE_CLOSED, STATE_CONNECTING, STATE_SUBSCRIBING, STATE_UNSUBSCRIBING, STATE_READY };

struct mqtt_session {
    char *client_id, *user, *password;
    char **filters; /* as subscribed, with the share group */
    char **topics;  /* as configured */
    size_t n_topics;
    bool shared;
    uint32_t session_expiry_s;
    uint16_t receive_maximum, keep_alive_asked_s;
    size_t packet_most, pending_messages_most, pending_bytes_most;

    enum state state;
    bool resumed;
    bool had_session; /* this process was subscribed before: the broker ought to know us */
    bool was_connected;

    struct block *oldest, *newest, *spare;
    size_t n_spare;
    size_t parsed; /* bytes of *newest that are done with */
    size_t wanted; /* size of the packet that begins there, 0: not known */

    /* Messages are numbered as they come; message n is ring[(n - 1) & ring_mask]. */
    struct pending *ring;
    uint64_t ring_mask;
    uint64_t acknowledged, taken, received; /* highest numbers so far */
    size_t pending_bytes;
    size_t in_flight; /* with QoS 1, received and not acknowledged */

    struct buf out;
    size_t out_sent;

    int64_t keep_alive_ms;
    int64_t sent_ms;      /* when something was last sent */
    int64_t asked_ms;     /* when the oldest PINGREQ without an answer was sent */
    int64_t now_ms;       /* as last told */
    bool awaiting_answer; /* to a PINGREQ */

    struct broker_stats stats;
};

/* ---- Options -------------------------------------------------------------------------------- */

static bool is_text(const char *s)
{
    size_t len = strlen(s);

    return len > 0 && len <= MQTT_TEXT_MOST && utf8_valid_prefix(s, len) == len;
}

/* Section 4.7.1: '+' fills a level, '#' fills the last one. */
static bool is_filter(const char *s)
{
    if (!is_text(s))
        return false;
    for (const char *p = s; *p; p++) {
        bool begins = p == s || p[-1] == '/';
        bool ends = p[1] == '\0' || p[1] == '/';
        if (*p == '+' && !(begins && ends))
            return false;
        if (*p == '#' && !(begins && p[1] == '\0'))
            return false;
    }
    return true;
}

static bool check_options(const struct mqtt_session_options *o, struct err *e)
{
    if (!o->client_id || !is_text(o->client_id))
        return err_set(e, ERR_FATAL, "the MQTT client id must be a text of 1 to 65535 bytes");
    if ((o->user && !is_text(o->user)) || (o->password && strlen(o->password) > MQTT_TEXT_MOST))
        return err_set(e, ERR_FATAL,
                       "the MQTT user or password is longer than 65535 bytes or "
                       "not UTF-8");
    if (!o->topics || !o->topics[0])
        return err_set(e, ERR_FATAL, "there is no MQTT topic to subscribe to");
    for (size_t i = 0; o->topics[i]; i++)
        if (!is_filter(o->topics[i]))
            return err_set(e, ERR_FATAL, "\"%s\" is no MQTT topic filter", o->topics[i]);
    if (o->share_group && (!is_text(o->share_group) || strpbrk(o->share_group, "/+#")))
        return err_set(e, ERR_FATAL,
                       "\"%s\" is no name for an MQTT share group: use letters and "
                       "digits",
                       o->share_group);
    if (o->session_expiry_s == 0 || o->receive_maximum == 0 || o->keep_alive_s == 0)
        return err_set(e, ERR_FATAL,
                       "MQTT session expiry, receive maximum and keep alive must be "
                       "at least 1");
    if (o->pending_messages_most == 0 || o->pending_bytes_most == 0 || o->packet_most < 2)
        return err_set(e, ERR_FATAL, "the bounds of what may be pending must be at least 1");
    return true;
}

/* Section 4.8.2: $share/{group}/{filter}. */
static char *shared_filter(const char *group, const char *topic)
{
    struct buf b;

    buf_init(&b, 0);
    buf_addf(&b, "$share/%s/%s", group, topic);
    return b.data;
}

static void copy_topics(struct mqtt_session *s, const struct mqtt_session_options *o)
{
    while (o->topics[s->n_topics])
        s->n_topics++;
    s->topics = xcalloc(s->n_topics, sizeof *s->topics);
    s->filters = xcalloc(s->n_topics, sizeof *s->filters);
    s->shared = o->share_group;
    for (size_t i = 0; i < s->n_topics; i++) {
        s->topics[i] = xstrdup(o->topics[i]);
        s->filters[i] =
            o->share_group ? shared_filter(o->share_group, o->topics[i]) : xstrdup(o->topics[i]);
    }
}

static char *copy_or_null(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

static uint64_t power_of_two_from(size_t n)
{
    uint64_t p = 1;

    while (p < n)
        p *= 2;
    return p;
}

/* ---- Blocks --------------------------------------------------------------------------------- */

static struct block *block_get(struct mqtt_session *s, size_t bytes)
{
    struct block *b = s->spare;

    if (bytes <= BLOCK_BYTES && b) {
        s->spare = b->next;
        s->n_spare--;
    } else {
        size_t cap = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        b = xmalloc(sizeof *b + cap);
        b->cap = cap;
    }
    b->next = NULL;
    b->used = 0;
    b->last = 0;
    return b;
}

static void block_put(struct mqtt_session *s, struct block *b)
{
    if (b->cap != BLOCK_BYTES || s->n_spare == SPARE_BLOCKS_MOST) {
        free(b);
        return;
    }
    b->next = s->spare;
    s->spare = b;
    s->n_spare++;
}

/* Blocks that no message points into any more, but for the one being filled. */
static void release_blocks(struct mqtt_session *s)
{
    while (s->oldest != s->newest && s->oldest->last <= s->acknowledged) {
        struct block *b = s->oldest;
        s->oldest = b->next;
        block_put(s, b);
    }
}

/* Make the newest block one that can take the rest of the packet begun, or a good read. */
static void make_room(struct mqtt_session *s)
{
    struct block *b = s->newest;
    size_t part = b->used - s->parsed;
    size_t need = s->wanted > part + ROOM_LEAST ? s->wanted : part + ROOM_LEAST;
    bool is_free = b->last <= s->acknowledged;

    if (is_free && need <= b->cap && (part == 0 || b->cap - s->parsed < need)) {
        memmove(b->bytes, b->bytes + s->parsed, part);
    } else if (b->cap - s->parsed >= need) {
        return;
    } else {
        b->next = block_get(s, need);
        memcpy(b->next->bytes, b->bytes + s->parsed, part);
        s->newest = b->next;
        release_blocks(s);
    }
    s->newest->used = part;
    s->parsed = 0;
}

/* ---- Life ----------------------------------------------------------------------------------- */

struct mqtt_session *mqtt_session_new(const struct mqtt_session_options *o, struct err *e)
{
    if (!check_options(o, e))
        return NULL;
    struct mqtt_session *s = xcalloc(1, sizeof *s);
    uint64_t slots = power_of_two_from(o->pending_messages_most);

    s->client_id = xstrdup(o->client_id);
    s->user = copy_or_null(o->user);
    s->password = copy_or_null(o->password);
    copy_topics(s, o);
    s->session_expiry_s = o->session_expiry_s;
    s->receive_maximum = o->receive_maximum;
    s->keep_alive_asked_s = o->keep_alive_s;
    s->packet_most = o->packet_most;
    s->pending_messages_most = o->pending_messages_most;
    s->pending_bytes_most = o->pending_bytes_most;
    s->ring = xcalloc(slots, sizeof *s->ring);
    s->ring_mask = slots - 1;
    s->oldest = s->newest = block_get(s, 0);
    buf_init(&s->out, 0);
    return s;
}

static void free_blocks(struct block *b)
{
    while (b) {
        struct block *next = b->next;
        free(b);
        b = next;
    }
}

void mqtt_session_free(struct mqtt_session *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_topics; i++) {
        free(s->topics[i]);
        free(s->filters[i]);
    }
    free(s->topics);
    free(s->filters);
    free(s->client_id);
    free(s->user);
    if (s->password)
        explicit_bzero(s->password, strlen(s->password));
    free(s->password);
    free_blocks(s->oldest);
    free_blocks(s->spare);
    free(s->ring);
    buf_clear(&s->out);
    free(s);
}

/* What a former connection brought and was not acknowledged comes again: forget it. */
static void forget_connection(struct mqtt_session *s)
{
    s->acknowledged = s->taken = s->received;
    s->pending_bytes = 0;
    s->in_flight = 0;
    release_blocks(s);
    s->newest->used = s->parsed = s->wanted = 0;
    buf_reset(&s->out);
    s->out_sent = 0;
    s->awaiting_answer = false;
}

void mqtt_session_connect(struct mqtt_session *s, int64_t now_ms)
{
    forget_connection(s);
    s->state = STATE_CONNECTING;
    s->resumed = false;
    s->keep_alive_ms = s->keep_alive_asked_s * INT64_C(1000);
    s->sent_ms = s->now_ms = now_ms;
    mqtt_put_connect(&s->out, &(struct mqtt_connect){
                                  .client_id = s->client_id,
                                  .user = s->user,
                                  .password = s->password,
                                  .keep_alive_s = s->keep_alive_asked_s,
                                  .session_expiry_s = s->session_expiry_s,
                                  .receive_maximum = s->receive_maximum,
                                  .packet_most = (uint32_t)s->packet_most,
                              });
}

void mqtt_session_disconnect(struct mqtt_session *s)
{
    if (s->state != STATE_CLOSED)
        mqtt_put_disconnect(&s->out, MQTT_NORMAL);
    s->state = STATE_CLOSED;
}

/* ---- What the broker sends ------------------------------------------------------------------ */

/* " (its words)": reason string and server reference, as far as they are there. */
static void add_broker_words(const struct mqtt_packet *p, struct err *e)
{
    static const enum mqtt_property words[] = {MQTT_REASON_STRING, MQTT_SERVER_REFERENCE};

    for (size_t i = 0; e && i < sizeof words / sizeof *words; i++) {
        if (!mqtt_has(p, words[i]))
            continue;
        struct mqtt_text text = p->properties.value[words[i]].text;
        size_t used = strlen(e->text);
        snprintf(e->text + used, sizeof e->text - used, " (%.*s)",
                 (int)(text.len < 100 ? text.len : 100), text.at);
    }
}

static enum err_kind kind_of(enum mqtt_reason reason)
{
    return mqtt_reason_is_final(reason) ? ERR_FATAL : ERR_RETRY;
}

/* Sections 3.2.2.1.1 and 3.2.2.3: is this the session we need? */
static bool check_granted(struct mqtt_session *s, const struct mqtt_packet *p, struct err *e)
{
    uint32_t expiry_s = mqtt_number(p, MQTT_SESSION_EXPIRY, s->session_expiry_s);

    if (expiry_s < s->session_expiry_s)
        return err_set(e, ERR_FATAL,
                       "the broker keeps a session for %u s only, %u s are asked for: messages of "
                       "a longer outage would be lost; raise its limit or ask for less",
                       expiry_s, s->session_expiry_s);
    if (mqtt_number(p, MQTT_MAXIMUM_QOS, 2) < 1)
        return err_set(e, ERR_FATAL, "the broker offers QoS 0 only, QoS 1 is needed");
    if (s->shared && !mqtt_number(p, MQTT_SHARED_AVAILABLE, 1))
        return err_set(e, ERR_FATAL,
                       "the broker has no shared subscriptions, but a share group is "
                       "configured: remove it, or use another broker");
    return true;
}

static bool handle_connack(struct mqtt_session *s, const struct mqtt_packet *p, struct err *e)
{
    static const enum mqtt_reason last_of_mqtt_3 = 5;

    if (s->state != STATE_CONNECTING)
        return err_set(e, ERR_RETRY, "the broker sent CONNACK twice");
    if (p->reason != MQTT_NORMAL && p->reason <= last_of_mqtt_3)
        return err_set(e, ERR_FATAL, "the broker refuses with code %d of MQTT 3; MQTT 5 is needed",
                       (int)p->reason);
    if (p->reason != MQTT_NORMAL) {
        err_set(e, kind_of(p->reason), "the broker refuses the connection: %s (0x%02x)",
                mqtt_reason_name(p->reason), (unsigned)p->reason);
        add_broker_words(p, e);
        return false;
    }
    if (!check_granted(s, p, e))
        return false;
    s->resumed = p->session_present;
    s->stats.sessions_lost += s->had_session && !s->resumed;
    s->stats.reconnects += s->was_connected;
    s->was_connected = true;
    s->keep_alive_ms =
        mqtt_number(p, MQTT_SERVER_KEEP_ALIVE, s->keep_alive_asked_s) * INT64_C(1000);
    s->state = STATE_SUBSCRIBING;
    mqtt_put_subscribe(&s->out, SUBSCRIBE_ID, (const char *const *)s->filters, s->n_topics);
    return true;
}

static bool check_subscription(const char *filter, enum mqtt_reason reason,
                               const struct mqtt_packet *p, struct err *e)
{
    if (reason >= MQTT_FAILURE) {
        err_set(e, kind_of(reason), "the broker refuses the subscription to %s: %s (0x%02x)",
                filter, mqtt_reason_name(reason), (unsigned)reason);
        add_broker_words(p, e);
        return false;
    }
    if (reason != 1)
        return err_set(e, ERR_FATAL, "the broker granted QoS %d for %s, QoS 1 is needed",
                       (int)reason, filter);
    return true;
}

static bool check_answer(const struct mqtt_session *s, const struct mqtt_packet *p,
                         enum state state, uint16_t packet_id, struct err *e)
{
    if (s->state == state && p->packet_id == packet_id && p->reasons.len == s->n_topics)
        return true;
    return err_set(e, ERR_RETRY, "the broker answered a subscription that was not asked for");
}

static bool handle_suback(struct mqtt_session *s, const struct mqtt_packet *p, struct err *e)
{
    if (!check_answer(s, p, STATE_SUBSCRIBING, SUBSCRIBE_ID, e))
        return false;
    for (size_t i = 0; i < s->n_topics; i++)
        if (!check_subscription(s->filters[i], (unsigned char)p->reasons.at[i], p, e))
            return false;
    s->had_session = true;
    if (!s->shared || !s->resumed) {
        s->state = STATE_READY;
        return true;
    }
    /* A session from before the share group was configured would get every message besides. */
    s->state = STATE_UNSUBSCRIBING;
    mqtt_put_unsubscribe(&s->out, UNSUBSCRIBE_ID, (const char *const *)s->topics, s->n_topics);
    return true;
}

static bool handle_unsuback(struct mqtt_session *s, const struct mqtt_packet *p, struct err *e)
{
    if (!check_answer(s, p, STATE_UNSUBSCRIBING, UNSUBSCRIBE_ID, e))
        return false;
    s->state = STATE_READY;
    return true;
}

static void remember(struct mqtt_session *s, const struct mqtt_packet *p)
{
    s->ring[s->received & s->ring_mask] = (struct pending){
        .message = {.topic = p->topic.at,
                    .topic_len = p->topic.len,
                    .payload = p->payload.at,
                    .payload_len = p->payload.len,
                    .redelivered = p->duplicate,
                    .publisher = p->properties.publisher.at,
                    .publisher_len = p->properties.publisher.len},
        .packet_bytes = p->size,
        .packet_id = p->packet_id,
    };
    s->received++;
    s->newest->last = s->received;
    s->pending_bytes += p->size;
}

/*
 * A broker that sends more than the Receive Maximum is counted and not sent away: mosquitto
 * before 2.0.13 does so whenever it has a backlog, and would only do so again.
 */
static bool handle_publish(struct mqtt_session *s, const struct mqtt_packet *p, struct err *e)
{
    if (p->qos > 1)
        return err_set(e, ERR_FATAL,
                       "the broker delivers with QoS 2 to a session of QoS 1: an "
                       "older subscription of this client id; remove that session");
    if (mqtt_has(p, MQTT_TOPIC_ALIAS))
        return err_set(e, ERR_RETRY, "the broker uses a topic alias, and none was allowed");
    remember(s, p);
    s->in_flight += p->qos > 0;
    s->stats.received++;
    s->stats.redelivered += p->duplicate;
    s->stats.window_violations += p->qos > 0 && s->in_flight > s->receive_maximum;
    return true;
}

/* Any byte at all shows that the broker lives; mqtt_session_received has seen to that. */
static bool handle_pingresp(struct mqtt_session *s, const struct mqtt_packet *p, struct err *e)
{
    (void)s;
    (void)p;
    (void)e;
    return true;
}

static bool handle_puback(struct mqtt_session *s, const struct mqtt_packet *p, struct err *e)
{
    (void)s;
    (void)p;
    return err_set(e, ERR_RETRY, "the broker acknowledged a message that was never sent");
}

static bool handle_disconnect(struct mqtt_session *s, const struct mqtt_packet *p, struct err *e)
{
    (void)s;
    err_set(e, ERR_RETRY, "the broker ended the connection: %s (0x%02x)",
            mqtt_reason_name(p->reason), (unsigned)p->reason);
    add_broker_words(p, e);
    return false;
}

/* For the packets that decode at all, and what the broker is told when the handler refuses. */
static const struct {
    bool (*handle)(struct mqtt_session *s, const struct mqtt_packet *p, struct err *e);
    enum mqtt_reason refusal; /* MQTT_NORMAL: nothing, the connection is just closed */
} handlers[MQTT_TYPE_COUNT] = {
    [MQTT_CONNACK] = {handle_connack, MQTT_NORMAL},
    [MQTT_PUBLISH] = {handle_publish, MQTT_PROTOCOL_ERROR},
    [MQTT_PUBACK] = {handle_puback, MQTT_PROTOCOL_ERROR},
    [MQTT_SUBACK] = {handle_suback, MQTT_NORMAL},
    [MQTT_UNSUBACK] = {handle_unsuback, MQTT_PROTOCOL_ERROR},
    [MQTT_PINGRESP] = {handle_pingresp, MQTT_NORMAL},
    [MQTT_DISCONNECT] = {handle_disconnect, MQTT_NORMAL},
};

static bool give_up(struct mqtt_session *s, enum mqtt_reason reason)
{
    if (reason != MQTT_NORMAL)
        mqtt_put_disconnect(&s->out, reason);
    s->state = STATE_CLOSED;
    return false;
}

static bool handle(struct mqtt_session *s, const struct mqtt_packet *p, struct err *e)
{
    if (s->state == STATE_CONNECTING && p->type != MQTT_CONNACK && p->type != MQTT_DISCONNECT) {
        err_set(e, ERR_RETRY, "the broker did not begin with CONNACK");
        return give_up(s, MQTT_PROTOCOL_ERROR);
    }
    if (!handlers[p->type].handle(s, p, e))
        return give_up(s, handlers[p->type].refusal);
    return true;
}

static bool is_full(const struct mqtt_session *s)
{
    return s->received - s->acknowledged >= s->pending_messages_most;
}

bool mqtt_session_received(struct mqtt_session *s, size_t n, int64_t now_ms, struct err *e)
{
    struct block *b = s->newest;
    struct mqtt_packet p;

    assert(n <= b->cap - b->used);
    b->used += n;
    s->stats.bytes_received += n;
    s->now_ms = now_ms;
    if (n > 0)
        s->awaiting_answer = false;
    while (!is_full(s) && s->state != STATE_CLOSED) {
        switch (mqtt_decode(b->bytes + s->parsed, b->used - s->parsed, s->packet_most, &p, e)) {
        case MQTT_INCOMPLETE:
            s->wanted = p.size;
            return true;
        case MQTT_BROKEN:
            return give_up(s, p.reason);
        case MQTT_COMPLETE:
            s->parsed += p.size;
            s->wanted = 0;
            if (!handle(s, &p, e))
                return false;
        }
    }
    return true;
}

char *mqtt_session_space(struct mqtt_session *s, size_t *room)
{
    *room = 0;
    if (is_full(s) || s->pending_bytes >= s->pending_bytes_most ||
        s->out.len - s->out_sent > OUTPUT_MOST)
        return NULL;
    make_room(s);
    *room = s->newest->cap - s->newest->used;
    return s->newest->bytes + s->newest->used;
}

/* ---- What the caller takes and sends -------------------------------------------------------- */

size_t mqtt_session_waiting(const struct mqtt_session *s)
{
    return s->received - s->taken;
}

int mqtt_session_take(struct mqtt_session *s, struct broker_message *out, int most)
{
    int n = 0;

    while (n < most && s->taken < s->received)
        out[n++] = s->ring[s->taken++ & s->ring_mask].message;
    return n;
}

void mqtt_session_acknowledge(struct mqtt_session *s)
{
    while (s->acknowledged < s->taken) {
        const struct pending *p = &s->ring[s->acknowledged++ & s->ring_mask];
        s->pending_bytes -= p->packet_bytes;
        s->stats.acknowledged++;
        if (p->packet_id) {
            mqtt_put_puback(&s->out, p->packet_id);
            s->in_flight--;
        }
    }
    release_blocks(s);
}

const char *mqtt_session_output(const struct mqtt_session *s, size_t *len)
{
    *len = s->out.len - s->out_sent;
    return *len ? s->out.data + s->out_sent : NULL;
}

void mqtt_session_sent(struct mqtt_session *s, size_t n)
{
    s->out_sent += n;
    assert(s->out_sent <= s->out.len);
    if (n > 0)
        s->sent_ms = s->now_ms;
    if (s->out_sent < s->out.len)
        return;
    buf_reset(&s->out);
    s->out_sent = 0;
}

/* ---- Keep alive, section 3.1.2.10 ----------------------------------------------------------- */

/*
 * Half the interval, so that a caller who is busy elsewhere for the other half is not sent away.
 * A server may switch keep alive off by an interval of 0; a dead one must be found all the same.
 */
static int64_t ping_interval_ms(const struct mqtt_session *s)
{
    int64_t interval_ms =
        s->keep_alive_ms ? s->keep_alive_ms : s->keep_alive_asked_s * INT64_C(1000);

    return interval_ms / 2;
}

bool mqtt_session_tick(struct mqtt_session *s, int64_t now_ms, bool drained, struct err *e)
{
    s->now_ms = now_ms;
    if (s->state == STATE_CLOSED || s->state == STATE_CONNECTING)
        return true;
    if (!drained)
        s->asked_ms = now_ms;
    if (s->awaiting_answer && now_ms - s->asked_ms >= 2 * ping_interval_ms(s)) {
        err_set(e, ERR_RETRY, "the broker has not answered a PINGREQ for %lld s",
                (long long)(now_ms - s->asked_ms) / 1000);
        return give_up(s, MQTT_NORMAL);
    }
    if (now_ms - s->sent_ms < ping_interval_ms(s))
        return true;
    mqtt_put_pingreq(&s->out);
    s->sent_ms = now_ms;
    if (!s->awaiting_answer)
        s->asked_ms = now_ms;
    s->awaiting_answer = true;
    return true;
}

int64_t mqtt_session_due_ms(const struct mqtt_session *s)
{
    int64_t ping_ms = s->sent_ms + ping_interval_ms(s);
    int64_t silent_ms = s->asked_ms + 2 * ping_interval_ms(s);

    return s->awaiting_answer && silent_ms < ping_ms ? silent_ms : ping_ms;
}

/* ---- What it is like ------------------------------------------------------------------------ */

bool mqtt_session_ready(const struct mqtt_session *s)
{
    return s->state == STATE_READY;
}

const char *mqtt_session_waits_for(const struct mqtt_session *s)
{
    static const char *const words[] = {
        [STATE_CLOSED] = "a connection", [STATE_CONNECTING] = "CONNACK",
        [STATE_SUBSCRIBING] = "SUBACK",  [STATE_UNSUBSCRIBING] = "UNSUBACK",
        [STATE_READY] = "messages",
    };

    return words[s->state];
}

bool mqtt_session_resumed(const struct mqtt_session *s)
{
    return s->resumed;
}

void mqtt_session_stats(const struct mqtt_session *s, struct broker_stats *out)
{
    *out = s->stats;
    out->connected = mqtt_session_ready(s);
}
