#include "core/reading.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "core/json_scan.h"
#include "core/unit.h"
#include "core/when.h"

static_assert((int)MESSAGE_SIZE_MOST == (int)JSON_TEXT_MOST, "the scanner takes any message");

const char *fault_name(enum reading_fault f)
{
    static const char *const names[] = {
#define X(id, name) name,
        READING_FAULTS(X)
#undef X
    };
    return names[f];
}

bool meter_id_valid(const char *s, size_t len)
{
    if (len == 0 || len >= METER_ID_SIZE || (len == 3 && memcmp(s, "all", 3) == 0))
        return false;
    for (size_t i = 0; i < len; i++) {
        bool letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z');
        bool digit = s[i] >= '0' && s[i] <= '9';
        bool mark = i > 0 && (s[i] == '.' || s[i] == '_' || s[i] == '-');
        if (!letter && !digit && !mark)
            return false;
    }
    return true;
}

enum reading_fault reading_check_time(const struct reading *r, int64_t now_ms,
                                      const struct time_limits *limits)
{
    const int64_t year_2020_ms = INT64_C(1577836800000);

    if (r->time_ms < year_2020_ms)
        return FAULT_BEFORE_2020;
    if (r->time_ms > now_ms && r->time_ms - now_ms > limits->future_ms)
        return FAULT_IN_FUTURE;
    if (r->time_ms < now_ms && now_ms - r->time_ms > limits->past_ms)
        return FAULT_TOO_OLD;
    return FAULT_NONE;
}

/* ---- What a payload looks like ------------------------------------------------------------ */

/*
 * The two payloads, and the compact form of a reading, as trees of keys: built once from the
 * paths of metric.def. The elements of a list are children of it by their address.
 */
enum role {
    ROLE_METER_ID,
    ROLE_DATETIME,
    ROLE_WORD,   /* any string; says nothing the reading keeps */
    ROLE_UNIT,   /* value is an enum unit_key */
    ROLE_GROUP,  /* an object */
    ROLE_DATA,   /* the object that must be there */
    ROLE_LIST,   /* an array of objects with an address */
    ROLE_NUMBER, /* from here on value is an enum metric */
    ROLE_FLAG,
    ROLE_STATE,
    ROLE_TEXT,
};

struct node {
    struct json_name name;
    enum role role;
    unsigned value;
    unsigned place; /* among its siblings */
    struct node *parent, *first, *next;
};

enum {
    PATH_PARTS_MOST = 6,
    SIBLINGS_MOST = 64, /* one bit each tells which keys have been seen */
    NODES_MOST = 2 * (METRIC_COUNT * PATH_PARTS_MOST + TOPIC_COUNT * (UNIT_KEY_COUNT + 8)),
};

static struct node nodes[NODES_MOST];
static size_t node_count;
static const struct node *message_roots[TOPIC_COUNT], *compact_roots[TOPIC_COUNT];
static pthread_once_t trees_once = PTHREAD_ONCE_INIT;

static const enum role role_of_kind[] = {
    [KIND_GAUGE] = ROLE_NUMBER,   [KIND_POWER] = ROLE_NUMBER, [KIND_COUNTER] = ROLE_NUMBER,
    [KIND_BALANCE] = ROLE_NUMBER, [KIND_FLAG] = ROLE_FLAG,    [KIND_STATE] = ROLE_STATE,
    [KIND_TEXT] = ROLE_TEXT,
};

static bool name_is(const struct node *n, const char *key, size_t len)
{
    return n->name.len == len + 2 && memcmp(n->name.quoted + 1, key, len) == 0;
}

/* The child of parent with this key, added behind its siblings when there is none. */
static struct node *child_of(struct node *parent, const char *key, size_t len, enum role role,
                             unsigned value)
{
    struct node **link = &parent->first;
    unsigned place = 0;

    for (; *link; link = &(*link)->next, place++)
        if (name_is(*link, key, len))
            return *link;
    assert(node_count < NODES_MOST && place < SIBLINGS_MOST);
    struct node *n = &nodes[node_count++];
    n->name.len = len + 2;
    assert(n->name.len < sizeof n->name.quoted);
    snprintf(n->name.quoted, sizeof n->name.quoted, "\"%.*s\"", (int)len, key);
    n->role = role;
    n->value = value;
    n->place = place;
    n->parent = parent;
    *link = n;
    return n;
}

