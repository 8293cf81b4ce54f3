/* Every record, place and text of tests/vectors/dht_record.json, and the node records of
 * record.json, as the DHT judges them. */
#include <criterion/criterion.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "dht/type.h"
#include "tests/unit/mesh/vec.h"

struct fixture {
    json_t *root;
    struct mesh_network lab, main;
    uint64_t now;
};

static void net_read(const json_t *v, struct mesh_network *net)
{
    uint8_t want[32];
    cr_assert_eq(mesh_network_init(net, vec_str(v, "name"), (uint32_t)vec_u64(v, "effort"),
                                   vec_bool(v, "lab"), NULL),
                 0);
    vec_copy(v, "id", want, sizeof want);
    cr_assert_arr_eq(net->id, want, sizeof want);
}

static struct fixture open_fixture(void)
{
    struct fixture f = { .root = vec_open("dht_record") };
    net_read(vec_get(f.root, "net"), &f.lab);
    net_read(vec_get(f.root, "main"), &f.main);
    f.now = vec_u64(f.root, "now");
    return f;
}

static void key_read(const struct fixture *f, const char *name, uint8_t sk[64])
{
    const json_t *v = vec_get(f->root, name);
    uint8_t seed[32], pk[32], want[32];
    vec_copy(v, "seed", seed, sizeof seed);
    crypto_sign_seed_keypair(pk, sk, seed);
    vec_copy(v, "key", want, sizeof want);
    cr_assert_arr_eq(pk, want, sizeof want);
}

/* Parses and verifies. Output must be as before when parsing fails. */
static enum drop judge(struct dht_value *v, const struct mesh_network *net, uint64_t now,
                       const uint8_t *data, size_t len)
{
    *v = (struct dht_value){ .serial = 99 };
    enum drop drop = dht_value_parse(v, net, now, data, len);
    if (drop != DROP_NONE)
        cr_assert_eq(v->serial, 99u);
    return drop == DROP_NONE ? dht_value_verify(v, net, now) : drop;
}

static const struct mesh_network *net_of(const struct fixture *f, const json_t *v)
{
    return vec_bool(v, "lab") ? &f->lab : &f->main;
}

static void places_check(const struct dht_value *v, const json_t *want, const char *name)
{
    cr_assert_eq(json_array_size(want), v->n_places, "%s", name);
    for (unsigned i = 0; i < v->n_places; i++) {
        struct vec_bytes place = vec_hex(json_array_get(want, i));
        cr_assert_eq(place.len, DHT_ID);
        cr_assert_arr_eq(v->places[i], place.b, DHT_ID, "%s", name);
        cr_assert(dht_value_belongs(v, place.b));
    }
}

Test(dht_vectors, are_judged_as_they_say)
{
    struct fixture f = open_fixture();
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(f.root, "records"), at, v)
    {
        struct vec_bytes data = vec_bytes(v, "hex");
        const char *name = vec_str(v, "name");
        uint8_t *exact = malloc(data.len);
        struct dht_value got;
        cr_assert_not_null(exact);
        memcpy(exact, data.b, data.len);
        enum drop drop = judge(&got, net_of(&f, v), f.now, exact, data.len);
        cr_assert_str_eq(drop_name(drop), vec_str(v, "drop"), "%s: %s", name, drop_name(drop));
        if (json_object_get(v, "places") != NULL) {
            cr_assert_eq(got.type->number, vec_u64(v, "type"), "%s", name);
            places_check(&got, vec_get(v, "places"), name);
        }
        if (json_object_get(v, "serial") != NULL)
            cr_assert_eq(got.serial, vec_u64(v, "serial"), "%s", name);
        free(exact);
    }
    cr_assert_geq(at, 80u);
    vec_close(f.root);
}

static int build_again(const struct dht_value *v, const struct mesh_network *net,
                       const uint8_t sk[static 64], const uint8_t d_sk[static 64], uint8_t *out)
{
    struct dht_provider p;
    struct dht_offer o;
    struct dht_descriptor d;
    if (dht_provider_read(&p, v))
        return dht_provider_build(&p, net, sk, out);
    if (dht_offer_read(&o, v))
        return dht_offer_build(&o, net, sk, out);
    cr_assert(dht_descriptor_read(&d, v));
    return dht_descriptor_build(&d, net, d_sk, out);
}

