/* p2ptls.h: what a program that knows of p2ptls can ask it. Everything goes through setsockopt(2) and getsockopt(2) on
 * a TCP socket, so that no library has to be linked and every language reaches it. Where libp2ptls.so is not loaded, or
 * has no policy (an empty one will not do; "any *:* plain" will), the kernel answers: ENOPROTOOPT to setsockopt,
 * EOPNOTSUPP to getsockopt.
 *
 * STARTTLS, in mid-stream:
 *
 *     const char how[] = "connect role=peer peer=sip.example ca=/etc/sip/ca.pem cert=/etc/sip/c.pem
 * key=/etc/sip/k.pem"; if (setsockopt(fd, SOL_P2PTLS, P2PTLS_STARTTLS, how, strlen(how)) < 0)
 *         ... errno, see below: not a byte may follow in clear
 *
 * From then on the same socket carries TLS 1.3: send, recv, poll and the rest go on as before. The peer does the same
 * at the same place of the protocol. Both sides must have read what came before in clear, and nothing more; no other
 * thread uses the socket at the moment of the call, and no other process shares it.
 *
 * Text values are not terminated by NUL, in either direction: their length is the option's length. */
#ifndef P2PTLS_H
#define P2PTLS_H

#define SOL_P2PTLS 0x7032

/* Set: "connect" or "accept", then options of the policy language (docs/POLICY.md), separated by blanks. The word says
 * which side this is where the two differ: "connect" speaks first and checks the name that it dialled. An empty value
 * is "connect". What the options leave out is as in a rule without them: the per-user identity on both sides. id=NAME
 * is an identity of the policy of the process.
 *
 * The call begins the handshake and returns; the following calls on the socket drive it. With connect=wait among the
 * options it returns after the handshake, and fails as connect(2) does under such a rule.
 *
 *   EINVAL        the text is no such list (the log says where)
 *   ENOTCONN      the socket is not connected
 *   EALREADY      the connection is protected already
 *   EKEYREJECTED  the identity cannot be loaded, or with connect=wait the peer was refused
 *   EOPNOTSUPP    other numbers of the socket cannot be looked for (no /proc)
 *   ENOMEM, ENOPROTOOPT (not a TCP socket, or no p2ptls)
 *
 * Each different text is kept for the life of the process: say the same for all connections, not one with a serial
 * number. */
#define P2PTLS_STARTTLS 1

/* Get, an int: 0 the connection is not protected; 1 its handshake is going on; 2 it is protected, and the peer was
 * accepted; 3 it failed (SO_ERROR, or the next read, says why). */
#define P2PTLS_STATE 2

/* Get, text; ENOTCONN before P2PTLS_STATE is 2, ERANGE if the room is too small (nothing is ever cut off).
 *   PEER    what the peer was proven to be, as the log shows it: a subject, "psk:NAME", or "(unauthenticated)"
 *   ROLE    the TLS role of this side: "client" or "server"
 *   CIPHER  the cipher suite: "TLS_AES_128_GCM_SHA256" and the like */
#define P2PTLS_PEER 3
#define P2PTLS_ROLE 4
#define P2PTLS_CIPHER 5

/* Exporter values (RFC 8446 section 7.5; RFC 5705), equal on both sides and known to nobody else. Set the label, which
 * may be followed by a zero byte and a context of up to 65,535 bytes (none is the same as an empty one, as in TLS 1.3);
 * then get from 1 to 4096 bytes: the option's length says how many. ENOTCONN before P2PTLS_STATE is 2; EINVAL without a
 * label. The label belongs to this process's view of the connection. */
#define P2PTLS_EXPORTER_LABEL 6
#define P2PTLS_EXPORTER 7

/* Get, an int; ENOTCONN before P2PTLS_STATE is 2: 1 if the connection was resumed by a session ticket
 * (docs/PROTOCOL.md, "Resumption"), else 0. What PEER says was checked either way. */
#define P2PTLS_RESUMED 8

#endif