static struct node *child_named(struct node *parent, const char *key, enum role role,
                                unsigned value)
{
    return child_of(parent, key, strlen(key), role, value);
}

/* "sensors.ina219[0x40].connected": group, list, its element, leaf. */
static void add_metric(struct node *data, enum metric m)
{
    const char *at = metric_table[m].path;
    struct node *n = data;

    while (*at) {
        size_t len = strcspn(at, ".[]");
        char behind = at[len];
        enum role role = behind == '\0'  ? role_of_kind[metric_table[m].kind]
                         : behind == '[' ? ROLE_LIST
                                         : ROLE_GROUP;
        n = child_of(n, at, len, role, (unsigned)m);
        if (behind == ']') {
            child_named(n, "address", ROLE_WORD, 0);
            child_named(n, "name", ROLE_WORD, 0);
        }
        at += len;
        at += strspn(at, ".[]");
    }
}

static void add_data(struct node *root, enum topic topic)
{
    struct node *data = child_named(root, "data", ROLE_DATA, 0);

    for (size_t m = 0; m < METRIC_COUNT; m++)
        if (metric_table[m].topic == topic)
            add_metric(data, (enum metric)m);
}

static struct node *new_root(void)
{
    assert(node_count < NODES_MOST);
    struct node *root = &nodes[node_count++];
    root->role = ROLE_GROUP;
    return root;
}

static void build_trees(void)
{
    for (enum topic topic = 0; topic < TOPIC_COUNT; topic++) {
        struct node *message = new_root();
        child_named(message, "meterId", ROLE_METER_ID, 0);
        child_named(message, "datetime", ROLE_DATETIME, 0);
        struct node *units = child_named(message, "units", ROLE_GROUP, 0);
        for (unsigned key = 0; key < UNIT_KEY_COUNT; key++)
            child_named(units, unit_key_table[key].key, ROLE_UNIT, key);
        add_data(message, topic);
        message_roots[topic] = message;

        struct node *compact = new_root();
        child_named(compact, "type", ROLE_WORD, 0);
        child_named(compact, "datetime", ROLE_DATETIME, 0);
        add_data(compact, topic);
        compact_roots[topic] = compact;
    }
}

static const struct node *child_with_key(const struct node *parent, const struct json_text *key)
{
    for (const struct node *n = parent->first; n; n = n->next)
        if (json_text_is(key, n->name.quoted + 1, n->name.len - 2))
            return n;
    return NULL;
}

/* ---- Faults ------------------------------------------------------------------------------- */

struct parse {
    struct json_scan s;
    struct reading *r;
    struct reading_report *report;
    const struct unit_scale *scales[UNIT_KEY_COUNT]; /* NULL: the metric's own */
    bool has_meter_id, has_datetime, has_data;
};

/* "data.sensors.ina219[0x40].connected" into out; returns its length. */
static size_t write_path(const struct node *n, char *out, size_t size)
{
    if (!n || !n->parent)
        return 0;
    size_t len = write_path(n->parent, out, size);
    bool element = n->parent->role == ROLE_LIST;
    int more = snprintf(out + len, size - len, "%s%.*s%s",
                        element ? "["
                        : len   ? "."
                                : "",
                        (int)n->name.len - 2, n->name.quoted + 1, element ? "]" : "");
    assert(more > 0 && (size_t)more < size - len);
    return len + (size_t)more;
}

static void set_fault(struct parse *p, enum reading_fault fault, const struct node *n,
                      const char *what, size_t offset)
{
    char path[96] = "message";

    write_path(n, path, sizeof path);
    p->report->fault = fault;
    snprintf(p->report->detail, sizeof p->report->detail, "%s: %s at byte %zu", path, what, offset);
}

/*
 * Refuse the message for the value that was just begun. Reading goes on, so that the meter and
 * the time of a refused message are known wherever they stand in it; the first reason is kept.
 */
static void refuse(struct parse *p, enum reading_fault fault, const struct node *n,
                   const char *what)
{
    if (p->report->fault == FAULT_NONE)
        set_fault(p, fault, n, what, json_token_offset(&p->s));
}

