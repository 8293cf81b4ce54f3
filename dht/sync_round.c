/* dht/sync_round.c - when peers are asked, and whom. At the start rounds follow each other after
 * 0.1, 0.2, 0.4 s... and begin anew while they bring many new nodes; then one every ten minutes
 * (unlisted nodes: an hour), and soon after a change that others should hear of. Pushing is asking:
 * who is asked for its digest asks back (docs/decisions/0007).
 *
 * One timer: the next round. */
#include <string.h>

#include "dht/sync_internal.h"

uint64_t sync__interval_ms(const struct dht_sync *s)
{
    return s->is_serving ? DHT_SYNC_S * 1000u : DHT_SYNC_UNLISTED_S * 1000u;
}

static void arm(struct dht_sync *s, uint64_t at_ns)
{
    s->next_ns = at_ns;
    if (s->n_round == 0)
        env_timer_set(s->env, &s->timer, at_ns);
}

static void arm_no_later(struct dht_sync *s, uint64_t at_ns)
{
    if (s->next_ns > at_ns)
        arm(s, at_ns);
}

/* ---- whom ------------------------------------------------------------------------------------ */

static struct sync__peer *peer_of(const struct dht_sync *s, const struct mesh_link *l)
{
    list_each (at, &s->peers)
        if (container_of(at, struct sync__peer, node)->link == l)
            return container_of(at, struct sync__peer, node);
    return NULL;
}

static struct sync__stamp *stamp_of(struct dht_sync *s, const uint8_t id[static DHT_ID])
{
    for (size_t i = 0; i < SYNC__STAMPS; i++)
        if (s->stamps[i].ns != 0 && memcmp(s->stamps[i].id, id, DHT_ID) == 0)
            return &s->stamps[i];
    return NULL;
}

/* Did we exchange, or try to, a short while ago? */
static bool is_stamped(struct dht_sync *s, const uint8_t id[static DHT_ID])
{
    const struct sync__stamp *own = stamp_of(s, id);
    return own != NULL && sync__now(s) - own->ns < ENV_S(DHT_SYNC_BACK_S);
}

/* Remembers that we exchange now. False: we did a short while ago. */
static bool stamp(struct dht_sync *s, const uint8_t id[static DHT_ID])
{
    uint64_t now = sync__now(s);
    struct sync__stamp *own = stamp_of(s, id);
    if (is_stamped(s, id))
        return false;
    if (own == NULL)
        own = &s->stamps[s->next_stamp++ % SYNC__STAMPS];
    memcpy(own->id, id, DHT_ID);
    own->ns = now;
    return true;
}

static void start(struct dht_sync *s, struct mesh_link *l)
{
    struct mesh_link_info info;
    mesh_link_info(l, &info);
    if (info.has_id)
        stamp(s, info.id);
    sync__peer_start(s, l, false);
}

/* Some link that may be asked (reservoir sampling). */
struct choice {
    const struct dht_sync *s;
    struct mesh_link *l;
    uint64_t n;
};

static bool consider(void *arg, struct mesh_link *l)
{
    struct choice *c = arg;
    struct mesh_link_info info;
    mesh_link_info(l, &info);
    if (info.state != MESH_LINK_UP || !info.is_listed || peer_of(c->s, l) != NULL)
        return true;
    if (env_random_below(c->s->env, ++c->n) == 0)
        c->l = l;
    return true;
}

static bool ask_linked(struct dht_sync *s)
{
    struct choice c = { .s = s };
    mesh_links_each(s->mesh, consider, &c);
    if (c.l != NULL)
        start(s, c.l);
    return c.l != NULL;
}

static bool contact_of(struct dht_sync *s, const struct dht_roster_entry *e,
                       struct mesh_contact *out)
{
    uint8_t record[MESH_NODE_RECORD_MAX];
    struct mesh_node n;
    size_t len = dht_sync_record(s, e->id, record);
    if (len == 0 || mesh_node_record_form(&n, mesh_time(s->mesh), record, len) != DROP_NONE)
        return false;
    memcpy(out->id, n.id, sizeof out->id);
    memcpy(out->link_key, n.link_key, sizeof out->link_key);
    for (size_t i = 0; i < n.n_addrs; i++) {
        if (n.addrs[i].kind == 7)
            continue;
        out->addr = n.addrs[i].ip;
        return true;
    }
    return false;
}

