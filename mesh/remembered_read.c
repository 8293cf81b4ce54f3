#include <string.h>

#include "base/reader.h"
#include "mesh/remembered_internal.h"
#include "mesh/worker.h"

struct loading {
    struct mesh_remembered *r;
    int code;
};

/* Reads a peer's value; NULL when it is not what we write, or memory is out (l->code). The record
 * is checked whole where it is used: that takes the network and its time. */
static struct item *read_peer(struct loading *l, const uint8_t id[static 32], const uint8_t *val,
                              size_t val_len)
{
    struct reader in = reader_on(val, val_len);
    uint64_t seen_s = reader_u64(&in);
    uint32_t failures = reader_u32(&in);
    size_t len = reader_left(&in);
    const uint8_t *record = reader_bytes(&in, len);
    struct mesh_record head;
    uint8_t link_key[32] = { 0 };
    if (record == NULL || len > MESH_NODE_RECORD_MAX ||
        mesh_record_parse(&head, record, len) != DROP_NONE || head.type != MESH_RECORD_NODE ||
        (l->r->n_workers > 1 && !mesh_node_record_link_key(link_key, record, len)))
        return NULL;
    struct item *it = mesh__item_new(id, record, len);
    if (it == NULL) {
        l->code = CYX_ENOMEM;
        return NULL;
    }
    it->sequence = head.sequence;
    it->e.seen_s = seen_s;
    it->e.failures = failures;
    it->is_foreign =
        l->r->n_workers > 1 && mesh_worker_of(link_key, l->r->n_workers) != l->r->worker;
    return it;
}

/* An entry of the store that is not in the map goes with the next flush. */
static int delete_later(struct mesh_remembered *r, const uint8_t id[static 32])
{
    struct item *it = mesh__item_new(id, id, 0);
    if (it == NULL)
        return CYX_ENOMEM;
    it->is_gone = true;
    mesh__item_move(it, &r->gone);
    return 0;
}

static bool load_peer(void *arg, const uint8_t *key, size_t key_len, const uint8_t *val,
                      size_t val_len)
{
    struct loading *l = arg;
    if (key_len != REMEMBERED_KEY) {
        l->r->bad_entries++; /* not our form of key: left alone */
        return true;
    }
    struct item *it = read_peer(l, key + 1, val, val_len);
    bool is_bad = it == NULL && l->code == 0;
    bool is_foreign = it != NULL ? it->is_foreign : l->r->worker != 0;
    if (it != NULL)
        l->code = mesh__item_add(l->r, it);
    if (is_bad && !is_foreign)
        l->r->bad_entries++;
    if (l->code == CYX_EFULL && is_foreign)
        l->code = 0; /* its owner deletes it */
    if ((is_bad && !is_foreign) || l->code == CYX_EFULL)
        l->code = delete_later(l->r, key + 1);
    return l->code == 0;
}

static bool load_number(void *arg, const uint8_t *key, size_t key_len, const uint8_t *val,
                        size_t val_len)
{
    struct loading *l = arg;
    struct reader in = reader_on(val, val_len);
    uint64_t value = reader_u64(&in);
    char name[REMEMBERED_NAME_MAX + 1] = { 0 };
    if (!reader_done(&in) || key_len < 2 || key_len > 1 + REMEMBERED_NAME_MAX ||
        memchr(key, '\0', key_len) != NULL) {
        l->r->bad_entries++;
        return true;
    }
    memcpy(name, key + 1, key_len - 1);
    struct number *num = mesh__number_get(l->r, name);
    if (num == NULL)
        l->code = CYX_ENOMEM;
    else
        num->value = value;
    return l->code == 0;
}

int mesh__remembered_load(struct mesh_remembered *r, struct cyx_err *err)
{
    struct loading l = { .r = r };
    int code = env_kv_each(r->env, r->kv, "p", 1, load_peer, &l);
    if (code == 0 && l.code == 0)
        code = env_kv_each(r->env, r->kv, "n", 1, load_number, &l);
    if (code == 0)
        code = l.code;
    if (code != 0)
        return cyx_fail(err, code, "store peers: can't be read (%s)", cyx_code_name(code));
    return 0;
}
