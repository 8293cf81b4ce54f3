/* Completions for bash, zsh and fish from the same table. Where an argument is a node, the shell
 * asks the running daemon (`cyx peers --ids`), and likewise for petnames and services. */
#include <string.h>

#include "node/cli/cli.h"

static void words_of(const struct cli_option *o, FILE *to)
{
    for (; o != NULL && o->name != NULL; o++) {
        fprintf(to, " --%s", o->name);
        if (o->letter != 0)
            fprintf(to, " -%c", o->letter);
    }
}

static const char *dynamic_of(const struct cli_program *p, const struct cli_command *cmd, char *buf,
                              size_t cap)
{
    buf[0] = '\0';
    if (cmd->complete != NULL && strcmp(cmd->complete, "node") == 0)
        snprintf(buf, cap, "$(%s peers --ids 2>/dev/null)", p->name);
    else if (cmd->complete != NULL && strcmp(cmd->complete, "petname") == 0)
        snprintf(buf, cap, "$(%s name ls --names 2>/dev/null)", p->name);
    else if (cmd->complete != NULL && strcmp(cmd->complete, "service") == 0)
        snprintf(buf, cap, "$(%s services --names 2>/dev/null)", p->name);
    else if (cmd->complete != NULL && strncmp(cmd->complete, "words:", 6) == 0)
        snprintf(buf, cap, "%s", cmd->complete + 6);
    return buf;
}

/* --name or --name|-n, as a pattern of `case`. */
static void bash_pattern(const struct cli_option *o, FILE *to)
{
    fprintf(to, "--%s", o->name);
    if (o->letter != 0)
        fprintf(to, "|-%c", o->letter);
}

static void bash_values(const struct cli_option *o, FILE *to)
{
    for (; o != NULL && o->name != NULL; o++) {
        if (o->value == NULL)
            continue;
        fputs("    ", to);
        bash_pattern(o, to);
        if (o->words != NULL)
            fprintf(to, ") COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", o->words);
        else
            fputs(") COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", to);
    }
}

/* Options whose value must not be taken for the command. */
static void bash_skips(const struct cli_option *o, FILE *to)
{
    for (; o != NULL && o->name != NULL; o++) {
        if (o->value == NULL)
            continue;
        fputc('|', to);
        bash_pattern(o, to);
    }
}

/* Names of groups with a blank behind each. */
static void print_groups(const struct cli_program *p, FILE *to)
{
    for (const struct cli_group *g = p->groups; g != NULL && g->name != NULL; g++)
        fprintf(to, "%s ", g->name);
}

/* First words of commands with a blank behind each. */
static void print_first_words(const struct cli_program *p, FILE *to)
{
    for (const struct cli_command *c = p->commands; c->name != NULL; c++)
        if (strchr(c->name, ' ') == NULL)
            fprintf(to, "%s ", c->name);
    print_groups(p, to);
}

static void print_second_words(const struct cli_program *p, const struct cli_group *g, FILE *to)
{
    for (const struct cli_command *c = p->commands; c->name != NULL; c++)
        if (cli_in_group(c, g))
            fprintf(to, "%s ", cli_last_word(c));
}

static bool takes_file(const struct cli_command *cmd)
{
    return cmd->complete != NULL && strcmp(cmd->complete, "file") == 0;
}

