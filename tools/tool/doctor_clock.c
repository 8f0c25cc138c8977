/* The clock, which decides over certificates. Nobody is asked by the network: what stands on the machine is compared.
 * It is behind if files are from its future; it may be ahead if the hardware's clock is, or if nothing is valid any
 * more. */
#include "doctor.h"
#include "keys.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <time.h>

enum { DAY = 24 * 3600 /* more than the hardware's clock can be off by keeping local time */ };

static bool is_kept_right(void)
{
    struct timex state = {0};

    return adjtimex(&state) >= 0 && !(state.status & STA_UNSYNC);
}

/* ---- behind --------------------------------------------------------------------------------------------------- */

void doctor_clock_file(const char *what, const char *path)
{
    struct stat s;
    char date[32], today[32];
    const time_t now = time(NULL);

    if (!path || stat(path, &s) != 0 || s.st_mtime <= now + DAY)
        return;
    print_date(s.st_mtime, date);
    print_date(now, today);
    found(FINDING_FAULT, "clock", "it says %s, but %s %s is of %s: set the clock, or certificates count wrongly", today,
          what, path, date);
}

/* ---- the hardware's (Documentation/ABI/testing/sysfs-class-rtc) ------------------------------------------------- */

static bool read_hardware(const char *name, time_t *out)
{
    char path[300], text[32] = "", *end;

    snprintf(path, sizeof path, "/sys/class/rtc/%s/since_epoch", name);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    const bool got = fgets(text, sizeof text, f) != NULL;
    fclose(f);
    *out = strtoll(text, &end, 10);
    return got && end != text;
}

/* One whose battery is empty begins anew, long ago: it says nothing. */
static void compare_hardware(const char *name)
{
    const char *library = library_path();
    const time_t now = time(NULL);
    char date[32], today[32];
    struct stat s;
    time_t other;

    if (!read_hardware(name, &other) || llabs((long long)other - now) <= DAY)
        return;
    if (!library || stat(library, &s) != 0 || other < s.st_mtime - DAY)
        return;
    print_date(other, date);
    print_date(now, today);
    found(FINDING_FAULT, "clock",
          "it says %s, but the hardware's clock (%s) says %s: set the one that is wrong (timedatectl, hwclock)", today,
          name, date);
}

static void compare_all_hardware(void)
{
    DIR *dir = opendir("/sys/class/rtc");

    for (const struct dirent *entry; dir && (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            compare_hardware(entry->d_name);
    if (dir)
        closedir(dir);
}

/* ---- ahead ---------------------------------------------------------------------------------------------------- */

static struct {
    bool some, valid;
    time_t first, last; /* to expire */
} certificates;

void doctor_clock_certificate(gnutls_x509_crt_t certificate)
{
    const time_t until = gnutls_x509_crt_get_expiration_time(certificate);

    certificates.valid = certificates.valid || time(NULL) < until;
    if (!certificates.some || until < certificates.first)
        certificates.first = until;
    if (!certificates.some || until > certificates.last)
        certificates.last = until;
    certificates.some = true;
}

/* One certificate is forgotten easily; not several that expire at different times. */
void doctor_clock_verdict(void)
{
    char date[32], today[32];

    if (!certificates.some || certificates.valid || certificates.first == certificates.last)
        return;
    print_date(certificates.last, date);
    print_date(time(NULL), today);
    found(is_kept_right() ? FINDING_NOTE : FINDING_FAULT, "clock",
          "it says %s, but each certificate that the policy names has expired, the last on %s: is the clock ahead? Set "
          "it "
          "(timedatectl, date), or renew them",
          today, date);
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

void doctor_clock(void)
{
    const unsigned before = faults_found();
    char today[32];

    doctor_clock_file("the library", library_path());
    doctor_clock_file("the file", "/etc/passwd");
    compare_all_hardware();
    if (faults_found() != before)
        return;
    print_date(time(NULL), today);
    if (is_kept_right())
        found(FINDING_OK, "clock", "it says %s", today);
    else
        found(FINDING_NOTE, "clock", "it says %s, and the kernel knows of nobody who keeps it right (NTP)", today);
}
