#include "node/workers.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/uv/env_uv.h"

struct worker {
    struct workers *all;
    unsigned number;
    struct env *env;
    struct mesh *mesh;              /* its thread's, while that runs */
    struct mesh_identity *identity; /* a copy of its own; worker 0 has the node's */
    pthread_t thread;
    bool has_thread;
    sem_t go; /* the mesh stands: run */
    atomic_uint n_messages;
    atomic_uint_fast64_t n_lost;
};

struct workers {
    unsigned n, n_stopping;
    env_fn stopped;
    void *arg;
    struct worker at[WORKERS_MAX];
};

unsigned workers_len(const struct workers *w)
{
    return w->n;
}

struct env *workers_env(const struct workers *w, unsigned number)
{
    return w->at[number].env;
}

struct mesh *workers_mesh(const struct workers *w, unsigned number)
{
    return w->at[number].mesh;
}

uint64_t workers_lost(const struct workers *w)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < w->n; i++)
        n += atomic_load_explicit(&w->at[i].n_lost, memory_order_relaxed);
    return n;
}

/* ---- messages -------------------------------------------------------------------------------- */

enum kind { DATAGRAM, RECORD, CONTACT, OBSERVED, OWN_RECORD, SEQUENCE, WISH, PARCEL, HAND };

struct message {
    struct worker *to;
    enum kind kind;
    bool is_admitted;
    struct env_addr from;
    uint64_t number; /* time seen, sequence, or method */
    struct mesh_contact contact;
    struct mesh_sighting sighting;
    struct mesh_parcel parcel; /* its pointers are set on the other side */
    struct mesh_asker asker;
    size_t len;
    uint8_t data[];
};

static void give_parcel(struct mesh *mesh, struct message *m)
{
    m->parcel.to = m->parcel.kind == MESH_PARCEL_ASK ? &m->contact : NULL;
    m->parcel.from = m->parcel.kind == MESH_PARCEL_REQUEST ? &m->asker : NULL;
    m->parcel.data = m->data;
    m->parcel.len = m->len;
    mesh_take_parcel(mesh, &m->parcel);
}

static void give(struct message *m)
{
    struct mesh *mesh = m->to->mesh;
    switch (m->kind) {
    case DATAGRAM:
        mesh_take_datagram(mesh, &m->from, m->data, m->len, m->is_admitted);
        break;
    case RECORD:
        mesh_take_record(mesh, m->data, m->len, m->number);
        break;
    case CONTACT:
        mesh_take_contact(mesh, &m->contact);
        break;
    case OBSERVED:
        mesh_take_observed(mesh, &m->sighting);
        break;
    case OWN_RECORD:
        mesh_take_own_record(mesh, m->data, m->len);
        break;
    case SEQUENCE:
        mesh_take_sequence(mesh, m->number);
        break;
    case WISH:
        mesh_take_wish(mesh);
        break;
    case PARCEL:
        give_parcel(mesh, m);
        break;
    case HAND:
        mesh_hand_requests(mesh, (unsigned)m->number);
        break;
    }
}

static void deliver(void *arg)
{
    struct message *m = arg;
    atomic_fetch_sub_explicit(&m->to->n_messages, 1, memory_order_relaxed);
    if (m->to->mesh != NULL)
        give(m);
    free(m);
}

/* What may find no room; the rest must arrive, and answers are as many as questions at most. */
static bool may_be_lost(const struct message *head)
{
    switch (head->kind) {
    case OWN_RECORD:
    case HAND:
        return false;
    case PARCEL:
        return head->parcel.kind == MESH_PARCEL_ASK || head->parcel.kind == MESH_PARCEL_REQUEST;
    case DATAGRAM:
    case RECORD:
    case CONTACT:
    case OBSERVED:
    case SEQUENCE:
    case WISH:
        break;
    }
    return true;
}

/* A copy of `head` and the bytes. False: it found no room, or no memory. */
static bool post_message(struct worker *to, const struct message *head, const uint8_t *data,
                         size_t len)
{
    bool is_full =
        atomic_load_explicit(&to->n_messages, memory_order_relaxed) >= WORKERS_MESSAGES_MAX &&
        may_be_lost(head);
    struct message *m = is_full ? NULL : malloc(sizeof *m + len);
    if (m == NULL && head->kind == PARCEL && !may_be_lost(head)) {
        len = 0; /* who waits for it learns that it failed */
        m = malloc(sizeof *m);
    }
    if (m == NULL) {
        atomic_fetch_add_explicit(&to->n_lost, 1, memory_order_relaxed);
        return false;
    }
    *m = *head;
    m->to = to;
    m->len = len;
    if (len > 0)
        memcpy(m->data, data, len);
    atomic_fetch_add_explicit(&to->n_messages, 1, memory_order_relaxed);
    env_post(to->env, deliver, m);
    return true;
}

