#include <criterion/criterion.h>
#include <string.h>

#include "mesh/network.h"
#include "vec.h"

Test(network, ids_are_those_of_the_vectors)
{
    json_t *root = vec_open("record");
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(root, "networks"), at, v)
    {
        struct mesh_network n;
        struct cyx_err err;
        uint8_t want[32];
        vec_copy(v, "id", want, sizeof want);
        cr_assert_eq(mesh_network_init(&n, vec_str(v, "name"), (uint32_t)vec_u64(v, "effort"),
                                       vec_bool(v, "lab"), &err),
                     0);
        cr_assert_arr_eq(n.id, want, sizeof want, "%s", vec_str(v, "name"));
        cr_assert_str_eq(n.name, vec_str(v, "name"));
    }
    cr_assert_eq(at, 4u);
    vec_close(root);
}

Test(network, refuses_names_and_efforts_out_of_range)
{
    struct mesh_network n = { .id_effort = 42 };
    struct cyx_err err;
    char name[65];
    memset(name, 'x', sizeof name);
    name[64] = '\0';
    cr_assert_eq(mesh_network_init(&n, "", 1, false, &err), CYX_EINVAL);
    cr_assert_eq(mesh_network_init(&n, name, 1, false, &err), CYX_EINVAL);
    cr_assert_eq(mesh_network_init(&n, "\xc3\x28", 1, false, &err), CYX_EINVAL);
    cr_assert_eq(mesh_network_init(&n, "\xed\xa0\x80", 1, false, &err), CYX_EINVAL);
    cr_assert_eq(mesh_network_init(&n, "main", 0, false, &err), CYX_EINVAL);
    cr_assert_eq(mesh_network_init(&n, "main", (1u << 20) + 1, false, NULL), CYX_EINVAL);
    cr_assert_eq(n.id_effort, 42u);
    name[63] = '\0';
    cr_assert_eq(mesh_network_init(&n, name, 1u << 20, false, &err), 0);
}

Test(network, every_parameter_makes_another_network)
{
    struct mesh_network a, b;
    cr_assert_eq(mesh_network_init(&a, "main", 4096, false, NULL), 0);
    cr_assert_eq(mesh_network_init(&b, "main", 4096, true, NULL), 0);
    cr_assert_neq(memcmp(a.id, b.id, 32), 0);
    cr_assert_eq(mesh_network_init(&b, "main", 4095, false, NULL), 0);
    cr_assert_neq(memcmp(a.id, b.id, 32), 0);
    cr_assert_eq(mesh_network_init(&b, "Main", 4096, false, NULL), 0);
    cr_assert_neq(memcmp(a.id, b.id, 32), 0);
}
