#include "relay_rig.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/crypto.h"

/* ---- nodes ------------------------------------------------------------------------------------
 */

static void tick(struct env_timer *t, void *arg)
{
    struct relay_node *n = arg;
    cr_expect_not(onion_replay_tick(n->replay, mesh_time(n->few->mesh)));
    env_timer_in(mesh_env(n->few->mesh), t, ENV_S(ONION_REPLAY_TICK_S));
}

static void stray_cell(void *arg, struct mesh_link *l, uint32_t path)
{
    struct relay_node *n = arg;
    (void)l;
    n->n_stray_cells++;
    n->stray_path = path;
}

static void stray_destroy(void *arg, struct mesh_link *l, uint32_t path)
{
    struct relay_node *n = arg;
    (void)l;
    n->n_stray_destroys++;
    n->stray_path = path;
}

static void stray_reply(void *arg, struct mesh_link *l, uint32_t path)
{
    struct relay_node *n = arg;
    (void)l;
    n->n_stray_replies++;
    n->stray_path = path;
}

static void stray_build(void *arg, struct mesh_link *l, uint32_t path,
                        const uint8_t train[static ONION_TRAIN])
{
    struct relay_node *n = arg;
    n->n_builds++;
    n->build_link = l;
    n->build_path = path;
    memcpy(n->build, train, ONION_TRAIN);
}

static const struct onion_strays strays = {
    .build = stray_build, .cell = stray_cell, .destroy = stray_destroy, .reply = stray_reply
};

static void relay_start(struct relay_node *n)
{
    struct cyx_err err = { 0 };
    struct env *env = mesh_env(n->few->mesh);
    const struct onion_replay_start start = { .identity = n->few->identity,
                                              .keys_are_new = true,
                                              .now = mesh_time(n->few->mesh) };
    n->replay = onion_replay_open(env, &start, &err);
    cr_assert_not_null(n->replay, "%s", err.msg);
    env_timer_init(&n->tick, tick, n);
    env_timer_in(env, &n->tick, ENV_S(ONION_REPLAY_TICK_S));
    if (n->all->with_dht) {
        n->dht = dht_create(n->few->mesh, &(struct dht_config){ .is_serving = true }, &err);
        cr_assert_not_null(n->dht, "%s", err.msg);
        cr_assert_eq(dht_start(n->dht, &err), 0, "%s", err.msg);
    }
    n->relay = onion_relay_create(
        &(struct onion_relay_config){
            .paths = n->paths, .dht = n->dht, .replay = n->replay, .paths_max = n->paths_max },
        &err);
    cr_assert_not_null(n->relay, "%s", err.msg);
}

static void started(struct few_node *f)
{
    struct relay_node *n = f->above;
    n->paths = onion_switch_create(f->mesh);
    cr_assert_not_null(n->paths);
    if (n->is_user)
        onion_switch_set_strays(n->paths, &strays, n);
    else
        relay_start(n);
}

static void dropping(struct few_node *f)
{
    struct relay_node *n = f->above;
    env_timer_stop(mesh_env(f->mesh), &n->tick);
    if (n->relay != NULL)
        cr_expect(relay__check(n->relay));
    onion_relay_destroy(n->relay);
    onion_replay_close(n->replay);
    onion_switch_destroy(n->paths);
    dht_destroy(n->dht);
    n->relay = NULL;
    n->replay = NULL;
    n->paths = NULL;
    n->dht = NULL;
}

struct relay_node *relays_add(struct relays *r, bool is_user)
{
    struct few_node *f = few_add(&r->few, 0);
    struct relay_node *n = &r->at[f->number];
    *n = (struct relay_node){ .all = r, .few = f, .is_user = is_user };
    f->above = n;
    f->started = started;
    f->dropping = dropping;
    f->config.is_listed = !is_user;
    f->config.roles = is_user ? 0 : MESH_ROLE_RELAY_PATHS;
    if (!is_user)
        f->config.advertise[f->config.n_advertise++] = f->contact.addr;
    return n;
}

struct relay_node *relays_add_mock(struct relays *r)
{
    struct relay_node *n = relays_add(r, true);
    n->few->config.is_listed = true;
    n->few->config.advertise[n->few->config.n_advertise++] = n->few->contact.addr;
    few_boot(n->few);
    return n;
}