Test(dht_vectors, are_built_byte_for_byte)
{
    struct fixture f = open_fixture();
    uint8_t sk[64], d_sk[64], out[DHT_DESCRIPTOR_MAX];
    const json_t *v;
    size_t at, built = 0;
    key_read(&f, "pseudonym", sk);
    key_read(&f, "delegated", d_sk);
    json_array_foreach(vec_get(f.root, "records"), at, v)
    {
        struct vec_bytes data = vec_bytes(v, "hex");
        struct dht_value got;
        if (!json_is_true(json_object_get(v, "built")))
            continue;
        cr_assert_eq(judge(&got, net_of(&f, v), f.now, data.b, data.len), DROP_NONE);
        int len = build_again(&got, net_of(&f, v), sk, d_sk, out);
        cr_assert_eq(len, (int)data.len, "%s: %d", vec_str(v, "name"), len);
        cr_assert_arr_eq(out, data.b, data.len, "%s", vec_str(v, "name"));
        built++;
    }
    cr_assert_geq(built, 15u);
    vec_close(f.root);
}

Test(dht_vectors, of_node_records_are_judged_as_the_links_judge_them)
{
    struct fixture f = open_fixture();
    json_t *root = vec_open("record");
    const json_t *v;
    uint8_t id[32];
    size_t at;
    vec_copy(root, "node_id", id, sizeof id);
    json_array_foreach(vec_get(root, "node_records"), at, v)
    {
        struct vec_bytes data = vec_bytes(v, "hex");
        const char *name = vec_str(v, "name");
        struct dht_value got;
        if (strcmp(name, "type 2") == 0)
            continue; /* no node record: here it is a descriptor, of a wrong size */
        enum drop drop = judge(&got, &f.lab, vec_u64(root, "now"), data.b, data.len);
        cr_assert_str_eq(drop_name(drop), vec_str(v, "drop"), "%s: %s", name, drop_name(drop));
        if (drop == DROP_NONE)
            cr_assert(dht_value_belongs(&got, id), "%s", name);
    }
    vec_close(root);
    vec_close(f.root);
}

Test(dht_vectors, of_shared_random_values_and_places_hold)
{
    struct fixture f = open_fixture();
    uint8_t got[32], want[32], in[32];
    const json_t *v;
    size_t at;
    json_array_foreach(vec_get(f.root, "srv"), at, v)
    {
        dht_srv(got, &f.lab, vec_u64(v, "period"));
        vec_copy(v, "srv", want, sizeof want);
        cr_assert_arr_eq(got, want, sizeof want);
    }
    json_array_foreach(vec_get(f.root, "descriptor_places"), at, v)
    {
        vec_copy(v, "blinded", in, sizeof in);
        dht_descriptor_place(got, &f.lab, in, vec_u64(v, "period"), (uint8_t)vec_u64(v, "replica"));
        vec_copy(v, "place", want, sizeof want);
        cr_assert_arr_eq(got, want, sizeof want);
    }
    json_array_foreach(vec_get(f.root, "provider_places"), at, v)
    {
        vec_copy(v, "content", in, sizeof in);
        dht_provider_place(got, in);
        vec_copy(v, "place", want, sizeof want);
        cr_assert_arr_eq(got, want, sizeof want);
    }
    json_array_foreach(vec_get(f.root, "offer_places"), at, v)
    {
        dht_offer_place(got, (uint8_t)vec_u64(v, "byte"));
        vec_copy(v, "place", want, sizeof want);
        cr_assert_arr_eq(got, want, sizeof want);
    }
    vec_close(f.root);
}

Test(dht_vectors, of_a_delegation_hold)
{
    struct fixture f = open_fixture();
    const json_t *v = vec_get(f.root, "delegation");
    uint8_t text[DHT_DELEGATION_TEXT], want[DHT_DELEGATION_TEXT], d[32], sk[64];
    uint8_t signature[64], signature_want[64];
    vec_copy(v, "d", d, sizeof d);
    vec_copy(v, "text", want, sizeof want);
    vec_copy(v, "signature", signature_want, sizeof signature_want);
    dht_delegation_text(text, &f.lab, vec_u64(v, "period"), (uint32_t)vec_u64(v, "serial"), d);
    cr_assert_arr_eq(text, want, sizeof text);
    key_read(&f, "blinded", sk);
    crypto_sign_detached(signature, NULL, text, sizeof text, sk);
    cr_assert_arr_eq(signature, signature_want, sizeof signature);
    cr_assert_eq(dht_period(f.now), vec_u64(f.root, "period"));
    vec_close(f.root);
}
