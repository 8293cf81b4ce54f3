/* The DHT from outside: four daemons of two workers each (the last one unlisted), asked by `cyx
 * dht` as people do. What is checked is what comes out and the exit status. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/node_internal.h"

extern char **environ;

enum { N = 4, UNLISTED = N - 1, OUTPUT = 1 << 16, WAIT_S = 60 };

static char dir[] = "/tmp/cyx-dht-XXXXXX";
static pid_t pids[N];
static char contact[MESH_CONTACT_TEXT];
static char output[OUTPUT]; /* of the last command: both streams */

#define CONTENT "abababababababababababababababababababababababababababababababab"
#define NOWHERE "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* ---- daemons and commands -------------------------------------------------------------------- */

static void spawn(unsigned i)
{
    char toml[96], log[96];
    posix_spawn_file_actions_t actions;
    snprintf(toml, sizeof toml, "%s/%u.toml", dir, i);
    snprintf(log, sizeof log, "%s/%u.log", dir, i);
    FILE *f = fopen(toml, "we");
    cr_assert_not_null(f);
    fprintf(f,
            "workers = 2\ndata_dir = \"%s/%u\"\n[network]\nname = \"unit\"\nid_effort = 1\n"
            "lab = true\n[dht]\nstore = \"1MiB\"\n[mesh]\nlisten = \"127.0.0.1:0\"\nlisted = %s\n"
            "bootstrap = [%s%s%s]\n",
            dir, i, i == UNLISTED ? "false" : "true", contact[0] != '\0' ? "\"" : "", contact,
            contact[0] != '\0' ? "\"" : "");
    fclose(f);
    char *argv[] = { (char[]){ "cyxd" }, (char[]){ "-c" },   toml,
                     (char[]){ "-u" },   (char[]){ "root" }, NULL };
    if (geteuid() != 0)
        argv[3] = NULL;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, log, O_CREAT | O_WRONLY | O_APPEND, 0600);
    cr_assert_eq(posix_spawn(&pids[i], CYX_CYXD, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
}

/* A command line; what it says on both streams is in `output`. Its wait status. */
static int run_line(char *line)
{
    char path[64];
    char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, line, NULL };
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = 0;
    snprintf(path, sizeof path, "%s/output", dir);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    cr_assert_eq(posix_spawn(&pid, "/bin/sh", &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    FILE *f = fopen(path, "re");
    cr_assert_not_null(f);
    output[fread(output, 1, sizeof output - 1, f)] = '\0';
    fclose(f);
    return status;
}

/* One command of `cyx` to daemon i; its exit status. */
__attribute__((format(printf, 2, 3))) static int cyx(unsigned i, const char *fmt, ...)
{
    char args[512], line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(args, sizeof args, fmt, ap);
    va_end(ap);
    snprintf(line, sizeof line, "%s --control %s/%u/control.sock %s", CYX_CYX, dir, i, args);
    int status = run_line(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool says(const char *text)
{
    return strstr(output, text) != NULL;
}

static uint64_t figure(const char *key)
{
    char want[64];
    snprintf(want, sizeof want, "\"%s\":", key);
    const char *at = strstr(output, want);
    return at != NULL ? strtoull(at + strlen(want), NULL, 10) : UINT64_MAX;
}

static void wait_until(unsigned i, const char *args, const char *text)
{
    for (unsigned ms = 0; ms < WAIT_S * 1000; ms += 50) {
        if (cyx(i, "%s", args) == 0 && says(text))
            return;
        usleep(50000);
    }
    cr_assert_fail("daemon %u: %s never said %s but: %s", i, args, text, output);
}

static void setup(void)
{
    cr_assert_not_null(mkdtemp(dir));
    spawn(0);
    wait_until(0, "id --contact", "@127.0.0.1:");
    snprintf(contact, sizeof contact, "%.*s", (int)strcspn(output, "\n"), output);
    for (unsigned i = 1; i < N; i++)
        spawn(i);
    for (unsigned i = 0; i < N; i++)
        wait_until(i, "--json dht stats", "\"ready\":true");
    for (unsigned i = 0; i < UNLISTED; i++)
        wait_until(i, "--json dht stats", "\"contacts\":2,");
}

static void remove_dir(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
        char below[512];
        struct stat st;
        snprintf(below, sizeof below, "%s/%s", path, e->d_name);
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || lstat(below, &st) != 0)
            continue;
        if (S_ISDIR(st.st_mode))
            remove_dir(below);
        else
            unlink(below);
    }
    if (d != NULL)
        closedir(d);
    rmdir(path);
}

static void stop(unsigned i)
{
    int status = -1;
    kill(pids[i], SIGTERM);
    cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "daemon %u: status %x", i,
              (unsigned)status);
}

static void teardown(void)
{
    for (unsigned i = 0; i < N; i++)
        stop(i);
    remove_dir(dir);
}

TestSuite(dht, .init = setup, .fini = teardown, .timeout = 110);

/* A public key that names a hidden endpoint well enough. */
static const char *any_address(char out[static 65])
{
    cr_assert_eq(cyx(1, "--json id"), 0);
    const char *at = strstr(output, "\"identity\":\"");
    cr_assert_not_null(at);
    snprintf(out, 65, "%.64s", at + strlen("\"identity\":\""));
    return out;
}

static void announce(unsigned i)
{
    char address[65];
    (void)any_address(address);
    cr_assert_eq(cyx(i, "--json dht announce %s --size 4711 --address %s", CONTENT, address), 0,
                 "%s", output);
}

/* ---- finding and publishing ------------------------------------------------------------------ */

Test(dht, what_one_announces_another_gets)
{
    announce(1);
    cr_expect_eq(figure("stored"), 3u, "%s", output);
    cr_assert_eq(cyx(2, "dht get provider --content " CONTENT), 0, "%s", output);
    cr_expect(says("4711 bytes") && says("content        " CONTENT), "%s", output);
    cr_assert_eq(cyx(2, "--json dht get provider --fresh --content " CONTENT), 0, "%s", output);
    cr_expect_eq(figure("size"), 4711u, "%s", output);
    cr_expect_eq(figure("asked"), 2u, "%s", output);
    cr_expect_eq(figure("answered"), 2u, "%s", output);
    cr_expect(says("\"cached\":false"));
    announce(1); /* a newer one takes its turn */
    cr_expect_eq(figure("stored"), 3u, "%s", output);
    cr_expect_eq(cyx(1, "--json dht stats"), 0);
    cr_expect_eq(figure("own"), 1u, "%s", output);
    cr_expect_eq(figure("provider"), 1u, "%s", output);
}

Test(dht, a_record_goes_out_and_in_as_bytes)
{
    announce(1);
    cr_assert_eq(cyx(2, "dht get provider --content %s --raw %s/record", CONTENT, dir), 0, "%s",
                 output);
    cr_assert_eq(cyx(0, "dht put --once %s/record", dir), 0, "%s", output);
    cr_expect(says("3 of 3 nodes asked"), "%s", output);
    cr_expect_eq(cyx(0, "dht put - < %s/record", dir), 0, "%s", output);
    announce(1);
    cr_expect_eq(cyx(0, "dht put --once %s/record", dir), 1);
    cr_expect(says("a newer record") && says("greater sequence"), "%s", output);
}

Test(dht, says_why_a_record_is_refused)
{
    announce(1);
    cr_assert_eq(cyx(2, "dht get provider --content %s --raw %s/record", CONTENT, dir), 0);
    char path[96];
    snprintf(path, sizeof path, "%s/record", dir);
    int fd = open(path, O_RDWR);
    uint8_t byte = 0;
    off_t end = lseek(fd, 0, SEEK_END);
    cr_assert(pread(fd, &byte, 1, end - 1) == 1);
    byte ^= 1;
    cr_assert(pwrite(fd, &byte, 1, end - 1) == 1);
    cr_expect_eq(cyx(0, "dht put %s", path), 1);
    cr_expect(says("signature does not hold"), "%s", output);
    cr_assert_eq(ftruncate(fd, end - 1), 0);
    cr_expect_eq(cyx(0, "dht put %s", path), 1);
    cr_expect(says("was it cut?"), "%s", output);
    cr_assert_eq(ftruncate(fd, 0), 0);
    cr_expect_eq(cyx(0, "dht put %s", path), 1);
    cr_expect(says("it is empty"), "%s", output);
    cr_assert_eq(ftruncate(fd, 9000), 0);
    cr_expect_eq(cyx(0, "dht put %s", path), 1);
    cr_expect(says("8192 bytes"), "%s", output);
    close(fd);
    cr_expect_eq(cyx(0, "dht put %s/nothing", dir), 1);
    cr_expect(says("No such file"), "%s", output);
}

Test(dht, finds_nodes_and_their_records)
{
    cr_assert_eq(cyx(0, "--json dht find " NOWHERE), 0, "%s", output);
    cr_expect_eq(figure("answered"), 2u, "%s", output);
    const char *at = strstr(output, "\"id\":\"");
    cr_assert_not_null(at, "%s", output);
    char id[65];
    snprintf(id, sizeof id, "%.64s", at + strlen("\"id\":\""));
    char args[128];
    snprintf(args, sizeof args, "dht get node %s", id);
    wait_until(0, args, id); /* its own record may still be on the way to the stores */
    cr_expect(says("address        127.0.0.1:") && says("expires in"), "%s", output);
    cr_expect_eq(cyx(0, "dht find " NOWHERE), 0);
    cr_expect(says("BITS") && says(id), "%s", output);
}

Test(dht, tells_what_is_not_there_from_what_was_asked_wrongly)
{
    static const struct {
        const char *args, *says;
        int status;
    } cases[] = {
        { "dht get node " NOWHERE,
          "no node record at 0123456789abcdef...: 2 nodes asked, 2 answered", 1 },
        { "dht get name " NOWHERE, "node, descriptor, provider or offer", 1 },
        { "dht get node 0123", "64 hex digits", 1 },
        { "dht get node --content " CONTENT, "64 hex digits", 1 },
        { "dht get node", "either KEY or --content", 2 },
        { "dht get node " NOWHERE " --content " CONTENT, "either KEY or --content", 2 },
        { "dht get node " NOWHERE " --json --raw -", "would mix", 2 },
        { "dht find 0123", "64 hex digits", 1 },
        { "dht announce " CONTENT, "want --size N and --address HEX", 2 },
        { "dht announce " CONTENT " --size x --address " CONTENT, "whole number", 2 },
        { "dht announce 01 --size 1 --address " CONTENT, "64 hex digits", 1 },
        { "dht", "Commands:", 2 },
        { "dht nothing", "no command dht nothing", 2 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(cyx(0, "%s", cases[i].args), cases[i].status, "%s", cases[i].args);
        cr_expect(says(cases[i].says), "%s: %s", cases[i].args, output);
    }
}

/* ---- the unlisted one ------------------------------------------------------------------------ */

Test(dht, an_unlisted_node_shows_itself_only_when_told_to)
{
    static const char *const commands[] = { "dht find " NOWHERE, "dht get node " NOWHERE,
                                            "dht announce " CONTENT
                                            " --size 1 --address " CONTENT };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        cr_expect_eq(cyx(UNLISTED, "%s", commands[i]), 1, "%s", commands[i]);
        cr_expect(says("not listed") && says("Onion paths will carry such lookups") &&
                      says("--direct"),
                  "%s", output);
    }
    announce(1);
    cr_expect_eq(cyx(UNLISTED, "dht put --once %s/0.toml", dir), 1);
    cr_expect(says("--direct"), "%s", output);
    cr_expect_eq(cyx(UNLISTED, "dht get provider --direct --content " CONTENT), 0, "%s", output);
    cr_expect(says("4711 bytes"), "%s", output);
    cr_expect_eq(cyx(UNLISTED, "dht stats"), 0);
    cr_expect(says("none: this node is not listed"), "%s", output);
}

/* ---- how it is ------------------------------------------------------------------------------- */

Test(dht, is_in_status_doctor_top_and_metrics)
{
    cr_expect_eq(cyx(0, "status"), 0);
    cr_expect(says("\ndht            ready, 2 contacts"), "%s", output);
    (void)cyx(0, "doctor");
    cr_expect(says("ok    dht            2 contacts"), "%s", output);
    (void)cyx(UNLISTED, "doctor");
    cr_expect(says("ok    dht"), "%s", output);
    cr_expect_eq(cyx(0, "top --once"), 0);
    cr_expect(says("\ndht ready, contacts 2"), "%s", output);
    cr_expect_eq(cyx(0, "metrics"), 0);
    cr_expect(says("\ncyx_dht_asks_total "), "%s", output);
}

Test(dht, keeps_its_records_over_a_kill)
{
    announce(1);
    cr_assert_eq(cyx(2, "--json dht stats"), 0);
    uint64_t before = figure("stored");
    int status;
    kill(pids[2], SIGKILL);
    cr_assert_eq(waitpid(pids[2], &status, 0), pids[2]);
    spawn(2);
    wait_until(2, "--json dht stats", "\"stored\":");
    cr_expect_geq(figure("stored"), before, "%s", output);
    cr_expect_eq(figure("provider"), 1u, "%s", output);
}

Test(dht, a_pseudonym_that_cannot_be_read_is_said_and_left_alone)
{
    char path[96];
    struct stat st;
    snprintf(path, sizeof path, "%s/1/pseudonym.key", dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_eq(write(fd, "nonsense", 8), 8);
    close(fd);
    stop(1);
    spawn(1);
    wait_until(1, "--json dht stats", "\"contacts\":2,");
    cr_expect_eq(cyx(1, "dht announce " CONTENT " --size 1 --address " CONTENT), 1);
    cr_expect(says("pseudonym.key"), "%s", output);
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_size, 8);
}

/* The caller goes away in the middle of what it asked for; nothing is left of that. */
Test(dht, a_caller_that_goes_away_takes_its_lookup_back)
{
    for (unsigned i = 1; i < N; i++)
        kill(pids[i], SIGSTOP); /* nobody answers */
    char line[512];
    snprintf(line, sizeof line, "timeout 0.3 %s --control %s/0/control.sock dht find %s", CYX_CYX,
             dir, NOWHERE);
    int status = run_line(line);
    cr_expect_eq(WEXITSTATUS(status), 124, "it was still waiting: %x", (unsigned)status);
    /* The node may be looking around for itself as well: what counts is that this one was taken
     * back.
     */
    wait_until(0, "metrics", "cyx_dht_lookups_total{end=\"cancelled\"} 1");
    for (unsigned i = 1; i < N; i++)
        kill(pids[i], SIGCONT);
}
