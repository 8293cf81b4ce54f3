/* onion/end.c - a path that ends here: fragments of requests in, of answers out. */
#include "onion/end.h"

#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "onion/end_internal.h"
#include "onion/message.h"

/* ---- sending -----------------------------------------------------------------------------------
 */

static void send_fragments(struct end_path *p)
{
    struct mesh_frame_msg m;
    struct onion_cell c;
    uint8_t buf[ONION_PAYLOAD];
    uint64_t now = onion__now(p->end->relay);
    while (mesh_outbox_next(p->outbox, now, &m)) {
        onion_msg_write(&c, buf, &m);
        (void)onion__tail_send(&p->tail, &c);
    }
}

static void send_resend(void *arg, const struct mesh_frame_resend *r)
{
    struct end_path *p = arg;
    struct onion_cell c;
    uint8_t buf[ONION_PAYLOAD];
    onion_resend_write(&c, buf, r);
    (void)onion__tail_send(&p->tail, &c);
}

/* What the fragmenters have due, and when they want to be asked again. */
static void timer_fire(struct env_timer *t, void *arg)
{
    struct end_path *p = arg;
    struct env *env = p->end->relay->env;
    uint64_t now = env_now_ns(env), next = UINT64_MAX;
    if (p->outbox != NULL)
        next = mesh_outbox_expire(p->outbox, now);
    if (p->inbox != NULL) {
        uint64_t due = mesh_inbox_poll(p->inbox, now, ENV_MS(ONION_END_RTT_MS), send_resend, p);
        next = due < next ? due : next;
    }
    if (next != UINT64_MAX)
        env_timer_set(env, t, next);
}

static void look_by(struct end_path *p, uint64_t at)
{
    if (!p->timer.is_set || p->timer.at_ns > at)
        env_timer_set(p->end->relay->env, &p->timer, at);
}

static size_t encode(uint8_t *buf, size_t cap, enum mesh_rpc_status status,
                     const struct mesh_items *items)
{
    struct writer w = writer_on(buf, cap);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    msgpack_pack_array(&pk, 1 + (items != NULL ? items->n : 0));
    msgpack_pack_unsigned_int(&pk, status);
    if (items != NULL && items->len > 0)
        writer_copy(&w, items->data, items->len);
    return writer_ok(&w) ? writer_len(&w) : 0;
}

void end__answer(struct end_path *p, uint32_t id, enum mesh_rpc_status status,
                 const struct mesh_items *items)
{
    enum { HEAD = 8 };
    uint64_t now = onion__now(p->end->relay);
    size_t cap = HEAD + (items != NULL ? items->len : 0);
    uint8_t *buf = malloc(cap);
    size_t len = buf != NULL ? encode(buf, cap, status, items) : 0;
    if (p->outbox == NULL)
        p->outbox = mesh_outbox_create(ONION_MSG_FRAGMENT);
    p->end->n.answered[status]++;
    if (len == 0 || p->outbox == NULL ||
        mesh_outbox_add(p->outbox, MESH_MSG_RESPONSE, id, buf, len, now) != 0) {
        p->end->n.answers_lost++; /* the client repeats its request */
        free(buf);
        return;
    }
    free(buf);
    send_fragments(p);
    look_by(p, now + ENV_MS(MESH_OUTBOX_MS));
}

/* ---- receiving ---------------------------------------------------------------------------------
 */

/* The request came again whole: its answer was lost, or is not there yet. */
static bool answer_again(struct end_path *p, uint32_t id)
{
    struct mesh_frame_resend all = { .kind = MESH_MSG_RESPONSE, .id = id };
    memset(all.missing, 0xff, sizeof all.missing);
    if (end__is_under_way(p, id))
        return true;
    if (p->outbox == NULL || mesh_outbox_resend(p->outbox, &all) != DROP_NONE)
        return false;
    p->end->n.answers_again++;
    send_fragments(p);
    return true;
}

static enum drop fragment(struct end_path *p, const struct onion_cell *c)
{
    struct mesh_frame_msg m;
    struct mesh_message msg = { 0 };
    uint64_t now = onion__now(p->end->relay);
    enum drop d = onion_msg_read(&m, c);
    if (d != DROP_NONE)
        return d;
    if (m.kind != MESH_MSG_REQUEST)
        return DROP_TYPE;
    if (p->inbox == NULL)
        p->inbox = mesh_inbox_create(p->end->pool, ONION_MSG_FRAGMENT, p->link);
    if (p->inbox == NULL)
        return DROP_MEMORY;
    d = mesh_inbox_fragment(p->inbox, &m, now, ENV_MS(ONION_END_RTT_MS), &msg);
    if (d == DROP_REPLAY && m.index + 1 == m.count)
        (void)answer_again(p, m.id);
    if (d != DROP_NONE)
        return d;
    if (msg.data == NULL)
        look_by(p, now + ENV_MS(MESH_RESEND_MS));
    else if (!answer_again(p, msg.id))
        end__request(p, msg.id, msg.data, msg.len);
    free(msg.data);
    return DROP_NONE;
}

static enum drop resend(struct end_path *p, const struct onion_cell *c)
{
    struct mesh_frame_resend r;
    enum drop d = onion_resend_read(&r, c);
    if (d != DROP_NONE)
        return d;
    d = p->outbox != NULL ? mesh_outbox_resend(p->outbox, &r) : DROP_UNKNOWN;
    if (d == DROP_NONE)
        send_fragments(p);
    return d;
}

