/* The machine: kernel, GnuTLS, limits. */
#include "doctor.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

enum {
    DESCRIPTORS_LEAST = 256,         /* the library keeps some of its own, and one for each shared connection */
    LOCKED_LEAST = 64 * 1024,        /* the kernel's default until Linux 5.16: less was set by somebody */
    SHARED_STATE_BYTES = 112 * 1024, /* of a connection that another program gets (SECURITY.md) */
};

/* ---- kernel: what the library calls, tried ---------------------------------------------------------------------- */

static void try_memory(void)
{
    const int fd = memfd_create("p2ptls-doctor", MFD_CLOEXEC);
    const long page = sysconf(_SC_PAGESIZE);
    void *memory = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (fd < 0)
        found(FINDING_FAULT, "kernel", "no memfd_create (%s): connections cannot go on in programs that are started",
              strerror(errno));
    else
        close(fd);
    if (memory == MAP_FAILED || madvise(memory, (size_t)page, MADV_WIPEONFORK) != 0)
        found(FINDING_FAULT, "kernel", "no MADV_WIPEONFORK (%s): Linux 4.14 or later is needed", strerror(errno));
    if (memory != MAP_FAILED)
        munmap(memory, (size_t)page);
}

static void try_socket(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unsigned long long cookie = 0;
    socklen_t len = sizeof cookie;

    if (fd < 0)
        found(FINDING_FAULT, "kernel", "no TCP socket can be made: %s", strerror(errno));
    else if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) != 0)
        found(FINDING_FAULT, "kernel", "no SO_COOKIE (%s): Linux 4.12 or later is needed", strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void examine_kernel(void)
{
    struct utsname machine;
    const unsigned before = faults_found();

    try_memory();
    try_socket();
    if (access("/proc/self/exe", R_OK) != 0)
        found(FINDING_FAULT, "kernel", "/proc is not there (%s): rules with for= cannot tell programs apart",
              strerror(errno));
    /* The highest number is asked for: nothing is closed. */
    if (syscall(SYS_close_range, ~0u, ~0u, 0) != 0 && errno == ENOSYS)
        found(FINDING_NOTE, "kernel", "no close_range: dane=on needs Linux 5.9 or later");
    if (faults_found() == before && uname(&machine) == 0)
        found(FINDING_OK, "kernel", "%s %s, %s", machine.sysname, machine.release, machine.machine);
}

/* ---- GnuTLS ----------------------------------------------------------------------------------------------------- */

/* The administrator's configuration (gnutls: "Overriding algorithm parameters") can switch off what is needed. */
static bool has_tls13(void)
{
    gnutls_priority_t priorities = NULL;
    const unsigned *protocols = NULL;
    bool has = false;

    if (gnutls_priority_init(&priorities, "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL) < 0)
        return false;
    const int count = gnutls_priority_protocol_list(priorities, &protocols);
    for (int i = 0; i < count; i++)
        has = has || protocols[i] == GNUTLS_TLS1_3;
    gnutls_priority_deinit(priorities);
    return has;
}

static void examine_gnutls(void)
{
    if (!gnutls_check_version("3.7.0"))
        found(FINDING_FAULT, "GnuTLS", "%s is too old: 3.7 or later is needed", gnutls_check_version(NULL));
    else if (!has_tls13())
        found(FINDING_FAULT, "GnuTLS", "its configuration of this machine has TLS 1.3 switched off");
    else if (gnutls_fips140_mode_enabled())
        found(FINDING_NOTE, "GnuTLS", "%s in FIPS 140 mode: ChaCha20 and X25519 may be refused",
              gnutls_check_version(NULL));
    else
        found(FINDING_OK, "GnuTLS", "%s", gnutls_check_version(NULL));
}

/* ---- limits ----------------------------------------------------------------------------------------------------- */

static void examine_limits(void)
{
    struct rlimit files = {0}, size = {0}, core = {0}, locked = {0};
    const unsigned before = faults_found();

    getrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_FSIZE, &size);
    getrlimit(RLIMIT_CORE, &core);
    getrlimit(RLIMIT_MEMLOCK, &locked);
    if (files.rlim_cur < DESCRIPTORS_LEAST)
        found(FINDING_FAULT, "limits",
              "%llu descriptors (RLIMIT_NOFILE): the library needs some of its own; make it %d or more (ulimit -n, "
              "LimitNOFILE=)",
              (unsigned long long)files.rlim_cur, DESCRIPTORS_LEAST);
    if (size.rlim_cur != RLIM_INFINITY && size.rlim_cur < SHARED_STATE_BYTES)
        found(
            FINDING_FAULT, "limits",
            "files of %llu bytes (RLIMIT_FSIZE): connections cannot go on in programs that are started; make it %d or "
            "more",
            (unsigned long long)size.rlim_cur, SHARED_STATE_BYTES);
    if (core.rlim_cur)
        found(FINDING_NOTE, "limits", "core dumps are allowed (RLIMIT_CORE): they hold private keys");
    if (faults_found() == before)
        found(FINDING_OK, "limits", "%llu descriptors", (unsigned long long)files.rlim_cur);
    /* Neither the library nor GnuTLS: no mlock, no memfd_secret, no io_uring. A PKCS#11 module may. */
    if (locked.rlim_cur < LOCKED_LEAST)
        found(FINDING_OK, "limits",
              "%llu bytes of locked memory (RLIMIT_MEMLOCK) are enough: nothing of the library is locked",
              (unsigned long long)locked.rlim_cur);
}

void doctor_machine(void)
{
    examine_kernel();
    examine_gnutls();
    examine_limits();
    doctor_clock();
}
