/* Puts a policy together from its sources. Their order in the list of rules is policy_finish's matter: what
 * /etc/p2ptls marks as final comes first, the rest of it last. */
#include "sources.h"

#include "paths.h"
#include "source_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYSTEM_FOLDER "/etc/p2ptls"

static enum result unreadable(struct policy_error *error, const char *source, const char *why)
{
    size_t len = strlen(source);
    *error = (struct policy_error){0};
    if (strncmp(why, source, len) == 0 && why[len] == ' ') /* the path would stand there twice */
        why += len + 1;
    snprintf(error->source, sizeof error->source, "%s", source);
    snprintf(error->message, sizeof error->message, "%s", why);
    return RESULT_CONFIG;
}

static enum result add_text(struct policy **p, const struct policy_host *host, const char *name, const char *text,
                            struct policy_error *error)
{
    const struct policy_source source = {.name = name, .text = text, .len = strlen(text), .host = host};
    return policy_add(p, &source, error);
}

static enum result add_file(struct policy **p, const struct policy_host *host, const char *path, bool trusted,
                            const char *named_by, struct policy_error *error)
{
    char *text = NULL, why[POLICY_WHY_MAX] = "", folder[PATH_MAX];
    size_t len = 0;
    enum result result = host->read(host->ctx, path, trusted, &text, &len, why);
    if (result != RESULT_OK)
        return result == RESULT_NOMEM ? result : unreadable(error, named_by, why);
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    /* A relative P2PTLS_CONFIG is relative to where the program was started, as before; so is what it includes. */
    const struct policy_source source = {
        .name = path, .text = text, .len = len, .folder = slash ? folder : ".", .trusted = trusted, .host = host};
    result = policy_add(p, &source, error);
    free(text);
    return result;
}

static enum result add_folder(struct policy **p, const struct policy_host *host, const char *folder, bool trusted,
                              bool *exists, struct policy_error *error)
{
    char **paths = NULL, why[POLICY_WHY_MAX] = "";
    size_t count = 0;
    enum result result = source_files_in(folder, trusted, &paths, &count, exists, why);
    if (result != RESULT_OK)
        return result == RESULT_NOMEM ? result : unreadable(error, folder, why);
    for (size_t i = 0; i < count && result == RESULT_OK; i++)
        result = add_file(p, host, paths[i], trusted, paths[i], error);
    source_files_free(paths, count);
    return result;
}

/* XDG Base Directory Specification: a relative XDG_CONFIG_HOME is to be ignored. Services often have no HOME. */
static bool find_user_folder(const struct sources_view *view, char out[PATH_MAX])
{
    static const char in_home[] = "/.config/p2ptls";
    const char *base = view->get(view->ctx, "XDG_CONFIG_HOME"), *home = view->get(view->ctx, "HOME");
    if (base && base[0] == '/')
        return path_join(out, PATH_MAX, base, "/p2ptls");
    if (home && home[0] == '/')
        return path_join(out, PATH_MAX, home, in_home);
    return view->find_home && view->find_home(out) && out[0] == '/' && path_join(out, PATH_MAX, out, in_home);
}

static enum result add_of_user(struct sources_view *view, struct policy **p, const struct policy_host *host,
                               struct policy_error *error)
{
    const char *text = view->get(view->ctx, "P2PTLS_POLICY"), *file = view->get(view->ctx, "P2PTLS_CONFIG");
    bool exists = false;
    enum result result = RESULT_OK;
    if (text && *text)
        result = add_text(p, host, "P2PTLS_POLICY", text, error);
    if (result == RESULT_OK && file && *file)
        result = add_file(p, host, file, false, "P2PTLS_CONFIG", error);
    if (result == RESULT_OK && find_user_folder(view, view->user_folder))
        result = add_folder(p, host, view->user_folder, false, &exists, error);
    if (!exists)
        view->user_folder[0] = '\0';
    return result;
}

static bool any_program(void *ctx, const char *item)
{
    (void)ctx;
    (void)item;
    return true;
}

enum result sources_load(struct sources_view *view, struct policy **out, struct policy_error *error)
{
    struct policy *p = NULL;
    bool exists = false;
    const struct policy_host host = {.ctx = view->program,
                                     .is_program = view->every_program ? any_program : program_is,
                                     .read = source_file_read,
                                     .match = source_files_match};
    if (view->secure)
        view->program->secure = true; /* or else its page is not touched at all */
    view->user_folder[0] = '\0';
    *out = NULL;
    enum result result = add_folder(&p, &host, SYSTEM_FOLDER, true, &exists, error);
    if (result == RESULT_OK && !view->secure)
        result = add_of_user(view, &p, &host, error);
    if (result == RESULT_OK && p)
        result = policy_finish(p, error);
    if (result != RESULT_OK || policy_is_empty(p)) {
        policy_free(p);
        return result;
    }
    *out = p;
    return RESULT_OK;
}
