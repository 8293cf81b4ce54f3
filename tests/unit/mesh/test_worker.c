/* Two workers of one node: each a mesh at an address of its own, so that what a kernel would have
 * steered right arrives at the wrong one. */
#include <stdlib.h>

#include "base/crypto.h"
#include "base/mp.h"
#include "base/secret.h"
#include "few.h"

struct duo {
    struct few f;
    struct few_node *worker[2], *peer;
};

/* ---- what workers say, carried over ---------------------------------------------------------- */

struct carried {
    struct few_node *to;
    enum { DATAGRAM, RECORD, OBSERVED, OWN_RECORD, KEYS, SEQUENCE, WISH, PARCEL } kind;
    struct env_addr from;
    bool is_admitted;
    uint64_t number;
    struct mesh_sighting sighting;
    struct mesh_identity keys;
    struct mesh_parcel parcel;
    struct mesh_contact contact;
    struct mesh_asker asker;
    size_t len;
    uint8_t data[MESH_PACKET];
};

static void arrive(void *arg)
{
    struct carried *c = arg;
    struct mesh *m = c->to->mesh;
    switch (c->kind) {
    case DATAGRAM:
        mesh_take_datagram(m, &c->from, c->data, c->len, c->is_admitted);
        break;
    case RECORD:
        mesh_take_record(m, c->data, c->len, c->number);
        break;
    case OBSERVED:
        mesh_take_observed(m, &c->sighting);
        break;
    case OWN_RECORD:
        mesh_take_own_record(m, c->data, c->len);
        break;
    case KEYS:
        mesh_take_keys(m, &c->keys);
        break;
    case SEQUENCE:
        mesh_take_sequence(m, c->number);
        break;
    case WISH:
        mesh_take_wish(m);
        break;
    case PARCEL:
        c->parcel.to = &c->contact;
        c->parcel.from = &c->asker;
        c->parcel.data = c->data;
        mesh_take_parcel(m, &c->parcel);
        break;
    }
    free(c);
}

static void carry(struct few_node *to, struct carried *head, const uint8_t *data, size_t len)
{
    if (to->mesh == NULL)
        return; /* it crashed: nobody is there to free it */
    struct carried *c = malloc(sizeof *c);
    cr_assert_not_null(c);
    cr_assert_leq(len, sizeof c->data);
    *c = *head;
    c->to = to;
    c->len = len;
    if (len > 0)
        memcpy(c->data, data, len);
    env_post(sim_node_env(to->sim), arrive, c);
}

static struct few_node *other(struct few_node *n)
{
    return &n->few->node[1 - n->number];
}

static void say_datagram(void *arg, unsigned to, const struct env_addr *from, const uint8_t *data,
                         size_t len, bool is_admitted)
{
    struct carried c = { .kind = DATAGRAM, .from = *from, .is_admitted = is_admitted };
    cr_expect_eq(to, other(arg)->number);
    carry(other(arg), &c, data, len);
}

static void say_record(void *arg, unsigned to, const uint8_t *record, size_t len, uint64_t seen_s)
{
    struct carried c = { .kind = RECORD, .number = seen_s };
    cr_expect_eq(to, other(arg)->number);
    carry(other(arg), &c, record, len);
}

static void say_contact(void *arg, unsigned to, const struct mesh_contact *contact)
{
    (void)arg;
    (void)to;
    (void)contact;
    cr_assert_fail("nobody sends beacons here");
}

static void say_observed(void *arg, const struct mesh_sighting *s)
{
    struct carried c = { .kind = OBSERVED, .sighting = *s };
    cr_expect_eq(other(arg)->number, 0u);
    carry(other(arg), &c, NULL, 0);
}

static void say_own_record(void *arg, const uint8_t *record, size_t len)
{
    struct carried c = { .kind = OWN_RECORD };
    cr_expect_eq(other(arg)->number, 1u);
    carry(other(arg), &c, record, len);
}

static void say_keys(void *arg, const struct mesh_identity *identity)
{
    struct carried c = { .kind = KEYS, .keys = *identity };
    cr_expect_eq(other(arg)->number, 1u);
    carry(other(arg), &c, NULL, 0);
}

