/* `ping`: finds or makes a link to the node, then asks for round trips, one a second. The call is
 * worker 0's; link, watcher and timer are those of the worker that has the peer. Each touches its
 * own half of struct ping only and sends the other posts:
 *
 *   worker 0   which peer? --> begin ----------------------------------> cancel (caller gone)
 *   its worker                 dial, wait for the link, PING, PING ... --> over, cancelled
 *
 * The last post to worker 0 frees it. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "node/methods.h"

enum { PING_COUNT_MAX = 100, PING_EVERY_MS = 1000, PING_DIAL_MS = 10000, PING_DIGITS_MIN = 4 };

/* What was asked for. */
struct wanted {
    enum { BY_NUMBER, BY_CONTACT, BY_PREFIX } by;
    uint32_t number;
    struct mesh_contact contact;
    char prefix[65];
    size_t len;
};

struct ping {
    struct node *n;
    unsigned worker; /* whose link it is; fixed before it begins */
    struct wanted wanted;
    uint32_t count;
    struct {                    /* worker 0's half */
        struct node_call *call; /* NULL: the caller is gone */
        unsigned n_due;         /* posts that will come back */
    } here;
    /* The other half; worker 0 reads the results once it is over. */
    struct mesh_link *link;
    struct mesh_watcher watcher;
    struct env_timer timer;
    bool is_begun;
    bool is_asking; /* a PING is under way: its `done` is due */
    bool is_over;   /* said so as soon as nothing is due */
    uint32_t sent, received;
    uint64_t rtt_ns[PING_COUNT_MAX]; /* 0: no answer */
    char address[ENV_ADDR_TEXT];
    uint8_t id[32];
    bool has_id;
    struct cyx_err err; /* code 0: replies came, or at least PINGs went */
};

static struct env *worker_env(const struct ping *p)
{
    return workers_env(p->n->workers, p->worker);
}

static struct mesh *worker_mesh(const struct ping *p)
{
    return workers_mesh(p->n->workers, p->worker);
}

/* ---- worker 0: the answer -------------------------------------------------------------------- */

static void due_done(struct ping *p)
{
    if (--p->here.n_due == 0)
        free(p);
}

static void pack_times(msgpack_packer *pk, const struct ping *p)
{
    uint64_t min = UINT64_MAX, max = 0;
    double sum = 0;
    mp_pack_str(pk, "replies");
    msgpack_pack_array(pk, p->sent);
    for (uint32_t i = 0; i < p->sent; i++) {
        if (p->rtt_ns[i] == 0) {
            msgpack_pack_nil(pk);
            continue;
        }
        msgpack_pack_double(pk, (double)p->rtt_ns[i] / 1e9);
        sum += (double)p->rtt_ns[i] / 1e9;
        min = p->rtt_ns[i] < min ? p->rtt_ns[i] : min;
        max = p->rtt_ns[i] > max ? p->rtt_ns[i] : max;
    }
    node__pack_kv_u64(pk, "sent", p->sent);
    node__pack_kv_u64(pk, "received", p->received);
    node__pack_kv_ns(pk, "min", p->received > 0 ? min : 0);
    if (p->received > 0)
        node__pack_kv_s(pk, "avg", sum / p->received);
    else
        node__pack_kv_nil(pk, "avg");
    node__pack_kv_ns(pk, "max", max);
}

static void reply(struct ping *p, struct node_call *call)
{
    msgpack_sbuffer buf;
    msgpack_packer pk;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 8);
    node__pack_kv_hex(&pk, "node", p->has_id ? p->id : NULL);
    node__pack_kv_str(&pk, "address", p->address);
    pack_times(&pk, p);
    control_reply_buf(call, &buf);
}

static void on_over(void *arg)
{
    struct ping *p = arg;
    struct node_call *call = p->here.call;
    p->here.call = NULL;
    if (call != NULL) {
        control_on_cancel(call, NULL, NULL);
        if (p->err.code != 0)
            node_reply_error(call, p->err.code, "%s", p->err.msg);
        else
            reply(p, call);
    }
    due_done(p);
}

