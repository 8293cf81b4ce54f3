/* Each kind of NAT lets through what its definition says, and mappings end. */
#include "tests/sim/scenarios/probe.h"

/* One inside node, a peer with two ports' worth of strangers, and a third machine. */
struct nat_case {
    enum sim_nat_type type;
    const char *name;
    bool from_stranger;   /* an address never written to gets through */
    bool from_other_port; /* the peer's address, another port */
    bool same_mapping;    /* two destinations see one outside port */
};

static const struct nat_case cases[] = {
    { SIM_NAT_FULL_CONE, "full cone", true, true, true },
    { SIM_NAT_RESTRICTED, "restricted cone", false, true, true },
    { SIM_NAT_PORT_RESTRICTED, "port restricted cone", false, false, true },
    { SIM_NAT_SYMMETRIC, "symmetric", false, false, false },
};

enum { TIMEOUT_S = 60 };

struct stage {
    struct sim_world *w;
    struct sim_nat *nat;
    struct probe inside, peer, third;
    struct env_addr peer_at, third_at;
};

static void stage_init(struct stage *s, struct sim_run *r, enum sim_nat_type type, bool hairpin)
{
    s->w = run_world(r, &sim_link_clean);
    struct sim_nat_options o = {
        .type = type, .address = probe_address(1, 0), .timeout_s = TIMEOUT_S, .hairpin = hairpin
    };
    s->nat = sim_nat_add(s->w, &o);
    struct env_addr inside_at = env_addr_v4(192, 168, 0, 2, 0);
    s->peer_at = probe_address(2, PROBE_PORT);
    s->third_at = probe_address(3, PROBE_PORT);
    probe_add(&s->inside, s->w, &inside_at, s->nat);
    probe_add(&s->peer, s->w, &s->peer_at, NULL);
    probe_add(&s->third, s->w, &s->third_at, NULL);
}

/* Whether a datagram from `from` to the mapping reaches the inside node. */
static bool gets_in(struct stage *s, const struct env_addr *from, const struct env_addr *mapping)
{
    unsigned before = s->inside.n_received;
    sim_inject(s->w, from, mapping, "knock", 5, SIM_MS(1));
    run_for(s->w, SIM_MS(10));
    return s->inside.n_received == before + 1;
}

static void check_filters(struct sim_run *r, struct stage *s, const struct nat_case *c)
{
    struct env_addr mapping = s->peer.last_from;
    struct env_addr other_port = s->peer_at;
    other_port.port = 9;
    run_check(r, gets_in(s, &s->peer_at, &mapping), "%s: the peer's answer is dropped", c->name);
    run_check(r, gets_in(s, &s->third_at, &mapping) == c->from_stranger,
              "%s: a stranger's datagram: want passed %d", c->name, c->from_stranger);
    run_check(r, gets_in(s, &other_port, &mapping) == c->from_other_port,
              "%s: from the peer's other port: want passed %d", c->name, c->from_other_port);
    struct env_addr unmapped = mapping;
    unmapped.port = (uint16_t)(mapping.port ^ 1);
    run_check(r, !gets_in(s, &s->peer_at, &unmapped), "%s: an unmapped port passes", c->name);
}

static void check_expiry(struct sim_run *r, struct stage *s, const struct nat_case *c)
{
    struct env_addr mapping = s->peer.last_from;
    run_for(s->w, SIM_S(TIMEOUT_S - 10));
    run_check(r, gets_in(s, &s->peer_at, &mapping), "%s: the mapping ended early", c->name);
    run_for(s->w, SIM_S(20));
    run_check(r, !gets_in(s, &s->peer_at, &mapping), "%s: the mapping did not end", c->name);
    probe_send(&s->inside, &s->peer_at, "again");
    run_for(s->w, SIM_S(1));
    run_check(r, probe_got(&s->peer, "again"), "%s: no new mapping", c->name);
    sim_nat_flush(s->nat);
    run_check(r, sim_nat_mappings(s->nat) == 0, "%s: flush left mappings", c->name);
    run_check(r, !gets_in(s, &s->peer_at, &s->peer.last_from), "%s: flushed, yet passes", c->name);
}

