/* Who is believed to be whom; our own record and its keys over time. */
#include "base/mp.h"
#include "few.h"

/* A network without a lab's ease, in which nobody has an address by itself: HELLO says nil. */
static struct few_node *add_strict(struct few *f, bool has_record)
{
    struct few_node *n = few_add(f, (uint8_t)f->n);
    cr_assert_eq(mesh_network_init(&n->config.network, "strict", 1, false, NULL), 0);
    if (has_record) {
        n->config.advertise[0] = n->contact.addr;
        n->config.n_advertise = 1;
    }
    return n;
}

/* Answers HELLO with another node's record. */
static void serve_lie(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct few_node *robbed = arg;
    uint8_t record[MESH_NODE_RECORD_MAX], buf[MESH_NODE_RECORD_MAX + 8];
    size_t len = mesh_own_record(robbed->mesh, record);
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    (void)items;
    (void)n;
    cr_assert_gt(len, 0u);
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, record, len);
    mesh_reply(rq, MESH_RPC_OK, &(struct mesh_items){ .data = buf, .len = writer_len(&w), .n = 1 });
}

struct cast {
    struct few f;
    struct few_node *honest, *liar, *robbed;
};

static void cast_init(struct cast *c)
{
    few_init(&c->f, 1, NULL);
    c->honest = add_strict(&c->f, true);
    c->liar = add_strict(&c->f, false);
    c->robbed = add_strict(&c->f, true);
    for (unsigned i = 0; i < 3; i++)
        few_boot(&c->f.node[i]);
    few_run_ms(&c->f, 100);
    cr_assert_eq(mesh_serve(c->liar->mesh, MESH_METHOD_HELLO, serve_lie, c->robbed), 0);
}

Test(mesh_hello, a_record_that_names_anothers_link_key_earns_no_id)
{
    struct cast c;
    cast_init(&c);
    cr_assert_not_null(few_dial(c.liar, c.honest));
    few_run_ms(&c.f, 1000);
    struct mesh_link *l = few_link(c.honest, c.liar);
    cr_assert_not_null(l);
    cr_expect_not(l->has_id);
    cr_expect_null(mesh_link_by_id(c.honest->mesh, c.robbed->identity->id));
    cr_expect_eq(few_drops(c.honest, MESH_FULL, DROP_KEY), 1u);
    cr_expect_eq(mesh_remembered_len(c.honest->mesh->remembered), 0u);
    few_fini(&c.f);
}

Test(mesh_hello, a_dialled_node_that_says_another_id_is_left)
{
    struct cast c;
    cast_init(&c);
    cr_assert_not_null(few_dial(c.honest, c.liar));
    few_run_ms(&c.f, 1000);
    cr_expect_eq(c.honest->downs, 1u);
    cr_expect_eq(c.honest->mesh->n.goodbye_out[MESH_BYE_VIOLATION], 1u);
    few_fini(&c.f);
}

static void dial_false_name(void *arg)
{
    struct cast *c = arg;
    struct mesh_contact contact = c->robbed->contact;
    memcpy(contact.id, c->honest->contact.id, 32);
    cr_expect_null(mesh_dial(c->liar->mesh, &contact, NULL)); /* that link has another name */
}

Test(mesh_hello, a_link_is_never_reused_for_another_identity)
{
    struct cast c;
    cast_init(&c);
    cr_assert_not_null(few_dial(c.liar, c.robbed));
    few_run_ms(&c.f, 1000);
    cr_assert(few_link(c.liar, c.robbed)->has_id);
    few_in(c.liar, dial_false_name, &c);
    few_fini(&c.f);
}

Test(mesh_hello, without_an_address_there_is_no_record_and_no_id)
{
    struct cast c;
    cast_init(&c);
    uint8_t record[MESH_NODE_RECORD_MAX];
    cr_expect_eq(mesh_own_record(c.liar->mesh, record), 0u);
    cr_expect_gt(mesh_own_record(c.honest->mesh, record), 0u);
    few_fini(&c.f);
}

Test(mesh_hello, two_peers_in_different_prefixes_must_see_the_same_address)
{
    struct few f;
    few_init(&f, 2, NULL);
    struct few_node *n = add_strict(&f, false);
    for (unsigned i = 1; i < 3; i++)
        add_strict(&f, true);
    for (unsigned i = 0; i < 3; i++)
        few_boot(&f.node[i]);
    few_run_ms(&f, 100);
    struct env_addr seen;
    uint8_t record[MESH_NODE_RECORD_MAX];
    cr_assert_not_null(few_dial(n, &f.node[1]));
    few_run_ms(&f, 500);
    cr_expect_not(mesh__own_observed_get(n->mesh, &seen));
    cr_expect_eq(mesh_own_record(n->mesh, record), 0u);
    cr_assert_not_null(few_dial(n, &f.node[2]));
    few_run_ms(&f, 500);
    cr_expect(mesh__own_observed_get(n->mesh, &seen));
    cr_expect(env_addr_equal(&seen, &n->contact.addr));
    cr_expect_gt(mesh_own_record(n->mesh, record), 0u);
    for (unsigned i = 1; i < 3; i++) /* and it was told at once */
        cr_expect_not_null(mesh_link_by_id(f.node[i].mesh, n->identity->id));
    few_fini(&f);
}

/* ---- keys over time -------------------------------------------------------------------------- */

struct loaded {
    struct few_node *n;
    uint8_t blob[MESH_IDENTITY_BLOB_MAX];
    size_t len;
};

static void load_blob(void *arg)
{
    struct loaded *b = arg;
    if (env_blob_load(b->n->mesh->env, MESH_IDENTITY_FILE, b->blob, sizeof b->blob, &b->len,
                      NULL) != 0)
        b->len = 0;
}

