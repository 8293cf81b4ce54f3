#include "base/mp.h"
#include "few.h"

enum { ECHO = 8, LATER = 9, WRONG = 10 };

/* What node 0 asked and heard, what node 1 served. */
struct talk {
    struct few f;
    struct mesh_link *l;
    unsigned done, ok, busy, bad, closed, timed_out, proto, refused;
    size_t last_len;
    bool is_last_right;
    unsigned served;
    struct mesh_request *held[64];
    unsigned n_held;
};

static void fill(uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(i * 7 + i / 251);
}

static void heard(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct talk *t = arg;
    const uint8_t *data;
    t->done++;
    t->closed += code == CYX_ECLOSED;
    t->timed_out += code == CYX_ETIMEDOUT;
    t->proto += code == CYX_EPROTO;
    if (code != 0)
        return;
    t->ok += status == MESH_RPC_OK;
    t->busy += status == MESH_RPC_BUSY;
    t->bad += status == MESH_RPC_BAD;
    if (n == 1 && mp_bin_any(&items[0], &data, &t->last_len)) {
        uint8_t *want = malloc(t->last_len + 1);
        fill(want, t->last_len);
        t->is_last_right = memcmp(want, data, t->last_len) == 0;
        free(want);
    }
}

static void reply_bin(struct mesh_request *rq, const uint8_t *data, size_t len)
{
    uint8_t *buf = malloc(len + 8);
    msgpack_packer pk;
    struct writer w = writer_on(buf, len + 8);
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, data, len);
    mesh_reply(rq, MESH_RPC_OK, &(struct mesh_items){ .data = buf, .len = writer_len(&w), .n = 1 });
    free(buf);
}

static void serve_echo(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct talk *t = arg;
    const uint8_t *data;
    size_t len;
    t->served++;
    if (n == 1 && mp_bin_any(&items[0], &data, &len))
        reply_bin(rq, data, len);
    else
        mesh_reply(rq, MESH_RPC_BAD, NULL);
}

static void serve_later(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct talk *t = arg;
    (void)items;
    (void)n;
    t->served++;
    cr_assert_lt(t->n_held, 64u);
    t->held[t->n_held++] = rq;
}

static void talk_init(struct talk *t, uint64_t seed)
{
    memset(t, 0, sizeof *t);
    few_pair(&t->f, seed);
    t->l = few_link(&t->f.node[0], &t->f.node[1]);
    for (unsigned i = 0; i < 2; i++)
        mesh__discover_stop(t->f.node[i].mesh);
    few_run_ms(&t->f, 2000); /* requests of its own are done, its rate is full again */
    cr_assert_eq(mesh_serve(t->f.node[1].mesh, ECHO, serve_echo, t), 0);
    cr_assert_eq(mesh_serve(t->f.node[1].mesh, LATER, serve_later, t), 0);
}

struct ask {
    struct talk *t;
    unsigned method, times;
    size_t len;
    uint32_t deadline_ms;
    struct mesh_call *call;
};

static void ask_now(void *arg)
{
    struct ask *a = arg;
    uint8_t *data = malloc(a->len + 1), *buf = malloc(a->len + 8);
    msgpack_packer pk;
    struct writer w = writer_on(buf, a->len + 8);
    fill(data, a->len);
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, data, a->len);
    struct mesh_items items = { .data = buf, .len = writer_len(&w), .n = 1 };
    for (unsigned i = 0; i < a->times; i++)
        if (mesh_call(a->t->l, a->method, &items, a->deadline_ms, heard, a->t, &a->call) != 0)
            a->t->refused++;
    free(data);
    free(buf);
}

static struct mesh_call *ask(struct talk *t, unsigned method, size_t len, unsigned times,
                             uint32_t deadline_ms)
{
    struct ask a = {
        .t = t, .method = method, .len = len, .times = times, .deadline_ms = deadline_ms
    };
    few_in(&t->f.node[0], ask_now, &a);
    return a.call;
}

struct late_reply {
    struct talk *t;
    unsigned from, n;
};

