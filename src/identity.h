/* Who this side is and whom it accepts: credentials and trust, one for each rule, immutable and shared by all
 * handshakes. All file access of src/ is here. GnuTLS does the cryptography and X.509. */
#ifndef P2PTLS_IDENTITY_H
#define P2PTLS_IDENTITY_H

#include "policy.h"
#include "result.h"

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* What a rule says (policy.h), and what the embedder knows. Nothing in own and trust means zero-config: the per-user
 * identity, which trusts exactly itself. The policy's parser has checked what fits together, with better messages than
 * are given here; what would trust nobody, or what would authenticate nobody unasked, is refused here as well. */
struct identity_config {
    const struct policy_identity *own;
    const struct policy_trust *trust;
    enum policy_auth auth; /* must the remote side prove itself? */
    enum policy_show show; /* may the own certificate be shown? */
    enum policy_usage usage;
    const char *state_dir;  /* of the per-user identity: made with mode 0700 if absent (p2ptls below XDG_STATE_HOME
                               or ~/.local/state: the embedder resolves it). NULL: zero-config is RESULT_CONFIG */
    bool revalidate_always; /* identity_source_get looks at the files each time, not once a second */
};

struct identity;

enum { IDENTITY_WHY_MAX = 448 };

/* RESULT_OK and the only reference in *out; RESULT_CONFIG (missing, unreadable, too open, unparsable, mismatching,
 * expired files, or files of a user other than root and the effective one), RESULT_IO (not now: descriptors are out, a
 * token is absent) or RESULT_NOMEM with a sentence in why: what, which file, what to do. Keeps nothing of the config.
 * Zero-config: makes STATE_DIR/identity.pem (Ed25519 key and self-signed certificate in one file, 0600) if absent,
 * atomically (temporary file, fsync, link(2)), so that many processes that start at once agree on one. */
MUST_USE enum result identity_load(const struct identity_config *config, struct identity **out,
                                   char why[IDENTITY_WHY_MAX]);
/* From any thread. A handshake holds a reference from handshake_new to handshake_free. */
struct identity *identity_ref(const struct identity *id);
void identity_unref(struct identity *id); /* NULL is fine */

/* The identity of a rule over time: holds the newest one that could be loaded, and replaces it when a file has changed
 * (identity_source.c). After fork each process has its own. */
struct identity_source;

/* NULL without memory. Loads nothing yet. What the config points to must outlive it; name is the rule's, for logs. */
struct identity_source *identity_source_new(const struct identity_config *config, const char *name);
/* A reference to the current identity. Looks for changed files, at most once a second unless revalidate_always; what
 * cannot be loaded then is logged, once for each change, and the last good identity stays. Without one: as
 * identity_load, which is not tried again before a file changes or RESULT_IO may have passed. errno stays. */
MUST_USE enum result identity_source_get(struct identity_source *source, struct identity **out,
                                         char why[IDENTITY_WHY_MAX]);
void identity_source_forked(struct identity_source *source); /* in the child; nobody was inside */
void identity_source_free(struct identity_source *source);
/* A sandbox: files cannot be looked at any more (on), or can again. For the whole process. */
void identity_source_freeze(bool on);

/* No two identities of a process ever have the same. */
uint64_t identity_serial(const struct identity *id);
/* Can sessions be resumed? Not with a pre-shared key, which needs no signatures; nor where the peer has to show a fresh
 * OCSP answer in each handshake. */
bool identity_resumes(const struct identity *id);

bool identity_uses_psk(const struct identity *id);
/* A PKCS#11 token has its key, and signs. NULL: no. */
bool identity_in_token(const struct identity *id);
/* A PKCS#11 module may open files by stdio, and wait for libc's lock of the list of streams while it has its own; and
 * fflush(NULL) has libc's lock while it writes to a connection, and may wait there for this connection's, or sign
 * itself. So whoever may call the module (to sign, to load a key, to let go of one) takes libc's lock before all of its
 * own, by hold(true). True: it was taken, to be given back; token: false, nothing happens. */
void identity_token_streams(void (*hold)(bool hold)); /* NULL, as at first: there is no such lock */
bool identity_token_enter(bool token);
void identity_token_leave(bool entered);
enum policy_auth identity_auth(const struct identity *id);
enum policy_show identity_show(const struct identity *id);
/* In TLS 1.3 a server with certificates always shows its own: who may not, stays client. */
bool identity_client_only(const struct identity *id);

