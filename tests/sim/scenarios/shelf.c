#include "tests/sim/scenarios/shelf.h"

#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"

enum {
    LIFE_S = 20 * 3600, /* of a provider record; at most 24 h */
    NODE_SHARE = 4,     /* one lookup of so many is for a node record */
    DRAWS = 100,        /* for a record that is published */
    SETTLED_S = 30,     /* a node whose record is looked up has been there for so long */
};

/* ---- tallies ---- */

uint64_t tally_failed(const struct tally *t)
{
    return t->stale + t->missing + t->silent + t->unable;
}

uint64_t tally_ended(const struct tally *t)
{
    return t->found + tally_failed(t);
}

void tally_fini(struct tally *t)
{
    free(t->hops.v);
    free(t->ms.v);
}

void put_tally_fini(struct put_tally *t)
{
    free(t->copies.v);
}

static double mean(const struct town_samples *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->n; i++)
        sum += s->v[i];
    return s->n > 0 ? (double)sum / (double)s->n : 0;
}

static void report_failures(struct sim_run *r, const struct tally *t, const char *key,
                            const char *label)
{
    const struct {
        const char *key, *label;
        uint64_t n;
    } kinds[] = {
        { "stale", "an older version", t->stale },       { "missing", "nobody had it", t->missing },
        { "silent", "nobody answered", t->silent },      { "unable", "no node to ask", t->unable },
        { "cancelled", "the asker left", t->cancelled },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].n > 0)
            run_figure(r, run_text(r, "%s_%s", key, kinds[i].key),
                       run_text(r, "%s: %s", label, kinds[i].label), kinds[i].n, "");
}

void tally_report_brief(struct sim_run *r, const struct tally *t, const char *key,
                        const char *label)
{
    uint64_t ended = tally_ended(t);
    double n = ended > 0 ? (double)ended : 1;
    run_figure(r, run_text(r, "%s_lookups", key), run_text(r, "%s: lookups", label), ended, "");
    run_figure_real(r, run_text(r, "%s_found_percent", key), run_text(r, "%s: found", label),
                    100.0 * (double)t->found / n, "%");
    run_figure_real(r, run_text(r, "%s_messages_mean", key),
                    run_text(r, "%s: requests a lookup", label), (double)t->messages / n, "");
    report_failures(r, t, key, label);
}

void tally_report(struct sim_run *r, struct tally *t, const char *key, const char *label)
{
    uint64_t ended = tally_ended(t);
    tally_report_brief(r, t, key, label);
    run_figure_real(r, run_text(r, "%s_answers_mean", key),
                    run_text(r, "%s: answers a lookup", label),
                    (double)t->answered / (ended > 0 ? (double)ended : 1), "");
    run_figure_real(r, run_text(r, "%s_hops_mean", key), run_text(r, "%s: hops, mean", label),
                    mean(&t->hops), "");
    run_figure(r, run_text(r, "%s_hops_p99", key), run_text(r, "%s: hops, p99", label),
               town_percentile(&t->hops, 99), "");
    run_figure(r, run_text(r, "%s_ms_p50", key), run_text(r, "%s: latency, median", label),
               town_percentile(&t->ms, 50), "ms");
    run_figure(r, run_text(r, "%s_ms_p99", key), run_text(r, "%s: latency, p99", label),
               town_percentile(&t->ms, 99), "ms");
}

bool tally_check_hops(struct sim_run *r, const struct tally *t, uint64_t nodes)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < t->hops.n; i++)
        sum += t->hops.v[i];
    return run_check(r, sum * 10000 <= 12 * (city_log16_milli(nodes) + 1000) * t->hops.n,
                     "%u lookups took %u hops; log_16(%u) is 0.001 * %u", (unsigned)t->hops.n,
                     (unsigned)sum, (unsigned)nodes, (unsigned)city_log16_milli(nodes));
}

bool tally_check(struct sim_run *r, const struct tally *t, unsigned permille, const char *what)
{
    uint64_t allowed = tally_ended(t) * (1000 - permille) / 1000;
    if (allowed == 0)
        allowed = 1;
    return run_check(r, tally_ended(t) > 0 && tally_failed(t) <= allowed,
                     "%s: %u of %u lookups failed (%u stale, %u missing, %u silent, %u unable)",
                     what, (unsigned)tally_failed(t), (unsigned)tally_ended(t), (unsigned)t->stale,
                     (unsigned)t->missing, (unsigned)t->silent, (unsigned)t->unable);
}

/* ---- jobs ----
 * What a node was asked to do. A node may die before or meanwhile, so the shelf owns them. */

struct job {
    struct list node;
    struct shelf *shelf;
    struct city_node *by;
    uint32_t life; /* of `by`: a newcomer in its place does nothing for it */
    struct tally *tally;
    uint32_t record;
    enum shelf_care care;
    uint8_t key[DHT_ID];
    unsigned type;
    uint8_t publisher[32];
    uint64_t sequence; /* the least that counts as the newest; of a publication: its own */
};

