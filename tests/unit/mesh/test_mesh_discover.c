#include "few.h"

/* Node 0 is everybody's bootstrap; it starts first, so that its contact is known. */
static void start_all(struct few *f, unsigned n)
{
    few_init(f, 7, NULL);
    few_boot(few_add(f, 0));
    for (unsigned i = 1; i < n; i++) {
        struct few_node *node = few_add(f, 0);
        node->config.bootstrap = &f->node[0].contact;
        node->config.n_bootstrap = 1;
        few_boot(node);
    }
}

Test(mesh_discover, eight_nodes_find_all_others_within_a_second)
{
    struct few f;
    start_all(&f, 8);
    few_run_ms(&f, 1000);
    for (unsigned i = 0; i < 8; i++) {
        struct mesh_status s;
        mesh_get_status(f.node[i].mesh, &s);
        cr_expect_eq(s.links, 7u, "node %u holds %zu links", i, s.links);
        cr_expect(s.is_ready, "node %u", i);
        cr_expect(s.has_observed);
        cr_expect(env_addr_equal(&s.observed, &f.node[i].contact.addr));
        /* The first dialled nobody, so nobody told it a time. */
        cr_expect_eq(s.time_state, i == 0 ? MESH_TIME_UNCHECKED : MESH_TIME_OWN, "node %u", i);
    }
    few_fini(&f);
}

Test(mesh_discover, links_stay_up_and_do_not_flap_for_ten_minutes)
{
    struct few f;
    start_all(&f, 5);
    few_run_ms(&f, 600000);
    for (unsigned i = 0; i < 5; i++) {
        cr_expect_eq(f.node[i].mesh->n_up, 4u);
        cr_expect_eq(f.node[i].downs, 0u, "node %u: %s", i, f.node[i].why);
    }
    few_fini(&f);
}

Test(mesh_discover, a_restarted_node_comes_back_through_remembered_peers)
{
    struct few f;
    start_all(&f, 5);
    few_run_ms(&f, 5000);
    sim_node_crash(f.node[0].sim); /* the bootstrap node is gone */
    sim_node_crash(f.node[4].sim);
    few_run_ms(&f, 100);
    few_boot(&f.node[4]);
    few_run_ms(&f, 1000);
    cr_expect_eq(f.node[4].mesh->n_up, 3u);
    few_fini(&f);
}

Test(mesh_discover, a_node_that_lost_all_finds_the_bootstrap_node_again)
{
    struct few f;
    start_all(&f, 3);
    few_run_ms(&f, 5000);
    for (unsigned i = 0; i < 3; i++)
        sim_node_set_group(f.node[i].sim, i);
    few_run_ms(&f, 400000);
    cr_expect_eq(f.node[2].mesh->n_up, 0u);
    sim_heal(f.world);
    few_run_ms(&f, 460000); /* back-off ends at five minutes and a half of jitter */
    cr_expect_eq(f.node[2].mesh->n_up, 2u);
    few_fini(&f);
}

Test(mesh_discover, an_unlisted_node_has_no_record_and_asks_bootstrap_peers_only)
{
    struct few f;
    start_all(&f, 4);
    struct few_node *user = few_add(&f, 0);
    user->config.is_listed = false;
    user->config.bootstrap = &f.node[0].contact;
    user->config.n_bootstrap = 1;
    few_run_ms(&f, 1000);
    uint64_t before[4];
    for (unsigned i = 0; i < 4; i++)
        before[i] = f.node[i].mesh->n.finds_served;
    few_boot(user);
    few_run_ms(&f, 2000);
    struct mesh_status s;
    mesh_get_status(user->mesh, &s);
    cr_expect_eq(s.links, 4u);
    cr_expect(s.is_ready);
    cr_expect_gt(f.node[0].mesh->n.finds_served, before[0]);
    uint8_t keys[4][32];
    for (unsigned i = 0; i < 4; i++) {
        struct mesh_link *l = mesh_link_by_id(user->mesh, f.node[i].identity->id);
        cr_assert_not_null(l);
        memcpy(keys[i], l->own->pub, 32);
        cr_expect_null(few_link(&f.node[i], user)); /* never the key on its disk */
        for (unsigned k = 0; k < i; k++)
            cr_expect_neq(memcmp(keys[i], keys[k], 32), 0);
        cr_expect(i == 0 || f.node[i].mesh->n.finds_served - before[i] < 20);
    }
    struct mesh_link *at1 = NULL;
    list_each (at, &f.node[1].mesh->links) {
        struct mesh_link *l = container_of(at, struct mesh_link, all);
        if (!l->is_listed)
            at1 = l;
    }
    cr_assert_not_null(at1);
    cr_expect_not(at1->has_id);
    cr_expect_null(at1->record);
    few_fini(&f);
}

static void two_on_a_lan(struct few *f, bool second_has_beacon)
{
    few_init(f, 3, NULL);
    f->lan = 1;
    few_add(f, 0)->config.beacon = true;
    few_add(f, 0)->config.beacon = second_has_beacon;
    few_boot(&f->node[0]);
    few_boot(&f->node[1]);
    few_run_ms(f, 40000);
}

Test(mesh_discover, a_beacon_is_enough_on_a_lan)
{
    struct few f;
    two_on_a_lan(&f, true);
    cr_expect_eq(f.node[0].mesh->n_up, 1u);
    cr_expect_eq(f.node[1].mesh->n_up, 1u);
    few_fini(&f);
}

Test(mesh_discover, nobody_listens_for_beacons_by_default)
{
    struct few f;
    two_on_a_lan(&f, false);
    cr_expect_eq(f.node[0].mesh->n_up, 0u);
    cr_expect_eq(f.node[1].mesh->n.beacons_in, 0u);
    few_fini(&f);
}

Test(mesh_discover, goodbye_on_stop_and_the_store_survives)
{
    struct few f;
    start_all(&f, 3);
    few_run_ms(&f, 2000);
    few_stop(&f.node[2]);
    few_run_ms(&f, 500);
    cr_expect(f.node[2].is_stopped);
    cr_expect_eq(f.node[0].mesh->n.goodbye_in[MESH_BYE_LEAVING], 1u);
    cr_expect_str_eq(f.node[0].why, "the peer left");
    sim_node_shutdown(f.node[2].sim);
    few_boot(&f.node[2]);
    few_run_ms(&f, 1000);
    cr_expect_eq(f.node[2].mesh->n_up, 2u);
    few_fini(&f);
}
