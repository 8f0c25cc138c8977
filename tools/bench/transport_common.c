#include "bench.h"
#include "transport.h"

bool link_read_all(struct link *link, void *buffer, size_t len)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = link_read(link, (char *)buffer + got, len - got);
        if (n < 0)
            die("a blocking read said that there is nothing now");
        if (n == 0 && got > 0)
            die("the connection ended in the middle");
        if (n == 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

void link_write_all(struct link *link, const void *data, size_t len)
{
    size_t sent = 0;
    while (sent < len) {
        ssize_t n = link_write(link, (const char *)data + sent, len - sent);
        if (n < 0)
            die("a blocking write said that there is no room now");
        sent += (size_t)n;
    }
}
