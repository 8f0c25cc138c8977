/* The price of AES-128-GCM itself: records of 16 KiB sealed and opened again by GnuTLS, in memory. The buffers are as
 * large as the transfer programs', so that the caches are in the same state. One line of JSON: seconds of CPU for each
 * GB (10^9 bytes) of plaintext. */
#include "bench.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>

enum { RECORD = 16 * KIB, BUFFER = 128 * KIB, TAG = 16, HEADER = 5, NONCE = 12 };

static gnutls_aead_cipher_hd_t cipher;
static uint8_t header[HEADER] = {23, 3, 3, (RECORD + TAG) >> 8, (RECORD + TAG) & 255};

static void seal(uint64_t sequence, const uint8_t *text, uint8_t *record)
{
    uint8_t nonce[NONCE];
    size_t len = RECORD + TAG;
    for (int i = 0; i < NONCE; i++)
        nonce[i] = i < 4 ? 0 : (uint8_t)(sequence >> 8 * (11 - i));
    if (gnutls_aead_cipher_encrypt(cipher, nonce, NONCE, header, HEADER, TAG, text, RECORD, record, &len) != 0)
        die("sealing failed");
}

static void open_sealed(uint64_t sequence, const uint8_t *record, uint8_t *text)
{
    uint8_t nonce[NONCE];
    size_t len = RECORD;
    for (int i = 0; i < NONCE; i++)
        nonce[i] = i < 4 ? 0 : (uint8_t)(sequence >> 8 * (11 - i));
    if (gnutls_aead_cipher_decrypt(cipher, nonce, NONCE, header, HEADER, TAG, record, RECORD + TAG, text, &len) != 0)
        die("opening failed");
}

int main(int argc, char **argv)
{
    uint64_t total = argc == 2 ? number(argv[1], UINT64_MAX) : 256 * MIB;
    uint64_t rounds = total / BUFFER ? total / BUFFER : 1, sealing = 0, opening = 0;
    uint8_t *text = allocate(BUFFER), *opened = allocate(BUFFER), *records = allocate(BUFFER / RECORD * (RECORD + TAG));
    uint8_t key[16] = {1};
    if (gnutls_aead_cipher_init(&cipher, GNUTLS_CIPHER_AES_128_GCM, &(gnutls_datum_t){key, sizeof(key)}) != 0)
        die("no AES-128-GCM");
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t begin = cpu_ns();
        for (unsigned i = 0; i < BUFFER / RECORD; i++)
            seal(round * 8 + i, text + i * RECORD, records + i * (RECORD + TAG));
        uint64_t sealed = cpu_ns();
        for (unsigned i = 0; i < BUFFER / RECORD; i++)
            open_sealed(round * 8 + i, records + i * (RECORD + TAG), opened + i * RECORD);
        sealing += sealed - begin;
        opening += cpu_ns() - sealed;
    }
    double gb = (double)rounds * BUFFER / 1e9;
    printf("{\"seal_s_per_gb\": %.6f, \"open_s_per_gb\": %.6f}\n", (double)sealing / 1e9 / gb,
           (double)opening / 1e9 / gb);
    gnutls_aead_cipher_deinit(cipher);
    return 0;
}
