/* Every bound of links and handshakes, hit on purpose. */
#include <sodium.h>

#include "base/crypto.h"
#include "few.h"

/* ---- handshake floods ------------------------------------------------------------------------ */

/* A stranger with a fresh key and, as it claims, an address of its own. */
struct stranger {
    uint8_t secret[32], pub[32];
    struct mesh_hs_initiator hs;
};

static void stranger_init(struct stranger *s, const struct few_node *victim, uint32_t n,
                          uint8_t packet[static MESH_INIT_LEN])
{
    uint8_t seed[32] = { 1 }, e[32];
    struct mesh_hs_self self = { .net = &victim->config.network,
                                 .features = MESH_FEATURE_UNLISTED,
                                 .version = { 1, 1, 0, 0 } };
    memcpy(seed + 1, &n, sizeof n);
    crypto_h(s->secret, "stranger", &BYTES(seed, sizeof seed), 1);
    crypto_h(e, "ephemeral", &BYTES(seed, sizeof seed), 1);
    crypto_dh_public(s->pub, s->secret);
    memcpy(self.secret, s->secret, 32);
    memcpy(self.pub, s->pub, 32);
    cr_assert_eq(mesh_hs_init(&s->hs, &self, victim->contact.id, victim->contact.link_key, n, 1, e,
                              NULL, packet),
                 0);
}

static struct env_addr spoofed(uint32_t n, uint32_t prefix)
{
    return env_addr_v4(172, (uint8_t)(16 + (prefix >> 8)), (uint8_t)prefix, (uint8_t)n,
                       (uint16_t)(1000 + (n >> 8)));
}

static void flood(struct few_node *victim, uint32_t first, uint32_t n, uint32_t n_prefixes)
{
    for (uint32_t i = first; i < first + n; i++) {
        struct stranger s;
        uint8_t packet[MESH_INIT_LEN];
        struct env_addr from = spoofed(i, i % n_prefixes);
        stranger_init(&s, victim, i, packet);
        sim_inject(victim->few->world, &from, &victim->contact.addr, packet, sizeof packet, 0);
    }
    few_run_ms(victim->few, 1);
}

/* A network with the rules by prefix, unlike a lab. */
static struct few_node *add_strict(struct few *f, uint8_t net)
{
    struct cyx_err err = { 0 };
    struct few_node *n = few_add(f, net);
    cr_assert_eq(mesh_network_init(&n->config.network, "strict", 1, false, &err), 0);
    n->config.advertise[0] = n->contact.addr;
    n->config.n_advertise = 1;
    return n;
}

struct bytes_seen {
    struct env_addr at;
    uint64_t in, out;
};

static bool weigh(void *arg, const struct sim_datagram *d)
{
    struct bytes_seen *b = arg;
    if (env_addr_equal(&d->to, &b->at))
        b->in += d->len;
    if (env_addr_equal(&d->from, &b->at))
        b->out += d->len;
    return true;
}

Test(mesh_link_limits, a_spoofed_flood_gets_cookies_and_a_real_peer_gets_in)
{
    struct few f;
    few_init(&f, 1, NULL);
    struct few_node *victim = add_strict(&f, 0), *peer = add_strict(&f, 1);
    few_boot(victim);
    few_boot(peer);
    few_run_ms(&f, 100);
    struct bytes_seen b = { .at = victim->contact.addr };
    cr_assert_eq(sim_tap(f.world, weigh, &b), 0);
    flood(victim, 0, 1000, 200);
    struct mesh__counters *n = &victim->mesh->n;
    cr_expect_leq(n->handshakes_in, (uint64_t)MESH_COOKIE_RATE + 5);
    cr_expect_eq(few_drops(victim, MESH_INIT, DROP_COOKIE), 1000u - n->handshakes_in);
    cr_expect_eq(n->tx_packets[MESH_COOKIE], few_drops(victim, MESH_INIT, DROP_COOKIE));
    cr_expect_leq(b.out, 1000u * MESH_INIT_LEN * 3 / 4);
    cr_assert_not_null(few_dial(peer, victim));
    flood(victim, 1000, 300, 200);
    few_run_ms(&f, 200);
    cr_expect_eq(peer->ups, 1u);
    cr_expect_eq(victim->ups, 1u);
    few_run_ms(&f, MESH_UNCONFIRMED_MS);
    cr_expect_eq(victim->mesh->n_half_opens, 0u);
    few_fini(&f);
}

