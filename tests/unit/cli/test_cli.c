#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/cli/cli.h"

/* What the last run of the test command saw. */
static struct {
    int calls;
    unsigned n_args;
    char args[4][32];
    char file[32];
    bool json, loud;
    long number;
    int number_status;
} seen;

static int run_take(struct cli *c)
{
    seen.calls++;
    seen.n_args = c->n_args;
    for (unsigned i = 0; i < c->n_args && i < 4; i++)
        snprintf(seen.args[i], sizeof seen.args[i], "%s", c->args[i]);
    const char *file = cli_value(c, "file");
    snprintf(seen.file, sizeof seen.file, "%s", file != NULL ? file : "(none)");
    seen.json = cli_flag(c, "json");
    seen.loud = cli_flag(c, "loud");
    seen.number_status = cli_number(c, "count", 1, 10, 4, &seen.number);
    return seen.number_status != 0 ? seen.number_status : CLI_FAILED;
}

static const struct cli_option common[] = {
    { "json", 'j', NULL, NULL, "print JSON" },
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_option take_options[] = {
    { "file", 'f', "FILE", NULL, "a file" }, { "loud", 0, NULL, NULL, "be loud: [very]" },
    { "count", 'n', "N", NULL, "how many" }, { "kind", 'k', "KIND", "one two", "which" },
    { NULL, 0, NULL, NULL, NULL },
};

static const struct cli_command commands[] = {
    { "take", "A [B]", 1, 2, "take it", "Takes A. It's done.", "node", take_options, run_take },
    { "box open", "FILE", 1, 1, "open a box", "Opens it.", "file", take_options, run_take },
    { "box shut", "", 0, 0, "shut the box", "Shuts it.", "words:one two", NULL, run_take },
    { NULL, NULL, 0, 0, NULL, NULL, NULL, NULL, NULL },
};

static const struct cli_group groups[] = {
    { "box", "boxes: all", "What can be done with boxes." },
    { NULL, NULL, NULL },
};

static const struct cli_program program = {
    .name = "prog",
    .help = "a program",
    .text = "A text.\nAnother paragraph.",
    .options = common,
    .commands = commands,
    .groups = groups,
    .footer = "EXIT STATUS\nnone\n\nFILES\nmany",
};

/* Runs the words as a command line ("prog" goes in front). */
static int run(const char *line)
{
    char copy[256];
    char *argv[16] = { copy };
    int argc = 0;
    snprintf(copy, sizeof copy, "prog %s", line);
    memset(&seen, 0, sizeof seen);
    char *rest = copy;
    for (char *w = strsep(&rest, " "); w != NULL && argc < 15; w = strsep(&rest, " "))
        if (*w != '\0')
            argv[argc++] = w;
    argv[argc] = NULL;
    optind = 0; /* getopt starts afresh */
    return cli_main(&program, argc, argv);
}

Test(cli, takes_options_before_between_and_after_arguments, .init = cr_redirect_stderr)
{
    cr_assert_eq(run("-j take one --file=x two -n 7"), CLI_FAILED);
    cr_expect_eq(seen.n_args, 2u);
    cr_expect_str_eq(seen.args[0], "one");
    cr_expect_str_eq(seen.args[1], "two");
    cr_expect_str_eq(seen.file, "x");
    cr_expect(seen.json);
    cr_expect_not(seen.loud);
    cr_expect_eq(seen.number, 7);
    cr_assert_eq(run("take --loud one -j"), CLI_FAILED);
    cr_expect(seen.loud && seen.json);
    cr_expect_eq(seen.number, 4, "the default");
    cr_expect_str_eq(seen.file, "(none)");
}

Test(cli, the_last_of_a_repeated_option_counts, .init = cr_redirect_stderr)
{
    run("take a -n 3 -n 5");
    cr_expect_eq(seen.number, 5);
}

Test(cli, words_after_two_dashes_are_arguments, .init = cr_redirect_stderr)
{
    cr_assert_eq(run("take -- --file -n"), CLI_FAILED);
    cr_expect_str_eq(seen.args[0], "--file");
    cr_expect_str_eq(seen.args[1], "-n");
}

Test(cli, refuses_wrong_lines_without_running_the_command, .init = cr_redirect_stderr)
{
    static const char *const wrong[] = {
        "take",
        "take a b c",
        "take a --file",
        "take a --nope",
        "take a -x",
        "nope",
        "",
        "take a --kind three",
        "take a --kind on",
        "completion tcsh",
        "help nope",
        "--file x take a",
        "box",
        "box nope",
        "box open",
        "box shut a",
        "box take a",
        "open a",
        "help box nope",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_eq(run(wrong[i]), CLI_USAGE, "prog %s", wrong[i]);
        cr_expect_eq(seen.calls, 0, "prog %s", wrong[i]);
    }
}

Test(cli, a_command_of_a_group_has_two_words_and_options_around_both, .init = cr_redirect_stderr)
{
    cr_assert_eq(run("-j box --json open --loud one -n 7"), CLI_FAILED);
    cr_expect_eq(seen.n_args, 1u);
    cr_expect_str_eq(seen.args[0], "one");
    cr_expect(seen.json && seen.loud);
    cr_expect_eq(seen.number, 7);
    cr_assert_eq(run("box shut"), CLI_FAILED);
    cr_expect_eq(seen.calls, 1);
    cr_expect_eq(seen.n_args, 0u);
}

static void redirect_both(void)
{
    cr_redirect_stdout();
    cr_redirect_stderr();
}

Test(cli, help_knows_groups_and_what_is_in_them, .init = redirect_both)
{
    static const char *const lines[] = { "help box",        "box --help",
                                         "--help box",      "help box open",
                                         "box open --help", "box --help shut",
                                         "help take",       "help" };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        cr_expect_eq(run(lines[i]), CLI_OK, "prog %s", lines[i]);
        cr_expect_eq(seen.calls, 0, "prog %s", lines[i]);
    }
}

