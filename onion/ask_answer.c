/* onion/ask_answer.c - what ENDs say: records are proven here, whoever hands them out; of each
 * publisher the newest counts. Spec: protocol.md, section 10, "At END". */
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "onion/ask_internal.h"

static bool is_wanted(const struct onion_ask *k, const struct dht_value *v)
{
    if (v->type->number != k->type)
        return false;
    for (unsigned i = 0; i < ONION_ASK_LEGS; i++)
        if (dht_value_belongs(v, k->keys[i]))
            return true;
    return false;
}

static struct dht_value *of_publisher(struct onion_ask *k, const struct dht_value *v)
{
    for (size_t i = 0; i < k->n_values; i++)
        if (memcmp(k->values[i].head.publisher, v->head.publisher, 32) == 0)
            return &k->values[i];
    return NULL;
}

/* Takes a copy: the newest of each publisher. `v` is proven. */
static void keep(struct onion_ask *k, const struct dht_value *v, uint64_t now)
{
    struct dht_value *old = of_publisher(k, v), copy;
    if (old != NULL && dht_value_compare(v, old) <= 0)
        return;
    if (old == NULL && k->n_values == ASK__VALUES)
        return;
    uint8_t *data = malloc(v->len);
    if (data == NULL)
        return;
    memcpy(data, v->data, v->len);
    if (dht_value_parse(&copy, mesh_network_of(k->asks->mesh), now, data, v->len) != DROP_NONE) {
        free(data);
        return;
    }
    if (old != NULL)
        free((void *)(uintptr_t)old->data);
    else
        old = &k->values[k->n_values++];
    *old = copy;
}

/* Is it a record that was asked for, and proven? */
static bool take_value(struct onion_ask *k, const uint8_t *data, size_t len)
{
    const struct mesh_network *net = mesh_network_of(k->asks->mesh);
    uint64_t now = mesh_time(k->asks->mesh);
    struct dht_value v;
    if (dht_value_parse(&v, net, now, data, len) != DROP_NONE || !is_wanted(k, &v) ||
        dht_value_verify(&v, net, now) != DROP_NONE) {
        k->asks->c.values_refused++;
        return false;
    }
    keep(k, &v, now);
    return true;
}

/* An END that hands out nothing but what doesn't hold has answered nothing. */
static int find_answered(struct onion_ask *k, uint64_t status, const msgpack_object *items,
                         unsigned n)
{
    unsigned good = 0;
    const uint8_t *data;
    size_t len;
    for (unsigned i = 0; i < n && i < ASK__VALUES; i++)
        good += mp_bin_any(&items[i], &data, &len) && take_value(k, data, len);
    if (good > 0)
        return 0;
    if (n > 0)
        return CYX_EIO;
    return status == MESH_RPC_OK || status == MESH_RPC_NOT_FOUND ? CYX_ENOENT : CYX_EIO;
}

static int store_answered(uint64_t status)
{
    switch (status) {
    case MESH_RPC_OK:
        return 0;
    case MESH_RPC_STALE:
        return CYX_EEXIST;
    default:
        return CYX_EIO;
    }
}

/* An END that is busy or broken isn't the last word. */
static void answered(struct ask_leg *l, uint64_t status, const msgpack_object *items, unsigned n)
{
    struct onion_ask *k = l->ask;
    int code = k->is_store ? store_answered(status) : find_answered(k, status, items, n);
    k->answered++;
    if (code == CYX_EIO && l->tries < ONION_ASK_TRIES) {
        k->asks->c.refused++;
        ask__leg_elsewhere(l);
        return;
    }
    ask__leg_done(l, code);
}

void ask__heard(struct ask_path *p, const struct mesh_message *m)
{
    struct ask_leg *l = map_get(p->calls, &m->id);
    cleanup_mp struct mp_doc doc = { .has_zone = false };
    uint64_t status = 0;
    if (l == NULL || mp_parse(&doc, m->data, m->len, &mp_wire_rules) != DROP_NONE ||
        doc.root.type != MSGPACK_OBJECT_ARRAY || doc.root.via.array.size == 0 ||
        !mp_u64(&doc.root.via.array.ptr[0], &status)) {
        p->asks->c.bad++;
        return;
    }
    answered(l, status, doc.root.via.array.ptr + 1, doc.root.via.array.size - 1);
}
