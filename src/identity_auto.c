/* The per-user identity: STATE_DIR/identity.pem, made once, whoever comes first.
 * It appears by link(2), whole and with mode 0600, or not at all; whoever loses the race reads the winner's. */
#include "identity_internal.h"

#include "bytes.h"
#include "folders.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_NAME "identity.pem"

/* 99991231235959Z (RFC 5280 section 4.1.2.5). GNUTLS_X509_NO_WELL_DEFINED_EXPIRATION, with a 64-bit time_t, gives a
 * date in 2106 instead. */
#define NO_EXPIRATION ((time_t)253402300799)

/* No person and no machine in it: it is shown to whoever dials. */
static const char COMMON_NAME[] = "p2ptls per-user identity";

static int set_serial(gnutls_x509_crt_t cert)
{
    uint8_t serial[16];
    const int e = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);

    if (e < 0)
        return e;
    serial[0] = (serial[0] & 0x7f) | 0x40; /* positive and of full length (RFC 5280 section 4.1.2.2) */
    return gnutls_x509_crt_set_serial(cert, serial, sizeof serial);
}

static int fill_certificate(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key)
{
    int e = gnutls_x509_crt_set_version(cert, 3);

    if (e >= 0)
        e = set_serial(cert);
    if (e >= 0)
        e = gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, COMMON_NAME, sizeof COMMON_NAME - 1);
    if (e >= 0)
        e = gnutls_x509_crt_set_activation_time(cert, 0);
    if (e >= 0)
        e = gnutls_x509_crt_set_expiration_time(cert, NO_EXPIRATION);
    if (e >= 0)
        e = gnutls_x509_crt_set_basic_constraints(cert, 0, -1);
    if (e >= 0)
        e = gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE);
    if (e >= 0)
        e = gnutls_x509_crt_set_key(cert, key);
    if (e >= 0)
        e = gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA512, 0);
    return e;
}

static int export_both(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key, struct secret_bytes *pem)
{
    gnutls_datum_t key_pem = {0}, cert_pem = {0};
    int e = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &key_pem);

    if (e >= 0)
        e = gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &cert_pem);
    if (e >= 0) {
        pem->len = (size_t)key_pem.size + cert_pem.size;
        pem->bytes = calloc(1, pem->len + 1);
        e = pem->bytes ? 0 : GNUTLS_E_MEMORY_ERROR;
    }
    if (e >= 0) {
        memcpy(pem->bytes, key_pem.data, key_pem.size);
        memcpy(pem->bytes + key_pem.size, cert_pem.data, cert_pem.size);
    }
    wipe(key_pem.data, key_pem.size);
    gnutls_free(key_pem.data);
    gnutls_free(cert_pem.data);
    return e;
}

enum result identity_auto_generate(struct secret_bytes *pem, char *why)
{
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t cert = NULL;
    int e = gnutls_x509_privkey_init(&key);

    *pem = (struct secret_bytes){0};
    if (e >= 0)
        e = gnutls_x509_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519, 256, 0);
    if (e >= 0)
        e = gnutls_x509_crt_init(&cert);
    if (e >= 0)
        e = fill_certificate(cert, key);
    if (e >= 0)
        e = export_both(cert, key, pem);
    if (cert)
        gnutls_x509_crt_deinit(cert);
    if (key)
        gnutls_x509_privkey_deinit(key);
    return e < 0 ? identity_refuse_gnutls(why, e, "cannot make a key and a certificate") : RESULT_OK;
}

static enum result make_directories(const char *dir, char *why)
{
    if (!*dir)
        return identity_refuse(why, "the path of the state directory is empty");
    switch (folders_make(dir)) {
    case FOLDERS_THERE:
        return RESULT_OK;
    case FOLDERS_ANOTHERS:
        return identity_refuse(why,
                               "root makes no %.200s where another user is at home: set HOME or XDG_STATE_HOME to "
                               "root's own",
                               dir);
    case FOLDERS_FAILED:
        break;
    }
    return identity_refuse(why, "cannot make the directory %s for the per-user identity: %s", dir, strerror(errno));
}