Test(cli, numbers_are_whole_and_in_range, .init = cr_redirect_stderr)
{
    static const char *const wrong[] = {
        "0", "11", "x", "5x", "-1", "99999999999999999999", "1.5"
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char line[64];
        snprintf(line, sizeof line, "take a --count=%s", wrong[i]);
        cr_expect_eq(run(line), CLI_USAGE, "%s", line);
    }
    run("take a --count=10");
    cr_expect_eq(seen.number, 10);
}

/* Everything a printer says, as one string; freed by the caller. */
static char *printed(void (*print)(FILE *to))
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    print(f);
    fclose(f);
    return text;
}

static void print_group_help(FILE *to)
{
    cli_print_group_help(&program, &groups[0], to);
}

static void print_whole_help(FILE *to)
{
    cli_print_help(&program, NULL, to);
}

static void print_help(FILE *to)
{
    cli_print_help(&program, &commands[0], to);
}

static void print_man(FILE *to)
{
    cli_print_man(&program, to);
}

static void print_zsh(FILE *to)
{
    cr_expect_eq(cli_print_completion(&program, "zsh", to), 0);
}

static void print_fish(FILE *to)
{
    cr_expect_eq(cli_print_completion(&program, "fish", to), 0);
}

static void print_bash(FILE *to)
{
    cr_expect_eq(cli_print_completion(&program, "bash", to), 0);
}

Test(cli, every_text_names_every_option)
{
    void (*const printers[])(FILE *) = { print_help, print_man, print_zsh, print_fish, print_bash };
    for (size_t i = 0; i < 5; i++) {
        char *text = printed(printers[i]);
        for (const struct cli_option *o = take_options; o->name != NULL; o++)
            cr_expect_not_null(strstr(text, o->name), "printer %zu: %s", i, o->name);
        cr_expect_not_null(strstr(text, "json"), "printer %zu", i);
        free(text);
    }
}

Test(cli, every_text_names_groups_and_their_commands)
{
    void (*const printers[])(FILE *) = { print_group_help, print_whole_help, print_man,
                                         print_zsh,        print_fish,       print_bash };
    for (size_t i = 0; i < sizeof printers / sizeof *printers; i++) {
        char *text = printed(printers[i]);
        cr_expect_not_null(strstr(text, "box"), "printer %zu", i);
        cr_expect_not_null(strstr(text, "open"), "printer %zu", i);
        cr_expect_not_null(strstr(text, "shut"), "printer %zu", i);
        free(text);
    }
    char *text = printed(print_group_help);
    cr_expect_null(strstr(text, "take"));
    free(text);
}

Test(cli, completions_escape_what_the_shell_would_read)
{
    char *text = printed(print_zsh);
    cr_expect_not_null(strstr(text, "\\[very\\]"));
    free(text);
    text = printed(print_fish);
    cr_expect_not_null(strstr(text, "(prog peers --ids"));
    cr_expect_null(strstr(text, "$(prog"), "fish has no $( )");
    free(text);
}

/* What bash offers for the words, one space between two; NULL without bash. */
static const char *offered(const char *words, char out[static 256])
{
    static const char script[] = "source \"$0\"; COMP_WORDS=($1 \"$2\"); "
                                 "COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _prog; "
                                 "echo -n \"${COMPREPLY[@]}\"";
    char path[] = "/tmp/cyx-complete-XXXXXX", line[128];
    int pipes[2], status = 0, fd = mkstemp(path);
    const char *last = strrchr(words, ' ') + 1;
    snprintf(line, sizeof line, "%.*s", (int)(last - words), words);
    cr_assert(fd >= 0 && pipe(pipes) == 0);
    FILE *f = fdopen(fd, "w");
    print_bash(f);
    fclose(f);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        execlp("bash", "bash", "-c", script, path, line, last, (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    ssize_t n = read(pipes[0], out, 255);
    out[n > 0 ? n : 0] = '\0';
    close(pipes[0]);
    waitpid(pid, &status, 0);
    unlink(path);
    return WIFEXITED(status) && WEXITSTATUS(status) != 127 ? out : NULL;
}

Test(cli, bash_completes_behind_options_with_values)
{
    static const struct {
        const char *words, *offers;
    } cases[] = { { "prog ta", "take" },
                  { "prog take --k", "--kind" },
                  { "prog take --kind ", "one two" },
                  { "prog take -k t", "two" },
                  { "prog --file somewhere ta", "take" },
                  { "prog -f somewhere take --l", "--loud" },
                  { "prog --file = somewhere take --l", "--loud" },
                  { "prog bo", "box" },
                  { "prog box ", "open shut --help" },
                  { "prog box s", "shut" },
                  { "prog -j box -j s", "shut" },
                  { "prog box shut t", "two" },
                  { "prog box open --lo", "--loud" } };
    char out[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = offered(cases[i].words, out);
        if (got == NULL)
            cr_skip_test("no bash");
        cr_expect_str_eq(got, cases[i].offers, "%s: %s", cases[i].words, got);
    }
}

Test(cli, zsh_completes_a_command_as_one_of_its_own)
{
    char *text = printed(print_zsh);
    const char *shift = strstr(text, "shift words");
    cr_assert_not_null(shift, "_arguments takes the command for its first argument");
    cr_expect_lt(shift, strstr(text, "_arguments"));
    free(text);
}