/* Ages node 1's link key by almost a week before anything starts. */
static void aged_pair(struct few *f, bool rotates)
{
    few_init(f, 3, NULL);
    for (unsigned i = 0; i < 3; i++)
        few_boot(few_add(f, 0));
    few_run_ms(f, 100);
    sim_node_crash(f->node[1].sim);
    f->node[1].config.rotate_link_key = rotates;
    f->node[1].identity->link.made -= MESH_LINK_KEY_S - 30;
    few_boot(&f->node[1]);
    few_run_ms(f, 100);
    cr_assert_not_null(few_dial(&f->node[0], &f->node[1]));
    few_run_ms(f, 1000);
}

Test(mesh_hello, a_rotated_link_key_is_on_disk_before_it_is_told_and_the_old_one_still_opens)
{
    struct few f;
    aged_pair(&f, true);
    struct few_node *a = &f.node[0], *b = &f.node[1], *c = &f.node[2];
    struct mesh_contact old = b->contact;
    struct mesh_link *l = mesh_link_by_id(a->mesh, b->identity->id);
    cr_assert_not_null(l);
    few_run_ms(&f, 2 * MESH__HOUSEKEEPING_S * 1000);
    cr_assert_neq(memcmp(old.link_key, b->identity->link.pub, 32), 0);
    cr_expect_eq(mesh_link_by_id(a->mesh, b->identity->id), l); /* the link goes on */
    struct mesh_node said;
    cr_assert_eq(mesh_node_record_open(&said, &b->config.network, mesh_time(a->mesh), l->record,
                                       l->record_len),
                 DROP_NONE);
    cr_expect_arr_eq(said.link_key, b->identity->link.pub, 32); /* and was told the new key */
    struct loaded disk = { .n = b };
    few_in(b, load_blob, &disk);
    struct mesh_identity *kept = mesh_identity_decode(disk.blob, disk.len, NULL, NULL);
    cr_assert_not_null(kept);
    cr_expect_arr_eq(kept->link.pub, b->identity->link.pub, 32);
    mesh_identity_destroy(kept);
    cr_assert_not_null(few_dial(c, b)); /* by the old key, as in an older record */
    few_run_ms(&f, 1000);
    cr_expect_not_null(few_link(b, c));
    few_run_ms(&f, 400000); /* both links rekey, each under its own key */
    cr_expect_eq(a->downs, 0u, "%s", a->why);
    cr_expect_eq(c->downs, 0u, "%s", c->why);
    few_fini(&f);
}

Test(mesh_hello, a_node_dialled_by_its_new_key_proves_its_id)
{
    struct few f;
    aged_pair(&f, true);
    struct few_node *b = &f.node[1], *c = &f.node[2];
    few_run_ms(&f, 2 * MESH__HOUSEKEEPING_S * 1000);
    memcpy(b->contact.link_key, b->identity->link.pub, 32);
    cr_assert_not_null(few_dial(c, b));
    few_run_ms(&f, 1000);
    cr_expect_not_null(mesh_link_by_id(c->mesh, b->identity->id));
    few_fini(&f);
}

Test(mesh_hello, a_bootstrap_nodes_key_stays)
{
    struct few f;
    aged_pair(&f, false);
    few_run_ms(&f, 2 * MESH__HOUSEKEEPING_S * 1000);
    cr_expect_arr_eq(f.node[1].contact.link_key, f.node[1].identity->link.pub, 32);
    few_fini(&f);
}

Test(mesh_hello, keys_that_cannot_be_stored_are_not_used)
{
    struct few f;
    aged_pair(&f, true);
    struct few_node *b = &f.node[1];
    sim_node_set_disk(b->sim, SIM_DISK_FULL);
    few_run_ms(&f, 2 * MESH__HOUSEKEEPING_S * 1000);
    cr_expect_neq(b->mesh->own_made, b->identity->link.made);
    struct mesh_contact told;
    mesh_own_contact(b->mesh, &told);
    cr_expect_arr_eq(told.link_key, b->contact.link_key, 32);
    sim_node_set_disk(b->sim, SIM_DISK_OK);
    few_run_ms(&f, 2 * MESH__HOUSEKEEPING_S * 1000);
    cr_expect_eq(b->mesh->own_made, b->identity->link.made);
    few_fini(&f);
}

/* ---- ends ------------------------------------------------------------------------------------ */

Test(mesh_hello, power_may_fail_while_the_mesh_stops)
{
    for (unsigned ms = 0; ms < 8; ms++) {
        struct few f;
        few_pair(&f, 40 + ms);
        few_stop(&f.node[0]);
        few_run_ms(&f, ms);
        sim_node_crash(f.node[0].sim);
        few_boot(&f.node[0]);
        few_run_ms(&f, 100);
        few_fini(&f);
    }
}

Test(mesh_hello, sequences_grow_over_crashes_and_a_clock_set_back)
{
    struct few f;
    few_pair(&f, 60);
    uint64_t last = 0;
    few_run_ms(&f, 65000); /* T is on disk every minute */
    for (unsigned i = 0; i < 5; i++) {
        few_run_ms(&f, 3000);
        uint64_t now = f.node[0].identity->init_sequence;
        cr_expect_gt(now, last);
        last = now;
        sim_node_crash(f.node[0].sim);
        f.node[0].identity->init_sequence = 0; /* what memory knew is gone */
        sim_node_set_skew(f.node[0].sim, -7200000 * (int64_t)(i + 1));
        few_boot(&f.node[0]);
        few_run_ms(&f, 3000);
        cr_expect_eq(f.node[0].mesh->n_up, 1u, "start %u", i);
    }
    few_fini(&f);
}
