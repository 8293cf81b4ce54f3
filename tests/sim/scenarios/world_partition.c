/* Partitions cut and heal; roaming, loss, duplication, corruption, MTU and a slow uplink do what
 * they say; taps see and swallow. */
#include "tests/sim/scenarios/probe.h"

enum { MANY = 4000 };

struct pair {
    struct sim_world *w;
    struct probe a, b;
    struct env_addr a_at, b_at;
};

static void pair_init(struct pair *p, const struct sim_run *r, const struct sim_link *link)
{
    p->w = run_world(r, link);
    p->a_at = probe_address(1, PROBE_PORT);
    p->b_at = probe_address(2, PROBE_PORT);
    probe_add(&p->a, p->w, &p->a_at, NULL);
    probe_add(&p->b, p->w, &p->b_at, NULL);
}

/* Whether a datagram from a reaches b. */
static bool passes(struct pair *p)
{
    unsigned before = p->b.n_received;
    probe_send(&p->a, &p->b_at, "x");
    run_for(p->w, SIM_S(1));
    return p->b.n_received > before;
}

static void check_partition(struct sim_run *r)
{
    struct pair p;
    pair_init(&p, r, &sim_link_clean);
    run_check(r, passes(&p), "two nodes don't reach each other");
    sim_node_set_group(p.b.node, 1);
    run_check(r, !passes(&p), "a partition lets through");
    sim_node_set_group(p.a.node, 1);
    run_check(r, passes(&p), "two nodes on one side are cut");
    sim_node_set_group(p.a.node, 2);
    sim_heal(p.w);
    run_check(r, passes(&p), "a healed network stays cut");
    run_hash(r, p.w);
    sim_destroy(p.w);
}

static void check_roaming(struct sim_run *r)
{
    struct pair p;
    pair_init(&p, r, &sim_link_clean);
    struct env_addr to = probe_address(3, 0);
    run_check(r, sim_node_move(p.b.node, &p.a_at, NULL) == CYX_EEXIST, "moved onto another node");
    run_check(r, sim_node_move(p.b.node, &to, NULL) == 0, "can't move");
    run_check(r, !passes(&p), "the old address still answers");
    p.b_at = probe_address(3, PROBE_PORT);
    run_check(r, passes(&p), "the new address doesn't answer");
    probe_send(&p.b, &p.a_at, "moved");
    run_for(p.w, SIM_S(1));
    run_check(r, env_addr_equal(&p.a.last_from, &p.b_at), "sends from the old address");
    sim_destroy(p.w);
}

/* `got` within five standard deviations (at most sqrt(n)/2 each) of n * ppm. */
static bool is_about(uint64_t got, uint64_t n, uint32_t ppm)
{
    uint64_t want = n * ppm / 1000000;
    uint64_t slack = 5 * 32;
    return got + slack >= want && got <= want + slack;
}

static void check_accidents(struct sim_run *r)
{
    struct sim_link bad = sim_link_clean;
    bad.loss_ppm = 200000;
    bad.duplicate_ppm = 100000;
    bad.corrupt_ppm = 50000;
    bad.reorder_ppm = 100000;
    bad.reorder_us = 30000;
    struct pair p;
    struct sim_stats st;
    pair_init(&p, r, &bad);
    for (unsigned i = 0; i < MANY; i++) {
        probe_send(&p.a, &p.b_at, "0123456789");
        run_for(p.w, SIM_MS(5));
    }
    run_for(p.w, SIM_S(1));
    sim_stats(p.w, &st);
    uint64_t passed = MANY - st.lost;
    run_check(r, is_about(st.lost, MANY, bad.loss_ppm), "lost %u of 4000 at 20%%",
              (unsigned)st.lost);
    run_check(r, is_about(st.duplicated, passed, bad.duplicate_ppm), "doubled %u at 10%%",
              (unsigned)st.duplicated);
    run_check(r, is_about(st.corrupted, passed, bad.corrupt_ppm), "corrupted %u at 5%%",
              (unsigned)st.corrupted);
    run_check(r, is_about(st.reordered, passed, bad.reorder_ppm), "held back %u at 10%%",
              (unsigned)st.reordered);
    run_check(r, st.delivered == passed + st.duplicated && p.b.n_received == st.delivered,
              "%u arrived of %u sent on", p.b.n_received, (unsigned)(passed + st.duplicated));
    run_check(r, st.packet_bytes == 0, "%zu bytes of packets left over", st.packet_bytes);
    sim_destroy(p.w);
}

static void check_mtu_and_uplink(struct sim_run *r)
{
    struct sim_link narrow = sim_link_clean;
    narrow.mtu = 8;
    struct pair p;
    pair_init(&p, r, &narrow);
    probe_send(&p.a, &p.b_at, "12345678");
    probe_send(&p.a, &p.b_at, "123456789");
    run_for(p.w, SIM_S(1));
    run_check(r, p.b.n_received == 1 && probe_got(&p.b, "12345678"), "mtu 8: %u arrived",
              p.b.n_received);
    sim_destroy(p.w);

    struct sim_world *w = run_world(r, &sim_link_clean);
    struct probe slow = { 0 };
    struct probe sink;
    struct env_addr sink_at = probe_address(2, PROBE_PORT);
    struct sim_node_options o = { .address = probe_address(1, 0), .uplink_bps = 8000 };
    probe_options(&slow, &o);
    slow.node = sim_node_add(w, &o);
    sim_node_boot(slow.node);
    probe_add(&sink, w, &sink_at, NULL);
    /* 1000 bytes a second: a datagram of 10 takes 10 ms, 250 ms of queue hold 25 and one more. */
    for (unsigned i = 0; i < 100; i++)
        probe_send(&slow, &sink_at, "0123456789");
    run_for(w, SIM_S(2));
    run_check(r, sink.n_received == 26, "slow uplink: %u arrived, want 26", sink.n_received);
    sim_destroy(w);
}

struct spy {
    unsigned n_seen;
    bool swallows;
    struct sim_world *w;
};

static bool spy_fn(void *arg, const struct sim_datagram *d)
{
    struct spy *s = arg;
    s->n_seen++;
    if (s->swallows)
        sim_inject(s->w, &d->from, &d->to, "forged", 6, SIM_MS(1));
    return !s->swallows;
}

static void check_taps(struct sim_run *r)
{
    struct pair p;
    pair_init(&p, r, &sim_link_clean);
    struct spy spy = { .w = p.w };
    run_check(r, sim_tap(p.w, spy_fn, &spy) == 0, "no tap");
    run_check(r, passes(&p) && probe_got(&p.b, "x") && spy.n_seen == 1, "a tap is in the way");
    spy.swallows = true;
    run_check(r, passes(&p) && probe_got(&p.b, "forged"), "a tap can't replace a datagram");
    run_check(r, env_addr_equal(&p.b.last_from, &p.a_at), "a forged source doesn't hold");
    sim_untap(p.w, spy_fn, &spy);
    run_check(r, passes(&p) && probe_got(&p.b, "x") && spy.n_seen == 2, "the tap stays");
    sim_destroy(p.w);
}

static void run(struct sim_run *r)
{
    check_partition(r);
    check_roaming(r);
    check_accidents(r);
    check_mtu_and_uplink(r);
    check_taps(r);
    run_figure(r, "nodes", "nodes in a case", 2, "");
}

extern const struct sim_scenario scenario_world_partition;
const struct sim_scenario scenario_world_partition = {
    .name = "world-partition",
    .help = "partitions, roaming, loss and other accidents, MTU, slow uplinks, taps",
    .run = run,
};
