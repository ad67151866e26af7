/*
 * Any bytes as a snapshot: no crash, and what unpacks packs to bytes that unpack the same.
 *
 *     clang -g -O1 -std=gnu11 -D_GNU_SOURCE -Isrc -fsanitize=fuzzer,address,undefined \
 *         -fno-sanitize-recover=undefined tests/fuzz/fuzz_snapshot.c src/core/{json_scan,metric,\
 *         reading,snapshot,unit,when}.c src/base/{buf,err,log,mem,utf8}.c -lm -lpthread
 *     ./a.out -max_len=2000 corpus
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static void must_be_same(const struct reading *a, const struct reading *b)
{
    must(a->topic == b->topic && a->time_ms == b->time_ms, "another topic or time");
    for (size_t m = 0; m < METRIC_COUNT; m++) {
        bool same = memcmp(&a->v[m], &b->v[m], sizeof a->v[m]) == 0;
        must(same || (isnan(a->v[m]) && isnan(b->v[m])), metric_table[m].path);
        must(!isinf(a->v[m]), "infinite");
        must(isnan(a->v[m]) || metric_table[m].topic == a->topic, "value of the other topic");
    }
}

static void check_json(const struct reading *r)
{
    char json[READING_JSON_MOST];

    must(reading_write_json(r, json) < sizeof json, "JSON too long");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t bytes[SNAPSHOT_SIZE_MOST], again[SNAPSHOT_SIZE_MOST];
    struct reading r, back;
    struct err e;

    memset(&r, 0, sizeof r);
    memset(&back, 0, sizeof back);
    if (!snapshot_unpack(data, size, &r, &e))
        return 0;
    check_json(&r);
    if (r.time_ms >= INT64_C(1) << 47 || r.time_ms < -(INT64_C(1) << 47))
        return 0;
    size_t len = snapshot_pack(&r, bytes);
    must(snapshot_unpack(bytes, len, &back, &e), e.text);
    must_be_same(&r, &back);
    must(snapshot_pack(&back, again) == len && memcmp(bytes, again, len) == 0, "other bytes");
    return 0;
}
