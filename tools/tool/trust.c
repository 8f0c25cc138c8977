/* p2ptls trust: adds to, lists, and takes out of the file of known peers (docs/POLICY.md, "Known peers"). */
#include "known.h"
#include "options.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* HOST:PORT or accept, as the library spells it. */
static bool parse_where(const char *text, char where[KNOWN_WHERE_MAX])
{
    char line[KNOWN_WHERE_MAX + FINGERPRINT_TEXT + 8];
    struct known_entry entry;
    const uint8_t none[KEY_HASH_BYTES] = {0};
    char fingerprint[FINGERPRINT_TEXT];

    trust_print_fingerprint(none, fingerprint);
    const int n = snprintf(line, sizeof line, "%s %s", text, fingerprint);
    if (n > 0 && n < (int)sizeof line && !strpbrk(text, " \t\n") && known_peers_parse_line(line, (size_t)n, &entry)) {
        memcpy(where, entry.where, KNOWN_WHERE_MAX);
        return true;
    }
    (void)usage_error("'%s' is neither HOST:PORT (an IPv6 address stands in brackets) nor accept", text);
    return false;
}

static bool parse_fingerprint(const char *text, uint8_t hash[KEY_HASH_BYTES])
{
    if (trust_parse_fingerprint(text, strlen(text), hash))
        return true;
    (void)usage_error("'%s' is no fingerprint: sha256: and 64 hexadecimal digits, or base64", text);
    return false;
}

struct change {
    char where[KNOWN_WHERE_MAX];
    uint8_t hash[KEY_HASH_BYTES];
    bool has_hash;
    const char *fingerprint; /* as it was given; NULL: nothing is added */
};

/* A server has one key; many may be accepted. */
static bool concerns(const struct change *change, const struct known_line *line)
{
    if (!line->understood || strcmp(line->entry.where, change->where) != 0)
        return false;
    const bool by_key = change->has_hash && (!change->fingerprint || strcmp(change->where, KNOWN_ACCEPT) == 0);
    return !by_key || memcmp(line->entry.hash, change->hash, KEY_HASH_BYTES) == 0;
}

static size_t new_line(const struct change *change, char *out, size_t room)
{
    const time_t now = time(NULL);
    char date[32] = "";
    struct tm tm;

    if (!change->fingerprint)
        return 0;
    if (gmtime_r(&now, &tm))
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return (size_t)snprintf(out, room, "%s %s %s\n", change->where, change->fingerprint, date);
}

/* What stays of the file, and the new line. *gone: how many lines went. */
static bool rewrite(struct known_file *known, const struct change *change, unsigned *gone)
{
    char added[KNOWN_WHERE_MAX + 200];
    const size_t added_len = new_line(change, added, sizeof added);
    char *text = malloc(known->len + added_len + 2);
    struct known_line line = {0};
    size_t len = 0;

    *gone = 0;
    if (!text)
        return failed("out of memory") == STATUS_OK;
    while (known_file_next(known, &line)) {
        if (concerns(change, &line)) {
            fprintf(stderr, "p2ptls: %s: ", change->fingerprint ? "replaces" : "removes");
            char shown[600];
            snprintf(shown, sizeof shown, "%.*s", (int)line.len, line.at);
            print_clean(stderr, shown);
            putc('\n', stderr);
            ++*gone;
            continue;
        }
        memcpy(text + len, line.at, line.len);
        len += line.len;
        text[len++] = '\n';
    }
    memcpy(text + len, added, added_len);
    const bool done = (!*gone && !added_len) || known_file_replace(known, text, len + added_len);
    free(text);
    return done;
}

static enum status change_file(const char *file, const struct change *change)
{
    struct known_file known;
    unsigned gone = 0;

    if (!known_file_find(&known, file))
        return last_status();
    const bool done = known_file_open(&known, change->fingerprint != NULL || access(known.path, F_OK) == 0) &&
                      rewrite(&known, change, &gone);
    known_file_close(&known);
    if (!done)
        return last_status();
    if (!gone && !change->fingerprint)
        return failed("%s has no such line for %s", known.path, change->where);
    return STATUS_OK;
}

/* Lines as they are, without comments; what cannot be understood is told of, as the library would refuse it. */
static enum status list(const char *file)
{
    struct known_file known;
    struct known_line line = {0};
    char fingerprint[FINGERPRINT_TEXT], rest[300];
    enum status status = STATUS_OK;

    if (!known_file_find(&known, file) || !known_file_open(&known, false))
        return last_status();
    while (known_file_next(&known, &line)) {
        if (!line.understood) {
            if (line.len && line.at[0] != '#')
                status = failed("%s:%u: expected HOST:PORT or accept, and sha256:FINGERPRINT: mend or remove that line",
                                known.path, line.number);
            continue;
        }
        trust_print_fingerprint(line.entry.hash, fingerprint);
        printf("%-40s %s", line.entry.where, fingerprint);
        const char *end = line.at + line.len, *at = line.at;
        for (int words = 0; words < 2 && at < end; words++) {
            at += strcspn(at, " \n");
            at += strspn(at, " ");
        }
        snprintf(rest, sizeof rest, "%.*s", at < end ? (int)(end - at) : 0, at);
        fputs(*rest ? " " : "", stdout);
        print_clean(stdout, rest);
        putchar('\n');
    }
    known_file_close(&known);
    return status;
}

static bool parse_change(const char *action, int count, char **words, struct change *change)
{
    const bool adds = strcmp(action, "add") == 0;

    if (!adds && strcmp(action, "rm") != 0) {
        (void)usage_error("expected add, list or rm, found '%s'", action);
        return false;
    }
    if (adds ? count != 2 : count != 1 && count != 2) {
        (void)usage_error(adds ? "add takes HOST:PORT, or accept, and sha256:FINGERPRINT"
                               : "rm takes HOST:PORT, or accept and sha256:FINGERPRINT");
        return false;
    }
    if (!parse_where(words[0], change->where))
        return false;
    change->has_hash = count == 2;
    if (change->has_hash && !parse_fingerprint(words[1], change->hash))
        return false;
    if (adds)
        change->fingerprint = words[1];
    if (change->has_hash || strcmp(change->where, KNOWN_ACCEPT) != 0)
        return true;
    (void)usage_error("rm accept takes the fingerprint, too: sha256:FINGERPRINT");
    return false;
}

static enum status run(int argc, char **argv)
{
    static const struct option names[] = {
        {"file", required_argument, NULL, 'f'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct change change = {.fingerprint = NULL};
    const char *file = NULL;
    enum status status = STATUS_OK;

    for (int letter; (letter = next_option(argc, argv, ":f:h", names, &status)) != OPTION_END;) {
        if (letter != 'f')
            return status;
        file = optarg;
    }
    const int words = argc - optind;
    if (words < 1)
        return usage_error("expected add, list or rm");
    if (strcmp(argv[optind], "list") == 0)
        return words == 1 ? list(file) : usage_error("list takes no argument");
    if (!parse_change(argv[optind], words - 1, argv + optind + 1, &change))
        return last_status();
    return change_file(file, &change);
}

const struct command command_trust = {"trust", run,
                                      "Usage: p2ptls trust add [-f|--file FILE] HOST:PORT|accept sha256:FINGERPRINT\n"
                                      "       p2ptls trust rm [-f|--file FILE] HOST:PORT|accept [sha256:FINGERPRINT]\n"
                                      "       p2ptls trust list [-f|--file FILE]\n"};
