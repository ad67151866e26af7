#include "stages/api_json.h"

#include <string.h>

#include "core/when.h"

static const struct {
    unsigned status;
    const char *title;
} titles[] = {
    {400, "Bad Request"},         {401, "Unauthorized"},
    {403, "Forbidden"},           {404, "Not Found"},
    {405, "Method Not Allowed"},  {411, "Length Required"},
    {413, "Content Too Large"},   {421, "Misdirected Request"},
    {429, "Too Many Requests"},   {500, "Internal Server Error"},
    {503, "Service Unavailable"},
};

const char *json_status_title(unsigned status)
{
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Error";
}

void json_write_problem(struct buf *b, unsigned status, const char *detail)
{
    buf_addf(b, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":",
             json_status_title(status), status);
    buf_add_json_string(b, detail, strlen(detail));
    buf_addc(b, '}');
}

void json_write_time(struct buf *b, int64_t ms)
{
    char text[WHEN_TEXT_SIZE];

    if (ms == 0) {
        buf_adds(b, "null");
        return;
    }
    buf_addc(b, '"');
    buf_adds(b, when_text(ms, text));
    buf_addc(b, '"');
}
