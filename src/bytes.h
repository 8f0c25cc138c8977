/* Big-endian access and a bounds-checked cursor for parsers: a read past the end fails, it never wraps. */
#ifndef P2PTLS_BYTES_H
#define P2PTLS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t be24(const uint8_t *p)
{
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static inline void put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void put_be24(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 16);
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)v;
}

struct cursor {
    const uint8_t *at;
    size_t left;
};

static inline bool cursor_take(struct cursor *c, size_t n, const uint8_t **out)
{
    if (n > c->left)
        return false;
    *out = c->at;
    c->at += n;
    c->left -= n;
    return true;
}

static inline bool cursor_u8(struct cursor *c, uint8_t *out)
{
    const uint8_t *p;
    if (!cursor_take(c, 1, &p))
        return false;
    *out = p[0];
    return true;
}

static inline bool cursor_u16(struct cursor *c, uint16_t *out)
{
    const uint8_t *p;
    if (!cursor_take(c, 2, &p))
        return false;
    *out = be16(p);
    return true;
}

/* A vector with an 8-bit or 16-bit length in front (RFC 8446 section 3.4), as a cursor of its own. */
static inline bool cursor_vec8(struct cursor *c, struct cursor *out)
{
    uint8_t n;
    if (!cursor_u8(c, &n) || !cursor_take(c, n, &out->at))
        return false;
    out->left = n;
    return true;
}

static inline bool cursor_vec16(struct cursor *c, struct cursor *out)
{
    uint16_t n;
    if (!cursor_u16(c, &n) || !cursor_take(c, n, &out->at))
        return false;
    out->left = n;
    return true;
}

/* Wipes a secret; the compiler may not drop it (explicit_bzero(3)). */
static inline void wipe(void *p, size_t n)
{
    if (n)
        explicit_bzero(p, n);
}

#endif
