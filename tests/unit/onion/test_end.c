/* Lookups and stores at the end of a path. Node 0 asks, nodes 1 to 4 are relays with a DHT; the
 * path goes over 1 and 2 and ends at 3. */
#include <stdlib.h>

#include "base/mp.h"
#include "dht/roster.h"
#include "relay_rig.h"
#include "tests/unit/dht/made.h"

enum { END = 3, RELAYS = 4, ANSWERS = 256 };

static struct relays r;
static struct client_path path;
static struct made made;
static struct mesh_inbox_pool *pool;
static struct mesh_inbox *inbox;
static unsigned n_taken; /* cells of path.got that were looked at */

struct answer {
    uint32_t id;
    uint8_t *data;
    struct mp_doc doc;
    uint64_t status;
    const msgpack_object *items;
    unsigned n;
};
static struct answer answers[ANSWERS];
static unsigned n_answers;

static void end(void)
{
    for (unsigned i = 0; i < n_answers; i++) {
        mp_doc_fini(&answers[i].doc);
        free(answers[i].data);
    }
    mesh_inbox_destroy(inbox);
    mesh_inbox_pool_destroy(pool);
    client_forget(&path);
    relays_fini(&r);
}

static void start(void)
{
    relays_init(&r, RELAYS, true);
    path.at = &r.at[0];
    made = made_start();
    made.net = r.few.node[0].config.network;
    pool = mesh_inbox_pool_create(1 << 20);
    inbox = mesh_inbox_create(pool, ONION_MSG_FRAGMENT, 0);
    cr_assert(pool != NULL && inbox != NULL);
    const struct client_spec s = client_to_end(1, 3);
    client_open(&r, 0, &path, &s);
}

TestSuite(onion_end, .init = start, .fini = end);

static const struct onion_end *the_end(void)
{
    return r.at[END].relay->end;
}

static uint64_t now(void)
{
    return mesh_time(r.few.node[0].mesh);
}

/* ---- asking -------------------------------------------------------------------------------------
 */

static void take(const struct mesh_message *m)
{
    struct answer *a = &answers[n_answers++];
    cr_assert_lt(n_answers, (unsigned)ANSWERS);
    cr_assert_eq(m->kind, MESH_MSG_RESPONSE);
    a->id = m->id;
    a->data = m->data;
    cr_assert_eq(mp_parse(&a->doc, m->data, m->len, &mp_wire_rules), DROP_NONE);
    cr_assert_eq(a->doc.root.type, MSGPACK_OBJECT_ARRAY);
    cr_assert(mp_u64(&a->doc.root.via.array.ptr[0], &a->status));
    a->items = a->doc.root.via.array.ptr + 1;
    a->n = a->doc.root.via.array.size - 1;
}

static void run_ms(uint64_t ms)
{
    relays_run_ms(&r, ms);
    for (; n_taken < path.n_got; n_taken++) {
        struct mesh_frame_msg f;
        struct mesh_message m = { 0 };
        if (path.got[n_taken % RELAYS_GOT].c.command != ONION_CELL_MSG)
            continue;
        client_msg_read(&f, &path.got[n_taken % RELAYS_GOT].c);
        (void)mesh_inbox_fragment(inbox, &f, sim_now(r.few.world), 0, &m);
        if (m.data != NULL)
            take(&m);
    }
}

static void send_fragment(uint8_t kind, uint32_t id, unsigned index, const uint8_t *data,
                          size_t len)
{
    uint8_t buf[ONION_PAYLOAD];
    struct onion_cell c;
    size_t from = (size_t)index * ONION_MSG_FRAGMENT;
    size_t n = len - from < ONION_MSG_FRAGMENT ? len - from : ONION_MSG_FRAGMENT;
    const struct mesh_frame_msg f = {
        .kind = kind,
        .id = id,
        .index = (uint8_t)index,
        .count = (uint8_t)((len + ONION_MSG_FRAGMENT - 1) / ONION_MSG_FRAGMENT),
        .len = (uint16_t)n,
        .data = data + from,
    };
    client_msg_write(&c, buf, &f);
    client_send(&path, &c);
}

static void send_request(uint32_t id, const uint8_t *data, size_t len)
{
    for (unsigned i = 0; i * (size_t)ONION_MSG_FRAGMENT < len; i++)
        send_fragment(MESH_MSG_REQUEST, id, i, data, len);
}

struct request {
    uint8_t data[DHT_DESCRIPTOR_MAX + 64];
    struct writer w;
    msgpack_packer pk;
};

