#include <criterion/criterion.h>

#include "onion/choose.h"
#include "onion/guards_internal.h"
#include "tests/unit/onion/crowd.h"

struct rig {
    struct crowd *c;
    struct onion_guards *g;
};

static struct rig rig_on(struct crowd *c)
{
    struct mesh_network net;
    struct rig r = { .c = c };
    cr_assert_eq(mesh_network_init(&net, "choose", 1, true, NULL), 0);
    r.g = onion_guards_create(&net);
    cr_assert_not_null(r.g);
    crowd_refresh(c);
    (void)onion_guards_refresh(r.g, c->relays, &c->dice.env, c->now);
    return r;
}

static void rig_end(struct rig *r)
{
    onion_guards_destroy(r->g);
    crowd_destroy(r->c);
}

static int choose(struct rig *r, const struct onion_wish *w, struct onion_chosen *p)
{
    memset(p, 0xee, sizeof *p);
    return onion_choose(p, w, r->c->relays, r->g, &r->c->dice.env, r->c->now, NULL);
}

static bool is_guard(const struct rig *r, const uint8_t *id)
{
    for (size_t i = 0; i < r->g->n_guards; i++)
        if (memcmp(r->g->guards[i].id, id, 32) == 0)
            return true;
    return false;
}

static bool is_second(const struct rig *r, const uint8_t *id)
{
    for (size_t i = 0; i < r->g->n_seconds; i++)
        if (memcmp(r->g->seconds[i].id, id, 32) == 0)
            return true;
    return false;
}

static bool is_in(const uint8_t (*list)[32], size_t n, const uint8_t *id)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(list[i], id, 32) == 0)
            return true;
    return false;
}

/* Every rule that a path may not break, whatever was wished. */
static void path_check(const struct rig *r, const struct onion_wish *w,
                       const struct onion_chosen *p, bool is_lab)
{
    struct onion_kin kin[ONION_HOPS_MAX];
    cr_assert_leq(p->n_hops, w->hops);
    cr_assert_geq(p->n_hops, 3u);
    for (size_t i = 0; i < p->n_hops; i++) {
        const struct mesh_node *n = crowd_node(r->c, p->hops[i].id);
        bool is_given = w->last != NULL && i + 1 == p->n_hops;
        cr_assert_not_null(n);
        cr_assert_arr_eq(p->hops[i].onion_key, n->onion_key, 32);
        cr_assert_arr_neq(n->id, r->c->self, 32);
        cr_assert(is_given || (i == 0 && !w->is_strict) || !is_in(w->exclude, w->n_exclude, n->id),
                  "hop %zu is excluded", i);
        onion_kin_of(&kin[i], n);
        for (size_t k = 0; k < i; k++) {
            cr_assert_arr_neq(p->hops[k].id, n->id, 32);
            cr_assert(is_lab || !onion_kin_is_near(&kin[k], &kin[i]), "hops %zu and %zu", k, i);
        }
    }
    cr_assert(is_guard(r, p->hops[0].id));
    cr_assert_arr_eq(p->first.id, p->hops[0].id, 32);
    if (w->last != NULL)
        cr_assert_arr_eq(p->hops[p->n_hops - 1].id, w->last, 32);
}

static struct onion_wish random_wish(struct rig *r, uint8_t exclude[8][32])
{
    struct env *env = &r->c->dice.env;
    struct onion_wish w = { .hops = 3 + (unsigned)env_random_below(env, 2),
                            .exclude = (const uint8_t(*)[32])exclude,
                            .n_exclude = (size_t)env_random_below(env, 9),
                            .is_strict = env_random_below(env, 2) == 0 };
    for (size_t i = 0; i < w.n_exclude; i++)
        memcpy(exclude[i], r->c->nodes[env_random_below(env, r->c->n)].id, 32);
    if (env_random_below(env, 2) == 0)
        w.last = r->c->nodes[env_random_below(env, r->c->n)].id;
    return w;
}

Test(onion_choose, breaks_no_rule_in_ten_thousand_draws, .timeout = 60)
{
    unsigned found = 0, second = 0;
    for (unsigned seed = 0; seed < 50; seed++) {
        struct rig r = rig_on(crowd_start(seed, false));
        crowd_fill_mixed(r.c, 20 + seed * 4);
        r.c->now++;
        crowd_refresh(r.c);
        (void)onion_guards_refresh(r.g, r.c->relays, &r.c->dice.env, r.c->now);
        for (unsigned i = 0; i < 200; i++) {
            uint8_t exclude[8][32];
            struct onion_chosen p;
            struct onion_wish w = random_wish(&r, exclude);
            int code = choose(&r, &w, &p);
            cr_assert(code == 0 || code == CYX_ENOENT, "%d", code);
            if (code != 0)
                continue;
            path_check(&r, &w, &p, false);
            found++;
            second += is_second(&r, p.hops[1].id);
        }
        rig_end(&r);
    }
    cr_expect_gt(found, 9500u, "%u paths found", found);
    cr_expect_gt(second, found * 95 / 100, "%u of %u by the second layer", second, found);
}

