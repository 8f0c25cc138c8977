/* What is measured on small programs of ours: command line of the transfer programs.
 *
 *   transfer-X serve [--threads N]              prints "port N"; answers any number of clients until it is ended
 *   transfer-X serve-crowd                      the same with one thread and epoll, for crowd
 *   transfer-X bulk --size S --total T          writes T bytes, S at a time
 *   transfer-X request --size S --count N       N times S bytes there and back
 *   transfer-X tiny --total T                   reads of 1, 2, ... 100, 1, ... bytes of what comes in 16 KiB writes
 *   transfer-X handshakes --count N --threads T N connections of one byte there and back, by T threads
 *   transfer-X first --count N                  the same one after the other: time to the answer of each
 *   transfer-X crowd --steps 1,100 --count N    that many connections, idle; then N requests over 100 of them
 *
 * Clients take --port. With --gated they wait for the harness before and after what is measured. The TLS variants take
 * --certificate, --key and --authority. Results are one line of JSON; times in nanoseconds. */
#include "transfer.h"
#include "bench.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    void (*run)(const struct options *options);
} commands[] = {
    {"serve", serve},    {"serve-crowd", serve_crowd},    {"bulk", load_bulk},   {"request", load_request},
    {"tiny", load_tiny}, {"handshakes", load_handshakes}, {"first", load_first}, {"crowd", load_crowd},
};

static void read_options(int argc, char **argv, struct options *options, struct identity_files *files)
{
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},  {"threads", required_argument, NULL, 't'},
        {"size", required_argument, NULL, 's'},  {"total", required_argument, NULL, 'T'},
        {"count", required_argument, NULL, 'n'}, {"warm-up", required_argument, NULL, 'w'},
        {"steps", required_argument, NULL, 'S'}, {"certificate", required_argument, NULL, 'c'},
        {"key", required_argument, NULL, 'k'},   {"authority", required_argument, NULL, 'a'},
        {"gated", no_argument, NULL, 'g'},       {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'g':
            options->gated = 1;
            break;
        case 'p':
            options->port = (uint16_t)number(optarg, UINT16_MAX);
            break;
        case 't':
            options->threads = (unsigned)number(optarg, 64);
            break;
        case 's':
            options->size = (uint32_t)number(optarg, BUFFER_BYTES);
            break;
        case 'T':
            options->total = number(optarg, UINT64_MAX);
            break;
        case 'n':
            options->count = number(optarg, 100 * 1000 * 1000);
            break;
        case 'w':
            options->warm_up = number(optarg, UINT64_MAX);
            break;
        case 'S':
            options->steps = optarg;
            break;
        case 'c':
            files->certificate = optarg;
            break;
        case 'k':
            files->key = optarg;
            break;
        case 'a':
            files->authority = optarg;
            break;
        default:
            die("see the head of transfer.c for the options");
        }
    }
}

char *payload(size_t len)
{
    char *text = allocate(len);
    for (size_t i = 0; i < len; i++)
        text[i] = MARKER[i % (sizeof(MARKER) - 1)];
    return text;
}

int main(int argc, char **argv)
{
    struct options options = {.threads = 1, .size = 1, .count = 1, .steps = "1"};
    struct identity_files files = {0};
    signal(SIGPIPE, SIG_IGN);
    read_options(argc, argv, &options, &files);
    transport_start(&files);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (optind < argc && strcmp(argv[optind], commands[i].name) == 0) {
            commands[i].run(&options);
            return 0;
        }
    die("expected a command: see the head of transfer.c");
}
