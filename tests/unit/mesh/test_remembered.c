#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/writer.h"
#include "mesh/limits.h"
#include "mesh/remembered.h"
#include "tests/unit/mesh/kv_env.h"

static struct kv_env e;
static int last_code;
static size_t n_done;

static void on_done(void *arg, int code)
{
    (void)arg;
    last_code = code;
    n_done++;
}

static void on_closed(void *arg)
{
    (*(size_t *)arg)++;
}

static struct mesh_remembered *open_it(void)
{
    struct mesh_remembered *r = NULL;
    struct cyx_err err = { 0 };
    cr_assert_eq(mesh_remembered_open(&e.env, 1 << 20, &r, &err), 0, "%s", err.msg);
    return r;
}

static void close_it(struct mesh_remembered *r)
{
    size_t closed = 0;
    mesh_remembered_close(r, on_closed, &closed);
    cr_expect_eq(closed, 0u, "not inside the call");
    kv_env_run(&e, 10);
    cr_expect_eq(closed, 1u);
    cr_expect_eq(e.n_open, 0u);
    cr_expect_eq(timers_next(&e.timers), UINT64_MAX);
}

static void set_up(void)
{
    kv_env_init(&e);
    last_code = 1;
    n_done = 0;
}

static void tear_down(void)
{
    kv_env_fini(&e);
}

TestSuite(mesh_remembered, .init = set_up, .fini = tear_down);

/* An envelope of that sequence around `body_len` bytes: what the store checks, unsigned. */
static size_t envelope(uint8_t out[static MESH_NODE_RECORD_MAX], uint64_t sequence, size_t body_len)
{
    struct writer w = writer_on(out, MESH_NODE_RECORD_MAX);
    writer_u8(&w, 1);
    writer_u8(&w, MESH_RECORD_NODE);
    writer_u16(&w, (uint16_t)body_len);
    writer_u64(&w, sequence);
    writer_zero(&w, 8 + 32 + body_len + MESH_RECORD_SIGNATURE);
    cr_assert(writer_ok(&w));
    return writer_len(&w);
}

static void id_of(uint8_t id[static 32], uint32_t who)
{
    memset(id, 0, 32);
    id[0] = (uint8_t)(who >> 8);
    id[1] = (uint8_t)who;
}

static int put(struct mesh_remembered *r, uint32_t who, uint64_t sequence, size_t body_len,
               uint64_t seen_s)
{
    struct mesh_node node = { .sequence = sequence };
    uint8_t record[MESH_NODE_RECORD_MAX];
    id_of(node.id, who);
    size_t len = envelope(record, sequence, body_len);
    return mesh_remembered_put(r, &node, record, len, seen_s);
}

static const struct mesh_peer_entry *get(struct mesh_remembered *r, uint32_t who)
{
    uint8_t id[32];
    id_of(id, who);
    return mesh_remembered_get(r, id);
}

static void fail(struct mesh_remembered *r, uint32_t who)
{
    uint8_t id[32];
    id_of(id, who);
    mesh_remembered_failed(r, id);
}

static const struct kv_entry *on_disk(uint32_t who)
{
    uint8_t key[33] = { 'p' };
    id_of(key + 1, who);
    return kv_env_find(&e, key, sizeof key);
}

Test(mesh_remembered, keeps_entries_over_a_restart)
{
    struct mesh_remembered *r = open_it();
    cr_expect_null(get(r, 1));
    cr_assert_eq(put(r, 1, 7, 100, 1000), 0);
    cr_assert_eq(put(r, 2, 8, 300, 2000), 0);
    fail(r, 2);
    fail(r, 2);
    fail(r, 3);
    close_it(r);
    r = open_it();
    cr_expect_eq(mesh_remembered_len(r), 2u);
    const struct mesh_peer_entry *one = get(r, 1), *two = get(r, 2);
    cr_assert(one != NULL && two != NULL);
    cr_expect(one->seen_s == 1000 && one->failures == 0);
    cr_expect_eq(one->record_len, 100u + 116u);
    cr_expect(two->seen_s == 2000 && two->failures == 2 && two->record_len == 300 + 116);
    cr_assert_eq(put(r, 1, 7, 50, 0), 0);
    cr_expect_eq(get(r, 1)->record_len, 216u, "its sequence was read as well");
    close_it(r);
}

