#include "node/methods.h"

#include <stdlib.h>
#include <string.h>

#include "base/mp.h"
#include "node/endpoints.h"
#include "node/roles.h"

static void method_methods(void *state, struct node_call *call, const msgpack_object *params);

struct accepting {
    struct workers *workers;
    unsigned number;
};

static void accept_time(void *arg)
{
    struct accepting *a = arg;
    struct mesh *mesh = workers_mesh(a->workers, a->number);
    if (mesh != NULL)
        mesh_time_accept(mesh);
    free(a);
}

/* Each worker has a median of its own. */
static void accept_elsewhere(struct node *n)
{
    for (unsigned i = 1; i < workers_len(n->workers); i++) {
        struct accepting *a = malloc(sizeof *a);
        if (a == NULL)
            return;
        *a = (struct accepting){ n->workers, i };
        env_post(workers_env(n->workers, i), accept_time, a);
    }
}

static void method_time_accept(void *state, struct node_call *call, const msgpack_object *params)
{
    static const uint8_t empty_map[] = { 0x80 };
    struct node *n = state;
    (void)params;
    if (!node__needs_mesh(n, call))
        return;
    mesh_time_accept(node_mesh(n));
    accept_elsewhere(n);
    log_warn(n->log, "time", "the operator accepted the peers' time");
    node_reply(call, empty_map, sizeof empty_map);
}

static void method_stop(void *state, struct node_call *call, const msgpack_object *params)
{
    static const uint8_t empty_map[] = { 0x80 };
    (void)params;
    node_reply(call, empty_map, sizeof empty_map);
    node__stop(state, NODE_EXIT_OK, "asked over the control socket");
}

const struct node_method node_methods[] = {
    { "version", node__method_version, "versions of the daemon, the protocol and the role ABI" },
    { "status", node__method_status, "how the node is doing" },
    { "peers", node__method_peers, "every link with its counters" },
    { "ping", node__method_ping, "measure the round trip to a node; dials when there is no link" },
    { "id", node__method_id, "who this node is and how to reach it" },
    { "record", node__method_record, "a node's signed record, by default our own" },
    { "doctor", node__method_doctor, "what works, what doesn't and what to do" },
    { "log", node__method_log, "the last lines of the log; with follow those to come" },
    { "log-level", node__method_log_level, "change how much is logged" },
    { "dht-get", node__method_dht_get, "find records in the DHT" },
    { "dht-find", node__method_dht_find, "the nodes nearest to a key" },
    { "dht-put", node__method_dht_put, "publish a signed record" },
    { "dht-announce", node__method_dht_announce, "publish that a hidden endpoint has content" },
    { "dht-stats", node__method_dht_stats, "what this node's part of the DHT holds and does" },
    { "metrics", node__method_metrics, "counters as Prometheus text" },
    { "top", node__method_top, "status, peers, rates and counters at once" },
    { "methods", method_methods, "this list" },
    { "time-accept", method_time_accept, "accept a step of network time of more than a day" },
    { "stop", method_stop, "stop the daemon gracefully" },
    { NULL, NULL, NULL },
};

static void pack_method(msgpack_packer *pk, const char *role, const struct node_method *m)
{
    char name[CONTROL_METHOD_MAX + 1];
    snprintf(name, sizeof name, "%s%s%s", role, role[0] != '\0' ? "." : "", m->name);
    msgpack_pack_map(pk, 2);
    node__pack_kv_str(pk, "name", name);
    node__pack_kv_str(pk, "help", m->help != NULL ? m->help : "");
}

static size_t count(const struct node_method *m)
{
    size_t n = 0;
    while (m != NULL && m[n].name != NULL)
        n++;
    return n;
}

static void method_methods(void *state, struct node_call *call, const msgpack_object *params)
{
    const struct node *n = state;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    (void)params;
    size_t total = count(node_methods) + count(endpoints_methods);
    for (size_t i = 0; i < roles_len(n->roles); i++)
        total += count(roles_at(n->roles, i)->methods);
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_array(&pk, total);
    for (const struct node_method *m = node_methods; m->name != NULL; m++)
        pack_method(&pk, "", m);
    for (const struct node_method *m = endpoints_methods; m->name != NULL; m++)
        pack_method(&pk, "", m);
    for (size_t i = 0; i < roles_len(n->roles); i++) {
        const struct node_role *r = roles_at(n->roles, i);
        for (const struct node_method *m = r->methods; m != NULL && m->name != NULL; m++)
            pack_method(&pk, r->name, m);
    }
    control_reply_buf(call, &buf);
}

static bool find_in(const struct node_method *m, const char *name, size_t len, void *state,
                    struct control_target *out)
{
    for (; m->name != NULL; m++) {
        if (strlen(m->name) == len && memcmp(m->name, name, len) == 0) {
            *out = (struct control_target){ .fn = m->fn, .state = state };
            return true;
        }
    }
    return false;
}

bool node__find_method(void *arg, const char *name, size_t len, struct control_target *out)
{
    struct node *n = arg;
    void *state = NULL;
    if (find_in(node_methods, name, len, n, out) ||
        find_in(endpoints_methods, name, len, n->endpoints, out))
        return true;
    const struct node_method *m = roles_method(n->roles, name, len, &state);
    if (m != NULL)
        *out = (struct control_target){ .fn = m->fn, .state = state };
    return m != NULL;
}

bool node__needs_mesh(struct node *n, struct node_call *call)
{
    if (node_mesh(n) != NULL && n->state != NODE_STOPPING && n->state != NODE_STOPPED)
        return true;
    node_reply_error(call, CYX_EAGAIN, "the node is %s: try again in a moment",
                     node__state_name(n->state));
    return false;
}
