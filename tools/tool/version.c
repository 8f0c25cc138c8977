/* p2ptls version: which version, and with --features what this build and this machine's GnuTLS can do. */
#include "options.h"
#include "policy.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <sys/utsname.h>

static void say_lists(void)
{
    static const struct {
        const char *name;
        gnutls_cipher_algorithm_t cipher;
    } ciphers[] = {{"aes-128-gcm", GNUTLS_CIPHER_AES_128_GCM},
                   {"aes-256-gcm", GNUTLS_CIPHER_AES_256_GCM},
                   {"chacha20-poly1305", GNUTLS_CIPHER_CHACHA20_POLY1305}};
    const gnutls_cipher_algorithm_t *known = gnutls_cipher_list();

    fputs("ciphers:", stdout);
    for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++)
        for (size_t k = 0; known[k]; k++)
            if (known[k] == ciphers[i].cipher)
                printf(" %s", ciphers[i].name);
    puts("\ngroups: x25519 secp256r1 x448 secp384r1");
    puts("identities: per-user certificate raw-key pre-shared-key pkcs11");
    puts("trust: ca pin known-peers dane crl ocsp-stapled");
}

static void say_features(void)
{
    struct utsname machine;

    printf("GnuTLS: %s, built with %s\n", gnutls_check_version(NULL), GNUTLS_VERSION);
    if (uname(&machine) == 0)
        printf("kernel: %s %s %s\n", machine.sysname, machine.release, machine.machine);
    printf("library: %s\n", library_path() ? library_path() : "not found");
    puts("protocol: TLS 1.3, peer-to-peer");
    say_lists();
}

static enum status run(int argc, char **argv)
{
    static const struct option names[] = {{"features", no_argument, NULL, 'F'}, {"help", no_argument, NULL, 'h'}, {0}};
    enum status status = STATUS_OK;
    bool features = false;

    for (int letter; (letter = next_option(argc, argv, ":h", names, &status)) != OPTION_END;) {
        if (letter != 'F')
            return status;
        features = true;
    }
    if (!check_arguments(argc, argv, 0, 0))
        return last_status();
    puts("p2ptls " P2PTLS_VERSION);
    if (features)
        say_features();
    return STATUS_OK;
}

const struct command command_version = {"version", run, "Usage: p2ptls version [--features]\n"};