Test(mesh_remembered, takes_newer_sequences_and_later_sightings_only)
{
    struct mesh_remembered *r = open_it();
    cr_assert_eq(put(r, 1, 7, 100, 1000), 0);
    fail(r, 1);
    cr_assert_eq(put(r, 1, 6, 200, 900), 0);
    cr_expect(get(r, 1)->record_len == 216 && get(r, 1)->seen_s == 1000);
    cr_expect_eq(get(r, 1)->failures, 1u, "an old sighting ends no failures");
    cr_assert_eq(put(r, 1, 8, 200, 0), 0);
    cr_expect(get(r, 1)->record_len == 316 && get(r, 1)->seen_s == 1000);
    cr_assert_eq(put(r, 1, 6, 10, 1001), 0);
    cr_expect(get(r, 1)->record_len == 316 && get(r, 1)->seen_s == 1001);
    cr_expect_eq(get(r, 1)->failures, 0u);
    fail(r, 1);
    cr_assert_eq(put(r, 1, 8, 200, 1001), 0);
    cr_expect_eq(get(r, 1)->failures, 1u, "the same sighting again ends none either");
    struct mesh_node node = { .sequence = 1 };
    cr_expect_eq(mesh_remembered_put(r, &node, node.id, 0, 0), CYX_EINVAL);
    cr_expect_eq(mesh_remembered_put(r, &node, node.id, MESH_NODE_RECORD_MAX + 1, 0), CYX_EINVAL);
    close_it(r);
}

Test(mesh_remembered, writes_a_second_of_changes_in_one_commit)
{
    struct mesh_remembered *r = open_it();
    kv_env_run(&e, 3000);
    cr_expect_eq(e.n_commits, 0u, "nothing to write");
    for (uint32_t i = 0; i < 50; i++) {
        cr_assert_eq(put(r, i, 1, 100, 1 + i), 0);
        kv_env_run(&e, 10);
    }
    kv_env_run(&e, 490);
    cr_expect_eq(e.n_commits, 0u);
    kv_env_run(&e, 20);
    cr_expect_eq(e.n_commits, 1u);
    cr_expect_eq(e.n_entries, 50u);
    fail(r, 3);
    kv_env_run(&e, 1010);
    cr_expect_eq(e.n_commits, 2u);
    cr_expect_eq(on_disk(3)->val[11], 1u);
    close_it(r);
}

Test(mesh_remembered, loses_nothing_while_the_disk_is_full)
{
    struct mesh_remembered *r = open_it();
    e.disk_code = CYX_ENOSPC;
    cr_assert_eq(put(r, 1, 1, 100, 1000), 0);
    kv_env_run(&e, 1001); /* its commit is under way */
    cr_assert_eq(put(r, 1, 2, 120, 1001), 0);
    cr_assert_eq(put(r, 2, 1, 100, 1002), 0);
    kv_env_run(&e, 4000);
    cr_expect_geq(mesh_remembered_write_errors(r), 4u);
    cr_expect_leq(mesh_remembered_write_errors(r), 5u, "once a second, no faster");
    cr_expect_eq(e.n_entries, 0u);
    cr_expect_eq(get(r, 1)->record_len, 236u);
    e.disk_code = 0;
    kv_env_run(&e, 1010);
    cr_expect_eq(e.n_entries, 2u);
    cr_expect_eq(on_disk(1)->val_len, 12u + 236u, "the newest state");
    uint64_t errors = mesh_remembered_write_errors(r);
    size_t commits = e.n_commits;
    kv_env_run(&e, 5000);
    cr_expect_eq(mesh_remembered_write_errors(r), errors);
    cr_expect_eq(e.n_commits, commits, "all is clean");
    close_it(r);
}

