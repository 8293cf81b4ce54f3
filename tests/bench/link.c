/* bench_link gcm|chacha SECONDS FOLDER - cells a second over one link of mesh/ between two
 * processes on this machine, with the same window and credits as bench_raw_link, which is the
 * ceiling. The stand-in for onion paths is one path whose cells carry a count. FOLDER: an empty
 * folder for the two nodes' stores. */
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/uv/env_uv.h"
#include "mesh/mesh.h"
#include "tests/bench/two.h"

struct end {
    struct env *env;
    struct mesh *mesh;
    struct mesh_identity *identity;
    struct mesh_watcher watcher;
    const char *cipher;
    int rc;
    /* sender */
    struct mesh_link *link;
    uint32_t path;
    uint64_t sent, seen;
    struct env_timer stalled; /* a credit was lost */
    /* receiver */
    struct two_count count;
    uint64_t top, credited, arrived;
};

static void die(const char *what, const struct cyx_err *err)
{
    fprintf(stderr, "bench_link: %s: %s\n", what, err->msg);
    exit(2);
}

static void solve_puzzle(struct end *e, const struct mesh_network *net)
{
    struct cyx_err err = { 0 };
    struct mesh_pow_subject subject;
    uint8_t nonce[16], proof[MESH_POW_PROOF];
    env_random(e->env, nonce, sizeof nonce);
    mesh_identity_subject(e->identity, &subject);
    if (mesh_pow_solve(&subject, net->id_effort, nonce, NULL, proof, &err) != 0 ||
        mesh_identity_set_puzzle(e->identity, net, proof, &err) != 0)
        die("puzzle", &err);
}

/* A node on 127.0.0.1 with its store in folder/name; a listed one can be dialled. */
static void start(struct end *e, const char *folder, const char *name, bool is_listed)
{
    struct cyx_err err = { 0 };
    struct mesh_config c = { .is_listed = is_listed, .listen = env_addr_v4(127, 0, 0, 1, 0) };
    char dir[4096];
    snprintf(dir, sizeof dir, "%s/%s", folder, name);
    if (mkdir(dir, 0700) != 0 || mesh_network_init(&c.network, "bench", 1, true, &err) != 0)
        die(dir, &err);
    e->env = env_uv_create(&(struct env_uv_options){ .data_dir = dir }, &err);
    if (e->env == NULL)
        die("environment", &err);
    e->identity = mesh_identity_create(e->env, (uint64_t)env_wall_ms(e->env) / 1000, &err);
    if (e->identity == NULL)
        die("identity", &err);
    solve_puzzle(e, &c.network);
    c.identity = e->identity;
    c.no_gcm = strcmp(e->cipher, "gcm") != 0;
    e->mesh = mesh_create(e->env, &c, &err);
    if (e->mesh == NULL || mesh_start(e->mesh, &err) != 0)
        die("mesh", &err);
}

/* ---- sender -----------------------------------------------------------------------------------
 */

static void send_window(struct end *e)
{
    uint8_t cell[MESH_CELL] = { 0 };
    for (; e->link != NULL && e->sent - e->seen < TWO_WINDOW; e->sent++) {
        memcpy(cell, &e->sent, sizeof e->sent);
        if (mesh_cell_send(e->link, e->path, cell) != 0)
            break;
    }
    env_timer_in(e->env, &e->stalled, ENV_MS(20));
}

static void sender_stalled(struct env_timer *t, void *arg)
{
    struct end *e = arg;
    (void)t;
    e->seen = e->sent;
    send_window(e);
}

static void sender_up(void *arg, struct mesh_link *l)
{
    struct end *e = arg;
    e->link = l;
    e->path = mesh_path_id(l);
    send_window(e);
}

static void sender_down(void *arg, struct mesh_link *l, const char *why)
{
    struct end *e = arg;
    (void)l;
    fprintf(stderr, "bench_link: sender: link down: %s\n", why);
    e->link = NULL;
    e->rc = 1;
    env_uv_stop(e->env);
}