static void reply_now(void *arg)
{
    struct late_reply *r = arg;
    for (unsigned i = r->from; i < r->from + r->n; i++)
        mesh_reply(r->t->held[i], MESH_RPC_OK, NULL);
}

static void reply_held(struct talk *t, unsigned from, unsigned n)
{
    struct late_reply r = { .t = t, .from = from, .n = n };
    few_in(&t->f.node[1], reply_now, &r);
}

Test(mesh_rpc, messages_of_all_sizes_come_back)
{
    static const size_t sizes[] = { 0, 1, 255, 1270, 1286, 1300, 8192, 65000, MESH_MSG_MAX - 16 };
    struct talk t;
    talk_init(&t, 1);
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        t.is_last_right = false;
        ask(&t, ECHO, sizes[i], 1, 0);
        few_run_ms(&t.f, 500);
        cr_expect(t.is_last_right, "%zu bytes", sizes[i]);
        cr_expect_eq(t.last_len, sizes[i]);
        cr_expect_eq(t.ok, i + 1);
    }
    few_fini(&t.f);
}

Test(mesh_rpc, a_request_that_no_message_can_hold_is_refused)
{
    struct talk t;
    talk_init(&t, 2);
    ask(&t, ECHO, MESH_MSG_MAX, 1, 0);
    cr_expect_eq(t.refused, 1u);
    few_run_ms(&t.f, 6000);
    cr_expect_eq(t.done, 0u);
    few_fini(&t.f);
}

Test(mesh_rpc, large_messages_survive_ten_percent_loss)
{
    struct talk t;
    talk_init(&t, 3);
    sim_set_link(t.f.world, &(struct sim_link){ .latency_min_us = 10000,
                                                .latency_max_us = 10000,
                                                .loss_ppm = 100000,
                                                .reorder_ppm = 100000,
                                                .reorder_us = 20000,
                                                .duplicate_ppm = 50000 });
    for (unsigned i = 0; i < 20; i++) {
        ask(&t, ECHO, 30000, 1, 0);
        few_run_ms(&t.f, 5000);
    }
    cr_expect_eq(t.done, 20u);
    cr_expect_geq(t.ok, 19u, "%u", t.ok);
    cr_expect_leq(t.served, 21u); /* repeats are recognised while their answer is kept */
    cr_expect_leq(t.f.node[0].mesh->n.calls_repeated, 5u);
    few_fini(&t.f);
}

Test(mesh_rpc, a_lost_answer_is_sent_again_and_nothing_is_served_twice)
{
    struct talk t;
    talk_init(&t, 4);
    ask(&t, LATER, 10, 1, 0);
    few_run_ms(&t.f, 100);
    cr_expect_eq(t.served, 1u);
    sim_node_set_group(t.f.node[1].sim, 1); /* the answer goes nowhere */
    reply_held(&t, 0, 1);
    few_run_ms(&t.f, 500);
    sim_heal(t.f.world);
    few_run_ms(&t.f, 1000);
    cr_expect_eq(t.ok, 1u);
    cr_expect_eq(t.served, 1u);
    cr_expect_eq(t.f.node[0].mesh->n.calls_repeated, 1u);
    cr_expect_eq(t.f.node[1].mesh->n.answers_again, 1u);
    few_fini(&t.f);
}

Test(mesh_rpc, a_deadline_ends_a_call_and_a_late_answer_is_dropped)
{
    struct talk t;
    talk_init(&t, 5);
    ask(&t, LATER, 10, 1, 300);
    few_run_ms(&t.f, 290);
    cr_expect_eq(t.done, 0u);
    few_run_ms(&t.f, 20);
    cr_expect_eq(t.timed_out, 1u);
    reply_held(&t, 0, 1);
    few_run_ms(&t.f, 100);
    cr_expect_eq(t.done, 1u);
    cr_expect_eq(few_drops(&t.f.node[0], MESH_FULL, DROP_UNKNOWN), 1u);
    few_fini(&t.f);
}

static void cancel_now(void *arg)
{
    mesh_call_cancel(arg);
}

