/* onion/ask.c - a question and its legs: each waits for a path, asks, hears or goes to another
 * path. A lookup is over when all legs are, or shortly after the first record; a store with its one
 * leg. Spec: protocol.md, section 10, "At END". */
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "base/writer.h"
#include "onion/ask_internal.h"

static void leg_next(struct ask_leg *l);

/* ---- ends -------------------------------------------------------------------------------------
 */

static void leg_off(struct ask_leg *l)
{
    env_timer_stop(l->ask->asks->env, &l->timer);
    if (l->on != NULL)
        ask__path_forget(l->on, l);
    l->on = NULL;
    l->is_waiting = false;
}

/* Nothing happens to it any more. */
static void ask_out(struct onion_ask *k)
{
    struct env *e = k->asks->env;
    env_timer_stop(e, &k->timer);
    env_timer_stop(e, &k->limit);
    for (unsigned i = 0; i < k->n_legs; i++)
        leg_off(&k->legs[i]);
}

static void ask_memory_free(struct onion_ask *k)
{
    for (unsigned i = 0; i < ONION_ASK_LEGS; i++)
        free(k->message[i]);
    for (size_t i = 0; i < k->n_values; i++)
        free((void *)(uintptr_t)k->values[i].data);
}

static void ask_free(struct onion_ask *k)
{
    struct onion_asks *a = k->asks;
    ask_out(k);
    ask_memory_free(k);
    list_del(&k->node);
    a->n_all--;
    free(k);
}

void onion_ask_cancel(struct onion_ask *k)
{
    if (k != NULL)
        ask_free(k);
}

/* The best of what the legs say: an answer, even a no, above silence. */
static int verdict(const struct onion_ask *k)
{
    int code = CYX_EAGAIN;
    for (unsigned i = 0; i < k->n_legs; i++) {
        int c = k->legs[i].is_done ? k->legs[i].code : CYX_EAGAIN;
        if (c == 0)
            return 0;
        if (code == CYX_EAGAIN || (code == CYX_ETIMEDOUT && c != CYX_EAGAIN))
            code = c;
    }
    return code;
}

static void finish(struct onion_ask *k)
{
    struct onion_asks *a = k->asks;
    int code = k->n_values > 0 ? 0 : verdict(k);
    struct onion_answer_found f = { .values = k->values,
                                    .n = k->n_values,
                                    .answered = k->answered,
                                    .ns = env_now_ns(a->env) - k->begun_ns };
    /* Out of the list first: the callback may ask anew, cancel others, or end us. */
    ask_out(k);
    a->c.found += !k->is_store && code == 0;
    a->c.missing += !k->is_store && code != 0;
    a->c.stored += k->is_store && code == 0;
    k->n_legs = 0;
    list_del(&k->node);
    list_init(&k->node);
    a->n_all--;
    if (k->is_store)
        k->stored(k->arg, code);
    else
        k->found(k->arg, code, &f);
    ask_memory_free(k);
    free(k);
}

static bool all_done(const struct onion_ask *k)
{
    for (unsigned i = 0; i < k->n_legs; i++)
        if (!k->legs[i].is_done)
            return false;
    return true;
}

/* From the loop: whoever called may still hold the leg's path. */
static void ask_over(struct env_timer *t, void *arg)
{
    (void)t;
    finish(arg);
}

static void check_over(struct onion_ask *k)
{
    struct env *e = k->asks->env;
    if (all_done(k)) {
        env_timer_in(e, &k->timer, 0);
    } else if (k->n_values > 0 && !k->is_waiting_second && !k->is_thorough) {
        uint64_t wait = env_now_ns(e) - k->begun_ns;
        k->is_waiting_second = true;
        env_timer_in(e, &k->timer,
                     wait > ENV_MS(ASK__AFTER_FIRST_MS) ? wait : ENV_MS(ASK__AFTER_FIRST_MS));
    }
}

