#include "few.h"

/* What a tap does to datagrams of one type. */
struct meddler {
    struct few *f;
    uint8_t type;
    unsigned swallow; /* this many more */
    unsigned seen;
    uint8_t last[MESH_PACKET];
    size_t last_len;
    struct env_addr from, to;
};

static bool meddle(void *arg, const struct sim_datagram *d)
{
    struct meddler *m = arg;
    if (d->len == 0 || d->data[0] != m->type)
        return true;
    m->seen++;
    if (d->len <= sizeof m->last && (m->swallow > 0 || m->last_len == 0)) {
        memcpy(m->last, d->data, d->len);
        m->last_len = d->len;
        m->from = d->from;
        m->to = d->to;
    }
    if (m->swallow == 0)
        return true;
    m->swallow--;
    return false;
}

static void meddle_with(struct few *f, struct meddler *m, uint8_t type, unsigned swallow)
{
    *m = (struct meddler){ .f = f, .type = type, .swallow = swallow };
    cr_assert_eq(sim_tap(f->world, meddle, m), 0);
}

static void two_off(struct few *f, uint64_t seed, const struct sim_link *link)
{
    few_init(f, seed, link);
    few_boot(few_add(f, 0));
    few_boot(few_add(f, 0));
    few_run_ms(f, 50);
}

static void expect_up(const struct few *f)
{
    for (unsigned i = 0; i < 2; i++) {
        struct mesh_link *l = few_link(&f->node[i], &f->node[1 - i]);
        cr_assert_not_null(l);
        cr_expect_eq(l->state, MESH_LINK_UP);
        cr_expect_eq(f->node[i].mesh->n_up, 1u);
    }
}

/* ---- handshake ------------------------------------------------------------------------------- */

Test(mesh_link, two_nodes_shake_hands_and_know_each_other)
{
    struct few f;
    few_pair(&f, 1);
    for (unsigned i = 0; i < 2; i++) {
        struct few_node *n = &f.node[i];
        struct mesh_link_info info;
        struct mesh_link *l = few_link(n, &f.node[1 - i]);
        mesh_link_info(l, &info);
        cr_expect_eq(info.is_initiator, i == 0);
        cr_expect(info.has_id);
        cr_expect(info.is_listed);
        cr_expect_arr_eq(info.id, f.node[1 - i].identity->id, 32);
        cr_expect_eq(mesh_link_by_id(n->mesh, info.id), l);
        cr_expect_eq(mesh_link_by_number(n->mesh, info.number), l);
        cr_expect_eq(info.rtt_ns, SIM_MS(20));
        cr_expect_eq(n->ups, 1u);
        cr_expect_eq(n->knowns, 1u);
        cr_expect_eq(n->downs, 0u);
    }
    few_fini(&f);
}

Test(mesh_link, lost_handshake_packets_are_sent_again)
{
    static const uint8_t types[] = { MESH_INIT, MESH_RESP, MESH_FULL };
    for (unsigned i = 0; i < sizeof types; i++) {
        struct few f;
        struct meddler m;
        two_off(&f, 2, NULL);
        meddle_with(&f, &m, types[i], 4);
        cr_assert_not_null(few_dial(&f.node[0], &f.node[1]));
        few_run_ms(&f, 7000);
        expect_up(&f);
        cr_expect_eq(m.swallow, 0u);
        few_fini(&f);
    }
}

Test(mesh_link, five_tries_without_answer_let_the_address_rest)
{
    struct few f;
    struct meddler m;
    two_off(&f, 3, NULL);
    meddle_with(&f, &m, MESH_INIT, 1000);
    cr_assert_not_null(few_dial(&f.node[0], &f.node[1]));
    few_run_ms(&f, 10000);
    cr_expect_eq(m.seen, (unsigned)MESH_INIT_TRIES);
    cr_expect_eq(f.node[0].downs, 1u);
    cr_expect_eq(f.node[0].ups, 0u);
    cr_expect_str_eq(f.node[0].why, "no answer");
    cr_expect_null(few_dial(&f.node[0], &f.node[1]));
    few_run_ms(&f, MESH_ADDR_REST_MS);
    m.swallow = 0;
    cr_expect_not_null(few_dial(&f.node[0], &f.node[1]));
    few_run_ms(&f, 1000);
    expect_up(&f);
    few_fini(&f);
}