Test(mesh_link_limits, a_prefix_holds_eight_unconfirmed_sessions_and_forty_handshakes_at_once)
{
    struct few f;
    few_init(&f, 2, NULL);
    struct few_node *victim = add_strict(&f, 0);
    few_boot(victim);
    few_run_ms(&f, 100);
    flood(victim, 0, 60, 1);
    cr_expect_eq(victim->mesh->n.handshakes_in, (uint64_t)MESH_HS_PREFIX_BURST);
    cr_expect_eq(few_drops(victim, MESH_INIT, DROP_LOAD), 60u - MESH_HS_PREFIX_BURST);
    cr_expect_eq(victim->mesh->n_half_opens, (size_t)MESH_UNCONFIRMED_PREFIX);
    cr_expect_eq(victim->mesh->n.half_open_evicted,
                 (uint64_t)MESH_HS_PREFIX_BURST - MESH_UNCONFIRMED_PREFIX);
    few_run_ms(&f, MESH_UNCONFIRMED_MS);
    cr_expect_eq(victim->mesh->n_half_opens, 0u);
    cr_expect_eq(map_len(victim->mesh->indices), 0u);
    few_fini(&f);
}

/* A second's worth of them was answered a moment ago. */
Test(mesh_link_limits, so_many_handshakes_are_answered_in_all)
{
    static const struct sim_link near = { .latency_min_us = 1, .latency_max_us = 1 };
    struct few f;
    few_init(&f, 1, &near);
    few_boot(few_add(&f, 0));
    few_boot(few_add(&f, 0));
    few_run_ms(&f, 50);
    struct mesh *m = f.node[0].mesh;
    uint64_t before = m->n.handshakes_in;
    cr_expect(mesh_bucket_take(&m->handshakes, MESH_HS_RATE, mesh__now(m)));
    cr_assert_not_null(few_dial(&f.node[1], &f.node[0]));
    few_run_ms(&f, 1);
    cr_expect_eq(m->n.handshakes_in, before);
    cr_expect_eq(few_drops(&f.node[0], MESH_INIT, DROP_LOAD), 1u);
    few_run_ms(&f, 5000); /* sent again, it has its turn */
    cr_expect_eq(m->n.handshakes_in, before + 1);
    cr_expect_eq(f.node[1].ups, 1u);
    few_fini(&f);
}

Test(mesh_link_limits, a_half_full_table_asks_for_cookies_below_the_rate_too)
{
    struct few f;
    few_init(&f, 3, NULL);
    struct few_node *victim = few_add(&f, 0);
    few_boot(victim);
    few_run_ms(&f, 100);
    flood(victim, 0, 10, 10);
    cr_expect_eq(victim->mesh->n.handshakes_in, 10u);
    victim->mesh->n_half_opens += MESH_UNCONFIRMED_MAX / 2;
    flood(victim, 10, 10, 10);
    victim->mesh->n_half_opens -= MESH_UNCONFIRMED_MAX / 2;
    cr_expect_eq(victim->mesh->n.handshakes_in, 10u);
    cr_expect_eq(few_drops(victim, MESH_INIT, DROP_COOKIE), 10u);
    few_fini(&f);
}

Test(mesh_link_limits, the_lru_of_sequences_keeps_to_its_bound)
{
    struct mesh__sequences *s = mesh__sequences_create(4);
    uint8_t key[32] = { 0 };
    for (uint8_t i = 0; i < 6; i++) {
        key[0] = i;
        cr_expect(mesh__sequence_is_fresh(s, key, 0));
        mesh__sequence_note(s, key, 10);
    }
    key[0] = 5;
    cr_expect_not(mesh__sequence_is_fresh(s, key, 10));
    cr_expect_not(mesh__sequence_is_fresh(s, key, 9));
    cr_expect(mesh__sequence_is_fresh(s, key, 11));
    key[0] = 1; /* forgotten: the least recent two went */
    cr_expect(mesh__sequence_is_fresh(s, key, 0));
    key[0] = 2;
    cr_expect_not(mesh__sequence_is_fresh(s, key, 0));
    mesh__sequences_destroy(s);
}

