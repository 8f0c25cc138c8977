/* Client sessions whose handshake is over and whose ticket is still to come. GnuTLS 3.7 tells nobody the secret that a
 * ticket goes with: so the session itself has to read it. A session takes some 20 KiB, so there are few, and none for
 * long: until the ticket has come, its connection has ended, a fork, or another one needs the place. */
#include "tickets.h"

#include "bytes.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* Where all places are taken, who waits for longer than this gives way: most servers answer sooner. */
enum { PATIENCE_MS = 2000 };

struct awaiting {
    uint64_t number; /* 0: a free entry */
    int64_t since_ms;
    gnutls_session_t session;
    struct identity *identity;
    struct ticket_place place;
    time_t expires; /* as in tickets_keep */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of both below */
static struct awaiting awaiting[TICKETS_AWAITED];
static uint64_t last_number;

/* What a session may read: one record. */
struct one_record {
    const uint8_t *at;
    size_t left;
};

static ssize_t pull_record(gnutls_transport_ptr_t ptr, void *to, size_t len)
{
    struct one_record *r = ptr;

    if (!r || !r->left) {
        errno = EAGAIN;
        return -1;
    }
    len = len < r->left ? len : r->left;
    memcpy(to, r->at, len);
    r->at += len;
    r->left -= len;
    return (ssize_t)len;
}

static int pull_waits(gnutls_transport_ptr_t ptr, unsigned ms)
{
    (void)ptr;
    (void)ms;
    return 0;
}

static ssize_t push_nothing(gnutls_transport_ptr_t ptr, const void *bytes, size_t len)
{
    (void)ptr;
    (void)bytes;
    (void)len;
    errno = EPIPE;
    return -1;
}

static int tell_nobody(gnutls_session_t session, const char *label, const gnutls_datum_t *secret)
{
    (void)session;
    (void)label;
    (void)secret;
    return 0;
}

static void cut_off(gnutls_session_t session)
{
    gnutls_session_set_ptr(session, NULL);
    gnutls_transport_set_ptr(session, NULL);
    gnutls_transport_set_push_function(session, push_nothing);
    gnutls_transport_set_pull_function(session, pull_record);
    gnutls_transport_set_pull_timeout_function(session, pull_waits);
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_PRE, NULL);
    gnutls_handshake_set_secret_function(session, NULL);
    gnutls_session_set_keylog_function(session, tell_nobody); /* without one GnuTLS obeys SSLKEYLOGFILE */
    gnutls_session_set_verify_function(session, NULL);
}

/* Not with the lock: the last reference of an identity forgets its tickets. */
static void let_go(struct awaiting *a)
{
    if (!a->number)
        return;
    gnutls_deinit(a->session);
    identity_unref(a->identity);
}

/* The lock is held. A free place, or that of who has waited longest, if that is long enough; NULL: none. */
static struct awaiting *find_place(int64_t now)
{
    struct awaiting *best = awaiting;

    for (struct awaiting *a = awaiting; a < awaiting + TICKETS_AWAITED; a++)
        if (best->number && (!a->number || a->since_ms < best->since_ms))
            best = a;
    return !best->number || now - best->since_ms > PATIENCE_MS ? best : NULL;
}

uint64_t tickets_await(gnutls_session_t session, const struct ticket_place *place, const struct identity *id,
                       time_t expires)
{
    struct awaiting before = {0};
    uint64_t number = 0;

    cut_off(session);
    pthread_mutex_lock(&lock);
    const int64_t now = tickets_now_ms();
    struct awaiting *a = find_place(now);
    if (a) {
        before = *a;
        number = ++last_number;
        *a = (struct awaiting){number, now, session, identity_ref(id), *place, expires};
    }
    pthread_mutex_unlock(&lock);
    if (!number)
        gnutls_deinit(session);
    let_go(&before);
    return number;
}

static struct awaiting take(uint64_t number)
{
    struct awaiting found = {0};

    pthread_mutex_lock(&lock);
    for (struct awaiting *a = awaiting; number && a < awaiting + TICKETS_AWAITED; a++)
        if (a->number == number) {
            found = *a;
            *a = (struct awaiting){0};
        }
    pthread_mutex_unlock(&lock);
    return found;
}

void tickets_await_no_more(uint64_t number)
{
    struct awaiting a = take(number);
    let_go(&a);
}