Test(mesh_remembered, a_change_during_a_commit_is_written_by_the_next)
{
    struct mesh_remembered *r = open_it();
    cr_assert_eq(put(r, 1, 1, 100, 1000), 0);
    kv_env_run(&e, 1001);
    fail(r, 1);
    kv_env_run(&e, 2);
    cr_expect_eq(on_disk(1)->val[11], 0u);
    kv_env_run(&e, 1010);
    cr_expect_eq(on_disk(1)->val[11], 1u);
    close_it(r);
}

Test(mesh_remembered, tries_again_when_there_was_no_memory_for_a_batch)
{
    struct mesh_remembered *r = open_it();
    e.no_memory = true;
    cr_assert_eq(put(r, 1, 1, 100, 1000), 0);
    kv_env_run(&e, 2500);
    cr_expect_eq(mesh_remembered_write_errors(r), 2u);
    mesh_remembered_set_number(r, "t", 5, on_done, NULL);
    cr_expect_eq(last_code, CYX_ENOMEM);
    cr_expect_eq(mesh_remembered_number(r, "t"), 5u);
    e.no_memory = false;
    kv_env_run(&e, 1010);
    cr_expect_eq(e.n_entries, 2u);
    close_it(r);
}

Test(mesh_remembered, the_one_not_seen_longest_gives_way_on_disk_too)
{
    struct mesh_remembered *r = open_it();
    for (uint32_t i = 0; i < MESH_REMEMBERED; i++)
        cr_assert_eq(put(r, i, 1, 10, 1000 + (i * 7 + 3) % MESH_REMEMBERED), 0);
    uint32_t oldest = 0;
    while ((oldest * 7 + 3) % MESH_REMEMBERED != 0)
        oldest++;
    kv_env_run(&e, 1010);
    cr_expect_not_null(on_disk(oldest));
    cr_expect_eq(put(r, 5000, 1, 10, 0), CYX_EFULL, "hearsay does not push out who answered");
    cr_expect_eq(put(r, 5000, 1, 10, 1000), CYX_EFULL, "nor an equal");
    fail(r, oldest);
    cr_expect_eq(put(r, 5000, 1, 10, 1000), 0, "unless that failed since");
    cr_expect_eq(mesh_remembered_len(r), (size_t)MESH_REMEMBERED);
    cr_expect_null(get(r, oldest));
    e.disk_code = CYX_EIO;
    kv_env_run(&e, 1500);
    cr_expect_not_null(on_disk(oldest));
    e.disk_code = 0;
    kv_env_run(&e, 2000);
    cr_expect_null(on_disk(oldest));
    cr_expect_not_null(on_disk(5000));
    cr_expect_eq(e.n_entries, (size_t)MESH_REMEMBERED);
    close_it(r);
}

Test(mesh_remembered, one_that_went_and_came_back_before_the_flush_stays)
{
    struct mesh_remembered *r = open_it();
    for (uint32_t i = 0; i < MESH_REMEMBERED; i++)
        cr_assert_eq(put(r, i, 1, 10, 1000 + i), 0);
    kv_env_run(&e, 1010);
    cr_assert_eq(put(r, 5000, 1, 10, 9000), 0); /* 0 goes */
    cr_assert_eq(put(r, 0, 1, 30, 9001), 0);    /* 1 goes */
    kv_env_run(&e, 1010);
    cr_expect_eq(on_disk(0)->val_len, 12u + 146u);
    cr_expect_null(on_disk(1));
    close_it(r);
}

struct walk {
    uint32_t who[8];
    size_t n, most;
};

static bool on_peer(void *arg, const struct mesh_peer_entry *p)
{
    struct walk *w = arg;
    w->who[w->n++] = (uint32_t)p->id[0] << 8 | p->id[1];
    return w->n < w->most;
}

