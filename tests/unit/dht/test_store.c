#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "dht/limits.h"
#include "dht/store_internal.h"
#include "tests/sim/world.h"
#include "tests/unit/dht/made.h"

/* ---- a store on a simulated disk ------------------------------------------------------------- */

enum { SMALL = 64 << 10 }; /* a sixteenth of it: 4096 */

static struct made made;
static struct sim_world *world;
static struct sim_node *node;
static struct env *env;
static struct dht_store *store;
static size_t max_bytes;
static uint64_t now;

static void boot(void *arg, struct sim_node *n)
{
    (void)arg;
    env = sim_node_env(n);
}

static void drop(void *arg, struct sim_node *n)
{
    (void)arg;
    (void)n;
    dht_store_close(store);
    store = NULL;
}

static void open_store(void)
{
    struct cyx_err err = { 0 };
    struct dht_store_options o = { .env = env, .network = &made.net, .max_bytes = max_bytes };
    memset(o.secret, 5, sizeof o.secret);
    store = dht_store_open(&o, now, &err);
    cr_assert_not_null(store, "%s", err.msg);
}

static void begin(void)
{
    struct cyx_err err = { 0 };
    cr_assert_eq(secret_init(&err), 0);
    made = made_start();
    now = MADE_NOW;
    max_bytes = SMALL;
    world = sim_create(&(struct sim_options){ .seed = 1 });
    node = sim_node_add(world, &(struct sim_node_options){ .address = env_addr_v4(10, 0, 0, 1, 0),
                                                           .boot = boot,
                                                           .drop = drop });
    cr_assert_not_null(node);
    sim_node_boot(node);
    open_store();
}

static void settle(void)
{
    sim_run_until(world, sim_now(world) + SIM_MS(10000));
}

static void end(void)
{
    settle();
    cr_expect(store == NULL || store__check(store));
    dht_store_close(store);
    store = NULL;
    settle();
    sim_destroy(world);
}

TestSuite(dht_store, .init = begin, .fini = end);

static void reopen(void)
{
    settle();
    dht_store_close(store);
    open_store();
}

/* ---- records --------------------------------------------------------------------------------- */

struct record {
    uint8_t data[DHT_DESCRIPTOR_MAX];
    size_t len;
    struct dht_value v;
};

static void parse(struct record *r, int len)
{
    cr_assert_gt(len, 0);
    r->len = (size_t)len;
    cr_assert_eq(dht_value_parse(&r->v, &made.net, now, r->data, r->len), DROP_NONE);
}

/* Content `number`: each has a place of its own. */
static void provider_by(struct record *r, const struct made_key *k, unsigned number,
                        uint64_t sequence)
{
    struct dht_provider p = made_provider(&made);
    p.content[0] = (uint8_t)number;
    p.content[1] = (uint8_t)(number >> 8);
    p.sequence = sequence;
    memcpy(p.puzzle, k->puzzle, sizeof p.puzzle);
    parse(r, dht_provider_build(&p, &made.net, k->sk, r->data));
}

static void provider(struct record *r, unsigned number)
{
    provider_by(r, &made.self, number, 7);
}

static void descriptor(struct record *r, size_t len, uint64_t more)
{
    struct dht_descriptor d = made_descriptor(&made, len);
    d.sequence += more;
    parse(r, dht_descriptor_build(&d, &made.net, made.d.sk, r->data));
}

/* A verdict that came, or -1. */
static void heard(void *arg, enum dht_verdict v)
{
    int *verdict = arg;
    cr_expect_eq(*verdict, -1, "one verdict for each offer");
    *verdict = (int)v;
}

static void offer_from(const struct record *r, uint64_t source, int *verdict)
{
    *verdict = -1;
    dht_store_offer(store, &r->v, r->v.places[0], source, now, heard, verdict, NULL);
}

