/* Texts of others, made fit for a terminal or a file. */
#ifndef P2PTLS_STATUS_TEXT_H
#define P2PTLS_STATUS_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Bytes as UTF-8 (RFC 3629): what is none becomes U+FFFD. Ends in NUL; room for 3 times the text and 1. */
void text_utf8(char *to, size_t room, const char *from);

/* Control characters in well-formed UTF-8 (C0, DEL, C1) become '?' each, but for except (0: none is kept). */
void text_without_controls(char *utf8, char except);

/* At most columns wide, in the characters of the locale: what is not printable (control and format characters, what the
 * locale has not) is '?'. Cut with "+" at the end if it is wider; columns 0: not cut. Returns the width. */
size_t text_fit(char *to, size_t room, const char *from, size_t columns);

/* As text_fit tells, without writing it. */
size_t text_width(const char *from);

/* "999", "1.5K", "23M" (powers of 1000); "7s", "12m05", "3h20", "5d03". */
void text_bytes(char *to, size_t room, uint64_t bytes);
void text_age(char *to, size_t room, int64_t ms);

#endif