void ask__leg_done(struct ask_leg *l, int code)
{
    leg_off(l);
    l->is_done = true;
    l->code = code;
    check_over(l->ask);
}

/* ---- asking -----------------------------------------------------------------------------------
 */

static void leg_timer(struct env_timer *t, void *arg)
{
    struct ask_leg *l = arg;
    struct onion_asks *a = l->ask->asks;
    (void)t;
    if (l->is_waiting) {
        l->is_lenient = true;
        leg_next(l);
        return;
    }
    if (!l->was_repeated && l->on != NULL) {
        l->was_repeated = true;
        a->c.repeats++;
        (void)ask__path_send(l->on, l);
        env_timer_in(a->env, &l->timer, ENV_MS(ONION_ASK_MS - ASK__REPEAT_MS));
        return;
    }
    leg_off(l);
    leg_next(l);
}

static bool leg_send(struct ask_leg *l, struct ask_path *p)
{
    struct onion_asks *a = l->ask->asks;
    l->id = UINT32_MAX; /* of no call: a new one is given */
    l->was_repeated = false;
    if (ask__path_send(p, l) != 0)
        return false;
    l->on = p;
    l->is_waiting = false;
    l->tries++;
    memcpy(l->ask->ends[l->ask->n_ends++], p->route.hops[p->route.n_hops - 1].id, 32);
    env_timer_in(a->env, &l->timer, ENV_MS(ASK__REPEAT_MS));
    return true;
}

static void leg_next(struct ask_leg *l)
{
    struct onion_asks *a = l->ask->asks;
    struct ask_path *p;
    if (l->tries == ONION_ASK_TRIES) {
        ask__leg_done(l, CYX_ETIMEDOUT);
        return;
    }
    p = ask__path_for(a, l);
    if (p != NULL && leg_send(l, p)) {
        a->c.moved += l->tries > 1;
        ask__fill(a); /* the next one is made ready */
        return;
    }
    l->is_waiting = true;
    env_timer_in(a->env, &l->timer, ENV_MS(ASK__SETTLE_MS));
    ask__fill(a);
}

/* However its legs fare: whoever asked is told by now. */
static void limit(struct env_timer *t, void *arg)
{
    struct onion_ask *k = arg;
    (void)t;
    for (unsigned i = 0; i < k->n_legs; i++)
        if (!k->legs[i].is_done)
            ask__leg_done(&k->legs[i], k->legs[i].tries > 0 ? CYX_ETIMEDOUT : CYX_EAGAIN);
}

void ask__path_open(struct onion_asks *a)
{
    list_each (node, &a->all) {
        struct onion_ask *k = container_of(node, struct onion_ask, node);
        for (unsigned i = 0; i < k->n_legs; i++) {
            struct ask_path *p = k->legs[i].is_waiting ? ask__path_for(a, &k->legs[i]) : NULL;
            if (p != NULL && leg_send(&k->legs[i], p)) {
                ask__fill(a);
                return;
            }
        }
    }
}

static struct ask_leg *leg_on(struct onion_asks *a, const struct ask_path *p)
{
    list_each (node, &a->all) {
        struct onion_ask *k = container_of(node, struct onion_ask, node);
        for (unsigned i = 0; i < k->n_legs; i++)
            if (k->legs[i].on == p)
                return &k->legs[i];
    }
    return NULL;
}

void ask__leg_elsewhere(struct ask_leg *l)
{
    leg_off(l);
    leg_next(l);
}

void ask__path_lost(struct ask_path *p)
{
    struct ask_leg *l;
    while ((l = leg_on(p->asks, p)) != NULL)
        ask__leg_elsewhere(l);
}

static bool is_all_waiting(const struct onion_ask *k)
{
    for (unsigned i = 0; i < k->n_legs; i++)
        if (!k->legs[i].is_waiting && !k->legs[i].is_done)
            return false;
    return true;
}

