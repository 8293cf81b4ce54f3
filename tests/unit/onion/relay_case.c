#include "relay_case.h"

struct relays r;
struct client_path a, b;

static void end(void)
{
    client_forget(&a);
    client_forget(&b);
    relays_fini(&r);
}

void relays_start(unsigned n)
{
    relays_init(&r, n, false);
    a.at = b.at = &r.at[0];
}

TestSuite(onion_relay, .fini = end);

const struct relay__counters *counters(unsigned relay)
{
    return &r.at[relay].relay->n;
}

/* Asks the end for STATS over the path and checks that the answer gets through. */
void ping(struct client_path *p)
{
    uint8_t payload[ONION_STATS];
    unsigned before = client_count(p, ONION_CELL_STATS);
    onion_stats_write(payload, &(struct onion_stats){ .sent = p->sent, .wants_answer = true });
    client_send(p, &(struct onion_cell){
                       .command = ONION_CELL_STATS, .payload = payload, .len = sizeof payload });
    relays_run_ms(&r, 200);
    cr_assert_eq(client_count(p, ONION_CELL_STATS), before + 1);
}

struct client_spec to_node(unsigned relay, const uint8_t target[32])
{
    struct client_spec s = { .n_hops = 1, .hops = { relay }, .last.command = ONION_BUILD_RELAY };
    memcpy(s.last.target, target, sizeof s.last.target);
    return s;
}

struct relay_node *mock;

void start_mock(void)
{
    relays_start(1);
    mock = relays_add_mock(&r);
    relays_link(&r, 1, 2);
    relays_run_ms(&r, 500);
    client_build(
        &r, 0, &a,
        &(struct client_spec){ .n_hops = 2, .hops = { 1, 2 }, .last.command = ONION_BUILD_END });
    relays_run_ms(&r, 200);
    cr_assert_eq(mock->n_builds, 1u);
    cr_assert_not(a.has_reply);
    cr_assert_eq(r.at[1].relay->n_of[RELAY_BUILDING], 1u);
}

void open_mock(void)
{
    start_mock();
    relays_mock_reply(mock);
    relays_run_ms(&r, 100);
    cr_assert_eq(client_status(&a), ONION_OK);
    cr_assert_eq(a.built.n_hops, 2u);
    cr_assert_eq(r.at[1].relay->n_of[RELAY_OPEN], 1u);
}

void expect_end_at_relay(void)
{
    cr_expect_eq(r.at[1].relay->n_paths, 0u);
    cr_expect_eq(map_len(r.at[1].relay->groups), 0u);
}

void open_end(void)
{
    relays_start(1);
    const struct client_spec spec = client_to_service(1, 1, 1, 1);
    client_open(&r, 0, &a, &spec);
    cr_assert_eq(r.at[1].relay->n_of[RELAY_END], 1u);
}