Test(mesh_link_limits, an_unlisted_node_answers_no_init)
{
    struct few f;
    few_init(&f, 4, NULL);
    struct few_node *user = few_add(&f, 0), *peer = few_add(&f, 0);
    user->config.is_listed = false;
    few_boot(user);
    few_boot(peer);
    few_run_ms(&f, 50);
    cr_assert_not_null(few_dial(peer, user));
    few_run_ms(&f, 10000);
    cr_expect_eq(peer->ups, 0u);
    cr_expect_eq(few_drops(user, MESH_INIT, DROP_STATE), (uint64_t)MESH_INIT_TRIES);
    cr_expect_eq(user->mesh->n.tx_packets[MESH_RESP], 0u);
    few_fini(&f);
}

/* ---- links ----------------------------------------------------------------------------------- */

static void many_dial_one(struct few *f, uint64_t seed, unsigned n, size_t links_max, bool strict,
                          bool own_prefixes)
{
    few_init(f, seed, NULL);
    for (unsigned i = 0; i <= n; i++) {
        uint8_t net = own_prefixes ? (uint8_t)i : 0;
        struct few_node *node = strict ? add_strict(f, net) : few_add(f, net);
        if (i == 0)
            node->config.links_max = links_max;
        few_boot(node);
        mesh__discover_stop(node->mesh);
    }
    few_run_ms(f, 100);
    for (unsigned i = 1; i <= n; i++) {
        cr_assert_not_null(few_dial(&f->node[i], &f->node[0]));
        few_run_ms(f, 200);
    }
}

Test(mesh_link_limits, at_the_bound_the_idlest_link_goes)
{
    struct few f;
    many_dial_one(&f, 5, 6, 4, false, true);
    cr_expect_eq(f.node[0].mesh->n_links, 4u);
    cr_expect_eq(f.node[0].mesh->n.links_shed, 2u);
    cr_expect_eq(f.node[1].downs, 1u); /* idle for longest */
    cr_expect_eq(f.node[2].downs, 1u);
    cr_expect_str_eq(f.node[1].why, "the peer has too many links");
    cr_expect_eq(f.node[6].mesh->n_up, 1u);
    cr_expect_null(few_dial(&f.node[0], &f.node[1])); /* and none is dialled beyond it */
    few_fini(&f);
}

Test(mesh_link_limits, where_no_prefix_has_more_than_others_the_idlest_goes_not_the_oldest)
{
    struct few f;
    many_dial_one(&f, 8, 4, 4, true, true);
    struct mesh *m = f.node[0].mesh;
    struct mesh_link *oldest = mesh_link_by_id(m, mesh_identity_of(f.node[1].mesh)->id);
    cr_assert_not_null(oldest);
    oldest->last_use_ns = mesh__now(m);
    struct few_node *last = add_strict(&f, 5);
    few_boot(last);
    cr_assert_not_null(few_dial(last, &f.node[0]));
    few_run_ms(&f, 200);
    cr_expect_eq(m->n.links_shed, 1u);
    cr_expect_eq(f.node[1].downs, 0u);
    cr_expect_eq(f.node[2].downs, 1u);
    few_fini(&f);
}

Test(mesh_link_limits, one_prefix_gets_an_eighth_of_the_links)
{
    struct few f;
    many_dial_one(&f, 6, 6, 32, true, false);
    cr_expect_eq(f.node[0].mesh->n_links, 4u);
    cr_expect_eq(f.node[0].mesh->n.links_shed, 2u);
    few_fini(&f);
    many_dial_one(&f, 7, 6, 32, true, true); /* others don't suffer */
    cr_expect_eq(f.node[0].mesh->n_links, 6u);
    few_fini(&f);
    many_dial_one(&f, 8, 6, 32, false, false); /* a lab lifts it */
    cr_expect_eq(f.node[0].mesh->n_links, 6u);
    few_fini(&f);
}

/* ---- roaming --------------------------------------------------------------------------------- */

static void queue_cells(void *arg)
{
    struct mesh_link *l = arg;
    uint8_t cell[MESH_CELL] = { 0 };
    for (uint32_t i = 0; i < 200; i++)
        cr_assert_eq(mesh_cell_send(l, 1, cell), 0);
}

static void ping_done(void *arg, int code, uint64_t rtt_ns)
{
    (void)arg;
    (void)code;
    (void)rtt_ns;
}

static void ping_now(void *arg)
{
    cr_assert_eq(mesh_ping(arg, ping_done, NULL), 0);
}