static void post_others(struct worker *w, const struct message *head, const uint8_t *data,
                        size_t len)
{
    for (unsigned i = 0; i < w->all->n; i++)
        if (i != w->number)
            post_message(&w->all->at[i], head, data, len);
}

/* ---- what a mesh says to the others ---------------------------------------------------------- */

static void say_datagram(void *arg, unsigned to, const struct env_addr *from, const uint8_t *data,
                         size_t len, bool is_admitted)
{
    struct worker *w = arg;
    post_message(&w->all->at[to],
                 &(struct message){ .kind = DATAGRAM, .from = *from, .is_admitted = is_admitted },
                 data, len);
}

static void say_record(void *arg, unsigned to, const uint8_t *record, size_t len, uint64_t seen_s)
{
    struct worker *w = arg;
    post_message(&w->all->at[to], &(struct message){ .kind = RECORD, .number = seen_s }, record,
                 len);
}

static void say_contact(void *arg, unsigned to, const struct mesh_contact *c)
{
    struct worker *w = arg;
    post_message(&w->all->at[to], &(struct message){ .kind = CONTACT, .contact = *c }, NULL, 0);
}

static void say_observed(void *arg, const struct mesh_sighting *s)
{
    struct worker *w = arg;
    post_message(&w->all->at[0], &(struct message){ .kind = OBSERVED, .sighting = *s }, NULL, 0);
}

static void say_own_record(void *arg, const uint8_t *record, size_t len)
{
    post_others(arg, &(struct message){ .kind = OWN_RECORD }, record, len);
}

static void say_sequence(void *arg, uint64_t next)
{
    post_others(arg, &(struct message){ .kind = SEQUENCE, .number = next }, NULL, 0);
}

static void say_wish(void *arg)
{
    post_others(arg, &(struct message){ .kind = WISH }, NULL, 0);
}

static bool say_parcel(void *arg, unsigned to, const struct mesh_parcel *p)
{
    struct worker *w = arg;
    struct message m = { .kind = PARCEL, .parcel = *p };
    if (p->to != NULL)
        m.contact = *p->to;
    if (p->from != NULL)
        m.asker = *p->from;
    return post_message(&w->all->at[to], &m, p->data, p->len);
}

/* Keys travel in locked memory. */
struct keys_message {
    struct worker *to;
    struct mesh_identity identity;
};

static void deliver_keys(void *arg)
{
    struct keys_message *k = arg;
    if (k->to->mesh != NULL)
        mesh_take_keys(k->to->mesh, &k->identity);
    secret_free(k);
}

static void say_keys(void *arg, const struct mesh_identity *identity)
{
    struct worker *w = arg;
    for (unsigned i = 1; i < w->all->n; i++) {
        struct keys_message *k = secret_alloc(sizeof *k);
        if (k == NULL) {
            /* That worker keeps the old keys, which hold for a day; the next rotation tries. */
            atomic_fetch_add_explicit(&w->all->at[i].n_lost, 1, memory_order_relaxed);
            continue;
        }
        k->to = &w->all->at[i];
        k->identity = *identity;
        env_post(k->to->env, deliver_keys, k);
    }
}

static const struct mesh_siblings siblings = {
    .datagram = say_datagram,
    .record = say_record,
    .contact = say_contact,
    .observed = say_observed,
    .own_record = say_own_record,
    .keys = say_keys,
    .sequence = say_sequence,
    .wish = say_wish,
    .parcel = say_parcel,
};

/* ---- start ----------------------------------------------------------------------------------- */

struct workers *workers_create(const char *data_dir, struct log *log, unsigned n,
                               struct cyx_err *err)
{
    struct workers *w = n > 0 && n <= WORKERS_MAX ? calloc(1, sizeof *w) : NULL;
    if (w == NULL) {
        cyx_fail(err, n > 0 && n <= WORKERS_MAX ? CYX_ENOMEM : CYX_EINVAL,
                 "%u workers can't be made: at most %d", n, WORKERS_MAX);
        return NULL;
    }
    for (w->n = 0; w->n < n; w->n++) {
        struct worker *one = &w->at[w->n];
        struct env_uv_options o = { .data_dir = w->n == 0 ? data_dir : NULL,
                                    .log = log,
                                    .share_stores_with = w->at[0].env };
        *one = (struct worker){ .all = w, .number = w->n };
        one->env = env_uv_create(&o, err);
        if (one->env == NULL) {
            workers_destroy(w);
            return NULL;
        }
        sem_init(&one->go, 0, 0);
    }
    return w;
}