static void mock_reply(void *arg)
{
    struct relay_node *n = arg;
    struct onion_opened o;
    uint8_t train[ONION_TRAIN], reply[ONION_REPLY];
    struct env *env = mesh_env(n->few->mesh);
    memcpy(train, n->build, sizeof train);
    cr_assert_eq(onion_hop_open(&o, n->few->identity, &n->few->config.network, train), DROP_NONE);
    cr_assert_eq(onion_hop_answer(&n->answer, &o, env), 0);
    onion_layer_init(&n->forward, n->answer.keys.forward);
    onion_layer_init(&n->backward, n->answer.keys.backward);
    onion_hop_reply(&n->answer, ONION_OK, 0, NULL, true, env, reply);
    cr_assert_eq(mesh_train_send(n->build_link, n->build_path, true, reply, ONION_REPLY), 0);
}

void relays_mock_reply(struct relay_node *mock)
{
    few_in(mock->few, mock_reply, mock);
}

struct mock_cell {
    struct relay_node *mock;
    const uint8_t *cell;
};

static void mock_cell(void *arg)
{
    const struct mock_cell *c = arg;
    cr_assert_eq(mesh_cell_send(c->mock->build_link, c->mock->build_path, c->cell), 0);
}

void relays_mock_cell(struct relay_node *mock, const uint8_t cell[static MESH_CELL])
{
    few_in(mock->few, mock_cell, &(struct mock_cell){ .mock = mock, .cell = cell });
}

static void mock_destroy(void *arg)
{
    struct relay_node *n = arg;
    mesh_path_destroy(n->build_link, n->build_path);
}

void relays_mock_destroy(struct relay_node *mock)
{
    few_in(mock->few, mock_destroy, mock);
}

void relays_boot(struct relays *r, unsigned n, bool with_dht)
{
    memset(r, 0, sizeof *r);
    few_init(&r->few, 7, NULL);
    r->with_dht = with_dht;
    few_boot(relays_add(r, true)->few);
    for (unsigned i = 1; i <= n; i++) {
        struct relay_node *node = relays_add(r, false);
        if (with_dht && i > 1) {
            node->few->config.bootstrap = &r->at[1].few->contact;
            node->few->config.n_bootstrap = 1;
        }
        few_boot(node->few);
    }
    few_run_ms(&r->few, 100);
}

void relays_link(struct relays *r, unsigned a, unsigned b)
{
    cr_assert_not_null(few_dial(&r->few.node[a], &r->few.node[b]));
}

struct mesh_link *relays_find(struct relays *r, unsigned a, unsigned b)
{
    return few_link(&r->few.node[a], &r->few.node[b]);
}

void relays_init(struct relays *r, unsigned n, bool with_dht)
{
    relays_boot(r, n, with_dht);
    for (unsigned a = 1; a <= n; a++)
        for (unsigned b = a + 1; b <= n; b++)
            relays_link(r, a, b);
    relays_run_ms(r, with_dht ? 20000 : 500);
}

static void close_link(void *arg)
{
    mesh_link_close(arg, MESH_BYE_IDLE);
}

void relays_unlink(struct relays *r, unsigned a, unsigned b)
{
    struct mesh_link *l = relays_find(r, a, b);
    cr_assert_not_null(l);
    few_in(&r->few.node[a], close_link, l);
    relays_run_ms(r, 100);
    cr_assert_null(relays_find(r, a, b));
}

void relays_run_ms(struct relays *r, uint64_t ms)
{
    few_run_ms(&r->few, ms);
    for (unsigned i = 0; i < r->few.n; i++)
        if (r->at[i].relay != NULL)
            cr_assert(relay__check(r->at[i].relay), "relay %u", i);
}

void relays_fini(struct relays *r)
{
    few_fini(&r->few);
}

/* ---- a client's path ---------------------------------------------------------------------------
 */

static struct client_path *path_of(struct onion_slot *s)
{
    return container_of(s, struct client_path, slot);
}

static void heard_reply(struct onion_slot *s, const uint8_t train[static ONION_REPLY])
{
    struct client_path *p = path_of(s);
    cr_expect_not(p->has_reply, "a second reply");
    p->has_reply = true;
    p->reply_drop = onion_train_reply(p->train, train, &p->built);
    for (size_t i = 0; i < p->built.n_hops; i++) {
        onion_layer_init(&p->forward[i], p->built.keys[i].forward);
        onion_layer_init(&p->backward[i], p->built.keys[i].backward);
    }
}

static void take_cell(struct client_path *p, uint8_t cell[static MESH_CELL])
{
    struct onion_cell c;
    for (size_t i = 0; i < p->built.n_hops; i++)
        onion_layer_decipher(&p->backward[i], cell);
    if (onion_cell_read(&c, &p->window, cell) != DROP_NONE) {
        p->n_noise++;
        return;
    }
    struct client_got *g = &p->got[p->n_got++ % RELAYS_GOT];
    g->c = c;
    memcpy(g->payload, c.payload, c.len);
    g->c.payload = g->payload;
}

