/* The short way of a cell: written at once into the row of packets of its link, in order, as long
 * as nothing else waits there. */
#include "base/writer.h"
#include "few.h"

enum { ROW = ENV_UDP_SEGMENTS_MAX };

struct trio {
    struct few f;
    struct mesh *mesh;       /* of node 0 */
    struct mesh_link *to[2]; /* ... to nodes 1 and 2 */
    uint32_t next;
};

static void begin(struct trio *t)
{
    memset(t, 0, sizeof *t);
    few_pair(&t->f, 1);
    few_boot(few_add(&t->f, 0));
    few_run_ms(&t->f, 50);
    cr_assert_not_null(few_dial(&t->f.node[0], &t->f.node[2]));
    few_run_ms(&t->f, 500);
    t->mesh = t->f.node[0].mesh;
    for (unsigned i = 0; i < 2; i++)
        t->to[i] = few_link(&t->f.node[0], &t->f.node[1 + i]);
}

static void cell_to(struct trio *t, unsigned to)
{
    uint8_t cell[MESH_CELL] = { 0 };
    struct writer w = writer_on(cell, sizeof cell);
    writer_u32(&w, t->next++);
    cr_assert_eq(mesh_cell_send(t->to[to], 1 + t->next % 3, cell), 0);
}

/* All `n` that were sent to it came, in order. */
static void expect_order(const struct few_node *n, uint32_t first, size_t len)
{
    cr_assert_eq(n->n_cells, len, "%zu cells came", n->n_cells);
    for (size_t i = 0; i < len; i++)
        cr_assert_eq(n->cells[i], first + i, "place %zu", i);
}

static void send_five(void *arg)
{
    struct trio *t = arg;
    for (unsigned i = 0; i < 5; i++) {
        cell_to(t, 0);
        cr_expect_eq(t->mesh->row.link, t->to[0]);
        cr_expect_eq(t->mesh->row.n, i + 1u);
    }
    cr_expect_eq(mesh_link_queued(t->to[0]), 0u);
}

Test(mesh_link_row, cells_go_into_the_row_at_once_and_leave_with_the_turn)
{
    struct trio t;
    begin(&t);
    few_in(&t.f.node[0], send_five, &t);
    cr_expect_null(t.mesh->row.link, "the turn is over");
    few_run_ms(&t.f, 50);
    expect_order(&t.f.node[1], 0, 5);
    few_fini(&t.f);
}

static void send_row_and_three(void *arg)
{
    struct trio *t = arg;
    for (unsigned i = 0; i < ROW; i++)
        cell_to(t, 0);
    cr_expect_null(t->mesh->row.link, "a full row leaves");
    cr_expect_eq(t->mesh->row.n, 0u);
    for (unsigned i = 0; i < 3; i++)
        cell_to(t, 0);
    cr_expect_eq(t->mesh->row.link, t->to[0]);
    cr_expect_eq(t->mesh->row.n, 3u);
}

Test(mesh_link_row, a_full_row_leaves_and_the_next_begins)
{
    struct trio t;
    begin(&t);
    few_in(&t.f.node[0], send_row_and_three, &t);
    few_run_ms(&t.f, 50);
    expect_order(&t.f.node[1], 0, ROW + 3);
    few_fini(&t.f);
}

static void send_to_both(void *arg)
{
    struct trio *t = arg;
    for (unsigned i = 0; i < 10; i++)
        cell_to(t, 0);
    t->next = 100;
    for (unsigned i = 0; i < 10; i++)
        cell_to(t, 1);
    cr_expect_eq(t->mesh->row.link, t->to[0], "one row at a time");
    cr_expect_eq(t->mesh->row.n, 10u);
    cr_expect_eq(mesh_link_queued(t->to[1]), 10u);
    t->next = 10;
    cell_to(t, 0);
    cr_expect_eq(t->mesh->row.n, 11u, "the row's own link goes on");
}

Test(mesh_link_row, another_links_cells_take_the_long_way_and_none_waits_for_longer)
{
    struct trio t;
    begin(&t);
    few_in(&t.f.node[0], send_to_both, &t);
    few_run_ms(&t.f, 10); /* a link's delay: both in the same turn */
    expect_order(&t.f.node[1], 0, 11);
    expect_order(&t.f.node[2], 100, 10);
    few_fini(&t.f);
}

static void ping_done(void *arg, int code, uint64_t rtt_ns)
{
    unsigned *n = arg;
    (void)rtt_ns;
    *n += code == 0;
}

static unsigned n_pings;

/* A PING waits: what comes behind it stays behind it. */
static void send_behind_a_ping(void *arg)
{
    struct trio *t = arg;
    for (unsigned i = 0; i < 4; i++)
        cell_to(t, 0);
    cr_assert_eq(mesh_ping(t->to[0], ping_done, &n_pings), 0);
    for (unsigned i = 0; i < 4; i++)
        cell_to(t, 0);
    cr_expect_eq(t->mesh->row.n, 4u);
    cr_expect_eq(mesh_link_queued(t->to[0]), 4u);
}

Test(mesh_link_row, what_finds_something_waiting_takes_the_long_way_in_order)
{
    struct trio t;
    begin(&t);
    n_pings = 0;
    few_in(&t.f.node[0], send_behind_a_ping, &t);
    few_run_ms(&t.f, 50);
    expect_order(&t.f.node[1], 0, 8);
    cr_expect_eq(n_pings, 1u);
    few_fini(&t.f);
}

static void shape_and_send(void *arg)
{
    struct trio *t = arg;
    t->mesh->egress.rate = 1 << 20;
    cell_to(t, 0);
    cr_expect_null(t->mesh->row.link);
    cr_expect_eq(mesh_link_queued(t->to[0]), 1u);
    t->mesh->egress.rate = 0;
    t->mesh->is_blocked = true;
    cell_to(t, 1);
    cr_expect_null(t->mesh->row.link);
    cr_expect_eq(mesh_link_queued(t->to[1]), 1u);
    t->mesh->is_blocked = false;
}

Test(mesh_link_row, there_is_none_under_a_rate_or_before_a_full_socket)
{
    struct trio t;
    begin(&t);
    few_in(&t.f.node[0], shape_and_send, &t);
    few_run_ms(&t.f, 50);
    expect_order(&t.f.node[1], 0, 1);
    expect_order(&t.f.node[2], 1, 1);
    few_fini(&t.f);
}

static void send_and_close(void *arg)
{
    struct trio *t = arg;
    uint8_t cell[MESH_CELL] = { 0 };
    for (unsigned i = 0; i < 3; i++)
        cell_to(t, 0);
    mesh_link_close(t->to[0], MESH_BYE_LEAVING);
    cr_expect_null(t->mesh->row.link);
    cr_expect_eq(mesh_cell_send(t->to[0], 1, cell), CYX_ECLOSED);
    t->next = 3;
    for (unsigned i = 0; i < 3; i++)
        cell_to(t, 1);
    cr_expect_eq(t->mesh->row.link, t->to[1], "another may have it now");
}

Test(mesh_link_row, it_closes_with_its_link_and_what_was_in_it_is_delivered)
{
    struct trio t;
    begin(&t);
    few_in(&t.f.node[0], send_and_close, &t);
    few_run_ms(&t.f, 50);
    expect_order(&t.f.node[1], 0, 3);
    expect_order(&t.f.node[2], 3, 3);
    cr_expect_eq(t.f.node[1].downs, 1u);
    few_fini(&t.f);
}