Test(mesh_link, a_replayed_init_has_no_second_effect)
{
    struct few f;
    struct meddler m;
    two_off(&f, 4, NULL);
    meddle_with(&f, &m, MESH_INIT, 0);
    cr_assert_not_null(few_dial(&f.node[0], &f.node[1]));
    few_run_ms(&f, 1000);
    struct few_node *b = &f.node[1];
    uint64_t answered = b->mesh->n.handshakes_in;
    struct env_addr other = env_addr_v4(10, 9, 9, 9, 1);
    for (unsigned i = 0; i < 20; i++)
        sim_inject(f.world, i % 2 ? &other : &m.from, &m.to, m.last, m.last_len, i);
    few_run_ms(&f, 1000);
    cr_expect_eq(few_drops(b, MESH_INIT, DROP_REPLAY), 20u);
    cr_expect_eq(b->mesh->n.handshakes_in, answered);
    cr_expect_eq(b->mesh->n_half_opens, 0u);
    expect_up(&f);
    few_fini(&f);
}

Test(mesh_link, a_false_id_or_key_in_a_contact_leads_nowhere)
{
    struct few f;
    two_off(&f, 5, NULL);
    struct few_node liar = f.node[1];
    liar.contact.id[0] ^= 1; /* the right key under another name */
    cr_assert_not_null(few_dial(&f.node[0], &liar));
    few_run_ms(&f, 10000);
    cr_expect_eq(f.node[0].ups, 0u);
    cr_expect_gt(few_drops(&f.node[1], MESH_INIT, DROP_AUTH) +
                     few_drops(&f.node[0], MESH_RESP, DROP_AUTH),
                 0u);
    few_run_ms(&f, MESH_ADDR_REST_MS);
    liar = f.node[1];
    liar.contact.link_key[0] ^= 1;
    cr_assert_not_null(few_dial(&f.node[0], &liar));
    few_run_ms(&f, 10000);
    cr_expect_eq(few_drops(&f.node[1], MESH_INIT, DROP_MAC), (uint64_t)MESH_INIT_TRIES);
    cr_expect_eq(f.node[1].mesh->n_half_opens, 0u);
    few_fini(&f);
}

Test(mesh_link, nobody_dials_itself)
{
    struct few f;
    two_off(&f, 6, NULL);
    cr_expect_null(few_dial(&f.node[0], &f.node[0]));
    few_fini(&f);
}

Test(mesh_link, both_dial_at_once_and_one_link_comes_of_it)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct few f;
        struct sim_link lossy = {
            .latency_min_us = 20000, .latency_max_us = 20000, .jitter_us = 15000, .loss_ppm = 200000
        };
        two_off(&f, seed, seed % 2 ? NULL : &lossy);
        cr_assert_not_null(few_dial(&f.node[0], &f.node[1]));
        cr_assert_not_null(few_dial(&f.node[1], &f.node[0]));
        few_run_ms(&f, 60000);
        expect_up(&f);
        struct mesh_link *a = few_link(&f.node[0], &f.node[1]);
        struct mesh_link *b = few_link(&f.node[1], &f.node[0]);
        cr_expect_neq(a->current->is_initiator, b->current->is_initiator, "seed %d", (int)seed);
        cr_expect_eq(mesh_session_remote_index(a->current->session), b->current->index);
        cr_expect_eq(f.node[0].ups + f.node[1].ups, 2u);
        cr_expect_eq(f.node[0].downs + f.node[1].downs, 0u);
        cr_expect_null(a->previous);
        cr_expect_null(b->previous);
        if (seed % 2) /* nothing lost: the smaller key's handshake stands */
            cr_expect_eq(a->current->is_initiator, memcmp(f.node[0].identity->link.pub,
                                                          f.node[1].identity->link.pub, 32) < 0);
        few_fini(&f);
    }
}

