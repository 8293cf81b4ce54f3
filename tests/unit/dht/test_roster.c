#include <criterion/criterion.h>
#include <string.h>

#include "base/crypto.h"
#include "base/reader.h"
#include "base/secret.h"
#include "base/writer.h"
#include "dht/roster.h"

enum { NOW = 1800000000, LIFE = 100000 };

static const uint8_t self[DHT_ID] = { 0xee, 1 };
static const uint8_t secret[32] = { 7 };

static void ready(void)
{
    struct cyx_err err;
    cr_assert_eq(secret_init(&err), 0);
}

TestSuite(dht_roster, .init = ready);

/* A proven node: its id is a hash of `n`, its address in the /24 `prefix`. */
static struct mesh_node node_of(uint32_t n, uint32_t prefix)
{
    struct mesh_node out = { .sequence = 5, .expiry = NOW + LIFE, .n_addrs = 1 };
    crypto_h(out.id, "test", &BYTES(&n, sizeof n), 1);
    out.addrs[0].kind = 4;
    out.addrs[0].ip = env_addr_v4(30, (uint8_t)(prefix >> 8), (uint8_t)prefix, 1, 4100);
    return out;
}

static int hear(struct dht_roster *r, const struct mesh_node *n)
{
    return dht_roster_heard(r, n, NOW, NULL, NULL);
}

static struct dht_roster *roster(size_t max, bool is_lab)
{
    struct dht_roster *r = dht_roster_create(max, self, secret, is_lab);
    cr_assert_not_null(r);
    return r;
}

/* `n` nodes, each in its own prefix. */
static struct dht_roster *filled(uint32_t n)
{
    struct dht_roster *r = roster(DHT_ROSTER_MAX, false);
    for (uint32_t i = 0; i < n; i++) {
        struct mesh_node node = node_of(i, i);
        cr_assert_eq(hear(r, &node), 0);
    }
    return r;
}

static uint64_t rank(const uint8_t *id)
{
    const struct bytes x[] = { BYTES(secret, 32), BYTES(id, DHT_ID) };
    uint8_t h[32];
    crypto_h(h, "cyx keep", x, 2);
    struct reader in = reader_on(h, 32);
    return reader_u64(&in);
}

Test(dht_roster, keeps_entries_in_order_of_ids)
{
    struct dht_roster *r = filled(500);
    cr_assert_eq(dht_roster_len(r), 500u);
    cr_expect_eq(dht_roster_prefixes(r), 500u);
    cr_expect_eq(dht_roster_cap(r), (size_t)DHT_ROSTER_MAX);
    for (size_t i = 1; i < 500; i++)
        cr_assert_lt(memcmp(dht_roster_at(r, i - 1)->id, dht_roster_at(r, i)->id, DHT_ID), 0);
    for (uint32_t i = 0; i < 500; i++) {
        struct mesh_node n = node_of(i, i);
        const struct dht_roster_entry *e = dht_roster_get(r, n.id);
        cr_assert_not_null(e);
        cr_expect_eq(e->first_s, (uint32_t)NOW);
        cr_expect_eq(e->reached_s, 0u);
        cr_expect_eq(e, dht_roster_begins(r, n.id, 8));
    }
    dht_roster_destroy(r);
}

Test(dht_roster, ranges_of_first_bytes_cover_all)
{
    struct dht_roster *r = filled(1000);
    cr_expect_eq(dht_roster_from(r, 0), 0u);
    cr_expect_eq(dht_roster_from(r, 256), 1000u);
    for (unsigned b = 0; b < 256; b++)
        for (size_t i = dht_roster_from(r, b); i < dht_roster_from(r, b + 1); i++)
            cr_assert_eq(dht_roster_at(r, i)->id[0], b);
    dht_roster_destroy(r);
}