struct progress {
    struct ping *p;
    uint64_t rtt_ns; /* 0: no answer */
};

static void on_progress(void *arg)
{
    struct progress g = *(struct progress *)arg;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    free(arg);
    if (g.p->here.call == NULL)
        return;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    if (g.rtt_ns == 0)
        msgpack_pack_nil(&pk);
    else
        msgpack_pack_double(&pk, (double)g.rtt_ns / 1e9);
    node_progress(g.p->here.call, buf.data, buf.size);
    msgpack_sbuffer_destroy(&buf);
}

/* ---- its worker: asking ---------------------------------------------------------------------- */

static void let_go(struct ping *p)
{
    if (!p->is_over) {
        p->is_over = true;
        if (p->is_begun) {
            mesh_unwatch(&p->watcher);
            env_timer_stop(worker_env(p), &p->timer);
        }
    }
    if (!p->is_asking)
        env_post(node_env(p->n), on_over, p);
}

static void fail(struct ping *p, int code, const char *text)
{
    cyx_fail(&p->err, code, "%s", text);
    let_go(p);
}

static void say_progress(struct ping *p, uint64_t rtt_ns)
{
    struct progress *g = malloc(sizeof *g);
    if (g == NULL)
        return; /* the reply has it */
    *g = (struct progress){ p, rtt_ns };
    env_post(node_env(p->n), on_progress, g);
}

static void on_pong(void *arg, int code, uint64_t rtt_ns)
{
    struct ping *p = arg;
    if (code == 0) {
        p->rtt_ns[p->sent - 1] = rtt_ns > 0 ? rtt_ns : 1;
        p->received++;
    }
    p->is_asking = false;
    if (!p->is_over)
        say_progress(p, p->rtt_ns[p->sent - 1]);
    if (p->is_over || p->sent == p->count || code == CYX_ECLOSED)
        let_go(p);
    else
        env_timer_in(worker_env(p), &p->timer, ENV_MS(PING_EVERY_MS));
}

static void ask(struct ping *p)
{
    p->is_asking = true;
    p->sent++;
    if (mesh_ping(p->link, on_pong, p) == 0)
        return;
    p->is_asking = false;
    fail(p, CYX_EBUSY, "too many pings are under way on this link: try again in a moment");
}

static void link_stands(struct ping *p)
{
    struct mesh_link_info i;
    mesh_link_info(p->link, &i);
    (void)env_addr_text(&i.addr, p->address);
    if (i.has_id) {
        p->has_id = true;
        memcpy(p->id, i.id, sizeof p->id);
    }
    ask(p);
}

static void on_timer(struct env_timer *t, void *arg)
{
    struct ping *p = arg;
    (void)t;
    if (p->sent == 0)
        fail(p, CYX_ETIMEDOUT,
             "no answer to the handshake: the node is off, behind a firewall, or "
             "its link key has changed");
    else
        ask(p);
}

static void on_link_up(void *arg, struct mesh_link *l)
{
    struct ping *p = arg;
    if (l != p->link || p->sent > 0)
        return;
    env_timer_stop(worker_env(p), &p->timer);
    link_stands(p);
}

static void on_link_down(void *arg, struct mesh_link *l, const char *why)
{
    struct ping *p = arg;
    char text[128];
    if (l != p->link || p->is_over)
        return;
    p->link = NULL;
    if (p->sent > 0) {
        let_go(p);
        return;
    }
    snprintf(text, sizeof text, "no link: %s", why);
    fail(p, CYX_ECLOSED, text);
}

static struct mesh_link *find_link(struct ping *p)
{
    struct mesh *mesh = worker_mesh(p);
    if (mesh == NULL) {
        cyx_fail(&p->err, CYX_ECLOSED, "the mesh is not running");
        return NULL;
    }
    if (p->wanted.by == BY_CONTACT)
        return mesh_dial(mesh, &p->wanted.contact, &p->err);
    struct mesh_link *l = mesh_link_by_number(mesh, p->wanted.number);
    if (l == NULL)
        cyx_fail(&p->err, CYX_ENOENT, "there is no link %u", p->wanted.number);
    return l;
}