Test(mesh_link, a_peer_that_crashed_dials_again_over_the_old_link)
{
    struct few f;
    few_pair(&f, 8);
    few_run_ms(&f, 2000); /* the peer is on disk by then */
    sim_node_crash(f.node[0].sim);
    few_run_ms(&f, 100);
    few_boot(&f.node[0]);
    few_run_ms(&f, 3000); /* it remembers the other and dials */
    expect_up(&f);
    struct mesh_link *a = few_link(&f.node[0], &f.node[1]);
    struct mesh_link *b = few_link(&f.node[1], &f.node[0]);
    cr_expect_eq(mesh_session_remote_index(a->current->session), b->current->index);
    few_fini(&f);
}

/* ---- rekey ----------------------------------------------------------------------------------- */

struct pump {
    struct few_node *from, *to;
    uint32_t next;
    uint64_t every_ns, until_ns;
};

static void pump_cell(void *arg)
{
    struct pump *p = arg;
    uint8_t cell[MESH_CELL] = { 0 };
    struct writer w = writer_on(cell, sizeof cell);
    struct mesh_link *l = few_link(p->from, p->to);
    cr_assert_not_null(l);
    writer_u32(&w, p->next++);
    cr_expect_eq(mesh_cell_send(l, 77, cell), 0);
}

static void pump_tick(void *arg)
{
    struct pump *p = arg;
    struct sim_world *w = p->from->few->world;
    sim_node_enter(p->from->sim, pump_cell, p);
    if (sim_now(w) < p->until_ns)
        sim_at(w, sim_now(w) + p->every_ns, pump_tick, p);
}

static void pump_start(struct pump *p, struct few_node *from, struct few_node *to, uint64_t ms)
{
    uint64_t now = sim_now(from->few->world);
    *p = (struct pump){
        .from = from, .to = to, .every_ns = SIM_MS(7), .until_ns = now + SIM_MS(ms)
    };
    sim_at(from->few->world, now, pump_tick, p);
}

Test(mesh_link, no_cell_is_lost_by_a_rekey)
{
    struct few f;
    struct pump ab, ba;
    few_pair(&f, 9);
    /* Reordering network: packets under old and new keys overtake each other. */
    sim_set_link(f.world, &(struct sim_link){ .latency_min_us = 30000,
                                              .latency_max_us = 30000,
                                              .reorder_ppm = 300000,
                                              .reorder_us = 80000 });
    pump_start(&ab, &f.node[0], &f.node[1], 400000);
    pump_start(&ba, &f.node[1], &f.node[0], 400000);
    few_run_ms(&f, 401000);
    struct mesh_link *a = few_link(&f.node[0], &f.node[1]);
    cr_expect_eq(a->rekeys, 3u);
    cr_expect_eq(f.node[1].n_cells, ab.next);
    cr_expect_eq(f.node[0].n_cells, ba.next);
    cr_expect_eq(few_drops(&f.node[0], MESH_FULL, DROP_UNKNOWN), 0u);
    cr_expect_eq(few_drops(&f.node[1], MESH_FULL, DROP_UNKNOWN), 0u);
    few_fini(&f);
}

Test(mesh_link, rekeys_succeed_under_heavy_loss_without_a_link_going_down)
{
    struct few f;
    struct pump ab, ba;
    few_pair(&f, 10);
    sim_set_link(
        f.world,
        &(struct sim_link){ .latency_min_us = 40000, .latency_max_us = 40000, .loss_ppm = 200000 });
    pump_start(&ab, &f.node[0], &f.node[1], 1000000);
    pump_start(&ba, &f.node[1], &f.node[0], 1000000);
    few_run_ms(&f, 1001000);
    expect_up(&f);
    cr_expect_eq(f.node[0].downs + f.node[1].downs, 0u);
    cr_expect_geq(few_link(&f.node[0], &f.node[1])->rekeys, 7u);
    /* Only what the network lost is missing, give or take its dice. */
    cr_expect_gt(f.node[1].n_cells, (size_t)ab.next * 78 / 100);
    cr_expect_gt(f.node[0].n_cells, (size_t)ba.next * 78 / 100);
    few_fini(&f);
}

