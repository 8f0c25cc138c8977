/* Whom an identity accepts: CAs, pins, known peers, revocation lists and the expression that combines them. Loaded with
 * the identity and immutable like it, but for the known peers, which live in a file that is looked at each time. */
#ifndef P2PTLS_IDENTITY_TRUST_H
#define P2PTLS_IDENTITY_TRUST_H

#include "policy.h"
#include "result.h"

struct trust_store;

/* RESULT_OK and a store (which keeps nothing of trust); RESULT_CONFIG with a sentence; RESULT_NOMEM. state_dir holds
 * known_peers where trust->known_peers is "on"; may be NULL otherwise. */
MUST_USE enum result trust_store_load(const struct policy_trust *trust, const char *state_dir, struct trust_store **out,
                                      char *why);
void trust_store_free(struct trust_store *store); /* NULL is fine */

/* ocsp=stapled: a session of the client role must ask for it. */
bool trust_store_wants_staple(const struct trust_store *store);

#endif