static void heard_cell(struct onion_slot *s, uint8_t cell[static MESH_CELL])
{
    struct client_path *p = path_of(s);
    p->n_raw++;
    memcpy(p->last_raw, cell, MESH_CELL);
    if (p->has_reply)
        take_cell(p, cell);
}

static void heard_destroy(struct onion_slot *s)
{
    struct client_path *p = path_of(s);
    p->is_destroyed = true;
    onion_switch_remove(p->at->paths, s);
}

static void lost_link(struct onion_slot *s)
{
    path_of(s)->is_lost = true;
}

static const struct onion_slot_ops ops = {
    .cell = heard_cell, .reply = heard_reply, .destroy = heard_destroy, .link_down = lost_link
};

struct building {
    struct relays *all;
    struct client_path *p;
    const struct client_spec *spec;
};

static void hop_set(struct onion_hop *h, const struct few_node *n)
{
    memcpy(h->id, n->identity->id, sizeof h->id);
    memcpy(h->onion_key, n->identity->onion[0].pub, sizeof h->onion_key);
}

static void make_train(struct building *b)
{
    struct cyx_err err = { 0 };
    struct client_path *p = b->p;
    struct few_node *f = p->at->few;
    struct onion_build build = { .n_hops = b->spec->n_hops,
                                 .last = b->spec->last,
                                 .early = b->spec->early };
    build.stamp = mesh_time(f->mesh) + (uint64_t)b->spec->stamp_shift;
    for (unsigned i = 0; i < b->spec->n_hops; i++)
        hop_set(&build.hops[i], &b->all->few.node[b->spec->hops[i]]);
    if (b->spec->wrong_key > 0)
        crypto_dh_public(build.hops[b->spec->wrong_key - 1].onion_key, (const uint8_t[32]){ 7 });
    p->train = onion_train_create(&build, &f->config.network, mesh_env(f->mesh), p->out, &err);
    cr_assert_not_null(p->train, "%s", err.msg);
    if (b->spec->change != NULL)
        b->spec->change(p->out);
}

static void send_train(void *arg)
{
    struct client_path *p = arg;
    cr_assert_eq(mesh_train_send(p->slot.link, p->slot.path, false, p->out, ONION_TRAIN), 0);
}

static void build(void *arg)
{
    struct building *b = arg;
    struct client_path *p = b->p;
    struct mesh_link *l = few_link(p->at->few, &b->all->few.node[b->spec->hops[0]]);
    cr_assert_not_null(l);
    make_train(b);
    p->slot.ops = &ops;
    uint32_t id = mesh_path_id(l);
    cr_assert_eq(onion_switch_add(p->at->paths, &p->slot, l, id), 0);
    if (!b->spec->keep_back)
        send_train(p);
}

void client_build(struct relays *r, unsigned user, struct client_path *p,
                  const struct client_spec *spec)
{
    struct building b = { .all = r, .p = p, .spec = spec };
    memset(p, 0, sizeof *p);
    p->at = &r->at[user];
    if (relays_find(r, user, spec->hops[0]) == NULL) {
        relays_link(r, user, spec->hops[0]);
        relays_run_ms(r, 200);
    }
    few_in(p->at->few, build, &b);
}

void client_open(struct relays *r, unsigned user, struct client_path *p,
                 const struct client_spec *spec)
{
    client_build(r, user, p, spec);
    relays_run_ms(r, 500);
    cr_assert(p->has_reply);
    cr_assert_eq(p->reply_drop, DROP_NONE);
    cr_assert_eq(p->built.status, ONION_OK, "status %u of hop %zu", p->built.status,
                 p->built.n_hops);
    cr_assert_eq(p->built.n_hops, spec->n_hops);
}

struct client_spec client_to_end(unsigned first, unsigned n)
{
    struct client_spec s = { .n_hops = n, .last.command = ONION_BUILD_END };
    for (unsigned i = 0; i < n; i++)
        s.hops[i] = first + i;
    return s;
}

void client_send_train(struct client_path *p)
{
    few_in(p->at->few, send_train, p);
}

void client_set_terms(struct client_spec *s, const struct onion_terms *t, uint64_t serial)
{
    struct writer w = writer_on(s->last.rest, sizeof s->last.rest);
    onion_terms_write(writer_reserve(&w, ONION_TERMS), t);
    writer_u64(&w, serial);
}

struct client_spec client_to_service(unsigned first, unsigned n, uint8_t secret, uint64_t serial)
{
    struct client_spec s = client_to_end(first, n);
    s.last.command = ONION_BUILD_REGISTER;
    memset(s.last.target, secret, sizeof s.last.target);
    client_set_terms(&s, &(struct onion_terms){ 0 }, serial);
    return s;
}