Test(mesh_link_limits, a_link_follows_its_peer_to_a_new_address)
{
    struct few f;
    few_pair(&f, 9);
    struct env_addr to = env_addr_v4(10, 7, 7, 7, 0), with_port = env_addr_v4(10, 7, 7, 7, 4100);
    cr_assert_eq(sim_node_move(f.node[0].sim, &to, NULL), 0);
    struct mesh_link *a = few_link(&f.node[0], &f.node[1]), *b = few_link(&f.node[1], &f.node[0]);
    few_in(&f.node[0], ping_now, a);
    few_run_ms(&f, 15);
    cr_expect(env_addr_equal(&b->addr, &with_port));
    cr_expect_not(env_addr_equal(&b->proven, &with_port));
    few_run_ms(&f, 30);
    cr_expect(env_addr_equal(&b->proven, &with_port)); /* its PONG came from there */
    struct env_addr seen;
    cr_expect(mesh__own_observed_get(f.node[0].mesh, &seen));
    cr_expect(env_addr_equal(&seen, &with_port)); /* OBSERVED was said again */
    cr_expect_eq(b->roams, 1u);
    few_in(&f.node[1], queue_cells, b);
    few_run_ms(&f, 100);
    cr_expect_eq(f.node[0].n_cells, 200u);
    few_fini(&f);
}

struct thief {
    struct few *f;
    struct env_addr victim; /* whose packets leave it, and what goes to the false place */
    struct env_addr falsely;
    uint64_t stolen_bytes, moved;
};

/* Takes one FULL of node 0 and lets it arrive from elsewhere instead: a copy from a false place. */
static bool steal_packet(void *arg, const struct sim_datagram *d)
{
    struct thief *t = arg;
    if (env_addr_equal(&d->to, &t->falsely)) {
        t->stolen_bytes += d->len;
        return false;
    }
    if (t->moved > 0 || d->data[0] != MESH_FULL || !env_addr_equal(&d->from, &t->victim))
        return true;
    t->moved++;
    sim_inject(t->f->world, &t->falsely, &d->to, d->data, d->len, SIM_MS(1));
    return false;
}