/* Nothing open and nothing coming: those that wait hear it, unless they have waited for less than a
 * path takes. */
void ask__no_way(struct onion_asks *a)
{
    uint64_t now = env_now_ns(a->env);
    list_each (node, &a->all) {
        struct onion_ask *k = container_of(node, struct onion_ask, node);
        if (!is_all_waiting(k) || now - k->begun_ns < ENV_MS(ONION_ASK_MS))
            continue;
        for (unsigned i = 0; i < k->n_legs; i++)
            if (k->legs[i].is_waiting)
                ask__leg_done(&k->legs[i], CYX_EAGAIN);
    }
}

/* ---- questions ---------------------------------------------------------------------------------
 */

static struct onion_ask *ask_new(struct onion_asks *a, const struct onion_purpose *why,
                                 unsigned n_legs, void *arg, struct cyx_err *err)
{
    struct onion_ask *k = a->n_all < ONION_ASKS_MAX ? calloc(1, sizeof *k) : NULL;
    if (k == NULL) {
        cyx_fail(err, a->n_all < ONION_ASKS_MAX ? CYX_ENOMEM : CYX_EFULL, "%d lookups wait",
                 ONION_ASKS_MAX);
        return NULL;
    }
    k->asks = a;
    k->why = *why;
    k->n_legs = n_legs;
    k->arg = arg;
    k->begun_ns = env_now_ns(a->env);
    env_timer_init(&k->timer, ask_over, k);
    env_timer_init(&k->limit, limit, k);
    env_timer_in(a->env, &k->limit, ENV_MS(ONION_ASK_TOTAL_MS));
    for (unsigned i = 0; i < n_legs; i++) {
        k->legs[i].ask = k;
        env_timer_init(&k->legs[i].timer, leg_timer, &k->legs[i]);
    }
    list_init(&k->node);
    list_push_back(&a->all, &k->node);
    a->n_all++;
    return k;
}

static struct onion_ask *begin(struct onion_ask *k, struct cyx_err *err)
{
    for (unsigned i = 0; i < k->n_legs; i++) {
        if (k->message[i] == NULL) {
            cyx_fail(err, CYX_ENOMEM, "no memory for a lookup");
            ask_free(k);
            return NULL;
        }
    }
    for (unsigned i = 0; i < k->n_legs; i++)
        leg_next(&k->legs[i]);
    return k;
}

/* [FIND, key, type, most] */
static uint8_t *find_message(const uint8_t key[static DHT_ID], unsigned type, size_t *len)
{
    uint8_t buf[64];
    struct writer w = writer_on(buf, sizeof buf);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    msgpack_pack_array(&pk, 4);
    msgpack_pack_uint32(&pk, MESH_METHOD_FIND);
    mp_pack_bin(&pk, key, DHT_ID);
    msgpack_pack_uint32(&pk, type);
    msgpack_pack_uint32(&pk, ASK__VALUES);
    *len = writer_len(&w);
    uint8_t *out = writer_ok(&w) ? malloc(*len) : NULL;
    if (out != NULL)
        memcpy(out, buf, *len);
    return out;
}

struct onion_ask *onion_ask_find(struct onion_asks *a, const struct onion_purpose *why,
                                 const uint8_t (*keys)[DHT_ID], size_t n_keys, unsigned type,
                                 onion_found_fn done, void *arg, struct cyx_err *err)
{
    struct onion_ask *k = ask_new(a, why, ONION_ASK_LEGS, arg, err);
    if (k == NULL)
        return NULL;
    k->found = done;
    k->type = type;
    a->c.finds++;
    for (unsigned i = 0; i < ONION_ASK_LEGS; i++) {
        memcpy(k->keys[i], keys[i % n_keys], DHT_ID);
        k->message[i] = find_message(k->keys[i], type, &k->len[i]);
    }
    return begin(k, err);
}

void onion_ask_thoroughly(struct onion_ask *k)
{
    k->is_thorough = true;
}

