#include <criterion/criterion.h>
#include <string.h>

#include "mesh/sched.h"

enum { PLENTY = 64 << 20 };

struct rig {
    struct mesh_cells *cells;
    struct mesh_sched *s;
    uint8_t cell[MESH_CELL];
};

static struct rig rig_with(size_t max_bytes)
{
    struct rig r = { .cells = mesh_cells_create(max_bytes) };
    cr_assert_not_null(r.cells);
    r.s = mesh_sched_create(r.cells);
    cr_assert_not_null(r.s);
    return r;
}

static void rig_fini(struct rig *r)
{
    mesh_sched_destroy(r->s);
    cr_expect_eq(mesh_cells_used(r->cells), 0u);
    mesh_cells_destroy(r->cells);
}

/* A cell whose bytes all depend on its number. */
static int push(struct rig *r, struct mesh_sched *s, uint32_t path, uint32_t number)
{
    for (size_t i = 0; i < MESH_CELL; i += 4)
        memcpy(r->cell + i, &number, 4);
    return mesh_sched_push(s, path, r->cell);
}

/* Pops; *number is what push() put in. */
static uint32_t pop(struct rig *r, struct mesh_sched *s, uint32_t *number)
{
    uint32_t path = mesh_sched_pop(s, r->cell);
    memcpy(number, r->cell, 4);
    if (path != 0)
        for (size_t i = 0; i < MESH_CELL; i += 4)
            cr_assert_arr_eq(r->cell + i, number, 4);
    return path;
}

Test(mesh_sched, gives_nothing_when_empty)
{
    struct rig r = rig_with(PLENTY);
    uint32_t n;
    cr_expect_eq(pop(&r, r.s, &n), 0u);
    cr_expect_eq(mesh_sched_len(r.s), 0u);
    cr_expect_eq(mesh_sched_paths(r.s), 0u);
    mesh_sched_forget(r.s, 9);
    rig_fini(&r);
}

Test(mesh_sched, keeps_a_paths_cells_in_order_through_every_ring_size)
{
    struct rig r = rig_with(PLENTY);
    uint32_t n, next_out = 0;
    for (uint32_t i = 0; i < MESH_PATH_CELLS; i++) {
        cr_assert_eq(push(&r, r.s, 7, i), 0);
        if (i % 3 == 0) { /* so that the ring's head is never at its start when it grows */
            cr_assert_eq(pop(&r, r.s, &n), 7u);
            cr_assert_eq(n, next_out++);
        }
    }
    while (pop(&r, r.s, &n) != 0)
        cr_assert_eq(n, next_out++);
    cr_expect_eq(next_out, (uint32_t)MESH_PATH_CELLS);
    rig_fini(&r);
}

Test(mesh_sched, serves_paths_in_turn_whatever_their_lengths)
{
    struct rig r = rig_with(PLENTY);
    uint32_t n;
    for (uint32_t i = 0; i < 90; i++)
        cr_assert_eq(push(&r, r.s, 1, i), 0);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(push(&r, r.s, 2, i), 0);
        cr_assert_eq(push(&r, r.s, 3, i), 0);
    }
    cr_expect_eq(mesh_sched_paths(r.s), 3u);
    static const uint32_t order[] = { 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 1 };
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        cr_expect_eq(pop(&r, r.s, &n), order[i], "turn %zu", i);
    cr_expect_eq(mesh_sched_paths(r.s), 1u);
    cr_expect_eq(mesh_sched_path_len(r.s, 1), 85u);
    cr_expect_eq(mesh_sched_path_len(r.s, 2), 0u);
    rig_fini(&r);
}

