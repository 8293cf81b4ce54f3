/* tests/tsan/env_uv.c - one environment used from several threads, several environments on one
 * store: posts, work, commits, reads, the log. Under ThreadSanitizer (-DCYX_TSAN=ON) a race is an
 * error; in every build what was asked must have happened. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/uv/env_uv.h"

enum { N_POSTERS = 3, N_POSTS = 500, N_WORKS = 200, N_COMMITS = 30, N_WORKERS = 3 };

struct worker {
    unsigned place;
    struct env *e;
    struct log *log;
    struct env_kv *kv;
    pthread_t thread;
    unsigned n_posted, n_worked, n_committed, n_stored, n_wrong;
    unsigned in_pool; /* what the pool added, read on the loop */
};

struct unit {
    struct worker *w;
    unsigned input, output;
};

struct poster {
    struct worker *to;
    pthread_t thread;
};

static void stop_when_done(struct worker *w)
{
    if (w->n_posted == N_POSTERS * N_POSTS && w->n_worked == N_WORKS &&
        w->n_committed == N_COMMITS && w->n_stored == 1)
        env_uv_stop(w->e);
}

static void on_post(void *arg)
{
    struct worker *w = arg;
    w->n_posted++;
    stop_when_done(w);
}

static void *post_many(void *arg)
{
    struct poster *p = arg;
    for (unsigned i = 0; i < N_POSTS; i++) {
        env_post(p->to->e, on_post, p->to);
        if (i % 50 == 0)
            log_info(p->to->log, "poster", "sent %u", i);
    }
    return NULL;
}

static void on_pool(void *arg)
{
    struct unit *u = arg;
    u->output = u->input * 2;
    log_debug(u->w->log, "pool", "did %u", u->input);
}

static void on_worked(void *arg, int code)
{
    struct unit *u = arg;
    struct worker *w = u->w;
    w->n_wrong += code != 0 || u->output != u->input * 2;
    w->n_worked++;
    free(u);
    stop_when_done(w);
}

static bool count_key(void *arg, const uint8_t *key, size_t key_len, const uint8_t *val,
                      size_t val_len)
{
    (void)key;
    *(unsigned *)arg += key_len + val_len > 0 && val[0] == 'v';
    return true;
}

static void commit_next(struct worker *w);

static void on_committed(void *arg, int code)
{
    struct worker *w = arg;
    unsigned n = 0;
    w->n_wrong += code != 0;
    w->n_committed++;
    w->n_wrong += env_kv_each(w->e, w->kv, NULL, 0, count_key, &n) != 0 || n < w->n_committed;
    if (w->n_committed < N_COMMITS)
        commit_next(w);
    stop_when_done(w);
}

static void commit_next(struct worker *w)
{
    char key[32];
    struct env_kv_batch *b = env_kv_batch(w->e, w->kv);
    int n = snprintf(key, sizeof key, "%u-%u", w->place, w->n_committed);
    if (b == NULL || env_kv_put(w->e, b, key, (size_t)n, "value", 5) < 0)
        abort();
    env_kv_commit(w->e, b, on_committed, w);
}

static void on_stored(void *arg, int code)
{
    struct worker *w = arg;
    w->n_wrong += code != 0;
    w->n_stored++;
    stop_when_done(w);
}

static void *run_worker(void *arg)
{
    struct worker *w = arg;
    struct cyx_err err = { 0 };
    if (env_kv_open(w->e, "shared", 4 << 20, &w->kv, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        abort();
    }
    for (unsigned i = 0; i < N_WORKS; i++) {
        struct unit *u = malloc(sizeof *u);
        if (u == NULL)
            abort();
        *u = (struct unit){ .w = w, .input = i };
        if (env_work(w->e, on_pool, on_worked, u, NULL) < 0)
            abort();
    }
    env_blob_store(w->e, "shared-blob", (const uint8_t *)"12345678", 8, on_stored, w);
    commit_next(w);
    env_uv_run(w->e);
    env_kv_close(w->e, w->kv);
    return NULL;
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

/* Creates the environments here, runs each on a thread of its own, posts to all from others. */
static unsigned run_all(const char *dir, struct log *log)
{
    struct worker w[N_WORKERS] = { 0 };
    struct poster p[N_WORKERS][N_POSTERS] = { 0 };
    unsigned n_wrong = 0;
    for (unsigned i = 0; i < N_WORKERS; i++) {
        w[i].place = i;
        w[i].log = log;
        w[i].e = env_uv_create(
            &(struct env_uv_options){
                .data_dir = dir, .log = log, .share_stores_with = i > 0 ? w[0].e : NULL },
            NULL);
        if (w[i].e == NULL || pthread_create(&w[i].thread, NULL, run_worker, &w[i]) != 0)
            abort();
        for (unsigned j = 0; j < N_POSTERS; j++) {
            p[i][j].to = &w[i];
            if (pthread_create(&p[i][j].thread, NULL, post_many, &p[i][j]) != 0)
                abort();
        }
    }
    for (unsigned i = 0; i < N_WORKERS; i++) {
        for (unsigned j = 0; j < N_POSTERS; j++)
            pthread_join(p[i][j].thread, NULL);
        pthread_join(w[i].thread, NULL);
        n_wrong += w[i].n_wrong;
    }
    for (unsigned i = 0; i < N_WORKERS; i++)
        env_uv_destroy(w[i].e);
    return n_wrong;
}

int main(void)
{
    char dir[] = "/tmp/cyx-tsan-XXXXXX";
    if (mkdtemp(dir) == NULL)
        return 1;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct log *log =
        log_create(&(struct log_options){ .level = LOG_LEVEL_DEBUG, .fd = null, .ring_lines = 64 });
    if (log == NULL)
        return 1;
    unsigned n_wrong = run_all(dir, log);
    log_destroy(log);
    close(null);
    remove_dir(dir);
    printf("%u environments, %u posts, %u works and %u commits each: %u wrong\n", N_WORKERS,
           N_POSTERS * N_POSTS, N_WORKS, N_COMMITS, n_wrong);
    return n_wrong != 0;
}