Test(mesh_remembered, names_the_best_to_dial_first)
{
    struct mesh_remembered *r = open_it();
    struct walk w = { .most = 8 };
    mesh_remembered_best(r, on_peer, &w);
    cr_expect_eq(w.n, 0u);
    static const uint64_t seen[] = { 0, 100, 300, 200, 900, 200 };
    for (uint32_t i = 5; i >= 1; i--)
        cr_assert_eq(put(r, i, 1, 10, seen[i]), 0);
    fail(r, 4);
    mesh_remembered_best(r, on_peer, &w);
    static const uint32_t want[] = { 2, 3, 5, 1, 4 };
    cr_assert_eq(w.n, 5u);
    cr_expect_arr_eq(w.who, want, sizeof want);
    w = (struct walk){ .most = 2 };
    mesh_remembered_best(r, on_peer, &w);
    cr_expect_eq(w.n, 2u);
    w = (struct walk){ .most = 8 };
    mesh_remembered_each(r, on_peer, &w);
    cr_expect_eq(w.n, 5u);
    cr_expect_eq(w.who[0], 5u, "in order of arrival");
    close_it(r);
}

Test(mesh_remembered, drops_what_does_not_parse)
{
    uint8_t key[33] = { 'p' }, val[12 + MESH_NODE_RECORD_MAX + 1] = { 0 };
    size_t len = envelope(val + 12, 1, 20);
    kv_env_put(&e, key, 33, val, 12 + len); /* good */
    key[1] = 1;
    kv_env_put(&e, key, 33, val, 11);
    key[1] = 2;
    kv_env_put(&e, key, 33, val, 12 + len - 1);
    key[1] = 3;
    kv_env_put(&e, key, 33, val, sizeof val);
    key[1] = 4;
    val[13] = MESH_RECORD_NAME;
    kv_env_put(&e, key, 33, val, 12 + len);
    kv_env_put(&e, "n", 1, val, 8);
    kv_env_put(&e, "nshort", 6, val, 7);
    kv_env_put(&e, "nlonger-than-15-b", 17, val, 8);
    struct mesh_remembered *r = open_it();
    cr_expect_eq(mesh_remembered_len(r), 1u);
    cr_expect_eq(mesh_remembered_bad_entries(r), 7u);
    cr_expect_eq(mesh_remembered_number(r, "short"), 0u);
    kv_env_run(&e, 1010);
    cr_expect_eq(e.n_entries, 1u + 3u, "bad peers go; what is not ours to judge stays");
    close_it(r);
}

Test(mesh_remembered, bounds_what_it_reads_from_a_store_that_grew)
{
    uint8_t key[33] = { 'p' }, val[12 + MESH_NODE_RECORD_MAX] = { 0 };
    size_t len = envelope(val + 12, 1, 1);
    for (uint32_t i = 0; i < MESH_REMEMBERED + 40; i++) {
        id_of(key + 1, i);
        val[6] = (uint8_t)(i >> 8);
        val[7] = (uint8_t)i; /* seen: later ids later; but the first 20 latest of all */
        val[5] = i < 20;
        kv_env_put(&e, key, 33, val, 12 + len);
    }
    struct mesh_remembered *r = open_it();
    cr_expect_eq(mesh_remembered_len(r), (size_t)MESH_REMEMBERED);
    cr_expect(get(r, 0) != NULL && get(r, 19) != NULL && get(r, 60) != NULL);
    cr_expect(get(r, 20) == NULL && get(r, 59) == NULL, "seen earliest");
    kv_env_run(&e, 1010);
    cr_expect_eq(e.n_entries, (size_t)MESH_REMEMBERED);
    close_it(r);
}

Test(mesh_remembered, says_why_the_store_cannot_be_opened)
{
    struct mesh_remembered *r = NULL;
    struct cyx_err err = { 0 };
    e.open_code = CYX_EBUSY;
    cr_expect_eq(mesh_remembered_open(&e.env, 1 << 20, &r, &err), CYX_EBUSY);
    cr_expect_null(r);
    cr_expect_str_eq(err.msg, "store peers: told to fail");
}