Test(dht_roster, takes_only_newer_records)
{
    struct dht_roster *r = roster(10, false);
    struct mesh_node n = node_of(1, 1);
    cr_expect_eq(hear(r, &n), 0);
    cr_expect_eq(hear(r, &n), CYX_EEXIST);
    n.sequence--;
    cr_expect_eq(hear(r, &n), CYX_EEXIST);
    n.sequence += 2;
    n.roles = MESH_ROLE_HOST;
    cr_expect_eq(dht_roster_heard(r, &n, NOW + 60, NULL, NULL), 0);
    const struct dht_roster_entry *e = dht_roster_get(r, n.id);
    cr_expect_eq(e->sequence, n.sequence);
    cr_expect_eq(e->roles, (uint32_t)MESH_ROLE_HOST);
    cr_expect_eq(e->first_s, (uint32_t)NOW, "a newer record keeps its age");
    cr_expect_eq(dht_roster_len(r), 1u);
    dht_roster_destroy(r);
}

Test(dht_roster, refuses_itself_the_expired_and_nodes_without_ip)
{
    struct dht_roster *r = roster(10, false);
    struct mesh_node n = node_of(1, 1);
    n.expiry = NOW;
    cr_expect_eq(hear(r, &n), CYX_EINVAL);
    n.expiry = (uint64_t)UINT32_MAX + 1;
    cr_expect_eq(hear(r, &n), CYX_EINVAL);
    n = node_of(1, 1);
    memcpy(n.id, self, DHT_ID);
    cr_expect_eq(hear(r, &n), CYX_EINVAL);
    n = node_of(1, 1);
    n.n_addrs = 0;
    cr_expect_eq(hear(r, &n), CYX_EINVAL);
    n.n_addrs = 1;
    n.addrs[0].kind = 7;
    cr_expect_eq(hear(r, &n), CYX_EINVAL);
    cr_expect_eq(dht_roster_len(r), 0u);
    cr_expect_eq(dht_roster_changes(r), 0u);
    dht_roster_destroy(r);
}

Test(dht_roster, a_roster_of_none_takes_none)
{
    struct dht_roster *r = roster(0, true);
    struct mesh_node n = node_of(1, 1);
    cr_expect_eq(hear(r, &n), CYX_EFULL);
    dht_roster_destroy(r);
}

Test(dht_roster, at_sixteen_of_one_prefix_the_farthest_gives_way)
{
    struct dht_roster *r = roster(1000, false);
    struct mesh_node all[200];
    uint64_t ranks[200];
    for (uint32_t i = 0; i < 200; i++) {
        bool has_gone = false;
        uint8_t gone[DHT_ID];
        all[i] = node_of(i, 9);
        ranks[i] = rank(all[i].id);
        int code = dht_roster_heard(r, &all[i], NOW, &has_gone, gone);
        cr_assert(i < DHT_ROSTER_PREFIX ? code == 0 : code == 0 || code == CYX_EFULL);
        cr_expect_eq(has_gone, code == 0 && i >= DHT_ROSTER_PREFIX);
        cr_expect(!has_gone || dht_roster_get(r, gone) == NULL);
    }
    cr_expect_eq(dht_roster_len(r), (size_t)DHT_ROSTER_PREFIX);
    for (uint32_t i = 0; i < 200; i++) {
        unsigned nearer = 0;
        for (uint32_t k = 0; k < 200; k++)
            nearer += ranks[k] < ranks[i];
        cr_expect_eq(dht_roster_get(r, all[i].id) != NULL, nearer < DHT_ROSTER_PREFIX);
    }
    struct mesh_node other = node_of(1000, 10);
    cr_expect_eq(hear(r, &other), 0, "other prefixes don't suffer");
    dht_roster_destroy(r);
}

