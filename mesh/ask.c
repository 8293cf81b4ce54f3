/* mesh/ask.c - asking a node that there may be no link to yet: dialled first, the request waits on
 * the link. What dht/ is made of. */
#include <stdlib.h>
#include <string.h>

#include "mesh/link_internal.h"

struct mesh_ask {
    struct mesh *mesh;
    struct mesh_call *call; /* NULL: another worker asks for us */
    uint64_t ticket;        /* ... under this number */
    unsigned worker;
    mesh_call_fn done;
    void *arg;
};

void mesh__ask_end(struct mesh_ask *a, int code, unsigned status, const msgpack_object *items,
                   unsigned n)
{
    mesh_call_fn done = a->done;
    void *done_arg = a->arg;
    free(a);
    done(done_arg, code, status, items, n);
}

static void answered(void *arg, int code, unsigned status, const msgpack_object *items, unsigned n)
{
    mesh__ask_end(arg, code, status, items, n);
}

/* Over a link of this worker's, dialled if there is none. */
static int ask_here(struct mesh_ask *a, struct mesh_link *l, const struct mesh_contact *to,
                    unsigned method, const struct mesh_items *items, uint32_t deadline_ms)
{
    struct cyx_err err = { 0 };
    if (l == NULL)
        l = mesh_dial(a->mesh, to, &err);
    if (l == NULL)
        return err.code;
    return mesh_call(l, method, items, deadline_ms, answered, a, &a->call);
}

static int ask_there(struct mesh_ask *a, const struct mesh_contact *to, unsigned method,
                     const struct mesh_items *items, uint32_t deadline_ms)
{
    struct mesh_parcel p = {
        .kind = MESH_PARCEL_ASK, .to = to, .method = method, .deadline_ms = deadline_ms
    };
    a->worker = mesh_worker_of(to->link_key, a->mesh->config.n_workers);
    if (items != NULL) {
        p.data = items->data;
        p.len = items->len;
        p.n_items = items->n;
    }
    return mesh__ask_out(a->mesh, a, &a->ticket, &p);
}

int mesh_ask(struct mesh *m, const struct mesh_contact *to, unsigned method,
             const struct mesh_items *items, uint32_t deadline_ms, mesh_call_fn done, void *arg,
             struct mesh_ask **out)
{
    struct mesh_link *l = map_get(m->by_id, to->id);
    struct mesh_ask *a = calloc(1, sizeof *a);
    if (a == NULL)
        return CYX_ENOMEM;
    *a = (struct mesh_ask){ .mesh = m, .done = done, .arg = arg };
    if (l != NULL && l->state == MESH_LINK_CLOSING)
        l = NULL;
    int code = l != NULL || mesh__is_mine(m, to->link_key)
                   ? ask_here(a, l, to, method, items, deadline_ms)
                   : ask_there(a, to, method, items, deadline_ms);
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
    if (a->call != NULL)
        mesh_call_cancel(a->call);
    else
        mesh__ask_out_cancel(a->mesh, a->ticket, a->worker);
    free(a);
}