static int offered_from(const struct record *r, uint64_t source)
{
    int verdict;
    offer_from(r, source, &verdict);
    settle();
    cr_expect(store__check(store));
    return verdict;
}

static int offered(const struct record *r)
{
    return offered_from(r, 1);
}

struct reading {
    size_t n, len;
    uint8_t data[DHT_DESCRIPTOR_MAX];
};

static bool read_one(void *arg, const uint8_t *record, size_t len)
{
    struct reading *g = arg;
    g->n++;
    g->len = len;
    memcpy(g->data, record, len);
    return true;
}

static bool holds(const struct record *r)
{
    struct reading g = { 0 };
    (void)dht_store_read(store, r->v.places[0], r->v.type->number, now, read_one, &g);
    return g.len == r->len && memcmp(g.data, r->data, r->len) == 0;
}

static size_t held(void)
{
    struct dht_store_stats s;
    dht_store_get_stats(store, &s);
    return s.records;
}

/* ---- the rules ------------------------------------------------------------------------------- */

Test(dht_store, takes_refreshes_and_takes_a_newer_one)
{
    struct record r, newer;
    provider_by(&r, &made.self, 1, 7);
    provider_by(&newer, &made.self, 1, 8);
    cr_expect_eq(offered(&r), DHT_TAKEN);
    cr_expect(holds(&r));
    cr_expect_eq(offered(&r), DHT_REFRESHED);
    cr_expect_eq(offered(&newer), DHT_TAKEN);
    cr_expect(holds(&newer));
    cr_expect_eq(held(), 1);
}

Test(dht_store, answers_an_older_one_and_another_of_the_same_age_with_stale)
{
    struct record r, older, other;
    descriptor(&r, 2048, 1);
    descriptor(&older, 2048, 0);
    made.inner[0] ^= 1;
    descriptor(&other, 2048, 1);
    cr_expect_eq(offered(&r), DHT_TAKEN);
    cr_expect_eq(offered(&older), DHT_STALE);
    cr_expect_eq(offered(&other), DHT_STALE);
    cr_expect(holds(&r));
}

Test(dht_store, a_greater_serial_goes_before_any_sequence)
{
    struct record r, next;
    descriptor(&r, 2048, 9);
    struct dht_descriptor d = made_descriptor(&made, 2048);
    d.serial++;
    made_delegate(&made, &d);
    parse(&next, dht_descriptor_build(&d, &made.net, made.d.sk, next.data));
    cr_expect_eq(offered(&r), DHT_TAKEN);
    cr_expect_eq(offered(&next), DHT_TAKEN);
    cr_expect_eq(offered(&r), DHT_STALE);
}

Test(dht_store, refuses_a_record_that_belongs_elsewhere_or_proves_nothing)
{
    struct record r;
    int verdict = -1;
    enum drop why = DROP_NONE;
    uint8_t elsewhere[DHT_ID] = { 1 };
    provider(&r, 1);
    dht_store_offer(store, &r.v, elsewhere, 1, now, heard, &verdict, &why);
    cr_expect_eq(verdict, DHT_REFUSED);
    r.data[r.len - 1] ^= 1;
    verdict = -1;
    dht_store_offer(store, &r.v, r.v.places[0], 1, now, heard, &verdict, &why);
    cr_expect_eq(verdict, DHT_REFUSED);
    cr_expect_eq(why, DROP_SIGNATURE);
    cr_expect_eq(held(), 0);
}

Test(dht_store, a_forged_newer_record_changes_nothing)
{
    struct record r, forged;
    provider_by(&r, &made.self, 1, 7);
    provider_by(&forged, &made.self, 1, 8);
    forged.data[forged.len - 1] ^= 1;
    cr_expect_eq(offered(&r), DHT_TAKEN);
    cr_expect_eq(offered(&forged), DHT_REFUSED);
    cr_expect(holds(&r));
}

