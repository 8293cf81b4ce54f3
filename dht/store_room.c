/* dht/store_room.c - who gives way when there is no room. A flood pays for itself: the source that
 * holds most loses what is farthest from us, and one source never has more than its share. */
#include "dht/limits.h"
#include "dht/store_internal.h"

struct room {
    struct dht_store *s;
    struct store__victims *out;
    const uint8_t *place;            /* of the newcomer */
    const struct store__entry *held; /* its older self: no victim, it goes anyway */
    uint64_t source;
    size_t freed, freed_of_source, freed_of_greediest;
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

/* The source's entry that is farthest from us; NULL: it has none left. */
static struct store__entry *farthest(const struct room *r, const struct store__account *a)
{
    struct store__entry *worst = NULL;
    list_each (at, &a->entries) {
        struct store__entry *e = container_of(at, struct store__entry, of_source);
        if (e != r->held && !is_victim(r, e) &&
            (worst == NULL || dht_id_is_nearer(r->s->o.self, worst->slot->key, e->slot->key)))
            worst = e;
    }
    return worst;
}

/* Who asks for its own room gets it only for something nearer to us. */
static bool take_own_farthest(struct room *r, const struct store__account *a)
{
    struct store__entry *e = farthest(r, a);
    return e != NULL && dht_id_is_nearer(r->s->o.self, r->place, e->slot->key) && take(r, e);
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
    return store__rank(r->s, v->head.publisher) < worst->rank && take(r, worst);
}

/* ---- a source's share, and the whole --------------------------------------------------------- */

static bool room_of_source(struct room *r, size_t more)
{
    size_t share = r->s->o.max_bytes / DHT_STORE_SOURCE_SHARE;
    const struct store__account *a = map_get(r->s->sources, &r->source);
    while (a != NULL && a->bytes + more > share + r->freed_of_source)
        if (!take_own_farthest(r, a))
            return false;
    return more <= share;
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
    if (r->s->bytes + more <= r->s->o.max_bytes + r->freed)
        return true;
    map_each(r->s->sources, greediest, (void *)&most);
    while (r->s->bytes + more > r->s->o.max_bytes + r->freed) {
        struct store__entry *e = most != NULL ? farthest(r, most) : NULL;
        bool is_own = e != NULL && store__source_of(e) == r->source;
        if (e == NULL || (is_own ? !take_own_farthest(r, most) : !take(r, e)))
            return false;
    }
    return true;
}

bool store__room_plan(struct dht_store *s, const struct dht_value *v,
                      const uint8_t place[static DHT_ID], uint64_t source,
                      const struct store__entry *held, struct store__victims *out)
{
    struct room r = { .s = s, .out = out, .place = place, .held = held, .source = source };
    const struct store__account *p = map_get(s->publishers, v->head.publisher);
    size_t had = held != NULL ? held->len : 0;
    size_t more = v->len > had ? v->len - had : 0;
    out->n = 0;
    if ((p != NULL ? p->bytes : 0) + more > DHT_STORE_PUBLISHER)
        return false;
    if (held == NULL && !room_in_slot(&r, v))
        return false;
    /* What replaces an older one stays on the account it is on. */
    if (held == NULL && !room_of_source(&r, more))
        return false;
    return room_in_all(&r, more);
}