Test(mesh_sched, finds_each_of_many_paths)
{
    enum { PATHS = 3000 };
    struct rig r = rig_with(PLENTY);
    uint32_t n;
    for (unsigned round = 0; round < 2; round++) {
        for (uint32_t p = 1; p <= PATHS; p++)
            cr_assert_eq(push(&r, r.s, p, p), 0);
        cr_expect_eq(mesh_sched_paths(r.s), (size_t)PATHS);
        for (uint32_t p = 1; p <= PATHS; p++)
            cr_assert_eq(mesh_sched_path_len(r.s, p), 1u);
        for (uint32_t p = 1; p <= PATHS; p++) {
            cr_assert_eq(pop(&r, r.s, &n), p);
            cr_assert_eq(n, p);
        }
        cr_expect_eq(mesh_sched_paths(r.s), 0u);
    }
    rig_fini(&r);
}

Test(mesh_sched, drops_the_32_oldest_of_a_full_path_together)
{
    struct rig r = rig_with(PLENTY);
    uint32_t n;
    for (uint32_t i = 0; i < MESH_PATH_CELLS; i++)
        cr_assert_eq(push(&r, r.s, 5, i), 0);
    cr_assert_eq(push(&r, r.s, 6, 0), 0);
    cr_expect_eq(push(&r, r.s, 5, MESH_PATH_CELLS), CYX_EFULL);
    cr_expect_eq(mesh_sched_path_len(r.s, 5), (size_t)(MESH_PATH_CELLS - MESH_PATH_DROP_RUN + 1));
    cr_expect_eq(mesh_sched_path_len(r.s, 6), 1u, "another path pays nothing");
    cr_expect_eq(mesh_sched_dropped(r.s), (uint64_t)MESH_PATH_DROP_RUN);
    cr_expect_eq(mesh_cells_dropped(r.cells), (uint64_t)MESH_PATH_DROP_RUN);
    cr_expect_eq(pop(&r, r.s, &n), 5u);
    cr_expect_eq(n, (uint32_t)MESH_PATH_DROP_RUN, "the oldest went, the newest stayed");
    rig_fini(&r);
}

Test(mesh_sched, takes_from_the_nodes_greediest_path_on_whatever_link)
{
    enum { CELLS = 200 };
    struct rig r = rig_with(CELLS * MESH_CELL);
    struct mesh_sched *other = mesh_sched_create(r.cells);
    uint32_t n;
    for (uint32_t p = 1; p <= 20; p++)
        for (uint32_t i = 0; i < 4; i++)
            cr_assert_eq(push(&r, r.s, p, i), 0);
    for (uint32_t i = 0; i < 120; i++)
        cr_assert_eq(push(&r, other, 99, i), 0);
    cr_expect_eq(mesh_cells_used(r.cells), (size_t)CELLS * MESH_CELL);

    cr_expect_eq(push(&r, r.s, 1, 4), CYX_EFULL);
    cr_expect_eq(mesh_sched_path_len(r.s, 1), 5u);
    cr_expect_eq(mesh_sched_path_len(other, 99), 120u - MESH_PATH_DROP_RUN);
    cr_expect_eq(mesh_sched_dropped(r.s), 0u);
    cr_expect_eq(mesh_sched_dropped(other), (uint64_t)MESH_PATH_DROP_RUN);
    cr_expect_eq(pop(&r, other, &n), 99u);
    cr_expect_eq(n, (uint32_t)MESH_PATH_DROP_RUN);
    mesh_sched_destroy(other);
    rig_fini(&r);
}

Test(mesh_sched, queues_the_newest_cell_even_when_its_own_path_is_emptied_for_it)
{
    struct rig r = rig_with(8 * MESH_CELL);
    uint32_t n;
    for (uint32_t i = 0; i < 8; i++)
        cr_assert_eq(push(&r, r.s, 4, i), 0);
    cr_expect_eq(push(&r, r.s, 4, 8), CYX_EFULL);
    cr_expect_eq(mesh_sched_len(r.s), 1u);
    cr_expect_eq(pop(&r, r.s, &n), 4u);
    cr_expect_eq(n, 8u);
    rig_fini(&r);
}

