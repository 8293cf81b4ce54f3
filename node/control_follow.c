/* Followers of the log: served a few times a second from the ring, so that no line needs a lock, a
 * copy or a wake-up of its own when nobody follows. */
#include "base/log.h"
#include "node/control_internal.h"

void control_pack_line(msgpack_packer *pk, const struct log_line *line)
{
    msgpack_pack_map(pk, 5);
    mp_pack_str(pk, "seq");
    msgpack_pack_uint64(pk, line->seq);
    mp_pack_str(pk, "time");
    msgpack_pack_double(pk, (double)line->wall_ms / 1000);
    mp_pack_str(pk, "level");
    mp_pack_str(pk, log_level_name(line->level));
    mp_pack_str(pk, "object");
    mp_pack_str(pk, line->object);
    mp_pack_str(pk, "message");
    mp_pack_str(pk, line->msg);
}

static void send_line(void *arg, const struct log_line *line)
{
    struct control_client *c = arg;
    msgpack_sbuffer buf;
    msgpack_packer pk;
    if (c->stream == NULL || line->level > c->follow_level)
        return;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_array(&pk, 3);
    msgpack_pack_int(&pk, 2);
    mp_pack_str(&pk, "log");
    msgpack_pack_array(&pk, 2);
    msgpack_pack_uint32(&pk, c->follow_id);
    control_pack_line(&pk, line);
    control__write(c, buf.data, buf.size, CONTROL_UNREAD_MAX);
    msgpack_sbuffer_destroy(&buf);
}

static void on_timer(struct env_timer *t, void *arg)
{
    struct control *ctl = arg;
    bool any = false;
    list_each_safe (pos, &ctl->clients) {
        struct control_client *c = container_of(pos, struct control_client, node);
        if (!c->is_following)
            continue;
        any = true;
        c->follow_seq = log_ring(ctl->o.env->log, c->follow_seq, send_line, c);
    }
    if (any)
        env_timer_in(ctl->o.env, t, ENV_MS(CONTROL_FOLLOW_MS));
}

void control__follow_start(struct control *ctl)
{
    env_timer_init(&ctl->follow_timer, on_timer, ctl);
}

void control_follow_log(struct node_call *call, uint64_t after, enum log_level level)
{
    struct control_client *c = call->client;
    if (c == NULL)
        return;
    c->is_following = true;
    c->follow_id = call->id;
    c->follow_seq = after;
    c->follow_level = level;
    env_timer_in(c->control->o.env, &c->control->follow_timer, ENV_MS(CONTROL_FOLLOW_MS));
}
