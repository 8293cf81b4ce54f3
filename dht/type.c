#include "dht/type.h"

#include <string.h>

#include "dht/type_internal.h"

/* A new type is a file of its own and a line here. Type 5 (name) is missing on purpose: its rules
 * come with the ledger that signs names. A node that stored names before would hold whatever
 * anybody claimed, so version 1 refuses them like any type it does not know. */
static const struct dht_type *const types[] = {
    &dht__type_node,
    &dht__type_descriptor,
    &dht__type_provider,
    &dht__type_offer,
};

enum { N_TYPES = sizeof types / sizeof types[0] };

const struct dht_type *dht_type_at(size_t i)
{
    return i < N_TYPES ? types[i] : NULL;
}

const struct dht_type *dht_type_get(unsigned number)
{
    for (size_t i = 0; i < N_TYPES; i++)
        if (types[i]->number == number)
            return types[i];
    return NULL;
}

const struct dht_type *dht_type_by_name(const char *name)
{
    for (size_t i = 0; i < N_TYPES; i++)
        if (strcmp(types[i]->name, name) == 0)
            return types[i];
    return NULL;
}

static enum drop expiry_check(const struct dht_type *t, uint64_t expiry, uint64_t now)
{
    if (expiry <= now || (t->life_s != 0 && expiry - now > t->life_s))
        return DROP_EXPIRED;
    return DROP_NONE;
}

enum drop dht_value_parse(struct dht_value *out, const struct mesh_network *net, uint64_t now,
                          const uint8_t *data, size_t len)
{
    struct dht_value v = { .data = data, .len = len };
    enum drop drop = mesh_record_parse(&v.head, data, len);
    if (drop != DROP_NONE)
        return drop;
    v.type = dht_type_get(v.head.type);
    if (v.type == NULL)
        return DROP_TYPE;
    if (len > v.type->len_max)
        return DROP_LONG;
    drop = expiry_check(v.type, v.head.expiry, now);
    if (drop != DROP_NONE)
        return drop;
    memcpy(v.signer, v.head.publisher, sizeof v.signer);
    drop = v.type->form(&v, net, now);
    if (drop == DROP_NONE)
        *out = v;
    return drop;
}

enum drop dht_value_verify(const struct dht_value *v, const struct mesh_network *net, uint64_t now)
{
    enum drop drop = v->type->proof != NULL ? v->type->proof(v, net, now) : DROP_NONE;
    if (drop == DROP_NONE)
        drop = mesh_record_verify(net, v->data, v->len, v->signer);
    if (drop == DROP_NONE && v->type->check != NULL)
        drop = v->type->check(v, net, now);
    return drop;
}

int dht_value_compare(const struct dht_value *a, const struct dht_value *b)
{
    if (a->serial != b->serial)
        return a->serial > b->serial ? 1 : -1;
    if (a->head.sequence != b->head.sequence)
        return a->head.sequence > b->head.sequence ? 1 : -1;
    return 0;
}

bool dht_value_belongs(const struct dht_value *v, const uint8_t place[static DHT_ID])
{
    for (unsigned i = 0; i < v->n_places; i++)
        if (memcmp(v->places[i], place, DHT_ID) == 0)
            return true;
    return false;
}
