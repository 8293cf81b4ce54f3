/* Is a peer that is missed still there? Three PINGs in 0.6 s say so. */
#include "few.h"

static void suspect(void *arg)
{
    mesh_link_suspect(arg);
}

/* A pair whose link was silent for a second. */
struct pair {
    struct few f;
    struct mesh_link *l; /* node 0's */
};

static void begin(struct pair *p)
{
    memset(p, 0, sizeof *p);
    few_pair(&p->f, 1);
    few_run_ms(&p->f, 1000);
    p->l = few_link(&p->f.node[0], &p->f.node[1]);
}

static void cut(struct pair *p)
{
    sim_node_set_group(p->f.node[1].sim, 1);
}

static void suspect_now(struct pair *p)
{
    few_in(&p->f.node[0], suspect, p->l);
}

Test(mesh_link_suspect, a_silent_peer_ends_the_link_after_600_ms_and_three_pings)
{
    struct pair p;
    begin(&p);
    cut(&p);
    suspect_now(&p);
    few_run_ms(&p.f, MESH_SUSPECT_MS - 10);
    cr_expect_eq(p.f.node[0].downs, 0u);
    cr_expect_eq(p.l->suspect_pings, (unsigned)MESH_SUSPECT_PINGS);
    few_run_ms(&p.f, 20);
    cr_expect_eq(p.f.node[0].downs, 1u);
    cr_expect_str_eq(p.f.node[0].why, "the peer fell silent");
    few_fini(&p.f);
}

Test(mesh_link_suspect, one_that_answers_keeps_it)
{
    struct pair p;
    begin(&p);
    suspect_now(&p);
    few_run_ms(&p.f, 5000);
    cr_expect_eq(p.f.node[0].downs, 0u);
    cr_expect_eq(p.l->suspect_pings, 1u, "the first was answered");
    cr_expect_eq(p.l->suspect_ns, 0u);
    few_fini(&p.f);
}

Test(mesh_link_suspect, the_last_ping_is_enough)
{
    struct pair p;
    begin(&p);
    cut(&p);
    suspect_now(&p);
    few_run_ms(&p.f, 300); /* the first two are lost */
    sim_heal(p.f.world);
    few_run_ms(&p.f, 5000);
    cr_expect_eq(p.f.node[0].downs, 0u);
    cr_expect_eq(p.l->suspect_pings, (unsigned)MESH_SUSPECT_PINGS);
    few_fini(&p.f);
}

Test(mesh_link_suspect, a_peer_far_away_has_four_round_trips)
{
    struct pair p;
    begin(&p);
    p.l->rtt_ns = SIM_MS(400);
    cut(&p);
    suspect_now(&p);
    few_run_ms(&p.f, MESH_SUSPECT_RTTS * 400 - 10);
    cr_expect_eq(p.f.node[0].downs, 0u);
    few_run_ms(&p.f, 20);
    cr_expect_eq(p.f.node[0].downs, 1u);
    few_fini(&p.f);
}

Test(mesh_link_suspect, asking_again_does_not_put_the_end_off)
{
    struct pair p;
    begin(&p);
    cut(&p);
    for (unsigned i = 0; i < 6; i++) {
        suspect_now(&p);
        few_run_ms(&p.f, 95);
    }
    cr_expect_eq(p.l->suspect_pings, (unsigned)MESH_SUSPECT_PINGS);
    cr_expect_eq(p.f.node[0].downs, 0u);
    few_run_ms(&p.f, 40);
    cr_expect_eq(p.f.node[0].downs, 1u);
    few_fini(&p.f);
}

static void ping_done(void *arg, int code, uint64_t rtt_ns)
{
    (void)arg;
    (void)rtt_ns;
    cr_expect_eq(code, 0);
}

static void ping(void *arg)
{
    cr_assert_eq(mesh_ping(arg, ping_done, NULL), 0);
}

Test(mesh_link_suspect, one_heard_of_a_moment_ago_is_not_asked)
{
    struct pair p;
    begin(&p);
    few_in(&p.f.node[0], ping, p.l);
    few_run_ms(&p.f, 100);
    suspect_now(&p);
    cr_expect_eq(p.l->suspect_ns, 0u);
    few_run_ms(&p.f, 2000);
    cr_expect_eq(p.f.node[0].downs, 0u);
    few_fini(&p.f);
}
