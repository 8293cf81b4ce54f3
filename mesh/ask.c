/* mesh/ask.c - asking a node that there may be no link to yet: dialled first, the request waits on
 * the link. What dht/ is made of. */
#include <stdlib.h>
#include <string.h>

#include "mesh/link_internal.h"

struct mesh_ask {
    struct mesh *mesh;
    struct mesh_call *call;
    mesh_call_fn done;
    void *arg;
};

static void answered(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    struct mesh_ask *a = arg;
    mesh_call_fn done = a->done;
    void *done_arg = a->arg;
    free(a);
    done(done_arg, code, status, items, n);
}

int mesh_ask(struct mesh *m, const struct mesh_contact *to, unsigned method,
             const struct mesh_items *items, uint32_t deadline_ms, mesh_call_fn done, void *arg,
             struct mesh_ask **out)
{
    struct cyx_err err = { 0 };
    struct mesh_link *l = map_get(m->by_id, to->id);
    if (l == NULL || l->state == MESH_LINK_CLOSING)
        l = mesh_dial(m, to, &err);
    if (l == NULL)
        return err.code;
    struct mesh_ask *a = calloc(1, sizeof *a);
    if (a == NULL)
        return CYX_ENOMEM;
    *a = (struct mesh_ask){ .mesh = m, .done = done, .arg = arg };
    int code = mesh_call(l, method, items, deadline_ms, answered, a, &a->call);
    if (code != 0) {
        free(a);
        return code;
    }
    if (out != NULL)
        *out = a;
    return 0;
}

void mesh_ask_cancel(struct mesh_ask *a)
{
    mesh_call_cancel(a->call);
    free(a);
}

bool mesh_request_asker(const struct mesh_request *rq, struct mesh_asker *out)
{
    const struct mesh_link *l = mesh_request_link(rq);
    if (l == NULL)
        return false;
    *out = (struct mesh_asker){ .addr = l->addr, .is_listed = l->is_listed, .has_id = l->has_id };
    memcpy(out->key, l->key, sizeof out->key);
    memcpy(out->id, l->id, sizeof out->id);
    return true;
}