/* Who can write to the directory could put a key of his own there. */
static enum result check_directory(int fd, const char *dir, char *why)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return identity_refuse(why, "cannot examine %s: %s", dir, strerror(errno));
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return identity_refuse(why, "%s belongs to user id %u, not to user id %u: chown it, or set XDG_STATE_HOME", dir,
                               (unsigned)st.st_uid, (unsigned)geteuid());
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return identity_refuse(why, "others can write to %s (mode %04o): chmod 700 %s", dir,
                               (unsigned)st.st_mode & 07777u, dir);
    return RESULT_OK;
}

static int open_directory(const char *dir)
{
    return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* The directory is made only if it is absent: an existing one may lie where nothing can be made (read-only). */
enum result identity_auto_directory(const char *dir, int *fd, char *why)
{
    *fd = open_directory(dir);
    if (*fd < 0 && errno == ENOENT) {
        const enum result r = make_directories(dir, why);
        if (r != RESULT_OK)
            return r;
        *fd = open_directory(dir);
    }
    if (*fd < 0)
        return identity_refuse(why, "cannot open the directory %s of the per-user identity: %s", dir, strerror(errno));
    const enum result r = check_directory(*fd, dir, why);
    if (r != RESULT_OK)
        close(*fd);
    return r;
}

/* A write past the limit would raise SIGXFSZ in a program that knows nothing of this file. */
static bool fits_file_limit(size_t len)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= len);
}

/* False with errno. fsync before the file gets its name: no crash may leave an empty identity.pem behind. */
static bool write_durably(int fd, const struct secret_bytes *pem)
{
    size_t done = 0;

    if (!fits_file_limit(pem->len)) {
        errno = EFBIG;
        return false;
    }
    while (done < pem->len) {
        ssize_t n = write(fd, pem->bytes + done, pem->len - done);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            done += (size_t)n;
    }
    /* The umask may have taken even the owner's bits. Some file systems cannot sync (EINVAL). */
    return fchmod(fd, 0600) == 0 && (fsync(fd) == 0 || errno == EINVAL);
}

/* False with errno; EEXIST: another process was faster. */
static bool publish(int dir_fd, const char *temporary, const struct secret_bytes *pem)
{
    const int fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return false;
    bool done = write_durably(fd, pem);
    int saved = errno;
    close(fd);
    if (done) {
        done = linkat(dir_fd, temporary, dir_fd, FILE_NAME, 0) == 0;
        saved = errno;
    }
    unlinkat(dir_fd, temporary, 0);
    if (done)
        fsync(dir_fd);
    errno = saved;
    return done;
}

static enum result make_identity(int dir_fd, const char *dir, char *why)
{
    struct secret_bytes pem;
    uint64_t unique;
    char temporary[40];

    enum result r = identity_auto_generate(&pem, why);
    if (r != RESULT_OK)
        return r;
    if (gnutls_rnd(GNUTLS_RND_NONCE, &unique, sizeof unique) < 0)
        r = identity_refuse(why, "no randomness to be had");
    snprintf(temporary, sizeof temporary, ".identity-%016llx", (unsigned long long)unique);
    if (r == RESULT_OK && !publish(dir_fd, temporary, &pem) && errno != EEXIST)
        r = identity_refuse(why, "cannot write the per-user identity to %s: %s", dir, strerror(errno));
    secret_wipe(&pem);
    return r;
}

enum result identity_auto_read(const char *state_dir, struct secret_bytes *pem, char *why)
{
    char shown[IDENTITY_WHY_MAX / 2];
    int dir_fd;

    *pem = (struct secret_bytes){0};
    enum result r = identity_auto_directory(state_dir, &dir_fd, why);
    if (r != RESULT_OK)
        return r;
    snprintf(shown, sizeof shown, "%s/" FILE_NAME, state_dir);
    r = identity_file_read(dir_fd, FILE_NAME, shown, FILE_SECRET, pem, why);
    if (r == RESULT_CONFIG && errno == ENOENT) {
        r = make_identity(dir_fd, state_dir, why);
        if (r == RESULT_OK)
            r = identity_file_read(dir_fd, FILE_NAME, shown, FILE_SECRET, pem, why);
    }
    close(dir_fd);
    return r;
}