Test(onion_choose, first_hop_is_the_first_guard_that_fits)
{
    struct rig r = rig_on(crowd_start(2, false));
    crowd_fill(r.c, 100);
    crowd_refresh(r.c);
    (void)onion_guards_refresh(r.g, r.c->relays, &r.c->dice.env, r.c->now);
    struct onion_chosen p;
    struct onion_wish w = { .hops = 4 };
    const struct guard *guards = r.g->guards;
    cr_assert_eq(choose(&r, &w, &p), 0);
    cr_expect_arr_eq(p.hops[0].id, guards[0].id, 32);
    w.skip_guards = 1;
    cr_assert_eq(choose(&r, &w, &p), 0);
    cr_expect_arr_eq(p.hops[0].id, guards[1].id, 32);
    w.skip_guards = 3;
    cr_expect_eq(choose(&r, &w, &p), CYX_EAGAIN);
    w.skip_guards = 0;
    w.last = guards[0].id; /* a pivot that is our guard */
    cr_assert_eq(choose(&r, &w, &p), 0);
    cr_expect_arr_eq(p.hops[0].id, guards[1].id, 32);
    uint8_t exclude[2][32];
    memcpy(exclude[0], guards[0].id, 32);
    memcpy(exclude[1], guards[1].id, 32);
    w = (struct onion_wish){ .hops = 4, .exclude = (const uint8_t(*)[32])exclude, .n_exclude = 2 };
    cr_assert_eq(choose(&r, &w, &p), 0);
    cr_expect_arr_eq(p.hops[0].id, guards[2].id, 32);
    onion_guards_link_failed(r.g, guards[2].id, r.c->now);
    w.is_strict = true;
    cr_expect_eq(choose(&r, &w, &p), CYX_ENOENT);
    w.is_strict =
        false; /* no other guard is left: one of those excluded, in the first place only */
    cr_assert_eq(choose(&r, &w, &p), 0);
    cr_expect_arr_eq(p.hops[0].id, guards[0].id, 32);
    for (size_t i = 1; i < p.n_hops; i++)
        cr_expect_not(is_in(w.exclude, 2, p.hops[i].id));
    for (size_t i = 0; i < 3; i++)
        onion_guards_link_failed(r.g, guards[i].id, r.c->now);
    cr_expect_eq(choose(&r, &w, &p), CYX_EAGAIN);
    rig_end(&r);
}

Test(onion_choose, second_hop_is_of_the_second_layer_and_all_four_alike)
{
    struct rig r = rig_on(crowd_start(3, false));
    crowd_fill(r.c, 100);
    crowd_refresh(r.c);
    (void)onion_guards_refresh(r.g, r.c->relays, &r.c->dice.env, r.c->now);
    unsigned got[ONION_SECOND] = { 0 };
    for (unsigned i = 0; i < 4000; i++) {
        struct onion_chosen p;
        struct onion_wish w = { .hops = 4 };
        cr_assert_eq(choose(&r, &w, &p), 0);
        cr_assert_eq(p.n_hops, 4u);
        for (size_t k = 0; k < ONION_SECOND; k++)
            got[k] += memcmp(r.g->seconds[k].id, p.hops[1].id, 32) == 0;
    }
    cr_expect_eq(got[0] + got[1] + got[2] + got[3], 4000u);
    for (size_t k = 0; k < ONION_SECOND; k++)
        /* where one is drawn for the third or last hop, that is after the second */
        cr_expect(got[k] > 850 && got[k] < 1150, "%u", got[k]);
    /* none fits: any relay does */
    struct onion_chosen p;
    uint8_t exclude[ONION_SECOND][32];
    for (size_t k = 0; k < ONION_SECOND; k++)
        memcpy(exclude[k], r.g->seconds[k].id, 32);
    struct onion_wish w = { .hops = 4,
                            .exclude = (const uint8_t(*)[32])exclude,
                            .n_exclude = ONION_SECOND };
    cr_assert_eq(choose(&r, &w, &p), 0);
    path_check(&r, &w, &p, false);
    rig_end(&r);
}