static void complete_bash(const struct cli_program *p, FILE *to)
{
    char dynamic[256];
    fprintf(
        to,
        "# bash completion for %s, made by `%s completion bash`\n"
        "_%s() {\n  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd= i\n"
        "  for ((i = 1; i < COMP_CWORD; i++)); do\n    case ${COMP_WORDS[i]} in\n    =",
        p->name, p->name, p->name);
    bash_skips(p->options, to);
    for (const struct cli_command *c = p->commands; c->name != NULL; c++)
        bash_skips(c->options, to);
    fputs(") [[ ${COMP_WORDS[++i]} == = ]] && ((i++)) ;;\n    -*) ;;\n"
          "    *) cmd=\"${cmd:+$cmd }${COMP_WORDS[i]}\"; [[ \" ",
          to);
    print_groups(p, to);
    fputs("\" == *\" $cmd \"* ]] || break ;;\n    esac\n  done\n  case $prev in\n", to);
    bash_values(p->options, to);
    for (const struct cli_command *c = p->commands; c->name != NULL; c++)
        bash_values(c->options, to);
    fputs("  esac\n  case $cmd in\n", to);
    for (const struct cli_command *c = p->commands; c->name != NULL; c++) {
        fprintf(to, "    '%s') COMPREPLY=($(compgen %s-W \"%s", c->name, takes_file(c) ? "-f " : "",
                dynamic_of(p, c, dynamic, sizeof dynamic));
        words_of(c->options, to);
        words_of(p->options, to);
        fputs(" --help\" -- \"$cur\")) ;;\n", to);
    }
    for (const struct cli_group *g = p->groups; g != NULL && g->name != NULL; g++) {
        fprintf(to, "    %s) COMPREPLY=($(compgen -W \"", g->name);
        print_second_words(p, g, to);
        fputs("--help\" -- \"$cur\")) ;;\n", to);
    }
    fputs("    completion) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$cur\")) ;;\n"
          "    *) COMPREPLY=($(compgen -W \"",
          to);
    print_first_words(p, to);
    fputs("help completion man --help --version", to);
    words_of(p->options, to);
    fprintf(to, "\" -- \"$cur\")) ;;\n  esac\n}\ncomplete -F _%s %s\n", p->name, p->name);
}

/* Escapes what zsh's _arguments and _describe give a meaning. */
static void zsh_text(FILE *to, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs("'\\''", to);
        else if (strchr("[]:", *text) != NULL)
            fprintf(to, "\\%c", *text);
        else
            fputc(*text, to);
    }
}

static void zsh_options(const struct cli_option *o, FILE *to)
{
    for (; o != NULL && o->name != NULL; o++) {
        fprintf(to, " '--%s[", o->name);
        zsh_text(to, o->help);
        fputc(']', to);
        if (o->words != NULL)
            fprintf(to, ":%s:(%s)", o->value, o->words);
        else if (o->value != NULL)
            fprintf(to, ":%s:_files", o->value);
        fputc('\'', to);
    }
}

static void zsh_row(const char *name, const char *help, FILE *to)
{
    fprintf(to, "    '%s:", name);
    zsh_text(to, help);
    fputs("'\n", to);
}

/* Takes the second word of a group's command to $cmd. */
static void zsh_groups(const struct cli_program *p, FILE *to)
{
    for (const struct cli_group *g = p->groups; g != NULL && g->name != NULL; g++) {
        fprintf(to, "  if [[ $cmd = %s ]]; then\n  local -a more=(\n", g->name);
        for (const struct cli_command *c = p->commands; c->name != NULL; c++)
            if (cli_in_group(c, g))
                zsh_row(cli_last_word(c), c->help, to);
        fputs("  )\n  if (( CURRENT == 2 )); then _describe command more; return; fi\n"
              "  cmd=\"$cmd $words[2]\"\n  shift words\n  (( CURRENT-- ))\n  fi\n",
              to);
    }
}

static void complete_zsh(const struct cli_program *p, FILE *to)
{
    char dynamic[256];
    fprintf(to,
            "#compdef %s\n# zsh completion for %s, made by `%s completion zsh`\n_%s() {\n"
            "  local -a commands=(\n",
            p->name, p->name, p->name, p->name);
    for (const struct cli_command *c = p->commands; c->name != NULL; c++)
        if (strchr(c->name, ' ') == NULL)
            zsh_row(c->name, c->help, to);
    for (const struct cli_group *g = p->groups; g != NULL && g->name != NULL; g++)
        zsh_row(g->name, g->help, to);
    fputs("    'help:show the help of a command'\n    'completion:print completions for a shell'\n"
          "    'man:print the source of the man page'\n  )\n"
          "  if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
          "  local cmd=$words[2]\n  shift words\n  (( CURRENT-- ))\n",
          to);
    zsh_groups(p, to);
    fputs("  case $cmd in\n", to);
    for (const struct cli_command *c = p->commands; c->name != NULL; c++) {
        fprintf(to, "    '%s') _arguments", c->name);
        zsh_options(c->options, to);
        zsh_options(p->options, to);
        if (takes_file(c))
            fputs(" '*:file:_files'", to);
        if (*dynamic_of(p, c, dynamic, sizeof dynamic) != '\0')
            fprintf(to, " \"*:argument:(%s)\"", dynamic);
        fputs(" ;;\n", to);
    }
    fputs("    completion) _values shell bash zsh fish ;;\n  esac\n}\n", to);
    /* From $fpath the file is the function's body: its first call must complete, too. */
    fprintf(to, "if [[ $funcstack[1] = _%s ]]; then _%s \"$@\"; else compdef _%s %s; fi\n", p->name,
            p->name, p->name, p->name);
}

