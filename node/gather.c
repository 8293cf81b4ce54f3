#include "node/gather.h"

#include <stdlib.h>
#include <string.h>

struct part {
    struct gather *gather;
    unsigned worker;
    struct node_gathered got;
};

struct gather {
    struct node *n;
    unsigned what, n_parts, n_due;
    node_gathered_fn fn;
    void *arg;
    struct part parts[];
};

/* ---- a worker's own -------------------------------------------------------------------------- */

/* Makes room for one more of `size` bytes; doubles at powers of two. */
static bool grow(void **at, size_t n, size_t size)
{
    if ((n & (n - 1)) != 0)
        return true;
    void *more = realloc(*at, (n == 0 ? 1 : 2 * n) * size);
    if (more != NULL)
        *at = more;
    return more != NULL;
}

static bool add_link(void *arg, struct mesh_link *l)
{
    struct node_gathered *g = arg;
    void *at = g->links;
    g->is_short = !grow(&at, g->n_links, sizeof *g->links);
    g->links = at;
    if (!g->is_short)
        mesh_link_info(l, &g->links[g->n_links++]);
    return !g->is_short;
}

/* Names, labels and help of a mesh's metrics live as long as the program. */
static void add_metric(void *arg, const struct metric *m)
{
    struct node_gathered *g = arg;
    void *at = g->metrics;
    bool has_room = grow(&at, g->n_metrics, sizeof *g->metrics);
    g->metrics = at;
    if (has_room)
        g->metrics[g->n_metrics++] = *m;
    else
        g->is_short = true;
}

