/* `dht-put`, `dht-announce`. What was begun goes on when the caller goes away: a record that is out
 * at three stores is best brought to all. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "node/methods_dht_internal.h"
#include "node/pseudonym.h"

struct publication {
    struct node *n;
    struct node_call *call; /* NULL: the caller is gone */
    const char *stage;      /* what progress says */
    uint64_t began_ns;
    struct env_timer timer;
    struct node_pseudonym_wait wait;
    struct dht_provider provider; /* dht-announce */
    struct dht_value value;       /* borrows from `record` */
    uint8_t record[MESH_RECORD_MAX];
};

/* ---- the caller ------------------------------------------------------------------------------ */

static void on_timer(struct env_timer *t, void *arg)
{
    struct publication *p = arg;
    node__dht_progress(p->n, p->call, p->stage, p->began_ns);
    env_timer_in(node_env(p->n), t, ENV_MS(DHT_PROGRESS_MS));
}

static void on_cancelled(void *arg)
{
    struct publication *p = arg;
    env_timer_stop(node_env(p->n), &p->timer);
    p->call = NULL;
}

static struct publication *create(struct node *n, struct node_call *call, const char *stage)
{
    struct publication *p = calloc(1, sizeof *p);
    if (p == NULL) {
        node_reply_error(call, CYX_ENOMEM, "no memory for the record");
        return NULL;
    }
    p->n = n;
    p->call = call;
    p->stage = stage;
    p->began_ns = env_now_ns(node_env(n));
    env_timer_init(&p->timer, on_timer, p);
    env_timer_in(node_env(n), &p->timer, ENV_MS(DHT_PROGRESS_MS));
    control_on_cancel(call, on_cancelled, p);
    return p;
}

/* The call, which is the caller's to answer now; NULL when nobody waits. Frees. */
static struct node_call *finish(struct publication *p)
{
    struct node_call *call = p->call;
    env_timer_stop(node_env(p->n), &p->timer);
    if (call != NULL)
        control_on_cancel(call, NULL, NULL);
    free(p);
    return call;
}

static void fail(struct publication *p, int code, const char *text)
{
    struct node_call *call = finish(p);
    if (call != NULL)
        node_reply_error(call, code, "%s", text);
}

/* ---- how it went ----------------------------------------------------------------------------- */

static void pack_stored(msgpack_packer *pk, const struct publication *p, const struct dht_stored *s)
{
    const struct dht_value *v = &p->value;
    msgpack_pack_map(pk, 10);
    node__pack_kv_str(pk, "type", v->type->name);
    node__pack_kv_hex(pk, "publisher", v->head.publisher);
    node__pack_kv_u64(pk, "sequence", v->head.sequence);
    node__pack_kv_u64(pk, "expiry", v->head.expiry);
    mp_pack_str(pk, "places");
    msgpack_pack_array(pk, v->n_places);
    for (unsigned i = 0; i < v->n_places; i++) {
        char hex[2 * DHT_ID + 1];
        mp_pack_str(pk, sodium_bin2hex(hex, sizeof hex, v->places[i], DHT_ID));
    }
    node__pack_kv_u64(pk, "asked", s->asked);
    node__pack_kv_u64(pk, "stored", s->stored);
    node__pack_kv_u64(pk, "stale", s->stale);
    node__pack_kv_u64(pk, "refused", s->refused);
    node__pack_kv_s(pk, "time", (double)(env_now_ns(node_env(p->n)) - p->began_ns) / 1e9);
}

static void why_not(int code, const struct dht_stored *s, char *out, size_t cap)
{
    switch (code) {
    case CYX_EEXIST:
        snprintf(out, cap,
                 "a newer record of this publisher is out there (%u of %u stores asked hold it): "
                 "sign one with a greater sequence",
                 s->stale, s->asked);
        break;
    case CYX_EIO:
        snprintf(out, cap,
                 "too few stores took it: %u of %u asked; %u refused (their rules or quotas), %u "
                 "hold a newer one, the others did not answer",
                 s->stored, s->asked, s->refused, s->stale);
        break;
    case CYX_EAGAIN:
        snprintf(out, cap, "no node is known to ask: this node has not joined yet (`cyx doctor`)");
        break;
    case CYX_EFULL:
        snprintf(out, cap, "too many lookups wait already: try again in a moment");
        break;
    case CYX_ECANCELED:
        snprintf(out, cap, "the daemon is stopping");
        break;
    default:
        snprintf(out, cap, "the record is not out (%s): %u of %u stores asked took it",
                 cyx_code_name(code), s->stored, s->asked);
    }
}

