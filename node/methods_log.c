#include "base/log.h"
#include "base/mp.h"
#include "node/methods.h"

/* The level named in the parameters, or the least important. False: no level. */
static bool level_param(const msgpack_object *params, enum log_level *out)
{
    char word[16];
    int rc = node__param_str(params, "level", word, sizeof word);
    if (rc == 0)
        *out = LOG_LEVEL_DEBUG;
    return rc == 0 || (rc > 0 && log_level_parse(word, out) == 0);
}

struct collect {
    msgpack_packer *pk; /* NULL: only count */
    enum log_level level;
    uint64_t skip; /* lines that fit the level but come before those asked for */
    uint64_t n;
};

static void collect_line(void *arg, const struct log_line *line)
{
    struct collect *c = arg;
    if (line->level > c->level)
        return;
    if (c->n++ >= c->skip && c->pk != NULL)
        control_pack_line(c->pk, line);
}

void node__method_log(void *state, struct node_call *call, const msgpack_object *params)
{
    const struct node *n = state;
    struct collect c = { .pk = NULL };
    uint64_t lines = 100, last;
    bool follow = false;
    msgpack_sbuffer buf, body;
    msgpack_packer pk, body_pk;
    const msgpack_object *f = mp_get(params, "follow");
    if (!level_param(params, &c.level) ||
        node__param_u64(params, "lines", 0, LOG_RING_LINES, &lines) < 0 ||
        (f != NULL && f->type != MSGPACK_OBJECT_NIL && !mp_bool(f, &follow))) {
        node_reply_error(call, CYX_EINVAL,
                         "want `lines` from 0 to %d, `follow` true or false, `level` one of error, "
                         "warn, info, debug",
                         LOG_RING_LINES);
        return;
    }
    (void)log_ring(n->log, 0, collect_line, &c);
    struct collect chosen = { .pk = &body_pk,
                              .level = c.level,
                              .skip = c.n > lines ? c.n - lines : 0 };
    msgpack_sbuffer_init(&buf);
    msgpack_sbuffer_init(&body);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_packer_init(&body_pk, &body, msgpack_sbuffer_write);
    /* Other threads may have logged since the count: the array's head is written last. */
    last = log_ring(n->log, 0, collect_line, &chosen);
    msgpack_pack_array(&pk, (size_t)(chosen.n > chosen.skip ? chosen.n - chosen.skip : 0));
    if (body.size > 0)
        (void)msgpack_sbuffer_write(&buf, body.data, body.size);
    msgpack_sbuffer_destroy(&body);
    if (follow)
        control_follow_log(call, last, c.level);
    control_reply_buf(call, &buf);
}

void node__method_log_level(void *state, struct node_call *call, const msgpack_object *params)
{
    struct node *n = state;
    enum log_level level;
    char word[16];
    msgpack_sbuffer buf;
    msgpack_packer pk;
    if (node__param_str(params, "level", word, sizeof word) <= 0 ||
        log_level_parse(word, &level) != 0) {
        node_reply_error(call, CYX_EINVAL, "want `level`, one of error, warn, info, debug");
        return;
    }
    log_set_level(n->log, level);
    log_info(n->log, "log", "level %s", word);
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 1);
    node__pack_kv_str(&pk, "level", word);
    control_reply_buf(call, &buf);
}
