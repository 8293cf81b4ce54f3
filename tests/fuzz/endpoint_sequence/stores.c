/* Lookups and stores: the last records that were stored, and answers of the input's choice. Stands
 * in for onion/ask.c. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "onion/service_internal.h"
#include "tests/fuzz/endpoint_sequence/world.h"

enum { KEPT = 4, ANSWER_MS = 20 };

struct onion_asks {
    struct list all;
    struct env *env;
};

struct onion_ask {
    struct list node;
    struct onion_asks *of;
    struct env_timer timer;
    int code; /* what is answered */
    bool is_old;
    uint8_t keys[DHT_REPLICAS][DHT_ID];
    size_t n_keys;
    onion_found_fn found;
    onion_stored_fn stored;
    void *arg;
};

static struct {
    size_t len;
    uint8_t bytes[DHT_DESCRIPTOR_MAX];
} kept[KEPT];
static size_t n_kept;
static struct {
    uint8_t code, answers;
    bool is_old, asks_none;
} mood;

void stores_begin(void)
{
    n_kept = 0;
    memset(&mood, 0, sizeof mood);
}

void stores_mood(struct reader *in)
{
    uint8_t bits = reader_u8(in);
    mood.code = bits & 7;
    mood.is_old = bits & 8;
    mood.asks_none = bits & 16;
    mood.answers = 1 + reader_u8(in) % 32;
}