static void begin(struct request *q, unsigned method, unsigned n_items)
{
    q->w = writer_on(q->data, sizeof q->data);
    mp_packer(&q->pk, &q->w);
    msgpack_pack_array(&q->pk, 1 + n_items);
    msgpack_pack_unsigned_int(&q->pk, method);
}

static void say(const struct request *q, uint32_t id)
{
    send_request(id, q->data, writer_len(&q->w));
}

static void ask_find(uint32_t id, const uint8_t key[32], unsigned type)
{
    struct request q;
    begin(&q, MESH_METHOD_FIND, 3);
    mp_pack_bin(&q.pk, key, 32);
    msgpack_pack_unsigned_int(&q.pk, type);
    msgpack_pack_unsigned_int(&q.pk, 16);
    say(&q, id);
}

static void ask_store(uint32_t id, const uint8_t *record, size_t len)
{
    struct request q;
    begin(&q, MESH_METHOD_STORE, 1);
    mp_pack_bin(&q.pk, record, len);
    say(&q, id);
}

static const struct answer *answer_of(uint32_t id)
{
    for (unsigned i = 0; i < n_answers; i++)
        if (answers[i].id == id)
            return &answers[i];
    cr_assert_fail("no answer to %u", id);
    return NULL;
}

static void expect_status(uint32_t id, enum mesh_rpc_status status)
{
    const struct answer *a = answer_of(id);
    cr_expect_eq(a->status, status, "%u: %lu", id, (unsigned long)a->status);
}

static size_t descriptor(uint8_t out[static DHT_DESCRIPTOR_MAX], size_t len,
                         uint8_t place[static 32])
{
    struct dht_descriptor d = made_descriptor(&made, len);
    struct dht_value v;
    d.period = dht_period(now());
    made_delegate(&made, &d);
    int n = dht_descriptor_build(&d, &made.net, made.d.sk, out);
    cr_assert_eq((size_t)n, len);
    cr_assert_eq(dht_value_parse(&v, &made.net, now(), out, len), DROP_NONE);
    memcpy(place, v.places[0], 32);
    return len;
}

/* ---- lookups and stores
 * -------------------------------------------------------------------------- */

Test(onion_end, stores_a_record_and_hands_it_back)
{
    uint8_t record[DHT_DESCRIPTOR_MAX], place[32];
    size_t len = descriptor(record, 8192, place);
    ask_store(1, record, len);
    run_ms(3000);
    expect_status(1, MESH_RPC_OK);
    ask_find(2, place, MESH_RECORD_DESCRIPTOR);
    run_ms(3000);
    const uint8_t *got;
    size_t got_len;
    expect_status(2, MESH_RPC_OK);
    cr_assert_eq(answer_of(2)->n, 1u);
    cr_assert(mp_bin_any(&answer_of(2)->items[0], &got, &got_len));
    cr_assert_eq(got_len, len);
    cr_expect_arr_eq(got, record, len);
    cr_expect_eq(path.n_noise, 0u);
}

Test(onion_end, says_that_nobody_has_it)
{
    ask_find(1, (const uint8_t[32]){ 1 }, MESH_RECORD_DESCRIPTOR);
    run_ms(5000);
    expect_status(1, MESH_RPC_NOT_FOUND);
    cr_expect_eq(answer_of(1)->n, 0u);
}

Test(onion_end, finds_nodes_with_their_records)
{
    ask_find(1, r.few.node[4].identity->id, 0);
    run_ms(5000);
    expect_status(1, MESH_RPC_OK);
    cr_assert_geq(answer_of(1)->n, 1u);
    struct mesh_node node;
    const uint8_t *record;
    size_t len;
    cr_assert(mp_bin_any(&answer_of(1)->items[0], &record, &len));
    cr_assert_eq(mesh_node_record_open(&node, &made.net, now(), record, len), DROP_NONE);
    cr_expect_arr_eq(node.id, r.few.node[4].identity->id, 32);
}

Test(onion_end, refuses_a_record_that_fails_its_checks)
{
    uint8_t record[DHT_DESCRIPTOR_MAX], place[32];
    size_t len = descriptor(record, 2048, place);
    record[len - 1] ^= 1;
    ask_store(1, record, len);
    run_ms(2000);
    expect_status(1, MESH_RPC_REFUSED);
}

