/* onion/end.c - a path that ends here: fragments of requests in, of answers out. */
#include "onion/end.h"

#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "base/reader.h"
#include "onion/end_internal.h"

/* ---- sending -----------------------------------------------------------------------------------
 */

/* What finds no room is lost like a cell on the way. */
static bool send_cell(void *arg, const struct onion_cell *c)
{
    struct end_path *p = arg;
    (void)tail__send(&p->tail, c);
    return true;
}

/* What waits goes out; the timer is set for what will be due. */
static void pump(struct end_path *p)
{
    struct env *env = p->end->relay->env;
    uint64_t next =
        onion_messages_pump(&p->messages, env_now_ns(env), ENV_MS(ONION_END_RTT_MS), send_cell, p);
    if (next != UINT64_MAX)
        env_timer_set(env, &p->timer, next);
}

static void timer_fire(struct env_timer *t, void *arg)
{
    (void)t;
    pump(arg);
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
    size_t cap = HEAD + (items != NULL ? items->len : 0);
    uint8_t *buf = malloc(cap);
    size_t len = buf != NULL ? encode(buf, cap, status, items) : 0;
    p->end->n.answered[status]++;
    if (len == 0 || onion_messages_add(&p->messages, MESH_MSG_RESPONSE, id, buf, len,
                                       relay__now(p->end->relay)) != 0)
        p->end->n.answers_lost++; /* the client repeats its request */
    free(buf);
    pump(p);
}

/* ---- receiving ---------------------------------------------------------------------------------
 */

/* A request came again, whole: its answer was lost, or is not there yet. */
static bool answer_again(struct end_path *p, uint32_t id)
{
    struct mesh_frame_resend all = { .kind = MESH_MSG_RESPONSE, .id = id };
    memset(all.missing, 0xff, sizeof all.missing);
    if (end__is_under_way(p, id))
        return true;
    if (mesh_outbox_resend(p->messages.outbox, &all) != DROP_NONE)
        return false;
    p->end->n.answers_again++;
    return true;
}

/* A fragment that we had. The last one of a request that comes again says that its answer was lost.
 */
static void repeated(struct end_path *p, const struct onion_cell *c)
{
    struct reader r = reader_on(c->payload, c->len);
    reader_skip(&r, 1);
    uint32_t id = reader_u32(&r);
    uint8_t index = reader_u8(&r), count = reader_u8(&r);
    if (!r.bad && index + 1 == count)
        (void)answer_again(p, id);
}

static bool is_asked(const struct onion_cell *c)
{
    struct reader r = reader_on(c->payload, c->len);
    return c->command == ONION_CELL_RESEND || reader_u8(&r) == MESH_MSG_REQUEST;
}

static enum drop message(struct end_path *p, const struct onion_cell *c)
{
    struct mesh_message m = { 0 };
    uint64_t now = relay__now(p->end->relay);
    if (!is_asked(c))
        return DROP_TYPE; /* answers and trains are not for us */
    if (p->messages.inbox == NULL && onion_messages_init(&p->messages, p->end->pool, p->link) != 0)
        return DROP_MEMORY;
    enum drop d = onion_messages_heard(&p->messages, c, now, ENV_MS(ONION_END_RTT_MS), &m);
    if (d == DROP_REPLAY && c->command == ONION_CELL_MSG)
        repeated(p, c);
    if (m.data != NULL && !answer_again(p, m.id))
        end__request(p, m.id, m.data, m.len);
    free(m.data);
    pump(p);
    return d;
}

static void heard(struct onion_tail *t, const struct onion_cell *c)
{
    struct end_path *p = container_of(t, struct end_path, tail);
    if (c->command != ONION_CELL_MSG && c->command != ONION_CELL_RESEND) {
        p->end->relay->n.cells_dropped[CELL_DROP_COMMAND]++;
        return;
    }
    enum drop d = message(p, c);
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
    onion_messages_fini(&p->messages);
    list_del(&p->of_end);
    free(p);
}

static const struct onion_tail_ops ops = { .cell = heard, .gone = gone };

enum onion_status end__open(struct onion_end *e, struct relay_path *path, struct onion_tail **out)
{
    const struct relay__link *k = relay__link_find(e->relay, path->from);
    uint64_t now = relay__now(e->relay);
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
    tail__attach(&p->tail, &ops, path);
    *out = &p->tail;
    return ONION_OK;
}

/* ---- life --------------------------------------------------------------------------------------
 */

struct onion_end *end__create(struct onion_relay *r)
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
    end__destroy(e);
    return NULL;
}

void end__destroy(struct onion_end *e)
{
    if (e == NULL)
        return;
    mesh_inbox_pool_destroy(e->pool);
    onion_share_destroy(e->finds);
    onion_share_destroy(e->stores);
    free(e);
}

size_t end__asks(const struct onion_end *e)
{
    return e->n_asks;
}

/* ---- figures -----------------------------------------------------------------------------------
 */

void end__metrics(const struct onion_end *e, const struct metric_out *o)
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

bool end__check(const struct onion_end *e)
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