Test(dht_roster, when_full_the_largest_prefix_gives_way)
{
    struct dht_roster *r = roster(40, false);
    for (uint32_t i = 0; i < 40; i++) {
        struct mesh_node n = node_of(i, i < 10 ? 500 : i); /* ten of one */
        cr_assert_eq(hear(r, &n), 0);
    }
    for (uint32_t i = 0; i < 9; i++) {
        bool has_gone = false;
        uint8_t gone[DHT_ID];
        struct mesh_node n = node_of(100 + i, 100 + i);
        cr_assert_eq(dht_roster_heard(r, &n, NOW, &has_gone, gone), 0);
        cr_assert(has_gone);
        bool was_of_many = false;
        for (uint32_t k = 0; k < 10; k++) {
            struct mesh_node m = node_of(k, 500);
            was_of_many = was_of_many || memcmp(m.id, gone, DHT_ID) == 0;
        }
        cr_expect(was_of_many, "newcomer %u", i);
    }
    cr_expect_eq(dht_roster_len(r), 40u);
    cr_expect_eq(dht_roster_prefixes(r), 40u);
    dht_roster_destroy(r);
}

Test(dht_roster, when_all_prefixes_are_equal_the_farthest_gives_way)
{
    struct dht_roster *r = roster(64, false);
    for (uint32_t i = 0; i < 1000; i++) {
        struct mesh_node n = node_of(i, i);
        int code = hear(r, &n);
        cr_assert(code == 0 || (code == CYX_EFULL && i >= 64));
    }
    cr_assert_eq(dht_roster_len(r), 64u);
    for (uint32_t i = 0; i < 1000; i++) {
        struct mesh_node n = node_of(i, i);
        unsigned nearer = 0;
        for (uint32_t k = 0; k < 1000; k++) {
            struct mesh_node m = node_of(k, k);
            nearer += rank(m.id) < rank(n.id);
        }
        cr_expect_eq(dht_roster_get(r, n.id) != NULL, nearer < 64);
    }
    dht_roster_destroy(r);
}

Test(dht_roster, a_lab_has_no_prefix_limits)
{
    struct dht_roster *r = roster(100, true);
    for (uint32_t i = 0; i < 100; i++) {
        struct mesh_node n = node_of(i, 1);
        cr_assert_eq(hear(r, &n), 0);
    }
    cr_expect_eq(dht_roster_prefixes(r), 1u);
    bool has_full = false, has_taken = false;
    for (uint32_t i = 100; i < 200; i++) {
        struct mesh_node n = node_of(i, i);
        int code = hear(r, &n);
        has_full = has_full || code == CYX_EFULL;
        has_taken = has_taken || code == 0;
    }
    cr_expect(has_full && has_taken);
    cr_expect_eq(dht_roster_len(r), 100u);
    dht_roster_destroy(r);
}

Test(dht_roster, a_node_that_moves_must_be_reached_anew)
{
    struct dht_roster *r = filled(3);
    struct mesh_node n = node_of(1, 1);
    dht_roster_reached(r, n.id, NOW);
    cr_expect(dht_roster_is_told(dht_roster_get(r, n.id), NOW));
    n.sequence++;
    cr_expect_eq(hear(r, &n), 0);
    cr_expect(dht_roster_is_told(dht_roster_get(r, n.id), NOW), "same prefix");
    n = node_of(1, 77);
    n.sequence = 9;
    cr_expect_eq(hear(r, &n), 0);
    cr_expect_not(dht_roster_is_told(dht_roster_get(r, n.id), NOW));
    cr_expect_eq(dht_roster_prefixes(r), 3u);
    n = node_of(1, 2); /* now shared with another */
    n.sequence = 10;
    cr_expect_eq(hear(r, &n), 0);
    cr_expect_eq(dht_roster_prefixes(r), 2u);
    dht_roster_destroy(r);
}