Test(mesh_link_limits, at_most_three_times_the_bytes_go_to_an_unproven_address)
{
    struct few f;
    few_pair(&f, 10);
    struct few_node *elsewhere = few_add(&f, 5);
    struct mesh_link *a = few_link(&f.node[0], &f.node[1]), *b = few_link(&f.node[1], &f.node[0]);
    struct thief t = { .f = &f, .victim = f.node[0].contact.addr };
    t.falsely = elsewhere->contact.addr;
    cr_assert_eq(sim_tap(f.world, steal_packet, &t), 0);
    few_in(&f.node[0], ping_now, a);
    few_run_ms(&f, 5);
    cr_assert(env_addr_equal(&b->addr, &t.falsely));
    few_in(&f.node[1], queue_cells, b);
    few_run_ms(&f, 100);
    cr_expect_leq(t.stolen_bytes, 3u * MESH_PACKET);
    cr_expect_gt(t.stolen_bytes, 0u);
    cr_expect_gt(mesh_link_queued(b), 190u); /* kept, not lost */
    few_in(&f.node[0], ping_now, a);         /* the true peer speaks: it is found at home again */
    few_run_ms(&f, 200);
    cr_expect(env_addr_equal(&b->addr, &t.victim));
    cr_expect_eq(mesh_link_queued(b), 0u);
    cr_expect_gt(f.node[0].n_cells, 190u);
    few_fini(&f);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* A carrier that takes `room` rows and then says "again". */
struct stubborn {
    struct mesh_carrier carrier;
    struct mesh_carrier *real;
    unsigned room;
    unsigned refused;
};

static int stubborn_send(struct mesh_carrier *c, const struct env_addr *to, const uint8_t *data,
                         size_t len, size_t segment)
{
    struct stubborn *s = container_of(c, struct stubborn, carrier);
    if (s->room == 0) {
        s->refused++;
        return CYX_EAGAIN;
    }
    s->room--;
    return s->real->ops->send(s->real, to, data, len, segment);
}

static void stubborn_info(const struct mesh_carrier *c, struct env_udp_info *out)
{
    (void)c;
    *out = (struct env_udp_info){ 0 };
}

static void stubborn_close(struct mesh_carrier *c)
{
    struct stubborn *s = container_of(c, struct stubborn, carrier);
    s->real->ops->close(s->real);
}

static const struct mesh_carrier_ops stubborn_ops = { .name = "stubborn",
                                                      .mtu = MESH_PACKET,
                                                      .send = stubborn_send,
                                                      .info = stubborn_info,
                                                      .close = stubborn_close };

static void say_writable(void *arg)
{
    struct few_node *n = arg;
    mesh__writable(n->mesh, n->mesh->carrier);
}

Test(mesh_link_limits, a_full_socket_loses_no_cell)
{
    struct few f;
    few_pair(&f, 11);
    struct stubborn s = { .carrier.ops = &stubborn_ops, .real = f.node[0].mesh->carrier };
    f.node[0].mesh->carrier = &s.carrier;
    few_in(&f.node[0], queue_cells, few_link(&f.node[0], &f.node[1]));
    cr_expect_eq(s.refused, 1u);
    for (unsigned i = 0; i < 30 && f.node[1].n_cells < 200; i++) {
        s.room = 1 + i % 2;
        few_in(&f.node[0], say_writable, &f.node[0]);
        few_run_ms(&f, 20);
    }
    cr_expect_eq(f.node[1].n_cells, 200u);
    s.room = 1000;
    few_fini(&f);
}

Test(mesh_link_limits, egress_is_shaped_to_the_configured_rate)
{
    struct few f;
    few_init(&f, 12, NULL);
    few_add(&f, 0)->config.egress_bytes_per_s = 100 * MESH_PACKET; /* a hundred packets a second */
    few_add(&f, 0);
    few_boot(&f.node[0]);
    few_boot(&f.node[1]);
    few_run_ms(&f, 50);
    cr_assert_not_null(few_dial(&f.node[0], &f.node[1]));
    few_run_ms(&f, 5000);
    few_in(&f.node[0], queue_cells, few_link(&f.node[0], &f.node[1]));
    few_run_ms(&f, 1000);
    cr_expect_gt(f.node[1].n_cells, 130u); /* what an idle second saved up, then the rate */
    cr_expect_lt(f.node[1].n_cells, 160u);
    few_run_ms(&f, 1000);
    cr_expect_eq(f.node[1].n_cells, 200u);
    few_fini(&f);
}

static void queue_much(void *arg)
{
    struct mesh_link *l = arg;
    uint8_t cell[MESH_CELL] = { 0 }, train[7680];
    memset(train, 0x5a, sizeof train);
    for (uint32_t i = 0; i < 600; i++)
        cr_assert_eq(mesh_cell_send(l, 1 + i % 3, cell), 0);
    for (uint32_t i = 0; i < 10; i++)
        cr_assert_eq(mesh_train_send(l, 9, false, train, sizeof train), 0);
    cr_assert_eq(mesh_train_send(l, 9, true, train, sizeof train), CYX_EINVAL);
    mesh_path_destroy(l, 0x1234);
}

Test(mesh_link_limits, trains_get_a_quarter_while_cells_wait_and_destroy_goes_first)
{
    struct few f;
    few_pair(&f, 13);
    struct stubborn s = { .carrier.ops = &stubborn_ops, .real = f.node[0].mesh->carrier };
    f.node[0].mesh->carrier = &s.carrier;
    few_in(&f.node[0], queue_much, few_link(&f.node[0], &f.node[1]));
    s.room = 2;
    few_in(&f.node[0], say_writable, &f.node[0]);
    few_run_ms(&f, 15);
    /* The row of cells that was full before anything else came; then one of 48 packets, a quarter
     * of them fragments. */
    cr_expect_eq(f.node[1].n_destroyed, 1u);
    cr_expect_eq(f.node[1].destroyed[0], 0x1234u);
    cr_expect_eq(f.node[1].n_cells, 48u + 36u);
    cr_expect_eq(f.node[1].trains, 2u);
    s.room = 10000;
    few_in(&f.node[0], say_writable, &f.node[0]);
    few_run_ms(&f, 100);
    cr_expect_eq(f.node[1].n_cells, 600u);
    cr_expect_eq(f.node[1].trains, 10u);
    cr_expect_eq(f.node[1].train_len, 7680u);
    cr_expect_eq(f.node[1].train_path, 9u);
    cr_expect_geq(f.node[0].writables, 1u);
    few_fini(&f);
}

static void queue_both(void *arg)
{
    struct mesh_link **l = arg;
    queue_cells(l[0]);
    queue_cells(l[1]);
}

Test(mesh_link_limits, a_busy_link_starves_no_other)
{
    struct few f;
    few_init(&f, 14, NULL);
    for (unsigned i = 0; i < 3; i++)
        few_boot(few_add(&f, 0));
    few_run_ms(&f, 50);
    struct mesh_link *l[2];
    for (unsigned i = 0; i < 2; i++)
        cr_assert_not_null(l[i] = few_dial(&f.node[0], &f.node[1 + i]));
    few_run_ms(&f, 3000);
    struct stubborn s = { .carrier.ops = &stubborn_ops, .real = f.node[0].mesh->carrier };
    f.node[0].mesh->carrier = &s.carrier;
    few_in(&f.node[0], queue_both, l);
    for (unsigned i = 0; i < 5; i++) {
        s.room = 1;
        few_in(&f.node[0], say_writable, &f.node[0]);
    }
    few_run_ms(&f, 50);
    cr_expect_eq(f.node[1].n_cells,
                 48u + 96u); /* a row that was full before the other had any; two rows each */
    cr_expect_eq(f.node[2].n_cells, 96u);
    s.room = 1000;
    few_fini(&f);
}

static void draw_indices(struct mesh *m, unsigned n_workers)
{
    m->config.n_workers = n_workers;
    m->config.worker = n_workers - 1;
    for (unsigned i = 0; i < 1000; i++) {
        struct mesh__keys *k = mesh__keys_create(m, MESH__KEYS_DIALING);
        cr_assert_not_null(k);
        cr_expect_eq(mesh_index_worker(k->index, n_workers), n_workers - 1);
        mesh__keys_destroy(m, k);
    }
}

Test(mesh_link_limits, session_indices_name_their_worker)
{
    static const unsigned groups[] = { 1, 2, 3, 7, 200, 256 };
    struct few f;
    few_init(&f, 20, NULL);
    few_boot(few_add(&f, 0));
    for (unsigned i = 0; i < sizeof groups / sizeof groups[0]; i++)
        draw_indices(f.node[0].mesh, groups[i]);
    few_fini(&f);
}

/* ---- what an operator sees ------------------------------------------------------------------- */

struct seen {
    unsigned n, limits;
    uint64_t drops, used_links;
};

static void note(void *arg, const struct metric *m)
{
    struct seen *s = arg;
    cr_expect_str_not_empty(m->help);
    cr_expect_eq(strncmp(m->name, "cyx_mesh_", 9), 0);
    cr_expect_eq(m->label == NULL, m->value_of_label == NULL);
    s->n++;
    s->limits += strcmp(m->name, "cyx_mesh_limit") == 0;
    if (strcmp(m->name, "cyx_mesh_dropped_total") == 0)
        s->drops += m->value;
    if (strcmp(m->name, "cyx_mesh_used") == 0 && strcmp(m->value_of_label, "links") == 0)
        s->used_links = m->value;
}

Test(mesh_link_limits, metrics_show_drops_by_reason_and_limits_with_their_use)
{
    struct few f;
    struct seen s = { 0 };
    few_pair(&f, 15);
    struct env_addr from = env_addr_v4(9, 9, 9, 9, 9);
    for (uint8_t i = 0; i < 9; i++)
        sim_inject(f.world, &from, &f.node[0].contact.addr, (uint8_t[2]){ i, 0 }, 2, 0);
    few_run_ms(&f, 10);
    mesh_metrics(f.node[0].mesh, note, &s);
    cr_expect_eq(s.drops, 9u);
    cr_expect_eq(s.used_links, 1u);
    cr_expect_eq(s.limits, 6u);
    cr_expect_gt(s.n, 80u);
    few_fini(&f);
}

/* ---- links made for one request ---- */

static void dial_for_once(void *arg)
{
    struct few_node *n = arg;
    struct mesh_contact to;
    mesh_own_contact(n[1].mesh, &to);
    cr_assert_not_null(mesh_dial(n[0].mesh, &to, NULL));
}

Test(mesh_link_limits, a_link_that_was_dialled_for_a_request_ends_when_it_is_idle)
{
    struct few f;
    few_init(&f, 15, NULL);
    for (unsigned i = 0; i < 2; i++)
        few_boot(few_add(&f, 0));
    few_run_ms(&f, 50);
    few_in(&f.node[0], dial_for_once, f.node);
    few_run_ms(&f, 1000);
    struct mesh_link *l = few_link(&f.node[0], &f.node[1]);
    cr_assert_not_null(l);
    cr_expect(!l->is_wanted);
    few_run_ms(&f, MESH_IDLE_MS + 5000);
    cr_expect_null(few_link(&f.node[0], &f.node[1]));
    few_fini(&f);
}
