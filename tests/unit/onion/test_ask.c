/* Lookups and stores over paths: ENDs that lie, hide, are silent or go; paths that serve one
 * purpose for ever; bounds. Answers of ENDs are put in the asker's way, ahead of the true ones. */
#include "base/mp.h"
#include "base/writer.h"
#include "guest.h"
#include "onion/ask_internal.h"
#include "onion/path_internal.h"
#include "onion/service_internal.h"

enum { RELAYS = 8, SERVICE = 8, USER = 9, MANY = 40 };

static struct towns t;
static struct inn inn;

/* What became of a question. */
struct asked {
    struct onion_ask *ask;
    unsigned done;
    int code, err;
    size_t n;
    uint8_t tag;
    uint8_t key[2][DHT_ID];
};

static void start(void)
{
    towns_init(&t, RELAYS, 2, 1, NULL);
    inn_open(&inn, &t, SERVICE);
    inn_wait(&inn, 20000);
}

static void end(void)
{
    towns_fini(&t);
}

TestSuite(onion_ask, .init = start, .fini = end);

static struct onion_asks *asks(void)
{
    return t.at[USER].onion->asks;
}

static void found(void *arg, int code, const struct onion_answer_found *f)
{
    struct asked *a = arg;
    a->done++;
    a->code = code;
    a->n = f->n;
    a->ask = NULL;
}

static void stored(void *arg, int code)
{
    struct asked *a = arg;
    a->done++;
    a->code = code;
    a->ask = NULL;
}

static const struct service_period *period(void)
{
    return &inn.s->periods[0];
}

static void places(struct asked *a)
{
    for (uint8_t i = 0; i < 2; i++)
        dht_descriptor_place(a->key[i], mesh_network_of(t.few.node[USER].mesh),
                             period()->delegations->list[0].blinded, period()->period, i);
}

static void begin_find(void *arg)
{
    struct asked *a = arg;
    struct onion_purpose why = { { a->tag } };
    struct cyx_err err = { 0 };
    a->ask = onion_ask_find(asks(), &why, (const uint8_t(*)[DHT_ID])a->key, 2,
                            MESH_RECORD_DESCRIPTOR, found, a, &err);
    a->err = a->ask == NULL ? err.code : 0;
}

static void find(struct asked *a, uint8_t tag)
{
    memset(a, 0, sizeof *a);
    a->tag = tag;
    places(a);
    few_in(&t.few.node[USER], begin_find, a);
}

static void begin_store(void *arg)
{
    struct asked *a = arg;
    struct onion_purpose why = { { a->tag } };
    a->ask = onion_ask_store(asks(), &why, period()->record, period()->record_len, stored, a, NULL);
}

static bool is_done(void *arg)
{
    const struct asked *a = arg;
    return a->done > 0;
}

/* ---- an END's answer, made up
 * --------------------------------------------------------------------
 */

struct lie {
    struct ask_leg *leg;
    unsigned status;
    const uint8_t *record;
    size_t len;
};

static void tell_lie(void *arg)
{
    static uint8_t buf[DHT_DESCRIPTOR_MAX + 64];
    const struct lie *l = arg;
    struct writer w = writer_on(buf, sizeof buf);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    msgpack_pack_array(&pk, l->record != NULL ? 2 : 1);
    msgpack_pack_uint32(&pk, l->status);
    if (l->record != NULL)
        mp_pack_bin(&pk, l->record, l->len);
    const struct mesh_message m = {
        .kind = MESH_MSG_RESPONSE, .id = l->leg->id, .data = buf, .len = writer_len(&w)
    };
    cr_assert_not_null(l->leg->on, "it was asked");
    ask__heard(l->leg->on, &m);
}

static void lie(struct asked *a, unsigned leg, unsigned status)
{
    struct lie l = { .leg = &a->ask->legs[leg], .status = status };
    few_in(&t.few.node[USER], tell_lie, &l);
}

static void lose_path(void *arg)
{
    struct ask_leg *l = arg;
    path__end(l->on->path, ONION_PATH_DESTROYED);
}