static void say_sequence(void *arg, uint64_t next)
{
    struct carried c = { .kind = SEQUENCE, .number = next };
    carry(other(arg), &c, NULL, 0);
}

static void say_wish(void *arg)
{
    struct carried c = { .kind = WISH };
    carry(other(arg), &c, NULL, 0);
}

static bool is_full; /* no room for questions and requests */

static bool say_parcel(void *arg, unsigned to, const struct mesh_parcel *p)
{
    struct carried c = { .kind = PARCEL, .parcel = *p };
    cr_expect_eq(to, other(arg)->number);
    if (is_full) {
        cr_expect(p->kind == MESH_PARCEL_ASK || p->kind == MESH_PARCEL_REQUEST);
        return false;
    }
    if (p->to != NULL)
        c.contact = *p->to;
    if (p->from != NULL)
        c.asker = *p->from;
    carry(other(arg), &c, p->data, p->len);
    return true;
}

static const struct mesh_siblings siblings = { say_datagram, say_record,     say_contact,
                                               say_observed, say_own_record, say_keys,
                                               say_sequence, say_wish,       say_parcel };

static struct few_node *add_worker(struct duo *d, unsigned number)
{
    struct few_node *n = few_add(&d->f, 0);
    n->config.worker = number;
    n->config.n_workers = 2;
    n->config.rotate_link_key = true;
    n->config.siblings = &siblings;
    n->config.siblings_arg = n;
    return n;
}

/* A peer whose links belong to worker 1. */
static void duo_init(struct duo *d, uint64_t seed)
{
    few_init(&d->f, seed, NULL);
    d->worker[0] = add_worker(d, 0);
    d->worker[1] = add_worker(d, 1);
    few_boot(d->worker[0]);
    d->worker[1]->identity = secret_alloc(sizeof *d->worker[1]->identity);
    cr_assert_not_null(d->worker[1]->identity);
    *d->worker[1]->identity = *d->worker[0]->identity;
    few_boot(d->worker[1]);
    do {
        d->peer = few_add(&d->f, 0);
        few_boot(d->peer);
    } while (mesh_worker_of(d->peer->identity->link.pub, 2) != 1);
    few_run_ms(&d->f, 100);
}

/* ---- whose peer is it ------------------------------------------------------------------------ */

Test(mesh_worker, a_peer_belongs_to_one_worker_by_its_link_key)
{
    unsigned count[4] = { 0 };
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t key[32] = { (uint8_t)i, (uint8_t)(i >> 8) }, h[32];
        uint64_t v = 0;
        crypto_h(h, "cyx worker", &BYTES(key, 32), 1);
        for (unsigned k = 0; k < 8; k++)
            v = v << 8 | h[k];
        cr_expect_eq(mesh_worker_of(key, 4), v % 4);
        cr_expect_eq(mesh_worker_of(key, 64), v % 64);
        cr_expect_eq(mesh_worker_of(key, 1), 0u);
        cr_expect_eq(mesh_worker_of(key, 0), 0u);
        count[mesh_worker_of(key, 4)]++;
    }
    for (unsigned i = 0; i < 4; i++)
        cr_expect(count[i] > 200 && count[i] < 300, "worker %u has %u of 1000", i, count[i]);
}

Test(mesh_worker, each_has_its_share_of_the_nodes_bounds)
{
    struct duo d;
    duo_init(&d, 1);
    cr_expect_eq(d.worker[0]->mesh->config.links_target, (size_t)MESH_LINKS_TARGET / 2);
    cr_expect_eq(d.worker[1]->mesh->config.links_max, (size_t)MESH_LINKS_MAX / 2);
    few_fini(&d.f);
}

/* ---- handing on ------------------------------------------------------------------------------ */

/* To the outside the node has one address: that of worker 0, where everything arrives. */
static bool as_worker_0(void *arg, const struct sim_datagram *d)
{
    const struct duo *duo = arg;
    if (!env_addr_equal(&d->from, &duo->worker[1]->contact.addr))
        return true;
    sim_inject(duo->f.world, &duo->worker[0]->contact.addr, &d->to, d->data, d->len, SIM_MS(10));
    return false;
}