Test(onion_choose, random_hops_come_by_weight)
{
    struct rig r = rig_on(crowd_start(4, false));
    enum { N = 40, DRAWS = 20000 };
    unsigned got[N] = { 0 };
    for (uint8_t i = 0; i < N; i++)
        (void)crowd_add(r.c, i, 0, i % 2 == 0 ? 1000 : i == 1 ? 1000000 : 2000);
    crowd_refresh(r.c);
    (void)onion_guards_refresh(r.g, r.c->relays, &r.c->dice.env, r.c->now);
    for (unsigned k = 0; k < DRAWS; k++) {
        struct onion_chosen p;
        struct onion_wish w = { .hops = 4 };
        cr_assert_eq(choose(&r, &w, &p), 0);
        got[crowd_node(r.c, p.hops[2].id) - r.c->nodes]++;
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < N; i++)
        if (!is_guard(&r, r.c->nodes[i].id) && !is_second(&r, r.c->nodes[i].id))
            sum += onion_relays_find(r.c->relays, r.c->nodes[i].id)->weight;
    double share_sum = 0;
    for (size_t i = 0; i < N; i++) {
        const uint8_t *id = r.c->nodes[i].id;
        if (is_guard(&r, id) || is_second(&r, id))
            continue; /* their chance depends on who else is in the path */
        double share = (double)got[i] / DRAWS;
        double most = (double)onion_relays_find(r.c->relays, id)->weight / (double)sum;
        share_sum += share;
        cr_expect(share < most * 1.15, "relay %zu: %f, at most %f", i, share, most);
        cr_expect(share > most * 0.60, "relay %zu: %f, of %f", i, share, most);
    }
    cr_expect_gt(share_sum, 0.7);
    rig_end(&r);
}

Test(onion_choose, small_networks_take_what_there_is)
{
    /* relays, hops that a path of 4 gets to a random END; 0: none */
    static const unsigned want[] = { 0, 0, 0, 3, 4, 4, 4, 4, 4 };
    for (size_t n = 0; n < sizeof want / sizeof want[0]; n++) {
        struct rig r = rig_on(crowd_start(n, false));
        crowd_fill(r.c, n);
        crowd_refresh(r.c);
        (void)onion_guards_refresh(r.g, r.c->relays, &r.c->dice.env, r.c->now);
        for (unsigned i = 0; i < 50; i++) {
            struct onion_chosen p;
            struct onion_wish w = { .hops = 4 };
            int code = choose(&r, &w, &p);
            cr_assert_eq(code,
                         n == 0         ? CYX_EAGAIN
                         : want[n] == 0 ? CYX_ENOENT
                                        : 0,
                         "%zu relays", n);
            if (code != 0)
                continue;
            cr_assert_eq(p.n_hops, want[n], "%zu relays", n);
            path_check(&r, &w, &p, false);
        }
        rig_end(&r);
    }
}

Test(onion_choose, one_operators_relays_make_no_path_but_in_a_lab)
{
    for (unsigned is_lab = 0; is_lab < 2; is_lab++) {
        struct rig r = rig_on(crowd_start(5, is_lab != 0));
        for (size_t i = 0; i < 8; i++)
            (void)crowd_add(r.c, 1, 1, 1000);
        crowd_refresh(r.c);
        (void)onion_guards_refresh(r.g, r.c->relays, &r.c->dice.env, r.c->now);
        for (unsigned i = 0; i < 100; i++) {
            struct onion_chosen p;
            struct onion_wish w = { .hops = 4, .last = i % 2 ? r.c->nodes[i % 8].id : NULL };
            int code = choose(&r, &w, &p);
            cr_assert_eq(code, is_lab ? 0 : CYX_ENOENT);
            if (is_lab)
                path_check(&r, &w, &p, true);
        }
        rig_end(&r);
    }
}

Test(onion_choose, ourselves_unknown_pivots_and_odd_lengths_are_refused)
{
    struct rig r = rig_on(crowd_start(6, false));
    crowd_fill(r.c, 50);
    crowd_refresh(r.c);
    (void)onion_guards_refresh(r.g, r.c->relays, &r.c->dice.env, r.c->now);
    static const uint8_t unknown[32] = { 1 };
    struct onion_chosen p;
    struct onion_wish w = { .hops = 3, .last = r.c->self };
    cr_expect_eq(choose(&r, &w, &p), CYX_EINVAL);
    cr_expect_eq(p.n_hops, 0xeeeeeeeeeeeeeeeeu, "written on success only");
    w.last = unknown;
    cr_expect_eq(choose(&r, &w, &p), CYX_ENOENT);
    for (unsigned hops = 0; hops < 9; hops++) {
        w = (struct onion_wish){ .hops = hops };
        cr_expect_eq(choose(&r, &w, &p), hops == 3 || hops == 4 ? 0 : CYX_EINVAL);
    }
    /* a pivot that is no relay of ours (too young, say), but whose record we have */
    struct mesh_node *young = crowd_add(r.c, 200, 0, 1000);
    dht_roster_restore(r.c->roster, young->id, CROWD_NOW, 0);
    crowd_refresh(r.c);
    w = (struct onion_wish){ .hops = 3, .last = young->id };
    cr_assert_eq(choose(&r, &w, &p), 0);
    path_check(&r, &w, &p, false);
    for (unsigned i = 0; i < 500; i++) { /* never drawn by ourselves */
        w = (struct onion_wish){ .hops = 4 };
        cr_assert_eq(choose(&r, &w, &p), 0);
        for (size_t k = 0; k < p.n_hops; k++)
            cr_assert_arr_neq(p.hops[k].id, young->id, 32);
    }
    rig_end(&r);
}

