/* mesh/link_msg.c - messages of a link: fragments in and out, and who gets a whole one. The boxes
 * are made when first used. Spec: protocol.md, section 4, "Messages". */
#include <stdlib.h>
#include <string.h>

#include "mesh/link_internal.h"

enum { TRAIN_BUILD = 7680, TRAIN_REPLY = 6400, TRAIN_HEAD = 4 };

uint32_t mesh__msg_id(struct mesh_link *l, uint8_t kind)
{
    return l->next_id[kind]++;
}

int mesh__msg_send(struct mesh_link *l, uint8_t kind, uint32_t id, const void *data, size_t len)
{
    uint64_t now = mesh__now(l->mesh);
    if (l->state != MESH_LINK_UP)
        return CYX_ECLOSED;
    if (l->outbox == NULL)
        l->outbox = mesh_outbox_create(MESH_MSG_FRAGMENT);
    if (l->outbox == NULL)
        return CYX_ENOMEM;
    int code = mesh_outbox_add(l->outbox, kind, id, data, len, now);
    if (code != 0)
        return code;
    mesh__link_use(l);
    mesh__link_dirty(l);
    if (l->outbox_ns == LINK__NEVER) {
        l->outbox_ns = now + ENV_MS(MESH_OUTBOX_MS);
        mesh__link_arm(l);
    }
    return 0;
}

/* ---- trains ---------------------------------------------------------------------------------- */

int mesh_train_send(struct mesh_link *l, uint32_t path, bool is_reply, const uint8_t *train,
                    size_t len)
{
    uint8_t data[TRAIN_HEAD + TRAIN_BUILD];
    struct writer w = writer_on(data, sizeof data);
    uint8_t kind = is_reply ? MESH_MSG_BUILD_REPLY : MESH_MSG_BUILD;
    if (len != (is_reply ? TRAIN_REPLY : TRAIN_BUILD) || path == 0)
        return CYX_EINVAL;
    writer_u32(&w, path);
    writer_copy(&w, train, len);
    int code = mesh__msg_send(l, kind, mesh__msg_id(l, kind), data, writer_len(&w));
    if (code != 0)
        return code;
    mesh__path_note(l, path);
    l->mesh->n.tx_trains++;
    return 0;
}

static void train_heard(struct mesh_link *l, const struct mesh_message *msg)
{
    struct mesh *m = l->mesh;
    bool is_reply = msg->kind == MESH_MSG_BUILD_REPLY;
    struct reader r = reader_on(msg->data, msg->len);
    uint32_t path = reader_u32(&r);
    size_t len = reader_left(&r);
    if (path == 0 || len != (is_reply ? TRAIN_REPLY : TRAIN_BUILD)) {
        mesh__drop(m, MESH_FULL, DROP_FIELD);
        mesh__link_violation(l);
        return;
    }
    m->n.rx_trains++;
    if (m->paths.train == NULL) {
        mesh__drop(m, MESH_FULL, DROP_UNKNOWN);
        return;
    }
    mesh__path_note(l, path);
    m->paths.train(m->paths_arg, l, path, is_reply, reader_bytes(&r, len), len);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void whole(struct mesh_link *l, const struct mesh_message *msg)
{
    mesh__link_use(l);
    switch (msg->kind) {
    case MESH_MSG_REQUEST:
        mesh__rpc_request(l, msg->id, msg->data, msg->len);
        break;
    case MESH_MSG_RESPONSE:
        mesh__rpc_answer(l, msg->id, msg->data, msg->len);
        break;
    case MESH_MSG_BUILD:
    case MESH_MSG_BUILD_REPLY:
        train_heard(l, msg);
        break;
    }
}

bool mesh__msg_again(struct mesh_link *l, uint8_t kind, uint32_t id)
{
    struct mesh_frame_resend all = { .kind = kind, .id = id };
    memset(all.missing, 0xff, sizeof all.missing);
    enum drop drop = l->outbox != NULL ? mesh_outbox_resend(l->outbox, &all) : DROP_UNKNOWN;
    if (drop == DROP_NONE)
        mesh__link_dirty(l);
    return drop != DROP_UNKNOWN;
}

/* A fragment that we had. The last one of a request that comes again says that its answer was
 * lost. */
static void repeated(struct mesh_link *l, const struct mesh_frame_msg *f)
{
    if (f->kind == MESH_MSG_REQUEST && f->index + 1 == f->count &&
        mesh__msg_again(l, MESH_MSG_RESPONSE, f->id))
        l->mesh->n.answers_again++;
}

void mesh__msg_fragment(struct mesh_link *l, const struct mesh_frame_msg *f)
{
    struct mesh *m = l->mesh;
    struct mesh_message msg = { 0 };
    uint64_t now = mesh__now(m);
    if (l->inbox == NULL)
        l->inbox = mesh_inbox_create(m->inbox_pool, MESH_MSG_FRAGMENT, l->prefix);
    if (l->inbox == NULL) {
        mesh__drop(m, MESH_FULL, DROP_MEMORY);
        return;
    }
    enum drop drop = mesh_inbox_fragment(l->inbox, f, now, l->rtt_ns, &msg);
    if (drop != DROP_NONE) {
        mesh__drop(m, MESH_FULL, drop);
        if (drop == DROP_REPLAY)
            repeated(l, f);
        else if (drop == DROP_FIELD)
            mesh__link_violation(l);
        return;
    }
    if (msg.data != NULL) {
        whole(l, &msg);
        free(msg.data);
    } else if (l->inbox_ns > now + ENV_MS(MESH_RESEND_MS)) {
        l->inbox_ns =
            now + ENV_MS(MESH_RESEND_MS); /* a new one: the last look ahead knew older ones */
        mesh__link_arm(l);
    }
}

void mesh__msg_resend(struct mesh_link *l, const struct mesh_frame_resend *r)
{
    enum drop drop = l->outbox != NULL ? mesh_outbox_resend(l->outbox, r) : DROP_UNKNOWN;
    if (drop != DROP_NONE)
        mesh__drop(l->mesh, MESH_FULL, drop);
    else
        mesh__link_dirty(l);
}

static void want_resend(void *arg, const struct mesh_frame_resend *r)
{
    struct mesh_link *l = arg;
    if (l->ctl.n_resends == LINK__RESENDS)
        return; /* the inbox asks again */
    l->ctl.resends[l->ctl.n_resends++] = *r;
    mesh__link_dirty(l);
}

void mesh__msg_tick(struct mesh_link *l, uint64_t now)
{
    if (l->outbox_ns <= now) {
        l->outbox_ns = mesh_outbox_expire(l->outbox, now);
        mesh__calls_pump(l); /* there may be room again */
    }
    if (l->inbox_ns <= now)
        l->inbox_ns = mesh_inbox_poll(l->inbox, now, l->rtt_ns, want_resend, l);
}
