#include "node/pseudonym.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/secret.h"

struct node_pseudonym {
    struct env *env;
    struct log *log;
    const struct mesh_network *network;
    struct dht_pseudonym *key; /* NULL: none yet */
    bool is_ready;             /* solved and on disk */
    struct cyx_err broken;     /* code != 0: the file is there and can't be used */
    struct list waiting;
    bool is_making;
    struct { /* the pool's, while it works */
        struct mesh_pow_subject subject;
        uint8_t nonce[16], proof[MESH_POW_PROOF];
        struct cyx_err err;
        int rc;
        atomic_bool cancel;
    } work;
    uint64_t sequence;
};

/* ---- at the start ---------------------------------------------------------------------------- */

static int load(struct node_pseudonym *p, struct cyx_err *err)
{
    uint8_t blob[DHT_PSEUDONYM_BLOB];
    size_t len = 0;
    int rc = env_blob_load(p->env, DHT_PSEUDONYM_FILE, blob, sizeof blob, &len, err);
    if (rc == CYX_ENOENT)
        return 0;
    if (rc == 0) {
        p->key = dht_pseudonym_decode(blob, len, err);
        rc = p->key != NULL ? 0 : cyx_wrap(err, "%s", DHT_PSEUDONYM_FILE);
    }
    sodium_memzero(blob, sizeof blob);
    if (rc < 0)
        return rc;
    /* Made for a network with less effort: the same key gets a better proof when it is needed. */
    p->is_ready = p->key->has_puzzle &&
                  dht_pseudonym_set_puzzle(p->key, p->network, p->key->puzzle, NULL) == 0;
    return 0;
}

struct node_pseudonym *node_pseudonym_open(struct env *env, struct log *log,
                                           const struct mesh_network *network)
{
    struct node_pseudonym *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->env = env;
    p->log = log;
    p->network = network;
    list_init(&p->waiting);
    if (load(p, &p->broken) < 0)
        log_warn(log, "pseudonym", "%s", p->broken.msg);
    else
        p->broken = (struct cyx_err){ 0 };
    return p;
}

/* ---- making one ------------------------------------------------------------------------------ */

static void tell(struct node_pseudonym *p, const struct cyx_err *err)
{
    struct list all; /* a callback may ask again */
    list_init(&all);
    while (!list_empty(&p->waiting)) {
        struct list *first = p->waiting.next;
        list_del(first);
        list_push_back(&all, first);
    }
    while (!list_empty(&all)) {
        struct node_pseudonym_wait *w = container_of(all.next, struct node_pseudonym_wait, node);
        list_del(&w->node);
        w->fn(w->arg, err == NULL ? p->key : NULL, err);
    }
}

static void on_stored(void *arg, int code)
{
    struct node_pseudonym *p = arg;
    struct cyx_err err = { 0 };
    p->is_making = false;
    p->is_ready = code == 0;
    if (code != 0)
        cyx_fail(&err, code, "%s can't be written (%s): make room in the data folder",
                 DHT_PSEUDONYM_FILE, cyx_code_name(code));
    else
        log_info(p->log, "pseudonym", "made: it signs what this node announces");
    tell(p, code == 0 ? NULL : &err);
}

static void solve(void *arg)
{
    struct node_pseudonym *p = arg;
    p->work.rc = mesh_pow_solve(&p->work.subject, p->network->id_effort, p->work.nonce,
                                &p->work.cancel, p->work.proof, &p->work.err);
}

static void on_solved(void *arg, int code)
{
    struct node_pseudonym *p = arg;
    uint8_t blob[DHT_PSEUDONYM_BLOB];
    struct cyx_err err = p->work.err;
    if (code == 0)
        code = p->work.rc;
    if (code == CYX_ECANCELED)
        cyx_fail(&err, code, "the daemon is stopping");
    if (code == 0)
        code = dht_pseudonym_set_puzzle(p->key, p->network, p->work.proof, &err);
    if (code != 0) {
        p->is_making = false;
        tell(p, &err);
        return;
    }
    dht_pseudonym_encode(p->key, blob);
    env_blob_store(p->env, DHT_PSEUDONYM_FILE, blob, sizeof blob, on_stored, p);
    sodium_memzero(blob, sizeof blob);
}

static int make(struct node_pseudonym *p, struct cyx_err *err)
{
    if (p->key == NULL)
        p->key = dht_pseudonym_create(p->env, err);
    if (p->key == NULL)
        return err->code;
    dht_pseudonym_subject(p->key, &p->work.subject);
    env_random(p->env, p->work.nonce, sizeof p->work.nonce);
    p->work.err = (struct cyx_err){ 0 };
    int rc = env_work(p->env, solve, on_solved, p, NULL);
    p->is_making = rc == 0;
    return rc == 0 ? 0 : cyx_fail(err, rc, "no memory for the puzzle");
}

/* ---- for others ------------------------------------------------------------------------------ */

void node_pseudonym_get(struct node_pseudonym *p, struct node_pseudonym_wait *w)
{
    struct cyx_err err = p->broken;
    list_init(&w->node);
    if (err.code == 0 && atomic_load(&p->work.cancel))
        cyx_fail(&err, CYX_ECANCELED, "the daemon is stopping");
    if (err.code == 0 && !p->is_ready && !p->is_making)
        (void)make(p, &err);
    if (err.code != 0)
        w->fn(w->arg, NULL, &err);
    else if (p->is_ready)
        w->fn(w->arg, p->key, NULL);
    else
        list_push_back(&p->waiting, &w->node);
}

void node_pseudonym_forget(struct node_pseudonym_wait *w)
{
    list_del(&w->node);
}

uint64_t node_pseudonym_sequence(struct node_pseudonym *p, uint64_t now)
{
    enum { A_SECOND = 1000 }; /* records that differ within one second have their order */
    uint64_t next = now * A_SECOND;
    p->sequence = next > p->sequence ? next : p->sequence + 1;
    return p->sequence;
}

void node_pseudonym_stop(struct node_pseudonym *p)
{
    atomic_store(&p->work.cancel, true);
}

void node_pseudonym_destroy(struct node_pseudonym *p)
{
    if (p == NULL)
        return;
    dht_pseudonym_destroy(p->key);
    free(p);
}
