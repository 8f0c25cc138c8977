/* Fingerprints for people: words to be read aloud, and a QR code to be held before a camera. */
#ifndef P2PTLS_TOOL_FINGERPRINT_H
#define P2PTLS_TOOL_FINGERPRINT_H

#include "keys.h"

#include <stdio.h>

/* Sixteen words of five letters, a blank in between (proquints: D. S. Wilkerson, arXiv:0901.4016): each stands for 16
 * bits, so the words are the fingerprint, whole. */
enum { FINGERPRINT_WORDS_TEXT = PIN_BYTES / 2 * 6 };
void fingerprint_words(const unsigned char digest[PIN_BYTES], char out[FINGERPRINT_WORDS_TEXT]);

/* Two modules in each character where the locale has the characters for it, else two characters for each. False:
 * failed(). */
bool fingerprint_print_qr(FILE *out, const char *text);

#endif
