#include "dht/near.h"

#include <string.h>

void dht_near_init(struct dht_near *n, const uint8_t key[static DHT_ID], size_t most,
                   bool any_prefix)
{
    n->key = key;
    n->any_prefix = any_prefix;
    n->most = most < DHT_NEAR_MAX ? most : DHT_NEAR_MAX;
    n->n_first = n->n_second = 0;
}

/* Into a row in order of distance; at the bound the farthest falls out. */
static void insert(const struct dht_near *n, struct dht_near_item *row, size_t *len,
                   const struct dht_near_item *x)
{
    size_t i = *len;
    while (i > 0 && dht_id_is_nearer(n->key, x->id, row[i - 1].id))
        i--;
    if (i >= n->most)
        return;
    if (*len < n->most)
        ++*len;
    memmove(&row[i + 1], &row[i], (*len - i - 1) * sizeof row[0]);
    row[i] = *x;
}

static void take_out(struct dht_near_item *row, size_t *len, size_t i)
{
    --*len;
    memmove(&row[i], &row[i + 1], (*len - i) * sizeof row[0]);
}

void dht_near_add(struct dht_near *n, const uint8_t id[static DHT_ID], uint64_t prefix,
                  const void *what)
{
    struct dht_near_item x = { .id = id, .prefix = prefix, .what = what };
    /* Full, and farther than all: second ones are of no use then, and never will be. */
    if (n->n_first == n->most &&
        (n->most == 0 || !dht_id_is_nearer(n->key, id, n->first[n->most - 1].id)))
        return;
    for (size_t i = 0; i < n->n_first && !n->any_prefix; i++) {
        struct dht_near_item other = n->first[i];
        if (other.prefix != prefix)
            continue;
        if (!dht_id_is_nearer(n->key, id, other.id)) {
            insert(n, n->second, &n->n_second, &x);
            return;
        }
        take_out(n->first, &n->n_first, i);
        insert(n, n->second, &n->n_second, &other);
        break;
    }
    insert(n, n->first, &n->n_first, &x);
}

size_t dht_near_len(const struct dht_near *n)
{
    size_t all = n->n_first + n->n_second;
    return all < n->most ? all : n->most;
}

const struct dht_near_item *dht_near_at(const struct dht_near *n, size_t i)
{
    return i < n->n_first ? &n->first[i] : &n->second[i - n->n_first];
}