static void on_stored(void *arg, int code, const struct dht_stored *s)
{
    static const struct dht_stored none;
    struct publication *p = arg;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    char text[256];
    s = s != NULL ? s : &none;
    if (code != 0) {
        why_not(code, s, text, sizeof text);
        fail(p, code, text);
        return;
    }
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    pack_stored(&pk, p, s);
    struct node_call *call = finish(p);
    if (call != NULL)
        control_reply_buf(call, &buf);
    else
        msgpack_sbuffer_destroy(&buf);
}

enum how { ONCE, AGAIN_AND_AGAIN };

/* Brings p->record out. */
static void publish(struct publication *p, size_t len, enum how how)
{
    struct mesh *mesh = node_mesh(p->n);
    struct cyx_err err = { 0 };
    enum drop d =
        dht_value_parse(&p->value, mesh_network_of(mesh), mesh_time(mesh), p->record, len);
    if (d == DROP_NONE)
        d = dht_value_verify(&p->value, mesh_network_of(mesh), mesh_time(mesh));
    int rc;
    if (d != DROP_NONE)
        rc = cyx_fail(&err, CYX_EINVAL, "no store would take the record: %s", node__dht_why(d));
    else if (how == ONCE)
        rc = dht_put(p->n->dht, p->record, len, on_stored, p, &err);
    else
        rc = dht_publish(p->n->dht, p->record, len, on_stored, p, &err);
    if (rc < 0)
        fail(p, rc, err.msg);
}

/* ---- dht-put --------------------------------------------------------------------------------- */

const char *node__dht_why(enum drop d)
{
    switch (d) {
    case DROP_SHORT:
        return "it is shorter than it says (was it cut?)";
    case DROP_LONG:
        return "it is longer than its type allows";
    case DROP_TYPE:
        return "its type is unknown to this version";
    case DROP_VERSION:
        return "its envelope is of another version";
    case DROP_EXPIRED:
        return "it has expired, or its expiry is farther ahead than its type allows";
    case DROP_PROOF:
        return "its proof of work is missing or worth too little in this network";
    case DROP_SIGNATURE:
        return "its signature does not hold in this network";
    case DROP_KEY:
        return "a key in it is no Ed25519 public key";
    default:
        return drop_name(d);
    }
}

void node__method_dht_put(void *state, struct node_call *call, const msgpack_object *params)
{
    const uint8_t *record = NULL;
    size_t len = 0;
    if (!node__dht_may_ask(state, call, params))
        return;
    if (!mp_bin_any(mp_get(params, "record"), &record, &len) || len == 0 || len > MESH_RECORD_MAX) {
        node_reply_error(call, CYX_EINVAL, "`record` is a signed record of at most %d bytes",
                         MESH_RECORD_MAX);
        return;
    }
    struct publication *p = create(state, call, "publishing");
    if (p == NULL)
        return;
    memcpy(p->record, record, len);
    publish(p, len, node__param_bool(params, "once") ? ONCE : AGAIN_AND_AGAIN);
}

/* ---- dht-announce ---------------------------------------------------------------------------- */

static void on_pseudonym(void *arg, const struct dht_pseudonym *key, const struct cyx_err *err)
{
    struct publication *p = arg;
    struct node *n = p->n;
    if (key != NULL && n->state == NODE_STOPPING) {
        fail(p, CYX_ECANCELED, "the daemon is stopping");
        return;
    }
    if (key == NULL) {
        fail(p, err->code, err->msg);
        return;
    }
    uint64_t now = mesh_time(node_mesh(n));
    memcpy(p->provider.puzzle, key->puzzle, sizeof p->provider.puzzle);
    p->provider.sequence = node_pseudonym_sequence(n->pseudonym, now);
    p->provider.expiry = now + dht_type_get(MESH_RECORD_PROVIDER)->life_s;
    int len = dht_provider_build(&p->provider, mesh_network_of(node_mesh(n)), key->sk, p->record);
    if (len < 0) {
        fail(p, len, "the record can't be built");
        return;
    }
    p->stage = "publishing";
    publish(p, (size_t)len, AGAIN_AND_AGAIN);
}

void node__method_dht_announce(void *state, struct node_call *call, const msgpack_object *params)
{
    struct node *n = state;
    struct dht_provider provider = { 0 };
    if (!node__dht_may_ask(n, call, params))
        return;
    if (node__param_hex(params, "content", provider.content) != 1 ||
        node__param_hex(params, "address", provider.address) != 1 ||
        node__param_u64(params, "size", 0, UINT64_MAX, &provider.size) != 1) {
        node_reply_error(call, CYX_EINVAL,
                         "want `content` and `address`, 64 hex digits each, and `size` in bytes");
        return;
    }
    struct publication *p = create(n, call, "making the pseudonym that signs it (once)");
    if (p == NULL)
        return;
    p->provider = provider;
    p->wait = (struct node_pseudonym_wait){ .fn = on_pseudonym, .arg = p };
    node_pseudonym_get(n->pseudonym, &p->wait);
}
