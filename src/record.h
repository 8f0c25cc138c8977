/* TLS 1.3 record protection (RFC 8446 section 5) with the keys in a plain struct that may live in shared memory
 * and the AEAD handle, which GnuTLS keeps per process, apart from it. No I/O. */
#ifndef P2PTLS_RECORD_H
#define P2PTLS_RECORD_H

#include "result.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RECORD_HEADER = 5,
    RECORD_TAG = 16,
    RECORD_PLAIN_MAX = 16384,                         /* TLSPlaintext.length, section 5.1 */
    RECORD_OVERHEAD = RECORD_HEADER + 1 + RECORD_TAG, /* header, inner content type, tag */
    RECORD_CIPHER_MAX = RECORD_PLAIN_MAX + 256,       /* TLSCiphertext.length, section 5.2 */
    RECORD_WIRE_MAX = RECORD_HEADER + RECORD_CIPHER_MAX,
    RECORD_SECRET_MAX = 48,
};

enum record_type {
    RECORD_INVALID = 0,
    RECORD_CHANGE_CIPHER_SPEC = 20,
    RECORD_ALERT = 21,
    RECORD_HANDSHAKE = 22,
    RECORD_APPLICATION_DATA = 23,
};

enum record_suite {
    SUITE_INVALID = 0,
    SUITE_AES_128_GCM_SHA256 = 0x1301,
    SUITE_AES_256_GCM_SHA384 = 0x1302,
    SUITE_CHACHA20_POLY1305_SHA256 = 0x1303,
};

/* One direction's keys. POD without pointers: it lives in slots that other processes map. */
struct record_keys {
    uint16_t suite;
    uint16_t secret_len;
    uint32_t epoch; /* counts KeyUpdates: a process with a handle of another epoch makes a new one */
    uint64_t seq;   /* of the next record */
    uint8_t secret[RECORD_SECRET_MAX];
    uint8_t key[32];
    uint8_t iv[12];
};

/* False for a suite that is not one of the three: bytes from a slot are checked with it. */
bool record_keys_valid(const struct record_keys *k);

/* Derives key and iv from a traffic secret, seq 0, epoch 1 (RFC 8446 section 7.3). */
MUST_USE enum result record_keys_init(struct record_keys *k, enum record_suite suite, const uint8_t *secret,
                                      size_t len);

/* application_traffic_secret_N+1 (section 7.2), new key and iv, seq 0, epoch + 1. */
MUST_USE enum result record_keys_update(struct record_keys *k);

/* Records after which this side must have updated its sending keys (section 5.5, with a margin). */
uint64_t record_limit(enum record_suite suite);

/* The per-process AEAD handle of one direction. Not thread-safe: the direction's lock guards it. One of the two is
 * there: GnuTLS takes AES-GCM in pieces, ChaCha20-Poly1305 only as a whole. */
struct record_cipher {
    struct api_cipher_hd_st *pieces;     /* gnutls_cipher_hd_t */
    struct api_aead_cipher_hd_st *whole; /* gnutls_aead_cipher_hd_t */
    uint64_t limit;                      /* record_limit of the suite */
    uint32_t epoch;
    uint16_t suite;
};

/* Makes *c fit k: creates it (*c NULL), replaces it when suite or epoch differ, otherwise does nothing.
 * On failure *c is NULL or still of the old keys. */
MUST_USE enum result record_cipher_fit(struct record_cipher **c, const struct record_keys *k);
void record_cipher_free(struct record_cipher *c);
/* False also for NULL: record_cipher_fit has something to do. */
static inline bool record_cipher_fits(const struct record_cipher *c, const struct record_keys *k)
{
    return c && c->suite == k->suite && c->epoch == k->epoch;
}

