/* A DHT of a few nodes: lookups, stores and whole nodes that end in the midst of it. */
#include <sodium.h>

#include "base/mp.h"
#include "dht/store_internal.h"
#include "dht_rig.h"

static void cancel(void *arg)
{
    struct finding *g = arg;
    dht_find_cancel(g->find);
}

static void begin_and_cancel(void *arg)
{
    begin_find(arg);
    cancel(arg);
}

Test(dht, a_lookup_can_be_cancelled_at_any_moment)
{
    struct record r;
    members_boot(4);
    record_provider(&r, 1, 7);
    struct finding g = { .m = &members[1],
                         .key = r.v.places[0],
                         .type = MESH_RECORD_PROVIDER,
                         .flags = DHT_FIND_FRESH };
    few_in(g.m->node, begin_and_cancel, &g);
    for (unsigned ms = 0; ms < 40; ms += 5) {
        few_in(g.m->node, begin_find, &g);
        few_run_ms(&few, ms);
        if (g.is_over)
            break;
        few_in(g.m->node, cancel, &g);
        members_check();
    }
    few_run_ms(&few, 10000);
    members_check();
}

static void begin_all(struct member *m, struct finding *g, struct putting p[2])
{
    few_in(m->node, begin_find, g);
    few_in(m->node, begin_put, &p[0]);
    few_in(m->node, begin_put, &p[1]);
}

Test(dht, stopping_tells_all_who_wait_once)
{
    struct record r;
    members_boot(4);
    record_provider(&r, 1, 7);
    for (unsigned ms = 0; ms < 60; ms += 6) {
        struct finding g = { .m = &members[1],
                             .key = r.v.places[0],
                             .type = MESH_RECORD_PROVIDER,
                             .flags = DHT_FIND_FRESH };
        struct putting p[2] = { { .m = &members[1], .r = &r },
                                { .m = &members[1], .r = &r, .is_published = true } };
        begin_all(&members[1], &g, p);
        few_run_ms(&few, ms);
        few_in(members[1].node, member_stop, &members[1]);
        cr_expect(g.is_over && p[0].is_over && p[1].is_over, "after %u ms", ms);
        few_run_ms(&few, 100);
        few_in(members[1].node, member_start, &members[1]);
        few_run_ms(&few, 2000);
        members_check();
    }
}

static void end_from(enum after after)
{
    struct record r;
    members_boot(4);
    record_provider(&r, 1, 7);
    struct finding g = {
        .m = &members[1], .key = r.v.places[0], .type = MESH_RECORD_PROVIDER, .after = after
    };
    few_in(g.m->node, begin_find, &g);
    few_run_ms(&few, 10000);
    cr_expect(g.is_over);
    struct putting p = { .m = &members[2], .r = &r, .after = after };
    few_in(p.m->node, begin_put, &p);
    few_run_ms(&few, 15000);
    cr_expect(p.is_over);
    struct putting q = { .m = &members[3], .r = &r, .is_published = true, .after = after };
    few_in(q.m->node, begin_put, &q);
    few_run_ms(&few, 15000);
    cr_expect(q.is_over);
    members_check();
}

Test(dht, may_be_stopped_from_a_callback)
{
    end_from(STOP);
}

Test(dht, may_be_destroyed_from_a_callback)
{
    end_from(DESTROY);
}

Test(dht, a_stopped_dht_refuses_all)
{
    struct record r;
    members_boot(2);
    record_provider(&r, 1, 7);
    few_in(members[1].node, member_stop, &members[1]);
    struct finding g = { .m = &members[1], .key = r.v.places[0], .type = MESH_RECORD_PROVIDER };
    few_in(g.m->node, begin_find, &g);
    cr_expect_eq(g.started, CYX_ECANCELED);
    cr_expect_eq(member_publish(&members[1], &r).started, CYX_ECANCELED);
}