/* No END twice. */
static void expect_different(const struct onion_ask *k)
{
    for (unsigned i = 0; i < k->n_ends; i++)
        for (unsigned j = 0; j < i; j++)
            cr_expect(memcmp(k->ends[i], k->ends[j], 32) != 0, "END %u is END %u again", i, j);
}

/* ---- lookups ------------------------------------------------------------------------------------
 */

Test(onion_ask, finds_a_descriptor_over_two_paths_to_two_ends)
{
    static struct asked a;
    find(&a, 1);
    cr_assert_not_null(a.ask);
    cr_assert(a.ask->legs[0].on != NULL && a.ask->legs[1].on != NULL, "both stand ready");
    cr_expect_neq(a.ask->legs[0].on, a.ask->legs[1].on);
    expect_different(a.ask);
    cr_assert(towns_until(&t, 3000, is_done, &a));
    cr_expect_eq(a.code, 0);
    cr_expect_eq(a.n, 1u);
}

Test(onion_ask, an_end_that_hides_the_record_is_outdone_by_the_other)
{
    static struct asked a;
    find(&a, 1);
    lie(&a, 0, MESH_RPC_NOT_FOUND);
    cr_assert(towns_until(&t, 3000, is_done, &a));
    cr_expect_eq(a.code, 0);
    cr_expect_eq(a.n, 1u);
}

Test(onion_ask, who_hid_it_is_not_asked_again_when_the_others_path_is_lost)
{
    static struct asked a;
    find(&a, 1);
    lie(&a, 0, MESH_RPC_NOT_FOUND);
    few_in(&t.few.node[USER], lose_path, &a.ask->legs[1]);
    for (unsigned ms = 0; ms < 5000 && a.done == 0; ms++) {
        towns_run_ms(&t, 1);
        if (a.done == 0)
            expect_different(a.ask);
    }
    cr_expect_eq(a.code, 0, "%d", a.code);
    cr_expect_eq(a.n, 1u);
}

Test(onion_ask, junk_is_no_answer_and_another_end_is_asked)
{
    static struct asked a;
    find(&a, 1);
    struct lie l = { .leg = &a.ask->legs[0], .record = (const uint8_t *)"junk", .len = 4 };
    few_in(&t.few.node[USER], tell_lie, &l);
    cr_expect(a.ask->legs[0].is_waiting || a.ask->legs[0].tries == 2, "it goes elsewhere");
    cr_expect_eq(asks()->c.values_refused, 1u);
    cr_assert(towns_until(&t, 3000, is_done, &a));
    cr_expect_eq(a.code, 0);
}

Test(onion_ask, all_that_say_no_make_a_no)
{
    static struct asked a;
    find(&a, 1);
    lie(&a, 0, MESH_RPC_NOT_FOUND);
    lie(&a, 1, MESH_RPC_NOT_FOUND);
    cr_assert(towns_until(&t, 1000, is_done, &a));
    cr_expect_eq(a.code, CYX_ENOENT);
}

static void be_thorough(void *arg)
{
    struct asked *a = arg;
    onion_ask_thoroughly(a->ask);
}

Test(onion_ask, a_thorough_one_waits_for_the_slower_end)
{
    static struct asked a;
    find(&a, 1);
    few_in(&t.few.node[USER], be_thorough, &a);
    struct lie l = { .leg = &a.ask->legs[0],
                     .record = period()->record,
                     .len = period()->record_len };
    few_in(&t.few.node[USER], tell_lie, &l);
    cr_expect(!a.ask->is_waiting_second);
    cr_assert(towns_until(&t, 3000, is_done, &a));
    cr_expect_eq(a.code, 0);
}

Test(onion_ask, a_network_that_is_gone_is_told_within_the_time_for_a_question)
{
    static struct asked a;
    sim_node_set_group(t.few.node[USER].sim, 7);
    find(&a, 1);
    cr_assert(towns_until(&t, ONION_ASK_TOTAL_MS + 100, is_done, &a));
    cr_expect(a.code == CYX_ETIMEDOUT || a.code == CYX_EAGAIN, "%d", a.code);
}

