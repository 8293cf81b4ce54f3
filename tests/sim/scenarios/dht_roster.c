/* Every listed node keeps a roster and syncs it, over a network that loses and reorders, while
 * machines come and go. Some listed nodes sit behind NATs at an address where nobody answers, and
 * some lie in every way there is. When all has been quiet for a while, every settled listed node
 * knows all settled listed ones, the unreachable ones have spread nowhere, and no lie was taken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "dht/roster.h"
#include "dht/sync.h"
#include "tests/sim/scenarios/town.h"

enum {
    SETTLED_S = 1800, /* three rounds of ten minutes, and the pushes between them */
    IDS_MAX = 4096,   /* identities of a run: a node that lost its disk gets another */
    LIES = 6,
};

/* An identity that somebody in this run really has. */
struct person {
    uint8_t id[DHT_ID];
    bool is_hidden;
    uint64_t sequence; /* the greatest it signed */
};

struct keeper {
    struct dht_roster *roster;
    struct dht_sync *sync;
    uint64_t ready_ns; /* since it started; 0: not yet */
    uint64_t start_ns;
    unsigned n_lies; /* liars: answers so far */
};

struct scene {
    struct sim_run *r;
    struct town *town;
    uint32_t n_liars;
    struct keeper *keepers;
    struct person *people;
    size_t n_people;
    struct town_samples ready;
    uint64_t taken, renewed, refused, lying, rounds, backs, failures;
};

struct outcome {
    char hash[33];
    struct scene sums;
    uint64_t pairs, known, hidden_known, settled, roster_max;
    struct sim_stats st;
};

static bool is_liar(const struct scene *s, const struct town_node *me)
{
    uint32_t i = (uint32_t)(me - s->town->nodes);
    return i >= s->town->o.bootstrap && i < s->town->o.bootstrap + s->n_liars;
}

static struct person *person_of(struct scene *s, const uint8_t id[static DHT_ID])
{
    for (size_t i = 0; i < s->n_people; i++)
        if (memcmp(s->people[i].id, id, DHT_ID) == 0)
            return &s->people[i];
    return NULL;
}

static void note_person(struct scene *s, const struct town_node *me)
{
    if (person_of(s, me->identity->id) != NULL)
        return;
    if (s->n_people == IDS_MAX)
        abort();
    struct person *p = &s->people[s->n_people++];
    memcpy(p->id, me->identity->id, DHT_ID);
    p->is_hidden = me->kind == TOWN_HIDDEN;
}

/* ---- liars ----------------------------------------------------------------------------------- */

struct lie {
    struct scene *s;
    struct town_node *me;
    struct keeper *k;
};

static struct lie lie_of(void *arg)
{
    struct town_node *me = arg;
    struct scene *s = me->town->o.hooks.arg;
    return (struct lie){ .s = s, .me = me, .k = me->above };
}

static void lie_digest(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    struct lie l = lie_of(arg);
    uint8_t buf[DHT_ROSTER_DIGEST + 8], digest[DHT_ROSTER_DIGEST];
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    (void)items;
    (void)n;
    memset(digest, (int)(++l.k->n_lies % 200 + 1), sizeof digest);
    mp_packer(&pk, &w);
    mp_pack_bin(&pk, digest, sizeof digest);
    mesh_reply(rq, MESH_RPC_OK, &(struct mesh_items){ .data = buf, .len = writer_len(&w), .n = 1 });
}

static void pack_pair(msgpack_packer *pk, const uint8_t *begin, uint64_t sequence)
{
    msgpack_pack_array(pk, 2);
    mp_pack_bin(pk, begin, 8);
    msgpack_pack_uint64(pk, sequence);
}

/* Everybody under that byte has something newer; or a thousand who aren't there have. */
static void lie_list(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    static uint8_t buf[1100 * 24];
    struct lie l = lie_of(arg);
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    uint64_t byte = 0;
    unsigned n_packed = 0;
    if (n > 0 && !mp_u64(&items[0], &byte))
        byte = 0;
    mp_packer(&pk, &w);
    if (l.k->n_lies % 3 == 0) {
        for (; n_packed < 1025; n_packed++) {
            uint8_t begin[8] = { (uint8_t)byte, (uint8_t)(n_packed >> 8), (uint8_t)n_packed };
            pack_pair(&pk, begin, UINT64_MAX);
            if (n_packed == 1023 && l.k->n_lies % 2 == 0)
                break;
        }
    } else {
        for (size_t i = 0; i < l.s->n_people && n_packed == 0; i++)
            if (l.s->people[i].id[0] == byte) {
                pack_pair(&pk, l.s->people[i].id, UINT64_MAX);
                n_packed++;
            }
    }
    mesh_reply(rq, MESH_RPC_OK,
               &(struct mesh_items){ .data = buf, .len = writer_len(&w), .n = n_packed });
}

