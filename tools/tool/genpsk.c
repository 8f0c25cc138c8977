/* p2ptls genpsk: pre-shared keys, lines NAME:HEX, as psk= reads them. */
#include "files.h"
#include "options.h"
#include "tool.h"

#include "bytes.h"
#include "identity_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BYTES = 32 };

struct plan {
    const char *path;
    char name[PSK_NAME_MAX + 1];
    unsigned long bytes;
    bool add, force;
};

static bool make_line(const struct plan *plan, char *line, size_t room)
{
    unsigned char key[PSK_KEY_MAX];

    if (gnutls_rnd(GNUTLS_RND_KEY, key, plan->bytes) < 0) {
        (void)failed("no randomness to be had");
        return false;
    }
    int n = snprintf(line, room, "%s:", plan->name);
    for (unsigned long i = 0; i < plan->bytes; i++)
        n += snprintf(line + n, room - (size_t)n, "%02x", key[i]);
    snprintf(line + n, room - (size_t)n, "\n");
    wipe(key, sizeof key);
    return true;
}

/* What the library would say of it: a name that is there twice, a line that is none. */
static bool check_text(const struct plan *plan, const struct secret_bytes *text)
{
    struct identity id = {0};
    char why[IDENTITY_WHY_MAX] = "";

    const enum result r = identity_psk_load(&id, text, plan->path, NULL, why);
    identity_psk_free(&id);
    if (r != RESULT_OK)
        (void)failed("%s", why);
    return r == RESULT_OK;
}

/* The file as it is, or empty. */
static bool read_old(const struct plan *plan, struct secret_bytes *old)
{
    char why[IDENTITY_WHY_MAX] = "";

    *old = (struct secret_bytes){0};
    if (!plan->add || identity_file_read(AT_FDCWD, plan->path, plan->path, FILE_SECRET, old, why) == RESULT_OK)
        return true;
    (void)failed("%s", why);
    return false;
}

static bool put_together(const struct secret_bytes *old, const char *line, struct secret_bytes *text)
{
    const bool unended = old->len && old->bytes[old->len - 1] != '\n';
    const size_t len = strlen(line);

    text->len = old->len + unended + len;
    text->bytes = malloc(text->len + 1);
    if (!text->bytes) {
        (void)failed("out of memory");
        return false;
    }
    if (old->len)
        memcpy(text->bytes, old->bytes, old->len);
    if (unended)
        text->bytes[old->len] = '\n';
    memcpy(text->bytes + old->len + unended, line, len + 1);
    return true;
}

static enum status make(const struct plan *plan)
{
    char line[PSK_NAME_MAX + 2 * PSK_KEY_MAX + 3];
    struct secret_bytes old, text = {0};

    if (!file_may_be_made(plan->path, plan->force || plan->add) || !read_old(plan, &old))
        return last_status();
    const bool done = make_line(plan, line, sizeof line) && put_together(&old, line, &text) &&
                      check_text(plan, &text) &&
                      file_write(plan->path, text.bytes, text.len, MODE_SECRET, plan->force || plan->add);
    wipe(line, sizeof line);
    secret_wipe(&old);
    secret_wipe(&text);
    if (done)
        printf("%s: %s key named %s, %lu bits\n", plan->path, plan->add ? "one more" : "a", plan->name,
               8 * plan->bytes);
    return done ? STATUS_OK : last_status();
}

static bool set_name(struct plan *plan, const char *name)
{
    const time_t now = time(NULL);
    struct tm tm;

    if (name && (!*name || strlen(name) > PSK_NAME_MAX || strpbrk(name, ":# \t\r\n"))) {
        (void)usage_error("--name takes 1 to %d printable characters without blanks, ':' and '#', found '%s'",
                          PSK_NAME_MAX, name);
        return false;
    }
    if (name)
        snprintf(plan->name, sizeof plan->name, "%s", name);
    else if (gmtime_r(&now, &tm))
        strftime(plan->name, sizeof plan->name, "%Y-%m-%d", &tm);
    return true;
}

static enum status run(int argc, char **argv)
{
    static const struct option names[] = {
        {"name", required_argument, NULL, 'n'}, {"bytes", required_argument, NULL, 'b'},
        {"add", no_argument, NULL, 'a'},        {"force", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},       {0}};
    struct plan plan = {.bytes = BYTES};
    const char *name = NULL;
    enum status status = STATUS_OK;

    for (int letter; (letter = next_option(argc, argv, ":n:b:afh", names, &status)) != OPTION_END;)
        switch (letter) {
        case 'n':
            name = optarg;
            break;
        case 'b':
            if (!parse_number("--bytes", optarg, PSK_KEY_MIN, PSK_KEY_MAX, &plan.bytes))
                return last_status();
            break;
        case 'a':
            plan.add = true;
            break;
        case 'f':
            plan.force = true;
            break;
        default:
            return status;
        }
    if (plan.add && plan.force)
        return usage_error("--add keeps the keys of the file, --force replaces them: give one");
    if (!check_arguments(argc, argv, 1, 1) || !set_name(&plan, name))
        return last_status();
    plan.path = argv[optind];
    return make(&plan);
}

const struct command command_genpsk = {"genpsk", run,
                                       "Usage: p2ptls genpsk [--name NAME] [--bytes N] [--add | --force] FILE\n"};