Test(mesh_rpc, a_cancelled_call_is_never_heard_of)
{
    struct talk t;
    talk_init(&t, 6);
    struct mesh_call *c = ask(&t, LATER, 10, 1, 0);
    few_run_ms(&t.f, 100);
    few_in(&t.f.node[0], cancel_now, c);
    reply_held(&t, 0, 1);
    few_run_ms(&t.f, 10000);
    cr_expect_eq(t.done, 0u);
    cr_expect_eq(t.l->n_calls, 0u);
    cr_expect_eq(t.f.node[0].mesh->n_rpc, 0u);
    few_fini(&t.f);
}

Test(mesh_rpc, sixteen_are_in_flight_sixty_four_wait_more_are_refused)
{
    struct talk t;
    talk_init(&t, 7);
    ask(&t, LATER, 10, 100, 20000);
    few_run_ms(&t.f, 200);
    cr_expect_eq(t.served, (unsigned)MESH_RPC_TO_PEER);
    cr_expect_eq(t.refused, 100u - MESH_RPC_TO_PEER - MESH_RPC_WAITING);
    for (unsigned i = 0; i < 10; i++) {
        unsigned n = t.n_held;
        if (n > 48)
            t.n_held = 0;
        reply_held(&t, n > 48 ? n - 16 : n - 16, 16);
        few_run_ms(&t.f, 200);
        if (t.ok == 80)
            break;
    }
    cr_expect_eq(t.ok, 80u);
    few_fini(&t.f);
}

/* A peer that keeps to no bound of its own. */
struct flood {
    struct talk *t;
    unsigned n, method;
};

static void flood_now(void *arg)
{
    struct flood *f = arg;
    struct mesh_items none = { 0 };
    size_t len;
    uint8_t *data = mesh__rpc_encode(f->method, &none, &len);
    for (unsigned i = 0; i < f->n; i++)
        cr_expect_eq(mesh__msg_send(f->t->l, MESH_MSG_REQUEST,
                                    mesh__msg_id(f->t->l, MESH_MSG_REQUEST), data, len),
                     0);
    free(data);
}

Test(mesh_rpc, more_than_32_from_a_peer_are_answered_busy)
{
    struct talk t;
    talk_init(&t, 8);
    struct flood fl = { .t = &t, .n = 50, .method = LATER };
    few_in(&t.f.node[0], flood_now, &fl);
    few_run_ms(&t.f, 300);
    cr_expect_eq(t.served, (unsigned)MESH_RPC_FROM_PEER);
    cr_expect_eq(t.f.node[1].mesh->n.served_busy, 50u - MESH_RPC_FROM_PEER);
    reply_held(&t, 0, t.n_held);
    few_run_ms(&t.f, 300);
    cr_expect_eq(t.f.node[1].mesh->n_rpc, 0u);
    few_fini(&t.f);
}

Test(mesh_rpc, more_than_the_burst_of_200_are_answered_busy)
{
    struct talk t;
    talk_init(&t, 9);
    struct flood fl = { .t = &t, .n = 300, .method = ECHO };
    few_in(&t.f.node[0], flood_now, &fl);
    few_run_ms(&t.f, 15);
    cr_expect_leq(t.served, (unsigned)MESH_RPC_PEER_BURST + 2);
    cr_expect_geq(t.f.node[1].mesh->n.served_busy, 98u);
    few_run_ms(&t.f, 2000);
    t.served = 0;
    ask(&t, ECHO, 5, 1, 0);
    few_run_ms(&t.f, 100);
    cr_expect_eq(t.served, 1u);
    few_fini(&t.f);
}

/* The count is set: as many peers would take a test minutes. */
Test(mesh_rpc, more_than_4096_of_all_peers_are_answered_busy)
{
    struct talk t;
    talk_init(&t, 10);
    t.f.node[1].mesh->n_rpc = MESH_RPC_ALL;
    ask(&t, ECHO, 5, 1, 0);
    few_run_ms(&t.f, 100);
    cr_expect_eq(t.busy, 1u);
    cr_expect_eq(t.served, 0u);
    t.f.node[1].mesh->n_rpc = MESH_RPC_ALL - 1;
    ask(&t, ECHO, 5, 1, 0);
    few_run_ms(&t.f, 100);
    cr_expect_eq(t.ok, 1u);
    cr_expect_eq(t.served, 1u);
    t.f.node[1].mesh->n_rpc -= MESH_RPC_ALL - 1;
    few_fini(&t.f);
}

