#include "mesh/network.h"

#include <string.h>

#include "base/crypto.h"
#include "base/mp.h"
#include "mesh/pow.h"

enum { KEY_NAME = 1, KEY_EFFORT = 2, KEY_LAB = 3, PARAMS_MAX = 128 };

static size_t params_put(const struct mesh_network *n, uint8_t out[static PARAMS_MAX])
{
    struct writer w = writer_on(out, PARAMS_MAX);
    msgpack_packer pk;
    mp_packer(&pk, &w);
    msgpack_pack_map(&pk, 3);
    msgpack_pack_uint8(&pk, KEY_NAME);
    mp_pack_str(&pk, n->name);
    msgpack_pack_uint8(&pk, KEY_EFFORT);
    msgpack_pack_uint32(&pk, n->id_effort);
    msgpack_pack_uint8(&pk, KEY_LAB);
    if (n->is_lab)
        msgpack_pack_true(&pk);
    else
        msgpack_pack_false(&pk);
    return writer_ok(&w) ? writer_len(&w) : 0;
}

int mesh_network_init(struct mesh_network *n, const char *name, uint32_t id_effort, bool is_lab,
                      struct cyx_err *err)
{
    struct mesh_network made = { .id_effort = id_effort, .is_lab = is_lab };
    uint8_t params[PARAMS_MAX];
    size_t name_len = strlen(name);
    if (name_len == 0 || name_len >= sizeof made.name)
        return cyx_fail(err, CYX_EINVAL, "network name: %zu bytes, allowed are 1 to %zu", name_len,
                        sizeof made.name - 1);
    if (id_effort == 0 || id_effort > MESH_POW_EFFORT_MAX)
        return cyx_fail(err, CYX_EINVAL, "id effort %lu: allowed are 1 to %d",
                        (unsigned long)id_effort, (int)MESH_POW_EFFORT_MAX);
    memcpy(made.name, name, name_len);
    size_t len = params_put(&made, params);
    /* The wire's own rules know UTF-8. */
    if (mp_check(params, len, &mp_wire_rules) != DROP_NONE)
        return cyx_fail(err, CYX_EINVAL, "network name: not UTF-8");
    crypto_h(made.id, "cyx network 1", &BYTES(params, len), 1);
    *n = made;
    return 0;
}