Test(onion_choose, very_small_networks_give_up_exclusions_last)
{
    struct rig r = rig_on(crowd_start(7, false));
    crowd_fill(r.c, 6);
    crowd_refresh(r.c);
    (void)onion_guards_refresh(r.g, r.c->relays, &r.c->dice.env, r.c->now);
    uint8_t pivots[3][32];
    for (size_t i = 0; i < 3; i++)
        memcpy(pivots[i], r.g->guards[i].id, 32); /* all our guards are pivots of one service */
    for (unsigned i = 0; i < 50; i++) {
        struct onion_chosen p;
        struct onion_wish w = { .hops = 3,
                                .last = pivots[i % 3],
                                .exclude = (const uint8_t(*)[32])pivots,
                                .n_exclude = 3 };
        cr_assert_eq(choose(&r, &w, &p), 0);
        w.n_exclude = 0;
        path_check(&r, &w, &p, false);
    }
    rig_end(&r);
}

Test(onion_choose, pivots_are_no_kin_and_leave_guards_and_second_layer_alone)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct rig r = rig_on(crowd_start(seed, false));
        crowd_fill_mixed(r.c, 200);
        crowd_refresh(r.c);
        (void)onion_guards_refresh(r.g, r.c->relays, &r.c->dice.env, r.c->now);
        uint8_t got[ONION_PIVOTS_MAX][32], exclude[1][32];
        size_t want = onion_pivots_wanted(r.c->relays, 0);
        cr_assert_eq(want, 3u);
        memcpy(exclude[0], r.c->nodes[seed].id, 32);
        size_t n = onion_choose_pivots(got, want, (const uint8_t(*)[32])exclude, 1, r.c->relays,
                                       r.g, &r.c->dice.env, r.c->now);
        cr_assert_eq(n, 3u);
        for (size_t i = 0; i < n; i++) {
            struct onion_kin a, b;
            cr_assert(!is_guard(&r, got[i]) && !is_second(&r, got[i]));
            cr_assert_arr_neq(got[i], exclude[0], 32);
            onion_kin_of(&a, crowd_node(r.c, got[i]));
            for (size_t k = 0; k < i; k++) {
                onion_kin_of(&b, crowd_node(r.c, got[k]));
                cr_assert_not(onion_kin_is_near(&a, &b));
            }
        }
        rig_end(&r);
    }
}

Test(onion_choose, pivots_of_small_networks_leave_two_relays_for_their_paths)
{
    static const size_t want[] = { 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 3, 3 };
    for (size_t n = 1; n < 12; n++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct rig r = rig_on(crowd_start(seed, true));
            crowd_fill(r.c, n);
            crowd_refresh(r.c);
            (void)onion_guards_refresh(r.g, r.c->relays, &r.c->dice.env, r.c->now);
            uint8_t got[ONION_PIVOTS_MAX][32];
            cr_assert_eq(onion_pivots_wanted(r.c->relays, 0), want[n], "%zu relays", n);
            size_t found = onion_choose_pivots(got, want[n], NULL, 0, r.c->relays, r.g,
                                               &r.c->dice.env, r.c->now);
            cr_assert_eq(found, n == 1 ? 0 : want[n], "%zu relays: %zu", n, found);
            for (size_t i = 0; i < found && n >= 3; i++) {
                struct onion_chosen p;
                struct onion_wish w = { .hops = 3,
                                        .last = got[i],
                                        .exclude = (const uint8_t(*)[32])got,
                                        .n_exclude = found };
                cr_assert_eq(choose(&r, &w, &p), 0, "%zu relays", n);
                path_check(&r, &w, &p, true);
            }
            rig_end(&r);
        }
    }
    struct rig r = rig_on(crowd_start(1, false));
    crowd_fill(r.c, 60);
    crowd_refresh(r.c);
    cr_expect_eq(onion_pivots_wanted(r.c->relays, 8), 8u);
    cr_expect_eq(onion_pivots_wanted(r.c->relays, 99), 8u);
    cr_expect_eq(onion_pivots_wanted(r.c->relays, 1), 1u);
    rig_end(&r);
}
