#include "world.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct wait {
    struct env *e;
    struct env_timer timer;
    const unsigned *count;
    unsigned want;
    unsigned n_ticks;
    bool is_late;
};

static struct env *open_env(const char *dir)
{
    struct cyx_err err = { 0 };
    struct env *e = env_uv_create(&(struct env_uv_options){ .data_dir = dir }, &err);
    cr_assert_not_null(e, "%s", err.msg);
    return e;
}

struct world world_make(void)
{
    struct world w = { .dir = "/tmp/cyx-uv-XXXXXX" };
    cr_assert_not_null(mkdtemp(w.dir));
    w.e = open_env(w.dir);
    return w;
}

void world_reopen(struct world *w)
{
    env_uv_destroy(w->e);
    w->e = open_env(w->dir);
}

void world_end(struct world *w)
{
    env_uv_destroy(w->e);
    DIR *d = opendir(w->dir);
    cr_assert_not_null(d);
    for (struct dirent *f = readdir(d); f != NULL; f = readdir(d))
        if (strcmp(f->d_name, ".") != 0 && strcmp(f->d_name, "..") != 0 &&
            unlinkat(dirfd(d), f->d_name, 0) != 0)
            unlinkat(dirfd(d), f->d_name, AT_REMOVEDIR);
    closedir(d);
    cr_expect_eq(rmdir(w->dir), 0);
}

static void tick(struct env_timer *t, void *arg)
{
    struct wait *w = arg;
    w->is_late = w->n_ticks++ > 30000;
    if (*w->count >= w->want || w->is_late)
        env_uv_stop(w->e);
    else
        env_timer_in(w->e, t, ENV_MS(1));
}

void run_until(struct env *e, const unsigned *count, unsigned want)
{
    struct wait w = { .e = e, .count = count, .want = want };
    env_timer_init(&w.timer, tick, &w);
    env_timer_in(e, &w.timer, 0);
    env_uv_run(e);
    env_timer_stop(e, &w.timer);
    cr_assert(!w.is_late, "waited for %u, saw %u", want, *count);
}

struct turns {
    struct env *e;
    unsigned n;
};

static void turn(struct env_timer *t, void *arg)
{
    struct turns *s = arg;
    if (s->n-- == 0)
        env_uv_stop(s->e);
    else
        env_timer_in(s->e, t, ENV_MS(1));
}

void run_turns(struct env *e, unsigned n)
{
    struct turns s = { .e = e, .n = n };
    struct env_timer t;
    env_timer_init(&t, turn, &s);
    env_timer_in(e, &t, 0);
    env_uv_run(e);
    env_timer_stop(e, &t);
}

const char *world_path(const struct world *w, const char *name)
{
    static char paths[4][160];
    static unsigned next;
    char *out = paths[next++ % 4];
    snprintf(out, sizeof paths[0], "%s/%s", w->dir, name);
    return out;
}

void write_file(const char *path, const void *data, size_t len, unsigned mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
    cr_assert_eq(fchmod(fd, mode), 0);
    close(fd);
}

void note_done(void *arg, int code)
{
    struct done *d = arg;
    d->n++;
    d->code = code;
}