static bool ask_contact(struct dht_sync *s, const struct mesh_contact *c)
{
    struct mesh_link *l = mesh_dial(s->mesh, c, NULL);
    if (l == NULL || peer_of(s, l) != NULL)
        return false;
    start(s, l);
    return true;
}

/* Somebody of the whole roster, whether we hold a link or not: links alone would be a circle that
 * hears of itself, and who is dialled is reached. */
static bool ask_known(struct dht_sync *s)
{
    size_t n = dht_roster_len(s->roster);
    for (unsigned i = 0; n > 0 && i < SYNC__PICKS; i++) {
        const struct dht_roster_entry *e =
            dht_roster_at(s->roster, (size_t)env_random_below(s->env, n));
        struct mesh_contact c;
        if (is_stamped(s, e->id) || !contact_of(s, e, &c))
            continue;
        stamp(s, e->id); /* one that is gone fails at once: it isn't asked again in this round */
        if (ask_contact(s, &c))
            return true;
    }
    return false;
}

/* Unlisted nodes ask bootstrap peers only: random ones would collect users' addresses. */
static bool ask_bootstrap(struct dht_sync *s)
{
    size_t n = mesh_bootstrap_count(s->mesh);
    for (unsigned i = 0; n > 0 && i < SYNC__PICKS; i++) {
        struct mesh_contact c = *mesh_bootstrap_at(s->mesh, (size_t)env_random_below(s->env, n));
        if (ask_contact(s, &c))
            return true;
    }
    return false;
}