/* ---- paths and purposes
 * --------------------------------------------------------------------------
 */

static const struct ask_path *path_of(const struct onion_purpose *why)
{
    list_each (node, &asks()->paths) {
        const struct ask_path *p = container_of(node, struct ask_path, node);
        if (p->is_taken && memcmp(&p->why, why, sizeof *why) == 0)
            return p;
    }
    return NULL;
}

Test(onion_ask, purposes_never_share_a_path_and_one_keeps_its_own)
{
    static struct asked a, b;
    const struct onion_purpose one = { { 1 } };
    find(&a, 1);
    cr_assert(towns_until(&t, 3000, is_done, &a));
    const struct ask_path *p = path_of(&one);
    size_t before = asks()->n_paths;
    find(&b, 2);
    for (unsigned i = 0; i < 2; i++)
        cr_expect(b.ask->legs[i].on == NULL || b.ask->legs[i].on->why.tag[0] == 2);
    cr_assert(towns_until(&t, 3000, is_done, &b));
    cr_expect_eq(path_of(&one), p);
    cr_expect_geq(asks()->n_paths, before);
    find(&a, 1);
    cr_expect(a.ask->legs[0].on == p || a.ask->legs[1].on == p, "its own path serves it again");
}

Test(onion_ask, more_purposes_than_paths_make_the_idlest_go)
{
    static struct asked a[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        find(&a[i], (uint8_t)(i + 1));
        cr_assert(towns_until(&t, 3000, is_done, &a[i]), "purpose %u waits", i);
        cr_expect_eq(a[i].code, 0);
        cr_expect_leq(asks()->n_paths, (size_t)ONION_ASK_PATHS);
    }
}

Test(onion_ask, no_more_than_so_many_wait_and_each_is_told)
{
    static struct asked a[ONION_ASKS_MAX + 1];
    for (unsigned i = 0; i <= ONION_ASKS_MAX; i++)
        find(&a[i], (uint8_t)(i % 8 + 1));
    cr_expect_eq(a[ONION_ASKS_MAX].err, CYX_EFULL);
    towns_run_ms(&t, ONION_ASK_TOTAL_MS + 100);
    for (unsigned i = 0; i < ONION_ASKS_MAX; i++)
        cr_expect_eq(a[i].done, 1u, "question %u", i);
    cr_expect_eq(asks()->n_all, 0u);
}

static void cancel(void *arg)
{
    struct asked *a = arg;
    onion_ask_cancel(a->ask);
}

Test(onion_ask, one_that_is_cancelled_is_never_heard_of)
{
    static struct asked a;
    find(&a, 1);
    few_in(&t.few.node[USER], cancel, &a);
    towns_run_ms(&t, 3000);
    cr_expect_eq(a.done, 0u);
    cr_expect_eq(asks()->n_all, 0u);
}

/* ---- stores
 * -------------------------------------------------------------------------------------- */

Test(onion_ask, a_store_hears_what_the_end_says)
{
    static struct asked a, b, c;
    a.tag = b.tag = c.tag = 1;
    few_in(&t.few.node[USER], begin_store, &a);
    cr_assert(towns_until(&t, 5000, is_done, &a));
    cr_expect(a.code == 0 || a.code == CYX_EEXIST, "%d", a.code);
    few_in(&t.few.node[USER], begin_store, &b);
    lie(&b, 0, MESH_RPC_STALE);
    cr_assert(towns_until(&t, 1000, is_done, &b));
    cr_expect_eq(b.code, CYX_EEXIST);
    few_in(&t.few.node[USER], begin_store, &c);
    for (unsigned i = 0; i < ONION_ASK_TRIES; i++) {
        for (unsigned ms = 0; ms < 5000 && c.ask->legs[0].on == NULL; ms++)
            towns_run_ms(&t, 1);
        lie(&c, 0, MESH_RPC_BUSY);
    }
    cr_assert(towns_until(&t, 1000, is_done, &c));
    cr_expect_eq(c.code, CYX_EIO);
}