Test(mesh_link, keys_die_at_180_seconds_when_no_rekey_gets_through)
{
    struct few f;
    struct meddler m;
    few_pair(&f, 11);
    meddle_with(&f, &m, MESH_INIT, 1000);
    few_run_ms(&f, MESH_SESSION_MS - 1000);
    cr_expect_eq(f.node[0].downs, 0u);
    few_run_ms(&f, 2000);
    cr_expect_eq(f.node[0].downs, 1u);
    cr_expect_str_eq(f.node[0].why, "its keys expired");
    few_fini(&f);
}

/* ---- keepalive, silence, idleness ------------------------------------------------------------ */

Test(mesh_link, a_wanted_link_is_kept_up_by_its_dialler_alone)
{
    struct few f;
    few_pair(&f, 12);
    for (unsigned i = 0; i < 2; i++)
        mesh__discover_stop(f.node[i].mesh); /* no FIND in between */
    few_run_ms(&f, 3600000);
    expect_up(&f);
    cr_expect_not(few_link(&f.node[1], &f.node[0])->is_wanted);
    uint64_t packets = few_link(&f.node[0], &f.node[1])->tx_packets;
    cr_expect_leq(packets, 3600u / 20 + 3600 / 120 * 3 + 40);
    few_fini(&f);
}

Test(mesh_link, a_silent_peer_is_given_up_after_a_minute)
{
    struct few f;
    few_pair(&f, 13);
    sim_node_set_group(f.node[1].sim, 1);
    few_run_ms(&f, MESH_DEAD_MS - 2000);
    cr_expect_eq(f.node[0].downs, 0u);
    few_run_ms(&f, 25000);
    cr_expect_eq(f.node[0].downs, 1u);
    cr_expect_str_eq(f.node[0].why, "the peer fell silent");
    few_fini(&f);
}

static void unwant(void *arg)
{
    struct mesh_link *l = arg;
    l->is_wanted = false;
    mesh__link_arm(l);
}

Test(mesh_link, an_idle_link_without_paths_is_closed)
{
    struct few f;
    few_pair(&f, 14);
    for (unsigned i = 0; i < 2; i++)
        mesh__discover_stop(f.node[i].mesh);
    few_in(&f.node[0], unwant, few_link(&f.node[0], &f.node[1]));
    few_run_ms(&f, MESH_IDLE_MS - 5000);
    cr_expect_eq(f.node[0].downs + f.node[1].downs, 0u);
    few_run_ms(&f, 10000);
    cr_expect_eq(f.node[0].downs, 1u);
    cr_expect_eq(f.node[1].downs, 1u);
    few_fini(&f);
}

