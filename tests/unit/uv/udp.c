/* Datagrams over loopback, with and without the kernel's help. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

enum { SEGMENT = 1328, LAST = 500, ROW_MAX = ENV_UDP_SEGMENTS_MAX * SEGMENT };

struct end {
    struct env *e;
    struct env_udp *u;
    struct env_addr from; /* of what came last */
    uint8_t got[ROW_MAX];
    unsigned n_got; /* bytes in `got` */
    unsigned n_wrong_size, n_datagrams, n_batches, n_writable;
    unsigned longest_batch; /* datagrams that came joined */
    bool closes_itself;
};

/* Every datagram is SEGMENT bytes long but the last of a row. */
static void on_received(void *arg, struct env_datagrams *batch, size_t n)
{
    struct end *x = arg;
    for (size_t i = 0; i < n; i++) {
        struct env_datagrams *d = &batch[i];
        x->from = d->from;
        x->n_wrong_size += d->segment != (d->len < SEGMENT ? d->len : SEGMENT);
        unsigned count = (unsigned)((d->len + d->segment - 1) / d->segment);
        x->n_datagrams += count;
        if (count > x->longest_batch)
            x->longest_batch = count;
        if (x->n_got + d->len <= sizeof x->got)
            memcpy(x->got + x->n_got, d->data, d->len);
        x->n_got += (unsigned)d->len;
        memset(d->data, 0, d->len); /* allowed: the bytes are ours until we return */
    }
    x->n_batches++;
    if (x->closes_itself) {
        env_udp_close(x->e, x->u);
        x->u = NULL;
    }
}

static void on_writable(void *arg)
{
    ((struct end *)arg)->n_writable++;
}

static struct env_udp_options options(struct end *x)
{
    return (struct env_udp_options){ .bind = env_addr_v4(127, 0, 0, 1, 0),
                                     .received = on_received,
                                     .writable = on_writable,
                                     .arg = x };
}

static void end_open(struct end *x, struct env *e)
{
    struct cyx_err err = { 0 };
    struct env_udp_options o = options(x);
    memset(x, 0, sizeof *x);
    x->e = e;
    cr_assert_eq(env_udp_open(e, &o, &x->u, &err), 0, "%s", err.msg);
}

static struct env_udp_info info(const struct end *x)
{
    struct env_udp_info i;
    env_udp_info(x->e, x->u, &i);
    return i;
}

/* Two sockets of one environment; a row of bytes that depend on their place. */
struct pair {
    struct world w;
    struct end a, b;
    struct env_addr to_b;
    uint8_t row[ROW_MAX];
};

static struct pair *pair_make(struct env_uv_switches sw)
{
    struct pair *p = calloc(1, sizeof *p);
    cr_assert_not_null(p);
    p->w = world_make();
    *env_uv__switches(p->w.e) = sw;
    end_open(&p->a, p->w.e);
    end_open(&p->b, p->w.e);
    p->to_b = info(&p->b).local;
    for (size_t i = 0; i < sizeof p->row; i++)
        p->row[i] = (uint8_t)(i * 7 + i / 251);
    return p;
}

static void pair_end(struct pair *p)
{
    env_udp_close(p->w.e, p->a.u);
    env_udp_close(p->w.e, p->b.u);
    world_end(&p->w);
    free(p);
}

/* Sends the first `len` bytes of the row and waits for all of them: one row in flight, so that the
 * smallest receive buffer will do. */
static void carry(struct pair *p, size_t len)
{
    p->b.n_got = 0;
    p->b.n_datagrams = 0;
    cr_assert_eq(env_udp_send(p->w.e, p->a.u, &p->to_b, p->row, len, SEGMENT), 0);
    run_until(p->w.e, &p->b.n_got, (unsigned)len);
    cr_expect_eq(p->b.n_got, len);
    cr_expect_arr_eq(p->b.got, p->row, len);
    cr_expect_eq(p->b.n_wrong_size, 0);
    cr_expect_eq(p->b.n_datagrams, (len + SEGMENT - 1) / SEGMENT);
}

