/* libFuzzer target: any bytes as a file of pre-shared keys, and line by line as a file of known peers. */
#include "identity_internal.h"
#include "trust_known.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static void check_psks(const uint8_t *data, size_t size)
{
    struct identity id = {0};
    char why[IDENTITY_WHY_MAX] = "";
    uint8_t *copy = malloc(size + !size); /* of exactly that size, so that a read behind it is seen */
    require(copy, "there is memory");
    memcpy(copy, data, size);
    const struct secret_bytes text = {.bytes = copy, .len = size};
    const enum result r = identity_psk_load(&id, &text, "keys", NULL, why);
    require(r == RESULT_OK || r == RESULT_CONFIG, "a text is good or bad");
    require(r == RESULT_OK || (why[0] && memchr(why, '\0', sizeof why)), "a refusal has a reason, which ends");
    require(r != RESULT_OK || id.psk_count > 0, "a good text has a key");
    for (size_t i = 0; r == RESULT_OK && i < id.psk_count; i++)
        require(id.psks[i].name[0] && id.psks[i].key_len >= 16, "a key has a name, and 128 bits");
    identity_psk_free(&id);
    free(copy);
}

/* The spelling under which an entry is kept is its only one. */
static void check_where(const struct known_entry *entry)
{
    char host[KNOWN_WHERE_MAX], again[KNOWN_WHERE_MAX] = "";
    require(memchr(entry->where, '\0', sizeof entry->where), "a place ends");
    if (strcmp(entry->where, KNOWN_ACCEPT) == 0)
        return;
    const bool bracketed = entry->where[0] == '[';
    const char *colon = strrchr(entry->where, ':');
    require(colon && colon > entry->where, "a place has a port");
    snprintf(host, sizeof host, "%.*s", (int)(colon - entry->where) - 2 * bracketed, entry->where + bracketed);
    const unsigned long port = strtoul(colon + 1, NULL, 10);
    require(port > 0 && port < 65536, "a port is one");
    require(known_peers_where(host, (uint16_t)port, again) && strcmp(entry->where, again) == 0, "one spelling");
}

static void check_known(const char *data, size_t size)
{
    for (const char *at = data, *const end = data + size; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const size_t len = (size_t)((stop ? stop : end) - at);
        struct known_entry entry;
        char *line = malloc(len + !len);
        require(line, "there is memory");
        memcpy(line, at, len);
        if (known_peers_parse_line(line, len, &entry))
            check_where(&entry);
        free(line);
        at += len + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096)
        return 0;
    check_psks(data, size);
    check_known((const char *)data, size);
    return 0;
}
