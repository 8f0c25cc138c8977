/* How long programs take from their start to their end: two commands in turns, many times.
 *
 *   spawn COUNT [NAME=VALUE]... PROGRAM [ARGUMENT]... -- [NAME=VALUE]... PROGRAM [ARGUMENT]...
 *
 * Prints medians of wall and CPU time in nanoseconds, and the median of what the second took more than the first. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct command {
    char **argv, **environment;
    uint64_t *wall, *cpu;
};

/* Takes the NAME=VALUE words from the front into a copy of the environment. */
static struct command read_command(char **words, uint64_t count)
{
    struct command command = {.wall = allocate(count * sizeof(uint64_t)), .cpu = allocate(count * sizeof(uint64_t))};
    size_t have = 0, added = 0;
    while (environ[have])
        have++;
    while (words[added] && strchr(words[added], '='))
        added++;
    if (!words[added])
        die("expected a program");
    command.argv = words + added;
    command.environment = allocate((have + added + 1) * sizeof(char *));
    memcpy(command.environment, words, added * sizeof(char *));
    memcpy(command.environment + added, environ, have * sizeof(char *));
    return command;
}

static uint64_t microseconds(const struct timeval *time)
{
    return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

static posix_spawn_file_actions_t silence; /* what the programs write to standard output is nobody's */

static void run(const struct command *command, uint64_t i)
{
    pid_t pid;
    int status;
    struct rusage usage;
    uint64_t begin = now_ns();
    int error = posix_spawnp(&pid, command->argv[0], &silence, NULL, command->argv, command->environment);
    if (error)
        die_at(error, "%s", command->argv[0]);
    SYS(wait4(pid, &status, 0, &usage));
    command->wall[i] = now_ns() - begin;
    command->cpu[i] = 1000 * (microseconds(&usage.ru_utime) + microseconds(&usage.ru_stime));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("%s failed, status %#x", command->argv[0], (unsigned)status);
}

static int compare_i64(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Of pairs: noise that lasts longer than one of them is in both. Sorts first. */
static int64_t median_difference(uint64_t count, const uint64_t *first, const uint64_t *second)
{
    int64_t *differences = allocate(count * sizeof(int64_t));
    for (uint64_t i = 0; i < count; i++)
        differences[i] = (int64_t)second[i] - (int64_t)first[i];
    qsort(differences, count, sizeof(int64_t), compare_i64);
    int64_t median = differences[count / 2];
    free(differences);
    return median;
}

static uint64_t median(uint64_t count, uint64_t *values)
{
    qsort(values, count, sizeof(values[0]), compare_u64);
    return values[count / 2];
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 2 ? number(argv[1], 1000000) : 0;
    int border = 2;
    while (border < argc && strcmp(argv[border], "--") != 0)
        border++;
    if (count == 0 || border >= argc)
        die("see the head of spawn.c for the arguments");
    argv[border] = NULL;
    SYS(posix_spawn_file_actions_init(&silence));
    SYS(posix_spawn_file_actions_addopen(&silence, STDOUT_FILENO, "/dev/null", O_WRONLY, 0));
    struct command first = read_command(argv + 2, count), second = read_command(argv + border + 1, count);
    for (uint64_t i = 0; i < count; i++) {
        run(&first, i);
        run(&second, i);
    }
    int64_t wall = median_difference(count, first.wall, second.wall);
    int64_t cpu = median_difference(count, first.cpu, second.cpu);
    printf("{\"first_ns\": %lu, \"second_ns\": %lu, \"added_ns\": %ld, \"first_cpu_ns\": %lu, \"second_cpu_ns\": %lu, "
           "\"added_cpu_ns\": %ld}\n",
           median(count, first.wall), median(count, second.wall), wall, median(count, first.cpu),
           median(count, second.cpu), cpu);
    return 0;
}
