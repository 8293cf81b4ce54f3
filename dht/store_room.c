/* dht/store_room.c - who gives way when there is no room. A flood pays for itself: the source that
 * holds most loses what is farthest from us, and one source never has more than its share. */
#include <string.h>

#include "dht/limits.h"
#include "dht/store_internal.h"

struct room {
    struct dht_store *s;
    struct store__victims *out;
    const uint8_t *place;            /* of the newcomer */
    const struct store__entry *held; /* its older self: no victim, it goes anyway */
    uint64_t source;
    size_t freed, freed_of_source;
};

static bool is_victim(const struct room *r, const struct store__entry *e)
{
    for (size_t i = 0; i < r->out->n; i++)
        if (r->out->at[i] == e)
            return true;
    return false;
}

static bool take(struct room *r, struct store__entry *e)
{
    if (r->out->n == STORE__VICTIMS)
        return false;
    r->out->at[r->out->n++] = e;
    r->freed += e->len;
    if (store__source_of(e) == r->source)
        r->freed_of_source += e->len;
    return true;
}

/* The farthest of a source from us, farthest first. */
struct far_row {
    struct store__entry *at[STORE__VICTIMS];
    size_t n;
};

static void row_add(const struct room *r, struct far_row *row, struct store__entry *e)
{
    const uint8_t *self = r->s->o.self;
    size_t i = row->n;
    while (i > 0 && dht_id_is_nearer(self, row->at[i - 1]->slot->key, e->slot->key))
        i--;
    if (i == STORE__VICTIMS)
        return;
    if (row->n < STORE__VICTIMS)
        row->n++;
    memmove(&row->at[i + 1], &row->at[i], (row->n - i - 1) * sizeof row->at[0]);
    row->at[i] = e;
}

/* One walk for all of them: a source may hold thousands, and anybody can make us look for room. */
static void farthest(const struct room *r, const struct store__account *a, struct far_row *row)
{
    row->n = 0;
    list_each (at, &a->entries) {
        struct store__entry *e = container_of(at, struct store__entry, of_source);
        if ((r->held == NULL || e != r->held) && !is_victim(r, e))
            row_add(r, row, e);
    }
}

/* Who asks for its own room gets it only for something nearer to us. */
static bool may_take(const struct room *r, const struct store__entry *e)
{
    return store__source_of(e) != r->source ||
           dht_id_is_nearer(r->s->o.self, r->place, e->slot->key);
}

/* ---- a place that keeps many ----------------------------------------------------------------- */

static bool room_in_slot(struct room *r, const struct dht_value *v)
{
    const struct store__slot *slot = store__slot_find(r->s, r->place, v->type->number);
    struct store__entry *worst = NULL;
    if (slot == NULL || slot->n < v->type->keep)
        return true;
    list_each (at, &slot->entries) {
        struct store__entry *e = container_of(at, struct store__entry, of_slot);
        if (worst == NULL || e->rank > worst->rank)
            worst = e;
    }
    return worst != NULL && store__rank(r->s, v->head.publisher) < worst->rank && take(r, worst);
}

/* ---- a source's share, and the whole --------------------------------------------------------- */

static bool room_of_source(struct room *r, size_t more)
{
    size_t share = r->s->o.max_bytes / DHT_STORE_SOURCE_SHARE;
    const struct store__account *a = map_get(r->s->sources, &r->source);
    struct far_row row;
    if (more > share)
        return false;
    if (a == NULL || a->bytes + more <= share + r->freed_of_source)
        return true;
    farthest(r, a, &row);
    for (size_t i = 0; a->bytes + more > share + r->freed_of_source; i++)
        if (i == row.n || !may_take(r, row.at[i]) || !take(r, row.at[i]))
            return false;
    return true;
}

static bool greediest(void *arg, const void *key, void *value)
{
    const struct store__account **most = arg;
    const struct store__account *a = value;
    (void)key;
    if (*most == NULL || a->bytes > (*most)->bytes)
        *most = a;
    return true;
}

static bool room_in_all(struct room *r, size_t more)
{
    const struct store__account *most = NULL;
    struct far_row row;
    if (r->s->bytes + more <= r->s->o.max_bytes + r->freed)
        return true;
    map_each(r->s->sources, greediest, (void *)&most);
    if (most == NULL)
        return false;
    farthest(r, most, &row);
    for (size_t i = 0; r->s->bytes + more > r->s->o.max_bytes + r->freed; i++)
        if (i == row.n || !may_take(r, row.at[i]) || !take(r, row.at[i]))
            return false;
    return true;
}

bool store__room_plan(struct dht_store *s, const struct dht_value *v,
                      const uint8_t place[static DHT_ID], uint64_t source,
                      const struct store__entry *held, struct store__victims *out)
{
    /* What replaces an older one stays on the account it is on. */
    struct room r = { .s = s,
                      .out = out,
                      .place = place,
                      .held = held,
                      .source = held != NULL ? store__source_of(held) : source };
    const struct store__account *p = map_get(s->publishers, v->head.publisher);
    size_t had = held != NULL ? held->len : 0;
    size_t more = v->len > had ? v->len - had : 0;
    out->n = 0;
    if ((p != NULL ? p->bytes : 0) + more > DHT_STORE_PUBLISHER)
        return false;
    if (held == NULL && !room_in_slot(&r, v))
        return false;
    if (more > 0 && !room_of_source(&r, more))
        return false;
    return room_in_all(&r, more);
}