static void *run(void *arg)
{
    struct worker *w = arg;
    while (sem_wait(&w->go) != 0)
        ;
    env_uv_run(w->env);
    return NULL;
}

/* Signals are the main thread's. */
static int start_threads(struct workers *w, struct cyx_err *err)
{
    sigset_t all, before;
    int rc = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 1; i < w->n && rc == 0; i++) {
        rc = pthread_create(&w->at[i].thread, NULL, run, &w->at[i]);
        w->at[i].has_thread = rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0 ? 0
                   : cyx_fail(err, CYX_ENOMEM, "no thread for each of %u workers: %s", w->n,
                              strerror(rc));
}

static int create_mesh(struct worker *w, const struct mesh_config *c, struct cyx_err *err)
{
    struct mesh_config own = *c;
    if (w->number > 0) {
        w->identity = secret_alloc(sizeof *w->identity);
        if (w->identity == NULL)
            return cyx_fail(err, CYX_ENOMEM, "no locked memory for worker %u's keys", w->number);
        *w->identity = *c->identity;
        own.identity = w->identity;
        /* All share one port, also one that the kernel chose for the first. */
        struct mesh_status s;
        mesh_get_status(w->all->at[0].mesh, &s);
        own.listen.port = s.local.port;
    }
    own.worker = w->number;
    own.n_workers = w->all->n;
    if (w->all->n > 1) {
        own.siblings = &siblings;
        own.siblings_arg = w;
    }
    w->mesh = mesh_create(w->env, &own, err);
    return w->mesh != NULL ? 0 : err->code;
}

static int open_mesh(struct worker *w, const struct mesh_config *c, struct cyx_err *err)
{
    int rc = create_mesh(w, c, err);
    if (rc == 0)
        rc = mesh_start(w->mesh, err);
    if (rc < 0) {
        mesh_destroy(w->mesh);
        w->mesh = NULL;
    }
    return rc;
}

int workers_open(struct workers *w, const struct mesh_config *c, struct cyx_err *err)
{
    struct cyx_err own = { 0 };
    err = err != NULL ? err : &own;
    int rc = start_threads(w, err);
    for (unsigned i = 0; i < w->n && rc == 0; i++)
        rc = open_mesh(&w->at[i], c, err);
    for (unsigned i = 1; i < w->n; i++)
        sem_post(&w->at[i].go);
    return rc;
}

void workers_hand_requests(struct workers *w, unsigned method)
{
    post_others(&w->at[0], &(struct message){ .kind = HAND, .number = method }, NULL, 0);
}

/* ---- stop ------------------------------------------------------------------------------------ */

static void end_loop(void *arg)
{
    struct worker *w = arg;
    env_uv_stop(w->env);
}

static void one_stopped(void *arg)
{
    struct worker *w = arg;
    struct workers *all = w->all;
    if (--all->n_stopping > 0)
        return;
    for (unsigned i = 1; i < all->n; i++)
        if (all->at[i].has_thread)
            env_post(all->at[i].env, end_loop, &all->at[i]);
    all->stopped(all->arg);
}

/* On the worker's thread. */
static void mesh_stopped(void *arg)
{
    struct worker *w = arg;
    if (w->number == 0)
        one_stopped(w);
    else
        env_post(w->all->at[0].env, one_stopped, w);
}

static void stop_one(void *arg)
{
    struct worker *w = arg;
    if (w->mesh != NULL)
        mesh_stop(w->mesh, mesh_stopped, w);
    else
        mesh_stopped(w);
}

void workers_stop(struct workers *w, env_fn done, void *arg)
{
    w->stopped = done;
    w->arg = arg;
    w->n_stopping = 1;
    for (unsigned i = 1; i < w->n; i++)
        w->n_stopping += w->at[i].has_thread;
    for (unsigned i = 1; i < w->n; i++)
        if (w->at[i].has_thread)
            env_post(w->at[i].env, stop_one, &w->at[i]);
    stop_one(&w->at[0]);
}

void workers_destroy(struct workers *w)
{
    if (w == NULL)
        return;
    for (unsigned i = 1; i < w->n; i++)
        if (w->at[i].has_thread)
            pthread_join(w->at[i].thread, NULL);
    for (unsigned i = 0; i < w->n; i++) {
        mesh_destroy(w->at[i].mesh);
        w->at[i].mesh = NULL;
    }
    for (unsigned i = w->n; i-- > 0;) { /* the first last: answers come to it */
        env_uv_destroy(w->at[i].env);
        mesh_identity_destroy(w->at[i].identity);
        sem_destroy(&w->at[i].go);
    }
    free(w);
}
