#include "core/json_scan.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* ---- Faults ------------------------------------------------------------------------------- */

/* Ends the scan. It outranks what was noted before: a text that is no JSON is that first. */
static enum json_token stop(struct json_scan *s, enum json_fault fault, const char *what)
{
    if (s->at == s->end && s->cut) {
        fault = JSON_NOT_UTF8;
        what = "not UTF-8";
    }
    s->fault = fault;
    s->what = what;
    s->fault_at = s->at;
    s->cut = false;
    s->at = s->end = s->text;
    return JSON_ERROR;
}

static void note(struct json_scan *s, enum json_fault fault, const char *what, const char *at)
{
    if (s->fault != JSON_SOUND)
        return;
    s->fault = fault;
    s->what = what;
    s->fault_at = at;
}

static bool stopped(const struct json_scan *s)
{
    return s->fault != JSON_SOUND && s->end == s->text;
}

static enum json_token syntax(struct json_scan *s, const char *what)
{
    return stopped(s) ? JSON_ERROR : stop(s, JSON_SYNTAX, what);
}

/* ---- Characters --------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char skip_space(struct json_scan *s)
{
    const char *at = s->at;

    while (at < s->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    s->at = at;
    return at < s->end ? *at : '\0';
}

/* The next character that is no white space, left unread; NUL, which begins nothing, at the end. */
static inline char peek(struct json_scan *s)
{
    return s->at < s->end && (unsigned char)*s->at > ' ' ? *s->at : skip_space(s);
}

/* ---- Strings ------------------------------------------------------------------------------ */

static bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && c != '"' && c != '\\';
}

