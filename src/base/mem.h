/*
 * Allocation that dies instead of failing. A stage restarts in a second and repeats whatever was
 * not confirmed, so there is nothing better to do when memory is gone. Sizes that come from the
 * network are checked before they reach these.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
/* realloc for count elements; dies when count * size overflows. */
void *xrealloc_array(void *p, size_t count, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t len);

#endif
