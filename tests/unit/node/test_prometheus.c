/* The exposition format, and promtool's word on it where that is installed. */
#include <criterion/criterion.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/prometheus.h"

static void fill(struct prometheus *p)
{
    static const struct metric all[] = {
        { METRIC_GAUGE, "cyx_used", "what", "links", "how much is \\ used\nnow", 1 },
        { METRIC_GAUGE, "cyx_limit", "what", "links", "the bound", 2 },
        { METRIC_GAUGE, "cyx_used", "what", "with \"quotes\"\n", "how much", 3 },
        { METRIC_COUNTER, "cyx_calls_total", NULL, NULL, "calls", UINT64_MAX },
        { METRIC_COUNTER, "not-a-name", NULL, NULL, "left out", 1 },
        { METRIC_COUNTER, "9lives", NULL, NULL, "left out", 1 },
    };
    prometheus_init(p);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        prometheus_add(p, &all[i]);
    prometheus_end(p);
}

Test(prometheus, groups_lines_by_name_and_escapes)
{
    static const char want[] = "# HELP cyx_used how much is \\\\ used\\nnow\n"
                               "# TYPE cyx_used gauge\n"
                               "cyx_used{what=\"links\"} 1\n"
                               "cyx_used{what=\"with \\\"quotes\\\"\\n\"} 3\n"
                               "# HELP cyx_limit the bound\n"
                               "# TYPE cyx_limit gauge\n"
                               "cyx_limit{what=\"links\"} 2\n"
                               "# HELP cyx_calls_total calls\n"
                               "# TYPE cyx_calls_total counter\n"
                               "cyx_calls_total 18446744073709551615\n";
    struct prometheus p;
    fill(&p);
    cr_expect_not(p.is_full);
    cr_expect_eq(p.text.size, strlen(want));
    cr_expect_eq(memcmp(p.text.data, want, strlen(want)), 0, "%.*s", (int)p.text.size, p.text.data);
    prometheus_fini(&p);
}

Test(prometheus, promtool_finds_nothing_to_complain)
{
    static const char tool[] = "/usr/bin/promtool";
    char *const argv[] = { (char[]){ "promtool" }, (char[]){ "check" }, (char[]){ "metrics" },
                           NULL };
    posix_spawn_file_actions_t actions;
    struct prometheus p;
    int pipe_fd[2], status = -1;
    pid_t pid;
    if (access(tool, X_OK) != 0)
        cr_skip_test("promtool is not installed");
    fill(&p);
    cr_assert_eq(pipe(pipe_fd), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_fd[0], 0);
    posix_spawn_file_actions_addclose(&actions, pipe_fd[1]);
    cr_assert_eq(posix_spawn(&pid, tool, &actions, NULL, argv, NULL), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_fd[0]);
    cr_expect_eq(write(pipe_fd[1], p.text.data, p.text.size), (ssize_t)p.text.size);
    close(pipe_fd[1]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    prometheus_fini(&p);
}
