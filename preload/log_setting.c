/* What P2PTLS_LOG says (README.md, "Environment"). */
#include "logsink.h"

#include <string.h>

static const struct {
    const char *word;
    enum log_level level;
} levels[] = {
    {"silent", LOG_LEVEL_SILENT}, {"error", LOG_LEVEL_ERROR}, {"warn", LOG_LEVEL_WARN},
    {"info", LOG_LEVEL_INFO},     {"debug", LOG_LEVEL_DEBUG},
};

static const struct {
    const char *word;
    enum log_form form;
} forms[] = {{"text", LOG_FORM_TEXT}, {"logfmt", LOG_FORM_LOGFMT}, {"json", LOG_FORM_JSON}};

static bool is(const char *word, size_t len, const char *name)
{
    return strlen(name) == len && memcmp(word, name, len) == 0;
}

static bool find_level(const char *word, size_t len, enum log_level *out)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (is(word, len, levels[i].word)) {
            *out = levels[i].level;
            return true;
        }
    }
    return false;
}

static bool take_category(const char *word, size_t len, struct log_setting *out)
{
    const char *equals = memchr(word, '=', len);
    const enum log_category c = equals ? log_category_find(word, (size_t)(equals - word)) : LOG_CATEGORIES;
    return c != LOG_CATEGORIES && find_level(equals + 1, len - (size_t)(equals + 1 - word), &out->levels[c]);
}

static bool take_form(const char *word, size_t len, struct log_setting *out)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (is(word, len, forms[i].word)) {
            out->form = forms[i].form;
            return true;
        }
    }
    return false;
}

static void set_all(struct log_setting *out, enum log_level level)
{
    for (int i = 0; i < LOG_CATEGORIES; i++)
        out->levels[i] = level;
}

/* The level is the first word, or there is none. */
void log_setting_parse(const char *setting, struct log_setting *out)
{
    enum log_level level = LOG_LEVEL_WARN;
    *out = (struct log_setting){.form = LOG_FORM_TEXT};
    set_all(out, level);
    if (!setting || !*setting)
        return;
    const char *word = setting;
    for (;;) {
        const size_t len = strcspn(word, ",:");
        if (word == setting && find_level(word, len, &level))
            set_all(out, level);
        else if (!take_form(word, len, out) && !take_category(word, len, out) && !out->wrong)
            out->wrong = word;
        word += len;
        if (*word != ',')
            break;
        word++;
    }
    if (*word == ':')
        out->target = word + 1;
}
