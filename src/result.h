/* The one result type of src/: every outcome of protocol code, each with a fixed errno at the preload border. */
#ifndef P2PTLS_RESULT_H
#define P2PTLS_RESULT_H

#define MUST_USE __attribute__((warn_unused_result))

/* Zero is never returned on purpose: a forgotten assignment shows up as RESULT_INVALID, which every caller
 * treats as a failure. */
enum result {
    RESULT_INVALID = 0,
    RESULT_OK,
    RESULT_AGAIN,     /* would block: more input, or room for output, is needed first      EAGAIN      */
    RESULT_EOF,       /* the peer's close_notify was authenticated                         0 from read */
    RESULT_TIMEOUT,   /* the peer stayed silent for longer than the policy allows          ETIMEDOUT   */
    RESULT_IDENTITY,  /* an identity was refused, by us or by the peer                     EKEYREJECTED*/
    RESULT_PROTOCOL,  /* protocol violation, plaintext peer, bad record                    EPROTO      */
    RESULT_TRUNCATED, /* FIN without close_notify                                          ECONNRESET  */
    RESULT_DENIED,    /* the policy says deny                                              EACCES      */
    RESULT_CLOSED,    /* our own side was shut down for writing                            EPIPE       */
    RESULT_CONFIG,    /* unusable configuration: key file, role sets                       EKEYREJECTED*/
    RESULT_NOMEM,     /*                                                                   ENOMEM      */
    RESULT_IO,        /* the transport failed; the errno travels beside the result                     */
};

/* Says that a result is of no interest here, where (void) would not silence the compiler. */
static inline void result_ignore(enum result r)
{
    (void)r;
}

const char *result_name(enum result r);

/* The errno that the application sees for r (0 for OK and EOF). RESULT_IO gives EIO: callers that have the
 * transport's errno use that one instead. */
int result_errno(enum result r);

#endif