static void run_case(struct sim_run *r, const struct nat_case *c)
{
    struct stage s;
    stage_init(&s, r, c->type, false);
    run_check(r, !gets_in(&s, &s.peer_at, &(struct env_addr){ 0 }), "%s: nowhere is here", c->name);
    probe_send(&s.inside, &s.peer_at, "hello");
    run_for(s.w, SIM_S(1));
    run_check(r, probe_got(&s.peer, "hello"), "%s: nothing comes out", c->name);
    struct env_addr outside = probe_address(1, s.peer.last_from.port);
    run_check(r, env_addr_equal(&s.peer.last_from, &outside), "%s: shows another address", c->name);
    check_filters(r, &s, c);
    probe_send(&s.inside, &s.third_at, "hello too");
    run_for(s.w, SIM_S(1));
    run_check(r, (s.third.last_from.port == s.peer.last_from.port) == c->same_mapping,
              "%s: one mapping for two destinations: want %d", c->name, c->same_mapping);
    check_expiry(r, &s, c);
    run_hash(r, s.w);
    sim_destroy(s.w);
}

static void run_hairpin(struct sim_run *r, bool hairpin)
{
    struct stage s;
    struct probe neighbour;
    stage_init(&s, r, SIM_NAT_FULL_CONE, hairpin);
    struct env_addr at = env_addr_v4(192, 168, 0, 3, PROBE_PORT);
    probe_add(&neighbour, s.w, &at, s.nat);
    probe_send(&s.inside, &at, "lan");
    run_for(s.w, SIM_MS(1));
    run_check(r, probe_got(&neighbour, "lan"), "neighbours on one LAN don't hear each other");
    probe_send(&neighbour, &s.peer_at, "map me");
    run_for(s.w, SIM_S(1));
    struct env_addr outside = s.peer.last_from;
    probe_send(&s.inside, &outside, "round the corner");
    run_for(s.w, SIM_S(1));
    run_check(r, probe_got(&neighbour, "round the corner") == hairpin, "hairpin: want %d", hairpin);
    sim_destroy(s.w);
}

static void run_double(struct sim_run *r)
{
    struct stage s;
    struct probe deep;
    stage_init(&s, r, SIM_NAT_PORT_RESTRICTED, false);
    struct sim_nat_options o = { .type = SIM_NAT_FULL_CONE,
                                 .address = env_addr_v4(192, 168, 0, 9, 0),
                                 .outer = s.nat };
    struct sim_nat *inner = sim_nat_add(s.w, &o);
    struct env_addr at = env_addr_v4(10, 0, 0, 2, 0);
    probe_add(&deep, s.w, &at, inner);
    probe_send(&deep, &s.peer_at, "from below");
    run_for(s.w, SIM_S(1));
    run_check(r, probe_got(&s.peer, "from below"), "two boxes: nothing comes out");
    probe_send(&s.peer, &s.peer.last_from, "back");
    run_for(s.w, SIM_S(1));
    run_check(r, probe_got(&deep, "back"), "two boxes: the answer is lost");
    unsigned before = deep.n_received;
    probe_send(&s.third, &s.peer.last_from, "stranger");
    run_for(s.w, SIM_S(1));
    run_check(r, deep.n_received == before, "two boxes: the outer one filters nothing");
    sim_destroy(s.w);
}

static void run(struct sim_run *r)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        run_case(r, &cases[i]);
    run_hairpin(r, false);
    run_hairpin(r, true);
    run_double(r);
    run_figure(r, "nodes", "nodes in a case", 3, "");
}

extern const struct sim_scenario scenario_world_nat;
const struct sim_scenario scenario_world_nat = {
    .name = "world-nat",
    .help = "each NAT type passes what its definition says; mappings end",
    .run = run,
};
