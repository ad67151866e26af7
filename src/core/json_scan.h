/*
 * A pull scanner for JSON texts of at most JSON_TEXT_MOST bytes, exactly RFC 8259, in UTF-8.
 *
 * The caller knows where it is and asks for what may come next: a value, and inside an object the
 * next key, inside an array the next item. There is no recursion and no allocation; nesting ends
 * at JSON_DEPTH_MOST. Strings are not copied: a json_text points into the text, between the
 * quotes, and may hold escapes, which have been checked.
 *
 *     json_begin(&s, text, len);
 *     if (json_value(&s) == JSON_OBJECT)
 *         while (json_next_key(&s, NULL) == JSON_KEY)
 *             json_skip(&s, json_value(&s));
 *     if (!json_end(&s)) ... s.fault, s.what, json_offset(&s)
 *
 * A text that is no JSON, no UTF-8 or too deep ends the scan: every call then answers JSON_ERROR.
 * A key that comes twice and a number no double can hold are noted in s.fault and the scan goes
 * on, so that the rest of the text can still be read. JSON_SYNTAX also covers what the grammar
 * allows but no text can hold: \u0000 and half of a surrogate pair.
 */
#ifndef CORE_JSON_SCAN_H
#define CORE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    JSON_TEXT_MOST = 16 * 1024,
    JSON_DEPTH_MOST = 16,
    JSON_KEYS_MOST = JSON_TEXT_MOST / 5 + 1, /* the shortest member is "":0, */
};

enum json_token {
    JSON_ERROR,
    JSON_OBJECT,
    JSON_ARRAY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
    JSON_KEY,
    JSON_ITEM,
    JSON_CLOSE, /* the end of the object or array */
};

enum json_fault {
    JSON_SOUND,
    JSON_SYNTAX,
    JSON_NOT_UTF8,
    JSON_TOO_DEEP,
    JSON_DUPLICATE_KEY,
    JSON_NUMBER_TOO_LARGE,
};

struct json_text {
    const char *at;
    size_t len;
    bool escaped;
};

struct json_scan {
    const char *text;
    const char *at;
    const char *end;   /* of the text, or of its part that is UTF-8 */
    bool cut;          /* what follows end is not UTF-8 */
    bool opened;       /* '{' or '[' was the last token */
    unsigned depth;    /* containers open */
    const char *token; /* where the last key or value begins */
    bool key_expected; /* the last key was the expected one */
    struct json_text string;
    double number; /* an infinity when no double can hold it; never -0 */

    enum json_fault fault;
    const char *what; /* "expected a value" */
    const char *fault_at;

    size_t key_count;
    uint16_t keys[JSON_KEYS_MOST]; /* where the keys noted by json_note_key begin */
};

/* len must not be above JSON_TEXT_MOST. */
void json_begin(struct json_scan *s, const char *text, size_t len);

/* The value that comes next; for JSON_STRING s->string, for JSON_NUMBER s->number. */
enum json_token json_value(struct json_scan *s);

/* A key as it is usually written: in quotes, without escapes. */
struct json_name {
    char quoted[40];
    size_t len;
};

/*
 * In an object: JSON_KEY with s->string, or JSON_CLOSE. When the key is *expected (may be NULL)
 * byte for byte, only s->key_expected is set: comparing is cheaper than scanning.
 */
enum json_token json_next_key(struct json_scan *s, const struct json_name *expected);

/* In an array: JSON_ITEM, a value follows, or JSON_CLOSE. */
enum json_token json_next_item(struct json_scan *s);

/*
 * Read to the end of the value that began with token first. Everything in it is checked as
 * everywhere else, keys that come twice included. False when the scan has ended.
 */
bool json_skip(struct json_scan *s, enum json_token first);

/* True when nothing but white space follows and nothing was wrong in the text. */
bool json_end(struct json_scan *s);

/*
 * To find keys that come twice: note each key of an object just read, and at the object's end
 * compare those noted since s->key_count was first; they are forgotten then.
 */
void json_note_key(struct json_scan *s);
void json_compare_keys(struct json_scan *s, size_t first);

/* Offset in the text of the last token, and of the fault. */
size_t json_token_offset(const struct json_scan *s);
size_t json_fault_offset(const struct json_scan *s);

/* Whether the text, its escapes resolved, is word. */
bool json_text_is(const struct json_text *t, const char *word, size_t len);

/*
 * The text with its escapes resolved: t->at itself where there are none, else written to scratch.
 * NULL when it has escapes and takes more than size bytes. No NUL is added.
 */
const char *json_text_plain(const struct json_text *t, char *scratch, size_t size, size_t *len);

#endif