Test(mesh_worker, an_init_and_packets_at_the_wrong_worker_reach_the_right_one)
{
    struct duo d;
    duo_init(&d, 2);
    cr_assert_eq(sim_tap(d.f.world, as_worker_0, &d), 0);
    struct mesh_link *l = few_dial(d.peer, d.worker[0]);
    cr_assert_not_null(l);
    few_run_ms(&d.f, 15);
    cr_expect_eq(d.worker[0]->mesh->n.handed_out, 1u, "INIT");
    few_run_ms(&d.f, 1000);
    cr_assert_eq(l->state, MESH_LINK_UP);
    cr_expect_eq(d.worker[0]->mesh->n_links, 0u);
    cr_expect_eq(d.worker[0]->mesh->n_half_opens, 0u);
    struct mesh_link *theirs = few_link(d.worker[1], d.peer);
    cr_assert_not_null(theirs);
    cr_expect_eq(theirs->state, MESH_LINK_UP);
    cr_expect_eq(theirs->number % 2, 1u);
    cr_expect_gt(d.worker[1]->mesh->n.handed_in, 3u);
    cr_expect_eq(d.worker[1]->mesh->n.rx_packets[MESH_FULL], 0u, "all by way of the other");
    cr_expect(l->has_id);
    few_fini(&d.f);
}

struct packet {
    struct duo *d;
    uint32_t index;
};

static void inject(void *arg)
{
    struct packet *p = arg;
    struct few_node *n = p->d->worker[0];
    uint8_t data[MESH_PACKET] = { MESH_FULL };
    for (unsigned i = 0; i < 4; i++)
        data[4 + i] = (uint8_t)(p->index >> (24 - 8 * i));
    struct env_datagrams b = {
        .from = p->d->peer->contact.addr, .data = data, .len = sizeof data, .segment = sizeof data
    };
    mesh_inject(n->mesh, &b, 1);
}

Test(mesh_worker, a_packet_goes_to_the_worker_that_its_index_names_and_no_further)
{
    struct duo d;
    duo_init(&d, 3);
    struct packet p = { &d, 0x01000005 };
    few_in(d.worker[0], inject, &p);
    few_run_ms(&d.f, 10);
    cr_expect_eq(d.worker[0]->mesh->n.handed_out, 1u);
    cr_expect_eq(d.worker[1]->mesh->n.handed_in, 1u);
    cr_expect_eq(d.worker[1]->mesh->n.handed_out, 0u);
    cr_expect_eq(few_drops(d.worker[1], MESH_FULL, DROP_UNKNOWN), 1u);
    p.index = 0x02000005; /* our own, of no session */
    few_in(d.worker[0], inject, &p);
    few_run_ms(&d.f, 10);
    cr_expect_eq(d.worker[0]->mesh->n.handed_out, 1u);
    cr_expect_eq(few_drops(d.worker[0], MESH_FULL, DROP_UNKNOWN), 1u);
    few_fini(&d.f);
}

static void dial_wrong(void *arg)
{
    struct duo *d = arg;
    struct cyx_err err = { 0 };
    cr_expect_null(mesh_dial(d->worker[0]->mesh, &d->peer->contact, &err));
    cr_expect_eq(err.code, CYX_EINVAL);
}

Test(mesh_worker, the_wrong_one_does_not_dial)
{
    struct duo d;
    duo_init(&d, 4);
    few_in(d.worker[0], dial_wrong, &d);
    cr_assert_not_null(few_dial(d.worker[1], d.peer));
    few_run_ms(&d.f, 1000);
    cr_expect_eq(few_link(d.worker[1], d.peer)->state, MESH_LINK_UP);
    few_fini(&d.f);
}

/* ---- what all share -------------------------------------------------------------------------- */

Test(mesh_worker, all_say_the_record_that_the_first_made_of_what_others_saw)
{
    struct duo d;
    uint8_t a[MESH_NODE_RECORD_MAX], b[MESH_NODE_RECORD_MAX];
    duo_init(&d, 5);
    cr_assert_not_null(few_dial(d.worker[1], d.peer));
    few_run_ms(&d.f, 1000);
    size_t len = mesh_own_record(d.worker[0]->mesh, a);
    cr_expect_gt(len, 0u);
    cr_assert_eq(mesh_own_record(d.worker[1]->mesh, b), len);
    cr_expect_arr_eq(a, b, len);
    struct mesh_link *l = few_link(d.peer, d.worker[1]);
    cr_expect(l->has_id, "the peer heard it");
    few_fini(&d.f);
}