static void carry_all_shapes(struct env_uv_switches sw)
{
    struct pair *p = pair_make(sw);
    for (unsigned i = 0; i < 10; i++) {
        carry(p, ROW_MAX);
        carry(p, ROW_MAX - SEGMENT + LAST);
        carry(p, SEGMENT);
        carry(p, 1);
        carry(p, 2 * SEGMENT + 1);
    }
    struct env_udp_info a = info(&p->a), b = info(&p->b);
    cr_expect_eq(a.tx_datagrams, 10 * (2 * ENV_UDP_SEGMENTS_MAX + 2 + 3));
    cr_expect_eq(a.tx_datagrams, b.rx_datagrams);
    cr_expect_eq(a.tx_bytes, b.rx_bytes);
    cr_expect_eq(a.tx_errors, 0);
    cr_expect(env_addr_equal(&p->b.from, &a.local), "the sender's address, IPv4 as mapped");
    if (sw.no_gso)
        cr_expect(!a.gso);
    if (sw.no_gro)
        cr_expect(!b.gro && p->b.longest_batch == 1);
    if (sw.no_ipv6)
        cr_expect(!a.dual_stack);
    if (a.gso && b.gro)
        cr_expect_gt(p->b.longest_batch, 1, "GSO and GRO are on, yet nothing came joined");
    pair_end(p);
}

Test(uv_udp, rows_arrive_whole_and_in_order_with_gso_and_gro, .timeout = 60)
{
    carry_all_shapes((struct env_uv_switches){ 0 });
}

Test(uv_udp, rows_arrive_whole_and_in_order_with_gso_alone, .timeout = 60)
{
    carry_all_shapes((struct env_uv_switches){ .no_gro = true });
}

Test(uv_udp, rows_arrive_whole_and_in_order_with_gro_alone, .timeout = 60)
{
    carry_all_shapes((struct env_uv_switches){ .no_gso = true });
}

Test(uv_udp, rows_arrive_whole_and_in_order_with_neither, .timeout = 60)
{
    carry_all_shapes((struct env_uv_switches){ .no_gso = true, .no_gro = true });
}

Test(uv_udp, rows_arrive_whole_and_in_order_without_ipv6, .timeout = 60)
{
    carry_all_shapes((struct env_uv_switches){ .no_ipv6 = true });
}

static const int refusals[] = { EIO, EINVAL, EMSGSIZE, EOPNOTSUPP };

Test(uv_udp, a_refused_gso_send_goes_out_piece_by_piece_and_is_remembered, .timeout = 60)
{
    for (unsigned i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct pair *p = pair_make((struct env_uv_switches){ 0 });
        struct env_uv_switches *sw = env_uv__switches(p->w.e);
        if (!info(&p->a).gso) {
            pair_end(p);
            cr_skip_test("this kernel has no UDP GSO");
        }
        sw->send_errno = refusals[i];
        sw->n_send_fail = 1;
        carry(p, ROW_MAX);
        /* Remembered: the next call is sendmmsg at once, and its failure is the row's. */
        sw->n_send_fail = 1;
        cr_expect_eq(env_udp_send(p->w.e, p->a.u, &p->to_b, p->row, ROW_MAX, SEGMENT), CYX_EIO);
        carry(p, ROW_MAX);
        /* Another destination is not affected: there the failure is GSO's, and the row goes out. */
        sw->n_send_fail = 1;
        struct env_addr elsewhere = env_addr_v4(127, 0, 0, 2, 9);
        cr_expect_eq(env_udp_send(p->w.e, p->a.u, &elsewhere, p->row, ROW_MAX, SEGMENT), 0);
        pair_end(p);
    }
}

Test(uv_udp, a_full_socket_says_again_then_writable, .timeout = 60)
{
    struct pair *p = pair_make((struct env_uv_switches){ .send_errno = EAGAIN, .n_send_fail = 1 });
    cr_expect_eq(env_udp_send(p->w.e, p->a.u, &p->to_b, p->row, SEGMENT, SEGMENT), CYX_EAGAIN);
    run_until(p->w.e, &p->a.n_writable, 1);
    cr_expect_eq(p->b.n_got, 0, "nothing was sent");
    carry(p, ROW_MAX);
    cr_expect_eq(info(&p->a).tx_again, 1);
    run_turns(p->w.e, 3);
    cr_expect_eq(p->a.n_writable, 1, "told once");
    pair_end(p);
}

