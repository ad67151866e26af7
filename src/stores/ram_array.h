/* Ordered arrays, as the stores in memory keep them. */
#ifndef STORES_RAM_ARRAY_H
#define STORES_RAM_ARRAY_H

#include <stddef.h>
#include <string.h>

#include "base/mem.h"

/* Negative when the key comes before the element, 0 when it is the element's. */
typedef int ram_compare_fn(const void *key, const void *element);

/*
 * Place of the first of n elements that does not come before the key. Looks at the last one first,
 * since most of what is stored comes in order.
 */
static inline size_t ram_place(const void *array, size_t n, size_t size, ram_compare_fn *compare,
                               const void *key)
{
    const char *elements = array;
    size_t low = 0, high = n;

    if (n > 0 && compare(key, elements + (n - 1) * size) > 0)
        return n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(key, elements + middle * size) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Make room for one more element at `at` of n; returns the array, which may have moved. */
static inline void *ram_make_hole(void *array, size_t n, size_t *cap, size_t size, size_t at)
{
    if (n == *cap) {
        *cap = *cap ? *cap * 2 : 16;
        array = xrealloc_array(array, *cap, size);
    }
    char *hole = (char *)array + at * size;
    memmove(hole + size, hole, (n - at) * size);
    return array;
}

/* Close the gap that the element at `at` of n leaves. */
static inline void ram_close_gap(void *array, size_t n, size_t size, size_t at)
{
    char *gap = (char *)array + at * size;

    memmove(gap, gap + size, (n - 1 - at) * size);
}

#endif