static void begin_there(void *arg)
{
    struct ping *p = arg;
    struct mesh_link_info info;
    p->link = find_link(p);
    if (p->link == NULL) {
        let_go(p);
        return;
    }
    p->is_begun = true;
    p->watcher =
        (struct mesh_watcher){ .link_up = on_link_up, .link_down = on_link_down, .arg = p };
    env_timer_init(&p->timer, on_timer, p);
    mesh_watch(worker_mesh(p), &p->watcher);
    mesh_link_info(p->link, &info);
    if (info.state == MESH_LINK_UP)
        link_stands(p);
    else
        env_timer_in(worker_env(p), &p->timer, ENV_MS(PING_DIAL_MS));
}

static void cancel_done(void *arg)
{
    due_done(arg);
}

static void cancel_there(void *arg)
{
    struct ping *p = arg;
    if (!p->is_over)
        let_go(p);
    env_post(node_env(p->n), cancel_done, p);
}

/* ---- worker 0: which peer -------------------------------------------------------------------- */

static void on_cancelled(void *arg)
{
    struct ping *p = arg;
    p->here.call = NULL;
    p->here.n_due++;
    env_post(worker_env(p), cancel_there, p);
}

/* The call has been asked to tell when it is cancelled; `wanted` names a link or a contact. */
static void begin(struct ping *p)
{
    unsigned n = workers_len(p->n->workers);
    p->worker = p->wanted.by == BY_NUMBER ? p->wanted.number % n
                                          : mesh_worker_of(p->wanted.contact.link_key, n);
    p->here.n_due = 1;
    control_on_cancel(p->here.call, on_cancelled, p);
    env_post(worker_env(p), begin_there, p);
}

static void refuse(struct ping *p, const struct cyx_err *err)
{
    node_reply_error(p->here.call, err->code, "%s", err->msg);
    free(p);
}

/* The contact in a remembered record whose id begins so. */
struct known {
    struct ping *p;
    struct mesh_contact contact;
    size_t n_found;
};

static bool begins_so(const struct wanted *w, const uint8_t id[static 32])
{
    char hex[65];
    sodium_bin2hex(hex, sizeof hex, id, 32);
    return memcmp(hex, w->prefix, w->len) == 0;
}

static void match_record(void *arg, const uint8_t *record, size_t len)
{
    struct known *k = arg;
    struct mesh_node m;
    struct mesh *mesh = node_mesh(k->p->n);
    if (mesh_node_record_open(&m, mesh_network_of(mesh), mesh_time(mesh), record, len) !=
            DROP_NONE ||
        m.n_addrs == 0 || !begins_so(&k->p->wanted, m.id))
        return;
    for (size_t i = 0; i < m.n_addrs; i++) {
        if (m.addrs[i].kind == 7)
            continue;
        k->n_found++;
        memcpy(k->contact.id, m.id, 32);
        memcpy(k->contact.link_key, m.link_key, 32);
        k->contact.addr = m.addrs[i].ip;
        return;
    }
}

/* Worker 0 has the records of all workers' peers. */
static void find_record(struct known *k)
{
    uint8_t key[32] = { 0 };
    char padded[65];
    /* The nearest to the prefix filled with zeros share it, if any do. */
    memset(padded, '0', 64);
    memcpy(padded, k->p->wanted.prefix, k->p->wanted.len);
    (void)sodium_hex2bin(key, sizeof key, padded, 64, NULL, NULL, NULL);
    if (node_mesh(k->p->n) != NULL)
        (void)mesh_known_nearest(node_mesh(k->p->n), key, 2, match_record, k);
}