Test(uv_udp, a_row_cut_in_two_by_a_full_socket_is_sent_whole, .timeout = 60)
{
    struct pair *p = pair_make((struct env_uv_switches){
        .no_gso = true, .mmsg_max = 3, .send_errno = EAGAIN, .n_send_skip = 2, .n_send_fail = 2 });
    const size_t len = 10 * SEGMENT + LAST;
    cr_expect_eq(env_udp_send(p->w.e, p->a.u, &p->to_b, p->row, len, SEGMENT), 0);
    cr_expect_eq(env_udp_send(p->w.e, p->a.u, &p->to_b, p->row, SEGMENT, SEGMENT), CYX_EAGAIN,
                 "the rest comes first");
    run_until(p->w.e, &p->b.n_got, (unsigned)len);
    run_until(p->w.e, &p->a.n_writable, 1);
    cr_expect_arr_eq(p->b.got, p->row, len);
    cr_expect_eq(p->b.n_datagrams, 11);
    cr_expect_eq(info(&p->a).tx_datagrams, 11);
    carry(p, ROW_MAX);
    pair_end(p);
}

Test(uv_udp, a_real_small_send_buffer_loses_nothing_silently, .timeout = 60)
{
    struct pair *p = pair_make((struct env_uv_switches){ 0 });
    struct env_udp_options o = options(&p->a);
    o.sndbuf = 1; /* the kernel grants its least */
    env_udp_close(p->w.e, p->a.u);
    cr_assert_eq(env_udp_open(p->w.e, &o, &p->a.u, NULL), 0);
    cr_expect_lt(info(&p->a).sndbuf, 64 * 1024);
    for (unsigned i = 0; i < 20; i++) {
        int rc = env_udp_send(p->w.e, p->a.u, &p->to_b, p->row, ROW_MAX, SEGMENT);
        cr_expect(rc == 0 || rc == CYX_EAGAIN, "%d", rc);
        if (rc == CYX_EAGAIN)
            run_until(p->w.e, &p->a.n_writable, p->a.n_writable + 1);
        else
            run_until(p->w.e, &p->b.n_got, p->b.n_got + ROW_MAX);
    }
    pair_end(p);
}

Test(uv_udp, icmp_errors_do_not_stop_a_socket, .timeout = 60)
{
    struct pair *p = pair_make((struct env_uv_switches){ 0 });
    struct env_addr nobody = p->to_b;
    env_udp_close(p->w.e, p->b.u); /* its port is free: port unreachable comes back */
    for (unsigned i = 0; i < 5; i++) {
        (void)env_udp_send(p->w.e, p->a.u, &nobody, p->row, SEGMENT, SEGMENT);
        run_turns(p->w.e, 1);
    }
    end_open(&p->b, p->w.e);
    p->to_b = info(&p->b).local;
    carry(p, ROW_MAX);
    pair_end(p);
}

Test(uv_udp, a_destination_without_route_is_an_error_for_it_alone, .timeout = 60)
{
    struct pair *p =
        pair_make((struct env_uv_switches){ .send_errno = ENETUNREACH, .n_send_fail = 1 });
    cr_expect_eq(env_udp_send(p->w.e, p->a.u, &p->to_b, p->row, SEGMENT, SEGMENT), CYX_EIO);
    cr_expect_eq(info(&p->a).tx_errors, 1);
    carry(p, SEGMENT);
    pair_end(p);
}

Test(uv_udp, an_ipv4_socket_refuses_an_ipv6_destination, .timeout = 60)
{
    struct pair *p = pair_make((struct env_uv_switches){ .no_ipv6 = true });
    struct env_addr to = { .port = 9 };
    to.ip[0] = 0xfd;
    cr_expect_eq(env_udp_send(p->w.e, p->a.u, &to, p->row, SEGMENT, SEGMENT), CYX_EIO);
    pair_end(p);
}

