/* External pre-shared keys (RFC 8446 section 2.2): the file with NAME:HEX lines, and GnuTLS credentials of both roles.
 * The keys live in struct identity alone: GnuTLS asks for a copy by callback and wipes it after use. */
#include "identity_internal.h"

#include "bytes.h"

#include <stdlib.h>
#include <string.h>

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool parse_name(struct psk_entry *entry, const uint8_t *name, size_t len)
{
    if (len == 0 || len > PSK_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (name[i] < 0x21 || name[i] > 0x7e)
            return false;
    memcpy(entry->name, name, len);
    entry->name_len = len;
    return true;
}

static bool parse_key(struct psk_entry *entry, const uint8_t *hex, size_t len)
{
    if (len % 2 != 0 || len / 2 < PSK_KEY_MIN || len / 2 > PSK_KEY_MAX)
        return false;
    for (size_t i = 0; i < len; i += 2) {
        const int high = hex_value(hex[i]), low = hex_value(hex[i + 1]);
        if (high < 0 || low < 0)
            return false;
        entry->key[i / 2] = (uint8_t)(high << 4 | low);
    }
    entry->key_len = len / 2;
    return true;
}

static bool name_is_taken(const struct identity *id, const struct psk_entry *entry)
{
    for (size_t i = 0; i < id->psk_count; i++)
        if (strcmp(id->psks[i].name, entry->name) == 0)
            return true;
    return false;
}

/* Messages name the line and never quote it: it may be a key that was mistyped. */
static enum result parse_line(struct identity *id, struct cursor line, const char *file, unsigned number, char *why)
{
    struct psk_entry *entry = &id->psks[id->psk_count];
    const uint8_t *colon = memchr(line.at, ':', line.left);

    if (!colon)
        return identity_refuse(why, "%s, line %u: expected NAME:HEX", file, number);
    const size_t name_len = (size_t)(colon - line.at);
    if (!parse_name(entry, line.at, name_len))
        return identity_refuse(why, "%s, line %u: the name must be 1 to %d printable characters without spaces", file,
                               number, PSK_NAME_MAX);
    if (!parse_key(entry, colon + 1, line.left - name_len - 1))
        return identity_refuse(
            why, "%s, line %u: the key must be %d to %d bytes in hexadecimal, as from: openssl rand -hex 32", file,
            number, PSK_KEY_MIN, PSK_KEY_MAX);
    if (name_is_taken(id, entry))
        return identity_refuse(why, "%s, line %u: the name %s is there twice", file, number, entry->name);
    id->psk_count++;
    return RESULT_OK;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct cursor next_line(struct cursor *text)
{
    const uint8_t *end = memchr(text->at, '\n', text->left);
    const size_t len = end ? (size_t)(end - text->at) : text->left;
    struct cursor line = {text->at, len};

    text->at += len + (end != NULL);
    text->left -= len + (end != NULL);
    while (line.left && is_blank(line.at[0])) {
        line.at++;
        line.left--;
    }
    while (line.left && is_blank(line.at[line.left - 1]))
        line.left--;
    return line;
}

static size_t count_lines(const struct secret_bytes *text)
{
    size_t n = 1;

    for (size_t i = 0; i < text->len; i++)
        n += text->bytes[i] == '\n';
    return n;
}

/* The table is as large as the file has lines from the start: growing it would leave unwiped copies behind. */
static enum result parse_file(struct identity *id, const struct secret_bytes *text, const char *file, char *why)
{
    struct cursor left = {text->bytes, text->len};

    id->psks = calloc(count_lines(text), sizeof *id->psks);
    if (!id->psks)
        return identity_nomem(why);
    for (unsigned number = 1; left.left; number++) {
        const struct cursor line = next_line(&left);
        if (line.left == 0 || line.at[0] == '#')
            continue;
        const enum result r = parse_line(id, line, file, number, why);
        if (r != RESULT_OK) {
            wipe(&id->psks[id->psk_count], sizeof id->psks[0]);
            return r;
        }
    }
    if (id->psk_count == 0)
        return identity_refuse(why, "%s holds no pre-shared key: expected lines NAME:HEX", file);
    return RESULT_OK;
}

static int copy_datum(gnutls_datum_t *out, const void *bytes, size_t len)
{
    out->data = gnutls_malloc(len);
    if (!out->data)
        return GNUTLS_E_MEMORY_ERROR;
    memcpy(out->data, bytes, len);
    out->size = (unsigned)len;
    return 0;
}

/* An unknown name is fatal: with 1 instead of -1 GnuTLS would go on with a random key. Names are no secrets (they
 * travel in clear, RFC 8446 section 4.2.11); the walk is the same length for each of them nevertheless. */
static int find_key(gnutls_session_t session, const gnutls_datum_t *name, gnutls_datum_t *key)
{
    const struct identity *id = gnutls_db_get_ptr(session);
    const struct psk_entry *found = NULL;

    for (size_t i = 0; id && i < id->psk_count; i++)
        if (id->psks[i].name_len == name->size && gnutls_memcmp(id->psks[i].name, name->data, name->size) == 0)
            found = &id->psks[i];
    return found && copy_datum(key, found->key, found->key_len) == 0 ? 0 : -1;
}

static int send_key(gnutls_session_t session, gnutls_datum_t *name, gnutls_datum_t *key)
{
    const struct identity *id = gnutls_db_get_ptr(session);

    const struct psk_entry *sent = id ? &id->psks[id->psk_sent] : NULL;

    if (!sent || copy_datum(name, sent->name, sent->name_len) != 0)
        return -1;
    if (copy_datum(key, sent->key, sent->key_len) == 0)
        return 0;
    gnutls_free(name->data);
    *name = (gnutls_datum_t){0};
    return -1;
}

static enum result choose_sent(struct identity *id, const char *file, const char *sent, char *why)
{
    for (size_t i = 0; i < id->psk_count; i++)
        if (!sent || strcmp(id->psks[i].name, sent) == 0) {
            id->psk_sent = i;
            return RESULT_OK;
        }
    return identity_refuse(why, "%s holds no key named %.80s, which psk-name= wants to offer: add it", file, sent);
}

enum result identity_psk_load(struct identity *id, const struct secret_bytes *text, const char *name, const char *sent,
                              char *why)
{
    enum result r = parse_file(id, text, name, why);

    if (r == RESULT_OK)
        r = choose_sent(id, name, sent, why);
    if (r != RESULT_OK)
        return r;
    if (gnutls_psk_allocate_client_credentials(&id->psk_client) < 0 ||
        gnutls_psk_allocate_server_credentials(&id->psk_server) < 0)
        return identity_nomem(why);
    gnutls_psk_set_client_credentials_function2(id->psk_client, send_key);
    gnutls_psk_set_server_credentials_function2(id->psk_server, find_key);
    return RESULT_OK;
}

void identity_psk_free(struct identity *id)
{
    if (id->psk_client)
        gnutls_psk_free_client_credentials(id->psk_client);
    if (id->psk_server)
        gnutls_psk_free_server_credentials(id->psk_server);
    if (id->psks)
        wipe(id->psks, id->psk_count * sizeof *id->psks);
    free(id->psks);
}