static void heard(struct onion_tail *t, const struct onion_cell *c)
{
    struct end_path *p = container_of(t, struct end_path, tail);
    enum drop d = DROP_NONE;
    if (c->command == ONION_CELL_MSG)
        d = fragment(p, c);
    else if (c->command == ONION_CELL_RESEND)
        d = resend(p, c);
    else
        p->end->relay->n.cells_dropped[CELL_DROP_COMMAND]++;
    if (d != DROP_NONE)
        p->end->n.fragments_dropped[d]++;
}

/* ---- paths -------------------------------------------------------------------------------------
 */

static void gone(struct onion_tail *t)
{
    struct end_path *p = container_of(t, struct end_path, tail);
    env_timer_stop(p->end->relay->env, &p->timer);
    end__asks_end(p);
    mesh_inbox_destroy(p->inbox);
    mesh_outbox_destroy(p->outbox);
    list_del(&p->of_end);
    free(p);
}

static const struct onion_tail_ops ops = { .cell = heard, .gone = gone };

enum onion_status onion__end_open(struct onion_end *e, struct onion_path *path,
                                  struct onion_tail **out)
{
    const struct onion__link *k = onion__link_find(e->relay, path->from);
    uint64_t now = onion__now(e->relay);
    if (e->dht == NULL)
        return ONION_UNSUPPORTED;
    struct end_path *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ONION_BUSY;
    p->end = e;
    p->link = k != NULL ? k->number : 0;
    p->minute_ns = now;
    list_init(&p->under_way);
    list_init(&p->of_end);
    list_push_back(&e->paths, &p->of_end);
    env_timer_init(&p->timer, timer_fire, p);
    onion__tail_attach(&p->tail, &ops, path);
    *out = &p->tail;
    return ONION_OK;
}

/* ---- life --------------------------------------------------------------------------------------
 */

struct onion_end *onion__end_create(struct onion_relay *r)
{
    struct onion_end *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    e->relay = r;
    e->dht = r->dht;
    list_init(&e->paths);
    e->pool = mesh_inbox_pool_create(ONION_END_INBOX_BYTES);
    e->finds = onion_share_create(ONION_LOOKUPS_SECOND, ONION_LOOKUPS_SECOND);
    e->stores = onion_share_create(ONION_STORES_SECOND, ONION_STORES_SECOND);
    if (e->pool != NULL && e->finds != NULL && e->stores != NULL)
        return e;
    onion__end_destroy(e);
    return NULL;
}

void onion__end_destroy(struct onion_end *e)
{
    if (e == NULL)
        return;
    mesh_inbox_pool_destroy(e->pool);
    onion_share_destroy(e->finds);
    onion_share_destroy(e->stores);
    free(e);
}

size_t onion__end_asks(const struct onion_end *e)
{
    return e->n_asks;
}

/* ---- figures -----------------------------------------------------------------------------------
 */

void onion__end_metrics(const struct onion_end *e, const struct metric_out *o)
{
    static const char *const refusals[END_REFUSALS] = { "flight", "minute", "all", "dht" };
    static const char *const answers[MESH_RPC_BAD + 1] = { "ok",      "not_found", "stale", "quota",
                                                           "refused", "busy",      "bad" };
    static const char name[] = "cyx_onion_end_requests_total";
    static const char help[] = "requests over paths that end here";
    metric_labelled(o, name, help, "method", "find", e->n.finds);
    metric_labelled(o, name, help, "method", "store", e->n.stores);
    metric_labelled(o, name, help, "method", "roster", e->n.rosters);
    metric_labelled(o, name, help, "method", "bad", e->n.bad);
    for (unsigned i = 0; i < END_REFUSALS; i++)
        metric_labelled(o, "cyx_onion_end_refused_total", "requests refused by bound", "bound",
                        refusals[i], e->n.refused[i]);
    for (unsigned i = 0; i <= MESH_RPC_BAD; i++)
        metric_labelled(o, "cyx_onion_end_answers_total", "answers by status", "status", answers[i],
                        e->n.answered[i]);
    for (unsigned i = 1; i < DROP_COUNT_; i++)
        metric_labelled(o, "cyx_onion_end_fragments_dropped_total", "fragments dropped by reason",
                        "reason", drop_name((enum drop)i), e->n.fragments_dropped[i]);
    metric_counter(o, "cyx_onion_end_answers_again_total", "answers sent once more",
                   e->n.answers_again);
    metric_counter(o, "cyx_onion_end_answers_lost_total", "answers that found no room",
                   e->n.answers_lost);
    metric_gauge(o, "cyx_onion_end_asks", "requests under way", e->n_asks);
    metric_bound(o, "cyx_onion_used", "cyx_onion_limit", "end_inbox_bytes",
                 mesh_inbox_pool_bytes(e->pool), ONION_END_INBOX_BYTES);
}

bool onion__end_check(const struct onion_end *e)
{
    size_t n = 0;
    list_each (at, &e->paths) {
        const struct end_path *p = container_of(at, struct end_path, of_end);
        size_t under_way = 0;
        list_each (ask, &p->under_way)
            under_way++;
        if (under_way != p->n_under_way || under_way > ONION_ASKS_PATH || p->tail.path == NULL)
            return false;
        n += under_way;
    }
    return n == e->n_asks;
}