/* [STORE, record] */
static uint8_t *store_message(const uint8_t *record, size_t n, size_t *len)
{
    size_t cap = n + 16;
    uint8_t *out = malloc(cap);
    if (out == NULL)
        return NULL;
    struct writer w = writer_on(out, cap);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    msgpack_pack_array(&pk, 2);
    msgpack_pack_uint32(&pk, MESH_METHOD_STORE);
    mp_pack_bin(&pk, record, n);
    *len = writer_len(&w);
    return out;
}

struct onion_ask *onion_ask_store(struct onion_asks *a, const struct onion_purpose *why,
                                  const uint8_t *record, size_t len, onion_stored_fn done,
                                  void *arg, struct cyx_err *err)
{
    struct onion_ask *k = ask_new(a, why, 1, arg, err);
    if (k == NULL)
        return NULL;
    k->is_store = true;
    k->stored = done;
    a->c.stores++;
    k->message[0] = store_message(record, len, &k->len[0]);
    return begin(k, err);
}

/* ---- life --------------------------------------------------------------------------------------
 */

static void fill_again(struct env_timer *t, void *arg)
{
    struct onion_asks *a = arg;
    (void)t;
    ask__fill(a);
}

struct onion_asks *onion_asks_create(struct onion_paths *paths, struct onion_picker *picker)
{
    struct onion_asks *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    a->own = paths;
    a->picker = picker;
    a->mesh = onion_paths_mesh(paths);
    a->env = mesh_env(a->mesh);
    a->pool = mesh_inbox_pool_create(MESH_INBOX_ALL_BYTES);
    list_init(&a->paths);
    list_init(&a->all);
    env_timer_init(&a->fill, fill_again, a);
    if (a->pool != NULL)
        return a;
    free(a);
    return NULL;
}

void onion_asks_start(struct onion_asks *a)
{
    env_timer_in(a->env, &a->fill, 0);
}

void onion_asks_destroy(struct onion_asks *a)
{
    if (a == NULL)
        return;
    while (!list_empty(&a->all))
        ask_free(container_of(a->all.next, struct onion_ask, node));
    ask__paths_stop(a);
    mesh_inbox_pool_destroy(a->pool);
    free(a);
}

void onion_asks_metrics(const struct onion_asks *a, metric_fn fn, void *arg)
{
    const struct metric_out o = { fn, arg };
    metric_bound(&o, "cyx_onion_used", "cyx_onion_limit", "lookup_paths", a->n_paths,
                 ONION_ASK_PATHS);
    metric_bound(&o, "cyx_onion_used", "cyx_onion_limit", "lookups", a->n_all, ONION_ASKS_MAX);
    metric_gauge(&o, "cyx_onion_paths_ready", "paths to ENDs that stand ready",
                 onion_asks_ready(a));
    metric_counter(&o, "cyx_onion_finds_total", "lookups through paths", a->c.finds);
    metric_counter(&o, "cyx_onion_finds_found_total", "... that found a record", a->c.found);
    metric_counter(&o, "cyx_onion_finds_missing_total", "... that found none", a->c.missing);
    metric_counter(&o, "cyx_onion_stores_total", "records stored through paths", a->c.stores);
    metric_counter(&o, "cyx_onion_stores_done_total", "... that were taken", a->c.stored);
    metric_counter(&o, "cyx_onion_ask_repeats_total", "requests sent once more", a->c.repeats);
    metric_counter(&o, "cyx_onion_ask_moved_total", "requests that went to another path",
                   a->c.moved);
    metric_counter(&o, "cyx_onion_ask_refused_total", "requests that an END refused", a->c.refused);
    metric_counter(&o, "cyx_onion_ask_bad_total", "malformed answers", a->c.bad);
    metric_counter(&o, "cyx_onion_ask_records_refused_total", "records that didn't prove good",
                   a->c.values_refused);
}