static bool refuse_type(struct parse *p, const struct node *n, enum json_token token,
                        const char *what)
{
    refuse(p, FAULT_WRONG_TYPE, n, what);
    return json_skip(&p->s, token);
}

static void leave_out(struct parse *p, unsigned metric)
{
    p->r->v[metric] = NAN;
    p->report->absent[metric] = true;
    p->report->absent_count++;
}

/* ---- Leaves ------------------------------------------------------------------------------- */

static bool read_number(struct parse *p, const struct node *n, enum json_token token)
{
    if (token == JSON_NULL) {
        leave_out(p, n->value);
        return true;
    }
    if (token != JSON_NUMBER)
        return refuse_type(p, n, token, "expected a number");
    if (isinf(p->s.number))
        refuse(p, FAULT_NUMBER_TOO_LARGE, n, "number too large");
    p->r->v[n->value] = p->s.number;
    return true;
}

static bool read_flag(struct parse *p, const struct node *n, enum json_token token)
{
    if (token == JSON_TRUE || token == JSON_FALSE)
        p->r->v[n->value] = token == JSON_TRUE;
    else if (token == JSON_NULL)
        leave_out(p, n->value);
    else
        return refuse_type(p, n, token, "expected true or false");
    return true;
}

static bool read_state(struct parse *p, const struct node *n, enum json_token token)
{
    char scratch[64];
    size_t len;

    if (token != JSON_STRING && token != JSON_NULL)
        return refuse_type(p, n, token, "expected a string");
    const char *word = NULL;
    if (token == JSON_STRING)
        word = json_text_plain(&p->s.string, scratch, sizeof scratch, &len);
    int index = word ? metric_word((enum metric)n->value, word, len) : -1;
    if (index < 0)
        leave_out(p, n->value);
    else
        p->r->v[n->value] = index;
    return true;
}

/* A string the reading does not keep: a TEXT metric, an address already known, a name. */
static bool read_word(struct parse *p, const struct node *n, enum json_token token)
{
    if (token != JSON_STRING && token != JSON_NULL)
        return refuse_type(p, n, token, "expected a string");
    return true;
}

static bool read_meter_id(struct parse *p, const struct node *n, enum json_token token)
{
    char scratch[METER_ID_SIZE];
    size_t len;

    if (token == JSON_NULL)
        return true;
    if (token != JSON_STRING)
        return refuse_type(p, n, token, "expected a string");
    p->has_meter_id = true;
    const char *id = json_text_plain(&p->s.string, scratch, sizeof scratch, &len);
    if (id && meter_id_valid(id, len))
        memcpy(p->r->meter_id, id, len);
    else
        refuse(p, FAULT_BAD_METER_ID, n,
               "expected 1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit, not all,");
    return true;
}

static bool read_datetime(struct parse *p, const struct node *n, enum json_token token)
{
    char scratch[64];
    size_t len;
    int64_t ms;

    if (token == JSON_NULL)
        return true;
    if (token != JSON_STRING)
        return refuse_type(p, n, token, "expected a string");
    p->has_datetime = true;
    const char *text = json_text_plain(&p->s.string, scratch, sizeof scratch, &len);
    if (text && when_parse(text, len, &ms))
        p->r->time_ms = ms;
    else
        refuse(p, FAULT_BAD_DATETIME, n, "expected ISO 8601 with an offset");
    return true;
}

static bool read_unit(struct parse *p, const struct node *n, enum json_token token)
{
    char scratch[16];
    size_t len;

    if (token != JSON_STRING)
        return refuse_type(p, n, token, "expected a string");
    const char *name = json_text_plain(&p->s.string, scratch, sizeof scratch, &len);
    if (name)
        p->scales[n->value] = unit_scale_by_name((enum unit_key)n->value, name, len);
    if (!name || !p->scales[n->value])
        refuse(p, FAULT_UNKNOWN_UNIT, n, "unknown unit");
    return true;
}

/* ---- Objects and arrays ------------------------------------------------------------------- */

static bool read_value(struct parse *p, const struct node *n);