/* Seals len bytes (at most RECORD_PLAIN_MAX; 0 only for application data, section 5.4) into out, which has room for
 * len + RECORD_OVERHEAD bytes: header, ciphertext, tag. Returns the bytes written in *out_len. plain may overlap out.
 * Neither reads nor counts k->seq: seq is given, so that several records can be sealed ahead, and the caller counts
 * once the kernel has taken a byte. RESULT_PROTOCOL if the arguments are out of range or seq is 2^64 - 1, behind which
 * the numbers would wrap; out is wiped then. */
MUST_USE enum result record_seal(struct record_cipher *c, const struct record_keys *k, uint64_t seq,
                                 enum record_type type, const uint8_t *plain, size_t len, uint8_t *out,
                                 size_t *out_len);

/* What a header promises: RESULT_OK and the length of the body in *body_len; RESULT_PROTOCOL if the type is not
 * application_data (after Finished a change_cipher_spec is as wrong as the rest, section 5), the length above
 * RECORD_CIPHER_MAX or below the tag and the type byte. The version bytes are ignored as section 5.1 says. */
MUST_USE enum result record_header(const uint8_t header[RECORD_HEADER], size_t *body_len);

/* The bytes that record_open needs for a record of so many bytes of content and padding: with ChaCha20-Poly1305 one
 * more, where the type byte lands. */
static inline size_t record_room(const struct record_keys *k, size_t content)
{
    return content + (k->suite != SUITE_AES_128_GCM_SHA256 && k->suite != SUITE_AES_256_GCM_SHA384);
}

/* Opens one whole record (header and body, len bytes). plain has room for record_room(k, len - RECORD_OVERHEAD) bytes
 * (the content, behind which anything may be written of its type byte and padding) and may be the body's own place
 * (record + RECORD_HEADER). On success the inner type and the content's length; on failure plain is wiped and
 * the result is RESULT_PROTOCOL with *alert set (bad_record_mac, unexpected_message, record_overflow).
 * Uses k->seq for the nonce and does not count it up. */
MUST_USE enum result record_open(struct record_cipher *c, const struct record_keys *k, const uint8_t *record,
                                 size_t len, uint8_t *plain, size_t *plain_len, enum record_type *type, uint8_t *alert);

/* Called for each nonce when the kernel has taken the first byte that it protects. Builds with P2PTLS_NONCE_AUDIT keep
 * every pair of key and seq that this process (or, before the fork, its parent) spent, and abort on a double; the sink,
 * if one is set, gets each pair as 16 bytes (8 of a hash of key and iv, then seq, big-endian), so that several
 * processes' pairs can be compared afterwards. Lock-free: may be called from any thread, and after any fork. */
enum { RECORD_AUDIT_ENTRY = 16 };
#ifdef P2PTLS_NONCE_AUDIT
void record_nonce_spent(const struct record_keys *k, uint64_t seq);
void record_nonce_audit_sink(void (*sink)(void *ctx, const uint8_t entry[RECORD_AUDIT_ENTRY]), void *ctx);
#else
static inline void record_nonce_spent(const struct record_keys *k, uint64_t seq)
{
    (void)k;
    (void)seq;
}
#endif

/* HKDF-Expand-Label (section 7.1) with the suite's hash; for exporters (section 7.5) and updates. */
MUST_USE enum result record_expand_label(enum record_suite suite, const uint8_t *secret, size_t secret_len,
                                         const char *label, const uint8_t *context, size_t context_len, uint8_t *out,
                                         size_t out_len);

/* The exporter interface (section 7.5): label without a NUL in it, context of any length (NULL with 0: an empty one),
 * 1 to 255 times the hash's length of output. RESULT_PROTOCOL if something does not fit. */
MUST_USE enum result record_exporter(enum record_suite suite, const uint8_t *exporter_secret, size_t secret_len,
                                     const char *label, const uint8_t *context, size_t context_len, uint8_t *out,
                                     size_t out_len);

/* "TLS_AES_128_GCM_SHA256" (section B.4); "?" for a number that is no suite. */
const char *record_suite_name(unsigned suite);

#endif
