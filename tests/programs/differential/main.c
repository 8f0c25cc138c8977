/* differential [--directed [--only OPERATION]] [--complete] [--seed N] [--steps N] [--script TEXT [--times N]]
 *              [--explore] [--spoil STEP] [--spoil-once STEP] [--without KNOWN] [--verbose] [--known] [--table]
 *
 * With a policy "any 127.0.0.2:*" one of its two connections is protected. Without the library both are plain, and must
 * not differ either. A difference ends the program with status 1; it prints a script that shows it. */
#include "differential.h"

enum { EPISODE_STEPS = 120, STEPS_FOR_A_SINGULAR = 100000 };

struct chance {
    struct rng rng;
    unsigned left;
};

static bool next_by_chance(struct script *s, void *arg)
{
    struct chance *chance = arg;
    if (!chance->left)
        return false;
    chance->left--;
    step_random(&s->steps[s->count++], &chance->rng, &sides[PLAIN]);
    return true;
}

static bool explore; /* goes on after a difference */
static unsigned found, singular, singular_max;

static void print_script(const char *what, const struct script *s)
{
    printf("%s: --script '", what);
    script_print(stdout, s);
    printf("'\n");
    fflush(stdout);
}

/* What does not come again was a matter of time, on a loaded machine: an edge more, a signal that came early. It is
 * told in full, and of a long random run one in STEPS_FOR_A_SINGULAR steps is allowed: none in a script, in the
 * directed run, or in a short random one. */
static bool report(const char *text, struct script *s)
{
    printf("differs: %s\n", text);
    run_tell_outcomes();
    print_script("script", s);
    if (!run_spoils() && !run_again(s)) {
        printf("once, and not again in four runs\n");
        return explore || ++singular <= singular_max;
    }
    printf("DIFFERENCE: %s\n", run_difference());
    run_shrink(s);
    print_script("smallest", s);
    found++;
    if (explore)
        run_ignore();
    return explore;
}

/* An episode is a connection's life: its steps follow from the seed and its own number alone. */
static int run_random(uint64_t seed, uint64_t steps)
{
    static struct script s;
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    singular_max = (unsigned)(steps / STEPS_FOR_A_SINGULAR);
    for (uint64_t episode = 0; run_steps() < steps; episode++) {
        struct chance chance = {{mix64(seed ^ mix64(episode))}, EPISODE_STEPS};
        s.count = 0;
        const char *text = run_script(&s, next_by_chance, &chance);
        if (!text)
            continue;
        printf("seed %llu, episode %llu, after %llu steps\n", (unsigned long long)seed, (unsigned long long)episode,
               (unsigned long long)run_steps());
        if (!report(text, &s))
            break;
    }
    return found || singular > singular_max;
}

static int print_table(void)
{
    const struct operation *o;
    for (unsigned i = 0; (o = operation_at(i)); i++)
        printf("%s\n", o->name);
    return 0;
}

static int run_text(const char *text, uint64_t times)
{
    static struct script s;
    for (uint64_t i = 0; i < times; i++) {
        CHECK(script_parse(&s, text), "not a script: %s", text);
        const char *differing = run_script(&s, NULL, NULL);
        if (!differing)
            continue;
        printf("DIFFERENCE: %s\n", differing);
        run_tell_outcomes();
        return 1;
    }
    return 0;
}

static int run_directed(const char *only, bool complete)
{
    return !directed_run(only, complete, report) || found || singular;
}

int main(int argc, char **argv)
{
    if (argc == 8 && strcmp(argv[1], "--exchange") == 0)
        return process_exchange(argv + 2);
    uint64_t seed = 1, steps = 0, times = 1;
    const char *script = NULL, *only = NULL;
    bool directed = false, verbose = false, complete = false;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--known") == 0)
            return known_list(stdout), 0;
        if (strcmp(argv[i], "--table") == 0)
            return print_table();
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (strcmp(argv[i], "--explore") == 0)
            explore = true;
        else if (strcmp(argv[i], "--spoil") == 0)
            run_spoil(strtoull(argv[++i], NULL, 0), true);
        else if (strcmp(argv[i], "--spoil-once") == 0)
            run_spoil(strtoull(argv[++i], NULL, 0), false);
        else if (strcmp(argv[i], "--without") == 0)
            known_forget(argv[++i]);
        else if (strcmp(argv[i], "--complete") == 0)
            complete = true;
        else if (strcmp(argv[i], "--directed") == 0)
            directed = true;
        else if (strcmp(argv[i], "--only") == 0)
            only = argv[++i];
        else if (strcmp(argv[i], "--script") == 0)
            script = argv[++i];
        else if (strcmp(argv[i], "--times") == 0)
            times = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--steps") == 0)
            steps = strtoull(argv[++i], NULL, 0);
        else
            die("unknown option %s (%s)", argv[i], value);
    }
    run_init(verbose);
    int status = script ? run_text(script, times) : directed ? run_directed(only, complete) : run_random(seed, steps);
    printf("%llu steps\n", (unsigned long long)run_steps());
    return status;
}
