/* The program with several workers: three daemons find each other, every link answers, each stops
 * cleanly. */
#include <signal.h>

#include <criterion/criterion.h>
#include <dirent.h>
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

enum { N = 3, REPLY_MAX = 1 << 18 };

struct daemon {
    char dir[64], toml[80], data[80], log[80];
    pid_t pid;
    uint8_t reply[REPLY_MAX];
};

static struct daemon daemons[N];
static char contact[MESH_CONTACT_TEXT]; /* of the first */

TestSuite(workers, .timeout = 100);

static void write_config(const struct daemon *d, unsigned workers)
{
    FILE *f = fopen(d->toml, "we");
    cr_assert_not_null(f);
    fprintf(f,
            "workers = %u\ndata_dir = \"%s\"\n[network]\nname = \"unit\"\nid_effort = 1\n"
            "lab = true\n[mesh]\nlisten = \"127.0.0.1:0\"\nlisted = true\n",
            workers, d->data);
    if (contact[0] != '\0')
        fprintf(f, "bootstrap = [\"%s\"]\n", contact);
    fclose(f);
}

static void spawn(struct daemon *d, unsigned workers)
{
    posix_spawn_file_actions_t actions;
    snprintf(d->dir, sizeof d->dir, "/tmp/cyx-workers-XXXXXX");
    cr_assert_not_null(mkdtemp(d->dir));
    snprintf(d->toml, sizeof d->toml, "%s/f.toml", d->dir);
    snprintf(d->data, sizeof d->data, "%s/data", d->dir);
    snprintf(d->log, sizeof d->log, "%s/log", d->dir);
    write_config(d, workers);
    char *argv[] = { (char[]){ "cyxd" }, (char[]){ "-c" },   d->toml,
                     (char[]){ "-u" },   (char[]){ "root" }, NULL };
    if (geteuid() != 0)
        argv[3] = NULL;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, d->log, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    cr_assert_eq(posix_spawn(&d->pid, CYX_CYXD, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
}

static const char *read_log(const struct daemon *d)
{
    static char text[65536];
    int fd = open(d->log, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    text[n > 0 ? n : 0] = '\0';
    close(fd);
    return text;
}

static int reach(const struct daemon *d)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(to.sun_path, sizeof to.sun_path, "%s/control.sock", d->data);
    while (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        int status;
        cr_assert(errno == ENOENT || errno == ECONNREFUSED, "%s", strerror(errno));
        cr_assert_eq(waitpid(d->pid, &status, WNOHANG), 0, "it ended: %s", read_log(d));
        usleep(10000); /* it is starting */
    }
    return fd;
}

static void pack_call(struct writer *w, const char *method, int64_t link)
{
    msgpack_packer pk;
    mp_packer(&pk, w);
    msgpack_pack_array(&pk, 4);
    msgpack_pack_int(&pk, 0);
    msgpack_pack_int(&pk, 1);
    mp_pack_str(&pk, method);
    msgpack_pack_array(&pk, link >= 0 ? 1 : 0);
    if (link < 0)
        return;
    msgpack_pack_map(&pk, 1);
    mp_pack_str(&pk, "node");
    msgpack_pack_uint64(&pk, (uint64_t)link);
}

/* One call; *doc borrows from the daemon's buffer. Progress notifications are skipped. NULL: an
 * error was the answer. `link` < 0: no parameters. */
static const msgpack_object *ask(struct daemon *d, const char *method, int64_t link,
                                 struct mp_doc *doc)
{
    struct writer w = writer_on(d->reply, sizeof d->reply);
    size_t len = 0, used = 0;
    int fd = reach(d);
    pack_call(&w, method, link);
    cr_assert_eq(send(fd, d->reply, writer_len(&w), MSG_NOSIGNAL), (ssize_t)writer_len(&w));
    for (;;) {
        while (mp_span(d->reply, len, &mp_local_rules, &used) == DROP_SHORT) {
            ssize_t n = recv(fd, d->reply + len, sizeof d->reply - len, 0);
            cr_assert_gt(n, 0, "%s: %s", method, read_log(d));
            len += (size_t)n;
        }
        cr_assert_eq(mp_parse(doc, d->reply, used, &mp_local_rules), DROP_NONE);
        if (doc->root.via.array.ptr[0].via.u64 == 1)
            break;
        mp_doc_fini(doc);
        memmove(d->reply, d->reply + used, len - used);
        len -= used;
    }
    close(fd);
    const msgpack_object *a = doc->root.via.array.ptr;
    return a[2].type == MSGPACK_OBJECT_NIL ? &a[3] : NULL;
}

static uint64_t number_in(const msgpack_object *map, const char *key)
{
    uint64_t v = UINT64_MAX;
    cr_assert(mp_u64(mp_get(map, key), &v), "%s", key);
    return v;
}

static bool is_joined(struct daemon *d)
{
    cleanup_mp struct mp_doc doc = { .has_zone = false };
    const msgpack_object *s = ask(d, "status", -1, &doc);
    cr_assert_not_null(s);
    return mp_is_str(mp_get(s, "state"), "ready") && number_in(s, "links") == N - 1;
}

static void get_contact(struct daemon *d)
{
    for (;;) {
        cleanup_mp struct mp_doc doc = { .has_zone = false };
        const msgpack_object *id = ask(d, "id", -1, &doc);
        const char *s = NULL;
        size_t len = 0;
        /* Not before its identity is on disk and its mesh open. */
        if (id != NULL && mp_str(mp_get(id, "contact"), &s, &len)) {
            cr_assert_lt(len, sizeof contact);
            memcpy(contact, s, len);
            return;
        }
        usleep(10000);
    }
}

static void read_key(const msgpack_object *peer, uint8_t key[static 32])
{
    const char *hex = NULL;
    size_t len = 0;
    cr_assert(mp_str(mp_get(peer, "key"), &hex, &len));
    cr_assert_eq(len, 64u);
    for (unsigned i = 0; i < 32; i++) {
        char byte[3] = { hex[2 * i], hex[2 * i + 1], '\0' };
        key[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
}

/* Every link answers, and has a number of the worker that its peer belongs to. */
static void ping_all(struct daemon *d, unsigned workers)
{
    uint64_t links[N];
    size_t n = 0;
    cleanup_mp struct mp_doc doc = { .has_zone = false };
    const msgpack_object *peers = ask(d, "peers", -1, &doc);
    cr_assert_not_null(peers);
    cr_assert_eq(peers->via.array.size, N - 1u);
    for (; n < N - 1; n++) {
        uint8_t key[32];
        read_key(&peers->via.array.ptr[n], key);
        links[n] = number_in(&peers->via.array.ptr[n], "link");
        cr_expect_eq(links[n] % workers, mesh_worker_of(key, workers));
        cr_expect(n == 0 || links[n] != links[0]);
    }
    for (size_t i = 0; i < n; i++) {
        cleanup_mp struct mp_doc pong = { .has_zone = false };
        const msgpack_object *r = ask(d, "ping", (int64_t)links[i], &pong);
        cr_assert_not_null(r, "ping over link %zu", i);
        cr_expect_eq(number_in(r, "received"), 1u);
    }
    cleanup_mp struct mp_doc none = { .has_zone = false };
    cr_expect_null(ask(d, "ping", 999999, &none));
}

static void answers_everything(struct daemon *d, unsigned workers)
{
    static const char *const methods[] = { "doctor", "metrics", "top", "record", "time-accept" };
    cleanup_mp struct mp_doc doc = { .has_zone = false };
    const msgpack_object *s = ask(d, "status", -1, &doc);
    cr_assert_not_null(s);
    cr_expect_eq(number_in(s, "workers"), workers);
    cr_expect_eq(number_in(s, "known"), N - 1u);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        cleanup_mp struct mp_doc one = { .has_zone = false };
        cr_expect_not_null(ask(d, methods[i], -1, &one), "%s", methods[i]);
    }
}

/* Workers run and are confined like the first thread. */
static void check_threads(const struct daemon *d, unsigned workers)
{
    char path[64], line[256];
    unsigned n = 0, confined = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)d->pid);
    DIR *tasks = opendir(path);
    cr_assert_not_null(tasks);
    for (struct dirent *t = readdir(tasks); t != NULL; t = readdir(tasks)) {
        char status[340];
        if (t->d_name[0] == '.')
            continue;
        snprintf(status, sizeof status, "%s/%s/status", path, t->d_name);
        FILE *f = fopen(status, "re");
        for (n++; f != NULL && fgets(line, sizeof line, f) != NULL;)
            confined += strcmp(line, "Seccomp:\t2\n") == 0;
        if (f != NULL)
            fclose(f);
    }
    closedir(tasks);
    cr_expect_geq(n, workers);
    cr_expect_eq(confined, n);
}

static void remove_all(const struct daemon *d)
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
                                        "log" };
    char path[160];
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", d->dir, left[i]);
        (void)remove(path);
    }
    cr_expect_eq(rmdir(d->dir), 0, "something else is left in %s", d->dir);
}