static struct job *job_add(struct shelf *s, struct city_node *by, uint32_t record)
{
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL)
        abort();
    *j = (struct job){ .shelf = s, .by = by, .life = by->base.life, .record = record };
    list_init(&j->node);
    list_push_back(&s->jobs, &j->node);
    return j;
}

static void job_free(struct job *j)
{
    list_del(&j->node);
    free(j);
}

static bool is_there(const struct job *j)
{
    return j->by->base.life == j->life && j->by->base.is_started && !j->by->base.is_leaving;
}

/* ---- publishing ---- */

size_t shelf_build(const struct mesh_network *net, const struct card *pseudonym,
                   const uint8_t content[static 32], uint64_t sequence, uint64_t now, uint8_t *out)
{
    uint8_t sk[64];
    struct dht_provider p = { .size = 1 << 20, .sequence = sequence, .expiry = now + LIFE_S };
    memcpy(p.content, content, sizeof p.content);
    memcpy(p.address, pseudonym->sign_pk, sizeof p.address); /* any key will do */
    memcpy(p.puzzle, pseudonym->puzzle, sizeof p.puzzle);
    card_secret(pseudonym, sk);
    int len = dht_provider_build(&p, net, sk, out);
    if (len <= 0)
        abort();
    return (size_t)len;
}

static void count_put(struct put_tally *t, int code, const struct dht_stored *stored)
{
    t->refused += stored != NULL ? stored->refused : 0;
    switch (code) {
    case 0:
        t->stored++;
        town_sample(&t->copies, stored->stored);
        break;
    case CYX_EEXIST:
        t->newer++;
        break;
    case CYX_EIO:
        t->few++;
        break;
    case CYX_ECANCELED:
        t->cancelled++;
        break;
    default:
        t->unable++;
        break;
    }
}

static void put_done(void *arg, int code, const struct dht_stored *stored)
{
    struct job *j = arg;
    struct shelf_record *rec = &j->shelf->records[j->record];
    count_put(&j->shelf->puts, code, stored);
    if (code != CYX_ECANCELED && j->sequence > rec->sequence)
        rec->sequence = j->sequence;
    job_free(j);
}

static void put(void *arg)
{
    struct job *j = arg;
    struct shelf *s = j->shelf;
    const struct shelf_record *rec = &s->records[j->record];
    uint8_t bytes[DHT_PROVIDER_MAX];
    int code = CYX_ECANCELED;
    if (is_there(j)) {
        struct mesh *m = j->by->base.mesh;
        size_t len = shelf_build(mesh_network_of(m), &rec->pseudonym, rec->content, j->sequence,
                                 mesh_time(m), bytes);
        code = j->care == SHELF_KEEP ? dht_publish(j->by->dht, bytes, len, put_done, j, NULL)
                                     : dht_put(j->by->dht, bytes, len, put_done, j, NULL);
    }
    if (code != 0)
        put_done(j, code, NULL);
}

void shelf_publish(struct shelf *s, uint32_t record, struct city_node *by, enum shelf_care care)
{
    struct job *j = job_add(s, by, record);
    j->care = care;
    j->sequence = ++s->records[record].begun;
    s->puts.asked++;
    sim_node_enter(by->base.node, put, j);
}

/* ---- looking ---- */

static bool is_wanted(const struct job *j, const struct dht_value *v)
{
    return v->head.type == j->type && memcmp(v->head.publisher, j->publisher, 32) == 0;
}

static void count_found(const struct job *j, struct tally *t, const struct dht_found *f)
{
    const struct dht_value *newest = NULL;
    for (size_t i = 0; i < f->n_values; i++)
        if (is_wanted(j, &f->values[i]))
            newest = &f->values[i];
    if (newest == NULL) {
        t->missing++;
        return;
    }
    if (newest->head.sequence < j->sequence) {
        t->stale++;
        return;
    }
    t->found++;
    town_sample(&t->hops, f->hops);
    town_sample(&t->ms, f->ns / SIM_MS(1));
}

static void count_end(const struct job *j, int code, const struct dht_found *f)
{
    struct tally *t = j->tally;
    if (code != CYX_ECANCELED && f != NULL) {
        t->messages += f->asked;
        t->answered += f->answered;
    }
    switch (code) {
    case 0:
        count_found(j, t, f);
        break;
    case CYX_ENOENT:
        t->missing++;
        break;
    case CYX_ETIMEDOUT:
        t->silent++;
        break;
    case CYX_ECANCELED:
        t->cancelled++;
        break;
    default:
        t->unable++;
        break;
    }
}

static void look_done(void *arg, int code, const struct dht_found *f)
{
    struct job *j = arg;
    count_end(j, code, f);
    job_free(j);
}