/* The members of an object that was just opened. Recursion ends with the tree, not the text. */
static bool read_members(struct parse *p, const struct node *object)
{
    struct json_scan *s = &p->s;
    const struct node *expected = object->first;
    size_t first_key = s->key_count;
    uint64_t seen = 0;

    for (;;) {
        enum json_token token = json_next_key(s, expected ? &expected->name : NULL);
        if (token == JSON_ERROR)
            return false;
        if (token == JSON_CLOSE)
            break;
        const struct node *n = s->key_expected ? expected : child_with_key(object, &s->string);
        bool twice = n && seen >> n->place & 1;
        if (n && !twice) {
            seen |= UINT64_C(1) << n->place;
            expected = n->next;
            if (!read_value(p, n))
                return false;
            continue;
        }
        if (twice) {
            refuse(p, FAULT_DUPLICATE_KEY, n, "key comes twice");
        } else {
            p->report->unknown_fields++;
            json_note_key(s);
        }
        if (!json_skip(s, json_value(s)))
            return false;
    }
    json_compare_keys(s, first_key);
    return true;
}

/* What null says of a group, it says of every metric in it. */
static void leave_out_all(struct parse *p, const struct node *group)
{
    for (const struct node *n = group->first; n; n = n->next) {
        if (n->role >= ROLE_NUMBER && n->role != ROLE_TEXT)
            leave_out(p, n->value);
        leave_out_all(p, n);
    }
}

static bool read_group(struct parse *p, const struct node *n, enum json_token token)
{
    if (token == JSON_OBJECT)
        return read_members(p, n);
    if (token != JSON_NULL)
        return refuse_type(p, n, token, "expected an object");
    leave_out_all(p, n);
    return true;
}

static bool read_data(struct parse *p, const struct node *n, enum json_token token)
{
    if (token == JSON_NULL)
        return true;
    p->has_data = true;
    return read_group(p, n, token);
}

/*
 * Look ahead in an element that was just opened for the text of its "address", which may stand
 * behind the values it decides about. text->at is NULL when there is none.
 */
static bool find_address(struct parse *p, const struct node *list, struct json_text *text)
{
    static const char key[] = "address";
    struct json_scan *s = &p->s;
    enum json_token token;

    text->at = NULL;
    while ((token = json_next_key(s, NULL)) == JSON_KEY) {
        bool is_address = !text->at && json_text_is(&s->string, key, sizeof key - 1);
        token = json_value(s);
        if (is_address && token == JSON_STRING)
            *text = s->string;
        else if (is_address && token != JSON_NULL)
            refuse(p, FAULT_WRONG_TYPE, list, "expected a string as address");
        if (!json_skip(s, token))
            return false;
    }
    return token == JSON_CLOSE;
}

static const struct node *element_with_address(const struct node *list,
                                               const struct json_text *text)
{
    char scratch[16];
    size_t len;
    const char *address = text->at ? json_text_plain(text, scratch, sizeof scratch, &len) : NULL;

    if (!address)
        return NULL;
    for (const struct node *n = list->first; n; n = n->next)
        if (n->name.len == len + 2 && strncasecmp(n->name.quoted + 1, address, len) == 0)
            return n;
    return NULL;
}

/* One element of a list, its token just read. Of sensors nobody knows only the JSON is checked. */
static bool read_element(struct parse *p, const struct node *list, enum json_token token,
                         uint64_t *seen)
{
    struct json_scan *s = &p->s;
    struct json_text address;

    if (token == JSON_NULL)
        return true;
    if (token != JSON_OBJECT)
        return refuse_type(p, list, token, "expected an object for each sensor");
    const char *members = s->at;
    if (!find_address(p, list, &address))
        return false;
    const struct node *n = element_with_address(list, &address);
    s->at = members;
    s->opened = true;
    s->depth++;
    if (!n) {
        p->report->unknown_fields++;
        return json_skip(s, JSON_OBJECT);
    }
    if (*seen >> n->place & 1) {
        refuse(p, FAULT_DUPLICATE_KEY, n, "address comes twice");
        return json_skip(s, JSON_OBJECT);
    }
    *seen |= UINT64_C(1) << n->place;
    return read_members(p, n);
}

static bool read_list(struct parse *p, const struct node *n, enum json_token token)
{
    uint64_t seen = 0;

    if (token == JSON_NULL) {
        leave_out_all(p, n);
        return true;
    }
    if (token != JSON_ARRAY)
        return refuse_type(p, n, token, "expected an array");
    while ((token = json_next_item(&p->s)) == JSON_ITEM)
        if (!read_element(p, n, json_value(&p->s), &seen))
            return false;
    return token == JSON_CLOSE;
}