static void stop(struct daemon *d)
{
    int status = -1;
    kill(d->pid, SIGTERM);
    cr_assert_eq(waitpid(d->pid, &status, 0), d->pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x: %s", (unsigned)status,
              read_log(d));
    cr_expect_not_null(strstr(read_log(d), "bye"), "%s", read_log(d));
    remove_all(d);
}

static void find_and_ping(unsigned workers)
{
    spawn(&daemons[0], workers);
    get_contact(&daemons[0]);
    for (unsigned i = 1; i < N; i++)
        spawn(&daemons[i], workers);
    for (unsigned i = 0; i < N; i++)
        while (!is_joined(&daemons[i]))
            usleep(10000);
    for (unsigned i = 0; i < N; i++) {
        ping_all(&daemons[i], workers);
        answers_everything(&daemons[i], workers);
        check_threads(&daemons[i], workers);
    }
    for (unsigned i = 0; i < N; i++)
        stop(&daemons[i]);
}

Test(workers, three_daemons_of_two_find_each_other_and_every_link_answers)
{
    find_and_ping(2);
}

Test(workers, three_daemons_of_four_find_each_other_and_every_link_answers)
{
    find_and_ping(4);
}

Test(workers, a_stop_at_once_is_clean)
{
    spawn(&daemons[0], 4);
    cleanup_mp struct mp_doc doc = { .has_zone = false };
    cr_expect_not_null(ask(&daemons[0], "version", -1, &doc)); /* it runs, and may be joining */
    stop(&daemons[0]);
}
