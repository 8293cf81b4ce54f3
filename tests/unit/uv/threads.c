/* Posts from other threads, work on the pool, signals. */
#include <signal.h>

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>

#include "world.h"

enum { N_THREADS = 4, N_POSTS = 2000 };

struct poster {
    struct env *e;
    pthread_t thread;
    unsigned next; /* what the loop expects */
    unsigned n_disorder;
    unsigned *n_all;
};

struct posted {
    struct poster *from;
    unsigned i;
};

static void on_posted(void *arg)
{
    struct posted *p = arg;
    p->from->n_disorder += p->i != p->from->next;
    p->from->next++;
    ++*p->from->n_all;
    free(p);
}

static void *post_many(void *arg)
{
    struct poster *from = arg;
    for (unsigned i = 0; i < N_POSTS; i++) {
        struct posted *p = malloc(sizeof *p);
        *p = (struct posted){ .from = from, .i = i };
        env_post(from->e, on_posted, p);
    }
    return NULL;
}

Test(uv_threads, posts_from_many_threads_all_arrive_in_order, .timeout = 90)
{
    struct world w = world_make();
    unsigned n_all = 0;
    struct poster p[N_THREADS] = { 0 };
    for (unsigned i = 0; i < N_THREADS; i++) {
        p[i].e = w.e;
        p[i].n_all = &n_all;
        cr_assert_eq(pthread_create(&p[i].thread, NULL, post_many, &p[i]), 0);
    }
    run_until(w.e, &n_all, N_THREADS * N_POSTS);
    for (unsigned i = 0; i < N_THREADS; i++) {
        pthread_join(p[i].thread, NULL);
        cr_expect_eq(p[i].n_disorder, 0);
    }
    world_end(&w);
}

Test(uv_threads, a_post_before_destroy_still_runs, .timeout = 60)
{
    struct world w = world_make();
    unsigned n_all = 0;
    struct poster from = { .e = w.e, .n_all = &n_all };
    struct posted *p = malloc(sizeof *p);
    *p = (struct posted){ .from = &from };
    env_post(w.e, on_posted, p);
    world_end(&w);
    cr_expect_eq(n_all, 1);
}

struct job {
    sem_t go, started;
    pthread_t ran_on;
    bool has_run;
    struct done done;
};

static void job_init(struct job *j)
{
    *j = (struct job){ 0 };
    sem_init(&j->go, 0, 0);
    sem_init(&j->started, 0, 0);
}

static void wait_for_go(void *arg)
{
    struct job *j = arg;
    j->ran_on = pthread_self();
    j->has_run = true;
    sem_post(&j->started);
    while (sem_wait(&j->go) != 0) {
    }
}

static void job_done(void *arg, int code)
{
    note_done(&((struct job *)arg)->done, code);
}

Test(uv_threads, work_runs_on_another_thread_and_is_done_on_the_loop, .timeout = 60)
{
    struct world w = world_make();
    struct job j;
    job_init(&j);
    sem_post(&j.go);
    cr_assert_eq(env_work(w.e, wait_for_go, job_done, &j, NULL), 0);
    cr_expect_eq(j.done.n, 0);
    run_until(w.e, &j.done.n, 1);
    cr_expect_eq(j.done.code, 0);
    cr_expect(!pthread_equal(j.ran_on, pthread_self()));
    world_end(&w);
}

enum { POOL = 4 };

/* Occupies every thread of the pool, so that what comes next can't start. */
static void fill_pool(struct env *e, struct job jobs[static POOL])
{
    for (unsigned i = 0; i < POOL; i++) {
        job_init(&jobs[i]);
        cr_assert_eq(env_work(e, wait_for_go, job_done, &jobs[i], NULL), 0);
    }
    for (unsigned i = 0; i < POOL; i++)
        sem_wait(&jobs[i].started);
}

Test(uv_threads, cancelled_work_never_runs_and_says_so, .timeout = 60)
{
    struct world w = world_make();
    struct job jobs[POOL], late;
    struct env_work *handle = NULL;
    fill_pool(w.e, jobs);
    job_init(&late);
    cr_assert_eq(env_work(w.e, wait_for_go, job_done, &late, &handle), 0);
    env_work_cancel(w.e, handle);
    cr_expect_eq(late.done.n, 0, "never inside the call");
    run_until(w.e, &late.done.n, 1);
    cr_expect_eq(late.done.code, CYX_ECANCELED);
    cr_expect(!late.has_run);
    for (unsigned i = 0; i < POOL; i++) {
        sem_post(&jobs[i].go);
        run_until(w.e, &jobs[i].done.n, 1);
    }
    world_end(&w);
}

Test(uv_threads, destroy_cancels_what_waits_and_waits_for_what_runs, .timeout = 60)
{
    struct world w = world_make();
    struct job jobs[POOL], late;
    fill_pool(w.e, jobs);
    job_init(&late);
    cr_assert_eq(env_work(w.e, wait_for_go, job_done, &late, NULL), 0);
    for (unsigned i = 0; i < POOL; i++)
        sem_post(&jobs[i].go);
    sem_post(&late.go); /* it may have started by then: both ends are right */
    world_end(&w);
    cr_expect_eq(late.done.n, 1);
    cr_expect_eq(late.done.code, late.has_run ? 0 : CYX_ECANCELED);
    for (unsigned i = 0; i < POOL; i++)
        cr_expect(jobs[i].done.n == 1 && jobs[i].done.code == 0);
}

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

Test(uv_threads, a_signal_becomes_a_call_on_the_loop, .timeout = 60)
{
    struct world w = world_make();
    unsigned n = 0;
    cr_assert_eq(env_uv_on_signal(w.e, SIGUSR1, count, &n, NULL), 0);
    raise(SIGUSR1);
    run_until(w.e, &n, 1);
    struct cyx_err err;
    for (unsigned i = 1; i < ENV_UV_SIGNALS_MAX; i++)
        cr_expect_eq(env_uv_on_signal(w.e, SIGUSR2, count, &n, &err), 0);
    cr_expect_eq(env_uv_on_signal(w.e, SIGUSR2, count, &n, &err), CYX_EFULL);
    world_end(&w);
}
