/* Who this side is and whom it accepts: credentials and trust, loaded once per rule, immutable and shared by all
 * handshakes. All file access of src/ is here. GnuTLS does the cryptography and X.509. */
#ifndef P2PTLS_IDENTITY_H
#define P2PTLS_IDENTITY_H

#include "policy.h"
#include "result.h"

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every pointer may be NULL. Nothing but state_dir set means zero-config: the per-user identity, which trusts
 * exactly itself. cert and key go together. psk excludes cert, key, ca and AUTH_INSECURE_NONE. cert and key without ca
 * (and with AUTH_REQUIRE) is RESULT_CONFIG, as is ca without cert: both sides are always authenticated.
 * AUTH_INSECURE_NONE alone uses the per-user identity, or without state_dir one that is made in memory. */
struct identity_config {
    const char *cert_file; /* PEM, leaf first, then intermediates */
    const char *key_file;  /* PEM, PKCS#8 or traditional, not encrypted; mode must not let group or others read it */
    const char *ca_file;   /* PEM, one or more */
    const char *psk_file;  /* lines NAME:HEX, at least 128 bits of key; the first is sent, all are accepted;
                              # comments; mode as for key_file */
    const char *state_dir; /* of the per-user identity: made with mode 0700 if absent (p2ptls below XDG_STATE_HOME
                              or ~/.local/state: the embedder resolves it). NULL: zero-config is RESULT_CONFIG */
    enum policy_auth auth; /* must the remote side prove itself? */
    enum policy_show show; /* may the own certificate be shown? */
    enum policy_usage usage;
};

struct identity;

enum { IDENTITY_WHY_MAX = 400 };

/* RESULT_OK and a reference in *out; RESULT_CONFIG (missing, unreadable, too open, unparsable, mismatching,
 * expired files, or files of a user other than root and the effective one) or RESULT_NOMEM with a sentence in why:
 * what, which file, what to do.
 * Zero-config: makes STATE_DIR/identity.pem (Ed25519 key and self-signed certificate in one file, 0600) if absent,
 * atomically (temporary file, fsync, link(2)), so that many processes that start at once agree on one. */
MUST_USE enum result identity_load(const struct identity_config *config, struct identity **out,
                                   char why[IDENTITY_WHY_MAX]);
void identity_free(struct identity *id);

bool identity_uses_psk(const struct identity *id);
enum policy_auth identity_auth(const struct identity *id);
enum policy_show identity_show(const struct identity *id);
/* In TLS 1.3 a server with certificates always shows its own: who may not, stays client. */
bool identity_client_only(const struct identity *id);

/* Puts credentials on a session of either role; as server also says whether the client's certificate is required,
 * requested or not asked for. A client whose certificate may not be shown sends an empty one (RFC 8446 section 4.4.2).
 * The pointers stay valid while id lives. Takes the session's database pointer (gnutls_db_set_ptr) for the credentials'
 * callbacks; the session pointer stays the caller's. */
MUST_USE enum result identity_apply(const struct identity *id, gnutls_session_t session, bool server);

/* The KX and certificate part of a GnuTLS priority string for this identity (PSK or certificates), to be appended to
 * the protocol's own. Static string. */
const char *identity_priorities(const struct identity *id);

struct tlsa_set; /* tlsa.h */

/* What the remote side must be, beyond being trusted. */
struct identity_expectation {
    const char *peer_name;       /* DNS name or IP literal that the certificate must carry; NULL: any name */
    bool peer_is_server;         /* its TLS role, for usage=role */
    const char *dialled_name;    /* of the connecting side: what the program looked up, or the address. Else NULL */
    uint16_t port;               /* that was dialled */
    bool connected_side;         /* this side has connected, whatever its TLS role */
    const char *peer_patterns;   /* peer=; NULL: the dialled name counts, where trust rests on names */
    const struct tlsa_set *tlsa; /* what DNSSEC has proven of the dialled name and port; may be NULL */
};

/* Judges the peer of a session whose certificate message has come (called from GnuTLS's verify callback; works in
 * either TLS role; extended key usage is looked at with USAGE_ROLE alone). RESULT_OK: *subject gets a printable name
 * for logs (bounded, control bytes replaced). RESULT_IDENTITY with the reason in why. Zero-config compares the public
 * key with our own, nothing else. Expired certificates, wrong CA, wrong name: refused. PSK sessions run no verify
 * callback: call this after the handshake too, before anything is believed. It refuses a session that did not use the
 * PSK with (EC)DHE, and any peer_name, which a PSK cannot prove. */
MUST_USE enum result identity_verify(const struct identity *id, gnutls_session_t session,
                                     const struct identity_expectation *expect, char *subject, size_t subject_len,
                                     char why[IDENTITY_WHY_MAX]);

#endif
