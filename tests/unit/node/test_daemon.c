/* The program itself: started, asked, confined, stopped, started again, and refused where it must.
 */
#include <signal.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mp.h"
#include "node/node_internal.h"

extern char **environ;

static char dir[] = "/tmp/cyx-daemon-XXXXXX";
static char toml[64], data[64], notify[64], log_path[64];
static int notify_fd = -1;

static void write_config(const char *more)
{
    FILE *f = fopen(toml, "we");
    cr_assert_not_null(f);
    fprintf(f,
            "[network]\nname = \"unit\"\nid_effort = 1\nlab = true\n"
            "[mesh]\nlisten = \"127.0.0.1:0\"\nlisted = true\nadvertise = [\"127.0.0.1:1\"]\n%s",
            more);
    fclose(f);
}

static void setup(void)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    cr_assert_not_null(mkdtemp(dir));
    snprintf(toml, sizeof toml, "%s/f.toml", dir);
    snprintf(data, sizeof data, "%s/data", dir);
    snprintf(notify, sizeof notify, "%s/notify", dir);
    snprintf(log_path, sizeof log_path, "%s/log", dir);
    notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", notify);
    cr_assert_eq(bind(notify_fd, (struct sockaddr *)&at, sizeof at), 0);
    setenv("NOTIFY_SOCKET", notify, 1);
    write_config("");
}

static void teardown(void)
{
    static const char *const left[] = { "data/identity.key",
                                        "data/lock",
                                        "data/peers.mdb",
                                        "data/peers.mdb-lock",
                                        "data/dht.mdb",
                                        "data/dht.mdb-lock",
                                        "data/published.mdb",
                                        "data/published.mdb-lock",
                                        "data/roster.mdb",
                                        "data/roster.mdb-lock",
                                        "data/guards.state",
                                        "data/onion.replay",
                                        "data/services.mdb",
                                        "data/services.mdb-lock",
                                        "data/names.mdb",
                                        "data/names.mdb-lock",
                                        "data/control.sock",
                                        "data",
                                        "f.toml",
                                        "notify",
                                        "log" };
    char path[128];
    close(notify_fd);
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, left[i]);
        (void)remove(path);
    }
    cr_expect_eq(rmdir(dir), 0, "something else is left in %s", dir);
}

TestSuite(daemon, .init = setup, .fini = teardown, .timeout = 100);