Test(mesh_worker, each_tells_of_the_peers_of_all_but_keeps_its_own)
{
    struct duo d;
    duo_init(&d, 6);
    cr_assert_not_null(few_dial(d.worker[1], d.peer));
    few_run_ms(&d.f, 3000);
    for (unsigned i = 0; i < 2; i++) {
        struct mesh_remembered *r = d.worker[i]->mesh->remembered;
        cr_expect_not_null(mesh_remembered_get(r, d.peer->identity->id), "worker %u", i);
        cr_expect_eq(mesh_remembered_own(r), i);
    }
    sim_node_crash(d.worker[0]->sim);
    sim_node_crash(d.worker[1]->sim);
    few_boot(d.worker[0]);
    few_boot(d.worker[1]);
    cr_expect_eq(mesh_remembered_len(d.worker[0]->mesh->remembered), 0u, "another wrote it");
    cr_expect_eq(mesh_remembered_len(d.worker[1]->mesh->remembered), 1u);
    few_fini(&d.f);
}

static void age_keys(void *arg)
{
    struct duo *d = arg;
    for (unsigned i = 0; i < 2; i++) {
        struct few_node *n = d->worker[i];
        n->identity->link.made -= MESH_LINK_KEY_S + 10;
        n->mesh->own_made = n->identity->link.made;
    }
}

Test(mesh_worker, keys_are_rotated_by_the_first_and_used_by_all)
{
    struct duo d;
    duo_init(&d, 7);
    uint8_t before[32];
    memcpy(before, d.worker[1]->identity->link.pub, 32);
    few_in(d.worker[0], age_keys, &d);
    few_run_ms(&d.f, 2 * MESH__HOUSEKEEPING_S * 1000);
    const struct mesh_identity *a = d.worker[0]->identity, *b = d.worker[1]->identity;
    cr_expect_arr_neq(a->link.pub, before, 32);
    cr_expect_arr_eq(b->link.pub, a->link.pub, 32);
    cr_expect_arr_eq(b->link_old.pub, before, 32);
    cr_expect_eq(d.worker[1]->mesh->own_made, a->link.made);
    few_fini(&d.f);
}

Test(mesh_worker, sequences_of_one_lift_those_of_the_other)
{
    struct duo d;
    duo_init(&d, 8);
    d.worker[0]->mesh->sequence_next += 1 << 15;
    uint64_t next = d.worker[0]->mesh->sequence_next;
    cr_assert_lt(d.worker[1]->mesh->sequence_next, next);
    few_run_ms(&d.f, 2 * MESH__HOUSEKEEPING_S * 1000);
    cr_expect_geq(d.worker[1]->mesh->sequence_next, next);
    few_fini(&d.f);
}

Test(mesh_worker, one_without_links_gets_peers_that_the_other_asks_for)
{
    struct duo d;
    duo_init(&d, 9);
    struct few_node *hub = NULL; /* of worker 0, and it knows the peer of worker 1 */
    do {
        hub = few_add(&d.f, 0);
        few_boot(hub);
    } while (mesh_worker_of(hub->identity->link.pub, 2) != 0);
    few_run_ms(&d.f, 100);
    cr_assert_not_null(few_dial(hub, d.peer));
    few_run_ms(&d.f, 1000);
    cr_assert_not_null(few_dial(d.worker[0], hub));
    few_run_ms(&d.f, 1000);
    struct mesh_link *l = few_link(d.worker[1], d.peer);
    cr_assert_not_null(l);
    cr_expect_eq(l->state, MESH_LINK_UP);
    few_fini(&d.f);
}

/* ---- questions and requests ------------------------------------------------------------------ */

struct answer {
    struct duo *d;
    unsigned calls, status, n;
    int code;
    uint64_t value;
    struct mesh_ask *ask;
    struct mesh_request *held;
    struct mesh_asker asker;
    bool is_holding;
};

