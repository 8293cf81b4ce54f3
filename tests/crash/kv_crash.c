/* tests/crash/kv_crash.c - kill -9 in the middle of commits: whatever was acknowledged is there
 * afterwards, and no batch is there by half.
 *
 * A child commits batch after batch; batch n writes n to every one of its KEYS keys, and its length
 * differs so that pages are freed and taken. After each acknowledgement it writes n to a pipe. The
 * parent kills it at a random instant, opens the store and looks. Usage: kv_crash [rounds] */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/uv/env_uv.h"

enum { ROUNDS = 50, KEYS = 24, IN_FLIGHT = 3, VAL_MAX = 6000, STORE_BYTES = 16 << 20 };

struct batch_value {
    uint64_t n;
    uint8_t fill[VAL_MAX];
};

/* ---- the child --------------------------------------------------------------------------------
 */

struct child {
    struct env *e;
    struct env_kv *kv;
    int out;
    uint64_t next;
};

struct ack {
    struct child *c;
    uint64_t n;
};

static void commit_next(struct child *c);

static void on_committed(void *arg, int code)
{
    struct ack *a = arg;
    struct child *c = a->c;
    if (code != 0)
        _exit(3);
    if (write(c->out, &a->n, sizeof a->n) != sizeof a->n)
        _exit(4);
    free(a);
    commit_next(c);
}

static void commit_next(struct child *c)
{
    struct env_kv_batch *b = env_kv_batch(c->e, c->kv);
    struct ack *a = malloc(sizeof *a);
    struct batch_value *v = calloc(1, sizeof *v);
    if (b == NULL || a == NULL || v == NULL)
        _exit(5);
    *a = (struct ack){ .c = c, .n = c->next++ };
    v->n = a->n;
    memset(v->fill, (int)(a->n & 0xff), sizeof v->fill);
    for (unsigned i = 0; i < KEYS; i++) {
        /* Some values fit a page, some need overflow pages, and it changes with each batch. */
        size_t len = sizeof v->n + (a->n * 977 + i * 331) % VAL_MAX;
        char key[16];
        int key_len = snprintf(key, sizeof key, "key-%02u", i);
        if (env_kv_put(c->e, b, key, (size_t)key_len, v, len) < 0)
            _exit(5);
    }
    free(v);
    env_kv_commit(c->e, b, on_committed, a);
}

static _Noreturn void run_child(const char *dir, int out, uint64_t first)
{
    struct cyx_err err = { 0 };
    struct child c = { .out = out, .next = first };
    c.e = env_uv_create(&(struct env_uv_options){ .data_dir = dir }, &err);
    if (c.e == NULL || env_kv_open(c.e, "crash", STORE_BYTES, &c.kv, &err) < 0) {
        fprintf(stderr, "child: %s\n", err.msg);
        _exit(2);
    }
    for (unsigned i = 0; i < IN_FLIGHT; i++)
        commit_next(&c);
    env_uv_run(c.e);
    _exit(6); /* nobody stops it but the signal */
}

/* ---- the parent -------------------------------------------------------------------------------
 */

struct look {
    uint64_t n;
    unsigned n_keys;
    bool is_torn;
};

static bool look_at(void *arg, const uint8_t *key, size_t key_len, const uint8_t *val,
                    size_t val_len)
{
    struct look *l = arg;
    uint64_t n = 0;
    (void)key;
    (void)key_len;
    if (val_len < sizeof n) {
        l->is_torn = true;
        return false;
    }
    memcpy(&n, val, sizeof n);
    if (l->n_keys++ == 0)
        l->n = n;
    size_t want = sizeof n + (n * 977 + (l->n_keys - 1) * 331) % VAL_MAX;
    l->is_torn = l->is_torn || n != l->n || val_len != want ||
                 (val_len > sizeof n && val[val_len - 1] != (uint8_t)(n & 0xff));
    return true;
}

/* Opens the store as after a restart. 0; fills *l (all zero in an empty store). */
static int reopen(const char *dir, struct look *l)
{
    struct cyx_err err = { 0 };
    struct env_kv *kv = NULL;
    *l = (struct look){ 0 };
    struct env *e = env_uv_create(&(struct env_uv_options){ .data_dir = dir }, &err);
    if (e == NULL || env_kv_open(e, "crash", STORE_BYTES, &kv, &err) < 0) {
        fprintf(stderr, "reopen: %s\n", err.msg);
        env_uv_destroy(e);
        return -1;
    }
    int rc = env_kv_each(e, kv, NULL, 0, look_at, l);
    env_kv_close(e, kv);
    env_uv_destroy(e);
    return rc;
}

static unsigned n_moved_aside(const char *dir)
{
    unsigned n = 0;
    DIR *d = opendir(dir);
    if (d == NULL)
        return 0;
    for (struct dirent *f = readdir(d); f != NULL; f = readdir(d))
        n += strstr(f->d_name, ".corrupt-") != NULL;
    closedir(d);
    return n;
}

static void remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    for (struct dirent *f = readdir(d); f != NULL; f = readdir(d))
        (void)unlinkat(dirfd(d), f->d_name, 0);
    closedir(d);
    (void)rmdir(dir);
}

/* Kills the child 0 to 60 ms after it started to commit; *acked is the greatest number it said. */
static int kill_one(const char *dir, unsigned round, uint64_t first, uint64_t *acked)
{
    int fds[2];
    if (pipe(fds) < 0)
        return -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        run_child(dir, fds[1], first);
    }
    close(fds[1]);
    uint32_t dice = 0;
    if (getentropy(&dice, sizeof dice) < 0)
        return -1;
    struct timespec pause = { .tv_nsec = (long)(dice % 60000000u) };
    uint64_t n = 0;
    /* Mostly wait for the first acknowledgement, so that the instant falls among commits; now and
     * then not, so that it falls into the opening of the store. */
    if (round % 5 != 0 && read(fds[0], &n, sizeof n) == sizeof n && n > *acked)
        *acked = n;
    nanosleep(&pause, NULL);
    if (pid > 0)
        kill(pid, SIGKILL);
    while (read(fds[0], &n, sizeof n) == sizeof n)
        if (n > *acked)
            *acked = n;
    close(fds[0]);
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    if (!WIFSIGNALED(status)) {
        fprintf(stderr, "round %u: the child ended by itself (%d)\n", round, WEXITSTATUS(status));
        return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/cyx-crash-XXXXXX";
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : ROUNDS;
    uint64_t acked = 0, kept = 0;
    unsigned n_lost = 0, n_torn = 0, n_failed = 0, n_ahead = 0;
    if (mkdtemp(dir) == NULL)
        return 1;
    for (unsigned round = 0; round < rounds && n_failed == 0; round++) {
        struct look l;
        /* Numbers go on from the store's, so that "at least what was acknowledged" has one scale.
         */
        if (kill_one(dir, round, kept + 1, &acked) < 0 || reopen(dir, &l) < 0) {
            n_failed++;
            break;
        }
        n_lost += l.n < acked;
        n_ahead += l.n > acked; /* committed, killed before it could say so: right as well */
        n_torn += l.is_torn || (l.n_keys != 0 && l.n_keys != KEYS);
        kept = l.n;
    }
    unsigned n_aside = n_moved_aside(dir);
    printf("kv_crash: %u kills, %llu batches acknowledged, %u times one more was on disk; lost %u, "
           "torn %u, taken for corrupt %u, failed %u\n",
           rounds, (unsigned long long)acked, n_ahead, n_lost, n_torn, n_aside, n_failed);
    remove_dir(dir);
    return n_lost + n_torn + n_aside + n_failed != 0;
}