Test(uv_udp, refuses_rows_that_are_empty_or_too_long, .timeout = 60)
{
    struct pair *p = pair_make((struct env_uv_switches){ 0 });
    cr_expect_eq(env_udp_send(p->w.e, p->a.u, &p->to_b, p->row, 0, SEGMENT), CYX_EINVAL);
    cr_expect_eq(env_udp_send(p->w.e, p->a.u, &p->to_b, p->row, SEGMENT, 0), CYX_EINVAL);
    cr_expect_eq(env_udp_send(p->w.e, p->a.u, &p->to_b, p->row, ENV_UDP_SEGMENTS_MAX * 10 + 1, 10),
                 CYX_EINVAL);
    pair_end(p);
}

Test(uv_udp, more_than_a_turns_budget_is_received_in_later_turns, .timeout = 60)
{
    struct pair *p = pair_make((struct env_uv_switches){ .no_gro = true });
    enum { N = 3 * ENV_UDP_BATCHES_PER_TURN };
    for (unsigned i = 0; i < N; i++)
        cr_assert_eq(env_udp_send(p->w.e, p->a.u, &p->to_b, p->row, 10, SEGMENT), 0);
    run_until(p->w.e, &p->b.n_datagrams, N);
    pair_end(p);
}

Test(uv_udp, a_socket_may_close_itself_while_it_receives, .timeout = 60)
{
    struct pair *p = pair_make((struct env_uv_switches){ .no_gro = true });
    p->b.closes_itself = true;
    for (unsigned i = 0; i < 40; i++)
        cr_assert_eq(env_udp_send(p->w.e, p->a.u, &p->to_b, p->row, 10, SEGMENT), 0);
    run_until(p->w.e, &p->b.n_batches, 1);
    run_turns(p->w.e, 3);
    cr_expect_eq(p->b.n_batches, 1, "no callback comes after close");
    pair_end(p);
}

Test(uv_udp, one_socket_takes_both_families, .timeout = 60)
{
    struct world w = world_make();
    struct end *x = calloc(2, sizeof *x);
    struct env_udp_options o = options(&x[0]);
    o.bind = (struct env_addr){ 0 };
    x[0].e = x[1].e = w.e;
    cr_assert_eq(env_udp_open(w.e, &o, &x[0].u, NULL), 0);
    bool both = info(&x[0]).dual_stack;
    struct env_addr to = { .port = info(&x[0]).local.port };
    o = options(&x[1]);
    o.bind = (struct env_addr){ 0 };
    cr_assert_eq(env_udp_open(w.e, &o, &x[1].u, NULL), 0);
    struct env_addr v4 = env_addr_v4(127, 0, 0, 1, to.port);
    cr_expect_eq(env_udp_send(w.e, x[1].u, &v4, (const uint8_t *)"4", 1, 1), 0);
    run_until(w.e, &x[0].n_got, 1);
    cr_expect(env_addr_is_v4(&x[0].from));
    to.ip[15] = 1;
    if (both && env_udp_send(w.e, x[1].u, &to, (const uint8_t *)"6", 1, 1) == 0) {
        run_until(w.e, &x[0].n_got, 2);
        cr_expect(!env_addr_is_v4(&x[0].from));
        cr_expect_eq(x[0].got[1], '6');
    }
    env_udp_close(w.e, x[0].u);
    env_udp_close(w.e, x[1].u);
    world_end(&w);
    free(x);
}

Test(uv_udp, a_taken_port_is_an_error_that_names_it, .timeout = 60)
{
    struct pair *p = pair_make((struct env_uv_switches){ 0 });
    struct env_udp_options o = options(&p->a);
    struct env_udp *u = NULL;
    struct cyx_err err = { 0 };
    char text[ENV_ADDR_TEXT];
    o.bind = p->to_b;
    cr_expect_eq(env_udp_open(p->w.e, &o, &u, &err), CYX_EIO);
    cr_expect_not_null(strstr(err.msg, env_addr_text(&p->to_b, text)), "%s", err.msg);
    cr_expect_not_null(strstr(err.msg, "in use"), "%s", err.msg);
    cr_expect_null(u);
    pair_end(p);
}

/* ---- groups -----------------------------------------------------------------------------------
 */

enum { N_WORKERS = 4 };

