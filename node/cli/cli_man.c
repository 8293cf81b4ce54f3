/* The man page, in mdoc, from the same table. */
#include <ctype.h>
#include <string.h>

#include "node/cli/cli.h"

/* Writes text so that mdoc takes none of it for a macro; a newline starts a paragraph. */
static void man_text(FILE *to, const char *text)
{
    bool is_line_start = true;
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            fputs(is_line_start ? "" : "\n.Pp\n", to);
            is_line_start = true;
            continue;
        }
        if (is_line_start && (*text == '.' || *text == '\''))
            fputs("\\&", to);
        if (*text == '\\')
            fputs("\\e", to);
        else if (*text == '-')
            fputs("\\-", to);
        else
            fputc(*text, to);
        is_line_start = false;
        /* One sentence a line, as mdoc asks. */
        if (*text == '.' && text[1] == ' ' && isupper((unsigned char)text[2])) {
            fputc('\n', to);
            is_line_start = true;
            text++;
        }
    }
    fputc('\n', to);
}

static void man_options(FILE *to, const struct cli_option *o)
{
    if (o == NULL || o->name == NULL)
        return;
    fputs(".Bl -tag -width Ds\n", to);
    for (; o->name != NULL; o++) {
        fputs(".It ", to);
        if (o->letter != 0)
            fprintf(to, "Fl %c , ", o->letter);
        fprintf(to, "Fl \\-%s", o->name);
        if (o->value != NULL)
            fprintf(to, " Ar %s", o->value);
        fputc('\n', to);
        man_text(to, o->help);
    }
    fputs(".El\n", to);
}

static void man_args(FILE *to, const char *args)
{
    while (*args != '\0') {
        size_t n = strcspn(args, " ");
        bool optional = args[0] == '[' && n > 2;
        fprintf(to, optional ? " Op Ar %.*s" : " Ar %.*s", (int)(optional ? n - 2 : n),
                args + (optional ? 1 : 0));
        args += n + strspn(args + n, " ");
    }
}

/* What the commands of a group share stands before the first of them. */
static void man_group(const struct cli_program *p, const struct cli_command *cmd, FILE *to)
{
    for (const struct cli_group *g = p->groups; g != NULL && g->name != NULL; g++) {
        if (!cli_in_group(cmd, g) || (cmd > p->commands && cli_in_group(cmd - 1, g)))
            continue;
        fprintf(to, ".It Cm %s\n", g->name);
        man_text(to, g->text);
    }
}

static void man_commands(const struct cli_program *p, FILE *to)
{
    fputs(".Sh COMMANDS\n.Bl -tag -width Ds\n", to);
    for (const struct cli_command *cmd = p->commands; cmd->name != NULL; cmd++) {
        man_group(p, cmd, to);
        fprintf(to, ".It Cm %s", cmd->name);
        man_args(to, cmd->args);
        fputc('\n', to);
        man_text(to, cmd->text != NULL ? cmd->text : cmd->help);
        man_options(to, cmd->options);
    }
    fputs(".It Cm help Op Ar COMMAND\nShow the help of a command.\n"
          ".It Cm completion Ar SHELL\nPrint completions for bash, zsh or fish.\n"
          ".It Cm man\nPrint the source of this page.\n.El\n",
          to);
}

/* Footer: "HEADING\nparagraph\nparagraph\n\nHEADING\n…". */
static void man_footer(FILE *to, const char *f)
{
    while (f != NULL && *f != '\0') {
        size_t n = strcspn(f, "\n");
        fprintf(to, ".Sh %.*s\n", (int)n, f);
        f += n + (f[n] == '\n');
        const char *end = strstr(f, "\n\n");
        size_t len = end != NULL ? (size_t)(end - f) : strlen(f);
        char para[2048];
        snprintf(para, sizeof para, "%.*s", (int)len, f);
        man_text(to, para);
        f += len + (end != NULL ? 2 : 0);
    }
}

void cli_print_man(const struct cli_program *p, FILE *to)
{
    char title[64];
    snprintf(title, sizeof title, "%s", p->name);
    for (char *t = title; *t != '\0'; t++)
        *t = (char)toupper((unsigned char)*t);
    fprintf(to,
            ".\\\" Made by `%s man` from its table of commands.\n"
            ".Dd November 22, 2026\n.Dt %s 1\n.Os cyxd %s\n.Sh NAME\n.Nm %s\n.Nd %s\n"
            ".Sh SYNOPSIS\n.Nm\n.Ar command\n.Op Ar argument ...\n.Op Ar option ...\n"
            ".Sh DESCRIPTION\n",
            p->name, title, CYX_VERSION, p->name, p->help);
    man_text(to, p->text);
    fputs(".Pp\nOptions of every command:\n", to);
    man_options(to, p->options);
    man_commands(p, to);
    man_footer(to, p->footer);
}
