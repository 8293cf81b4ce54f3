#include "onion/layer.h"

#include <sodium.h>
#include <stdatomic.h>
#include <string.h>

#include "onion/layer_internal.h"

_Static_assert(sizeof(struct onion_layer) == 512, "two in each idle path");
_Static_assert(MESH_CELL % LAYER_STEP == 0 && LAYER_STEP / LAYER_BLOCK <= 256, "whole steps");

static const struct onion__layer_ops *const all_ops[ONION_LAYER_IMPLS] = {
#if defined(__x86_64__)
    [ONION_LAYER_VAES512] = &onion__layer_vaes512,
    [ONION_LAYER_VAES256] = &onion__layer_vaes256,
    [ONION_LAYER_AESNI] = &onion__layer_aesni,
#endif
    [ONION_LAYER_PORTABLE] = &onion__layer_portable,
};

/* Asking the processor costs tens of microseconds in a virtual machine, so the answer is kept: 0 is
 * "not asked yet". Two threads that ask at once find the same and store the same. */
static unsigned machine_has(void)
{
    static atomic_uint kept;
    unsigned has = atomic_load_explicit(&kept, memory_order_relaxed);
    if (has == 0) {
        has = onion__layer_probe();
        atomic_store_explicit(&kept, has, memory_order_relaxed);
    }
    return has;
}

bool onion_layer_has(enum onion_layer_impl impl)
{
    return impl < ONION_LAYER_IMPLS && (machine_has() >> impl & 1) != 0;
}

/* The lowest bit: implementations are in order, and the portable one is always there. */
enum onion_layer_impl onion_layer_best(void)
{
    return (enum onion_layer_impl)__builtin_ctz(machine_has());
}

const char *onion_layer_name(enum onion_layer_impl impl)
{
    switch (impl) {
    case ONION_LAYER_VAES512:
        return "vaes-512";
    case ONION_LAYER_VAES256:
        return "vaes-256";
    case ONION_LAYER_AESNI:
        return "aes-ni";
    case ONION_LAYER_PORTABLE:
        return "portable";
    case ONION_LAYER_IMPLS:
        break;
    }
    return "none";
}

const struct onion__layer_ops *onion__layer_ops(enum onion_layer_impl impl)
{
    return onion_layer_has(impl) ? all_ops[impl] : NULL;
}

/* ---- keys ----------------------------------------------------------------------------------- */

/* h, h^2, ... from the end on. "Times" is POLYVAL of one block: a zero state takes it in and is
 * multiplied with h. */
static void fill_powers(struct onion_layer *l, const uint8_t h[static 16])
{
    memcpy(l->power[ONION_LAYER_POWERS - 1], h, LAYER_BLOCK);
    for (int i = ONION_LAYER_POWERS - 2; i >= 0; i--) {
        memset(l->power[i], 0, LAYER_BLOCK);
        onion__polyval(l->power[i], h, l->power[i + 1], 1);
    }
}

void onion_layer_init(struct onion_layer *l, const uint8_t key[static 32])
{
    struct onion__aes k;
    uint8_t blocks[LAYER_SLICED * LAYER_BLOCK] = { 0 };
    onion__aes_expand(l->round, key);
    onion__aes_slice(&k, l->round);
    blocks[LAYER_BLOCK] = 1; /* h is AES of block 0, L of block 1 */
    onion__aes_encrypt(&k, blocks);
    memcpy(l->mask, blocks + LAYER_BLOCK, LAYER_BLOCK);
    fill_powers(l, blocks);
    sodium_memzero(&k, sizeof k);
    sodium_memzero(blocks, sizeof blocks);
}

void onion_layer_wipe(struct onion_layer *l)
{
    sodium_memzero(l, sizeof *l);
}

/* ---- cells ---------------------------------------------------------------------------------- */

void onion_layer_encipher(const struct onion_layer *l, uint8_t cell[static MESH_CELL])
{
    all_ops[onion_layer_best()]->encipher(l, cell, 1, MESH_CELL);
}

void onion_layer_decipher(const struct onion_layer *l, uint8_t cell[static MESH_CELL])
{
    all_ops[onion_layer_best()]->decipher(l, cell, 1, MESH_CELL);
}

void onion_layer_encipher_many(const struct onion_layer *l, uint8_t *cells, size_t n)
{
    all_ops[onion_layer_best()]->encipher(l, cells, n, MESH_CELL);
}

void onion_layer_decipher_many(const struct onion_layer *l, uint8_t *cells, size_t n)
{
    all_ops[onion_layer_best()]->decipher(l, cells, n, MESH_CELL);
}