Test(mesh_remembered, a_number_reports_when_it_is_on_disk)
{
    struct mesh_remembered *r = open_it();
    cr_expect_eq(mesh_remembered_number(r, "seq"), 0u);
    mesh_remembered_set_number(r, "seq", 77, on_done, NULL);
    cr_expect_eq(mesh_remembered_number(r, "seq"), 77u);
    cr_expect_eq(n_done, 0u, "not inside the call");
    kv_env_run(&e, 3);
    cr_expect(n_done == 1 && last_code == 0);
    cr_expect_eq(kv_env_find(&e, "nseq", 4)->val[7], 77u);
    mesh_remembered_set_number(r, "seq", 78, NULL, NULL);
    mesh_remembered_set_number(r, "t", UINT64_MAX, on_done, NULL);
    close_it(r);
    cr_expect_eq(n_done, 2u);
    r = open_it();
    cr_expect_eq(mesh_remembered_number(r, "seq"), 78u);
    cr_expect_eq(mesh_remembered_number(r, "t"), UINT64_MAX);
    close_it(r);
}

Test(mesh_remembered, a_number_that_failed_is_written_with_the_next_flush)
{
    struct mesh_remembered *r = open_it();
    e.disk_code = CYX_ENOSPC;
    mesh_remembered_set_number(r, "seq", 5, on_done, NULL);
    kv_env_run(&e, 3);
    cr_expect(n_done == 1 && last_code == CYX_ENOSPC);
    cr_expect_eq(mesh_remembered_write_errors(r), 1u);
    kv_env_run(&e, 2000);
    e.disk_code = 0;
    kv_env_run(&e, 1010);
    cr_assert_not_null(kv_env_find(&e, "nseq", 4));
    cr_expect_eq(n_done, 1u);
    close_it(r);
}

Test(mesh_remembered, closing_waits_for_what_is_under_way_and_writes_the_rest)
{
    struct mesh_remembered *r = open_it();
    cr_assert_eq(put(r, 1, 1, 10, 1000), 0);
    kv_env_run(&e, 1001); /* a commit is under way */
    cr_assert_eq(put(r, 2, 1, 10, 1000), 0);
    mesh_remembered_set_number(r, "seq", 5, on_done, NULL);
    close_it(r);
    cr_expect_eq(e.n_entries, 3u);
    cr_expect_eq(n_done, 1u);
}

Test(mesh_remembered, closing_ends_even_if_the_disk_is_full)
{
    struct mesh_remembered *r = open_it();
    e.disk_code = CYX_ENOSPC;
    cr_assert_eq(put(r, 1, 1, 10, 1000), 0);
    close_it(r);
    r = open_it();
    e.no_memory = true;
    cr_assert_eq(put(r, 1, 1, 10, 1000), 0);
    close_it(r);
    cr_expect_eq(e.n_entries, 0u);
}

Test(mesh_remembered, can_be_closed_in_a_crashed_environment)
{
    struct mesh_remembered *r = open_it();
    cr_assert_eq(put(r, 1, 1, 10, 1000), 0);
    e.is_dead = true;
    mesh_remembered_close(r, NULL, NULL);
    cr_expect_eq(e.n_open, 0u, "at once");

    e.is_dead = false;
    r = open_it();
    cr_assert_eq(put(r, 1, 1, 10, 1000), 0);
    kv_env_run(&e, 1001); /* a commit is under way */
    mesh_remembered_set_number(r, "seq", 5, on_done, NULL);
    cr_assert_eq(put(r, 2, 1, 10, 1000), 0);
    e.is_dead = true;
    mesh_remembered_close(r, NULL, NULL);
    kv_env_run(&e, 5);
    cr_expect_eq(e.n_open, 0u, "once all was reported");
    cr_expect(n_done == 1 && last_code == CYX_ECANCELED);
}