/* RFC 8446 section 4.6.1. GnuTLS would take a ticket of no bytes. */
static bool parse(const uint8_t *message, size_t len, uint32_t *lifetime_s)
{
    struct cursor all = {message, len}, nonce, ticket, extensions;
    const uint8_t *head, *numbers;

    if (!cursor_take(&all, 4, &head) || head[0] != GNUTLS_HANDSHAKE_NEW_SESSION_TICKET || be24(head + 1) != all.left ||
        !cursor_take(&all, 8, &numbers) || !cursor_vec8(&all, &nonce) || !cursor_vec16(&all, &ticket) || !ticket.left ||
        !cursor_vec16(&all, &extensions) || all.left)
        return false;
    *lifetime_s = (uint32_t)be16(numbers) << 16 | be16(numbers + 2);
    return len <= TICKET_BYTES_MAX;
}

/* Lets the session read the record, which it takes for the next one. */
static bool read_record(gnutls_session_t session, const uint8_t *record, size_t len, uint64_t seq)
{
    struct one_record r = {record, len};
    uint8_t number[8], nothing;

    for (size_t i = 0; i < sizeof number; i++)
        number[i] = (uint8_t)(seq >> (56 - 8 * i));
    if (gnutls_record_set_state(session, 1, number) < 0)
        return false;
    gnutls_transport_set_ptr(session, &r);
    const ssize_t n = gnutls_record_recv(session, &nothing, sizeof nothing);
    gnutls_transport_set_ptr(session, NULL);
    return n == GNUTLS_E_AGAIN && (gnutls_session_get_flags(session) & GNUTLS_SFLAGS_SESSION_TICKET) && !r.left;
}

/* Sealed again, it is what GnuTLS would have read itself. keys may be of a slot that a hostile process shares: then the
 * session does not open it. */
static bool read_ticket(gnutls_session_t session, const struct record_keys *keys, const uint8_t *message, size_t len)
{
    struct record_cipher *cipher = NULL;
    uint8_t *record = keys->epoch == 1 && keys->seq ? malloc(len + RECORD_OVERHEAD) : NULL;
    size_t sealed = 0;
    const bool read =
        record && record_cipher_fit(&cipher, keys) == RESULT_OK &&
        record_seal(cipher, keys, keys->seq - 1, RECORD_HANDSHAKE, message, len, record, &sealed) == RESULT_OK &&
        read_record(session, record, sealed, keys->seq - 1);

    record_cipher_free(cipher);
    free(record);
    return read;
}

static struct ticket *make_ticket(gnutls_session_t session)
{
    const bool raw = gnutls_certificate_type_get2(session, GNUTLS_CTYPE_PEERS) == GNUTLS_CRT_RAWPK;
    const bool own_raw = gnutls_certificate_type_get2(session, GNUTLS_CTYPE_OURS) == GNUTLS_CRT_RAWPK;
    unsigned count = 0;
    const gnutls_datum_t *shown = gnutls_certificate_get_peers(session, &count);
    gnutls_datum_t data = {0};

    /* GnuTLS 3.7 loses the kind of a raw key on its way through a resumption. */
    if (raw || own_raw || !shown || !count || gnutls_session_get_data2(session, &data) < 0)
        return NULL;
    struct ticket *t = ticket_new(&data, shown, count, raw);
    wipe(data.data, data.size);
    gnutls_free(data.data);
    return t;
}

bool tickets_arrived(uint64_t number, const struct record_keys *keys, const uint8_t *message, size_t len)
{
    struct awaiting a = take(number);
    struct ticket *t = NULL;
    uint32_t lifetime_s = 0;
    const int saved = errno;

    if (!a.number)
        return false;
    if (parse(message, len, &lifetime_s) && lifetime_s && read_ticket(a.session, keys, message, len))
        t = make_ticket(a.session);
    if (t)
        tickets_keep(&a.place, a.identity, t, lifetime_s, a.expires);
    let_go(&a);
    errno = saved;
    return t;
}

void tickets_await_none(void)
{
    for (size_t i = 0; i < TICKETS_AWAITED; i++) {
        pthread_mutex_lock(&lock);
        struct awaiting gone = awaiting[i];
        awaiting[i] = (struct awaiting){0};
        pthread_mutex_unlock(&lock);
        let_go(&gone);
    }
}

void tickets_await_forked(bool in_child)
{
    if (!in_child)
        return;
    pthread_mutex_init(&lock, NULL);
    tickets_await_none();
}