Test(dht_roster, nobody_moves_into_a_full_prefix)
{
    struct dht_roster *r = roster(100, false);
    for (uint32_t i = 0; i < DHT_ROSTER_PREFIX; i++) {
        struct mesh_node n = node_of(i, 9);
        cr_assert_eq(hear(r, &n), 0);
    }
    struct mesh_node n = node_of(50, 50);
    cr_assert_eq(hear(r, &n), 0);
    n = node_of(50, 9);
    n.sequence++;
    cr_expect_eq(hear(r, &n), CYX_EFULL);
    cr_expect_eq(dht_roster_get(r, n.id)->sequence, n.sequence - 1);
    dht_roster_destroy(r);
}

Test(dht_roster, tells_for_a_day_of_whom_it_reached)
{
    struct dht_roster *r = filled(1);
    struct mesh_node n = node_of(0, 0);
    uint8_t stranger[DHT_ID] = { 1 };
    const struct dht_roster_entry *e = dht_roster_get(r, n.id);
    uint64_t changes = dht_roster_changes(r);
    dht_roster_reached(r, stranger, NOW);
    cr_expect_eq(dht_roster_changes(r), changes);
    cr_expect_not(dht_roster_is_told(e, NOW));
    dht_roster_reached(r, n.id, NOW);
    cr_expect_gt(dht_roster_changes(r), changes);
    cr_expect(dht_roster_is_told(e, NOW + DHT_ROSTER_REACHED_S - 1));
    cr_expect_not(dht_roster_is_told(e, NOW + DHT_ROSTER_REACHED_S));
    changes = dht_roster_changes(r);
    dht_roster_reached(r, n.id, NOW + 10); /* still reached: nothing that others see changes */
    cr_expect_eq(dht_roster_changes(r), changes);
    dht_roster_destroy(r);
}

static void count_gone(void *arg, const uint8_t id[static DHT_ID])
{
    (void)id;
    ++*(unsigned *)arg;
}

Test(dht_roster, forgets_what_expired_and_what_is_removed)
{
    struct dht_roster *r = roster(1000, false);
    unsigned gone = 0;
    for (uint32_t i = 0; i < 100; i++) {
        struct mesh_node n = node_of(i, i);
        n.expiry = NOW + 10 + i;
        cr_assert_eq(hear(r, &n), 0);
    }
    dht_roster_expire(r, NOW + 9, count_gone, &gone);
    cr_expect_eq(gone, 0u);
    dht_roster_expire(r, NOW + 49, count_gone, &gone);
    cr_expect_eq(gone, 40u);
    cr_expect_eq(dht_roster_len(r), 60u);
    cr_expect_eq(dht_roster_prefixes(r), 60u);
    for (uint32_t i = 0; i < 100; i++) {
        struct mesh_node n = node_of(i, i);
        cr_expect_eq(dht_roster_get(r, n.id) != NULL, i >= 40);
    }
    struct mesh_node n = node_of(70, 70);
    dht_roster_remove(r, n.id);
    dht_roster_remove(r, n.id);
    cr_expect_null(dht_roster_get(r, n.id));
    cr_expect_eq(dht_roster_len(r), 59u);
    dht_roster_expire(r, NOW + 1000, NULL, NULL);
    cr_expect_eq(dht_roster_len(r), 0u);
    cr_expect_eq(dht_roster_prefixes(r), 0u);
    dht_roster_destroy(r);
}

/* ---- the nearest ---- */

static const uint8_t *sort_key;

static int by_distance(const void *a, const void *b)
{
    const struct dht_roster_entry *x = *(const struct dht_roster_entry *const *)a;
    const struct dht_roster_entry *y = *(const struct dht_roster_entry *const *)b;
    return dht_id_compare(sort_key, x->id, y->id);
}

