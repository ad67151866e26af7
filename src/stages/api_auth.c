#include "stages/api_auth.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    HASH_SIZE = 32,
    NONCE_SIZE = 12,
    TICKET_SIZE_MOST = 256,
    THROTTLE_SLOTS = 1024,
};

struct throttle_slot {
    uint64_t address; /* hash of it; 0: free */
    int64_t start_ms;
    unsigned failures;
};

struct auth {
    unsigned char
        compare_key[HASH_SIZE]; /* random: hashes of this process are worth nothing else */
    unsigned char cookie_key[HASH_SIZE];
    unsigned char admin[HASH_SIZE];
    unsigned char slot_key[crypto_shorthash_KEYBYTES];
    char *ticket_file;
    struct throttle_slot slots[THROTTLE_SLOTS];
};

static const char *const role_names[] = {
    [ROLE_NONE] = "none",
    [ROLE_ADMIN] = "admin",
};

bool access_allowed(const struct principal *p, const char *meter_id)
{
    (void)meter_id;
    return p->role == ROLE_ADMIN;
}

static void hash_text(const unsigned char key[HASH_SIZE], const char *text, size_t len,
                      unsigned char out[HASH_SIZE])
{
    crypto_generichash(out, HASH_SIZE, (const unsigned char *)text, len, key, HASH_SIZE);
}

struct auth *auth_new(const char *admin_key, const char *ticket_file, struct err *e)
{
    static const char purpose[] = "enerlink session cookie v1";
    size_t len = strlen(admin_key);
    unsigned char root[HASH_SIZE];

    if (len < AUTH_KEY_SIZE_LEAST || len > AUTH_KEY_SIZE_MOST) {
        err_set(e, ERR_FATAL, "the admin key must have %d to %d characters, this one has %zu",
                AUTH_KEY_SIZE_LEAST, AUTH_KEY_SIZE_MOST, len);
        return NULL;
    }
    if (sodium_init() < 0) {
        err_set(e, ERR_FATAL, "libsodium finds no source of randomness");
        return NULL;
    }
    struct auth *a = xcalloc(1, sizeof *a);
    randombytes_buf(a->compare_key, sizeof a->compare_key);
    randombytes_buf(a->slot_key, sizeof a->slot_key);
    hash_text(a->compare_key, admin_key, len, a->admin);
    crypto_generichash(root, sizeof root, (const unsigned char *)admin_key, len, NULL, 0);
    hash_text(root, purpose, sizeof purpose - 1, a->cookie_key);
    sodium_memzero(root, sizeof root);
    if (ticket_file)
        a->ticket_file = xstrdup(ticket_file);
    return a;
}

void auth_free(struct auth *a)
{
    if (!a)
        return;
    free(a->ticket_file);
    sodium_memzero(a, sizeof *a);
    free(a);
}

enum role auth_key_role(const struct auth *a, const char *key)
{
    unsigned char hash[HASH_SIZE];

    hash_text(a->compare_key, key, strnlen(key, AUTH_KEY_SIZE_MOST + 1), hash);
    return sodium_memcmp(hash, a->admin, HASH_SIZE) == 0 ? ROLE_ADMIN : ROLE_NONE;
}

