/* What is exposed: the list, read from the disk, served, looked at. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "node/expose_internal.h"
#include "onion/address.h"

const char *expose__file(const char *name, char out[static EXPOSE_FILE_NAME])
{
    snprintf(out, EXPOSE_FILE_NAME, "endpoint-%s.key", name);
    return out;
}

const struct expose_port *expose__port(const struct expose_entry *e, uint16_t port, unsigned kind)
{
    for (size_t i = 0; i < e->spec.n_ports; i++)
        if (e->spec.ports[i].port == port && (e->spec.ports[i].kind & kind) != 0)
            return &e->spec.ports[i];
    return NULL;
}

void expose__tell(struct expose *x)
{
    list_each_safe (pos, &x->watches) {
        struct expose_watch *w = container_of(pos, struct expose_watch, node);
        w->fn(w->arg); /* may take itself away */
    }
}

/* ---- entries --------------------------------------------------------------------------------- */

struct expose_entry *expose__entry(struct expose *x, const char *name)
{
    list_each (pos, &x->entries) {
        struct expose_entry *e = container_of(pos, struct expose_entry, node);
        if (strcmp(e->spec.name, name) == 0)
            return e;
    }
    return NULL;
}

struct expose_entry *expose__entry_new(struct expose *x, const struct expose_spec *spec)
{
    struct expose_entry *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    e->expose = x;
    e->spec = *spec;
    list_init(&e->visits);
    list_init(&e->flows);
    struct list *at = x->entries.next;
    while (at != &x->entries &&
           strcmp(container_of(at, struct expose_entry, node)->spec.name, spec->name) < 0)
        at = at->next;
    list_add_before(at, &e->node);
    x->n_entries++;
    return e;
}

void expose__stop(struct expose_entry *e)
{
    expose__drop_visits(e);
    expose__drop_flows(e);
    e->expose->o.ops->service_close(e->service);
    e->service = NULL;
}

void expose__entry_free(struct expose_entry *e)
{
    expose__stop(e);
    list_del(&e->node);
    e->expose->n_entries--;
    secret_free(e->seed);
    free(e);
}

/* Draws the key (`from` NULL) or takes it. */
int expose__set_seed(struct expose_entry *e, const uint8_t *from, struct cyx_err *err)
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    e->seed = secret_alloc(EXPOSE_SEED);
    if (e->seed == NULL)
        return cyx_fail(err, CYX_ENOMEM, "no locked memory for the endpoint's key");
    if (from != NULL)
        memcpy(e->seed, from, EXPOSE_SEED);
    else
        env_random(e->expose->o.env, e->seed, EXPOSE_SEED);
    crypto_sign_seed_keypair(e->address, secret, e->seed);
    sodium_memzero(secret, sizeof secret);
    return 0;
}

/* ---- serving --------------------------------------------------------------------------------- */

static void on_changed(void *arg, const struct onion_service_info *now)
{
    static const char *const states[] = { "starting", "has pivots", "published",
                                          "ready: found from outside" };
    const struct expose_entry *e = arg;
    log_info(e->expose->o.env->log, "expose", "%s: %s (%u of %u pivots)", e->spec.name,
             states[now->state], now->pivots, now->pivots_wanted);
    expose__tell(e->expose);
}

static const struct onion_service_events service_events = { .stream = expose__on_stream,
                                                            .flow = expose__on_flow,
                                                            .changed = on_changed };

void expose__start(struct expose_entry *e)
{
    struct expose *x = e->expose;
    struct onion_port ports[ONION_PORTS_MAX];
    if (x->onion == NULL || !e->is_on || e->seed == NULL || e->service != NULL)
        return;
    for (size_t i = 0; i < e->spec.n_ports; i++)
        ports[i] = (struct onion_port){ e->spec.ports[i].port, e->spec.ports[i].kind };
    struct onion_service_config c = { .seed = e->seed,
                                      .ports = ports,
                                      .n_ports = e->spec.n_ports,
                                      .clients = (const uint8_t(*)[32])e->spec.clients,
                                      .n_clients = e->spec.n_clients,
                                      .hops = x->o.hops };
    e->trouble = (struct cyx_err){ 0 };
    e->service = x->o.ops->serve(x->onion, &c, &service_events, e, &e->trouble);
    if (e->service == NULL)
        log_warn(x->o.env->log, "expose", "%s: %s", e->spec.name, e->trouble.msg);
}

void expose_set_onion(struct expose *x, struct onion *o)
{
    x->onion = o;
    list_each (pos, &x->entries) {
        struct expose_entry *e = container_of(pos, struct expose_entry, node);
        if (o != NULL)
            expose__start(e);
        else
            expose__stop(e);
    }
}

/* ---- the disk -------------------------------------------------------------------------------- */

static void load_key(struct expose_entry *e)
{
    char name[EXPOSE_FILE_NAME];
    cleanup_key32 struct key32 seed = { 0 };
    size_t len = 0;
    bool is_sealed = false;
    struct vault *v = e->expose->o.vault;
    int rc = vault_load(v, expose__file(e->spec.name, name), seed.b, sizeof seed.b, &len,
                        &is_sealed, &e->trouble);
    if (rc == 0 && len != EXPOSE_SEED)
        rc = cyx_fail(&e->trouble, CYX_ECORRUPT, "%s holds no key", name);
    if (rc == 0)
        rc = expose__set_seed(e, seed.b, &e->trouble);
    if (rc < 0)
        log_warn(e->expose->o.env->log, "expose", "%s: %s", e->spec.name, e->trouble.msg);
    else if (vault_is_sealing(v) && !is_sealed && /* the passphrase is new */
             vault_store(v, name, e->seed, EXPOSE_SEED, NULL, NULL) < 0)
        log_warn(e->expose->o.env->log, "expose", "%s: no memory to seal its key", e->spec.name);
}