static void collect(struct part *p)
{
    struct mesh *mesh = workers_mesh(p->gather->n->workers, p->worker);
    if (mesh == NULL)
        return;
    if ((p->gather->what & NODE_GATHER_STATUS) != 0)
        mesh_get_status(mesh, &p->got.status);
    if ((p->gather->what & NODE_GATHER_LINKS) != 0)
        mesh_links_each(mesh, add_link, &p->got);
    if ((p->gather->what & NODE_GATHER_METRICS) != 0)
        mesh_metrics(mesh, add_metric, &p->got);
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* The worst first: what the operator must know. */
static unsigned time_rank(enum mesh_time_state s)
{
    static const enum mesh_time_state order[] = { MESH_TIME_UNCHECKED, MESH_TIME_OWN,
                                                  MESH_TIME_MEDIAN, MESH_TIME_UNSET,
                                                  MESH_TIME_REFUSED };
    unsigned rank = 0;
    for (unsigned i = 0; i < sizeof order / sizeof order[0]; i++)
        if (order[i] == s)
            rank = i;
    return rank;
}

static void merge_status(struct mesh_status *to, const struct mesh_status *s)
{
    to->links += s->links;
    to->links_listed += s->links_listed;
    to->handshakes_open += s->handshakes_open;
    to->known += s->known;
    to->bootstrap_total += s->bootstrap_total;
    to->bootstrap_up += s->bootstrap_up;
    to->inbound_seen = to->inbound_seen || s->inbound_seen;
    to->is_ready = to->is_ready || s->is_ready;
    if (s->ready_ns != 0 && (to->ready_ns == 0 || s->ready_ns < to->ready_ns))
        to->ready_ns = s->ready_ns;
    if (time_rank(s->time_state) > time_rank(to->time_state)) {
        to->time_state = s->time_state;
        to->time_offset_ms = s->time_offset_ms;
        to->time = s->time;
    }
}

static bool is_same(const struct metric *a, const struct metric *b)
{
    if (strcmp(a->name, b->name) != 0 || (a->label == NULL) != (b->label == NULL))
        return false;
    return a->label == NULL ||
           (strcmp(a->label, b->label) == 0 && strcmp(a->value_of_label, b->value_of_label) == 0);
}

static void merge_metrics(struct node_gathered *to, const struct node_gathered *from)
{
    for (size_t i = 0; i < from->n_metrics; i++) {
        const struct metric *m = &from->metrics[i];
        size_t k = i < to->n_metrics && is_same(&to->metrics[i], m) ? i : 0;
        while (k < to->n_metrics && !is_same(&to->metrics[k], m))
            k++;
        if (k < to->n_metrics)
            to->metrics[k].value += m->value;
        else
            add_metric(to, m);
    }
}

static void merge_links(struct node_gathered *to, const struct node_gathered *from)
{
    if (from->n_links == 0)
        return;
    struct mesh_link_info *all = realloc(to->links, (to->n_links + from->n_links) * sizeof *all);
    if (all == NULL) {
        to->is_short = true;
        return;
    }
    memcpy(all + to->n_links, from->links, from->n_links * sizeof *all);
    to->links = all;
    to->n_links += from->n_links;
}

static void finish(struct gather *q)
{
    struct node_gathered *all = &q->parts[0].got;
    for (unsigned i = 1; i < q->n_parts; i++) {
        const struct node_gathered *g = &q->parts[i].got;
        if ((q->what & NODE_GATHER_STATUS) != 0)
            merge_status(&all->status, &g->status);
        merge_links(all, g);
        merge_metrics(all, g);
        all->is_short = all->is_short || g->is_short;
    }
    q->fn(q->arg, all);
    for (unsigned i = 0; i < q->n_parts; i++) {
        free(q->parts[i].got.links);
        free(q->parts[i].got.metrics);
    }
    free(q);
}

static void part_done(void *arg)
{
    struct gather *q = ((struct part *)arg)->gather;
    if (--q->n_due == 0)
        finish(q);
}

static void collect_there(void *arg)
{
    struct part *p = arg;
    collect(p);
    env_post(workers_env(p->gather->n->workers, 0), part_done, p);
}

void node__gather(struct node *n, unsigned what, node_gathered_fn fn, void *arg)
{
    /* Before the meshes are open the other threads don't run. */
    unsigned parts = node_mesh(n) != NULL ? workers_len(n->workers) : 1;
    struct gather *q = calloc(1, sizeof *q + parts * sizeof q->parts[0]);
    if (q == NULL) {
        struct node_gathered none = { .is_short = true };
        fn(arg, &none);
        return;
    }
    q->n = n;
    q->what = what;
    q->fn = fn;
    q->arg = arg;
    q->n_parts = q->n_due = parts;
    q->parts[0] = (struct part){ .gather = q };
    for (unsigned i = 1; i < parts; i++) {
        q->parts[i] = (struct part){ .gather = q, .worker = i };
        env_post(workers_env(n->workers, i), collect_there, &q->parts[i]);
    }
    collect(&q->parts[0]);
    part_done(&q->parts[0]);
}

/* ---- for control calls ----------------------------------------------------------------------- */

struct waiting {
    struct node *n;
    struct node_call *call; /* NULL: the caller is gone */
    node_gathered_call_fn fn;
};

static void on_cancelled(void *arg)
{
    ((struct waiting *)arg)->call = NULL;
}

static void on_gathered(void *arg, const struct node_gathered *g)
{
    struct waiting w = *(struct waiting *)arg;
    free(arg);
    if (w.call == NULL)
        return;
    control_on_cancel(w.call, NULL, NULL);
    if (g->is_short)
        node_reply_error(w.call, CYX_ENOMEM, "no memory to gather what the workers know");
    else
        w.fn(w.n, w.call, g);
}

void node__gather_call(struct node *n, struct node_call *call, unsigned what,
                       node_gathered_call_fn fn)
{
    struct waiting *w = malloc(sizeof *w);
    if (w == NULL) {
        node_reply_error(call, CYX_ENOMEM, "no memory to ask the workers");
        return;
    }
    *w = (struct waiting){ .n = n, .call = call, .fn = fn };
    control_on_cancel(call, on_cancelled, w);
    node__gather(n, what, on_gathered, w);
}
