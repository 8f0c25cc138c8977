/* The price of AES-128-GCM itself: records sealed and opened again by GnuTLS, in memory. The buffers are as large as
 * the transfer programs', so that the caches are in the same state.
 *
 *   aead TOTAL RECORD     bytes in all, and in a record (up to 16384)
 *
 * Prints one line of JSON: seconds of CPU for each GB (10^9 bytes) of plaintext. */
#include "bench.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST = 16 * KIB, BUFFER = 128 * KIB, TAG = 16, HEADER = 5, NONCE = 12 };

static gnutls_aead_cipher_hd_t cipher;
static uint8_t header[HEADER] = {23, 3, 3};
static size_t record_bytes;

static void seal(uint64_t sequence, const uint8_t *text, uint8_t *record)
{
    uint8_t nonce[NONCE];
    size_t len = record_bytes + TAG;
    for (int i = 0; i < NONCE; i++)
        nonce[i] = i < 4 ? 0 : (uint8_t)(sequence >> 8 * (11 - i));
    if (gnutls_aead_cipher_encrypt(cipher, nonce, NONCE, header, HEADER, TAG, text, record_bytes, record, &len) != 0)
        die("sealing failed");
}

static void open_sealed(uint64_t sequence, const uint8_t *record, uint8_t *text)
{
    uint8_t nonce[NONCE];
    size_t len = record_bytes;
    for (int i = 0; i < NONCE; i++)
        nonce[i] = i < 4 ? 0 : (uint8_t)(sequence >> 8 * (11 - i));
    if (gnutls_aead_cipher_decrypt(cipher, nonce, NONCE, header, HEADER, TAG, record, record_bytes + TAG, text, &len) !=
        0)
        die("opening failed");
}

int main(int argc, char **argv)
{
    if (argc != 3)
        die("see the head of aead.c for the arguments");
    uint64_t rounds = number(argv[1], UINT64_MAX) / BUFFER + 1, sealing = 0, opening = 0;
    record_bytes = number(argv[2], MOST);
    if (record_bytes == 0)
        die("an empty record");
    size_t count = BUFFER / record_bytes;
    uint8_t *text = allocate(BUFFER), *opened = allocate(BUFFER), *records = allocate(count * (record_bytes + TAG));
    header[3] = (uint8_t)((record_bytes + TAG) >> 8);
    header[4] = (uint8_t)(record_bytes + TAG);
    uint8_t key[16] = {1};
    if (gnutls_aead_cipher_init(&cipher, GNUTLS_CIPHER_AES_128_GCM, &(gnutls_datum_t){key, sizeof(key)}) != 0)
        die("no AES-128-GCM");
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t begin = cpu_ns();
        for (size_t i = 0; i < count; i++)
            seal(round * count + i, text + i * record_bytes, records + i * (record_bytes + TAG));
        uint64_t sealed = cpu_ns();
        for (size_t i = 0; i < count; i++)
            open_sealed(round * count + i, records + i * (record_bytes + TAG), opened + i * record_bytes);
        sealing += sealed - begin;
        opening += cpu_ns() - sealed;
    }
    double gb = (double)(rounds * count * record_bytes) / 1e9;
    printf("{\"seal_s_per_gb\": %.6f, \"open_s_per_gb\": %.6f}\n", (double)sealing / 1e9 / gb,
           (double)opening / 1e9 / gb);
    gnutls_aead_cipher_deinit(cipher);
    return 0;
}