static void note_answer(void *arg, int code, unsigned status, const msgpack_object *items,
                        unsigned n)
{
    struct answer *a = arg;
    a->calls++;
    a->code = code;
    a->status = status;
    a->n = n;
    if (n == 1)
        (void)mp_u64(&items[0], &a->value);
}

/* Twice what was asked with, or later. */
static void serve_double(void *arg, struct mesh_request *rq, const msgpack_object *items,
                         unsigned n)
{
    struct answer *a = arg;
    uint8_t buf[16];
    uint64_t value = 0;
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    cr_expect(mesh_request_asker(rq, &a->asker));
    cr_assert(n == 1 && mp_u64(&items[0], &value));
    if (a->is_holding) {
        a->held = rq;
        return;
    }
    mp_packer(&pk, &w);
    msgpack_pack_uint64(&pk, 2 * value);
    mesh_reply(rq, MESH_RPC_OK, &(struct mesh_items){ buf, writer_len(&w), 1 });
}

static const struct mesh_items twenty_one = { (const uint8_t *)"\x15", 1, 1 };

static void ask_peer(void *arg)
{
    struct answer *a = arg;
    a->code = mesh_ask(a->d->worker[0]->mesh, &a->d->peer->contact, MESH_METHOD_CALL, &twenty_one,
                       3000, note_answer, a, &a->ask);
}

/* The handler at `at`, and what it notes. */
static void serve_at(struct few_node *at, struct answer *a)
{
    cr_assert_eq(mesh_serve(at->mesh, MESH_METHOD_CALL, serve_double, a), 0);
}

Test(mesh_worker, one_asks_the_peer_of_another)
{
    struct duo d;
    duo_init(&d, 20);
    struct answer a = { .d = &d }, served = { .d = &d };
    serve_at(d.peer, &served);
    few_in(d.worker[0], ask_peer, &a);
    cr_expect_eq(a.code, 0);
    few_run_ms(&d.f, 1000);
    cr_expect_eq(a.calls, 1u);
    cr_expect_eq(a.code, 0);
    cr_expect_eq(a.status, MESH_RPC_OK);
    cr_expect_eq(a.value, 42u);
    cr_expect_eq(few_link(d.worker[1], d.peer)->state, MESH_LINK_UP, "by its own worker's link");
    cr_expect_null(few_link(d.worker[0], d.peer));
    cr_expect_eq(map_len(d.worker[0]->mesh->asks_out) + map_len(d.worker[1]->mesh->asks_in), 0u);
    few_fini(&d.f);
}

Test(mesh_worker, an_answer_that_nobody_gives_is_a_timeout_there_and_here)
{
    struct duo d;
    duo_init(&d, 21);
    struct answer a = { .d = &d }, served = { .d = &d, .is_holding = true };
    serve_at(d.peer, &served);
    few_in(d.worker[0], ask_peer, &a);
    few_run_ms(&d.f, 4000);
    cr_expect_eq(a.calls, 1u);
    cr_expect_eq(a.code, CYX_ETIMEDOUT);
    mesh_reply(served.held, MESH_RPC_OK, NULL);
    few_fini(&d.f);
}

static void cancel(void *arg)
{
    mesh_ask_cancel(((struct answer *)arg)->ask);
}

Test(mesh_worker, a_question_taken_back_is_never_answered)
{
    for (uint64_t ms = 0; ms < 60; ms += 5) { /* on the way there, over there, on the way back */
        struct duo d;
        duo_init(&d, 22);
        struct answer a = { .d = &d }, served = { .d = &d };
        serve_at(d.peer, &served);
        few_in(d.worker[0], ask_peer, &a);
        few_run_ms(&d.f, ms);
        unsigned before = a.calls;
        if (before == 0)
            few_in(d.worker[0], cancel, &a);
        few_run_ms(&d.f, 1000);
        cr_expect_eq(a.calls, before, "after %llu ms", (unsigned long long)ms);
        cr_expect_eq(map_len(d.worker[1]->mesh->asks_in), 0u);
        few_fini(&d.f);
    }
}

Test(mesh_worker, a_question_that_finds_no_room_is_refused_at_once)
{
    struct duo d;
    duo_init(&d, 23);
    struct answer a = { .d = &d };
    is_full = true;
    few_in(d.worker[0], ask_peer, &a);
    is_full = false;
    cr_expect_eq(a.code, CYX_EFULL);
    cr_expect_eq(map_len(d.worker[0]->mesh->asks_out), 0u);
    few_run_ms(&d.f, 100);
    cr_expect_eq(a.calls, 0u);
    few_fini(&d.f);
}

