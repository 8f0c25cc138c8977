/* The names in a ClientHello: which host it asks for, which application protocols it offers, and its random. */
#include "hello.h"

enum { NAME_TYPE_HOST = 0, RANDOM_OFFSET = 4 + 2 };

/* RFC 6066 section 3. What a name of another type looks like is not defined, so the walk ends there. */
static bool next_server_name(struct cursor *list, struct cursor *host)
{
    uint8_t type;

    *host = (struct cursor){0};
    if (!cursor_u8(list, &type))
        return false;
    if (type != NAME_TYPE_HOST) {
        *list = (struct cursor){0};
        return true;
    }
    return cursor_vec16(list, host) && host->left;
}

/* It goes into logs and comparisons: letters, digits, '-', '_' and '.' are all that names of hosts are made of. */
static bool is_host_name(const uint8_t *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const uint8_t c = name[i], letter = c | 0x20;
        if (!(letter >= 'a' && letter <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
            return false;
    }
    return len > 0 && len <= HELLO_NAME_MAX;
}

bool hello_server_name(const struct hello *h, char out[HELLO_NAME_MAX + 1])
{
    struct cursor body = h->server_name, list, host = {0};

    out[0] = '\0';
    if (!body.at || !cursor_vec16(&body, &list) || !next_server_name(&list, &host) || !host.at)
        return false;
    if (!is_host_name(host.at, host.left))
        return false;
    memcpy(out, host.at, host.left);
    out[host.left] = '\0';
    return true;
}

bool hello_offers_protocol(const struct hello *h, const uint8_t *name, size_t len)
{
    struct cursor body = h->alpn, list, offered;

    if (!body.at || !cursor_vec16(&body, &list))
        return false;
    while (list.left && cursor_vec8(&list, &offered))
        if (offered.left == len && memcmp(offered.at, name, len) == 0)
            return true;
    return false;
}

const uint8_t *hello_random(const struct hello *h)
{
    return h->message + RANDOM_OFFSET;
}
