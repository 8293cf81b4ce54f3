#include "host/run/options.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum kind { FLAG, TEXT, IGNORED_FLAG, IGNORED_TEXT };

struct option {
    const char *name;
    char letter;
    enum kind kind;
    size_t at; /* of the field */
};

#define AT(field) offsetof(struct options, field)

static const struct option global[] = {
    { "root", 0, TEXT, AT(root) },
    { "log", 0, TEXT, AT(log) },
    { "log-format", 0, TEXT, AT(format) },
    { "log-level", 0, IGNORED_TEXT, 0 },
    { "debug", 0, IGNORED_FLAG, 0 },
    { "systemd-cgroup", 0, IGNORED_FLAG, 0 },
    { "cgroup-manager", 0, IGNORED_TEXT, 0 },
    { "rootless", 0, IGNORED_TEXT, 0 },
    { "help", 'h', FLAG, AT(help) },
};

static const struct option local[] = {
    { "bundle", 'b', TEXT, AT(bundle) },
    { "console-socket", 0, TEXT, AT(console_socket) },
    { "pid-file", 0, TEXT, AT(pid_file) },
    { "process", 'p', TEXT, AT(process_file) },
    { "user", 'u', TEXT, AT(user) },
    { "cwd", 0, TEXT, AT(cwd) },
    { "format", 'f', TEXT, AT(format) },
    { "detach", 'd', FLAG, AT(detach) },
    { "tty", 't', FLAG, AT(tty) },
    { "all", 'a', FLAG, AT(all) },
    { "force", 0, FLAG, AT(force) },
    { "stats", 0, FLAG, AT(stats) },
    { "help", 'h', FLAG, AT(help) },
    { "no-pivot", 0, IGNORED_FLAG, 0 },       /* we always pivot */
    { "no-new-keyring", 0, IGNORED_FLAG, 0 }, /* there is always a new one */
    { "no-subreaper", 0, IGNORED_FLAG, 0 },
    { "keep", 0, IGNORED_FLAG, 0 },
    { "interval", 0, IGNORED_TEXT, 0 },
    { "preserve-fds", 0, IGNORED_TEXT, 0 }, /* none are kept: docs/oci.md */
    { "apparmor", 0, IGNORED_TEXT, 0 },
    { "process-label", 0, IGNORED_TEXT, 0 },
    { "cap", 'c', IGNORED_TEXT, 0 },
    { "no-new-privs", 0, IGNORED_FLAG, 0 },
    { "cgroup", 0, IGNORED_TEXT, 0 },
};

static int complain(const char *what, const char *value)
{
    fprintf(stderr, "cyx-run: %s: %s\n", what, value);
    return -1;
}

static const struct option *find(const struct option *list, size_t n, const char *arg, size_t len,
                                 bool is_long)
{
    for (size_t i = 0; i < n; i++) {
        const struct option *o = &list[i];
        if (is_long ? strlen(o->name) == len && strncmp(o->name, arg, len) == 0
                    : o->letter == arg[0])
            return o;
    }
    return NULL;
}

/* One option at argv[*i]; moves *i to the next argument. */
static int take(struct options *o, const struct option *list, size_t n, int argc, char **argv,
                int *i)
{
    bool is_long = argv[*i][1] == '-';
    const char *name = argv[*i] + (is_long ? 2 : 1);
    const char *equals = is_long ? strchr(name, '=') : NULL;
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    if (list == local &&
        ((is_long && len == 3 && strncmp(name, "env", 3) == 0) || (!is_long && name[0] == 'e'))) {
        const char *value = equals != NULL ? equals + 1 : *i + 1 < argc ? argv[++*i] : NULL;
        if (value == NULL || o->n_env == OPTIONS_ENV_MAX)
            return complain("--env", "no value, or too many");
        o->env[o->n_env++] = value;
        ++*i;
        return 0;
    }
    const struct option *found = find(list, n, name, len, is_long);
    if (found == NULL ||
        (!is_long && name[1] != '\0' && (found->kind == FLAG || found->kind == IGNORED_FLAG)))
        return complain("unknown option", argv[*i]);
    const char *value = equals != NULL ? equals + 1 : !is_long && name[1] != '\0' ? name + 1 : NULL;
    if (found->kind == TEXT || found->kind == IGNORED_TEXT) {
        if (value == NULL && *i + 1 < argc)
            value = argv[++*i];
        if (value == NULL)
            return complain("wants a value", argv[*i]);
        if (found->kind == TEXT)
            *(const char **)(void *)((char *)o + found->at) = value;
    } else if (found->kind == FLAG) {
        *(bool *)((char *)o + found->at) = value == NULL || strcmp(value, "false") != 0;
    }
    ++*i;
    return 0;
}

static int take_all(struct options *o, const struct option *list, size_t n, int argc, char **argv,
                    int *i)
{
    while (*i < argc && argv[*i][0] == '-' && argv[*i][1] != '\0') {
        if (strcmp(argv[*i], "--") == 0) {
            ++*i;
            return 0;
        }
        if (strcmp(argv[*i], "-v") == 0 || strcmp(argv[*i], "--version") == 0) {
            o->verb = "version";
            return 0;
        }
        if (take(o, list, n, argc, argv, i) < 0)
            return -1;
    }
    return 0;
}

int options_parse(struct options *o, int argc, char **argv)
{
    int i = 1;
    *o = (struct options){ .root = "/run/cyx-run", .bundle = "." };
    if (take_all(o, global, sizeof global / sizeof global[0], argc, argv, &i) < 0)
        return -1;
    o->log_json = o->format != NULL && strcmp(o->format, "json") == 0;
    o->format = NULL;
    if (o->verb != NULL || o->help)
        return 0;
    if (i == argc)
        return complain("what to do?", "see --help");
    o->verb = argv[i++];
    if (take_all(o, local, sizeof local / sizeof local[0], argc, argv, &i) < 0)
        return -1;
    if (i < argc)
        o->id = argv[i++];
    /* `delete ID --force` is taken too; what exec runs is not ours to read. */
    if (strcmp(o->verb, "exec") != 0 &&
        take_all(o, local, sizeof local / sizeof local[0], argc, argv, &i) < 0)
        return -1;
    o->rest = (const char *const *)argv + i;
    o->n_rest = argc - i;
    return 0;
}

void options_usage(void)
{
    puts("cyx-run [--root DIR] [--log FILE] [--log-format text|json] VERB ...\n"
         "  create [-b DIR] [--console-socket PATH] [--pid-file FILE] ID   everything but the "
         "process\n"
         "  start ID                                                       lets the process go\n"
         "  run [-b DIR] [-d] [--console-socket PATH] [--pid-file FILE] ID create, start, wait, "
         "delete\n"
         "  exec [-t] [-d] [-u UID[:GID]] [-e K=V] [--cwd DIR] [-p FILE] ID COMMAND...\n"
         "  state ID          what it is, as JSON\n"
         "  kill [-a] ID [SIGNAL]\n"
         "  delete [--force] ID\n"
         "  pause ID, resume ID\n"
         "  ps [-f json] ID   processes, by their ids on the host\n"
         "  events --stats ID figures, as JSON\n"
         "  list              containers\n"
         "  spec [-b DIR]     writes a config.json\n"
         "  features          what this runtime and machine have, as JSON");
}