Test(dht_store, what_expired_is_not_read_and_goes_with_the_sweep)
{
    struct record r;
    provider(&r, 1);
    (void)offered(&r);
    now += 3600;
    cr_expect_not(holds(&r));
    dht_store_sweep(store, now, 10, NULL, NULL);
    settle();
    cr_expect_eq(held(), 0);
    now = MADE_NOW;
    reopen();
    cr_expect_eq(held(), 0, "gone from the disk as well");
}

static void count_held(void *arg, const struct dht_held *h)
{
    unsigned *seen = arg;
    cr_expect_eq(h->type, MESH_RECORD_PROVIDER);
    ++*seen;
}

Test(dht_store, the_sweep_goes_on_where_it_stopped)
{
    struct record r;
    unsigned n = 0;
    for (unsigned i = 0; i < 10; i++) {
        provider(&r, i);
        (void)offered(&r);
    }
    dht_store_sweep(store, now, 4, count_held, &n);
    cr_expect_eq(n, 4);
    dht_store_sweep(store, now, 4, count_held, &n);
    dht_store_sweep(store, now, 100, count_held, &n);
    cr_expect_eq(n, 18);
}

/* ---- quotas ---------------------------------------------------------------------------------- */

Test(dht_store, a_publisher_has_its_quota_and_no_more)
{
    static int verdicts[DHT_STORE_PUBLISHER / 100];
    struct record r;
    unsigned n = 0;
    dht_store_close(store);
    max_bytes = 16 << 20; /* a share of 1 MiB */
    open_store();
    provider(&r, 0);
    for (; n < DHT_STORE_PUBLISHER / r.len; n++) {
        provider(&r, n);
        offer_from(&r, n, &verdicts[n]);
    }
    settle();
    cr_expect_eq(held(), n);
    provider(&r, n);
    cr_expect_eq(offered_from(&r, n), DHT_QUOTA);
    provider_by(&r, &made.self, 0, 8);
    cr_expect_eq(offered_from(&r, n), DHT_TAKEN, "an update needs no more");
}

/* Fills the source's share; returns how many records. */
static unsigned fill_share(uint64_t source, unsigned first)
{
    struct record r;
    unsigned n = 0;
    provider(&r, 0);
    for (; n < max_bytes / DHT_STORE_SOURCE_SHARE / r.len; n++) {
        provider(&r, first + n);
        cr_assert_eq(offered_from(&r, source), DHT_TAKEN);
    }
    return n;
}

static bool is_nearer(const struct record *a, const struct record *b)
{
    static const uint8_t self[DHT_ID];
    return dht_id_is_nearer(self, a->v.places[0], b->v.places[0]);
}

Test(dht_store, a_source_gets_more_than_its_share_only_for_what_is_nearer)
{
    struct record r, farthest;
    unsigned taken = 0;
    unsigned n = fill_share(1, 0);
    provider(&farthest, 0);
    for (unsigned i = 1; i < n; i++) {
        provider(&r, i);
        if (is_nearer(&farthest, &r))
            farthest = r;
    }
    for (unsigned i = 100; i < 140; i++) {
        struct dht_store_stats s;
        provider(&r, i);
        taken += offered(&r) == DHT_TAKEN;
        dht_store_get_stats(store, &s);
        cr_expect_leq(s.bytes, max_bytes / DHT_STORE_SOURCE_SHARE);
    }
    cr_expect_eq(held(), n);
    cr_expect(taken > 0 && taken < 40);
    parse(&farthest, (int)farthest.len);
    cr_expect_not(holds(&farthest));
    provider(&r, 500);
    cr_expect_eq(offered_from(&r, 2), DHT_TAKEN, "another source has a share of its own");
}

Test(dht_store, an_update_that_grows_stays_within_the_share_it_is_on)
{
    struct record r, grown;
    descriptor(&r, 2048, 0);
    descriptor(&grown, 8192, 1);
    cr_expect_eq(offered(&r), DHT_TAKEN);
    cr_expect_eq(offered_from(&grown, 2), DHT_QUOTA, "8192 is more than a share");
    cr_expect(holds(&r));
}