/* An id or its beginning: an open link first, else a remembered record to dial. */
static void on_links(void *arg, const struct node_gathered *g)
{
    struct ping *p = arg;
    struct known k = { .p = p };
    struct cyx_err err = { 0 };
    size_t n = 0;
    if (p->here.call == NULL) {
        free(p); /* nobody waits any more */
        return;
    }
    control_on_cancel(p->here.call, NULL, NULL);
    for (size_t i = 0; i < g->n_links; i++) {
        const struct mesh_link_info *l = &g->links[i];
        if (!l->has_id || l->state == MESH_LINK_CLOSING || !begins_so(&p->wanted, l->id))
            continue;
        p->wanted.number = l->number;
        n++;
    }
    if (n == 0)
        find_record(&k);
    if (n > 1 || k.n_found > 1)
        cyx_fail(&err, CYX_EINVAL, "more than one node begins with %s: give more digits",
                 p->wanted.prefix);
    else if (n == 0 && k.n_found == 0)
        cyx_fail(&err, CYX_ENOENT,
                 "no link to %s and no record of it: give its contact (`cyx id --contact` over "
                 "there)",
                 p->wanted.prefix);
    if (err.code != 0) {
        refuse(p, &err);
        return;
    }
    p->wanted.by = n == 1 ? BY_NUMBER : BY_CONTACT;
    p->wanted.contact = k.contact;
    begin(p);
}

static void on_early_cancel(void *arg)
{
    ((struct ping *)arg)->here.call = NULL;
}

static int want_number(struct wanted *w, uint64_t number, struct cyx_err *err)
{
    w->by = BY_NUMBER;
    w->number = (uint32_t)number;
    return number <= UINT32_MAX
               ? 0
               : cyx_fail(err, CYX_ENOENT, "there is no link %llu", (unsigned long long)number);
}

static int read_wanted(struct wanted *w, const msgpack_object *params, struct cyx_err *err)
{
    char text[MESH_CONTACT_TEXT];
    uint64_t number = 0;
    if (mp_u64(mp_get(params, "node"), &number))
        return want_number(w, number, err);
    if (node__param_str(params, "node", text, sizeof text) <= 0)
        return cyx_fail(err, CYX_EINVAL, "want `node`: an id, a link's number or a contact");
    w->len = strlen(text);
    if (w->len > 64 || strspn(text, "0123456789abcdef") != w->len) {
        w->by = BY_CONTACT;
        return mesh_contact_parse(&w->contact, text, err);
    }
    if (w->len >= PING_DIGITS_MIN) {
        w->by = BY_PREFIX;
        memcpy(w->prefix, text, w->len);
        return 0;
    }
    if (strspn(text, "0123456789") == w->len && w->len > 0)
        return want_number(w, strtoul(text, NULL, 10), err);
    return cyx_fail(err, CYX_EINVAL, "want at least %d digits of the id", PING_DIGITS_MIN);
}

/* ---- the method ------------------------------------------------------------------------------ */

void node__method_ping(void *state, struct node_call *call, const msgpack_object *params)
{
    struct node *n = state;
    struct cyx_err err = { 0 };
    struct wanted wanted = { .by = BY_NUMBER };
    uint64_t count = 1;
    if (!node__needs_mesh(n, call))
        return;
    if (node__param_u64(params, "count", 1, PING_COUNT_MAX, &count) < 0) {
        node_reply_error(call, CYX_EINVAL, "`count` is a number from 1 to %d", PING_COUNT_MAX);
        return;
    }
    int rc = read_wanted(&wanted, params, &err);
    struct ping *p = rc == 0 ? calloc(1, sizeof *p) : NULL;
    if (p == NULL) {
        node_reply_error(call, rc == 0 ? CYX_ENOMEM : rc, "%s",
                         rc == 0 ? "no memory for the ping" : err.msg);
        return;
    }
    p->n = n;
    p->here.call = call;
    p->wanted = wanted;
    p->count = (uint32_t)count;
    if (wanted.by != BY_PREFIX) {
        begin(p);
        return;
    }
    control_on_cancel(call, on_early_cancel, p);
    node__gather(n, NODE_GATHER_LINKS, on_links, p);
}
