/* mesh/known.c - which nodes we can tell others about: listed peers that a link led to within 24 h.
 * Unreachable ids don't spread. Spec: protocol.md, section 6, FIND with type 0. */
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "mesh/link_internal.h"

enum {
    NEAREST_MAX = 16,
    FRESH_S = 24 * 3600,
};

struct nearest {
    const uint8_t *key;
    uint64_t oldest_s;
    size_t n, most;
    const struct mesh_peer_entry *at[NEAREST_MAX]; /* nearest first */
};

/* Is `a` nearer to the key than `b`, by XOR? */
static bool is_nearer(const uint8_t *key, const uint8_t *a, const uint8_t *b)
{
    for (unsigned i = 0; i < 32; i++)
        if (a[i] != b[i])
            return (a[i] ^ key[i]) < (b[i] ^ key[i]);
    return false;
}

static bool consider(void *arg, const struct mesh_peer_entry *e)
{
    struct nearest *q = arg;
    if (e->seen_s < q->oldest_s)
        return true;
    size_t i = q->n;
    while (i > 0 && is_nearer(q->key, e->id, q->at[i - 1]->id))
        i--;
    if (i == q->most)
        return true;
    if (q->n < q->most)
        q->n++;
    memmove(&q->at[i + 1], &q->at[i], (q->n - i - 1) * sizeof q->at[0]);
    q->at[i] = e;
    return true;
}

size_t mesh_known_nearest(struct mesh *m, const uint8_t key[static 32], size_t most,
                          void (*fn)(void *arg, const uint8_t *record, size_t len), void *arg)
{
    uint64_t now = mesh_time(m);
    struct nearest q = { .key = key, .most = most < NEAREST_MAX ? most : NEAREST_MAX };
    q.oldest_s = now > FRESH_S ? now - FRESH_S : 0;
    if (m->remembered == NULL || q.most == 0)
        return 0;
    mesh_remembered_each(m->remembered, consider, &q);
    for (size_t i = 0; i < q.n; i++)
        fn(arg, q.at[i]->record, q.at[i]->record_len);
    return q.n;
}

/* ---- FIND ------------------------------------------------------------------------------------ */

struct answer {
    msgpack_packer pk;
    struct writer w;
    unsigned n;
};

static void pack_record(void *arg, const uint8_t *record, size_t len)
{
    struct answer *a = arg;
    mp_pack_bin(&a->pk, record, len);
    a->n++;
}

/* [key 32, type, most]: only nodes (type 0) here; dht/ takes the method over with the rest. */
void mesh__find_serve(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct mesh *m = arg;
    const uint8_t *key;
    uint64_t type = 0, most = 0;
    uint8_t buf[NEAREST_MAX * (MESH_NODE_RECORD_MAX + 3)];
    struct answer a = { .w = writer_on(buf, sizeof buf) };
    if (n < 3 || !mp_bin(&items[0], 32, &key) || !mp_u64(&items[1], &type) ||
        !mp_u64(&items[2], &most)) {
        mesh_reply(rq, MESH_RPC_BAD, NULL);
        return;
    }
    if (!m->config.is_listed || type != 0) {
        mesh_reply(rq, m->config.is_listed ? MESH_RPC_NOT_FOUND : MESH_RPC_REFUSED, NULL);
        return;
    }
    mp_packer(&a.pk, &a.w);
    m->n.finds_served++;
    mesh_known_nearest(m, key, most < NEAREST_MAX ? (size_t)most : NEAREST_MAX, pack_record, &a);
    mesh_reply(rq, MESH_RPC_OK,
               &(struct mesh_items){ .data = buf, .len = writer_len(&a.w), .n = a.n });
}