static void keep(const uint8_t *record, size_t len)
{
    fuzz_must(len <= sizeof kept[0].bytes);
    memcpy(kept[n_kept % KEPT].bytes, record, len);
    kept[n_kept++ % KEPT].len = len;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static bool belongs(const struct onion_ask *k, const struct dht_value *v)
{
    for (size_t i = 0; i < k->n_keys; i++)
        if (dht_value_belongs(v, k->keys[i]))
            return true;
    return false;
}

static bool find(const struct onion_ask *k, uint64_t now, struct dht_value *out)
{
    bool has_one = false;
    for (size_t i = 0; i < n_kept && i < KEPT; i++) {
        struct dht_value v;
        if (dht_value_parse(&v, &world_net, now, kept[i].bytes, kept[i].len) != DROP_NONE ||
            !belongs(k, &v))
            continue;
        if (!has_one || (dht_value_compare(&v, out) > 0) != k->is_old)
            *out = v;
        has_one = true;
    }
    return has_one;
}

static void ask_free(struct onion_ask *k)
{
    env_timer_stop(k->of->env, &k->timer);
    list_del(&k->node);
    free(k);
}

static void answer(struct env_timer *t, void *arg)
{
    struct onion_ask own = *(struct onion_ask *)arg;
    struct dht_value v;
    uint64_t now = (uint64_t)env_wall_ms(own.of->env) / 1000;
    (void)t;
    ask_free(arg);
    if (own.stored != NULL) {
        own.stored(own.arg, own.code);
        return;
    }
    if (own.code == 0 && !find(&own, now, &v))
        own.code = CYX_ENOENT;
    const struct onion_answer_found f = {
        .values = &v, .n = own.code == 0, .answered = 2, .ns = ENV_MS(ANSWER_MS)
    };
    own.found(own.arg, own.code, &f);
}

static struct onion_ask *ask_new(struct onion_asks *a, void *arg, struct cyx_err *err)
{
    static const int codes[] = {
        0, CYX_ENOENT, CYX_ETIMEDOUT, CYX_EAGAIN, CYX_EEXIST, CYX_EIO, 0, 0
    };
    struct onion_ask *k = mood.asks_none ? NULL : calloc(1, sizeof *k);
    if (k == NULL) {
        cyx_fail(err, CYX_EFULL, "too many questions");
        return NULL;
    }
    k->of = a;
    k->arg = arg;
    if (mood.answers > 0) {
        mood.answers--;
        k->code = codes[mood.code];
        k->is_old = mood.is_old;
    }
    list_init(&k->node);
    list_push_back(&a->all, &k->node);
    env_timer_init(&k->timer, answer, k);
    env_timer_in(a->env, &k->timer, ENV_MS(ANSWER_MS));
    return k;
}

struct onion_ask *onion_ask_find(struct onion_asks *a, const struct onion_purpose *why,
                                 const uint8_t (*keys)[DHT_ID], size_t n_keys, unsigned type,
                                 onion_found_fn done, void *arg, struct cyx_err *err)
{
    struct onion_ask *k = ask_new(a, arg, err);
    (void)why;
    fuzz_must(n_keys <= DHT_REPLICAS && type == MESH_RECORD_DESCRIPTOR);
    if (k == NULL)
        return NULL;
    k->found = done;
    k->n_keys = n_keys;
    memcpy(k->keys, keys, n_keys * DHT_ID);
    return k;
}

struct onion_ask *onion_ask_store(struct onion_asks *a, const struct onion_purpose *why,
                                  const uint8_t *record, size_t len, onion_stored_fn done,
                                  void *arg, struct cyx_err *err)
{
    struct onion_ask *k = ask_new(a, arg, err);
    (void)why;
    if (k == NULL)
        return NULL;
    k->stored = done;
    if (k->code == 0)
        keep(record, len);
    return k;
}

void onion_ask_thoroughly(struct onion_ask *k)
{
    fuzz_must(k->found != NULL);
}

void onion_ask_cancel(struct onion_ask *k)
{
    if (k != NULL)
        ask_free(k);
}

/* ---- another descriptor -----------------------------------------------------------------------
 */

static void inner_of(struct reader *in, const struct service_period *p, struct onion_inner *out)
{
    uint8_t how = reader_u8(in);
    *out = (struct onion_inner){ .handshakes = ONION_HANDSHAKE_X25519 };
    memcpy(out->service_key, p->key.pub, 32);
    if (how & 1)
        memset(out->service_key, how, 32);
    out->n_pivots = 1 + (how >> 1 & 7);
    for (unsigned i = 0; i < out->n_pivots; i++) {
        relays_id(out->pivots[i].id, i);
        pivots_token(out->pivots[i].token, reader_u8(in));
    }
    out->ask_ports = how & 0x10;
    out->n_ports = out->ask_ports ? 0 : 2;
    out->ports[0] = (struct onion_port){ 53, 1 + reader_u8(in) % 3 };
    out->ports[1] = (struct onion_port){ 80, 1 + reader_u8(in) % 3 };
    out->has_proof = how & 0x20;
    out->effort = out->has_proof ? reader_u16(in) : 0;
}

void stores_reseal(struct onion *o, struct reader *in)
{
    uint8_t record[DHT_DESCRIPTOR_MAX];
    struct onion_inner inner;
    const struct onion_service *s = talk_the_service();
    const struct service_period *p = s != NULL ? &s->periods[reader_u8(in) & 1] : NULL;
    if (p == NULL || p->period == 0 || !p->has_proof)
        return;
    inner_of(in, p, &inner);
    const struct onion_seal seal = { .address = s->address,
                                     .delegation = &p->delegations->list[0],
                                     .proof = p->proof,
                                     .sequence = p->sequence + 1 + reader_u8(in) % 4,
                                     .inner = &inner,
                                     .is_for_clients = reader_u8(in) & 1 };
    int len = onion_descriptor_seal(&seal, &world_net, o->env, record, NULL);
    if (len > 0)
        keep(record, (size_t)len);
}

/* ---- the rest of onion/ask.h ------------------------------------------------------------------
 */

struct onion_asks *onion_asks_create(struct onion_paths *paths, struct onion_picker *picker)
{
    struct onion_asks *a = calloc(1, sizeof *a);
    (void)picker;
    fuzz_must(a != NULL);
    a->env = mesh_env(onion_paths_mesh(paths));
    list_init(&a->all);
    return a;
}

void onion_asks_start(struct onion_asks *a)
{
    (void)a;
}

/* Nobody waits any more: whoever asked took it back. */
void onion_asks_destroy(struct onion_asks *a)
{
    if (a == NULL)
        return;
    fuzz_must(list_empty(&a->all));
    free(a);
}

size_t onion_asks_ready(const struct onion_asks *a)
{
    (void)a;
    return 0;
}

void onion_asks_metrics(const struct onion_asks *a, metric_fn fn, void *arg)
{
    (void)a;
    (void)fn;
    (void)arg;
}