/* Puts credentials on a session of either role; as server also says whether the client's certificate is required,
 * requested or not asked for. A client whose certificate may not be shown sends an empty one (RFC 8446 section 4.4.2).
 * The pointers stay valid while id lives. Takes the session's database pointer (gnutls_db_set_ptr) for the credentials'
 * callbacks; the session pointer stays the caller's. */
MUST_USE enum result identity_apply(const struct identity *id, gnutls_session_t session, bool server);

/* The KX and certificate part of a GnuTLS priority string for this identity in that TLS role (PSK or certificates;
 * which kinds of certificates are shown and accepted), to be appended to the protocol's own. Static string. */
const char *identity_priorities(const struct identity *id, bool server);
/* What gnutls_init needs for it: GNUTLS_ENABLE_RAWPK or 0. */
unsigned identity_session_flags(const struct identity *id);

struct tlsa_set; /* tlsa.h */

/* In words: "a certificate", "a raw public key (key= without cert=)" or "a pre-shared key (psk=)". */
const char *identity_kind_words(const struct identity *id);
bool identity_shows_raw(const struct identity *id);
bool identity_takes_raw(const struct identity *id);
/* The number of a signature scheme (RFC 8446 section 4.2.3): does the own key sign so? */
bool identity_signs_by(const struct identity *id, uint16_t scheme);

/* Did the peer show anything of a kind that can be judged here? */
bool identity_peer_shows(const struct identity *id, gnutls_session_t session);

/* What the remote side must be, beyond being trusted. */
struct identity_expectation {
    bool peer_is_server;         /* its TLS role, for usage=role */
    const char *dialled_name;    /* of the connecting side: what the program looked up, or the address. Else NULL */
    uint16_t port;               /* that was dialled */
    bool connected_side;         /* this side has connected, whatever its TLS role */
    const char *peer_patterns;   /* peer=; NULL: the dialled name counts, where trust rests on names */
    const struct tlsa_set *tlsa; /* what DNSSEC has proven of the dialled name and port; may be NULL */
    bool resumed;                /* the session is: what the peer shows was looked at before */
    /* What the peer had shown when the session was made that is resumed, where the session does not tell it yet. */
    const gnutls_datum_t *remembered; /* NULL: the session tells */
    unsigned remembered_count;
    bool remembered_raw; /* one raw public key */
};

enum { IDENTITY_SUBJECT_MAX = 1024 };

struct identity_peer {
    char subject[IDENTITY_SUBJECT_MAX]; /* whole, printable and unambiguous; empty: too long; only after RESULT_OK */
    time_t expires;                     /* of its certificate; 0: it has none; likewise */
    uint8_t alert;                      /* after a refusal: what the peer is told */
};

/* Before the peer's signature is checked (a CertificateVerify has come): is it cheap to check, and are there few enough
 * certificates? A key need not be anybody's to cost minutes. RESULT_OK or RESULT_IDENTITY with the reason and
 * peer->alert. */
MUST_USE enum result identity_screen(gnutls_session_t session, struct identity_peer *peer, char why[IDENTITY_WHY_MAX]);

/* Judges the peer of a session whose certificate message has come (called from GnuTLS's verify callback), in the same
 * way in either TLS role: does what is known of it fulfil the trust expression, and does it carry an expected name?
 * RESULT_OK, RESULT_IDENTITY with the reason in why, or RESULT_NOMEM. PSK sessions run no verify callback: call this
 * after the handshake too, before anything is believed. It refuses a session that did not use the PSK with (EC)DHE.
 * errno stays; no cancellation point. */
MUST_USE enum result identity_verify(const struct identity *id, gnutls_session_t session,
                                     const struct identity_expectation *expect, struct identity_peer *peer,
                                     char why[IDENTITY_WHY_MAX]);

/* Once the peer's Finished is verified, and before the session goes: records a first contact with known-peers=. Can
 * refuse, as identity_verify: another process has met another key meanwhile, or nothing can be recorded. */
MUST_USE enum result identity_confirm(const struct identity *id, gnutls_session_t session,
                                      const struct identity_expectation *expect, struct identity_peer *peer,
                                      char why[IDENTITY_WHY_MAX]);

#endif
