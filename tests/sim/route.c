/* The way of a datagram: out through the sender's boxes, over the link with all its accidents, in
 * through the receiver's. Filters on the way in are asked on arrival, as real ones are. */
#include <string.h>

#include "tests/sim/world_internal.h"

int sim_node_move(struct sim_node *n, const struct env_addr *to, struct sim_nat *nat)
{
    struct sim_world *w = n->world;
    uint32_t realm = nat != NULL ? nat->inside : 0;
    int rc = sim__site_put(w, realm, to, &n->site);
    if (rc < 0)
        return rc;
    unsigned which = env_addr_is_v4(&n->address[0]) == env_addr_is_v4(to) ? 0 : 1;
    if (!sim__addr_is_zero(&n->address[which]))
        sim__site_del(w, n->realm, &n->address[which]);
    /* The other family's address belonged to the old network. */
    if (realm != n->realm && !sim__addr_is_zero(&n->address[1 - which])) {
        sim__site_del(w, n->realm, &n->address[1 - which]);
        n->address[1 - which] = (struct env_addr){ 0 };
    }
    if (n->lan == n->realm)
        n->lan = realm;
    n->address[which] = *to;
    n->realm = realm;
    return 0;
}

void sim_set_link(struct sim_world *w, const struct sim_link *l)
{
    w->o.link = *l;
}

int sim_tap(struct sim_world *w, sim_tap_fn fn, void *arg)
{
    for (unsigned i = 0; i < SIM_TAPS_MAX; i++) {
        if (w->taps[i].fn == NULL) {
            w->taps[i] = (struct sim_tap){ .fn = fn, .arg = arg };
            return 0;
        }
    }
    return CYX_EFULL;
}

void sim_untap(struct sim_world *w, sim_tap_fn fn, void *arg)
{
    for (unsigned i = 0; i < SIM_TAPS_MAX; i++)
        if (w->taps[i].fn == fn && w->taps[i].arg == arg)
            w->taps[i] = (struct sim_tap){ 0 };
}

static bool taps_pass(struct sim_world *w, const struct sim_datagram *d)
{
    bool pass = true;
    for (unsigned i = 0; i < SIM_TAPS_MAX; i++)
        if (w->taps[i].fn != NULL && !w->taps[i].fn(w->taps[i].arg, d))
            pass = false;
    return pass;
}

/* Base by pair (skewed to the near end: squares of a uniform), plus jitter that is the same for
 * everything in one millisecond, so that a burst keeps its order as it does on real paths. */
uint64_t sim__latency_ns(const struct sim_world *w, const struct sim_link *l, uint32_t site_a,
                         uint32_t site_b)
{
    uint64_t lo = site_a < site_b ? site_a : site_b;
    uint64_t hi = site_a < site_b ? site_b : site_a;
    uint64_t pair = sim__mix(w->o.seed ^ lo << 32 ^ 0x7061697273u, hi);
    uint64_t u = pair & 0xffff;
    uint64_t spread_ns = (uint64_t)(l->latency_max_us - l->latency_min_us) * 1000;
    uint64_t base = (uint64_t)l->latency_min_us * 1000 + ((u * u) * (spread_ns >> 8) >> 24);
    if (l->jitter_us == 0)
        return base;
    uint64_t j = sim__mix(pair, w->now >> 20);
    return base + (uint64_t)(((__uint128_t)j * ((uint64_t)l->jitter_us * 1000)) >> 64);
}

static struct sim_packet *packet_of(struct sim_world *w, const struct env_addr *from,
                                    const struct env_addr *to, const void *data, size_t len)
{
    struct sim_packet *p = sim__packet_new(w, len);
    p->from = *from;
    p->to = *to;
    p->only = NULL;
    p->sender = SIM_NOBODY;
    p->realm = 0;
    if (len > 0)
        memcpy(p->data, data, len);
    return p;
}

