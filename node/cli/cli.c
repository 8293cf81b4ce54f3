#include "node/cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 32, FIRST_LONG = 256 };

/* The options valid at one point of the line, as getopt wants them. `val` of entry i is FIRST_LONG
 * + i, whether the letter or the long name was used. */
struct accepted {
    const struct cli_option *list[OPTIONS_MAX];
    struct option longs[OPTIONS_MAX + 1];
    char letters[2 * OPTIONS_MAX + 4];
    size_t n;
};

static const struct cli_option builtin_options[] = {
    { "help", 'h', NULL, NULL, "show this help" },
    { "version", 'V', NULL, NULL, "show the version" },
    { NULL, 0, NULL, NULL, NULL },
};

int cli_error(const struct cli *c, int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%s: ", c->program->name);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return status;
}

static void accept_list(struct accepted *a, const struct cli_option *o)
{
    for (; o != NULL && o->name != NULL && a->n < OPTIONS_MAX; o++) {
        a->longs[a->n] = (struct option){
            .name = o->name,
            .has_arg = o->value != NULL ? required_argument : no_argument,
            .val = FIRST_LONG + (int)a->n,
        };
        if (o->letter != 0) {
            size_t at = strlen(a->letters);
            a->letters[at] = o->letter;
            a->letters[at + 1] = o->value != NULL ? ':' : '\0';
        }
        a->list[a->n++] = o;
    }
}

/* "+": stop at the first word that is no option; ":": tell a missing value from an unknown option.
 */
static void accepted_init(struct accepted *a, const struct cli_program *p,
                          const struct cli_command *cmd)
{
    *a = (struct accepted){ .letters = "+:" };
    accept_list(a, builtin_options);
    accept_list(a, p->options);
    if (cmd != NULL)
        accept_list(a, cmd->options);
}

static const struct cli_option *accepted_find(const struct accepted *a, int got)
{
    if (got >= FIRST_LONG && (size_t)(got - FIRST_LONG) < a->n)
        return a->list[got - FIRST_LONG];
    for (size_t i = 0; i < a->n; i++)
        if (a->list[i]->letter == got)
            return a->list[i];
    return NULL;
}

static bool word_allowed(const char *words, const char *value)
{
    size_t len = strlen(value);
    for (const char *w = words; *w != '\0';) {
        size_t n = strcspn(w, " ");
        if (n == len && strncmp(w, value, n) == 0)
            return true;
        w += n + strspn(w + n, " ");
    }
    return false;
}

static int keep_value(struct cli *c, const struct cli_option *o, const char *value)
{
    if (o->words != NULL && !word_allowed(o->words, value))
        return cli_error(c, CLI_USAGE, "--%s %s: allowed are: %s", o->name, value, o->words);
    if (c->n_values == CLI_VALUES_MAX)
        return cli_error(c, CLI_USAGE, "too many options");
    c->values[c->n_values].option = o;
    c->values[c->n_values++].value = value != NULL ? value : "";
    return 0;
}

/* Reads options from argv[optind] until a word that is none. */
static int take_options(struct cli *c, const struct accepted *a, int argc, char **argv)
{
    for (;;) {
        int at = optind;
        int got = getopt_long(argc, argv, a->letters, a->longs, NULL);
        if (got == -1)
            return 0;
        if (got == ':')
            return cli_error(c, CLI_USAGE, "%s needs a value", argv[at]);
        const struct cli_option *o = got == '?' ? NULL : accepted_find(a, got);
        if (o == NULL)
            return cli_error(c, CLI_USAGE, "unknown option %s (see %s --help)", argv[at],
                             c->program->name);
        int rc = keep_value(c, o, o->value != NULL ? optarg : NULL);
        if (rc != 0)
            return rc;
    }
}

static const struct cli_command *find_command(const struct cli_program *p, const char *name)
{
    for (const struct cli_command *cmd = p->commands; cmd->name != NULL; cmd++)
        if (strcmp(cmd->name, name) == 0)
            return cmd;
    return NULL;
}

const struct cli_group *cli_group(const struct cli_program *p, const char *name)
{
    for (const struct cli_group *g = p->groups; g != NULL && g->name != NULL; g++)
        if (strcmp(g->name, name) == 0)
            return g;
    return NULL;
}

bool cli_in_group(const struct cli_command *cmd, const struct cli_group *g)
{
    size_t n = strlen(g->name);
    return strncmp(cmd->name, g->name, n) == 0 && cmd->name[n] == ' ';
}

const char *cli_last_word(const struct cli_command *cmd)
{
    const char *space = strrchr(cmd->name, ' ');
    return space != NULL ? space + 1 : cmd->name;
}

static const struct cli_command *find_in_group(const struct cli_program *p,
                                               const struct cli_group *g, const char *word)
{
    for (const struct cli_command *cmd = p->commands; cmd->name != NULL; cmd++)
        if (cli_in_group(cmd, g) && strcmp(cli_last_word(cmd), word) == 0)
            return cmd;
    return NULL;
}

/* Options may stand before, between and after the arguments of a command. */
static int take_command_line(struct cli *c, int argc, char **argv, char **args)
{
    struct accepted a;
    accepted_init(&a, c->program, c->command);
    for (;;) {
        int rc = take_options(c, &a, argc, argv);
        if (rc != 0 || optind >= argc)
            return rc;
        if (strcmp(argv[optind - 1], "--") == 0) {
            while (optind < argc)
                args[c->n_args++] = argv[optind++];
            return 0;
        }
        args[c->n_args++] = argv[optind++];
    }
}

