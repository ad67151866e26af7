/*
 * What went wrong, in words for a person and in a kind for the program.
 *
 * A function that can fail returns bool (or NULL) and fills *e. The text is made where the facts
 * are (peer, field, byte, row) and says what to do about it when that is known; callers pass it
 * up, one place logs it.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define NORETURN __attribute__((noreturn))

enum err_kind {
    ERR_NONE,
    ERR_INPUT, /* what came from outside is wrong: count it, go on */
    ERR_RETRY, /* a peer failed: keep the data, wait, try again */
    ERR_FATAL, /* cannot be repaired by waiting: say so, exit 1 */
};

struct err {
    enum err_kind kind;
    char text[512];
};

/* Fill *e (may be NULL) and return false, so that "return err_set(...)" reads as one step. */
bool err_set(struct err *e, enum err_kind kind, const char *fmt, ...) PRINTF(3, 4);

/* The same with ": " and strerror(errno) behind the text. */
bool err_errno(struct err *e, enum err_kind kind, const char *fmt, ...) PRINTF(3, 4);

/* Put text in front of what *e already says: "reading /etc/x: " + "line 3: ...". Returns false. */
bool err_prefix(struct err *e, const char *fmt, ...) PRINTF(2, 3);

#endif