Test(dht_store, a_full_store_takes_from_who_has_most)
{
    struct record r;
    struct dht_store_stats s;
    unsigned number = 0;
    for (uint64_t source = 1; source <= DHT_STORE_SOURCE_SHARE; source++)
        number += fill_share(source, number);
    dht_store_get_stats(store, &s);
    for (unsigned i = 0; i < 10; i++) {
        provider(&r, number + i);
        cr_expect_eq(offered_from(&r, 99), DHT_TAKEN, "%u", i);
    }
    dht_store_get_stats(store, &s);
    cr_expect_leq(s.bytes, s.max_bytes);
    cr_expect_geq(s.evicted, 5);
    reopen();
    cr_expect_eq(held(), s.records, "those that gave way are gone from the disk as well");
}

Test(dht_store, a_record_larger_than_a_share_finds_no_room)
{
    struct record r;
    descriptor(&r, 8192, 0);
    cr_expect_eq(offered(&r), DHT_QUOTA);
}

Test(dht_store, a_full_place_keeps_those_of_the_smallest_keyed_hash)
{
    enum { PUBLISHERS = 40, KEEP = 32 };
    static struct record r[PUBLISHERS];
    struct made_key k;
    unsigned taken = 0, kept = 0, better = 0;
    for (unsigned i = 0; i < PUBLISHERS; i++) {
        made_key(&k, (uint8_t)(50 + i), MESH_POW_ID);
        provider_by(&r[i], &k, 1, 7);
        taken += offered_from(&r[i], i) == DHT_TAKEN;
    }
    cr_expect_geq(taken, KEEP);
    cr_expect_eq(held(), KEEP);
    for (unsigned i = 0; i < PUBLISHERS; i++) {
        const struct store__slot *slot =
            store__slot_find(store, r[i].v.places[0], MESH_RECORD_PROVIDER);
        bool is_kept = store__entry_find(slot, r[i].v.head.publisher) != NULL;
        unsigned smaller = 0;
        for (unsigned j = 0; j < PUBLISHERS; j++)
            smaller += store__rank(store, r[j].v.head.publisher) <
                       store__rank(store, r[i].v.head.publisher);
        kept += is_kept;
        better += is_kept == (smaller < KEEP);
    }
    cr_expect_eq(kept, KEEP);
    cr_expect_eq(better, PUBLISHERS);
}

/* ---- the disk -------------------------------------------------------------------------------- */

Test(dht_store, holds_after_a_restart_what_it_had_acknowledged)
{
    struct record r, d;
    provider(&r, 1);
    descriptor(&d, 2048, 0);
    (void)offered(&r);
    (void)offered(&d);
    reopen();
    cr_expect(holds(&r));
    cr_expect(holds(&d));
    cr_expect(store__check(store));
}

Test(dht_store, drops_at_the_start_what_is_no_record_or_expired)
{
    struct record r;
    struct env_kv *kv;
    struct dht_store_stats s;
    static const uint8_t junk[STORE__KEY] = { 1 };
    provider(&r, 1);
    (void)offered(&r);
    dht_store_close(store);
    cr_assert_eq(env_kv_open(env, "dht", 1 << 20, &kv, NULL), 0);
    struct env_kv_batch *b = env_kv_batch(env, kv);
    cr_assert_eq(env_kv_put(env, b, junk, sizeof junk, r.data, 20), 0);
    cr_assert_eq(env_kv_put(env, b, junk, 5, r.data, r.len), 0);
    env_kv_commit(env, b, NULL, NULL);
    env_kv_close(env, kv);
    settle();
    open_store();
    dht_store_get_stats(store, &s);
    cr_expect_eq(s.bad_entries, 2);
    cr_expect(holds(&r));
    now += 3600;
    reopen();
    cr_expect_eq(held(), 0);
}