static pid_t spawn(const char *option)
{
    char *argv[] = { (char[]){ "cyxd" },
                     (char[]){ "-c" },
                     toml,
                     (char[]){ "-d" },
                     data,
                     (char[]){ "-u" },
                     (char[]){ "root" },
                     NULL,
                     NULL,
                     NULL };
    posix_spawn_file_actions_t actions;
    char copy[128];
    pid_t pid;
    size_t n = geteuid() == 0 ? 7 : 5;
    argv[n] = NULL;
    if (option != NULL) {
        snprintf(copy, sizeof copy, "%s", option);
        argv[n++] = copy;
        argv[n] = NULL;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, log_path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    cr_assert_eq(posix_spawn(&pid, CYX_CYXD, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static int wait_for(pid_t pid)
{
    int status = -1;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static const char *read_log(void)
{
    static char text[65536];
    int fd = open(log_path, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    text[n > 0 ? n : 0] = '\0';
    close(fd);
    return text;
}

/* Waits for a word to the service manager. */
static void wait_notify(const char *word)
{
    char text[256];
    do {
        ssize_t n = recv(notify_fd, text, sizeof text - 1, 0);
        cr_assert_gt(n, 0);
        text[n] = '\0';
    } while (strstr(text, word) == NULL);
}

static pid_t start(const char *option)
{
    pid_t pid = spawn(option);
    wait_notify("READY=1");
    return pid;
}

static int stop(pid_t pid)
{
    kill(pid, SIGTERM);
    wait_notify("STOPPING=1");
    return wait_for(pid);
}

/* One call over the control socket; the result is in *doc, which borrows from a static buffer. */
static const msgpack_object *ask(const char *method, struct mp_doc *doc)
{
    static uint8_t buf[1 << 18];
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    struct writer w = writer_on(buf, sizeof buf);
    msgpack_packer pk;
    size_t len = 0, used = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(to.sun_path, sizeof to.sun_path, "%s/control.sock", data);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0, "%s", strerror(errno));
    mp_packer(&pk, &w);
    msgpack_pack_array(&pk, 4);
    msgpack_pack_int(&pk, 0);
    msgpack_pack_int(&pk, 1);
    mp_pack_str(&pk, method);
    msgpack_pack_array(&pk, 0);
    cr_assert_eq(send(fd, buf, writer_len(&w), 0), (ssize_t)writer_len(&w));
    while (mp_span(buf, len, &mp_local_rules, &used) == DROP_SHORT) {
        ssize_t n = recv(fd, buf + len, sizeof buf - len, 0);
        cr_assert_gt(n, 0);
        len += (size_t)n;
    }
    close(fd);
    cr_assert_eq(mp_parse(doc, buf, used, &mp_local_rules), DROP_NONE);
    cr_assert_eq(doc->root.via.array.ptr[2].type, MSGPACK_OBJECT_NIL);
    return &doc->root.via.array.ptr[3];
}

static void get_id(char out[static 65])
{
    cleanup_mp struct mp_doc doc = { .has_zone = false };
    const char *s = NULL;
    size_t len = 0;
    cr_assert(mp_str(mp_get(ask("id", &doc), "id"), &s, &len));
    cr_assert_eq(len, 64u);
    memcpy(out, s, 64);
    out[64] = '\0';
}

Test(daemon, joins_in_its_fixed_order_confined_before_the_first_byte)
{
    static const char *const steps[] = { "config", "user",    "data", "keys",   "listeners",
                                         "roles",  "sandbox", "loop", "stores", "join" };
    char path[64], line[256], want[64];
    unsigned seen = 0;
    pid_t pid = start("-v");
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    cr_assert_not_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        seen += strcmp(line, "Seccomp:\t2\n") == 0;
        seen += strcmp(line, "NoNewPrivs:\t1\n") == 0;
        seen += strncmp(line, "Cap", 3) == 0 && strstr(line, ":\t0000000000000000\n") != NULL;
    }
    fclose(f);
    cr_expect_eq(seen, geteuid() == 0 ? 7u : 6u, "%u", seen); /* a user keeps its bounding set */
    cr_expect_eq(stop(pid), NODE_EXIT_OK);
    const char *at = read_log();
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        snprintf(want, sizeof want, "step %u: %s\n", i, steps[i]);
        at = at != NULL ? strstr(at, want) : NULL;
        cr_expect_not_null(at, "%s missing or out of order", want);
    }
}

Test(daemon, keeps_its_identity_over_a_restart_and_a_kill)
{
    char first[65], second[65];
    pid_t pid = start(NULL);
    get_id(first);
    cr_expect_eq(stop(pid), NODE_EXIT_OK);
    pid = start(NULL);
    get_id(second);
    cr_expect_str_eq(first, second);
    kill(pid, SIGKILL);
    cr_expect_eq(wait_for(pid), 1000 + SIGKILL);
    pid = start(NULL);
    get_id(second);
    cr_expect_str_eq(first, second);
    cr_expect_eq(stop(pid), NODE_EXIT_OK);
}

Test(daemon, answers_every_method_without_parameters)
{
    static const char *const methods[] = { "version", "status",  "peers",       "id",
                                           "record",  "doctor",  "log",         "metrics",
                                           "top",     "methods", "time-accept", "dht-stats" };
    pid_t pid = start(NULL);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        cleanup_mp struct mp_doc doc = { .has_zone = false };
        cr_expect_neq(ask(methods[i], &doc)->type, MSGPACK_OBJECT_NIL, "%s", methods[i]);
    }
    cleanup_mp struct mp_doc doc = { .has_zone = false };
    (void)ask("stop", &doc);
    wait_notify("STOPPING=1");
    cr_expect_eq(wait_for(pid), NODE_EXIT_OK);
}

Test(daemon, a_second_one_on_the_same_folder_is_refused)
{
    pid_t pid = start(NULL);
    cr_expect_eq(wait_for(spawn(NULL)), NODE_EXIT_BUSY);
    cr_expect_not_null(strstr(read_log(), "is in use by process"), "%s", read_log());
    cr_expect_eq(stop(pid), NODE_EXIT_OK);
}

Test(daemon, names_wrong_modes_and_broken_keys)
{
    char path[96];
    cr_expect_eq(stop(start(NULL)), NODE_EXIT_OK);
    snprintf(path, sizeof path, "%s/identity.key", data);
    cr_assert_eq(chmod(path, 0644), 0);
    cr_expect_eq(wait_for(spawn(NULL)), NODE_EXIT_PERM);
    cr_expect_not_null(strstr(read_log(), "chmod 600"), "%s", read_log());
    cr_assert_eq(chmod(path, 0600), 0);
    int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, "\xff\xff", 2, 40), 2);
    close(fd);
    cr_expect_eq(wait_for(spawn(NULL)), NODE_EXIT_CORRUPT);
    cr_expect_not_null(strstr(read_log(), "identity.key"), "%s", read_log());
}