static bool read_value(struct parse *p, const struct node *n)
{
    static bool (*const readers[])(struct parse *, const struct node *, enum json_token) = {
        [ROLE_METER_ID] = read_meter_id, [ROLE_DATETIME] = read_datetime, [ROLE_WORD] = read_word,
        [ROLE_UNIT] = read_unit,         [ROLE_GROUP] = read_group,       [ROLE_DATA] = read_data,
        [ROLE_LIST] = read_list,         [ROLE_NUMBER] = read_number,     [ROLE_FLAG] = read_flag,
        [ROLE_STATE] = read_state,       [ROLE_TEXT] = read_word,
    };
    enum json_token token = json_value(&p->s);

    return token != JSON_ERROR && readers[n->role](p, n, token);
}

/* ---- The whole text ----------------------------------------------------------------------- */

static void begin(struct parse *p, enum topic topic, struct reading *r,
                  struct reading_report *report)
{
    pthread_once(&trees_once, build_trees);
    *report = (struct reading_report){.fault = FAULT_NONE};
    memset(r->meter_id, 0, sizeof r->meter_id);
    r->topic = topic;
    r->time_ms = 0;
    for (size_t m = 0; m < METRIC_COUNT; m++)
        r->v[m] = NAN;
    p->r = r;
    p->report = report;
    memset(p->scales, 0, sizeof p->scales);
    p->has_meter_id = p->has_datetime = p->has_data = false;
}

/* A text that is no JSON is that first, whatever else was found wrong in it. */
static void judge_scan(struct parse *p)
{
    static const enum reading_fault faults[] = {
        [JSON_SYNTAX] = FAULT_NOT_JSON,
        [JSON_NOT_UTF8] = FAULT_NOT_UTF8,
        [JSON_TOO_DEEP] = FAULT_TOO_DEEP,
        [JSON_DUPLICATE_KEY] = FAULT_DUPLICATE_KEY,
        [JSON_NUMBER_TOO_LARGE] = FAULT_NUMBER_TOO_LARGE,
    };
    const struct json_scan *s = &p->s;

    if (json_end(&p->s))
        return;
    bool unreadable = s->fault != JSON_DUPLICATE_KEY && s->fault != JSON_NUMBER_TOO_LARGE;
    if (unreadable || p->report->fault == FAULT_NONE)
        set_fault(p, faults[s->fault], NULL, s->what, json_fault_offset(s));
}

static void convert_units(struct parse *p)
{
    for (size_t key = 0; key < UNIT_KEY_COUNT; key++) {
        const struct unit_scale *scale = p->scales[key];
        if (!scale || (scale->times == 1 && scale->per == 1))
            continue;
        for (size_t m = 0; m < METRIC_COUNT; m++)
            if (metric_table[m].unit == unit_key_table[key].governs)
                p->r->v[m] = p->r->v[m] * scale->times / scale->per;
    }
}

static void check_ranges(struct parse *p)
{
    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        double v = p->r->v[m];
        if (v < metric_table[m].lo || v > metric_table[m].hi || isinf(v))
            leave_out(p, m);
    }
}

/* Read a text of the form root describes; what it must have is asked by the caller. */
static void read_text(struct parse *p, const struct node *root, const char *json, size_t len)
{
    json_begin(&p->s, json, len);
    enum json_token token = json_value(&p->s);
    if (token == JSON_OBJECT)
        read_members(p, root);
    else if (token != JSON_ERROR)
        refuse_type(p, NULL, token, "expected an object");
    judge_scan(p);
}

static void require(struct parse *p, bool has, const char *what)
{
    if (has || p->report->fault != FAULT_NONE)
        return;
    p->report->fault = FAULT_MISSING_FIELD;
    snprintf(p->report->detail, sizeof p->report->detail, "%s: missing", what);
}

bool reading_parse(const char *json, size_t len, enum topic topic, struct reading *r,
                   struct reading_report *report)
{
    struct parse p;