Test(dht_roster, nearest_are_those_that_sorting_finds)
{
    struct dht_roster *r = filled(700);
    const struct dht_roster_entry *sorted[700], *got[700];
    for (uint32_t k = 0; k < 50; k++) {
        struct mesh_node key = node_of(5000 + k, 1);
        if (k == 0)
            memcpy(key.id, dht_roster_at(r, 13)->id, DHT_ID);
        for (size_t i = 0; i < 700; i++)
            sorted[i] = dht_roster_at(r, i);
        sort_key = key.id;
        qsort(sorted, 700, sizeof sorted[0], by_distance);
        size_t most = k == 1 ? 700 : 16;
        cr_assert_eq(dht_roster_nearest(r, key.id, most, got), most);
        for (size_t i = 0; i < most; i++)
            cr_assert_eq(got[i], sorted[i]);
    }
    cr_expect_eq(dht_roster_nearest(r, self, 0, got), 0u);
    dht_roster_destroy(r);
}

Test(dht_roster, nearest_takes_one_of_each_prefix_before_a_second_of_any)
{
    struct dht_roster *r = roster(100, false);
    const struct dht_roster_entry *got[64];
    for (uint32_t i = 0; i < 60; i++) {
        struct mesh_node n = node_of(i, i % 5);
        cr_assert_eq(hear(r, &n), 0);
    }
    cr_assert_eq(dht_roster_nearest(r, self, 64, got), 60u);
    for (size_t i = 0; i < 60; i++) {
        unsigned same = 0;
        for (size_t k = 0; k < i; k++) {
            cr_assert_neq(got[k], got[i]);
            same += got[k]->prefix == got[i]->prefix;
        }
        cr_expect_eq(same, i / 5, "place %zu", i);
        if (i % 5 != 0)
            cr_expect(dht_id_is_nearer(self, got[i - 1]->id, got[i]->id));
    }
    const struct dht_roster_entry *few[7];
    cr_assert_eq(dht_roster_nearest(r, self, 7, few), 7u);
    cr_expect_eq(memcmp(few, got, sizeof few), 0);
    dht_roster_destroy(r);
}

Test(dht_roster, nearest_of_a_lab_are_just_the_nearest)
{
    struct dht_roster *r = roster(100, true);
    const struct dht_roster_entry *got[100];
    cr_expect_eq(dht_roster_nearest(r, self, 100, got), 0u);
    for (uint32_t i = 0; i < 100; i++) {
        struct mesh_node n = node_of(i, i % 2);
        cr_assert_eq(hear(r, &n), 0);
    }
    cr_assert_eq(dht_roster_nearest(r, self, 100, got), 100u);
    for (size_t i = 1; i < 100; i++)
        cr_expect(dht_id_is_nearer(self, got[i - 1]->id, got[i]->id));
    dht_roster_destroy(r);
}

/* ---- ages ---- */

static struct dht_roster *aged(uint32_t n_old, uint32_t n_prefixes)
{
    struct dht_roster *r = roster(1000, false);
    for (uint32_t i = 0; i < n_old; i++) {
        struct mesh_node n = node_of(i, i % n_prefixes);
        cr_assert_eq(hear(r, &n), 0);
        dht_roster_restore(r, n.id, NOW - DHT_ROSTER_AGE_S, 0);
    }
    struct mesh_node young = node_of(999, 999);
    cr_assert_eq(hear(r, &young), 0);
    return r;
}

static bool may_use_young(struct dht_roster *r, enum dht_roster_use use, uint64_t now)
{
    struct mesh_node young = node_of(999, 999);
    return dht_roster_may_use(r, dht_roster_get(r, young.id), use, now);
}

Test(dht_roster, the_young_wait_once_thirty_two_older_ones_in_eight_prefixes_are_known)
{
    struct dht_roster *r = aged(32, 8);
    struct mesh_node old = node_of(3, 3);
    cr_expect_not(may_use_young(r, DHT_USE_PATH, NOW));
    cr_expect(dht_roster_may_use(r, dht_roster_get(r, old.id), DHT_USE_PATH, NOW));
    cr_expect_not(may_use_young(r, DHT_USE_PATH, NOW + DHT_ROSTER_AGE_S - 1));
    cr_expect(may_use_young(r, DHT_USE_PATH, NOW + DHT_ROSTER_AGE_S));
    /* Nobody has a guard's age yet: it does not count. A day later it does. */
    cr_expect(may_use_young(r, DHT_USE_GUARD, NOW));
    cr_expect_not(may_use_young(r, DHT_USE_GUARD, NOW + DHT_ROSTER_GUARD_S - 1));
    cr_expect(may_use_young(r, DHT_USE_GUARD, NOW + DHT_ROSTER_GUARD_S));
    dht_roster_destroy(r);
}

