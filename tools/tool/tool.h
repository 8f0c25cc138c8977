/* What the sub-commands of p2ptls share: their table, messages, options, exit statuses. One file for each of them. */
#ifndef P2PTLS_TOOL_H
#define P2PTLS_TOOL_H

#include "policy.h"

#include <stdbool.h>
#include <stdio.h>

/* Documented in p2ptls(1). */
enum status {
    STATUS_OK = 0,
    STATUS_NO = 1,     /* not done, or the answer is no; standard error says why */
    STATUS_USAGE = 2,  /* the command line makes no sense; nothing was done */
    STATUS_POLICY = 3, /* the policy has an error, or cannot be read */
};

struct command {
    const char *name;
    enum status (*run)(int argc, char **argv); /* argv[0]: the name */
    const char *usage;                         /* lines behind "p2ptls ", without its name's "Usage: " */
};

extern const struct command command_check, command_doctor, command_enable, command_genca, command_gencert,
    command_genkey, command_genpsk, command_id, command_show, command_sign, command_trust, command_version;

/* ---- messages.c: to standard error, with the command in front ------------------------------------------------- */

void message_begin(const struct command *command);
/* All return a status, so that callers can return what these return. */
enum status failed(const char *format, ...) __attribute__((format(printf, 1, 2)));      /* STATUS_NO */
enum status usage_error(const char *format, ...) __attribute__((format(printf, 1, 2))); /* STATUS_USAGE */
/* What the last of these two was, for functions that say false. */
enum status last_status(void);
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Text of others (names in certificates, paths): what log_printable_sequence (log.h) does not pass never reaches a
 * terminal. */
void print_clean(FILE *out, const char *text);

enum colour { COLOUR_NONE = 0, COLOUR_GOOD, COLOUR_WARN, COLOUR_BAD, COLOUR_DIM };
/* Switches a colour on or (COLOUR_NONE) off, if out is a terminal and NO_COLOR does not forbid it. */
void set_colour(FILE *out, enum colour colour);

/* A whole decimal number; false: usage_error was called. */
bool parse_number(const char *option, const char *text, unsigned long least, unsigned long most, unsigned long *out);

/* ---- places.c: where the library looks, by the same rules ------------------------------------------------------ */

/* The folder of the per-user identity and of the known peers. False: failed() was called. */
bool find_state_folder(char *out, size_t room);
const char *variable(void *ctx, const char *name); /* of struct sources_view */
bool find_home(char out[]);                        /* PATH_MAX bytes; of struct sources_view */
/* libp2ptls.so: that of P2PTLS_LIBRARY, which the launcher sets. NULL: unknown. */
const char *library_path(void);

#endif