static int check_count(const struct cli *c)
{
    const struct cli_command *cmd = c->command;
    if (c->n_args >= cmd->min_args && c->n_args <= cmd->max_args)
        return 0;
    return cli_error(c, CLI_USAGE, "%s arguments. Usage: %s %s %s",
                     c->n_args < cmd->min_args ? "too few" : "too many", c->program->name,
                     cmd->name, cmd->args);
}

/* `topic`: NULL, or one or two words. */
static int run_help(const struct cli *c, char *const *topic)
{
    const struct cli_program *p = c->program;
    const char *name = topic != NULL ? topic[0] : NULL;
    const struct cli_group *g = name != NULL ? cli_group(p, name) : NULL;
    const char *word = g != NULL ? topic[1] : NULL;
    const struct cli_command *cmd = NULL;
    if (word != NULL)
        cmd = find_in_group(p, g, word);
    else if (name != NULL && g == NULL)
        cmd = find_command(p, name);
    if (name != NULL && cmd == NULL && (g == NULL || word != NULL))
        return cli_error(c, CLI_USAGE, "no command %s%s%s (see %s --help)", name,
                         word != NULL ? " " : "", word != NULL ? word : "", p->name);
    if (g != NULL && cmd == NULL)
        cli_print_group_help(p, g, stdout);
    else
        cli_print_help(p, cmd, stdout);
    return CLI_OK;
}

/* help, man and completion belong to every program that uses this table. 1: was not one of them. */
static int run_builtin(struct cli *c, const char *name, char *const *args, int *status)
{
    if (strcmp(name, "help") == 0) {
        *status = run_help(c, args);
    } else if (strcmp(name, "man") == 0) {
        cli_print_man(c->program, stdout);
        *status = CLI_OK;
    } else if (strcmp(name, "completion") == 0) {
        *status = args[0] != NULL && cli_print_completion(c->program, args[0], stdout) == 0
                      ? CLI_OK
                      : cli_error(c, CLI_USAGE, "completion bash, zsh or fish");
    } else {
        return 1;
    }
    return 0;
}

/* The rest of the line is c->command's. */
static int run_command(struct cli *c, int argc, char **argv, char **args)
{
    int status = take_command_line(c, argc, argv, args);
    if (status != 0)
        return status;
    c->args = args;
    if (cli_flag(c, "help")) {
        cli_print_help(c->program, c->command, stdout);
        return CLI_OK;
    }
    status = check_count(c);
    return status != 0 ? status : c->command->run(c);
}

/* The group's name was read; its second word follows, behind options of every command. */
static int dispatch_group(struct cli *c, const struct cli_group *g, int argc, char **argv,
                          char **args)
{
    struct accepted a;
    accepted_init(&a, c->program, NULL);
    int status = take_options(c, &a, argc, argv);
    if (status != 0)
        return status;
    if (optind >= argc) {
        bool is_asked = cli_flag(c, "help");
        cli_print_group_help(c->program, g, is_asked ? stdout : stderr);
        return is_asked ? CLI_OK : CLI_USAGE;
    }
    const char *word = argv[optind++];
    c->command = find_in_group(c->program, g, word);
    if (c->command == NULL)
        return cli_error(c, CLI_USAGE, "no command %s %s (see %s %s --help)", g->name, word,
                         c->program->name, g->name);
    return run_command(c, argc, argv, args);
}

static int dispatch(struct cli *c, int argc, char **argv, char **args)
{
    const char *name = argv[optind++];
    const struct cli_group *g = cli_group(c->program, name);
    int status = CLI_OK;
    if (g != NULL)
        return dispatch_group(c, g, argc, argv, args);
    c->command = find_command(c->program, name);
    if (c->command != NULL)
        return run_command(c, argc, argv, args);
    if (run_builtin(c, name, argv + optind, &status) == 0)
        return status;
    return cli_error(c, CLI_USAGE, "no command %s (see %s --help)", name, c->program->name);
}

int cli_main(const struct cli_program *p, int argc, char **argv)
{
    struct cli c = { .program = p };
    struct accepted a;
    char **args = calloc((size_t)argc + 1, sizeof *args);
    if (args == NULL)
        return cli_error(&c, CLI_FAILED, "no memory");
    opterr = 0;
    accepted_init(&a, p, NULL);
    int status = take_options(&c, &a, argc, argv);
    if (status == 0 && cli_flag(&c, "version"))
        printf("%s %s\n", p->name, CYX_VERSION);
    else if (status == 0 && cli_flag(&c, "help"))
        status = run_help(&c, argv + optind);
    else if (status == 0 && optind >= argc) {
        cli_print_help(p, NULL, stderr);
        status = CLI_USAGE;
    } else if (status == 0)
        status = dispatch(&c, argc, argv, args);
    free(args);
    if (fflush(stdout) != 0 && status == CLI_OK)
        status = cli_error(&c, CLI_FAILED, "can't write the output: %s", strerror(errno));
    return status;
}

const char *cli_value(const struct cli *c, const char *name)
{
    for (size_t i = c->n_values; i > 0; i--)
        if (strcmp(c->values[i - 1].option->name, name) == 0)
            return c->values[i - 1].value;
    return NULL;
}

bool cli_flag(const struct cli *c, const char *name)
{
    return cli_value(c, name) != NULL;
}

int cli_number(const struct cli *c, const char *name, long min, long max, long def, long *out)
{
    const char *text = cli_value(c, name);
    if (text == NULL) {
        *out = def;
        return 0;
    }
    char *end = NULL;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || v < min || v > max)
        return cli_error(c, CLI_USAGE, "--%s %s: want a whole number from %ld to %ld", name, text,
                         min, max);
    *out = v;
    return 0;
}
