/* mesh/pow_solve.c - Wagner's algorithm for Equihash(60, 3): 65,536 hashes of 60 bits; in each of
 * three rounds items that agree in the next 15 bits are paired (in the last round in all 30 that
 * are left). A list has about as many pairs as it had items; what goes beyond 65,536 is dropped
 * (one in a few hundred), so that every reference fits 16 bits and the whole 2 MiB. */
#include <stdlib.h>
#include <string.h>

#include "base/writer.h"
#include "mesh/pow_internal.h"

enum {
    ITEMS = MESH__POW_HASHES,
    BUCKETS = 1 << MESH__POW_COLLIDE,
};

struct pair {
    uint16_t a, b;
};

struct solver {
    uint64_t val[2][ITEMS];     /* lists of the current round and the next, in turn */
    struct pair pair[2][ITEMS]; /* [0]: hashes paired; [1]: pairs paired */
    uint16_t order[ITEMS];      /* the current list by bucket */
    uint32_t end[BUCKETS];      /* of each bucket in `order` */
    struct mesh__pow_input in;
};

/* Sorts `n` items of `val` into buckets by their lowest 15 bits. */
static void group(struct solver *s, const uint64_t *val, uint32_t n)
{
    memset(s->end, 0, sizeof s->end);
    for (uint32_t i = 0; i < n; i++)
        s->end[val[i] % BUCKETS]++;
    for (uint32_t b = 0, sum = 0; b < BUCKETS; b++) {
        uint32_t count = s->end[b];
        s->end[b] = sum; /* its start; filling moves it to its end */
        sum += count;
    }
    for (uint32_t i = 0; i < n; i++)
        s->order[s->end[val[i] % BUCKETS]++] = (uint16_t)i;
}

static bool share_index(struct pair x, struct pair y)
{
    return x.a == y.a || x.a == y.b || x.b == y.a || x.b == y.b;
}

/* Pairs the items of list `from` within their buckets; returns how many pairs there are. In the
 * second round two pairs that share a hash are no four. */
static uint32_t join(struct solver *s, unsigned round, uint32_t n)
{
    const uint64_t *val = s->val[round];
    uint64_t *next = s->val[1 - round];
    uint32_t made = 0;
    group(s, val, n);
    for (uint32_t b = 0, start = 0; b < BUCKETS; start = s->end[b++]) {
        for (uint32_t i = start; i < s->end[b]; i++) {
            for (uint32_t j = i + 1; j < s->end[b] && made < ITEMS; j++) {
                uint16_t x = s->order[i], y = s->order[j];
                if (round == 1 && share_index(s->pair[0][x], s->pair[0][y]))
                    continue;
                next[made] = (val[x] ^ val[y]) >> MESH__POW_COLLIDE;
                s->pair[round][made++] = (struct pair){ x, y };
            }
        }
    }
    return made;
}

static void swap_halves(uint16_t *i, unsigned half)
{
    uint16_t kept[MESH__POW_INDICES / 2];
    memcpy(kept, i, half * sizeof *i);
    memcpy(i, i + half, half * sizeof *i);
    memcpy(i + half, kept, half * sizeof *i);
}

/* The eight hashes under two fours, in canonical order; false when one comes twice. */
static bool unfold(const struct solver *s, struct pair eight, uint16_t i[static MESH__POW_INDICES])
{
    unsigned n = 0;
    const uint16_t fours[2] = { eight.a, eight.b };
    for (unsigned f = 0; f < 2; f++) {
        struct pair four = s->pair[1][fours[f]];
        struct pair p = s->pair[0][four.a], q = s->pair[0][four.b];
        i[n++] = p.a, i[n++] = p.b, i[n++] = q.a, i[n++] = q.b;
    }
    for (unsigned a = 0; a < MESH__POW_INDICES; a++)
        for (unsigned b = a + 1; b < MESH__POW_INDICES; b++)
            if (i[a] == i[b])
                return false;
    for (unsigned half = 1; half < MESH__POW_INDICES; half *= 2)
        for (unsigned at = 0; at < MESH__POW_INDICES; at += 2 * half)
            if (i[at] > i[at + half])
                swap_halves(i + at, half);
    return true;
}

static bool is_solved(struct solver *s, struct pair eight, uint32_t effort,
                      uint8_t solution[static MESH__POW_SOLUTION])
{
    uint16_t i[MESH__POW_INDICES];
    if (!unfold(s, eight, i))
        return false;
    struct writer w = writer_on(solution, MESH__POW_SOLUTION);
    for (unsigned k = 0; k < MESH__POW_INDICES; k++)
        writer_u16(&w, i[k]);
    return mesh__pow_is_enough(&s->in, effort, solution);
}

/* All solutions of one nonce, until one is good enough. */
static bool try_nonce(struct solver *s, uint32_t effort,
                      uint8_t solution[static MESH__POW_SOLUTION])
{
    for (uint32_t j = 0; j < MESH__POW_BLOCKS; j++)
        mesh__pow_block(&s->in, (uint16_t)j, s->val[0] + j * MESH__POW_IN_BLOCK);
    uint32_t n = join(s, 0, ITEMS);
    n = join(s, 1, n);
    const uint64_t *val = s->val[0];
    group(s, val, n);
    for (uint32_t b = 0, start = 0; b < BUCKETS; start = s->end[b++])
        for (uint32_t i = start; i < s->end[b]; i++)
            for (uint32_t j = i + 1; j < s->end[b]; j++)
                if (val[s->order[i]] == val[s->order[j]] &&
                    is_solved(s, (struct pair){ s->order[i], s->order[j] }, effort, solution))
                    return true;
    return false;
}

static void count_up(uint8_t nonce[static MESH__POW_NONCE])
{
    for (unsigned i = MESH__POW_NONCE; i > 0 && ++nonce[i - 1] == 0; i--)
        ;
}

int mesh_pow_solve(const struct mesh_pow_subject *s, uint32_t effort,
                   const uint8_t nonce[static 16], const atomic_bool *cancel,
                   uint8_t proof[static MESH_POW_PROOF], struct cyx_err *err)
{
    uint8_t at[MESH__POW_NONCE], solution[MESH__POW_SOLUTION];
    if (effort == 0 || effort > MESH_POW_EFFORT_MAX)
        return cyx_fail(err, CYX_EINVAL, "proof of work: effort %lu, allowed are 1 to %d",
                        (unsigned long)effort, (int)MESH_POW_EFFORT_MAX);
    struct solver *solver = malloc(sizeof *solver);
    if (solver == NULL)
        return cyx_fail(err, CYX_ENOMEM, "proof of work: no memory for the solver");
    int code = CYX_ECANCELED;
    memcpy(at, nonce, sizeof at);
    while (cancel == NULL || !atomic_load_explicit(cancel, memory_order_relaxed)) {
        mesh__pow_input(&solver->in, s, at, effort);
        if (try_nonce(solver, effort, solution)) {
            struct writer w = writer_on(proof, MESH_POW_PROOF);
            writer_copy(&w, at, sizeof at);
            writer_u32(&w, effort);
            writer_copy(&w, solution, sizeof solution);
            code = 0;
            break;
        }
        count_up(at);
    }
    free(solver);
    return code == 0 ? 0 : cyx_fail(err, code, "proof of work: cancelled");
}
