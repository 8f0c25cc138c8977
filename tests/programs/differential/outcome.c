/* What a step leaves behind, as a list of named numbers. */
#include "differential.h"

void note(struct call *c, const char *name, long long number)
{
    struct outcome *out = &c->side->out;
    CHECK(out->count < VALUES, "more than %d values", VALUES);
    struct value *v = &out->values[out->count++];
    memset(v, 0, sizeof(*v)); /* outcomes are compared as memory at first */
    snprintf(v->name, sizeof(v->name), "%s", name);
    v->number = number;
}

void note_result(struct call *c, const char *name, long long result)
{
    int error = errno;
    note(c, name, result);
    if (result < 0)
        note(c, "errno", error);
    else if (error != NO_ERRNO)
        note(c, "errno was changed to", error);
}

/* Ports and addresses differ between the two; what they have to be is the same. */
void note_address(struct call *c, const struct sockaddr_in *a, socklen_t len)
{
    note(c, "address length", len);
    if (len >= sizeof(a->sin_family))
        note(c, "family", a->sin_family);
    if (len < sizeof(*a))
        return;
    for (int end = 0; end < ENDS; end++)
        if (c->side->address[end].sin_port == a->sin_port)
            note(c, "port of end", end);
    note(c, "address", c->side->address[0].sin_addr.s_addr == a->sin_addr.s_addr);
}

long long stream_differs(uint64_t seed, uint64_t at, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint8_t want[4096];
    for (size_t done = 0; done < len;) {
        size_t n = len - done < sizeof(want) ? len - done : sizeof(want);
        stream_fill(seed, at + done, want, n);
        for (size_t i = 0; memcmp(want, p + done, n) != 0 && i < n; i++)
            if (want[i] != p[done + i])
                return (long long)(done + i);
        done += n;
    }
    return -1;
}

long long fill_differs(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] != FILL)
            return (long long)i;
    return -1;
}
