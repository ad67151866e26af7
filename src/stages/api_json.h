/*
 * Small pieces of JSON that answers are made of.
 */
#ifndef STAGES_API_JSON_H
#define STAGES_API_JSON_H

#include <stdint.h>

#include "base/buf.h"

/* {"type":"about:blank","title":"Not Found","status":404,"detail":"..."} */
void json_write_problem(struct buf *b, unsigned status, const char *detail);

/* The title of a status: "Not Found". */
const char *json_status_title(unsigned status);

/* "2025-10-26T04:27:10Z" with quotes; null for 0. */
void json_write_time(struct buf *b, int64_t ms);

#endif