static void credit_came(void *arg, struct mesh_link *l, uint32_t path,
                        uint8_t cell[static MESH_CELL])
{
    struct end *e = arg;
    uint64_t credit;
    (void)l;
    (void)path;
    memcpy(&credit, cell, sizeof credit);
    e->seen = credit > e->seen ? credit : e->seen;
    send_window(e);
}

static int run_sender(const char *cipher, const char *folder, int from_receiver)
{
    struct end e = { .cipher = cipher };
    struct mesh_contact contact;
    struct cyx_err err = { 0 };
    const struct mesh_paths paths = { .cell = credit_came };
    if (read(from_receiver, &contact, sizeof contact) != (ssize_t)sizeof contact)
        return 2;
    start(&e, folder, "sender", false);
    env_timer_init(&e.stalled, sender_stalled, &e);
    e.watcher = (struct mesh_watcher){ .link_up = sender_up, .link_down = sender_down, .arg = &e };
    mesh_watch(e.mesh, &e.watcher);
    mesh_set_paths(e.mesh, &paths, &e);
    if (mesh_dial(e.mesh, &contact, &err) == NULL)
        die("dial", &err);
    env_uv_run(e.env);
    return e.rc;
}

/* ---- receiver ---------------------------------------------------------------------------------
 */

static void cell_came(void *arg, struct mesh_link *l, uint32_t path, uint8_t cell[static MESH_CELL])
{
    struct end *e = arg;
    uint64_t number;
    memcpy(&number, cell, sizeof number);
    e->top = number + 1 > e->top ? number + 1 : e->top;
    e->arrived++;
    if (e->top - e->credited >= TWO_CREDIT_EVERY) {
        e->credited = e->top;
        memcpy(cell, &e->top, sizeof e->top);
        (void)mesh_cell_send(l, path, cell);
        /* The clock is read for each credit, not for each cell. */
        if (two_arrived(&e->count, TWO_CREDIT_EVERY))
            env_uv_stop(e->env);
    }
}

static void receiver_down(void *arg, struct mesh_link *l, const char *why)
{
    struct end *e = arg;
    (void)l;
    fprintf(stderr, "bench_link: receiver: link down: %s\n", why);
    e->rc = 1;
    env_uv_stop(e->env);
}

static void receiver_late(struct env_timer *t, void *arg)
{
    (void)t;
    receiver_down(arg, NULL, "no cells in time");
}

static int run_receiver(const char *cipher, const char *folder, int to_sender, double seconds,
                        pid_t sender)
{
    struct end e = { .cipher = cipher, .count = { .span_ns = (uint64_t)(seconds * 1e9) } };
    const struct mesh_paths paths = { .cell = cell_came };
    struct mesh_contact contact;
    struct mesh_status status;
    struct env_timer late;
    start(&e, folder, "receiver", true);
    e.watcher = (struct mesh_watcher){ .link_down = receiver_down, .arg = &e };
    mesh_watch(e.mesh, &e.watcher);
    mesh_set_paths(e.mesh, &paths, &e);
    mesh_own_contact(e.mesh, &contact);
    if (write(to_sender, &contact, sizeof contact) != (ssize_t)sizeof contact)
        return 2;
    env_timer_init(&late, receiver_late, &e);
    env_timer_in(e.env, &late, ENV_S(10) + e.count.span_ns);
    env_uv_run(e.env);
    mesh_get_status(e.mesh, &status);
    e.count.gro = status.gro;
    e.count.lost = e.top - e.arrived;
    if (e.rc == 0)
        two_finish(&e.count, "mesh", cipher, sender);
    return e.rc;
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 0;
    int to_sender[2];
    if (argc != 4 || !(seconds > 0 && seconds < 3600)) {
        fprintf(stderr, "usage: bench_link gcm|chacha SECONDS FOLDER\n");
        return 2;
    }
    if (sodium_init() < 0 || pipe(to_sender) != 0)
        return 2;
    pid_t pid = fork();
    if (pid < 0)
        return 2;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(run_sender(argv[1], argv[3], to_sender[0]));
    }
    int rc = run_receiver(argv[1], argv[3], to_sender[1], seconds, pid);
    if (rc != 0)
        kill(pid, SIGKILL);
    return rc;
}