Test(onion_end, tells_the_roster_as_a_link_would)
{
    struct request q;
    const uint8_t *p;
    size_t len;
    begin(&q, MESH_METHOD_DIGEST, 0);
    say(&q, 1);
    begin(&q, MESH_METHOD_LIST, 1);
    msgpack_pack_unsigned_int(&q.pk, r.few.node[4].identity->id[0]);
    say(&q, 2);
    begin(&q, MESH_METHOD_RECORDS, 1);
    mp_pack_bin(&q.pk, r.few.node[4].identity->id, 32);
    say(&q, 3);
    run_ms(1000);
    expect_status(1, MESH_RPC_OK);
    cr_assert_eq(answer_of(1)->n, 1u);
    cr_assert(mp_bin_any(&answer_of(1)->items[0], &p, &len));
    cr_expect_eq(len, (size_t)DHT_ROSTER_DIGEST);
    expect_status(2, MESH_RPC_OK);
    cr_assert_geq(answer_of(2)->n, 1u);
    cr_expect_eq(answer_of(2)->items[0].type, MSGPACK_OBJECT_ARRAY);
    expect_status(3, MESH_RPC_OK);
    cr_assert_eq(answer_of(3)->n, 1u);
    struct mesh_node node;
    cr_assert(mp_bin_any(&answer_of(3)->items[0], &p, &len));
    cr_assert_eq(mesh_node_record_open(&node, &made.net, now(), p, len), DROP_NONE);
    cr_expect_arr_eq(node.id, r.few.node[4].identity->id, 32);
}

Test(onion_end, does_nothing_else_for_anybody)
{
    static const unsigned methods[] = { 0, MESH_METHOD_HELLO, 7, MESH_METHOD_CALL, 99 };
    struct request q;
    uint32_t id = 0;
    for (unsigned i = 0; i < 5; i++) {
        begin(&q, methods[i], 0);
        say(&q, ++id);
    }
    send_request(++id, (const uint8_t *)"\xc1", 1);      /* no MessagePack */
    send_request(++id, (const uint8_t *)"\x90", 1);      /* nothing in it */
    send_request(++id, (const uint8_t *)"\x91\xa1x", 3); /* a method with a name */
    begin(&q, MESH_METHOD_FIND, 0);
    say(&q, ++id);
    begin(&q, MESH_METHOD_STORE, 0);
    run_ms(500); /* eight at a time is for what takes time; these are answered at once */
    say(&q, ++id);
    run_ms(1000);
    for (uint32_t i = 1; i <= id; i++)
        expect_status(i, MESH_RPC_BAD);
    ask_find(50, (const uint8_t[32]){ 1 }, 77);
    run_ms(500);
    expect_status(50, MESH_RPC_BAD); /* no such type */
}

/* ---- fragments ----------------------------------------------------------------------------------
 */

Test(onion_end, asks_again_for_fragments_that_were_lost)
{
    uint8_t record[DHT_DESCRIPTOR_MAX], place[32];
    struct request q;
    size_t len = descriptor(record, 8192, place);
    begin(&q, MESH_METHOD_STORE, 1);
    mp_pack_bin(&q.pk, record, len);
    size_t all = writer_len(&q.w);
    for (unsigned i = 0; i * (size_t)ONION_MSG_FRAGMENT < all; i++)
        if (i != 2 && i != 5)
            send_fragment(MESH_MSG_REQUEST, 1, i, q.data, all);
    run_ms(200);
    const struct client_got *g = client_last(&path, ONION_CELL_RESEND);
    cr_assert_not_null(g);
    struct mesh_frame_resend f;
    client_resend_read(&f, &g->c);
    cr_expect_eq(f.id, 1u);
    cr_expect_eq(f.missing[0], 0x24);
    send_fragment(MESH_MSG_REQUEST, 1, 2, q.data, all);
    send_fragment(MESH_MSG_REQUEST, 1, 5, q.data, all);
    run_ms(3000);
    expect_status(1, MESH_RPC_OK);
}

Test(onion_end, sends_fragments_of_its_answer_again)
{
    uint8_t buf[ONION_PAYLOAD];
    struct onion_cell c;
    struct request q;
    begin(&q, MESH_METHOD_DIGEST, 0);
    say(&q, 1);
    run_ms(300);
    unsigned before = client_count(&path, ONION_CELL_MSG);
    cr_assert_eq(before, 2u);
    client_resend_write(
        &c, buf,
        &(struct mesh_frame_resend){ .kind = MESH_MSG_RESPONSE, .id = 1, .missing = { 0x40 } });
    client_send(&path, &c);
    run_ms(300);
    cr_assert_eq(client_count(&path, ONION_CELL_MSG), before + 1);
    struct mesh_frame_msg f;
    client_msg_read(&f, &client_last(&path, ONION_CELL_MSG)->c);
    cr_expect_eq(f.index, 1);
    run_ms(3000); /* it is kept for two seconds */
    client_send(&path, &c);
    run_ms(300);
    cr_expect_eq(client_count(&path, ONION_CELL_MSG), before + 1);
    cr_expect_eq(the_end()->n.fragments_dropped[DROP_UNKNOWN], 1u);
}