static void flip_bits(struct sim_node *n, struct sim_packet *p)
{
    if (p->len == 0)
        return;
    unsigned flips = 1 + (unsigned)sim__below(&n->chance, 8);
    for (unsigned i = 0; i < flips; i++) {
        uint64_t bit = sim__below(&n->chance, (uint64_t)p->len * 8);
        p->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

/* Where a datagram goes, once it has left its own boxes. */
struct route {
    struct env_addr from;
    uint32_t realm;
    uint32_t near_site, far_site;
    bool is_lan;
};

static bool find_route(struct sim_node *n, struct route *r, const struct env_addr *to)
{
    struct sim_world *w = n->world;
    r->realm = n->realm;
    r->near_site = n->site.id;
    const struct sim_nat *left = NULL;
    for (;;) {
        const struct sim_site *far = sim__site_get(w, r->realm, to);
        if (far != NULL) {
            if (left != NULL && far == &left->site && !left->o.hairpin) {
                w->stats.dropped_nat++;
                return false;
            }
            r->far_site = far->id;
            r->is_lan = r->realm != 0 || (left != NULL && far == &left->site);
            return true;
        }
        if (r->realm == 0) {
            w->stats.dropped_no_route++;
            return false;
        }
        struct sim_nat *nat = w->nats[r->realm - 1];
        if (!sim__nat_out(nat, &r->from, to)) {
            w->stats.dropped_nat++;
            return false;
        }
        left = nat;
        r->near_site = nat->site.id;
        r->realm = nat->outside;
    }
}

/* Time to get through the sender's modem; false when its queue is full. */
static bool uplink(struct sim_node *n, size_t len, uint64_t *delay)
{
    *delay = 0;
    if (n->uplink_bps == 0)
        return true;
    uint64_t now = n->world->now;
    uint64_t free_at = n->uplink_free_at > now ? n->uplink_free_at : now;
    if (free_at - now > SIM_MS(SIM_UPLINK_QUEUE_MS))
        return false;
    n->uplink_free_at = free_at + (uint64_t)len * 8u * 1000000000u / n->uplink_bps;
    *delay = n->uplink_free_at - now;
    return true;
}

static void schedule(struct sim_world *w, struct sim_packet *p, uint64_t delay)
{
    sim__queue_push(&w->queue, w->now + delay, SIM_EV_PACKET, p);
}

static void send_local(struct sim_node *n, struct sim_node *receiver, const struct env_addr *from,
                       const struct env_addr *to, const uint8_t *data, size_t len, uint32_t us)
{
    struct sim_packet *p = packet_of(n->world, from, to, data, len);
    p->only = receiver;
    p->sender = n->index;
    schedule(n->world, p, (uint64_t)us * 1000);
}

static void send_multicast(struct sim_node *n, const struct env_addr *from,
                           const struct env_addr *to, const uint8_t *data, size_t len)
{
    list_each (pos, &n->world->multicast) {
        struct env_udp *u = container_of(pos, struct env_udp, in_multicast);
        bool same_lan = u->node == n || (n->lan != 0 && u->node->lan == n->lan);
        if (same_lan && u->info.local.port == to->port && memcmp(u->o.group.ip, to->ip, 16) == 0)
            send_local(n, u->node, from, to, data, len, SIM_LAN_US);
    }
}

/* One copy over the link: lost, late or damaged as the dice say. */
static void send_copy(struct sim_node *n, const struct route *r, const struct sim_link *l,
                      const struct env_addr *to, const uint8_t *data, size_t len, uint64_t delay)
{
    struct sim_world *w = n->world;
    struct sim_packet *p = packet_of(w, &r->from, to, data, len);
    p->sender = n->index;
    p->realm = r->realm;
    if (sim__chance(&n->chance, l->reorder_ppm)) {
        delay += sim__below(&n->chance, (uint64_t)l->reorder_us * 1000);
        w->stats.reordered++;
    }
    if (sim__chance(&n->chance, l->corrupt_ppm)) {
        flip_bits(n, p);
        w->stats.corrupted++;
    }
    schedule(w, p, delay);
}

static void send_over(struct sim_node *n, const struct route *r, const struct sim_link *l,
                      const struct env_addr *to, const uint8_t *data, size_t len)
{
    struct sim_world *w = n->world;
    uint64_t queue_ns;
    if (l->mtu != 0 && len > l->mtu) {
        w->stats.dropped_mtu++;
        return;
    }
    if (!uplink(n, len, &queue_ns)) {
        w->stats.dropped_uplink++;
        return;
    }
    if (sim__chance(&n->chance, l->loss_ppm)) {
        w->stats.lost++;
        return;
    }
    uint64_t delay = queue_ns + sim__latency_ns(w, l, r->near_site, r->far_site);
    send_copy(n, r, l, to, data, len, delay);
    if (sim__chance(&n->chance, l->duplicate_ppm)) {
        w->stats.duplicated++;
        send_copy(n, r, l, to, data, len, delay + sim__below(&n->chance, SIM_MS(20)));
    }
}

void sim__send(struct sim_node *n, const struct env_addr *from, const struct env_addr *to,
               const uint8_t *data, size_t len)
{
    struct sim_world *w = n->world;
    w->stats.sent++;
    w->stats.sent_bytes += len;
    sim__note(w, SIM_EV_SEND, n->index, len, to->port);
    if (sim__addr_is_loopback(to)) {
        send_local(n, n, from, to, data, len, SIM_LOOPBACK_US);
        return;
    }
    if (sim__addr_is_multicast(to)) {
        send_multicast(n, from, to, data, len);
        return;
    }
    struct route r = { .from = *from };
    if (!find_route(n, &r, to))
        return;
    struct sim_datagram d = { .from = r.from, .to = *to, .data = data, .len = len, .sender = n };
    if (!taps_pass(w, &d)) {
        w->stats.dropped_tap++;
        return;
    }
    static const struct sim_link lan = { .latency_min_us = SIM_LAN_US,
                                         .latency_max_us = SIM_LAN_US };
    send_over(n, &r, r.is_lan ? &lan : n->link != NULL ? n->link : &w->o.link, to, data, len);
}

void sim_inject(struct sim_world *w, const struct env_addr *from, const struct env_addr *to,
                const void *data, size_t len, uint64_t delay_ns)
{
    struct sim_packet *p = packet_of(w, from, to, data, len);
    w->stats.injected++;
    schedule(w, p, delay_ns);
}

/* The node that owns p->to, through boxes on the way in. NULL: counted. */
static struct sim_node *find_receiver(struct sim_world *w, struct sim_packet *p)
{
    if (p->only != NULL)
        return p->only;
    for (;;) {
        struct sim_site *s = sim__site_get(w, p->realm, &p->to);
        if (s == NULL) {
            w->stats.dropped_no_route++;
            return NULL;
        }
        if (!s->is_nat)
            return container_of(s, struct sim_node, site);
        struct sim_nat *nat = container_of(s, struct sim_nat, site);
        if (!sim__nat_in(nat, &p->from, &p->to)) {
            w->stats.dropped_nat++;
            return NULL;
        }
        p->realm = nat->inside;
    }
}

static void arrive_at(struct sim_world *w, struct sim_node *n, struct sim_packet *p)
{
    if (p->sender != SIM_NOBODY && w->nodes[p->sender]->group != n->group) {
        w->stats.dropped_partition++;
        return;
    }
    if (!n->up) {
        w->stats.dropped_down++;
        return;
    }
    sim__udp_receive(n, p);
}

void sim__arrive(struct sim_world *w, struct sim_packet *p)
{
    struct sim_node *n = find_receiver(w, p);
    sim__note(w, n != NULL ? SIM_EV_PACKET : SIM_EV_DROP, n != NULL ? n->index : SIM_NOBODY, p->len,
              sim__mix_bytes(p->from.port, p->data, p->len));
    if (n != NULL)
        arrive_at(w, n, p);
    sim__packet_free(w, p);
}
