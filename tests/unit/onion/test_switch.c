/* Who a path id on a link belongs to. */
#include <stdlib.h>

#include "onion/switch.h"
#include "tests/unit/mesh/few.h"

enum { MANY = 300 };

static struct few few;
static struct onion_switch *paths;
static unsigned n_cells, n_destroys, n_builds, n_replies, n_lost;
static unsigned stray_cells, stray_destroys, stray_builds, stray_replies;
static struct onion_slot slots[MANY];

static void cell(struct onion_slot *s, uint8_t c[static MESH_CELL])
{
    (void)s;
    (void)c;
    n_cells++;
}

static void reply(struct onion_slot *s, const uint8_t t[static ONION_REPLY])
{
    (void)s;
    n_replies += t[0];
}

static void build(struct onion_slot *s, const uint8_t t[static ONION_TRAIN])
{
    (void)s;
    n_builds += t[0];
}

static void destroy(struct onion_slot *s)
{
    n_destroys++;
    onion_switch_remove(paths, s);
}

/* Takes another one with it, as paths do. */
static void lost(struct onion_slot *s)
{
    n_lost++;
    cr_expect_null(s->link, "it is out already");
    for (unsigned i = 0; i < MANY; i += 3)
        onion_switch_remove(paths, &slots[i]);
}

static const struct onion_slot_ops ops = { cell, reply, build, destroy, NULL, lost };
static const struct onion_slot_ops quiet = { cell, reply, NULL, destroy, NULL, lost };

static void stray_build(void *arg, struct mesh_link *l, uint32_t p,
                        const uint8_t t[static ONION_TRAIN])
{
    (void)arg;
    (void)l;
    (void)p;
    stray_builds += t[0];
}

static void stray_cell(void *arg, struct mesh_link *l, uint32_t p)
{
    (void)arg;
    (void)l;
    (void)p;
    stray_cells++;
}

static void stray_destroy(void *arg, struct mesh_link *l, uint32_t p)
{
    (void)arg;
    (void)l;
    (void)p;
    stray_destroys++;
}

static void stray_reply(void *arg, struct mesh_link *l, uint32_t p)
{
    (void)arg;
    (void)l;
    (void)p;
    stray_replies++;
}

static const struct onion_strays strays = { stray_build, stray_cell, stray_destroy, stray_reply };

static void start(void)
{
    few_pair(&few, 3);
    paths = onion_switch_create(few.node[1].mesh);
    cr_assert_not_null(paths);
    memset(slots, 0, sizeof slots);
}

static void end(void)
{
    onion_switch_destroy(paths);
    few_fini(&few);
}

TestSuite(onion_switch, .init = start, .fini = end);

static struct mesh_link *link_of(unsigned from)
{
    return few_link(&few.node[from], &few.node[1 - from]);
}

static int add(struct onion_slot *s, uint32_t path)
{
    s->ops = &ops;
    return onion_switch_add(paths, s, link_of(1), path);
}

/* The other side says one of each, under that id. */
static void say_all(void *arg)
{
    uint32_t path = *(uint32_t *)arg;
    static const uint8_t train[ONION_TRAIN] = { 1 };
    struct mesh_link *l = link_of(0);
    cr_assert_eq(mesh_cell_send(l, path, train), 0);
    cr_assert_eq(mesh_train_send(l, path, false, train, ONION_TRAIN), 0);
    cr_assert_eq(mesh_train_send(l, path, true, train, ONION_REPLY), 0);
}

static void say_destroy(void *arg)
{
    mesh_path_destroy(link_of(0), *(uint32_t *)arg);
}

static void all_come(uint32_t path)
{
    few_in(&few.node[0], say_all, &path);
    few_run_ms(&few, 100);
    few_in(&few.node[0], say_destroy, &path);
    few_run_ms(&few, 100);
}

Test(onion_switch, tells_the_slot_of_what_comes_for_its_id)
{
    cr_assert_eq(add(&slots[0], 7), 0);
    onion_switch_set_strays(paths, &strays, NULL);
    all_come(7);
    cr_expect_eq(n_cells, 1u);
    cr_expect_eq(n_builds, 1u);
    cr_expect_eq(n_replies, 1u);
    cr_expect_eq(n_destroys, 1u);
    cr_expect_eq(stray_cells + stray_builds + stray_replies + stray_destroys, 0u);
    cr_expect_eq(onion_switch_len(paths), 0u);
}

Test(onion_switch, tells_strays_of_the_rest)
{
    cr_assert_eq(add(&slots[0], 7), 0);
    all_come(8); /* nobody listens: nothing happens */
    onion_switch_set_strays(paths, &strays, NULL);
    all_come(8);
    cr_expect_eq(stray_cells, 1u);
    cr_expect_eq(stray_builds, 1u);
    cr_expect_eq(stray_replies, 1u);
    cr_expect_eq(stray_destroys, 1u);
    cr_expect_eq(n_cells + n_builds + n_replies + n_destroys, 0u);
    onion_switch_set_strays(paths, NULL, NULL);
    all_come(8);
    cr_expect_eq(stray_cells, 1u);
}

Test(onion_switch, needs_no_build_of_a_slot)
{
    cr_assert_eq(add(&slots[0], 7), 0);
    slots[0].ops = &quiet;
    onion_switch_set_strays(paths, &strays, NULL);
    all_come(7);
    cr_expect_eq(n_cells, 1u);
    cr_expect_eq(stray_builds, 0u);
}

Test(onion_switch, holds_an_id_of_a_link_once)
{
    cr_assert_eq(add(&slots[0], 7), 0);
    cr_expect_eq(add(&slots[1], 7), CYX_EEXIST);
    cr_expect_null(slots[1].link);
    onion_switch_remove(paths, &slots[1]); /* in none: nothing happens */
    cr_expect_eq(onion_switch_link_len(paths, link_of(1)), 1u);
    onion_switch_remove(paths, &slots[0]);
    cr_expect_eq(add(&slots[1], 7), 0);
    cr_expect_eq(onion_switch_len(paths), 1u);
}

Test(onion_switch, finds_the_right_one_among_many_that_change)
{
    for (uint32_t i = 0; i < MANY; i++)
        cr_assert_eq(add(&slots[i], i + 1), 0);
    cr_expect_eq(onion_switch_link_len(paths, link_of(1)), (size_t)MANY);
    for (uint32_t i = 0; i < MANY; i += 2)
        onion_switch_remove(paths, &slots[i]);
    onion_switch_set_strays(paths, &strays, NULL);
    all_come(2);
    all_come(3);
    cr_expect_eq(n_cells, 1u);
    cr_expect_eq(stray_cells, 1u);
    all_come(2); /* it was the last one found, and is gone */
    cr_expect_eq(n_cells, 1u);
    cr_expect_eq(stray_cells, 2u);
}

static void close_link(void *arg)
{
    mesh_link_close(arg, MESH_BYE_LEAVING);
}

Test(onion_switch, tells_each_slot_of_its_link_once_whoever_else_goes_meanwhile)
{
    for (uint32_t i = 0; i < MANY; i++)
        cr_assert_eq(add(&slots[i], i + 1), 0);
    few_in(&few.node[1], close_link, link_of(1));
    few_run_ms(&few, 100);
    cr_expect_eq(onion_switch_len(paths), 0u);
    /* the first one heard of it took every third of the others out */
    cr_expect_eq(n_lost, MANY - MANY / 3 + 1u);
}
