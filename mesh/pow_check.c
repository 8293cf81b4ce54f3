/* mesh/pow_check.c - checks a proof of work: one hash for junk, eight more for the real thing. */
#include <sodium.h>
#include <string.h>

#include "base/reader.h"
#include "base/writer.h"
#include "mesh/pow_internal.h"

void mesh__pow_input(struct mesh__pow_input *in, const struct mesh_pow_subject *s,
                     const uint8_t nonce[static MESH__POW_NONCE], uint32_t effort)
{
    struct writer w = writer_on(in->b, sizeof in->b);
    writer_copy(&w, "cyx-pow-1", 9);
    writer_u8(&w, (uint8_t)s->purpose);
    writer_copy(&w, s->seed, sizeof s->seed);
    writer_copy(&w, s->x, sizeof s->x);
    writer_copy(&w, s->y, sizeof s->y);
    writer_copy(&w, nonce, MESH__POW_NONCE);
    writer_u32(&w, effort);
    writer_zero(&w, MESH__POW_SOLUTION);
}

void mesh__pow_block(struct mesh__pow_input *in, uint16_t j, uint64_t g[static MESH__POW_IN_BLOCK])
{
    uint8_t d[64];
    in->b[MESH__POW_CHALLENGE] = (uint8_t)(j >> 8);
    in->b[MESH__POW_CHALLENGE + 1] = (uint8_t)j;
    crypto_generichash(d, sizeof d, in->b, MESH__POW_CHALLENGE + 2, NULL, 0);
    struct reader r = reader_on(d, sizeof d);
    for (unsigned i = 0; i < MESH__POW_IN_BLOCK; i++)
        g[i] = reader_u64(&r) >> 4;
}

bool mesh__pow_is_enough(struct mesh__pow_input *in, uint32_t effort,
                         const uint8_t solution[static MESH__POW_SOLUTION])
{
    uint8_t d[64];
    memcpy(in->b + MESH__POW_CHALLENGE, solution, MESH__POW_SOLUTION);
    crypto_generichash(d, sizeof d, in->b, sizeof in->b, NULL, 0);
    struct reader r = reader_on(d, sizeof d);
    return reader_u64(&r) <= UINT64_MAX / effort;
}

/* One solution has one form: halves in order at every level, no index twice. */
static bool is_canonical(const uint16_t i[static MESH__POW_INDICES])
{
    for (unsigned half = 1; half < MESH__POW_INDICES; half *= 2)
        for (unsigned at = 0; at < MESH__POW_INDICES; at += 2 * half)
            if (i[at] >= i[at + half])
                return false;
    for (unsigned a = 0; a < MESH__POW_INDICES; a++)
        for (unsigned b = a + 1; b < MESH__POW_INDICES; b++)
            if (i[a] == i[b])
                return false;
    return true;
}

/* XOR of each pair, four, eight: the lowest 15, 30, 60 bits are zero. */
static bool collides(struct mesh__pow_input *in, const uint16_t i[static MESH__POW_INDICES])
{
    static const unsigned bits[] = { MESH__POW_COLLIDE, 2 * MESH__POW_COLLIDE,
                                     4 * MESH__POW_COLLIDE };
    uint64_t x[MESH__POW_INDICES], g[MESH__POW_IN_BLOCK];
    for (unsigned k = 0; k < MESH__POW_INDICES; k++) {
        mesh__pow_block(in, i[k] / MESH__POW_IN_BLOCK, g);
        x[k] = g[i[k] % MESH__POW_IN_BLOCK];
    }
    for (unsigned round = 0, n = MESH__POW_INDICES / 2; n > 0; round++, n /= 2) {
        for (unsigned k = 0; k < n; k++) {
            x[k] = x[2 * k] ^ x[2 * k + 1];
            if ((x[k] & ((UINT64_C(1) << bits[round]) - 1)) != 0)
                return false;
        }
    }
    return true;
}

enum drop mesh_pow_check(const struct mesh_pow_subject *s, uint32_t least_effort,
                         const uint8_t proof[static MESH_POW_PROOF])
{
    uint8_t nonce[MESH__POW_NONCE], solution[MESH__POW_SOLUTION];
    uint16_t index[MESH__POW_INDICES];
    struct reader r = reader_on(proof, MESH_POW_PROOF);
    reader_copy(&r, nonce, sizeof nonce);
    uint32_t effort = reader_u32(&r);
    reader_copy(&r, solution, sizeof solution);
    r = reader_on(solution, sizeof solution);
    for (unsigned k = 0; k < MESH__POW_INDICES; k++)
        index[k] = reader_u16(&r);
    if (effort == 0 || effort > MESH_POW_EFFORT_MAX)
        return DROP_FIELD;
    if (effort < least_effort)
        return DROP_PROOF;
    if (!is_canonical(index))
        return DROP_FIELD;
    struct mesh__pow_input in;
    mesh__pow_input(&in, s, nonce, effort);
    if (!mesh__pow_is_enough(&in, effort, solution) || !collides(&in, index))
        return DROP_PROOF;
    return DROP_NONE;
}