Test(daemon, a_wrong_file_ends_with_its_own_status)
{
    write_config("colour = \"red\"\n");
    cr_expect_eq(wait_for(spawn(NULL)), NODE_EXIT_CONFIG);
    cr_expect_eq(wait_for(spawn("--check")), NODE_EXIT_FAILURE);
    cr_expect_not_null(strstr(read_log(), "f.toml:9: "), "%s", read_log());
    cr_expect_eq(wait_for(spawn("--nonsense")), NODE_EXIT_USAGE);
    write_config("");
    cr_expect_eq(wait_for(spawn("--check")), NODE_EXIT_OK);
}

Test(daemon, takes_the_log_level_on_sighup_and_keeps_it_when_the_file_is_bad)
{
    pid_t pid = start(NULL);
    cleanup_mp struct mp_doc doc = { .has_zone = false };
    write_config("[log]\nlevel = \"debug\"\n");
    kill(pid, SIGHUP);
    while (strstr(read_log(), "log level debug") == NULL)
        (void)ask("version", &doc), mp_doc_fini(&doc);
    write_config("[log]\nlevel = \"loud\"\n");
    kill(pid, SIGHUP);
    while (strstr(read_log(), "keeping the old settings") == NULL)
        (void)ask("version", &doc), mp_doc_fini(&doc);
    cr_expect_eq(stop(pid), NODE_EXIT_OK);
}

/* As editors do it: another file takes the name. */
static void replace_file(const char *path)
{
    char made[128];
    snprintf(made, sizeof made, "%s.new", path);
    int fd = open(made, O_CREAT | O_WRONLY, 0644);
    cr_assert_eq(write(fd, "# nobody\n", 9), 9);
    close(fd);
    cr_assert_eq(rename(made, path), 0);
}

Test(daemon, reads_the_list_of_contacts_again_after_an_editor_replaced_it)
{
    char folder[64], list[96], more[160];
    cleanup_mp struct mp_doc doc = { .has_zone = false };
    snprintf(folder, sizeof folder, "%s/lists", dir);
    snprintf(list, sizeof list, "%s/contacts", folder);
    snprintf(more, sizeof more, "bootstrap_file = \"%s\"\n", list);
    cr_assert_eq(mkdir(folder, 0755), 0);
    replace_file(list);
    write_config(more);
    pid_t pid = start(NULL);
    replace_file(list);
    kill(pid, SIGHUP);
    while (strstr(read_log(), "reload: ") == NULL)
        (void)ask("version", &doc), mp_doc_fini(&doc);
    cr_expect_null(strstr(read_log(), "keeping the old settings"), "%s", read_log());
    cr_expect_eq(stop(pid), NODE_EXIT_OK);
    unlink(list);
    rmdir(folder);
}

Test(daemon, loads_the_example_role_and_calls_it)
{
    char more[512];
    cleanup_mp struct mp_doc doc = { .has_zone = false };
    write_config("");
    FILE *f = fopen(toml, "we");
    snprintf(more, sizeof more,
             "roles = [\"example\"]\nrole_dir = \"%s/cyxd\"\n[network]\nid_effort = 1\nlab = true\n"
             "[mesh]\nlisten = \"127.0.0.1:0\"\n[example]\ngreeting = \"good morning\"\n",
             CYX_ROLES);
    fputs(more, f);
    fclose(f);
    pid_t pid = start(NULL);
    const msgpack_object *r = ask("example.greet", &doc);
    cr_expect(mp_is_str(mp_get(r, "text"), "good morning, stranger"));
    cr_expect_eq(stop(pid), NODE_EXIT_OK);
}

Test(daemon, seals_its_keys_with_a_passphrase_and_asks_for_it)
{
    char pass[64], more[160], first[65], second[65];
    snprintf(pass, sizeof pass, "%s/pass", dir);
    snprintf(more, sizeof more, "[key]\npassphrase_file = \"%s\"\n", pass);
    int fd = open(pass, O_CREAT | O_WRONLY, 0600);
    cr_assert_eq(write(fd, "open sesame\n", 12), 12);
    close(fd);
    write_config(more);
    pid_t pid = start(NULL);
    get_id(first);
    cr_expect_eq(stop(pid), NODE_EXIT_OK);
    write_config("");
    cr_expect_eq(wait_for(spawn(NULL)), NODE_EXIT_PERM);
    cr_expect_not_null(strstr(read_log(), "passphrase_file"), "%s", read_log());
    write_config(more);
    pid = start(NULL);
    get_id(second);
    cr_expect_str_eq(first, second);
    cr_expect_eq(stop(pid), NODE_EXIT_OK);
    cr_assert_eq(chmod(pass, 0644), 0);
    cr_expect_eq(wait_for(spawn(NULL)), NODE_EXIT_PERM);
    unlink(pass);
    cr_assert_eq(mkfifo(pass, 0600), 0);
    cr_expect_eq(wait_for(spawn(NULL)), NODE_EXIT_PERM, "not waited for");
    unlink(pass);
}