Test(onion_end, answers_a_request_that_comes_again_without_doing_it_again)
{
    struct request q;
    begin(&q, MESH_METHOD_DIGEST, 0);
    say(&q, 1);
    run_ms(300);
    say(&q, 1);
    run_ms(300);
    cr_expect_eq(client_count(&path, ONION_CELL_MSG), 4u);
    cr_expect_eq(the_end()->n.rosters, 1u);
    cr_expect_eq(the_end()->n.answers_again, 1u);
}

Test(onion_end, drops_what_is_no_request)
{
    send_fragment(MESH_MSG_RESPONSE, 1, 0, (const uint8_t *)"x", 1);
    send_fragment(MESH_MSG_BUILD, 1, 0, (const uint8_t *)"x", 1);
    client_send_text(&path, ONION_CELL_MSG, "\x01short");
    client_send_text(&path, ONION_CELL_RESEND, "short");
    client_send_text(&path, ONION_CELL_DATA, "for pivots");
    run_ms(500);
    cr_expect_eq(n_answers, 0u);
    cr_expect_eq(the_end()->n.fragments_dropped[DROP_TYPE], 2u);
    cr_expect_eq(the_end()->n.fragments_dropped[DROP_SHORT], 2u);
    cr_expect_eq(r.at[END].relay->n.cells_dropped[CELL_DROP_COMMAND], 1u);
}

/* ---- bounds -------------------------------------------------------------------------------------
 */

Test(onion_end, runs_eight_requests_of_a_path_at_once)
{
    for (uint32_t i = 1; i <= ONION_ASKS_PATH + 2; i++)
        ask_find(i, (const uint8_t[32]){ (uint8_t)i }, MESH_RECORD_DESCRIPTOR);
    run_ms(8000);
    cr_expect_eq(the_end()->n.refused[END_REFUSED_FLIGHT], 2u);
    for (uint32_t i = 1; i <= ONION_ASKS_PATH + 2; i++)
        expect_status(i, i <= ONION_ASKS_PATH ? MESH_RPC_NOT_FOUND : MESH_RPC_BUSY);
    cr_expect_eq(end__asks(the_end()), 0u);
}

Test(onion_end, takes_a_hundred_requests_a_minute_and_ten_stores)
{
    struct request q;
    uint8_t record[DHT_DESCRIPTOR_MAX], place[32];
    size_t len = descriptor(record, 2048, place);
    uint32_t id = 0;
    for (unsigned i = 0; i < ONION_STORES_MINUTE; i++) {
        ask_store(++id, record, len);
        run_ms(300);
    }
    ask_store(++id, record, len);
    run_ms(300);
    cr_expect_eq(the_end()->n.refused[END_REFUSED_MINUTE], 1u);
    expect_status(id, MESH_RPC_BUSY);
    begin(&q, MESH_METHOD_LIST, 1);
    msgpack_pack_unsigned_int(&q.pk, 0);
    while (id < ONION_ASKS_MINUTE) {
        say(&q, ++id);
        run_ms(10);
    }
    run_ms(300);
    expect_status(id, MESH_RPC_OK);
    say(&q, ++id);
    run_ms(300);
    expect_status(id, MESH_RPC_BUSY);
    cr_expect_eq(the_end()->n.refused[END_REFUSED_MINUTE], 2u);
    run_ms(60000);
    say(&q, ++id);
    run_ms(300);
    expect_status(id, MESH_RPC_OK);
}

static void drain(void *arg)
{
    struct onion_share *s = arg;
    while (onion_share_take(s, 1, 1, env_now_ns(mesh_env(r.few.node[END].mesh))))
        ;
    while (onion_share_take(s, 2, 2, env_now_ns(mesh_env(r.few.node[END].mesh))))
        ;
}

Test(onion_end, runs_so_many_lookups_and_stores_of_all_paths_in_a_second)
{
    uint8_t record[DHT_DESCRIPTOR_MAX], place[32];
    size_t len = descriptor(record, 2048, place);
    struct end_path *p = container_of(the_end()->paths.next, struct end_path, of_end);
    p->link = 1; /* one of those who drain it */
    ask_find(1, place, MESH_RECORD_DESCRIPTOR);
    ask_store(2, record, len);
    relays_run_ms(&r, 25);
    few_in(r.at[END].few, drain, the_end()->finds);
    few_in(r.at[END].few, drain, the_end()->stores);
    run_ms(3000);
    expect_status(1, MESH_RPC_BUSY);
    expect_status(2, MESH_RPC_BUSY);
    cr_expect_eq(the_end()->n.refused[END_REFUSED_ALL], 2u);
    ask_store(3, record, len);
    run_ms(3000);
    expect_status(3, MESH_RPC_OK);
}

