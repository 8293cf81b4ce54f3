/* mesh/discover_ask.c - FIND: asking linked peers for nodes near random places, and looking at what
 * they answer. Nothing is believed: a record counts once its signature and puzzle hold. */
#include <string.h>

#include "base/mp.h"
#include "mesh/discover_internal.h"

enum {
    ASK_PEERS = 3,
    ASK_MOST = 16,
    ASK_LISTED_MS = 600000,
    ASK_UNLISTED_MS = 3600000,
    ASK_SHORT_MS = 60000, /* while links are missing, not rarer than this */
};

void disc__seen_clear(struct mesh__discover *d)
{
    const void *key;
    while (map_oldest(d->seen, &key) != NULL) {
        uint8_t copy[32];
        memcpy(copy, key, sizeof copy);
        map_del(d->seen, copy);
    }
}

static uint64_t ask_most_ms(const struct mesh__discover *d, const struct disc__census *c)
{
    if (disc__missing(d, c) > 0)
        return ASK_SHORT_MS;
    return d->mesh->config.is_listed ? ASK_LISTED_MS : ASK_UNLISTED_MS;
}

/* True when the record is of a node that we had not looked at yet and can dial. */
static bool record_found(struct mesh__discover *d, const uint8_t *record, size_t len)
{
    struct mesh *m = d->mesh;
    struct mesh_record head;
    struct mesh_node node;
    const void *oldest;
    if (d->n_candidates == DISC__CANDIDATES || mesh_record_parse(&head, record, len) != DROP_NONE ||
        map_get(d->seen, head.publisher) != NULL)
        return false;
    if (map_len(d->seen) == DISC__SEEN_MAX && map_oldest(d->seen, &oldest) != NULL) {
        uint8_t copy[32];
        memcpy(copy, oldest, sizeof copy);
        map_del(d->seen, copy);
    }
    if (map_put(d->seen, head.publisher, d->seen) != 0)
        return false;
    if (memcmp(head.publisher, m->identity->sign_pk, 32) == 0)
        return false;
    if (mesh_node_record_open(&node, &m->network, mesh_time(m), record, len) != DROP_NONE) {
        m->n.records_refused++;
        return false;
    }
    m->n.records_ok++;
    if (!mesh__is_mine(m, node.link_key)) {
        mesh__hand_record(m, &node, record, len, 0);
        return true; /* as good as a candidate */
    }
    return disc__node_add(d, &node);
}

static void asked(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct mesh__discover *d = arg;
    d->n_asking--;
    for (unsigned i = 0; code == 0 && status == MESH_RPC_OK && i < n && i < ASK_MOST; i++) {
        const uint8_t *record;
        size_t len;
        if (mp_bin_any(&items[i], &record, &len) && record_found(d, record, len))
            d->has_news = true;
    }
    if (d->n_asking == 0) {
        struct disc__census c = disc__count(d);
        uint64_t most = ask_most_ms(d, &c);
        d->ask_wait_ms = d->has_news ? DISC__ASK_FIRST_MS : d->ask_wait_ms * 2;
        if (disc__missing(d, &c) == 0 || d->ask_wait_ms > most)
            d->ask_wait_ms = most;
        d->ask_ns = mesh__now(d->mesh) + ENV_MS(d->ask_wait_ms);
        if (code == 0 && (!d->has_news || disc__missing(d, &c) == 0))
            disc__look_over(d);
    }
    disc__plan_soon(d);
}

/* Unlisted nodes ask bootstrap peers only: others would collect users' addresses. */
static bool may_ask(const struct mesh__discover *d, const struct mesh_link *l)
{
    if (l->state != MESH_LINK_UP || !l->is_listed)
        return false;
    return d->mesh->config.is_listed || mesh__is_bootstrap(d->mesh, l->key);
}

bool disc__can_ask(const struct mesh__discover *d)
{
    list_each (at, &d->mesh->links)
        if (may_ask(d, container_of(at, struct mesh_link, all)))
            return true;
    return false;
}

static void ask(struct mesh__discover *d, struct mesh_link *l)
{
    struct mesh *m = d->mesh;
    uint8_t buf[64], key[32];
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    env_random(m->env, key, sizeof key);
    if (m->config.is_listed && env_random_below(m->env, ASK_PEERS) == 0)
        memcpy(key, m->identity->id, sizeof key); /* our neighbours, now and then */
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, key, sizeof key);
    msgpack_pack_uint8(&pk, 0);
    msgpack_pack_uint8(&pk, ASK_MOST);
    struct mesh_items items = { .data = buf, .len = writer_len(&w), .n = 3 };
    if (mesh_call(l, MESH_METHOD_FIND, &items, 0, asked, d, NULL) != 0)
        return;
    d->n_asking++;
    m->n.finds_sent++;
}

/* Up to three of those that may be asked, at random (reservoir sampling). */
void disc__ask_some(struct mesh__discover *d, uint64_t now)
{
    struct mesh_link *chosen[ASK_PEERS] = { 0 };
    size_t n = 0;
    list_each (at, &d->mesh->links) {
        struct mesh_link *l = container_of(at, struct mesh_link, all);
        if (!may_ask(d, l))
            continue;
        size_t k = n < ASK_PEERS ? n : (size_t)env_random_below(d->mesh->env, n + 1);
        n++;
        if (k < ASK_PEERS)
            chosen[k] = l;
    }
    d->has_news = false;
    d->ask_ns = n > 0 ? now + ENV_MS(ASK_SHORT_MS) : LINK__NEVER; /* until the answers are here */
    for (size_t i = 0; i < ASK_PEERS && chosen[i] != NULL; i++)
        ask(d, chosen[i]);
}