/* Its own record, bent in one way after the other. */
static void lie_records(void *arg, struct mesh_request *rq, const msgpack_object *items, unsigned n)
{
    static uint8_t buf[LIES * 40 * 1100];
    struct lie l = lie_of(arg);
    uint8_t record[2 * MESH_NODE_RECORD_MAX] = { 0 };
    msgpack_packer pk;
    struct writer w = writer_on(buf, sizeof buf);
    unsigned kind = l.k->n_lies++ % LIES, n_packed = 0;
    size_t len = mesh_own_record(l.me->mesh, record);
    (void)items;
    mp_packer(&pk, &w);
    if (kind == 0 && len > 0)
        record[len - 1] ^= 1; /* forged */
    if (kind == 1)
        len = MESH_NODE_RECORD_MAX + 1; /* oversized */
    if (kind == 2 && len > 0)
        record[4 + 7] ^= 0x40; /* another sequence under the same signature */
    unsigned most = kind == 3 ? n + 1 : kind == 4 ? 0 : 1;
    for (; len > 0 && n_packed < most; n_packed++)
        mp_pack_bin(&pk, record, len); /* kind 5: true, and not asked for */
    mesh_reply(rq, MESH_RPC_OK,
               &(struct mesh_items){ .data = buf, .len = writer_len(&w), .n = n_packed });
}

static void start_lying(struct town_node *me)
{
    if (mesh_serve(me->mesh, MESH_METHOD_DIGEST, lie_digest, me) != 0 ||
        mesh_serve(me->mesh, MESH_METHOD_LIST, lie_list, me) != 0 ||
        mesh_serve(me->mesh, MESH_METHOD_RECORDS, lie_records, me) != 0)
        abort();
}

/* ---- what stands above each mesh ------------------------------------------------------------- */

static void started(void *arg, struct town_node *me)
{
    struct scene *s = arg;
    struct keeper *k = &s->keepers[me - s->town->nodes];
    uint8_t secret[32];
    struct cyx_err err;
    me->above = k;
    *k = (struct keeper){ .start_ns = sim_now(s->town->w) };
    note_person(s, me);
    if (is_liar(s, me)) {
        start_lying(me);
        return;
    }
    env_random(mesh_env(me->mesh), secret, sizeof secret);
    k->roster = dht_roster_create(DHT_ROSTER_MAX, me->identity->id, secret, false);
    if (k->roster == NULL)
        abort();
    k->sync = dht_sync_create(me->mesh, k->roster, me->kind != TOWN_USER, &err);
    if (k->sync == NULL || dht_sync_start(k->sync, &err) != 0)
        s->failures++;
}

