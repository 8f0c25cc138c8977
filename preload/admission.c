/* Accepted connections before they are protected: from=, and insecure-accept-plain= while a fleet moves over. */
#define LOG_CATEGORY LOG_CATEGORY_REFUSAL

#include "state.h"

#include "sys.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

/* RFC 8446 section 5.1: a stream of TLS begins with a handshake record. */
enum { FIRST_BYTE_OF_TLS = 22 };

/* The listener's own wait (tcp(7), TCP_DEFER_ACCEPT): the kernel gives a connection to accept(2) when its first byte is
 * there, or when the time is over. So the first byte decides, nobody else waits for it, and accept, poll and epoll of
 * the listener stay as they are. */
void admission_defer(int listener)
{
    struct sockaddr_storage local;
    socklen_t len = sizeof local;
    uint32_t longest_ms = 0;
    bool asked = false;
    if (forbidden.options)
        return;
    for (size_t i = 0; i < policy_count(policy) && !asked; i++)
        asked = policy_rule_at(policy, i)->accept_plain && !policy_rule_at(policy, i)->observe;
    if (!asked || sys3(SYS_getsockname, (long)listener, &local, &len) != 0 ||
        !policy_could_match(policy, POLICY_ACCEPT, (struct sockaddr *)&local, len))
        return;
    for (size_t i = 0; i < policy_count(policy); i++) {
        const struct policy_rule *rule = policy_rule_at(policy, i);
        if (rule->accept_plain && !rule->observe && rule->plain_wait_ms > longest_ms)
            longest_ms = rule->plain_wait_ms;
    }
    int seconds = (int)((longest_ms + 999) / 1000);
    sys5(SYS_setsockopt, (long)listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, (long)sizeof seconds);
}

/* By the first byte. A peer that says nothing is plain if the listener has waited for it; else it is taken for one of
 * TLS, which fails closed. */
static bool speaks_plain(int fd, int listener)
{
    uint8_t first = 0;
    long n = sys6(SYS_recvfrom, fd, (long)&first, 1, MSG_PEEK | MSG_DONTWAIT, 0, 0);
    if (n == 1)
        return first != FIRST_BYTE_OF_TLS;
    return n == 0 || (n == -EAGAIN && listener >= 0 && socket_option(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, 0) > 0);
}

enum admission admission_of(int fd, int listener, const struct policy_rule *rule, const struct sockaddr *peer,
                            socklen_t peer_len)
{
    static _Atomic unsigned plain_count;
    char text[CONN_PEER_TEXT], room[RULE_TEXT];
    struct log_field fields[RULE_FIELDS];
    if (!policy_from_allows(rule, peer, peer_len)) {
        text_of_address(peer, text);
        rule_fields(rule, POLICY_ACCEPT, text, room, fields);
        log_write(LOG_LEVEL_ERROR, LOG_CATEGORY_REFUSAL, fields, RULE_FIELDS,
                  "connection from %s refused: it is not in from= of %s:%u", text, rule->source, rule->line);
        return ADMISSION_REFUSED;
    }
    if (!rule->accept_plain || !speaks_plain(fd, listener))
        return ADMISSION_PROTECTED;
    text_of_address(peer, text);
    rule_fields(rule, POLICY_ACCEPT, text, room, fields);
    log_write(LOG_LEVEL_WARN, LOG_CATEGORY_PLAIN, fields, RULE_FIELDS,
              "connection from %s accepted IN CLEAR (number %u of this process), as insecure-accept-plain=on of %s:%u "
              "allows",
              text, atomic_fetch_add(&plain_count, 1) + 1, rule->source, rule->line);
    return ADMISSION_PLAIN;
}
