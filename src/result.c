#include "result.h"

#include <errno.h>

static const struct {
    const char *name;
    int err;
} results[] = {
    [RESULT_INVALID] = {"invalid", EIO},
    [RESULT_OK] = {"ok", 0},
    [RESULT_AGAIN] = {"would block", EAGAIN},
    [RESULT_EOF] = {"end of stream", 0},
    [RESULT_TIMEOUT] = {"timeout", ETIMEDOUT},
    [RESULT_IDENTITY] = {"identity refused", EKEYREJECTED},
    [RESULT_PROTOCOL] = {"protocol violation", EPROTO},
    [RESULT_TRUNCATED] = {"truncated", ECONNRESET},
    [RESULT_DENIED] = {"denied by policy", EACCES},
    [RESULT_CLOSED] = {"closed for writing", EPIPE},
    [RESULT_CONFIG] = {"configuration error", EKEYREJECTED},
    [RESULT_NOMEM] = {"out of memory", ENOMEM},
    [RESULT_IO] = {"transport error", EIO},
};

static unsigned known(enum result r)
{
    unsigned i = (unsigned)r;
    return i < sizeof results / sizeof results[0] ? i : RESULT_INVALID;
}

const char *result_name(enum result r)
{
    return results[known(r)].name;
}

int result_errno(enum result r)
{
    return results[known(r)].err;
}