Test(dht_store, says_nothing_before_it_is_on_disk)
{
    struct record r;
    int first, second;
    provider(&r, 1);
    offer_from(&r, 1, &first);
    offer_from(&r, 1, &second);
    cr_expect_eq(first, -1);
    cr_expect_eq(second, -1, "the same again waits for the same commit");
    settle();
    cr_expect_eq(first, DHT_TAKEN);
    cr_expect_eq(second, DHT_REFRESHED);
}

Test(dht_store, a_full_disk_is_busy_for_all_who_wait_and_nothing_is_claimed)
{
    struct record r;
    int first, second;
    sim_node_set_disk(node, SIM_DISK_FULL);
    provider(&r, 1);
    offer_from(&r, 1, &first);
    offer_from(&r, 1, &second);
    settle();
    cr_expect_eq(first, DHT_BUSY);
    cr_expect_eq(second, DHT_BUSY);
    cr_expect_eq(held(), 0);
    sim_node_set_disk(node, SIM_DISK_OK);
    cr_expect_eq(offered(&r), DHT_TAKEN);
}

Test(dht_store, a_full_disk_costs_no_record_that_was_held)
{
    struct record r, newer;
    unsigned n = fill_share(1, 0);
    provider_by(&newer, &made.self, 0, 8);
    sim_node_set_disk(node, SIM_DISK_FULL);
    cr_expect_eq(offered(&newer), DHT_BUSY);
    provider(&r, 0);
    cr_expect(holds(&r), "the older one is held again");
    unsigned busy = 0;
    for (unsigned i = 100; i < 120; i++) {
        provider(&r, i);
        busy += offered(&r) == DHT_BUSY;
    }
    cr_expect_gt(busy, 0, "some of them took others' places");
    cr_expect_eq(held(), n);
    for (unsigned i = 0; i < n; i++) {
        provider(&r, i);
        cr_expect(holds(&r), "%u", i);
    }
}

Test(dht_store, two_updates_on_their_way_end_with_the_newest)
{
    struct record r[3];
    int verdict[3];
    for (unsigned i = 0; i < 3; i++) {
        provider_by(&r[i], &made.self, 1, 7 + i);
        offer_from(&r[i], 1, &verdict[i]);
    }
    settle();
    for (unsigned i = 0; i < 3; i++)
        cr_expect_eq(verdict[i], DHT_TAKEN);
    cr_expect(holds(&r[2]));
    cr_expect_eq(held(), 1);
}

Test(dht_store, closing_answers_busy_to_those_that_wait)
{
    struct record r;
    int first, second;
    provider(&r, 1);
    offer_from(&r, 1, &first);
    offer_from(&r, 1, &second);
    dht_store_close(store);
    store = NULL;
    cr_expect_eq(first, DHT_BUSY);
    cr_expect_eq(second, DHT_BUSY);
    settle();
}

static void close_now(void *arg, enum dht_verdict v)
{
    (void)arg;
    (void)v;
    dht_store_close(store);
    store = NULL;
}

Test(dht_store, may_be_closed_from_a_verdict)
{
    struct record r;
    int second;
    provider(&r, 1);
    dht_store_offer(store, &r.v, r.v.places[0], 1, now, close_now, NULL, NULL);
    offer_from(&r, 1, &second);
    settle();
    cr_expect_eq(second, DHT_BUSY);
}

Test(dht_store, a_crash_ends_everything_and_the_disk_tells_what_is_true)
{
    struct record r;
    int verdict[8];
    for (unsigned i = 0; i < 8; i++) {
        provider(&r, i);
        offer_from(&r, 1, &verdict[i]);
    }
    sim_node_crash(node);
    for (unsigned i = 0; i < 8; i++)
        cr_expect_eq(verdict[i], DHT_BUSY);
    sim_node_boot(node);
    open_store();
    cr_expect_leq(held(), 8);
}