/* Four hexadecimal digits at *at, which moves past them. */
static bool read_hex4(const char **at, const char *end, uint32_t *value)
{
    if (end - *at < 4)
        return false;
    *value = 0;
    for (int i = 0; i < 4; i++, (*at)++) {
        char c = **at;
        char lower = (char)(c | 0x20);
        if (is_digit(c))
            *value = *value << 4 | (uint32_t)(c - '0');
        else if (lower >= 'a' && lower <= 'f')
            *value = *value << 4 | (uint32_t)(lower - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* The code point behind "\u", its second half included; RFC 8259 section 7. */
static bool read_unicode_escape(const char **at, const char *end, uint32_t *cp)
{
    uint32_t low;

    if (!read_hex4(at, end, cp) || *cp == 0)
        return false;
    if (*cp < 0xd800 || *cp > 0xdfff)
        return true;
    if (*cp > 0xdbff || end - *at < 2 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return false;
    *at += 2;
    if (!read_hex4(at, end, &low) || low < 0xdc00 || low > 0xdfff)
        return false;
    *cp = 0x10000 + ((*cp - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

/* The code point of the escape at *at, which is on the backslash and moves past the escape. */
static bool read_escape(const char **at, const char *end, uint32_t *cp)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";

    if (end - *at < 2)
        return false;
    char c = (*at)[1];
    *at += 2;
    if (c == 'u')
        return read_unicode_escape(at, end, cp);
    const char *letter = c ? strchr(letters, c) : NULL;
    if (!letter)
        return false;
    *cp = (uint32_t)meanings[letter - letters];
    return true;
}

/* s->at is on the opening quote. */
static bool scan_string(struct json_scan *s)
{
    const char *start = s->at + 1;
    const char *at = start;
    bool escaped = false;
    uint32_t cp;

    for (;;) {
        while (at < s->end && is_plain(*at))
            at++;
        s->at = at;
        if (at == s->end || (unsigned char)*at < 0x20)
            return syntax(s, at == s->end ? "string without end" : "control character in a string");
        if (*at == '"')
            break;
        escaped = true;
        if (!read_escape(&at, s->end, &cp))
            return syntax(s, "escape that means no character");
    }
    s->string = (struct json_text){.at = start, .len = (size_t)(at - start), .escaped = escaped};
    s->at = at + 1;
    return true;
}

/* Next code point of a string that has been scanned; false at its end. */
static bool next_char(const char **at, const char *end, uint32_t *cp)
{
    if (*at == end || **at == '"')
        return false;
    if (**at == '\\')
        return read_escape(at, end, cp);
    size_t used = utf8_decode(*at, (size_t)(end - *at), cp);
    assert(used > 0);
    *at += used;
    return true;
}

bool json_text_is(const struct json_text *t, const char *word, size_t len)
{
    const char *at = t->at, *end = t->at + t->len;
    const char *word_at = word, *word_end = word + len;
    uint32_t cp, word_cp;

    if (!t->escaped)
        return t->len == len && memcmp(t->at, word, len) == 0;
    while (next_char(&at, end, &cp)) {
        size_t used = utf8_decode(word_at, (size_t)(word_end - word_at), &word_cp);
        if (used == 0 || cp != word_cp)
            return false;
        word_at += used;
    }
    return word_at == word_end;
}

const char *json_text_plain(const struct json_text *t, char *scratch, size_t size, size_t *len)
{
    const char *at = t->at, *end = t->at + t->len;
    char bytes[4];
    uint32_t cp;

    *len = t->len;
    if (!t->escaped)
        return t->at;
    *len = 0;
    while (next_char(&at, end, &cp)) {
        size_t used = utf8_encode(cp, bytes);
        if (used > size - *len)
            return NULL;
        memcpy(scratch + *len, bytes, used);
        *len += used;
    }
    return scratch;
}

/* ---- Numbers ------------------------------------------------------------------------------ */

enum {
    EXACT_DIGITS = 19, /* any 19 digits fit 64 bits */
    EXACT_POWER = 22,  /* 10^22 is the last power of ten that is a double */
    EXPONENT_BOUND = 1000000,
};

static const double powers_of_ten[EXACT_POWER + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

/* The parts of a number's text: whole.part, and the power of ten of part's last digit. */
struct decimal {
    const char *whole, *part;
    size_t whole_len, part_len;
    uint64_t digits; /* of both, as one integer; wrapped when there are more than EXACT_DIGITS */
    int exponent;
};

static const char *scan_digits(const char *at, const char *end, uint64_t *digits)
{
    uint64_t value = *digits;

    for (; at < end && is_digit(*at); at++)
        value = value * 10 + (uint64_t)(*at - '0');
    *digits = value;
    return at;
}

/* "e-05"; *at is behind the letter. An exponent beyond all doubles is cut, not wrapped. */
static bool scan_exponent(const char **at, const char *end, int *exponent)
{
    bool negative = *at < end && **at == '-';
    int value = 0;

    if (*at < end && (**at == '-' || **at == '+'))
        (*at)++;
    if (*at == end || !is_digit(**at))
        return false;
    for (; *at < end && is_digit(**at); (*at)++)
        if (value < EXPONENT_BOUND)
            value = value * 10 + (**at - '0');
    *exponent = negative ? -value : value;
    return true;
}

/* RFC 8259 section 6, without the sign. */
static bool scan_decimal(const char **at, const char *end, struct decimal *d)
{
    *d = (struct decimal){.whole = *at};
    if (*at == end || !is_digit(**at))
        return false;
    *at = **at == '0' ? *at + 1 : scan_digits(*at, end, &d->digits);
    d->whole_len = (size_t)(*at - d->whole);
    if (*at < end && **at == '.') {
        d->part = ++*at;
        *at = scan_digits(*at, end, &d->digits);
        d->part_len = (size_t)(*at - d->part);
        if (d->part_len == 0)
            return false;
    }
    if (*at < end && (**at == 'e' || **at == 'E')) {
        (*at)++;
        if (!scan_exponent(at, end, &d->exponent))
            return false;
    }
    d->exponent -= (int)d->part_len;
    return true;
}

/* The digits are handed over without their point: what strtod takes for one depends on a locale. */
static double convert_any(const struct decimal *d)
{
    char copy[JSON_TEXT_MOST + 16];
    size_t len = d->whole_len + d->part_len;

    memcpy(copy, d->whole, d->whole_len);
    if (d->part_len)
        memcpy(copy + d->whole_len, d->part, d->part_len);
    snprintf(copy + len, sizeof copy - len, "e%d", d->exponent);
    return strtod(copy, NULL);
}

/*
 * Two exact doubles multiplied or divided are rounded once, correctly:
 * W. D. Clinger, How to Read Floating Point Numbers Accurately, PLDI 1990.
 */
static double convert(const struct decimal *d)
{
    if (d->whole_len + d->part_len > EXACT_DIGITS || d->digits >= UINT64_C(1) << 53 ||
        d->exponent > EXACT_POWER || d->exponent < -EXACT_POWER)
        return convert_any(d);
    if (d->exponent < 0)
        return (double)d->digits / powers_of_ten[-d->exponent];
    return (double)d->digits * powers_of_ten[d->exponent];
}

static enum json_token scan_number(struct json_scan *s)
{
    struct decimal d;
    bool negative = *s->at == '-';

    s->at += negative;
    if (!scan_decimal(&s->at, s->end, &d))
        return syntax(s, "expected a digit");
    double value = convert(&d);
    if (isinf(value))
        note(s, JSON_NUMBER_TOO_LARGE, "number too large", s->token);
    s->number = negative && value > 0 ? -value : value;
    return JSON_NUMBER;
}

/* ---- Values ------------------------------------------------------------------------------- */

void json_begin(struct json_scan *s, const char *text, size_t len)
{
    assert(len <= JSON_TEXT_MOST);
    size_t valid = utf8_valid_prefix(text, len);

    s->text = s->at = s->token = s->fault_at = text;
    s->end = text + valid;
    s->cut = valid < len;
    s->opened = false;
    s->depth = 0;
    s->key_expected = false;
    s->string = (struct json_text){.at = text};
    s->number = 0;
    s->fault = JSON_SOUND;
    s->what = "";
    s->key_count = 0;
}

static enum json_token scan_literal(struct json_scan *s, const char *word, size_t len,
                                    enum json_token token)
{
    if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
        return syntax(s, "expected a value");
    s->at += len;
    return token;
}

static enum json_token open_container(struct json_scan *s, enum json_token token)
{
    if (s->depth == JSON_DEPTH_MOST)
        return stop(s, JSON_TOO_DEEP, "nested too deep");
    s->depth++;
    s->at++;
    s->opened = true;
    return token;
}

static enum json_token close_container(struct json_scan *s)
{
    s->depth--;
    s->at++;
    s->opened = false;
    return JSON_CLOSE;
}

enum json_token json_value(struct json_scan *s)
{
    char c = peek(s);

    s->token = s->at;
    switch (c) {
    case '{':
        return open_container(s, JSON_OBJECT);
    case '[':
        return open_container(s, JSON_ARRAY);
    case '"':
        return scan_string(s) ? JSON_STRING : JSON_ERROR;
    case 't':
        return scan_literal(s, "true", 4, JSON_TRUE);
    case 'f':
        return scan_literal(s, "false", 5, JSON_FALSE);
    case 'n':
        return scan_literal(s, "null", 4, JSON_NULL);
    default:
        if (c == '-' || is_digit(c))
            return scan_number(s);
        return syntax(s, "expected a value");
    }
}

static bool take_key(struct json_scan *s, const struct json_name *expected)
{
    s->token = s->at;
    s->key_expected = expected && (size_t)(s->end - s->at) > expected->len &&
                      memcmp(s->at, expected->quoted, expected->len) == 0;
    if (!s->key_expected)
        return scan_string(s);
    s->at += expected->len;
    return true;
}

enum json_token json_next_key(struct json_scan *s, const struct json_name *expected)
{
    char c = peek(s);

    if (c == '}')
        return close_container(s);
    if (!s->opened) {
        if (c != ',')
            return syntax(s, "expected ',' or '}'");
        s->at++;
        c = peek(s);
    }
    s->opened = false;
    if (c != '"')
        return syntax(s, "expected a key");
    if (!take_key(s, expected))
        return JSON_ERROR;
    if (peek(s) != ':')
        return syntax(s, "expected ':'");
    s->at++;
    return JSON_KEY;
}

enum json_token json_next_item(struct json_scan *s)
{
    char c = peek(s);

    if (c == ']')
        return close_container(s);
    if (!s->opened) {
        if (c != ',')
            return syntax(s, "expected ',' or ']'");
        s->at++;
    }
    s->opened = false;
    return JSON_ITEM;
}

bool json_skip(struct json_scan *s, enum json_token first)
{
    enum json_token kind[JSON_DEPTH_MOST];
    size_t first_key[JSON_DEPTH_MOST];
    size_t open = 0;
    enum json_token token = first;

    for (;;) {
        if (token == JSON_ERROR)
            return false;
        if (token == JSON_OBJECT || token == JSON_ARRAY) {
            assert(open < JSON_DEPTH_MOST);
            kind[open] = token;
            first_key[open++] = s->key_count;
        } else if (token == JSON_CLOSE) {
            json_compare_keys(s, first_key[--open]);
        } else if (token == JSON_KEY) {
            json_note_key(s);
        }
        if (token == JSON_KEY || token == JSON_ITEM)
            token = json_value(s);
        else if (open == 0)
            return true;
        else if (kind[open - 1] == JSON_OBJECT)
            token = json_next_key(s, NULL);
        else
            token = json_next_item(s);
    }
}

bool json_end(struct json_scan *s)
{
    if (stopped(s))
        return false;
    peek(s);
    if (s->at != s->end || s->cut) {
        stop(s, JSON_SYNTAX, "expected the end of the text");
        return false;
    }
    return s->fault == JSON_SOUND;
}

size_t json_token_offset(const struct json_scan *s)
{
    return (size_t)(s->token - s->text);
}

size_t json_fault_offset(const struct json_scan *s)
{
    return (size_t)(s->fault_at - s->text);
}

/* ---- Keys that come twice ----------------------------------------------------------------- */

void json_note_key(struct json_scan *s)
{
    assert(s->key_count < JSON_KEYS_MOST);
    s->keys[s->key_count++] = (uint16_t)(s->token + 1 - s->text);
}

/* Order of two keys by their code points, escapes resolved. */
static int compare_keys(const struct json_scan *s, uint16_t a, uint16_t b)
{
    const char *at = s->text + a, *bt = s->text + b;
    uint32_t ac = 0, bc = 0;

    for (;;) {
        bool more = next_char(&at, s->end, &ac);
        bool more_b = next_char(&bt, s->end, &bc);
        if (!more || !more_b)
            return more - more_b;
        if (ac != bc)
            return ac < bc ? -1 : 1;
    }
}

/* Let the key at place sink in a heap whose parents are not before their children. */
static void sift_down(const struct json_scan *s, uint16_t *keys, size_t place, size_t count)
{
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= count)
            return;
        if (child + 1 < count && compare_keys(s, keys[child], keys[child + 1]) < 0)
            child++;
        if (compare_keys(s, keys[place], keys[child]) >= 0)
            return;
        uint16_t swapped = keys[place];
        keys[place] = keys[child];
        keys[child] = swapped;
        place = child;
    }
}

/*
 * Heapsort: no memory, no recursion, and no order of keys that makes it slow. Equal keys come out
 * one behind the other.
 */
void json_compare_keys(struct json_scan *s, size_t first)
{
    uint16_t *keys = s->keys + first;
    size_t count = s->key_count - first;
    uint16_t last = 0;

    s->key_count = first;
    for (size_t i = count / 2; i-- > 0;)
        sift_down(s, keys, i, count);
    for (bool any = false; count > 0; any = true) {
        if (any && compare_keys(s, last, keys[0]) == 0)
            note(s, JSON_DUPLICATE_KEY, "key comes twice",
                 s->text + (last > keys[0] ? last : keys[0]) - 1);
        last = keys[0];
        keys[0] = keys[--count];
        sift_down(s, keys, 0, count);
    }
}