bool auth_bearer(const struct auth *a, const char *header, struct principal *p)
{
    static const char scheme[] = "Bearer ";

    if (strncasecmp(header, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *key = header + sizeof scheme - 1;
    key += strspn(key, " ");
    *p = (struct principal){.role = auth_key_role(a, key)};
    return p->role != ROLE_NONE;
}

/* ---- Cookies ------------------------------------------------------------------------------ */

/* v1.<expiry, seconds>.<role>.<nonce>.<mac of all before the last dot> */
static void
write_mac(const struct auth *a, const char *text, size_t len,
          char out[sodium_base64_ENCODED_LEN(HASH_SIZE, sodium_base64_VARIANT_URLSAFE_NO_PADDING)])
{
    unsigned char mac[HASH_SIZE];

    hash_text(a->cookie_key, text, len, mac);
    sodium_bin2base64(
        out, sodium_base64_ENCODED_LEN(HASH_SIZE, sodium_base64_VARIANT_URLSAFE_NO_PADDING), mac,
        sizeof mac, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

enum {
    MAC_TEXT_SIZE = sodium_base64_ENCODED_LEN(HASH_SIZE, sodium_base64_VARIANT_URLSAFE_NO_PADDING),
    NONCE_TEXT_SIZE =
        sodium_base64_ENCODED_LEN(NONCE_SIZE, sodium_base64_VARIANT_URLSAFE_NO_PADDING),
};

void auth_cookie_write(const struct auth *a, enum role role, int64_t now_ms,
                       char out[AUTH_COOKIE_SIZE])
{
    unsigned char nonce[NONCE_SIZE];
    char nonce_text[NONCE_TEXT_SIZE], mac[MAC_TEXT_SIZE];

    randombytes_buf(nonce, sizeof nonce);
    sodium_bin2base64(nonce_text, sizeof nonce_text, nonce, sizeof nonce,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    int len = snprintf(out, AUTH_COOKIE_SIZE, "v1.%" PRId64 ".%s.%s",
                       now_ms / 1000 + AUTH_SESSION_S, role_names[role], nonce_text);
    write_mac(a, out, (size_t)len, mac);
    snprintf(out + len, AUTH_COOKIE_SIZE - (size_t)len, ".%s", mac);
}

static enum role role_by_name(const char *name, size_t len)
{
    for (size_t r = 1; r < sizeof role_names / sizeof *role_names; r++)
        if (strlen(role_names[r]) == len && memcmp(role_names[r], name, len) == 0)
            return (enum role)r;
    return ROLE_NONE;
}

static bool cookie_read(const struct auth *a, const char *value, size_t len, int64_t now_ms,
                        struct principal *p)
{
    char text[AUTH_COOKIE_SIZE], mac[MAC_TEXT_SIZE];

    if (len >= sizeof text)
        return false;
    memcpy(text, value, len);
    text[len] = '\0';
    char *given = strrchr(text, '.');
    if (!given || strlen(given + 1) != MAC_TEXT_SIZE - 1)
        return false;
    write_mac(a, text, (size_t)(given - text), mac);
    if (sodium_memcmp(mac, given + 1, MAC_TEXT_SIZE - 1) != 0)
        return false;

    int64_t expiry_s;
    int role_at = 0;
    if (sscanf(text, "v1.%" SCNd64 ".%n", &expiry_s, &role_at) != 1 || role_at == 0)
        return false;
    *p = (struct principal){.role = role_by_name(text + role_at, strcspn(text + role_at, ".")),
                            .by_cookie = true};
    return p->role != ROLE_NONE && now_ms / 1000 < expiry_s;
}

bool auth_cookie(const struct auth *a, const char *header, int64_t now_ms, struct principal *p)
{
    static const char name[] = AUTH_COOKIE_NAME "=";

    while (*header) {
        header += strspn(header, " \t;");
        size_t len = strcspn(header, ";");
        if (strncmp(header, name, sizeof name - 1) == 0 &&
            cookie_read(a, header + sizeof name - 1, len - (sizeof name - 1), now_ms, p))
            return true;
        header += len;
    }
    *p = (struct principal){0};
    return false;
}

/* ---- Tickets ------------------------------------------------------------------------------ */

static size_t ticket_read(const char *path, char out[TICKET_SIZE_MOST])
{
    struct stat st;
    ssize_t len = 0;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return 0;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) == 0)
        len = read(fd, out, TICKET_SIZE_MOST);
    close(fd);
    while (len > 0 && (out[len - 1] == '\n' || out[len - 1] == '\r'))
        len--;
    return len > 0 ? (size_t)len : 0;
}

bool auth_ticket_take(const struct auth *a, const char *ticket)
{
    char stored[TICKET_SIZE_MOST];
    unsigned char given_hash[HASH_SIZE], stored_hash[HASH_SIZE];

    if (!a->ticket_file)
        return false;
    size_t len = ticket_read(a->ticket_file, stored);
    hash_text(a->compare_key, stored, len, stored_hash);
    hash_text(a->compare_key, ticket, strlen(ticket), given_hash);
    sodium_memzero(stored, sizeof stored);
    return len >= AUTH_KEY_SIZE_LEAST && sodium_memcmp(given_hash, stored_hash, HASH_SIZE) == 0 &&
           unlink(a->ticket_file) == 0;
}

/* ---- Throttling --------------------------------------------------------------------------- */

static uint64_t address_hash(const struct auth *a, const char *address)
{
    unsigned char hash[crypto_shorthash_BYTES];
    uint64_t n;

    crypto_shorthash(hash, (const unsigned char *)address, strlen(address), a->slot_key);
    memcpy(&n, hash, sizeof n);
    return n ? n : 1;
}

/* Addresses that share a slot push each other out: the table stays small whoever knocks. */
static const struct throttle_slot *slot_of(const struct auth *a, const char *address,
                                           int64_t mono_ms)
{
    uint64_t hash = address_hash(a, address);
    const struct throttle_slot *s = &a->slots[hash % THROTTLE_SLOTS];

    return s->address == hash && mono_ms - s->start_ms < AUTH_WINDOW_MS ? s : NULL;
}

unsigned auth_failures(const struct auth *a, const char *address, int64_t mono_ms)
{
    const struct throttle_slot *s = slot_of(a, address, mono_ms);

    return s ? s->failures : 0;
}

void auth_failed(struct auth *a, const char *address, int64_t mono_ms)
{
    uint64_t hash = address_hash(a, address);
    struct throttle_slot *s = &a->slots[hash % THROTTLE_SLOTS];

    if (!slot_of(a, address, mono_ms))
        *s = (struct throttle_slot){.address = hash, .start_ms = mono_ms};
    s->failures++;
}

int auth_retry_after_s(const struct auth *a, const char *address, int64_t mono_ms)
{
    const struct throttle_slot *s = slot_of(a, address, mono_ms);

    return s ? (int)((s->start_ms + AUTH_WINDOW_MS - mono_ms + 999) / 1000) : 1;
}