/* A packet of a type with its receiver index's top byte where that type has it. */
static size_t packet(uint8_t out[static 32], uint8_t type, uint8_t top)
{
    memset(out, 0xee, 32);
    out[0] = type;
    out[type == 2 ? 8 : 4] = top;
    return 32;
}

Test(uv_udp, packets_are_steered_to_the_worker_that_gave_the_index, .timeout = 60)
{
    static const uint8_t types[] = { 1, 2, 3, 4, 6 };
    struct world w = world_make();
    struct end *to = calloc(N_WORKERS, sizeof *to);
    struct env_addr at = env_addr_v4(127, 0, 0, 1, 0);
    for (unsigned i = 0; i < N_WORKERS; i++) {
        struct cyx_err err = { 0 };
        struct env_udp_options o = options(&to[i]);
        o.bind = at;
        o.n_workers = N_WORKERS;
        o.worker = i;
        to[i].e = w.e;
        cr_assert_eq(env_udp_open(w.e, &o, &to[i].u, &err), 0, "%s", err.msg);
        at = info(&to[i]).local;
    }
    /* Many source ports: without steering they would be spread by their hash. */
    for (unsigned i = 0; i < 40; i++) {
        struct end *from = calloc(1, sizeof *from);
        uint8_t bytes[32];
        uint8_t top = (uint8_t)(i * 53);
        end_open(from, w.e);
        size_t len = packet(bytes, types[i % sizeof types], top);
        unsigned before = to[top % N_WORKERS].n_datagrams;
        cr_assert_eq(env_udp_send(w.e, from->u, &at, bytes, len, len), 0);
        run_until(w.e, &to[top % N_WORKERS].n_datagrams, before + 1);
        env_udp_close(w.e, from->u);
        run_turns(w.e, 1);
        free(from);
    }
    unsigned total = 0;
    for (unsigned i = 0; i < N_WORKERS; i++) {
        total += to[i].n_datagrams;
        cr_expect_gt(to[i].n_datagrams, 0);
        env_udp_close(w.e, to[i].u);
    }
    cr_expect_eq(total, 40);
    world_end(&w);
    free(to);
}

Test(uv_udp, a_second_group_on_one_port_is_refused, .timeout = 60)
{
    struct world w = world_make();
    struct end *one = calloc(2, sizeof *one);
    struct env_udp_options o = options(&one[0]);
    struct cyx_err err = { 0 };
    o.bind = env_addr_v4(127, 0, 0, 1, 0);
    o.n_workers = 2;
    cr_assert_eq(env_udp_open(w.e, &o, &one[0].u, &err), 0, "%s", err.msg);
    one[0].e = w.e;
    o.bind = info(&one[0]).local;
    o.arg = &one[1];
    cr_expect_eq(env_udp_open(w.e, &o, &one[1].u, &err), CYX_EIO);
    cr_expect_not_null(strstr(err.msg, "in use"), "%s", err.msg);
    env_udp_close(w.e, one[0].u);
    world_end(&w);
    free(one);
}

Test(uv_udp, nodes_on_one_machine_hear_each_others_beacons, .timeout = 60)
{
    struct world w = world_make();
    struct end *x = calloc(2, sizeof *x);
    struct env_addr group = env_addr_v4(239, 255, 77, 1, 0);
    struct env_addr at = { .port = 0 };
    for (unsigned i = 0; i < 2; i++) {
        struct cyx_err err = { 0 };
        struct env_udp_options o = options(&x[i]);
        o.bind = at;
        o.multicast = true;
        o.group = group;
        x[i].e = w.e;
        if (env_udp_open(w.e, &o, &x[i].u, &err) < 0) {
            world_end(&w);
            free(x);
            cr_skip_test("%s", err.msg);
        }
        at.port = info(&x[i]).local.port;
    }
    group.port = at.port;
    if (env_udp_send(w.e, x[0].u, &group, (const uint8_t *)"hi", 2, 2) == 0) {
        run_until(w.e, &x[1].n_got, 2);
        cr_expect_arr_eq(x[1].got, "hi", 2);
    }
    env_udp_close(w.e, x[0].u);
    env_udp_close(w.e, x[1].u);
    world_end(&w);
    free(x);
}