Test(mesh_sched, forgets_a_path_and_gives_its_memory_back)
{
    struct rig r = rig_with(PLENTY);
    uint32_t n;
    for (uint32_t i = 0; i < 300; i++)
        cr_assert_eq(push(&r, r.s, 1 + i % 2, i), 0);
    mesh_sched_forget(r.s, 1);
    cr_expect_eq(mesh_sched_len(r.s), 150u);
    cr_expect_eq(mesh_cells_used(r.cells), 150u * MESH_CELL);
    cr_expect_eq(mesh_sched_dropped(r.s), 0u, "a path that ended lost nothing");
    cr_expect_eq(pop(&r, r.s, &n), 2u);
    cr_expect_eq(n, 1u);
    rig_fini(&r);
}

/* Random pushes, pops and forgets against a plain count of what must be there. */
Test(mesh_sched, counts_stay_true_under_any_order_of_calls)
{
    enum { PATHS = 40, LINKS = 3, BOUND = 600 };
    struct rig r = rig_with(BOUND * MESH_CELL);
    struct mesh_sched *links[LINKS] = { r.s, mesh_sched_create(r.cells),
                                        mesh_sched_create(r.cells) };
    uint64_t x = 88172645463325252u, pushed = 0, popped = 0, forgotten = 0;
    for (unsigned step = 0; step < 60000; step++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        struct mesh_sched *s = links[x % LINKS];
        uint32_t path = 1 + (uint32_t)(x >> 8) % PATHS, n;
        unsigned what = (unsigned)(x >> 40) % 100;
        if (what < 60) {
            cr_assert_neq(push(&r, s, path, step), CYX_ENOMEM);
            pushed++;
        } else if (what < 99) {
            popped += pop(&r, s, &n) != 0;
        } else {
            forgotten += mesh_sched_path_len(s, path);
            mesh_sched_forget(s, path);
        }
        size_t total = 0;
        for (size_t i = 0; i < LINKS; i++)
            total += mesh_sched_len(links[i]);
        cr_assert_eq(mesh_cells_used(r.cells), total * MESH_CELL);
        cr_assert_leq(total, (size_t)BOUND);
        cr_assert_eq(pushed - popped - forgotten - mesh_cells_dropped(r.cells), total);
    }
    cr_expect_gt(mesh_cells_dropped(r.cells), 0u, "the bound was hit");
    for (size_t i = 0; i < LINKS; i++) {
        size_t sum = 0;
        for (uint32_t p = 1; p <= PATHS; p++)
            sum += mesh_sched_path_len(links[i], p);
        cr_expect_eq(sum, mesh_sched_len(links[i]));
    }
    mesh_sched_destroy(links[1]);
    mesh_sched_destroy(links[2]);
    rig_fini(&r);
}

Test(mesh_sched, all_links_together_queue_no_more_than_64_mib)
{
    static const uint8_t cell[MESH_CELL];
    struct mesh_cells *cells = mesh_cells_create(MESH_CELLS_ALL_BYTES);
    struct mesh_sched *link[2] = { mesh_sched_create(cells), mesh_sched_create(cells) };
    uint32_t most = MESH_CELLS_ALL_BYTES / MESH_CELL;
    for (uint32_t i = 0; i < most + 100; i++)
        cr_assert_neq(mesh_sched_push(link[i % 2], 1 + i % 61, cell), CYX_ENOMEM);
    cr_expect_leq(mesh_cells_used(cells), (size_t)MESH_CELLS_ALL_BYTES);
    cr_expect_gt(mesh_cells_used(cells), (size_t)MESH_CELLS_ALL_BYTES / 10 * 9);
    cr_expect_geq(mesh_cells_dropped(cells), (uint64_t)MESH_PATH_DROP_RUN);
    mesh_sched_destroy(link[0]);
    mesh_sched_destroy(link[1]);
    cr_expect_eq(mesh_cells_used(cells), 0u);
    mesh_cells_destroy(cells);
}