static bool load_entry(void *arg, const uint8_t *key, size_t key_len, const uint8_t *val,
                       size_t val_len)
{
    struct expose *x = arg;
    char name[EXPOSE_NAME_MAX + 1];
    bool is_on = false;
    struct cyx_err err = { 0 };
    struct expose_spec *spec = malloc(sizeof *spec);
    if (spec == NULL || key_len > EXPOSE_NAME_MAX || x->n_entries == EXPOSE_SERVICES_MAX) {
        free(spec);
        return true;
    }
    memcpy(name, key, key_len);
    name[key_len] = '\0';
    struct expose_entry *e = NULL;
    if (expose_spec_decode(spec, &is_on, name, val, val_len, &err) == 0)
        e = expose__entry_new(x, spec);
    else
        log_warn(x->o.env->log, "expose", "%s", err.msg);
    free(spec);
    if (e != NULL)
        e->is_on = is_on;
    return true;
}

struct expose *expose_open(const struct expose_options *o, struct cyx_err *err)
{
    struct expose *x = calloc(1, sizeof *x);
    if (x == NULL) {
        (void)cyx_fail(err, CYX_ENOMEM, "no memory for the endpoints");
        return NULL;
    }
    x->o = *o;
    list_init(&x->entries);
    list_init(&x->watches);
    list_init(&x->changes);
    if (env_kv_open(o->env, "services", EXPOSE_STORE_BYTES, &x->kv, err) < 0) {
        free(x);
        return NULL;
    }
    (void)env_kv_each(o->env, x->kv, NULL, 0, load_entry, x);
    list_each (pos, &x->entries)
        load_key(container_of(pos, struct expose_entry, node));
    return x;
}

void expose_destroy(struct expose *x)
{
    if (x == NULL)
        return;
    expose__cancel_changes(x);
    while (!list_empty(&x->entries))
        expose__entry_free(container_of(x->entries.next, struct expose_entry, node));
    env_kv_close(x->o.env, x->kv);
    free(x);
}

/* ---- looking --------------------------------------------------------------------------------- */

static void row_of(const struct expose_entry *e, struct expose_row *out)
{
    *out = (struct expose_row){ .spec = &e->spec,
                                .is_on = e->is_on,
                                .has_address = e->seed != NULL,
                                .is_served = e->service != NULL,
                                .visits = e->n_visits,
                                .flows = e->n_flows,
                                .accepted = e->accepted,
                                .refused = e->refused };
    memcpy(out->address, e->address, sizeof out->address);
    if (e->service != NULL) {
        e->expose->o.ops->service_info(e->service, &out->info);
        out->trouble = out->info.trouble;
    } else if (e->trouble.code != 0) {
        out->trouble = e->trouble.msg;
    } else if (e->is_on) {
        out->trouble = "the node is not ready yet";
    }
}

const char *expose_find(struct expose *x, const char *what)
{
    struct onion_name name;
    char full[ONION_NAME_MAX + 8];
    struct expose_entry *e = expose__entry(x, what);
    if (e != NULL)
        return e->spec.name;
    snprintf(full, sizeof full, "%.*s%s", ONION_NAME_MAX, what,
             strlen(what) == ONION_ADDRESS_CHARS ? ".cyx" : "");
    if (onion_name_parse(&name, full, strlen(full)) != ONION_NAME_OK)
        return NULL;
    list_each (pos, &x->entries) {
        e = container_of(pos, struct expose_entry, node);
        if (e->seed != NULL && memcmp(e->address, name.address, 32) == 0)
            return e->spec.name;
    }
    return NULL;
}

bool expose_get(struct expose *x, const char *name, struct expose_row *out)
{
    const struct expose_entry *e = expose__entry(x, name);
    if (e != NULL)
        row_of(e, out);
    return e != NULL;
}

void expose_each(struct expose *x, void (*fn)(void *arg, const struct expose_row *row), void *arg)
{
    list_each (pos, &x->entries) {
        struct expose_row row;
        row_of(container_of(pos, struct expose_entry, node), &row);
        fn(arg, &row);
    }
}

void expose_watch(struct expose *x, struct expose_watch *w)
{
    list_push_back(&x->watches, &w->node);
}

void expose_unwatch(struct expose_watch *w)
{
    if (w->node.next != NULL)
        list_del(&w->node);
}

void expose_metrics(struct expose *x, metric_fn fn, void *arg)
{
    const struct metric_out o = { fn, arg };
    uint64_t accepted = 0, refused = 0;
    size_t visits = 0, flows = 0;
    list_each (pos, &x->entries) {
        const struct expose_entry *e = container_of(pos, struct expose_entry, node);
        accepted += e->accepted;
        refused += e->refused;
        visits += e->n_visits;
        flows += e->n_flows;
    }
    metric_gauge(&o, "cyx_expose_services", "endpoints of this node, those switched off included",
                 x->n_entries);
    metric_gauge(&o, "cyx_expose_visits", "streams of visitors that are open", visits);
    metric_gauge(&o, "cyx_expose_flows", "datagram flows of visitors that are open", flows);
    metric_counter(&o, "cyx_expose_accepted_total", "streams and flows that reached a backend",
                   accepted);
    metric_counter(&o, "cyx_expose_refused_total", "streams and flows that were refused", refused);
}
