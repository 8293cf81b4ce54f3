/* Descriptors of others: for whom they are, what is remembered of them, and what is when nobody
 * hands one out any more. */
#include "base/crypto.h"
#include "guest.h"
#include "onion/address.h"
#include "onion/onion_internal.h"
#include "onion/service_internal.h"

enum { RELAYS = 8, SERVICE = 8, USER = 9 };

static struct towns t;
static struct inn inn;

/* A fetch and what came of it. */
struct fetched {
    struct onion_fetching *g;
    enum onion_fetch_how how;
    unsigned done;
    int code;
    uint64_t ns, sequence, period;
};

static void start(void)
{
    towns_init(&t, RELAYS, 2, 1, NULL);
}

static void end(void)
{
    towns_fini(&t);
}

TestSuite(onion_fetch, .init = start, .fini = end);

static struct onion *user(void)
{
    return t.at[USER].onion;
}

static void done(void *arg, int code, const struct onion_descriptor *d, uint64_t ns)
{
    struct fetched *x = arg;
    x->done++;
    x->code = code;
    x->ns = ns;
    x->g = NULL;
    if (d != NULL) {
        x->sequence = d->sequence;
        x->period = d->period;
    }
}

static void begin(void *arg)
{
    struct fetched *x = arg;
    const struct onion_purpose why = { { 1 } };
    uint8_t address[32];
    onion_address_of_seed(address, t.seed);
    x->g = onion_fetch_start(user()->fetch, address, &why, x->how, done, x);
    cr_assert_not_null(x->g);
}

static bool is_done(void *arg)
{
    const struct fetched *x = arg;
    return x->done > 0;
}

static void fetch(struct fetched *x, enum onion_fetch_how how)
{
    *x = (struct fetched){ .how = how };
    few_in(&t.few.node[USER], begin, x);
    cr_assert(towns_until(&t, 60000, is_done, x));
}

static void serve(void)
{
    inn_open(&inn, &t, SERVICE);
    inn_wait(&inn, 20000);
}

Test(onion_fetch, is_looked_up_once_and_then_remembered)
{
    static struct fetched x;
    serve();
    fetch(&x, ONION_FETCH_ANY);
    cr_assert_eq(x.code, 0);
    cr_expect_gt(x.ns, 0u);
    fetch(&x, ONION_FETCH_ANY);
    cr_assert_eq(x.code, 0);
    cr_expect_eq(x.ns, 0u);
    fetch(&x, ONION_FETCH_FRESH);
    cr_assert_eq(x.code, 0);
    cr_expect_gt(x.ns, 0u, "however young it is");
}

static void doubt(void *arg)
{
    uint8_t address[32];
    (void)arg;
    onion_address_of_seed(address, t.seed);
    onion_fetch_doubt(user()->fetch, address);
}

Test(onion_fetch, one_that_is_doubted_is_looked_for_again)
{
    static struct fetched x;
    serve();
    fetch(&x, ONION_FETCH_ANY);
    few_in(&t.few.node[USER], doubt, NULL);
    fetch(&x, ONION_FETCH_ANY);
    cr_assert_eq(x.code, 0);
    cr_expect_gt(x.ns, 0u);
    fetch(&x, ONION_FETCH_ANY);
    cr_expect_eq(x.ns, 0u, "once");
}

Test(onion_fetch, who_hides_it_does_not_hide_it_from_those_who_know_it)
{
    static struct fetched x;
    serve();
    fetch(&x, ONION_FETCH_ANY);
    uint64_t sequence = x.sequence;
    sim_node_set_group(t.few.node[USER].sim, 7); /* no END answers */
    few_in(&t.few.node[USER], doubt, NULL);
    fetch(&x, ONION_FETCH_ANY);
    cr_expect_eq(x.code, 0);
    cr_expect_eq(x.sequence, sequence);
}

Test(onion_fetch, nobody_has_one_of_a_service_that_is_not)
{
    static struct fetched x;
    fetch(&x, ONION_FETCH_ANY);
    cr_expect_eq(x.code, CYX_ENOENT);
}

static void cancel(void *arg)
{
    struct fetched *x = arg;
    onion_fetch_cancel(x->g);
}

Test(onion_fetch, one_that_is_cancelled_is_not_heard_of)
{
    static struct fetched x;
    serve();
    few_in(&t.few.node[USER], begin, &x);
    few_in(&t.few.node[USER], cancel, &x);
    towns_run_ms(&t, 3000);
    cr_expect_eq(x.done, 0u);
}

/* ---- for some clients only ----------------------------------------------------------------------
 */

static const uint8_t secret[32] = { 8, [31] = 0x40 }, other[32] = { 16, [31] = 0x40 };

static void set_key(void *arg)
{
    uint8_t address[32];
    struct cyx_err err = { 0 };
    onion_address_of_seed(address, t.seed);
    cr_assert_eq(onion_client_key_set(user(), address, arg, &err), 0, "%s", err.msg);
}

static enum onion_fail visit(void)
{
    static struct guest g;
    memset(&g, 0, sizeof g);
    guest_dial(&g, &t, USER, 80, 100);
    cr_assert(towns_until(&t, 20000, guest_is_over, &g));
    return g.why;
}

Test(onion_fetch, one_for_some_clients_opens_with_their_keys_only)
{
    static uint8_t client[1][32];
    uint8_t key[32];
    crypto_dh_public(client[0], secret);
    inn.config.clients = (const uint8_t(*)[32])client;
    inn.config.n_clients = 1;
    serve();
    cr_expect_eq(visit(), ONION_FAIL_NOT_FOR_US);
    memcpy(key, other, sizeof key);
    few_in(&t.few.node[USER], set_key, key);
    cr_expect_eq(visit(), ONION_FAIL_NOT_FOR_US, "another's key");
    memcpy(key, secret, sizeof key);
    few_in(&t.few.node[USER], set_key, key);
    cr_expect_eq(visit(), ONION_FAIL_NONE);
}

Test(onion_fetch, a_client_that_was_removed_is_shut_out)
{
    static uint8_t client[1][32];
    uint8_t key[32];
    crypto_dh_public(client[0], secret);
    inn.config.clients = (const uint8_t(*)[32])client;
    inn.config.n_clients = 1;
    serve();
    memcpy(key, secret, sizeof key);
    few_in(&t.few.node[USER], set_key, key);
    cr_assert_eq(visit(), ONION_FAIL_NONE);
    inn_close(&inn);
    crypto_dh_public(client[0], other);
    serve();
    towns_run_ms(&t, 61000); /* its connection is over, and the old registrations are */
    enum onion_fail first = visit(), second = visit();
    cr_expect(first != ONION_FAIL_NONE && second != ONION_FAIL_NONE, "%s, %s",
              onion_fail_text(first), onion_fail_text(second));
}
