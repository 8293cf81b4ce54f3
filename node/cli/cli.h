/* node/cli/cli.h - a command line as one table: the parser, --help, the man page and the
 * completions of three shells are all made from it, so that they can't disagree. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

struct cli;

struct cli_option {
    const char *name;  /* "json", without the dashes; NULL ends a list */
    char letter;       /* 'j', or 0 for none */
    const char *value; /* name of its value ("FILE"), or NULL for a flag */
    const char *words; /* allowed values, space separated, or NULL */
    const char *help;  /* one line */
};

struct cli_command {
    const char *name; /* one word, or a group's and one of its own ("dht get"); NULL ends a list */
    const char *args; /* "NODE", "[NODE]", or "" */
    unsigned min_args, max_args;
    const char *help;                 /* one line */
    const char *text;                 /* a paragraph for --help and the man page */
    const char *complete;             /* what its argument is: "node", "petname", "service", "file",
                                         "words:a b c", or NULL */
    const struct cli_option *options; /* may be NULL */
    int (*run)(struct cli *c);        /* returns an exit status */
};

/* What commands of two words share. */
struct cli_group {
    const char *name; /* their first word; NULL ends a list */
    const char *help; /* one line */
    const char *text; /* a paragraph */
};

struct cli_program {
    const char *name;
    const char *help;                 /* one line */
    const char *text;                 /* a paragraph */
    const struct cli_option *options; /* accepted before and after the command */
    const struct cli_command *commands;
    const struct cli_group *groups; /* may be NULL */
    const char *footer; /* exit statuses, files, environment, examples: mdoc-free plain paragraphs
                           ("HEADING\ntext\n\nHEADING\n..."), or NULL */
};

/* Exit statuses of every command line of the project. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,      /* what was asked for did not work */
    CLI_USAGE = 2,       /* the command line is wrong */
    CLI_UNREACHABLE = 3, /* no daemon answers */
};

enum { CLI_VALUES_MAX = 160 }; /* an option may be given many times (--auth) */

struct cli {
    const struct cli_program *program;
    const struct cli_command *command;
    struct {
        const struct cli_option *option;
        const char *value; /* "" for a flag */
    } values[CLI_VALUES_MAX];
    size_t n_values;
    char **args; /* borrowed from argv */
    unsigned n_args;
};

/* Parses argv, runs the command (or --help, --version, `help`, `completion SHELL`, `man`), returns
 * the exit status. */
int cli_main(const struct cli_program *p, int argc, char **argv);

/* The value of an option, NULL when it was not given. */
const char *cli_value(const struct cli *c, const char *name);
bool cli_flag(const struct cli *c, const char *name);
/* An option's value as a whole number in min..max. 0 with *out (def when not given), or CLI_USAGE
 * after a message on stderr. */
int cli_number(const struct cli *c, const char *name, long min, long max, long def, long *out);

/* Prints "cyx: message" to stderr and returns `status`. */
__attribute__((format(printf, 3, 4))) int cli_error(const struct cli *c, int status,
                                                    const char *fmt, ...);

/* The group with that name, or NULL; whether a command is in it; a command's own last word. */
const struct cli_group *cli_group(const struct cli_program *p, const char *name);
bool cli_in_group(const struct cli_command *cmd, const struct cli_group *g);
const char *cli_last_word(const struct cli_command *cmd);

/* cli_help.c, cli_man.c, cli_complete.c: what the table says, for people and shells. */
void cli_print_group_help(const struct cli_program *p, const struct cli_group *g, FILE *to);
void cli_print_help(const struct cli_program *p, const struct cli_command *cmd, FILE *to);
void cli_print_man(const struct cli_program *p, FILE *to);
int cli_print_completion(const struct cli_program *p, const char *shell, FILE *to);