Test(dht_roster, ages_do_not_count_in_a_young_network)
{
    struct dht_roster *r = aged(31, 8);
    cr_expect(may_use_young(r, DHT_USE_PATH, NOW), "31 older ones");
    dht_roster_destroy(r);
    r = aged(100, 7);
    cr_expect(may_use_young(r, DHT_USE_PATH, NOW), "in 7 prefixes");
    dht_roster_destroy(r);
}

Test(dht_roster, ages_do_not_count_in_a_lab)
{
    struct dht_roster *r = roster(100, true);
    for (uint32_t i = 0; i < 60; i++) {
        struct mesh_node n = node_of(i, i);
        cr_assert_eq(hear(r, &n), 0);
        dht_roster_restore(r, n.id, i < 59 ? NOW - 90000 : NOW, 0);
    }
    struct mesh_node young = node_of(59, 59);
    cr_expect(dht_roster_may_use(r, dht_roster_get(r, young.id), DHT_USE_GUARD, NOW));
    dht_roster_destroy(r);
}

/* ---- digests ---- */

Test(dht_roster, the_digest_is_what_the_protocol_says)
{
    struct dht_roster *r = filled(600);
    uint8_t digest[DHT_ROSTER_DIGEST];
    for (uint32_t i = 0; i < 600; i += 2) {
        struct mesh_node n = node_of(i, i);
        dht_roster_reached(r, n.id, NOW);
    }
    dht_roster_digest(r, NOW, digest);
    for (unsigned b = 0; b < 256; b++) {
        uint8_t text[600 * 40], h[32] = { 0 };
        struct writer w = writer_on(text, sizeof text);
        for (size_t i = dht_roster_from(r, b); i < dht_roster_from(r, b + 1); i++) {
            const struct dht_roster_entry *e = dht_roster_at(r, i);
            if (e->reached_s == 0)
                continue;
            writer_copy(&w, e->id, DHT_ID);
            writer_u64(&w, e->sequence);
        }
        if (writer_len(&w) > 0)
            crypto_h(h, "cyx digest", &BYTES(text, writer_len(&w)), 1);
        cr_assert_eq(memcmp(digest + 8 * b, h, 8), 0, "byte %u", b);
    }
    dht_roster_digest(r, NOW + DHT_ROSTER_REACHED_S, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        cr_assert_eq(digest[i], 0, "nobody was reached within a day");
    dht_roster_destroy(r);
}

static bool stop_at_third(void *arg, const struct dht_roster_entry *e)
{
    (void)e;
    return ++*(unsigned *)arg < 3;
}

Test(dht_roster, each_stops_when_told)
{
    struct dht_roster *r = filled(10);
    unsigned n = 0;
    dht_roster_each(r, stop_at_third, &n);
    cr_expect_eq(n, 3u);
    dht_roster_destroy(r);
}

Test(dht_roster, holds_as_many_as_promised)
{
    struct dht_roster *r = roster(DHT_ROSTER_MAX, false);
    for (uint32_t i = 0; i < DHT_ROSTER_MAX + 500; i++) {
        struct mesh_node n = node_of(i, i / 8);
        int code = hear(r, &n);
        cr_assert(code == 0 || (code == CYX_EFULL && i >= DHT_ROSTER_MAX));
    }
    cr_expect_eq(dht_roster_len(r), (size_t)DHT_ROSTER_MAX);
    dht_roster_destroy(r);
}
