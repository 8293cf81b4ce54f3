/* --help: for the program, or for one command. */
#include <string.h>

#include "node/cli/cli.h"

enum { HELP_COLUMN = 26, HELP_WIDTH = 80 };

static void print_row(FILE *to, const char *left, const char *right)
{
    int n = fprintf(to, "  %s", left);
    fprintf(to, "%*s%s\n", n < HELP_COLUMN ? HELP_COLUMN - n : 1, "", right);
}

static void print_option(FILE *to, const struct cli_option *o)
{
    char left[96];
    char letter[8] = "    ";
    if (o->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->value != NULL ? " " : "",
             o->value != NULL ? o->value : "");
    print_row(to, left, o->help);
}

static void print_options(FILE *to, const char *title, const struct cli_option *o)
{
    if (o == NULL || o->name == NULL)
        return;
    fprintf(to, "\n%s:\n", title);
    for (; o->name != NULL; o++)
        print_option(to, o);
}

/* Fills lines up to HELP_WIDTH. */
static void print_text(FILE *to, const char *text)
{
    size_t column = 0;
    while (*text != '\0') {
        size_t n = strcspn(text, " \n");
        if (column > 0 && column + 1 + n > HELP_WIDTH) {
            fputc('\n', to);
            column = 0;
        }
        if (column > 0)
            column += (size_t)fprintf(to, " ");
        column += fwrite(text, 1, n, to);
        text += n;
        if (*text == '\n') {
            fputc('\n', to);
            column = 0;
        }
        text += *text != '\0' ? 1 : 0;
    }
    fputc('\n', to);
}

static void print_command_help(const struct cli_program *p, const struct cli_command *cmd, FILE *to)
{
    fprintf(to, "Usage: %s %s%s%s [OPTION...]\n\n", p->name, cmd->name, *cmd->args ? " " : "",
            cmd->args);
    print_text(to, cmd->text != NULL ? cmd->text : cmd->help);
    print_options(to, "Options", cmd->options);
    print_options(to, "Options of every command", p->options);
}

static void print_command_row(FILE *to, const struct cli_command *cmd)
{
    char left[64];
    snprintf(left, sizeof left, "%s %s", cmd->name, cmd->args);
    print_row(to, left, cmd->help);
}

void cli_print_group_help(const struct cli_program *p, const struct cli_group *g, FILE *to)
{
    fprintf(to, "Usage: %s %s COMMAND [ARGUMENT...] [OPTION...]\n\n", p->name, g->name);
    print_text(to, g->text);
    fputs("\nCommands:\n", to);
    for (const struct cli_command *cmd = p->commands; cmd->name != NULL; cmd++)
        if (cli_in_group(cmd, g))
            print_command_row(to, cmd);
    print_options(to, "Options of every command", p->options);
}

void cli_print_help(const struct cli_program *p, const struct cli_command *cmd, FILE *to)
{
    if (cmd != NULL) {
        print_command_help(p, cmd, to);
        return;
    }
    fprintf(to, "Usage: %s COMMAND [ARGUMENT...] [OPTION...]\n\n%s\n\nCommands:\n", p->name,
            p->help);
    for (cmd = p->commands; cmd->name != NULL; cmd++)
        print_command_row(to, cmd);
    print_row(to, "help [COMMAND]", "show the help of a command");
    print_row(to, "completion SHELL", "print completions for bash, zsh or fish");
    print_row(to, "man", "print the man page's source");
    print_options(to, "Options of every command", p->options);
    fputc('\n', to);
    print_row(to, "-h, --help", "show this help, or a command's");
    print_row(to, "-V, --version", "show the version");
}
