#include "policy_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool policy_request_rule(struct policy_request *request, const char *rule)
{
    char *more = NULL;

    if (!rule[strspn(rule, " \t\r\n")]) {
        (void)usage_error("-r needs a statement, for example -r 'connect 10.0.0.0/8:6379'");
        return false;
    }
    if (asprintf(&more, "%s%s%s", request->rules ? request->rules : "", request->rules ? "\n" : "", rule) < 0) {
        (void)failed("out of memory");
        return false;
    }
    free(request->rules);
    request->rules = more;
    return true;
}

bool policy_request_config(struct policy_request *request, const char *file)
{
    if (request->config)
        (void)usage_error("-f is given twice");
    else if (access(file, R_OK) != 0)
        (void)failed("%s: %s", file, strerror(errno));
    else
        request->config = file;
    return request->config == file;
}

void policy_request_free(struct policy_request *request)
{
    free(request->rules);
    request->rules = NULL;
}

/* What p2ptls run would give to the program. */
static const char *variable_of(void *ctx, const char *name)
{
    const struct policy_request *request = ctx;

    if (request->rules && strcmp(name, "P2PTLS_POLICY") == 0)
        return request->rules;
    if (request->config && strcmp(name, "P2PTLS_CONFIG") == 0)
        return request->config;
    return variable(NULL, name);
}

static bool add_inherited(struct policy_request *request)
{
    const char *inherited = variable(NULL, "P2PTLS_POLICY");

    return !request->rules || !inherited || !inherited[strspn(inherited, " \t\r\n")] ||
           policy_request_rule(request, inherited);
}

static bool is_program(const char *path)
{
    struct stat s;

    return stat(path, &s) == 0 && S_ISREG(s.st_mode) && access(path, X_OK) == 0;
}

bool find_program(const char *name, char out[PATH_MAX])
{
    const char *path = getenv("PATH");

    if (strchr(name, '/') && is_program(name) && snprintf(out, PATH_MAX, "%s", name) < PATH_MAX)
        return true;
    for (const char *at = path ? path : "/bin:/usr/bin", *end; *name && !strchr(name, '/'); at = end + 1) {
        end = strchrnul(at, ':');
        const int n = snprintf(out, PATH_MAX, "%.*s%s%s", (int)(end - at), at, end > at ? "/" : "./", name);
        if (n > 0 && n < PATH_MAX && is_program(out))
            return true;
        if (!*end)
            break;
    }
    return false;
}

enum status policy_view_load(struct policy_view *view, struct policy_request *request)
{
    struct policy_error error = {0};

    view->policy = NULL;
    view->program[0] = '\0';
    if (!add_inherited(request))
        return last_status();
    if (request->program && !find_program(request->program, view->program))
        return failed("%s: there is no such program", request->program);
    view->judged = (struct program){.asked = request->program ? view->program : NULL};
    view->sources = (struct sources_view){.get = variable_of,
                                          .ctx = request,
                                          .find_home = find_home,
                                          .every_program = !request->program,
                                          .program = &view->judged,
                                          .user_folder = view->user_folder};
    const enum result r = sources_load(&view->sources, &view->policy, &error);
    if (r == RESULT_OK)
        return STATUS_OK;
    if (r == RESULT_NOMEM)
        return failed("out of memory");
    if (error.line)
        (void)failed("%s:%u:%u: %s", error.source, error.line, error.column, error.message);
    else
        (void)failed("%s: %s", error.source, error.message);
    return STATUS_POLICY;
}

void policy_view_free(struct policy_view *view)
{
    policy_free(view->policy);
    view->policy = NULL;
}
