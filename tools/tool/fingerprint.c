#include "fingerprint.h"

#include "tool.h"

#include <errno.h>
#include <langinfo.h>
#include <qrencode.h>
#include <string.h>

enum { QUIET_ZONE = 4 }; /* ISO/IEC 18004 section 5.3.8 */

void fingerprint_words(const unsigned char digest[PIN_BYTES], char out[FINGERPRINT_WORDS_TEXT])
{
    static const char consonants[] = "bdfghjklmnprstvz", vowels[] = "aiou";
    char *at = out;

    for (unsigned i = 0; i < PIN_BYTES; i += 2) {
        const unsigned bits = (unsigned)digest[i] << 8 | digest[i + 1];
        *at++ = consonants[bits >> 12];
        *at++ = vowels[bits >> 10 & 3];
        *at++ = consonants[bits >> 6 & 15];
        *at++ = vowels[bits >> 4 & 3];
        *at++ = consonants[bits & 15];
        *at++ = ' ';
    }
    at[-1] = '\0';
}

/* Outside of the code all is light. */
static bool is_dark(const QRcode *code, int x, int y)
{
    return x >= 0 && y >= 0 && x < code->width && y < code->width && (code->data[y * code->width + x] & 1);
}

/* Light modules are drawn, as most terminals are dark: half blocks (U+2580, U+2584, U+2588). On a light one the colours
 * are reversed, which readers of today take as well. */
static void print_halves(FILE *out, const QRcode *code)
{
    static const char *const blocks[] = {"\xe2\x96\x88", "\xe2\x96\x80", "\xe2\x96\x84", " "};

    for (int y = -QUIET_ZONE; y < code->width + QUIET_ZONE; y += 2) {
        for (int x = -QUIET_ZONE; x < code->width + QUIET_ZONE; x++)
            fputs(blocks[2 * is_dark(code, x, y) + is_dark(code, x, y + 1)], out);
        putc('\n', out);
    }
}

static void print_ascii(FILE *out, const QRcode *code)
{
    for (int y = -QUIET_ZONE; y < code->width + QUIET_ZONE; y++) {
        for (int x = -QUIET_ZONE; x < code->width + QUIET_ZONE; x++)
            fputs(is_dark(code, x, y) ? "  " : "##", out);
        putc('\n', out);
    }
}

bool fingerprint_print_qr(FILE *out, const char *text)
{
    QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);

    if (!code) {
        (void)failed("cannot make a QR code: %s", strerror(errno));
        return false;
    }
    if (strcmp(nl_langinfo(CODESET), "UTF-8") == 0)
        print_halves(out, code);
    else
        print_ascii(out, code);
    QRcode_free(code);
    return true;
}