Test(mesh_link, a_link_with_a_path_is_not_idle)
{
    struct few f;
    struct pump p;
    few_pair(&f, 15);
    for (unsigned i = 0; i < 2; i++)
        mesh__discover_stop(f.node[i].mesh);
    few_in(&f.node[0], unwant, few_link(&f.node[0], &f.node[1]));
    pump_start(&p, &f.node[0], &f.node[1], 1);
    few_run_ms(&f, 1000000);
    expect_up(&f);
    mesh_path_forget(few_link(&f.node[0], &f.node[1]), 77);
    few_run_ms(&f, 400000);
    cr_expect_eq(f.node[0].downs, 1u);
    few_fini(&f);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void close_link(void *arg)
{
    struct mesh_link *l = arg;
    mesh_link_close(l, MESH_BYE_LEAVING);
    cr_expect_eq(mesh_cell_send(l, 5, (uint8_t[MESH_CELL]){ 0 }), CYX_ECLOSED);
    mesh_link_close(l, MESH_BYE_LEAVING); /* twice is once */
}

Test(mesh_link, goodbye_ends_both_sides_at_once)
{
    struct few f;
    few_pair(&f, 16);
    for (unsigned i = 0; i < 2; i++)
        mesh__discover_stop(f.node[i].mesh);
    few_in(&f.node[0], close_link, few_link(&f.node[0], &f.node[1]));
    few_run_ms(&f, 50);
    cr_expect_eq(f.node[0].downs, 1u);
    cr_expect_eq(f.node[1].downs, 1u);
    cr_expect_str_eq(f.node[1].why, "the peer left");
    cr_expect_eq(f.node[1].mesh->n_links, 0u);
    cr_expect(list_empty(&f.node[0].mesh->links));
    few_fini(&f);
}

static void close_at_once(struct few_node *n, struct mesh_link *l)
{
    (void)n;
    mesh_link_close(l, MESH_BYE_LEAVING);
}

Test(mesh_link, a_watcher_may_close_the_link_it_hears_of)
{
    struct few f;
    two_off(&f, 17, NULL);
    f.node[0].on_up = f.node[1].on_up = close_at_once;
    cr_assert_not_null(few_dial(&f.node[0], &f.node[1]));
    few_run_ms(&f, 200);
    cr_expect_geq(f.node[0].downs, 1u);
    cr_expect_eq(f.node[0].downs, f.node[0].ups);
    few_fini(&f);
}

Test(mesh_link, a_mesh_can_be_destroyed_in_any_state)
{
    for (uint64_t ms = 0; ms < 120; ms += 3) {
        struct few f;
        two_off(&f, ms + 1, NULL);
        cr_assert_not_null(few_dial(&f.node[0], &f.node[1]));
        few_run_ms(&f, ms);
        sim_node_crash(f.node[ms % 2].sim);
        few_run_ms(&f, 100);
        few_fini(&f);
    }
}

/* ---- forged and broken packets --------------------------------------------------------------- */

Test(mesh_link, flipped_bits_and_truncations_change_nothing)
{
    static const uint8_t types[] = { MESH_INIT, MESH_RESP, MESH_FULL };
    for (unsigned t = 0; t < sizeof types; t++) {
        struct few f;
        struct meddler m;
        two_off(&f, 20 + t, NULL);
        meddle_with(&f, &m, types[t], 1);
        cr_assert_not_null(few_dial(&f.node[0], &f.node[1]));
        few_run_ms(&f, 15 + 10 * t); /* the packet is caught, the handshake still open */
        cr_assert_geq(m.seen, 1u);
        cr_assert_eq(m.swallow, 0u);
        struct few_node *victim = types[t] == MESH_RESP ? &f.node[0] : &f.node[1];
        uint64_t halves = victim->mesh->n_half_opens;
        for (size_t bit = 0; bit < m.last_len * 8; bit += 37) {
            uint8_t bad[MESH_PACKET];
            memcpy(bad, m.last, m.last_len);
            bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (bit / 8 >= m.last_len - 16 && types[t] != MESH_FULL)
                continue; /* mac2: looked at under load only */
            sim_inject(f.world, &m.from, &m.to, bad, m.last_len, 0);
        }
        for (size_t len = 0; len < m.last_len; len += 13)
            sim_inject(f.world, &m.from, &m.to, m.last, len, 0);
        sim_run_until(f.world, sim_now(f.world));
        cr_expect_eq(victim->mesh->n_half_opens, halves, "type %u", types[t]);
        cr_expect_eq(victim->ups, 0u, "type %u", types[t]);
        few_run_ms(&f, 3000);
        expect_up(&f);
        few_fini(&f);
    }
}

/* Seals plaintext under the node's current keys and sends it to its peer. */
static void send_plain(struct few_node *n, struct mesh_link *l, const uint8_t *text, size_t len)
{
    uint8_t packet[MESH_PACKET] = { 0 };
    memcpy(packet + MESH_PACKET_HEAD, text, len);
    cr_assert_eq(mesh_session_seal(l->current->session, packet), 0);
    mesh__send_one(n->mesh, &l->addr, packet, sizeof packet);
}

struct plain {
    struct few_node *n;
    struct mesh_link *l;
    uint8_t text[MESH_PACKET_ROOM];
    size_t len;
    unsigned times;
};

static void plain_send(void *arg)
{
    struct plain *p = arg;
    for (unsigned i = 0; i < p->times; i++)
        send_plain(p->n, p->l, p->text, p->len);
}

Test(mesh_link, a_frame_that_breaks_a_rule_ends_the_link)
{
    static const uint8_t bad[][12] = {
        { MESH_FRAME_CELL, 0, 0, 0, 0 },         /* path 0 */
        { MESH_FRAME_DESTROY, 0, 0, 0, 0 },      /* path 0 */
        { MESH_FRAME_MSG, 9, 0, 0, 0, 1, 0, 1 }, /* unknown kind */
        { MESH_FRAME_MSG, 1, 0, 0, 0, 1, 1, 1 }, /* index >= count */
        { MESH_FRAME_GOODBYE, 0 },               /* no reason */
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct few f;
        few_pair(&f, 30 + i);
        struct plain p = { .n = &f.node[0], .len = sizeof bad[i], .times = 1 };
        p.l = few_link(&f.node[0], &f.node[1]);
        memcpy(p.text, bad[i], sizeof bad[i]);
        few_in(p.n, plain_send, &p);
        few_run_ms(&f, 30);
        cr_expect_eq(f.node[1].downs, 1u, "case %u", i);
        cr_expect_eq(f.node[1].mesh->n.goodbye_out[MESH_BYE_VIOLATION], 1u, "case %u", i);
        few_fini(&f);
    }
}

Test(mesh_link, an_unknown_frame_type_ends_only_the_packet)
{
    struct few f;
    few_pair(&f, 40);
    struct plain p = { .n = &f.node[0], .len = 2, .times = 1, .text = { 200, 1 } };
    p.l = few_link(&f.node[0], &f.node[1]);
    few_in(p.n, plain_send, &p);
    few_run_ms(&f, 100);
    expect_up(&f);
    cr_expect_eq(few_drops(&f.node[1], MESH_FULL, DROP_TYPE), 1u);
    few_fini(&f);
}

Test(mesh_link, more_than_200_destroys_a_second_are_left_to_timers)
{
    struct few f;
    few_pair(&f, 41);
    struct plain p = { .n = &f.node[0], .len = 5 * 100, .times = 5 };
    p.l = few_link(&f.node[0], &f.node[1]);
    for (unsigned i = 0; i < 100; i++) {
        p.text[5 * i] = MESH_FRAME_DESTROY;
        p.text[5 * i + 4] = 1;
    }
    few_in(p.n, plain_send, &p);
    few_run_ms(&f, 100);
    cr_expect_geq(f.node[1].n_destroyed, (size_t)MESH_DESTROY_RATE);
    cr_expect_lt(f.node[1].n_destroyed, (size_t)MESH_DESTROY_RATE + 30);
    cr_expect_eq(few_drops(&f.node[1], MESH_FULL, DROP_LOAD), 500u - f.node[1].n_destroyed);
    expect_up(&f);
    few_fini(&f);
}

Test(mesh_link, a_hundred_counted_violations_in_a_minute_end_the_link)
{
    struct few f;
    few_pair(&f, 42);
    /* A BUILD of a wrong length, again and again under new ids. */
    struct plain p = { .n = &f.node[0], .times = 1 };
    p.l = few_link(&f.node[0], &f.node[1]);
    for (unsigned i = 0; i < MESH_VIOLATIONS; i++) {
        struct writer w = writer_on(p.text, sizeof p.text);
        struct mesh_frame_msg m = {
            .kind = MESH_MSG_BUILD, .id = i, .count = 1, .len = 8, .data = p.text + 100
        };
        cr_expect_eq(f.node[1].downs, 0u);
        mesh_frame_put_msg(&w, &m);
        p.len = writer_len(&w);
        few_in(p.n, plain_send, &p);
        few_run_ms(&f, 15);
    }
    cr_expect_eq(f.node[1].downs, 1u);
    few_fini(&f);
}
