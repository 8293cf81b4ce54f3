/* Bounds of a pivot that are hit on purpose. Where filling them for real would take a test minutes,
 * the count is set and set back. */
#include <stdlib.h>

#include "relay_rig.h"

enum { SECRET = 0x77, PIVOT = 3, NOW_MS = 500 };

static struct relays r;
static struct client_path service, client;

static void end(void)
{
    client_forget(&service);
    client_forget(&client);
    relays_fini(&r);
}

static void start(void)
{
    relays_init(&r, 3, false);
    service.at = client.at = &r.at[0];
}

TestSuite(onion_pivot_bounds, .init = start, .fini = end);

static struct onion_pivots *pivot(void)
{
    return r.at[PIVOT].relay->pivot;
}

static struct pivot_registration *registration(void)
{
    return map_oldest(pivot()->by_token, NULL);
}

static void open_service(uint16_t most_open, uint32_t least_effort)
{
    const struct onion_terms t = {
        .rate = 100, .burst = 100, .most_open = most_open, .least_effort = least_effort
    };
    struct client_spec s = client_to_service(1, 3, SECRET, 1);
    client_set_terms(&s, &t, 1);
    client_open(&r, 0, &service, &s);
}

/* Without a look at the accounts, which a count that was set breaks. */
static void expect_status(const struct client_spec *s, unsigned status)
{
    client_build(&r, 0, &client, s);
    few_run_ms(&r.few, NOW_MS);
    cr_expect_eq(client_status(&client), status, "%u", client_status(&client));
    client_forget(&client);
}

Test(onion_pivot_bounds, no_terms_open_more_splices_than_a_registration_may)
{
    open_service(UINT16_MAX, 0);
    cr_expect_eq(registration()->effort.most, (uint32_t)ONION_SPLICES_EACH);
}

Test(onion_pivot_bounds, takes_so_many_splices_in_all)
{
    const struct client_spec s = client_to_splice(1, 3, SECRET);
    open_service(8, 0);
    pivot()->n_splices = ONION_SPLICES;
    expect_status(&s, ONION_BUSY);
    pivot()->n_splices = ONION_SPLICES - 1;
    expect_status(&s, ONION_OK);
    pivot()->n_splices -= ONION_SPLICES - 1;
    relays_run_ms(&r, NOW_MS);
}

static void pay(struct client_spec *s, uint32_t effort)
{
    static const uint8_t seed[16], nonce[16] = { 9 };
    struct mesh_pow_subject subject = { .purpose = MESH_POW_SPLICE };
    memcpy(subject.x, s->last.target, sizeof subject.x);
    memcpy(subject.y, r.at[PIVOT].few->identity->id, sizeof subject.y);
    memcpy(s->last.rest, seed, 4);
    cr_assert_eq(mesh_pow_solve(&subject, effort, nonce, NULL, s->last.rest + 4, NULL), 0);
}

Test(onion_pivot_bounds, remembers_so_many_proofs_in_all)
{
    struct client_spec s = client_to_splice(1, 3, SECRET);
    open_service(8, 4);
    pay(&s, 4);
    pivot()->n_nonces = ONION_NONCES_ALL;
    expect_status(&s, ONION_MORE_WORK);
    cr_expect_eq(pivot()->n.nonces_full, 1u);
    pivot()->n_nonces = 0;
    pay(&s, 16); /* the price has doubled */
    expect_status(&s, ONION_OK);
    relays_run_ms(&r, NOW_MS);
}

/* Tokens that nobody asks for. */
static void fill_tokens(struct onion_pivots *v, uint32_t n)
{
    uint8_t token[32] = { 0 };
    for (uint32_t i = 0; i < n; i++) {
        memcpy(token, &i, sizeof i);
        cr_assert_eq(map_put(v->by_token, token, registration()), 0);
    }
}

static void empty_tokens(struct onion_pivots *v, uint32_t n)
{
    uint8_t token[32] = { 0 };
    for (uint32_t i = 0; i < n; i++) {
        memcpy(token, &i, sizeof i);
        cr_assert_not_null(map_del(v->by_token, token));
    }
}

Test(onion_pivot_bounds, takes_so_many_registrations_in_all)
{
    const struct client_spec s = client_to_service(1, 3, 1, 1);
    open_service(8, 0);
    fill_tokens(pivot(), ONION_REGISTRATIONS - 1);
    expect_status(&s, ONION_BUSY);
    cr_expect_eq(pivot()->n.register_full, 1u);
    empty_tokens(pivot(), ONION_REGISTRATIONS - 1);
    expect_status(&s, ONION_OK);
    relays_run_ms(&r, NOW_MS);
}

/* As those of registrations that ended are. */
static void fill_serials(struct onion_pivots *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct pivot_serial *s = calloc(1, sizeof *s);
        cr_assert_not_null(s);
        memcpy(s->token, &i, sizeof i);
        s->until_ns = env_now_ns(v->env) + ENV_S(ONION_SERIAL_S);
        list_init(&s->node);
        list_push_back(&v->serials_by_end, &s->node);
        cr_assert_eq(map_put(v->serials, s->token, s), 0);
    }
}

Test(onion_pivot_bounds, remembers_so_many_serials_and_forgets_the_oldest)
{
    const uint8_t first[32] = { 0 }, second[32] = { 1 };
    open_service(8, 0);
    fill_serials(pivot(), ONION_SERIALS);
    client_destroy(&service);
    relays_run_ms(&r, ONION_SPLICE_WAIT_S * 1000 + 2000);
    cr_assert_eq(map_len(pivot()->by_token), 0u, "it has ended");
    cr_expect_eq(map_len(pivot()->serials), (size_t)ONION_SERIALS);
    cr_expect_null(map_get(pivot()->serials, first));
    cr_expect_not_null(map_get(pivot()->serials, second));
}

/* More for the splices of one service than has room, while its link can't send. */
static void flood(void *arg)
{
    struct pivot_registration *g = arg;
    struct mesh *mesh = r.at[PIVOT].few->mesh;
    const struct onion_cell c = { .command = ONION_CELL_DATA,
                                  .payload = (const uint8_t *)"x",
                                  .len = 1 };
    unsigned n = ONION_PIVOT_CELLS_BYTES / MESH_CELL + 1000;
    mesh->egress.rate = 1;
    for (unsigned i = 0; i < n; i++)
        pivot__to_service(g, 1 + i % 32, &c);
    mesh->egress.rate = 0;
}

Test(onion_pivot_bounds, keeps_so_many_bytes_of_cells_waiting)
{
    open_service(8, 0);
    few_in(r.at[PIVOT].few, flood, registration());
    cr_expect_leq(mesh_cells_used(pivot()->cells), (size_t)ONION_PIVOT_CELLS_BYTES);
    cr_expect_gt(mesh_cells_used(pivot()->cells), (size_t)ONION_PIVOT_CELLS_BYTES * 9 / 10);
    cr_expect_gt(mesh_cells_dropped(pivot()->cells), 0u);
    relays_run_ms(&r, NOW_MS);
}