/* ---- the path ends meanwhile
 * --------------------------------------------------------------------- */

/* Of as many paths as it takes: each would have a pool's share like these. */
static void fill_pool(void *arg)
{
    enum { PATHS = ONION_END_INBOX_BYTES / MESH_INBOX_BYTES + 2, PARTS = 52 };
    static const uint8_t zero[ONION_MSG_FRAGMENT];
    struct mesh_inbox_pool *all = arg;
    struct mesh_inbox *in[PATHS];
    struct mesh_message none = { 0 };
    uint64_t lost = 0;
    for (unsigned k = 0; k < PATHS; k++) {
        in[k] = mesh_inbox_create(all, ONION_MSG_FRAGMENT, 100 + k);
        for (unsigned i = 0; i < 7 * PARTS; i++) {
            const struct mesh_frame_msg f = { .kind = MESH_MSG_REQUEST,
                                              .id = i / PARTS,
                                              .index = (uint8_t)(i % PARTS),
                                              .count = PARTS + 1,
                                              .len = ONION_MSG_FRAGMENT,
                                              .data = zero };
            cr_assert_eq(mesh_inbox_fragment(in[k], &f, k, 0, &none), DROP_NONE);
            cr_assert_leq(mesh_inbox_pool_bytes(all), (size_t)ONION_END_INBOX_BYTES);
        }
    }
    cr_expect_gt(mesh_inbox_pool_bytes(all), (size_t)ONION_END_INBOX_BYTES - 2 * MESH_MSG_MAX);
    for (unsigned k = 0; k < PATHS; k++) {
        lost += mesh_inbox_lost(in[k]);
        mesh_inbox_destroy(in[k]);
    }
    cr_expect_gt(lost, 0u);
}

Test(onion_end, requests_of_all_paths_together_hold_no_more_than_4_mib)
{
    few_in(r.at[END].few, fill_pool, the_end()->pool);
    ask_find(1, made.self.pk, MESH_RECORD_PROVIDER);
    run_ms(10000);
    expect_status(1, MESH_RPC_NOT_FOUND);
}

Test(onion_end, takes_lookups_back_and_lets_stores_end_by_themselves)
{
    uint8_t record[DHT_DESCRIPTOR_MAX], place[32];
    size_t len = descriptor(record, 2048, place);
    ask_find(1, (const uint8_t[32]){ 9 }, MESH_RECORD_DESCRIPTOR);
    ask_store(2, record, len);
    run_ms(35); /* on their way */
    cr_assert_eq(end__asks(the_end()), 2u);
    client_destroy(&path);
    run_ms(10000);
    cr_expect_eq(end__asks(the_end()), 0u);
    cr_expect(list_empty(&the_end()->paths));
}

Test(onion_end, may_be_destroyed_while_it_is_asked)
{
    uint8_t record[DHT_DESCRIPTOR_MAX], place[32];
    size_t len = descriptor(record, 2048, place);
    ask_find(1, (const uint8_t[32]){ 9 }, MESH_RECORD_DESCRIPTOR);
    ask_store(2, record, len);
    run_ms(35);
    cr_assert_eq(end__asks(the_end()), 2u);
    sim_node_crash(r.few.node[END].sim);
    run_ms(1000);
}

static unsigned n_metrics;
static uint64_t n_ok;

static void count(void *arg, const struct metric *m)
{
    (void)arg;
    cr_expect_not_null(m->name);
    cr_expect_not_null(m->help);
    n_metrics++;
    if (strcmp(m->name, "cyx_onion_build_status_total") == 0 && strcmp(m->value_of_label, "0") == 0)
        n_ok = m->value;
}

Test(onion_end, and_all_of_a_relay_can_be_seen)
{
    struct onion_relay_stats s;
    onion_relay_metrics(r.at[END].relay, count, NULL);
    cr_expect_gt(n_metrics, 80u);
    cr_expect_eq(n_ok, 1u);
    onion_relay_get_stats(r.at[END].relay, &s);
    cr_expect_eq(s.ends, 1u);
    onion_relay_get_stats(r.at[1].relay, &s);
    cr_expect_eq(s.open, 1u);
}