    begin(&p, topic, r, report);
    if (len > MESSAGE_SIZE_MOST) {
        report->fault = FAULT_TOO_LARGE;
        snprintf(report->detail, sizeof report->detail, "message: %zu bytes, most is %d", len,
                 MESSAGE_SIZE_MOST);
        return false;
    }
    read_text(&p, message_roots[topic], json, len);
    require(&p, p.has_meter_id, "meterId");
    require(&p, p.has_datetime, "datetime");
    require(&p, p.has_data, "data");
    if (report->fault != FAULT_NONE)
        return false;
    convert_units(&p);
    check_ranges(&p);
    return true;
}

/* ---- Compact form ------------------------------------------------------------------------- */

static enum topic compact_topic(const char *json, size_t len)
{
    static const char status[] = "{\"type\":\"status\"";

    return len >= sizeof status - 1 && memcmp(json, status, sizeof status - 1) == 0 ? TOPIC_STATUS
                                                                                    : TOPIC_DATA;
}

bool reading_read_json(const char *json, size_t len, struct reading *r, struct err *e)
{
    struct parse p;
    struct reading_report report;
    struct reading read;

    if (len > MESSAGE_SIZE_MOST)
        return err_set(e, ERR_INPUT, "reading as JSON: %zu bytes, most is %d", len,
                       MESSAGE_SIZE_MOST);
    enum topic topic = compact_topic(json, len);
    begin(&p, topic, &read, &report);
    read_text(&p, compact_roots[topic], json, len);
    require(&p, p.has_datetime, "datetime");
    require(&p, p.has_data, "data");
    if (report.fault != FAULT_NONE)
        return err_set(e, ERR_INPUT, "reading as JSON: %s", report.detail);
    check_ranges(&p);
    r->topic = topic;
    r->time_ms = read.time_ms;
    memcpy(r->v, read.v, sizeof r->v);
    return true;
}

static void write_leaf(struct buf *b, const struct node *n, double v)
{
    const struct metric_info *info = &metric_table[n->value];

    if (n->role == ROLE_NUMBER)
        buf_add_double(b, v);
    else if (n->role == ROLE_FLAG)
        buf_adds(b, v != 0 ? "true" : "false");
    else
        buf_addf(b, "\"%s\"", info->words[(size_t)v]);
}

static bool has_any(const struct reading *r, const struct node *n)
{
    if (n->role >= ROLE_NUMBER)
        return !isnan(r->v[n->value]);
    for (const struct node *child = n->first; child; child = child->next)
        if (has_any(r, child))
            return true;
    return false;
}

static void write_node(struct buf *b, const struct reading *r, const struct node *n);

/* The members of n that have values, with commas between them. */
static void write_members(struct buf *b, const struct reading *r, const struct node *n)
{
    bool any = false;

    for (const struct node *child = n->first; child; child = child->next) {
        if (!has_any(r, child))
            continue;
        if (any)
            buf_addc(b, ',');
        any = true;
        write_node(b, r, child);
    }
}

static void write_node(struct buf *b, const struct reading *r, const struct node *n)
{
    if (n->parent->role == ROLE_LIST) {
        buf_adds(b, "{\"address\":");
        buf_add(b, n->name.quoted, n->name.len);
        buf_addc(b, ',');
        write_members(b, r, n);
        buf_addc(b, '}');
        return;
    }
    buf_add(b, n->name.quoted, n->name.len);
    buf_addc(b, ':');
    if (n->role >= ROLE_NUMBER) {
        write_leaf(b, n, r->v[n->value]);
        return;
    }
    buf_addc(b, n->role == ROLE_LIST ? '[' : '{');
    write_members(b, r, n);
    buf_addc(b, n->role == ROLE_LIST ? ']' : '}');
}

size_t reading_write_json(const struct reading *r, char out[READING_JSON_MOST])
{
    /* A buffer over the caller's memory: within its limit it never asks for more. */
    struct buf b = {.data = out, .cap = READING_JSON_MOST, .limit = READING_JSON_MOST - 1};
    char time[WHEN_TEXT_SIZE];
    const struct node *data;

    pthread_once(&trees_once, build_trees);
    data = compact_roots[r->topic]->first;
    while (data->role != ROLE_DATA)
        data = data->next;
    buf_addf(&b, "{\"type\":\"%s\",\"datetime\":\"%s\",", topic_name(r->topic),
             when_text(r->time_ms, time));
    write_node(&b, r, data);
    buf_addc(&b, '}');
    assert(!b.failed && b.data == out);
    return b.len;
}
