/* p2ptls show: the policy that is in force, each rule with all that it has from set and identity statements, and where
 * it stands. What is printed is a policy again. */
#include "options.h"
#include "policy_view.h"

#include <stdlib.h>

static void say_source(const char *what, const char *value)
{
    set_colour(stdout, COLOUR_DIM);
    printf("# %s: ", what);
    print_clean(stdout, value && *value ? value : "none");
    set_colour(stdout, COLOUR_NONE);
    putchar('\n');
}

static bool has_trusted(const struct policy *policy)
{
    for (size_t i = 0; i < policy_count(policy); i++)
        if (policy_rule_at(policy, i)->trusted)
            return true;
    return false;
}

static void say_sources(const struct policy_view *view, const struct policy_request *request)
{
    say_source("policy in", request->program ? view->program : "all programs");
    say_source("/etc/p2ptls", has_trusted(view->policy) ? "read" : NULL);
    say_source("P2PTLS_POLICY", view->sources.get(view->sources.ctx, "P2PTLS_POLICY") ? "set" : NULL);
    say_source("P2PTLS_CONFIG", view->sources.get(view->sources.ctx, "P2PTLS_CONFIG"));
    say_source("the user's folder", view->sources.user_folder);
}

static void show_rule(const struct policy_rule *rule)
{
    set_colour(stdout, COLOUR_DIM);
    fputs("\n# ", stdout);
    print_clean(stdout, rule->source);
    printf(":%u:%u\n", rule->line, rule->column);
    set_colour(stdout, COLOUR_NONE);
    policy_print_rule(stdout, rule);
    putchar('\n');
}

static enum status show(const struct policy_view *view, const struct policy_request *request)
{
    say_sources(view, request);
    for (size_t i = 0; i < policy_count(view->policy); i++)
        show_rule(policy_rule_at(view->policy, i));
    const size_t others = policy_count_for_others(view->policy);
    if (others)
        printf("\n# %zu rule%s for other programs (for=)\n", others, others > 1 ? "s are" : " is");
    if (policy_count(view->policy))
        return STATUS_OK;
    return failed("no rule holds%s: every socket is left alone", request->program ? " in this program" : "");
}

static enum status run(int argc, char **argv)
{
    static const struct option names[] = {{"policy", required_argument, NULL, 'r'},
                                          {"config", required_argument, NULL, 'f'},
                                          {"program", required_argument, NULL, 'p'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    static struct policy_view view;
    struct policy_request request = {0};
    enum status status = STATUS_OK;
    int letter;

    while ((letter = next_option(argc, argv, ":r:f:p:h", names, &status)) >= 0) {
        if (letter == 'p')
            request.program = optarg;
        else if (!(letter == 'r' ? policy_request_rule(&request, optarg) : policy_request_config(&request, optarg))) {
            policy_request_free(&request);
            return last_status();
        }
    }
    if (letter == OPTION_END && check_arguments(argc, argv, 0, 0)) {
        status = policy_view_load(&view, &request);
        if (status == STATUS_OK)
            status = show(&view, &request);
        policy_view_free(&view);
    } else if (letter == OPTION_END) {
        status = last_status();
    }
    policy_request_free(&request);
    return status;
}

const struct command command_show = {
    "show", run, "Usage: p2ptls show [-r|--policy RULE]... [-f|--config FILE] [--program PROGRAM]\n"};
