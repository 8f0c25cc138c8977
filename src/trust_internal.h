/* What the trust_*.c files share: the peer as it showed itself, the loaded store, and the questions about both. */
#ifndef P2PTLS_TRUST_INTERNAL_H
#define P2PTLS_TRUST_INTERNAL_H

#include "identity_internal.h"
#include "identity_trust.h"
#include "tlsa.h"

enum {
    SHOWN_MAX = 16,               /* certificates of a peer: a broken chain of a hundred costs nothing */
    SHOWN_BYTES_MAX = 65536,      /* of one certificate */
    SHOWN_KEY_BITS_MAX = 8192,    /* of an RSA key: checking one signature with a longer one takes seconds */
    SHOWN_EXPONENT_BITS_MAX = 64, /* of an RSA key, which need not be a real one: seconds likewise */
    KEY_HASH_BYTES = 32,
    PRINTABLE_MAX = 128,
    REASON_MAX = 384,
    FINGERPRINT_TEXT = 7 + 44 + 1, /* "sha256:" and base64, as pin= and known peers take it */
};

/* Owned: the parsed certificates (none if it showed a raw public key, or where they were not needed), key. */
struct shown_peer {
    const gnutls_datum_t *given; /* as it came; belongs to the session, or to the ticket */
    unsigned given_count;
    bool raw; /* RFC 7250 */
    gnutls_x509_crt_t chain[SHOWN_MAX];
    unsigned count;          /* of chain */
    struct secret_bytes key; /* SubjectPublicKeyInfo, DER */
    uint8_t key_hash[KEY_HASH_BYTES];
    uint8_t chain_hash[KEY_HASH_BYTES];            /* of all that it showed, as it came */
    char subject[IDENTITY_SUBJECT_MAX];            /* empty: longer than that */
    char certificate_hash[2 * KEY_HASH_BYTES + 1]; /* hexadecimal; of the key where there is no certificate */
    char fingerprint[FINGERPRINT_TEXT];            /* of the key */
    time_t expires;                                /* the leaf; 0: never */
    bool carries_name;                             /* the expected one, or one that fits peer=; false: not looked for */
    gnutls_datum_t staple;                         /* OCSP answer about the leaf; belongs to the session */
};

/* What the peer shows in this session, or, in one that is resumed, had shown. RESULT_OK; *shown stays empty (key.len 0)
 * when the peer showed nothing. RESULT_IDENTITY: more, or larger, than is looked at, or unreadable. Free in every case.
 * store: what it has seen before is not parsed again; may be NULL. What checking a signature of theirs costs was looked
 * at when the session was made that is resumed. */
MUST_USE enum result shown_peer_take(const struct trust_store *store, gnutls_session_t session,
                                     const struct identity_expectation *expect, struct shown_peer *shown, char *why);
/* Makes sure that chain is there. RESULT_OK; RESULT_NOMEM, or RESULT_IDENTITY where it cannot be parsed. */
MUST_USE enum result shown_peer_parse(struct shown_peer *shown, char *why);
void shown_peer_free(struct shown_peer *shown);
void trust_print_fingerprint(const uint8_t hash[KEY_HASH_BYTES], char out[FINGERPRINT_TEXT]);
/* "sha256:" with base64 or hexadecimal. */
bool trust_parse_fingerprint(const char *text, size_t len, uint8_t hash[KEY_HASH_BYTES]);
void trust_print_clean(char *out, size_t room, const void *text, size_t len);
/* Whole and unambiguous: bytes that are not printable ASCII as a backslash and two hexadecimal digits (RFC 4514). In
 * escaped text what follows a backslash is as it must be; else a backslash is such a byte as well. False, and empty:
 * too little room. */
bool trust_print_escaped(char *out, size_t room, const void *text, size_t len, bool escaped);

/* trust_chain.c: the certificates from the leaf on, each followed by its issuer, as far as they were shown and are no
 * anchors. The certificates stay the shown peer's. */
struct trust_path {
    gnutls_x509_crt_t certs[SHOWN_MAX];
    unsigned count;
    gnutls_x509_crt_t anchor; /* NULL: none of the list issued the last one */
    bool anchor_owned;        /* else the list's, which must outlive the path */
};
/* shared: the list may be one of a token, which changes while it is asked, so that the anchor is copied. */
void trust_path_find(struct trust_path *path, const struct shown_peer *shown, gnutls_x509_trust_list_t list,
                     bool shared);
void trust_path_free(struct trust_path *path);
/* GnuTLS's status: 0 is trusted. Extended key usage is not looked at. */
unsigned trust_path_verify(const struct trust_path *path, gnutls_x509_trust_list_t list);
const char *trust_status_words(unsigned status, const char **remedy, uint8_t *alert);

/* trust_verified.c: paths that trust_path_verify has found good within the last minute, none of which has expired
 * since. Thread-safe. */
struct verified_chains;
struct verified_chains *verified_chains_new(void); /* NULL without memory */
void verified_chains_free(struct verified_chains *v);
bool verified_chains_have(struct verified_chains *v, const struct shown_peer *shown);
void verified_chains_add(struct verified_chains *v, const struct shown_peer *shown, const struct trust_path *path);

/* trust_seen.c: what was read from certificates that were accepted, by the hash of all that was shown. None of it says
 * that they still are to be. Thread-safe. */
