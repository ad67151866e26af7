#include "stages/api_query.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decode the piece in place; it never grows. */
static bool decode(char *piece, struct err *e)
{
    char *out = piece;

    for (const char *in = piece; *in; in++) {
        int byte = (unsigned char)*in;
        if (byte == '%') {
            int high = hex_value(in[1]);
            int low = high < 0 ? -1 : hex_value(in[2]);
            if (low < 0)
                return err_set(e, ERR_INPUT,
                               "a '%%' in the address is not followed by two hex digits");
            byte = high * 16 + low;
            in += 2;
        }
        if (byte < 0x20 || byte == 0x7f)
            return err_set(e, ERR_INPUT, "the address contains a control character");
        *out++ = (char)byte;
    }
    *out = '\0';
    size_t len = (size_t)(out - piece);
    if (utf8_valid_prefix(piece, len) != len)
        return err_set(e, ERR_INPUT, "the address is not UTF-8");
    return true;
}

static bool split_path(struct query *q, char *path, struct err *e)
{
    char *rest = path + 1;

    if (!*rest)
        return true;
    for (char *segment; (segment = strsep(&rest, "/"));) {
        if (!decode(segment, e))
            return false;
        if (q->n_segments < QUERY_SEGMENTS_MOST)
            q->segments[q->n_segments] = segment;
        q->n_segments++;
        if (q->n_segments > QUERY_SEGMENTS_MOST)
            return true;
    }
    return true;
}

static bool split_params(struct query *q, char *text, struct err *e)
{
    for (char *pair; (pair = strsep(&text, "&"));) {
        if (!*pair)
            continue;
        if (q->n_params == QUERY_PARAMS_MOST)
            return err_set(e, ERR_INPUT, "more than %d query parameters", QUERY_PARAMS_MOST);
        char *value = strchr(pair, '=');
        if (value)
            *value++ = '\0';
        else
            value = pair + strlen(pair);
        if (!decode(pair, e) || !decode(value, e))
            return false;
        q->params[q->n_params++] = (struct query_param){.name = pair, .value = value};
    }
    return true;
}

bool query_parse(struct query *q, const char *target, struct err *e)
{
    *q = (struct query){0};
    if (target[0] != '/')
        return err_set(e, ERR_INPUT, "the request target does not begin with '/'");
    if (strchr(target, '#'))
        return err_set(e, ERR_INPUT, "the request target contains a fragment");
    q->text = xstrdup(target);
    char *params = strchr(q->text, '?');
    if (params)
        *params++ = '\0';
    return split_path(q, q->text, e) && (!params || split_params(q, params, e));
}

void query_clear(struct query *q)
{
    free(q->text);
    *q = (struct query){0};
}

bool query_get(const struct query *q, const char *name, const char **value, struct err *e)
{
    *value = NULL;
    for (size_t i = 0; i < q->n_params; i++) {
        if (strcmp(q->params[i].name, name) != 0)
            continue;
        if (*value)
            return err_set(e, ERR_INPUT, "%s is given more than once", name);
        *value = q->params[i].value;
    }
    return true;
}