static void look(void *arg)
{
    struct job *j = arg;
    int code = CYX_ECANCELED;
    if (is_there(j))
        code = dht_find(j->by->dht, j->key, j->type, DHT_FIND_FRESH, look_done, j, NULL);
    if (code != 0)
        look_done(j, code, NULL);
}

void shelf_look(struct shelf *s, uint32_t record, struct city_node *by, struct tally *t)
{
    const struct shelf_record *rec = &s->records[record];
    struct job *j = job_add(s, by, record);
    j->tally = t;
    j->type = MESH_RECORD_PROVIDER;
    j->sequence = rec->sequence;
    memcpy(j->key, rec->place, sizeof j->key);
    memcpy(j->publisher, rec->pseudonym.sign_pk, sizeof j->publisher);
    t->asked++;
    sim_node_enter(by->base.node, look, j);
}

void shelf_look_node(struct shelf *s, const struct city_node *whose, struct city_node *by,
                     struct tally *t)
{
    struct job *j = job_add(s, by, 0);
    j->tally = t;
    j->type = MESH_RECORD_NODE;
    memcpy(j->key, whose->base.card.id, sizeof j->key);
    memcpy(j->publisher, whose->base.card.sign_pk, sizeof j->publisher);
    t->asked++;
    sim_node_enter(by->base.node, look, j);
}

/* ---- many of them ---- */

struct errand {
    struct shelf *shelf;
    struct tally *records, *nodes; /* of lookups */
    uint32_t record;               /* to be published ... */
    enum shelf_care care;
    bool is_put; /* ... if this is set */
};

static void look_at_any(const struct errand *e, struct city_node *by)
{
    struct shelf *s = e->shelf;
    for (unsigned i = 0; i < DRAWS; i++) {
        uint32_t at = (uint32_t)sim_random_below(s->city->w, s->n_records);
        if (s->records[at].sequence > 0) {
            shelf_look(s, at, by, e->records);
            return;
        }
    }
}

static void look_at_any_node(const struct errand *e, struct city_node *by)
{
    struct sim_world *w = e->shelf->city->w;
    for (unsigned i = 0; i < DRAWS; i++) {
        struct city_node *whose = city_draw(e->shelf->city);
        if (whose != NULL && whose != by && whose->base.boot_ns + SIM_S(SETTLED_S) <= sim_now(w)) {
            shelf_look_node(e->shelf, whose, by, e->nodes);
            return;
        }
    }
}

static void run_errand(void *arg)
{
    struct errand *e = arg;
    struct city *c = e->shelf->city;
    struct city_node *by = city_draw(c);
    bool is_node = !e->is_put && e->nodes != NULL && sim_random_below(c->w, NODE_SHARE) == 0;
    if (by != NULL && e->is_put)
        shelf_publish(e->shelf, e->record, by, e->care);
    else if (by != NULL && is_node)
        look_at_any_node(e, by);
    else if (by != NULL)
        look_at_any(e, by);
    free(e);
}

static void errand_add(const struct errand *e, uint64_t at_ns)
{
    struct errand *copy = malloc(sizeof *copy);
    if (copy == NULL)
        abort();
    *copy = *e;
    sim_at(e->shelf->city->w, at_ns, run_errand, copy);
}

void shelf_publish_all(struct shelf *s, uint64_t over_ns, enum shelf_care care)
{
    uint64_t now = sim_now(s->city->w);
    for (uint32_t i = 0; i < s->n_records; i++) {
        struct errand e = { .shelf = s, .record = i, .care = care, .is_put = true };
        errand_add(&e, now + over_ns / s->n_records * i);
    }
}

void shelf_look_often(struct shelf *s, uint32_t n, uint64_t from_ns, uint64_t until_ns,
                      struct tally *records, struct tally *nodes)
{
    struct errand e = { .shelf = s, .records = records, .nodes = nodes };
    for (uint32_t i = 0; i < n; i++)
        errand_add(&e, from_ns + sim_random_below(s->city->w, until_ns - from_ns));
}

/* ---- the shelf ---- */

struct shelf *shelf_create(struct city *city, uint32_t first, uint32_t n)
{
    struct shelf *s = calloc(1, sizeof *s);
    if (s == NULL || (s->records = calloc(n, sizeof *s->records)) == NULL)
        abort();
    s->city = city;
    s->n_records = n;
    list_init(&s->jobs);
    for (uint32_t i = 0; i < n; i++) {
        struct shelf_record *rec = &s->records[i];
        rec->pseudonym = cards_get(city->o.cards, CARD_PSEUDONYM, first + i);
        crypto_h(rec->content, "sim content", &BYTES(rec->pseudonym.id, 32), 1);
        dht_provider_place(rec->place, rec->content);
    }
    return s;
}

void shelf_destroy(struct shelf *s)
{
    while (!list_empty(&s->jobs))
        job_free(container_of(s->jobs.next, struct job, node));
    put_tally_fini(&s->puts);
    free(s->records);
    free(s);
}