struct seen_peers;
struct seen_peers *seen_peers_new(void); /* NULL without memory */
void seen_peers_free(struct seen_peers *s);
/* shown has its chain_hash: fills in all that is known but the chain itself. False: it must be read. */
bool seen_peers_recall(struct seen_peers *s, struct shown_peer *shown, const struct identity_expectation *expect);
/* keep_name: shown->carries_name, if it is true, hangs on the certificates and the expectation alone. */
void seen_peers_keep(struct seen_peers *s, const struct shown_peer *shown, const struct identity_expectation *expect,
                     bool keep_name);

/* trust_constraints.c. Do the CAs of the path allow the URIs that the certificates below them carry? */
bool trust_constraints_allow_uris(const struct trust_path *path);
/* Would they allow it as a DNS name? */
bool trust_constraints_allow_name(const struct trust_path *path, const char *name);

/* trust_files.c: calls each for every certificate or list file behind a comma-separated list of files and folders. */
typedef enum result (*trust_file_fn)(void *ctx, const struct secret_bytes *bytes, const char *shown, char *why);
MUST_USE enum result trust_files_read(const char *list, const char *const *suffixes, trust_file_fn each, void *ctx,
                                      char *why);

/* trust_crl.c */
struct revocation_lists {
    struct revocation_list *items;
    size_t count;
};
MUST_USE enum result revocation_load(struct revocation_lists *lists, const char *paths, char *why);
void revocation_free(struct revocation_lists *lists);
/* Is nothing on the path revoked, by a list for each of its issuers that is in force? Else false with the reason. */
bool revocation_clears(const struct revocation_lists *lists, const struct trust_path *path,
                       gnutls_x509_trust_list_t anchors, char reason[REASON_MAX]);

/* trust_ocsp.c: does the stapled answer say that the leaf is good? */
bool ocsp_clears(const struct shown_peer *shown, const struct trust_path *path, time_t now, char reason[REASON_MAX]);

/* trust_dane.c */
enum dane_match { DANE_NONE = 0, DANE_NEEDS_NAME, DANE_NAMELESS /* RFC 7671 section 5.1 */ };
/* ca_trusted: the path was verified with ca= (usages 0 and 1); has_cas: there is any. */
enum dane_match dane_match(const struct tlsa_set *set, const struct shown_peer *shown, const struct trust_path *path,
                           bool has_cas, bool ca_trusted, char reason[REASON_MAX]);

/* trust_known.c: the file of known peers. Thread-safe. */
struct known_peers;
/* by_path: the rule names the file, it is not that of the state folder. */
MUST_USE enum result known_peers_open(const char *path, bool by_path, struct known_peers **out, char *why);
void known_peers_close(struct known_peers *known);
/* A sandbox: the files cannot be looked at any more (on), or can again. For the whole process. */
void known_peers_freeze(bool on);
enum known_answer {
    KNOWN_UNREADABLE = 0, /* reason says why */
    KNOWN_SAME,
    KNOWN_FIRST, /* nothing is recorded under that name and port */
    KNOWN_OTHER, /* another key is; *recorded gets it */
};
enum known_answer known_peers_ask(struct known_peers *known, const char *host, uint16_t port,
                                  const uint8_t hash[KEY_HASH_BYTES], uint8_t recorded[KEY_HASH_BYTES],
                                  char reason[REASON_MAX]);
/* May who has that key connect to this side? Says why not, and what to do. */
bool known_peers_accept(struct known_peers *known, const uint8_t hash[KEY_HASH_BYTES], char reason[REASON_MAX]);
/* The options of p2ptls trust add for this file. */
const char *known_peers_option(const struct known_peers *known);
/* Asks again with the file locked, and appends on KNOWN_FIRST (then the answer is KNOWN_SAME). */
enum known_answer known_peers_record(struct known_peers *known, const char *host, uint16_t port,
                                     const uint8_t hash[KEY_HASH_BYTES], uint8_t recorded[KEY_HASH_BYTES],
                                     char reason[REASON_MAX]);

struct trust_store {
    gnutls_x509_trust_list_t anchors;
    bool has_cas, has_system_cas, has_crls, dane, ocsp_stapled;
    uint8_t (*pins)[KEY_HASH_BYTES];
    size_t pin_count;
    struct revocation_lists crls;
    struct known_peers *known;
    struct trust_expression expression;
    struct verified_chains *verified; /* has_cas. This and the next are all that changes in it */
    struct seen_peers *seen;
};

/* trust_judge.c */
struct trust_question {
    const struct trust_store *store;
    struct shown_peer *shown; /* is parsed where that is needed */
    const struct identity_expectation *expect;
    const struct secret_bytes *own_key; /* NULL: none */
};
struct trust_verdict {
    unsigned facts; /* set of enum trust_fact */
    uint8_t alert;  /* for the peer, of a refusal */
};
/* RESULT_OK, RESULT_IDENTITY with a sentence, or RESULT_NOMEM. */
MUST_USE enum result trust_judge(const struct trust_question *q, struct trust_verdict *verdict, char *why);
/* After Finished: records a first contact. */
MUST_USE enum result trust_record(const struct trust_question *q, struct trust_verdict *verdict, char *why);

/* identity_name.c: does one pattern of a comma-separated list (docs/POLICY.md, peer=) fit? cert NULL: no. */
bool identity_patterns_match(gnutls_x509_crt_t cert, const char *patterns);
/* The same of the certificate at the beginning of a path, whose CAs have a say in its common name. */
bool identity_patterns_match_path(const struct trust_path *path, const char *patterns);
bool identity_patterns_match_psk(const char *name, const char *patterns);

#endif
