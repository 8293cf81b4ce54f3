/* dht/find_values.c - the records that a lookup found: proven, the newest of each publisher. */
#include <stdlib.h>
#include <string.h>

#include "dht/dht_internal.h"

enum { REPAIRS = 16 }; /* STOREs that one lookup causes */

static void forget_bit(void *arg, struct dht_candidate *c)
{
    c->has &= ~(UINT64_C(1) << *(const size_t *)arg);
}

/* The place among the values of what this publisher has there, or the next free one. */
static size_t index_of(const struct dht_find *f, const struct dht_value *v)
{
    for (size_t i = 0; i < f->n_values; i++)
        if (memcmp(f->values[i].v.head.publisher, v->head.publisher, 32) == 0)
            return i;
    return f->n_values;
}

static bool is_same(const struct dht_value *a, const struct dht_value *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static bool keep(struct dht_find *f, size_t i, const struct dht_value *v)
{
    uint8_t *bytes = malloc(v->len);
    struct dht_value copy;
    if (bytes == NULL)
        return false;
    memcpy(bytes, v->data, v->len);
    if (dht_value_parse(&copy, mesh_network_of(f->d->mesh), mesh_time(f->d->mesh), bytes, v->len) !=
        DROP_NONE) {
        free(bytes);
        return false;
    }
    if (i == f->n_values)
        f->n_values++;
    else if (f->lookup != NULL)
        dht_lookup_answers_each(f->lookup, forget_bit, &i);
    free(f->values[i].bytes);
    f->values[i].bytes = bytes;
    f->values[i].v = copy;
    return true;
}

/* Is it one of ours to look at? Cheap. */
static bool is_wanted(struct dht_find *f, const uint8_t *record, size_t len, struct dht_value *v)
{
    struct dht *d = f->d;
    enum drop drop = dht_value_parse(v, mesh_network_of(d->mesh), mesh_time(d->mesh), record, len);
    if (drop != DROP_NONE) {
        d->n.values_refused[drop]++;
        return false;
    }
    if (v->type != f->type || !dht_value_belongs(v, f->key)) {
        /* Node records on the way to another one: the next step, not a value. */
        d->n.values_misplaced += v->type->number != MESH_RECORD_NODE;
        return false;
    }
    return true;
}

bool dht__value_heard(struct dht_find *f, struct dht_candidate *from, const uint8_t *record,
                      size_t len)
{
    struct dht *d = f->d;
    struct dht_value v;
    if (!is_wanted(f, record, len, &v))
        return true;
    size_t i = index_of(f, &v);
    if (i < f->n_values && is_same(&f->values[i].v, &v)) {
        if (from != NULL)
            from->has |= UINT64_C(1) << i;
        return true;
    }
    if (i < f->n_values && dht_value_compare(&v, &f->values[i].v) <= 0) {
        d->n.values_stale++;
        return true;
    }
    if (i == f->n_values && i >= f->type->keep)
        return true;
    enum drop drop = dht_value_verify(&v, mesh_network_of(d->mesh), mesh_time(d->mesh));
    if (drop != DROP_NONE) {
        d->n.values_refused[drop]++;
        return false;
    }
    bool is_first = f->n_values == 0;
    if (!keep(f, i, &v))
        return true;
    d->n.values_ok++;
    if (is_first)
        f->hops = from != NULL ? from->hop : 0;
    if (from != NULL)
        from->has |= UINT64_C(1) << i;
    return true;
}

static void raise_one(void *arg, const uint8_t *record, size_t len)
{
    struct dht_find *f = arg;
    struct dht_value v;
    size_t i = is_wanted(f, record, len, &v) ? index_of(f, &v) : f->n_values;
    if (i < f->n_values && dht_value_compare(&v, &f->values[i].v) > 0)
        (void)dht__value_heard(f, NULL, record, len);
}

void dht__values_raise(struct dht_find *f)
{
    (void)dht_cache_get(f->d->cache, f->key, f->type->number, dht__now(f->d), UINT64_MAX, raise_one,
                        f);
}

void dht__values_repair(struct dht_find *f)
{
    struct dht_near near;
    unsigned n = 0;
    dht_lookup_nearest(f->lookup, DHT_K, &near);
    for (size_t i = 0; i < dht_near_len(&near); i++) {
        const struct dht_candidate *c = dht_near_at(&near, i)->what;
        struct mesh_node node;
        struct mesh_contact to;
        for (size_t k = 0; k < f->n_values && n < REPAIRS; k++) {
            if ((c->has >> k & 1) != 0 ||
                mesh_node_record_form(&node, mesh_time(f->d->mesh), c->record, c->len) !=
                    DROP_NONE ||
                !mesh_node_contact(f->d->mesh, &node, &to))
                continue;
            n++;
            f->d->n.repairs++;
            dht__send(f->d, &to, f->values[k].v.data, f->values[k].v.len);
        }
    }
}

void dht__values_free(struct dht_find *f)
{
    for (size_t i = 0; i < f->n_values; i++)
        free(f->values[i].bytes);
}