static void serve_wrong(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    (void)arg;
    (void)items;
    (void)n;
    /* 0xdd: an array that claims four thousand million entries */
    static const uint8_t bomb[5] = { 0xdd, 0xff, 0xff, 0xff, 0xff };
    mesh_reply(rq, MESH_RPC_OK, &(struct mesh_items){ .data = bomb, .len = 5, .n = 1 });
}

Test(mesh_rpc, malformed_requests_and_answers_are_refused)
{
    struct talk t;
    talk_init(&t, 10);
    cr_assert_eq(mesh_serve(t.f.node[1].mesh, WRONG, serve_wrong, &t), 0);
    ask(&t, WRONG, 1, 1, 0);
    few_run_ms(&t.f, 100);
    cr_expect_eq(t.proto, 1u);
    ask(&t, 15, 1, 1, 0); /* nobody serves it */
    ask(&t, 3000, 1, 1, 0);
    few_run_ms(&t.f, 100);
    cr_expect_eq(t.bad, 2u);
    cr_expect_eq(mesh_serve(t.f.node[1].mesh, 3000, serve_echo, &t), CYX_EINVAL);
    few_fini(&t.f);
}

static void end_link(void *arg)
{
    mesh_link_close(arg, MESH_BYE_LEAVING);
}

Test(mesh_rpc, the_end_of_a_link_ends_its_calls_and_requests)
{
    struct talk t;
    talk_init(&t, 11);
    ask(&t, LATER, 10, 40, 0);
    few_run_ms(&t.f, 100);
    few_in(&t.f.node[0], end_link, t.l);
    few_run_ms(&t.f, 100);
    cr_expect_eq(t.closed, 40u);
    cr_expect_eq(t.done, 40u);
    cr_expect_eq(t.f.node[0].mesh->n_rpc, 0u);
    cr_assert_eq(t.n_held, 16u);
    cr_expect_null(mesh_request_link(t.held[0]));
    reply_held(&t, 0, 16); /* still due, does nothing */
    cr_expect_eq(t.f.node[1].mesh->n_rpc, 0u);
    few_fini(&t.f);
}

Test(mesh_rpc, a_reply_after_the_mesh_is_gone_is_harmless)
{
    struct talk t;
    talk_init(&t, 12);
    ask(&t, LATER, 10, 3, 0);
    few_run_ms(&t.f, 100);
    sim_node_crash(t.f.node[1].sim);
    for (unsigned i = 0; i < t.n_held; i++) {
        cr_expect_null(mesh_request_link(t.held[i]));
        mesh_reply(t.held[i], MESH_RPC_OK, NULL);
    }
    few_fini(&t.f);
}

static void pinged(void *arg, int code, uint64_t rtt_ns)
{
    struct talk *t = arg;
    t->done++;
    t->ok += code == 0 && rtt_ns == SIM_MS(20);
    t->timed_out += code == CYX_ETIMEDOUT;
    t->closed += code == CYX_ECLOSED;
}

static void ping_now(void *arg)
{
    struct talk *t = arg;
    for (unsigned i = 0; i < 20; i++)
        t->refused += mesh_ping(t->l, pinged, t) != 0;
}

Test(mesh_rpc, pings_measure_time_out_and_are_bounded)
{
    struct talk t;
    talk_init(&t, 13);
    few_in(&t.f.node[0], ping_now, &t);
    cr_expect_eq(t.refused, 4u);
    few_run_ms(&t.f, 3100);
    cr_expect_eq(t.done, 16u);
    cr_expect_geq(t.ok, 4u); /* the peer answers a few at a time */
    cr_expect_eq(t.ok + t.timed_out, 16u);
    t.done = t.closed = 0;
    few_in(&t.f.node[0], ping_now, &t);
    few_in(&t.f.node[0], end_link, t.l);
    few_run_ms(&t.f, 100);
    cr_expect_eq(t.closed, 16u);
    few_fini(&t.f);
}