static bool ask_one(struct dht_sync *s)
{
    if (!s->is_serving)
        return ask_bootstrap(s);
    return (s->wait_ms >= SYNC__FAST_MS && ask_known(s)) || ask_linked(s);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

struct look {
    struct dht_sync *s;
    unsigned n_left;
};

/* A link's record may have been renewed, and a link that lives on where it was reached is as good
 * as a handshake: it is rekeyed every other minute. */
static bool look_at_link(void *arg, struct mesh_link *l)
{
    struct look *k = arg;
    struct dht_sync *s = k->s;
    struct mesh_link_info info;
    struct mesh_record head;
    size_t len;
    const uint8_t *record = mesh_link_record(l, &len);
    mesh_link_info(l, &info);
    if (record == NULL || !info.has_id || info.state != MESH_LINK_UP ||
        mesh_record_parse(&head, record, len) != DROP_NONE)
        return true;
    const struct dht_roster_entry *e = dht_roster_get(s->roster, info.id);
    if (e == NULL || e->sequence < head.sequence) {
        sync__link_heard(s, l);
        return --k->n_left > 0;
    }
    if (e->reached_s != 0 && env_addr_prefix(&info.addr) == e->prefix)
        dht_roster_reached(s->roster, info.id, mesh_time(s->mesh));
    return true;
}

static void expired(void *arg, const uint8_t id[static DHT_ID])
{
    sync__store_del(arg, id);
}

/* Who found no place may find one by now. */
static void forget_refused(struct dht_sync *s)
{
    const void *key;
    if (sync__now(s) - s->refused_ns < ENV_S(SYNC__REFUSED_S))
        return;
    s->refused_ns = sync__now(s);
    while (map_oldest(s->refused, &key) != NULL) {
        uint8_t copy[SYNC__BEGIN + 8];
        memcpy(copy, key, sizeof copy);
        map_del(s->refused, copy);
    }
}

static void plan(struct dht_sync *s)
{
    uint64_t now = sync__now(s);
    uint64_t most = sync__interval_ms(s);
    bool is_news = s->n_new > s->n_before / SYNC__NEWS_SHARE;
    if (s->n_answered > 0 && s->n_new == 0)
        s->is_quiet = true;
    s->wait_ms *= 2;
    if (is_news && s->news_left > 0) {
        s->news_left--;
        s->wait_ms = DHT_SYNC_FIRST_MS;
    }
    if (s->wait_ms >= most) {
        s->wait_ms = most;
        s->news_left = SYNC__NEWS_MAX; /* it was calm for a while */
    }
    arm(s, now + ENV_MS(s->wait_ms));
    if (s->has_change)
        sync__changed(s);
}

void sync__peer_ended(struct dht_sync *s, bool is_back)
{
    if (is_back || --s->n_round > 0 || !s->is_running)
        return;
    plan(s);
}

static void begin(struct dht_sync *s)
{
    struct look k = { .s = s, .n_left = SYNC__LOOKS };
    dht_roster_expire(s->roster, mesh_time(s->mesh), expired, s);
    mesh_links_each(s->mesh, look_at_link, &k);
    forget_refused(s);
    s->n.rounds++;
    s->n.pushes += s->has_change;
    s->began_ns = sync__now(s);
    s->has_change = false;
    s->n_answered = 0;
    s->n_new = 0;
    s->n_before = dht_roster_len(s->roster);
    s->n_round = 1; /* it is over when the last one has ended, not before all have begun */
    for (unsigned i = 0; i < DHT_SYNC_PEERS && ask_one(s); i++)
        ;
    sync__peer_ended(s, false);
}

void sync__timer(struct env_timer *t, void *arg)
{
    struct dht_sync *s = arg;
    (void)t;
    if (s->n_round == 0)
        begin(s);
}

void sync__changed(struct dht_sync *s)
{
    uint64_t soon = sync__now(s) + ENV_MS(DHT_SYNC_PUSH_MS);
    uint64_t least = s->began_ns + ENV_S(DHT_SYNC_PUSH_S);
    s->has_change = true;
    if (s->is_serving && s->is_running)
        arm_no_later(s, soon > least ? soon : least);
}

/* ---- links ----------------------------------------------------------------------------------- */

/* The first that may be asked ends the wait. */
void sync__link_known(struct dht_sync *s, struct mesh_link *l)
{
    if (s->back_link == l) {
        s->back_link = NULL;
        sync__ask_back(s, l);
    }
    if (!s->has_answer && s->n_round == 0) {
        s->wait_ms = DHT_SYNC_FIRST_MS;
        arm_no_later(s, sync__now(s) + ENV_MS(SYNC__SOON_MS));
    }
}

void sync__link_up(struct dht_sync *s, struct mesh_link *l)
{
    struct sync__peer *p = peer_of(s, l);
    if (p != NULL && p->state == SYNC__DIALING)
        sync__peer_go(p);
}

void sync__link_down(struct dht_sync *s, struct mesh_link *l)
{
    struct sync__peer *p = peer_of(s, l);
    if (s->back_link == l)
        s->back_link = NULL;
    if (p == NULL)
        return;
    s->n.peers_failed++;
    sync__peer_end(p);
}

/* It has just heard our digest and will list what it lacks; what we lack we ask for ourselves.
 * Never more than one at a time, so nobody makes us busy by asking. */
void sync__ask_back(struct dht_sync *s, struct mesh_link *l)
{
    struct mesh_link_info info;
    if (l == NULL || peer_of(s, l) != NULL)
        return;
    mesh_link_info(l, &info);
    if (!info.has_id) {
        s->back_link = l; /* dialled to ask us: its record is on the way */
        return;
    }
    list_each (at, &s->peers)
        if (container_of(at, struct sync__peer, node)->is_back)
            return;
    if (!info.is_listed || info.state != MESH_LINK_UP ||
        (s->n.backs > 0 && sync__now(s) - s->back_ns < ENV_MS(DHT_SYNC_BACK_MS)) ||
        !stamp(s, info.id))
        return;
    s->back_ns = sync__now(s);
    s->n.backs++;
    sync__peer_start(s, l, true);
}

void sync__peers_drop(struct dht_sync *s)
{
    while (!list_empty(&s->peers))
        sync__peer_end(container_of(s->peers.next, struct sync__peer, node));
}