static void fish_text(FILE *to, const char *text)
{
    fputc('\'', to);
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            fputc('\\', to);
        fputc(*text, to);
    }
    fputc('\'', to);
}

static void fish_options(const struct cli_program *p, const char *condition,
                         const struct cli_option *o, FILE *to)
{
    for (; o != NULL && o->name != NULL; o++) {
        fprintf(to, "complete -c %s%s -l %s", p->name, condition, o->name);
        if (o->letter != 0)
            fprintf(to, " -s %c", o->letter);
        if (o->words != NULL)
            fprintf(to, " -x -a '%s'", o->words);
        else if (o->value != NULL)
            fputs(" -r", to);
        fputs(" -d ", to);
        fish_text(to, o->help);
        fputc('\n', to);
    }
}

/* The word itself, then what may follow it. */
static void fish_command(const struct cli_program *p, const struct cli_command *c, FILE *to)
{
    char dynamic[256], condition[192];
    const char *last = cli_last_word(c), *d = dynamic_of(p, c, dynamic, sizeof dynamic);
    int group_len = last > c->name ? (int)(last - c->name) - 1 : 0;
    if (group_len > 0)
        fprintf(to, "complete -c %s -n '__fish_seen_subcommand_from %.*s' -a %s -d ", p->name,
                group_len, c->name, last);
    else
        fprintf(to, "complete -c %s -n __fish_use_subcommand -a %s -d ", p->name, last);
    fish_text(to, c->help);
    fputc('\n', to);
    if (group_len > 0)
        snprintf(condition, sizeof condition,
                 " -n '__fish_seen_subcommand_from %.*s; and __fish_seen_subcommand_from %s'",
                 group_len, c->name, last);
    else
        snprintf(condition, sizeof condition, " -n '__fish_seen_subcommand_from %s'", last);
    fish_options(p, condition, c->options, to);
    if (*d != '\0') /* fish substitutes (…) where the others use $(…) */
        fprintf(to, "complete -c %s%s -x -a '%s'\n", p->name, condition, d[0] == '$' ? d + 1 : d);
    if (takes_file(c))
        fprintf(to, "complete -c %s%s -F\n", p->name, condition);
}

static void complete_fish(const struct cli_program *p, FILE *to)
{
    fprintf(to, "# fish completion for %s, made by `%s completion fish`\ncomplete -c %s -f\n",
            p->name, p->name, p->name);
    fish_options(p, "", p->options, to);
    for (const struct cli_group *g = p->groups; g != NULL && g->name != NULL; g++) {
        fprintf(to, "complete -c %s -n __fish_use_subcommand -a %s -d ", p->name, g->name);
        fish_text(to, g->help);
        fputc('\n', to);
    }
    for (const struct cli_command *c = p->commands; c->name != NULL; c++)
        fish_command(p, c, to);
    fprintf(to,
            "complete -c %s -n __fish_use_subcommand -a 'help completion man'\n"
            "complete -c %s -n '__fish_seen_subcommand_from completion' -x -a 'bash zsh fish'\n",
            p->name, p->name);
}

int cli_print_completion(const struct cli_program *p, const char *shell, FILE *to)
{
    if (strcmp(shell, "bash") == 0)
        complete_bash(p, to);
    else if (strcmp(shell, "zsh") == 0)
        complete_zsh(p, to);
    else if (strcmp(shell, "fish") == 0)
        complete_fish(p, to);
    else
        return CYX_EINVAL;
    return 0;
}