Test(mesh_worker, questions_under_way_end_when_either_worker_stops)
{
    for (unsigned i = 0; i < 2; i++) {
        struct duo d;
        duo_init(&d, 24);
        struct answer a = { .d = &d }, served = { .d = &d, .is_holding = true };
        serve_at(d.peer, &served);
        few_in(d.worker[0], ask_peer, &a);
        few_run_ms(&d.f, 500);
        few_stop(d.worker[i]);
        few_run_ms(&d.f, 500);
        cr_expect_eq(a.calls, 1u, "worker %u", i);
        cr_expect_eq(a.code, CYX_ECLOSED, "worker %u", i);
        mesh_reply(served.held, MESH_RPC_OK, NULL);
        few_fini(&d.f);
    }
}

static void ask_node(void *arg)
{
    struct answer *a = arg;
    a->code = mesh_ask(a->d->peer->mesh, &a->d->worker[1]->contact, MESH_METHOD_CALL, &twenty_one,
                       3000, note_answer, a, &a->ask);
}

/* Requests of worker 1's peer are worker 0's to serve. */
static void duo_hand(struct duo *d, uint64_t seed, struct answer *served)
{
    duo_init(d, seed);
    serve_at(d->worker[0], served);
    mesh_hand_requests(d->worker[1]->mesh, MESH_METHOD_CALL);
}

Test(mesh_worker, the_first_serves_for_all)
{
    struct duo d;
    struct answer a = { .d = &d }, served = { .d = &d };
    duo_hand(&d, 25, &served);
    few_in(d.peer, ask_node, &a);
    few_run_ms(&d.f, 1000);
    cr_expect_eq(a.calls, 1u);
    cr_expect_eq(a.status, MESH_RPC_OK);
    cr_expect_eq(a.value, 42u);
    cr_expect_arr_eq(served.asker.key, d.peer->identity->link.pub, 32);
    cr_expect(env_addr_equal(&served.asker.addr, &d.peer->contact.addr));
    cr_expect_eq(d.worker[0]->mesh->n_rpc + d.worker[1]->mesh->n_rpc, 0u);
    few_fini(&d.f);
}

Test(mesh_worker, a_request_that_finds_no_room_is_answered_busy)
{
    struct duo d;
    struct answer a = { .d = &d }, served = { .d = &d };
    duo_hand(&d, 26, &served);
    few_in(d.peer, ask_node, &a);
    is_full = true;
    few_run_ms(&d.f, 1000);
    is_full = false;
    cr_expect_eq(a.calls, 1u);
    cr_expect_eq(a.status, MESH_RPC_BUSY);
    few_fini(&d.f);
}

Test(mesh_worker, a_method_that_the_first_does_not_serve_is_bad)
{
    struct duo d;
    struct answer a = { .d = &d }, served = { .d = &d };
    duo_hand(&d, 27, &served);
    cr_assert_eq(mesh_serve(d.worker[0]->mesh, MESH_METHOD_CALL, NULL, NULL), 0);
    few_in(d.peer, ask_node, &a);
    few_run_ms(&d.f, 1000);
    cr_expect_eq(a.calls, 1u);
    cr_expect_eq(a.status, MESH_RPC_BAD);
    few_fini(&d.f);
}

Test(mesh_worker, a_reply_may_come_when_its_worker_is_gone)
{
    for (unsigned i = 0; i < 2; i++) {
        struct duo d;
        struct answer a = { .d = &d }, served = { .d = &d, .is_holding = true };
        duo_hand(&d, 28, &served);
        few_in(d.peer, ask_node, &a);
        few_run_ms(&d.f, 500);
        cr_assert_not_null(served.held);
        sim_node_crash(d.worker[i]->sim);
        mesh_reply(served.held, MESH_RPC_OK, NULL);
        few_run_ms(&d.f, 4000);
        cr_expect_eq(a.calls, 1u, "worker %u", i);
        few_fini(&d.f);
    }
}