static void sum_metric(void *arg, const struct metric *m)
{
    struct scene *s = arg;
    const struct {
        const char *name;
        uint64_t *sum;
    } wanted[] = {
        { "cyx_dht_sync_rounds_total", &s->rounds },
        { "cyx_dht_sync_backs_total", &s->backs },
        { "cyx_dht_sync_peers_lying_total", &s->lying },
        { "cyx_dht_sync_refused_total", &s->refused },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (strcmp(m->name, wanted[i].name) == 0)
            *wanted[i].sum += m->value;
    if (strcmp(m->name, "cyx_dht_sync_records_total") == 0)
        *(strcmp(m->value_of_label, "new") == 0 ? &s->taken : &s->renewed) += m->value;
}

static void dropped(void *arg, struct town_node *me)
{
    struct scene *s = arg;
    struct keeper *k = me->above;
    if (k->sync != NULL)
        dht_sync_metrics(k->sync, sum_metric, s);
    dht_sync_destroy(k->sync);
    dht_roster_destroy(k->roster);
    k->sync = NULL;
    k->roster = NULL;
}

/* ---- checks ---------------------------------------------------------------------------------- */

static bool is_settled(const struct town_node *me)
{
    return me->is_above && me->boot_ns + SIM_S(SETTLED_S) <= sim_now(me->town->w);
}

static bool is_public(const struct town_node *me)
{
    return me->kind == TOWN_BOOTSTRAP || me->kind == TOWN_LISTED;
}

struct checking {
    struct scene *s;
    struct outcome *out;
    const struct town_node *me;
};

/* Only who exists, and nothing newer than what they signed. The unreachable are known to whom they
 * dialled, and told of by nobody. */
static bool check_entry(void *arg, const struct dht_roster_entry *e)
{
    struct checking *c = arg;
    const struct person *p = person_of(c->s, e->id);
    unsigned me = sim_node_index(c->me->node);
    if (p == NULL) {
        run_check(c->s->r, false, "node %u holds a node that never was", me);
        return true;
    }
    run_check(c->s->r, e->sequence <= p->sequence || p->sequence == 0,
              "node %u holds a record that was never signed", me);
    if (p->is_hidden) {
        c->out->hidden_known++;
        run_check(c->s->r, !dht_roster_is_told(e, mesh_time(c->me->mesh)),
                  "node %u tells of a node that can't be reached", me);
    }
    return true;
}

static void check_node(struct scene *s, struct outcome *out, const struct town_node *me)
{
    const struct keeper *k = me->above;
    struct checking c = { .s = s, .out = out, .me = me };
    const struct town *t = s->town;
    dht_roster_each(k->roster, check_entry, &c);
    if (dht_roster_len(k->roster) > out->roster_max)
        out->roster_max = dht_roster_len(k->roster);
    if (!is_settled(me))
        return;
    out->settled++;
    run_check(s->r, dht_sync_is_ready(k->sync), "node %u is not ready", sim_node_index(me->node));
    for (uint32_t i = 0; i < t->o.nodes && is_public(me); i++) {
        const struct town_node *other = &t->nodes[i];
        if (other == me || !is_public(other) || !is_settled(other))
            continue;
        bool knows = dht_roster_get(k->roster, other->identity->id) != NULL;
        out->pairs++;
        out->known += knows;
        run_check(s->r, knows, "node %u doesn't know node %u", sim_node_index(me->node), i);
    }
}

static void note_sequences(struct scene *s)
{
    for (uint32_t i = 0; i < s->town->o.nodes; i++) {
        const struct town_node *me = &s->town->nodes[i];
        uint8_t record[MESH_NODE_RECORD_MAX];
        struct mesh_record head;
        size_t len = me->is_above ? mesh_own_record(me->mesh, record) : 0;
        struct person *p = me->is_above ? person_of(s, me->identity->id) : NULL;
        if (p != NULL && mesh_record_parse(&head, record, len) == DROP_NONE)
            p->sequence = head.sequence;
    }
}

/* ---- one run --------------------------------------------------------------------------------- */

static void look_at_ready(struct scene *s)
{
    for (uint32_t i = 0; i < s->town->o.nodes; i++) {
        const struct town_node *me = &s->town->nodes[i];
        struct keeper *k = me->above;
        if (!me->is_above || k->sync == NULL || k->ready_ns != 0 || !dht_sync_is_ready(k->sync))
            continue;
        k->ready_ns = sim_now(s->town->w) - k->start_ns;
        town_sample(&s->ready, k->ready_ns);
    }
}

static void pass_time(struct scene *s, uint64_t until)
{
    struct sim_world *w = s->town->w;
    while (sim_now(w) < until) {
        sim_run_until(w, sim_now(w) + SIM_MS(100));
        look_at_ready(s);
        run_progress(s->r, "virtual second %u", (unsigned)(sim_now(w) / SIM_S(1)));
    }
}

static void check_all(struct scene *s, struct outcome *out)
{
    note_sequences(s);
    for (uint32_t i = 0; i < s->town->o.nodes; i++) {
        const struct town_node *me = &s->town->nodes[i];
        const struct keeper *k = me->above;
        if (me->is_above && k->sync != NULL)
            check_node(s, out, me);
    }
    run_check(s->r, out->settled >= s->town->o.nodes / 3, "only %u nodes settled",
              (unsigned)out->settled);
    run_check(s->r, s->failures == 0 && s->town->n.failures == 0, "%u failures, the first: %s",
              (unsigned)(s->failures + s->town->n.failures), s->town->n.failure);
}

static void once(struct sim_run *r, struct outcome *out)
{
    struct scene s = { .r = r, .n_liars = (uint32_t)run_arg(r, "liars") };
    struct town_options o = { .seed = run_seed(r),
                              .nodes = (uint32_t)run_arg(r, "nodes"),
                              .bootstrap = 4,
                              .nat_percent = (uint32_t)run_arg(r, "nat"),
                              .window_ns = SIM_S(30),
                              .loss_ppm = (uint32_t)run_arg(r, "loss") * 10000u,
                              .hidden = (uint32_t)run_arg(r, "hidden"),
                              .hooks = { started, dropped, &s } };
    uint64_t end = SIM_S(run_arg(r, "minutes") * 60);
    uint64_t churn = run_arg(r, "churn") * o.nodes;
    *out = (struct outcome){ 0 };
    s.keepers = calloc(o.nodes, sizeof *s.keepers);
    s.people = calloc(IDS_MAX, sizeof *s.people);
    if (s.keepers == NULL || s.people == NULL)
        abort();
    s.town = town_create(&o);
    pass_time(&s, SIM_S(60));
    if (churn > 0)
        town_churn(s.town, SIM_S(60) * 1000 / churn);
    pass_time(&s, end - SIM_S(SETTLED_S) - SIM_S(120));
    town_calm(s.town);
    pass_time(&s, end);
    check_all(&s, out);
    sim_hash(s.town->w, out->hash);
    sim_stats(s.town->w, &out->st);
    run_hash(r, s.town->w);
    town_destroy(s.town);
    free(s.keepers);
    free(s.people);
    out->sums = s;
}

static void report(struct sim_run *r, struct outcome *out)
{
    struct scene *s = &out->sums;
    run_figure(r, "settled", "nodes up long enough", out->settled, "");
    run_figure(r, "pairs", "pairs that should know each other", out->pairs, "");
    run_figure(r, "known", "... that do", out->known, "");
    run_figure(r, "hidden_known", "unreachable nodes known, to whom they dialled",
               out->hidden_known, "");
    run_figure(r, "roster_max", "largest roster", out->roster_max, "nodes");
    run_figure(r, "ready_ms_p50", "ready, median", town_percentile(&s->ready, 50) / SIM_MS(1),
               "ms");
    run_figure(r, "ready_ms_p99", "ready, p99", town_percentile(&s->ready, 99) / SIM_MS(1), "ms");
    run_figure(r, "rounds", "rounds", s->rounds, "");
    run_figure(r, "backs", "peers asked back", s->backs, "");
    run_figure(r, "taken", "new records taken", s->taken, "");
    run_figure(r, "renewed", "newer records taken", s->renewed, "");
    run_figure(r, "refused", "records and answers refused", s->refused, "");
    run_figure(r, "lying", "exchanges broken off", s->lying, "");
    run_figure(r, "sent_bytes", "sent by all", out->st.sent_bytes, "bytes");
    run_figure(r, "events", "events", out->st.events, "");
    run_check(r, s->n_liars == 0 || s->lying > 0, "nobody met a liar");
}

static void run(struct sim_run *r)
{
    struct outcome first, again;
    if (!run_check(r,
                   run_arg(r, "minutes") * 60 > SETTLED_S + 180 &&
                       run_arg(r, "nodes") > 4 + run_arg(r, "liars"),
                   "more minutes than %u, more nodes than liars and bootstrap nodes",
                   (SETTLED_S + 180) / 60))
        return;
    once(r, &first);
    report(r, &first);
    free(first.sums.ready.v);
    if (run_arg(r, "replay") == 0)
        return;
    once(r, &again);
    free(again.sums.ready.v);
    run_check(r, strcmp(first.hash, again.hash) == 0, "a run and its replay: %s and %s", first.hash,
              again.hash);
}

static const struct sim_param params[] = {
    { "nodes", 60, 8, 100000, "nodes" },
    { "minutes", 45, 34, 100000, "virtual time" },
    { "churn", 20, 0, 1000,
      "accidents a minute for a thousand nodes, until half an hour before the end" },
    { "loss", 2, 0, 50, "percent of datagrams lost" },
    { "nat", 25, 0, 90, "percent of nodes behind NATs" },
    { "hidden", 4, 0, 1000, "of those: say they are listed, at an address where nobody answers" },
    { "liars", 2, 0, 100, "listed nodes that lie" },
    { "replay", 1, 0, 1, "runs it twice and compares" },
    { 0 },
};

extern const struct sim_scenario scenario_dht_roster;
const struct sim_scenario scenario_dht_roster = {
    .name = "dht-roster",
    .help = "listed nodes come to know all others, whatever liars and unreachable ones say",
    .params = params,
    .run = run,
};
