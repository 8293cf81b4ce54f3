/* host/run/options.h - the command line, as crun and runc take it. */
#pragma once
#include <stdbool.h>

enum { OPTIONS_ENV_MAX = 256 };

struct options {
    const char *root; /* state folder */
    const char *log;  /* file for messages besides standard error, or NULL */
    bool log_json;
    bool help;

    const char *verb;
    const char *id;
    const char *const *rest; /* what follows the id */
    int n_rest;

    const char *bundle;
    const char *console_socket;
    const char *pid_file;
    const char *process_file;
    const char *user;
    const char *cwd;
    const char *format;
    const char *env[OPTIONS_ENV_MAX + 1];
    int n_env;
    bool detach, tty, all, force, stats;
};

/* Fills `o` from the command line. Returns 0, or prints what is wrong and returns -1. */
int options_parse(struct options *o, int argc, char **argv);
void options_usage(void);