struct client_spec client_to_splice(unsigned first, unsigned n, uint8_t secret)
{
    struct client_spec s = client_to_end(first, n);
    uint8_t owner[32];
    s.last.command = ONION_BUILD_SPLICE;
    memset(owner, secret, sizeof owner);
    crypto_h(s.last.target, "cyx token", &BYTES(owner, sizeof owner), 1);
    return s;
}

void client_encode(struct client_path *p, const struct onion_cell *c,
                   uint8_t cell[static MESH_CELL])
{
    onion_cell_write(cell, c, p->sent++);
    for (size_t i = p->built.n_hops; i > 0; i--)
        onion_layer_encipher(&p->forward[i - 1], cell);
}

struct sending {
    struct client_path *p;
    const uint8_t *cell;
};

static void send_cell(void *arg)
{
    const struct sending *s = arg;
    cr_assert_eq(mesh_cell_send(s->p->slot.link, s->p->slot.path, s->cell), 0);
}

void client_send_raw(struct client_path *p, const uint8_t cell[static MESH_CELL])
{
    few_in(p->at->few, send_cell, &(struct sending){ .p = p, .cell = cell });
}

void client_send(struct client_path *p, const struct onion_cell *c)
{
    uint8_t cell[MESH_CELL];
    client_encode(p, c, cell);
    client_send_raw(p, cell);
}

void client_send_text(struct client_path *p, uint8_t command, const char *text)
{
    client_send(p, &(struct onion_cell){
                       .command = command, .payload = (const uint8_t *)text, .len = strlen(text) });
}

static void destroy(void *arg)
{
    struct client_path *p = arg;
    if (p->slot.link == NULL)
        return;
    mesh_path_destroy(p->slot.link, p->slot.path);
    onion_switch_remove(p->at->paths, &p->slot);
}

void client_forget(struct client_path *p)
{
    if (p->at->paths != NULL)
        onion_switch_remove(p->at->paths, &p->slot);
    onion_train_destroy(p->train);
    p->train = NULL;
    onion_built_wipe(&p->built);
}

void client_destroy(struct client_path *p)
{
    few_in(p->at->few, destroy, p);
    client_forget(p);
}

const struct client_got *client_last(const struct client_path *p, uint8_t command)
{
    for (unsigned i = p->n_got; i > 0; i--)
        if (p->got[(i - 1) % RELAYS_GOT].c.command == command)
            return &p->got[(i - 1) % RELAYS_GOT];
    return NULL;
}

unsigned client_count(const struct client_path *p, uint8_t command)
{
    unsigned n = 0;
    for (unsigned i = 0; i < p->n_got && i < RELAYS_GOT; i++)
        n += p->got[i].c.command == command;
    return n;
}

unsigned client_status(const struct client_path *p)
{
    return p->has_reply && p->reply_drop == DROP_NONE ? p->built.status : 255;
}

void client_msg_write(struct onion_cell *out, uint8_t buf[static ONION_PAYLOAD],
                      const struct mesh_frame_msg *m)
{
    struct writer w = writer_on(buf, ONION_PAYLOAD);
    writer_u8(&w, m->kind);
    writer_u32(&w, m->id);
    writer_u8(&w, m->index);
    writer_u8(&w, m->count);
    writer_u16(&w, m->len);
    writer_copy(&w, m->data, m->len);
    cr_assert(writer_ok(&w));
    *out = (struct onion_cell){ .command = ONION_CELL_MSG, .payload = buf, .len = writer_len(&w) };
}

void client_resend_write(struct onion_cell *out, uint8_t buf[static ONION_PAYLOAD],
                         const struct mesh_frame_resend *r)
{
    struct writer w = writer_on(buf, ONION_PAYLOAD);
    writer_u8(&w, r->kind);
    writer_u32(&w, r->id);
    writer_copy(&w, r->missing, sizeof r->missing);
    *out =
        (struct onion_cell){ .command = ONION_CELL_RESEND, .payload = buf, .len = writer_len(&w) };
}

void client_msg_read(struct mesh_frame_msg *out, const struct onion_cell *c)
{
    struct reader r = reader_on(c->payload, c->len);
    out->kind = reader_u8(&r);
    out->id = reader_u32(&r);
    out->index = reader_u8(&r);
    out->count = reader_u8(&r);
    out->len = reader_u16(&r);
    out->data = reader_bytes(&r, out->len);
    cr_assert(reader_done(&r));
}

void client_resend_read(struct mesh_frame_resend *out, const struct onion_cell *c)
{
    struct reader r = reader_on(c->payload, c->len);
    out->kind = reader_u8(&r);
    out->id = reader_u32(&r);
    reader_copy(&r, out->missing, sizeof out->missing);
    cr_assert(reader_done(&r));
}
