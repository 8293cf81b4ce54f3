#include <criterion/criterion.h>
#include <string.h>

#include "mesh/pow.h"
#include "vec.h"

static void load(const json_t *v, struct mesh_pow_subject *s, uint32_t *least,
                 uint8_t proof[static MESH_POW_PROOF])
{
    s->purpose = (enum mesh_pow_purpose)vec_u64(v, "purpose");
    vec_copy(v, "seed", s->seed, sizeof s->seed);
    vec_copy(v, "x", s->x, sizeof s->x);
    vec_copy(v, "y", s->y, sizeof s->y);
    *least = (uint32_t)vec_u64(v, "least");
    vec_copy(v, "proof", proof, MESH_POW_PROOF);
}

Test(pow, takes_the_proofs_of_the_vectors)
{
    json_t *root = vec_open("pow");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "good"), at, v)
    {
        struct mesh_pow_subject s;
        uint32_t least;
        uint8_t proof[MESH_POW_PROOF];
        load(v, &s, &least, proof);
        cr_assert_eq(mesh_pow_check(&s, least, proof), DROP_NONE, "%s", vec_str(v, "name"));
    }
    cr_assert_eq(at, 3u);
    vec_close(root);
}

Test(pow, refuses_each_broken_rule)
{
    json_t *root = vec_open("pow");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "bad"), at, v)
    {
        struct mesh_pow_subject s;
        uint32_t least;
        uint8_t proof[MESH_POW_PROOF];
        load(v, &s, &least, proof);
        cr_assert_str_eq(drop_name(mesh_pow_check(&s, least, proof)), vec_str(v, "drop"), "%s",
                         vec_str(v, "name"));
    }
    cr_assert_geq(at, 20u);
    vec_close(root);
}

Test(pow, refuses_a_proof_with_any_bit_flipped)
{
    json_t *root = vec_open("pow");
    struct mesh_pow_subject s;
    uint32_t least;
    uint8_t proof[MESH_POW_PROOF];
    load(json_array_get(vec_get(root, "good"), 0), &s, &least, proof);
    vec_close(root);
    for (size_t bit = 0; bit < 8 * sizeof proof; bit++) {
        proof[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(mesh_pow_check(&s, least, proof), DROP_NONE, "bit %zu", bit);
        proof[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_eq(mesh_pow_check(&s, least, proof), DROP_NONE);
}

Test(pow, solves_what_the_checker_takes)
{
    struct mesh_pow_subject s = { .purpose = MESH_POW_ID };
    uint8_t proof[MESH_POW_PROOF], nonce[16];
    for (uint8_t n = 0; n < 4; n++) {
        memset(s.x, n, sizeof s.x);
        memset(nonce, 0xff, sizeof nonce); /* counts over the end */
        cr_assert_eq(mesh_pow_solve(&s, 1u << n, nonce, NULL, proof, NULL), 0);
        cr_assert_eq(mesh_pow_check(&s, 1u << n, proof), DROP_NONE, "effort %u", 1u << n);
        cr_assert_eq(mesh_pow_check(&s, (1u << n) + 1, proof), DROP_PROOF);
    }
}

/* Starting at a vector's nonce the solver needs no other: it misses no solution that is there (but
 * for the few beyond its lists, which these aren't). */
Test(pow, finds_a_solution_for_the_nonces_of_the_vectors)
{
    json_t *root = vec_open("pow");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "good"), at, v)
    {
        struct mesh_pow_subject s;
        uint32_t least;
        uint8_t want[MESH_POW_PROOF], got[MESH_POW_PROOF];
        load(v, &s, &least, want);
        uint32_t effort = (uint32_t)want[16] << 24 | (uint32_t)want[17] << 16 |
                          (uint32_t)want[18] << 8 | want[19];
        cr_assert_eq(mesh_pow_solve(&s, effort, want, NULL, got, NULL), 0);
        cr_assert_arr_eq(got, want, 20, "%s: another nonce or effort", vec_str(v, "name"));
        cr_assert_eq(mesh_pow_check(&s, least, got), DROP_NONE);
    }
    vec_close(root);
}

Test(pow, stops_when_told_and_refuses_impossible_efforts)
{
    struct mesh_pow_subject s = { .purpose = MESH_POW_ID };
    const uint8_t nonce[16] = { 0 };
    uint8_t proof[MESH_POW_PROOF] = { 42 };
    atomic_bool cancel = true;
    struct cyx_err err;
    cr_assert_eq(mesh_pow_solve(&s, MESH_POW_EFFORT_MAX, nonce, &cancel, proof, &err),
                 CYX_ECANCELED);
    cr_assert_eq(mesh_pow_solve(&s, 0, nonce, NULL, proof, &err), CYX_EINVAL);
    cr_assert_eq(mesh_pow_solve(&s, MESH_POW_EFFORT_MAX + 1, nonce, NULL, proof, &err), CYX_EINVAL);
    cr_assert_eq(proof[0], 42);
}
